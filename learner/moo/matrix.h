/* SPDX-License-Identifier: MIT */
/* matrix - the little linear algebra that K x K needs (K <= 16), float64, row-major. Internal to learner/moo. */
#pragma once

#include <stdbool.h>

/* x' G y. */
double matrix_form(const double *G, int K, const double *x, const double *y);
/* y = G x. */
void matrix_times(const double *G, int K, const double *x, double *y);
/* C [K, K], the gradients' cosines (diagonal 1), and their lengths [K]. Methods work on these: lengths that are far
 * apart (1e-12 beside 1e12) are no reason to lose digits, and a tolerance on cosines is right for every scale. */
void matrix_cosines(const double *G, int K, double *C, double *length);
/* ||sum_i y_i g_i / ||g_i|| || by cosines C; 0 where it is rounding: what C can't tell from 0. */
double matrix_length(const double *C, int K, const double *y);
/* Solves A x = b for symmetric positive definite A [n, n] by Cholesky; false where A isn't definite. */
bool matrix_solve(const double *A, int n, const double *b, double *x);
/* A = V diag(values) V' of a symmetric A by cyclic Jacobi rotations: values ascending, column k of V belongs to
 * values[k]. */
void matrix_eigen(const double *A, int n, double *values, double *V);
/* Eigenvalues that count as nonzero: those above the largest x n x the double's epsilon. */
int matrix_rank_begin(const double *values, int n);
