/* SPDX-License-Identifier: MIT */
/* simplex_qp - convex quadratic programs of K variables, exactly, by active sets.
 *
 *     min 1/2 x'Hx + b'x    over x >= 0,   and a'x = 1 where there is an a
 *
 * The free variables solve a linear system; one that would turn negative is held at zero, one whose multiplier says
 * that it wants in is let in (Lawson & Hanson's way for non-negative least squares; Wolfe 1976 for the point of least
 * norm). Exact after finitely many steps; Frank-Wolfe on the same problem needs hundreds for three digits.
 *
 * H may be singular (K gradients of fewer than K dimensions). A ridge would make it definite and the answer another
 * one, so the ridge pulls towards the answer before instead of towards 0, a few times over (the proximal point method):
 * what it costs goes to 0. Internal to learner/moo. */
#pragma once

/* H [K, K] symmetric, positive semidefinite up to rounding, diagonal 1 (cosines). b [K] or NULL: zeros. a [K] > 0, or
 * NULL: no such constraint. x [K] out. */
void qp_solve(const double *H, const double *b, const double *a, int K, double *x);
