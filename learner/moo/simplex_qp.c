#include "learner/moo/simplex_qp.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "learner/moo/matrix.h"
#include "learner/moo/moo.h"

typedef struct qp {
    const double *H, *b;
    int K;
    qp_domain domain;
    bool free[MOO_MOST];
    double x[MOO_MOST];
} qp;

static double linear(const qp *q, int i) { return q->b ? q->b[i] : 0; }

/* The minimum over the free variables' subspace -> z; false where the system is singular. With QP_SIMPLEX the
 * multiplier nu of sum x = 1 comes from z = u + nu v, H u = -b, H v = 1. */
static bool subspace(const qp *q, double *z)
{
    double A[MOO_MOST * MOO_MOST], minus_b[MOO_MOST], ones[MOO_MOST], u[MOO_MOST], v[MOO_MOST], sum_u = 0, sum_v = 0;
    int index[MOO_MOST], n = 0;
    for (int i = 0; i < q->K; i++)
        if (q->free[i]) index[n++] = i;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) A[i * n + j] = q->H[index[i] * q->K + index[j]];
        minus_b[i] = -linear(q, index[i]), ones[i] = 1;
    }
    memset(z, 0, sizeof *z * (size_t)q->K);
    if (!matrix_solve(A, n, minus_b, u) || !matrix_solve(A, n, ones, v)) return false;
    for (int i = 0; i < n; i++) sum_u += u[i], sum_v += v[i];
    const double nu = q->domain == QP_SIMPLEX ? (1 - sum_u) / sum_v : 0;
    for (int i = 0; i < n; i++) z[index[i]] = u[i] + nu * v[i];
    return true;
}

/* From x towards z as far as nothing turns negative; what meets zero is held there. True when z was reached. */
static bool advance(qp *q, const double *z)
{
    double step = 1;
    int first = -1;
    for (int i = 0; i < q->K; i++)
        if (q->free[i] && z[i] <= 0 && q->x[i] / (q->x[i] - z[i]) <= step) step = q->x[i] / (q->x[i] - z[i]), first = i;
    for (int i = 0; i < q->K; i++)
        if (q->free[i]) q->x[i] += step * (z[i] - q->x[i]);
    if (first < 0) return true;
    q->x[first] = 0, q->free[first] = false;
    return false;
}

/* The held variable that would lower the objective most; -1: none, this is the minimum. */
static int wants_in(const qp *q)
{
    double r[MOO_MOST], nu = 0, size = 0, least = 0;
    int n = 0, best = -1;
    matrix_times(q->H, q->K, q->x, r);
    for (int i = 0; i < q->K; i++) {
        size = fmax(size, fabs(r[i]) + fabs(linear(q, i)) + q->H[i * q->K + i] * DBL_EPSILON);
        r[i] += linear(q, i);
        if (q->free[i]) nu += r[i], n++;
    }
    nu = q->domain == QP_SIMPLEX && n > 0 ? nu / n : 0;
    for (int i = 0; i < q->K; i++)
        if (!q->free[i] && r[i] - nu < least) least = r[i] - nu, best = i;
    return least < -1e-13 * size ? best : -1;
}

static void start(qp *q)
{
    if (q->domain != QP_SIMPLEX) return;
    int best = 0;
    for (int i = 1; i < q->K; i++)
        if (q->H[i * q->K + i] / 2 + linear(q, i) < q->H[best * q->K + best] / 2 + linear(q, best)) best = i;
    q->x[best] = 1, q->free[best] = true;
}

void qp_solve(const double *H, const double *b, int K, qp_domain domain, double *x)
{
    enum { TURNS_EACH = 32 }; /* finite in exact arithmetic; rounding may make it circle between equal points */
    qp q = { .H = H, .b = b, .K = K, .domain = domain };
    double z[MOO_MOST];
    start(&q);
    for (int turn = 0, in; turn < TURNS_EACH * K && (in = wants_in(&q)) >= 0; turn++) {
        q.free[in] = true;
        while (subspace(&q, z) && !advance(&q, z)) {
        }
    }
    memcpy(x, q.x, sizeof *x * (size_t)K);
}
