/* SPDX-License-Identifier: MIT */
#include "learner/moo/matrix.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "learner/moo/moo.h"

double matrix_form(const double *G, int K, const double *x, const double *y)
{
    double sum = 0;
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++) sum += x[i] * G[i * K + j] * y[j];
    return sum;
}

void matrix_times(const double *G, int K, const double *x, double *y)
{
    for (int i = 0; i < K; i++) {
        y[i] = 0;
        for (int j = 0; j < K; j++) y[i] += G[i * K + j] * x[j];
    }
}

void matrix_cosines(const double *G, int K, double *C, double *length)
{
    for (int i = 0; i < K; i++) length[i] = sqrt(G[i * K + i]);
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++) C[i * K + j] = i == j ? 1 : fmax(-1, fmin(1, G[i * K + j] / length[i] / length[j]));
}

/* Each product under the sum is off by a rounding or two, so the squared length of a sum that cancels is off by that
 * many parts of (sum |y|)^2. Below it a direction is one of chance, and would oppose whom it likes. */
double matrix_length(const double *C, int K, const double *y)
{
    double size = 0;
    for (int i = 0; i < K; i++) size += fabs(y[i]);
    const double square = matrix_form(C, K, y, y);
    return square > 64 * K * DBL_EPSILON * size * size ? sqrt(square) : 0;
}

bool matrix_solve(const double *A, int n, const double *b, double *x)
{
    double L[MOO_MAX * MOO_MAX] = { 0 };

    /* Cholesky: A = L L'. A pivot that isn't positive says that A isn't. */
    for (int i = 0; i < n; i++) {
        for (int j = 0; j <= i; j++) {
            double s = A[i * n + j];
            for (int k = 0; k < j; k++) s -= L[i * n + k] * L[j * n + k];
            if (i == j && !(s > 0)) return false;
            L[i * n + j] = i == j ? sqrt(s) : s / L[j * n + j];
        }
    }

    /* L y = b, then L' x = y */
    for (int i = 0; i < n; i++) {
        x[i] = b[i];
        for (int k = 0; k < i; k++) x[i] -= L[i * n + k] * x[k];
        x[i] /= L[i * n + i];
    }
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++) x[i] -= L[k * n + i] * x[k];
        x[i] /= L[i * n + i];
    }
    return true;
}

/* Rotates rows and columns a, b of A so that A[a][b] vanishes; V takes part. */
static void rotate(double *A, int n, int a, int b, double *V)
{
    /* The smaller of the two angles that make A[a][b] vanish: t = tan, c = cos, s = sin (Golub & Van Loan, 8.5). */
    const double theta = (A[b * n + b] - A[a * n + a]) / (2 * A[a * n + b]);
    const double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1));
    const double c = 1 / sqrt(t * t + 1), s = t * c;

    for (int k = 0; k < n; k++) {
        const double x = A[k * n + a], y = A[k * n + b];
        A[k * n + a] = c * x - s * y;
        A[k * n + b] = s * x + c * y;
    }

    for (int k = 0; k < n; k++) {
        const double x = A[a * n + k], y = A[b * n + k], u = V[k * n + a], v = V[k * n + b];
        A[a * n + k] = c * x - s * y;
        A[b * n + k] = s * x + c * y;
        V[k * n + a] = c * u - s * v;
        V[k * n + b] = s * u + c * v;
    }
}

static void sort_ascending(double *values, int n, double *V)
{
    for (int i = 1; i < n; i++)
        for (int j = i; j > 0 && values[j - 1] > values[j]; j--) {
            const double v = values[j];
            values[j] = values[j - 1];
            values[j - 1] = v;
            for (int k = 0; k < n; k++) {
                const double x = V[k * n + j];
                V[k * n + j] = V[k * n + j - 1];
                V[k * n + j - 1] = x;
            }
        }
}

void matrix_eigen(const double *A, int n, double *values, double *V)
{
    enum { SWEEPS = 60 };
    double B[MOO_MAX * MOO_MAX];
    memcpy(B, A, sizeof *B * (size_t)(n * n));
    for (int i = 0; i < n * n; i++) V[i] = i % (n + 1) == 0;

    /* Jacobi's sweeps: quadratic once the off-diagonal is small, so 60 are never needed. */
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        double off = 0;
        for (int a = 0; a < n; a++)
            for (int b = a + 1; b < n; b++) {
                if (fabs(B[a * n + b]) <= DBL_EPSILON * 1e-2 * sqrt(fabs(B[a * n + a] * B[b * n + b]))) continue;
                off = fmax(off, fabs(B[a * n + b]));
                rotate(B, n, a, b, V);
            }
        if (off == 0) break;
    }

    for (int i = 0; i < n; i++) values[i] = B[i * n + i];
    sort_ascending(values, n, V);
}

int matrix_rank_begin(const double *values, int n)
{
    int k = 0;
    while (k < n && values[k] <= values[n - 1] * n * DBL_EPSILON) k++;
    return k;
}
