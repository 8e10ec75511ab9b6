/* simplex_qp - convex quadratic programs of K variables, exactly, by active sets.
 *
 *     min 1/2 x'Hx + b'x    over x >= 0,   and sum x = 1 with QP_SIMPLEX
 *
 * The free variables solve a linear system; one that would turn negative is held at zero, one whose multiplier says
 * that it wants in is let in (Lawson & Hanson's way for non-negative least squares; Wolfe 1976 for the point of least
 * norm). Exact after finitely many steps; Frank-Wolfe on the same problem needs hundreds for three digits.
 * Internal to learner/moo. */
#pragma once

typedef enum qp_domain { QP_POSITIVE, QP_SIMPLEX } qp_domain;

/* H [K, K] symmetric positive definite (a ridge sees to that), b [K] or NULL: zeros; x [K] out. */
void qp_solve(const double *H, const double *b, int K, qp_domain domain, double *x);
