/* FairGrad (Ban & Ji 2024, arXiv 2402.15638): (G w)_i = w_i^(-1/alpha), the alpha-fair allocation of progress; alpha =
 * 1 is Nash-MTL (Navon et al. 2022, arXiv 2202.01017), 0 the average, infinity max-min.
 *
 * That is the stationary point of the strictly convex  1/2 w'Gw - sum phi(w_i),  phi' = w^(-1/alpha): Newton's method,
 * damped so that w stays positive and the function falls, is there in a handful of steps. */
#include <math.h>
#include <string.h>

#include "learner/moo/matrix.h"
#include "learner/moo/method.h"

enum { MOST_STEPS = 200, MOST_HALVINGS = 60 };

static double phi(double w, double alpha)
{
    return fabs(alpha - 1) < 1e-12 ? log(w) : pow(w, 1 - 1 / alpha) / (1 - 1 / alpha);
}

static double value(const double *G, int K, double alpha, const double *w)
{
    double v = matrix_form(G, K, w, w) / 2;
    for (int i = 0; i < K; i++) v -= phi(w[i], alpha);
    return v;
}

/* w - t step for the largest t = 1, 1/2, ... that keeps w positive and doesn't raise the function; false: none. */
static bool damped(const double *G, int K, double alpha, const double *step, double *w)
{
    const double before = value(G, K, alpha, w);
    double t = 1, next[MOO_MOST];
    for (int n = 0; n < MOST_HALVINGS; n++, t /= 2) {
        bool positive = true;
        for (int i = 0; i < K; i++) next[i] = w[i] - t * step[i], positive &= next[i] > 0;
        if (!positive || value(G, K, alpha, next) > before) continue;
        memcpy(w, next, sizeof *w * (size_t)K);
        return true;
    }
    return false;
}

/* G is of about unit size. */
static void newton(const double *G, int K, double alpha, double *w)
{
    double H[MOO_MOST * MOO_MOST], slope[MOO_MOST], step[MOO_MOST];
    for (int i = 0; i < K; i++) w[i] = 1 / sqrt(G[i * K + i]);
    for (int n = 0; n < MOST_STEPS; n++) {
        double largest = 0;
        matrix_times(G, K, w, slope);
        memcpy(H, G, sizeof *H * (size_t)(K * K));
        for (int i = 0; i < K; i++) {
            slope[i] -= pow(w[i], -1 / alpha);
            H[i * K + i] += pow(w[i], -1 / alpha - 1) / alpha;
        }
        if (!matrix_solve(H, K, slope, step)) return;
        for (int i = 0; i < K; i++) largest = fmax(largest, fabs(step[i]) / w[i]);
        if (largest < 1e-13 || !damped(G, K, alpha, step, w)) return;
    }
}

/* With G = s G' the weights of G are s^(-alpha / (1 + alpha)) times those of G'. */
static void fair_weights(const moo_problem *p, double alpha, double *w)
{
    const int K = p->K;
    double G[MOO_MOST * MOO_MOST], s = 0;
    for (int i = 0; i < K * K; i++) s += p->G[i] * p->G[i];
    s = sqrt(s);
    const double add = p->config->ridge * matrix_trace(p->G, K) / s;
    for (int i = 0; i < K * K; i++) G[i] = p->G[i] / s + (i % (K + 1) == 0 ? add : 0);
    newton(G, K, alpha, w);
    for (int i = 0; i < K; i++) w[i] *= pow(s, -alpha / (1 + alpha));
}

void moo_fairgrad(const moo_problem *p, double *w)
{
    if (p->config->alpha > 0)
        fair_weights(p, p->config->alpha, w);
    else
        memcpy(w, p->p, sizeof *w * (size_t)p->K);
}

/* w_i (G w)_i = 1; the direction is cut to max_norm: bargaining fixes its way, not its length. */
void moo_nash(const moo_problem *p, double *w)
{
    fair_weights(p, 1, w);
    const double length = moo_norm(p->G, p->K, w), most = p->config->max_norm;
    for (int i = 0; most > 0 && length > most && i < p->K; i++) w[i] *= most / length;
}
