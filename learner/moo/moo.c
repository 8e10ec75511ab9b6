/* SPDX-License-Identifier: MIT */
#include "learner/moo/moo.h"

#include <math.h>
#include <string.h>

#include "learner/moo/matrix.h"
#include "learner/moo/method.h"

static void sum(const moo_problem *p, double *w)
{
    for (int i = 0; i < p->K; i++) w[i] = 1;
}

static void pref(const moo_problem *p, double *w) { memcpy(w, p->p, sizeof *w * (size_t)p->K); }

/* How each one solves, and whether its d is about K gradients long: then preferences are lengths of the gradients it is
 * given. Names and papers: moo.h. */
static const struct {
    moo_fn fn;
    bool adds_up;
} METHODS[N_MOO_METHODS] = {
    [MOO_SUM] = { sum, true },
    [MOO_PREF] = { pref, false },
    [MOO_MGDA] = { moo_mgda, false },
    [MOO_MGDA_NORM] = { moo_mgda_norm, false },
    [MOO_PCGRAD] = { moo_pcgrad, true },
    [MOO_GRADVAC] = { moo_gradvac, true },
    [MOO_CAGRAD] = { moo_cagrad, false },
    [MOO_IMTL_G] = { moo_imtl_g, false },
    [MOO_NASH] = { moo_nash, false },
    [MOO_FAIRGRAD] = { moo_fairgrad, false },
    [MOO_ALIGNED] = { moo_aligned, false },
    [MOO_UPGRAD] = { moo_upgrad, false },
    [MOO_DUALPROJ] = { moo_dualproj, false },
};

const word_row MOO_METHOD_WORDS[] = { MOO_METHODS(WORDS_ROW){ 0 } };

moo_config moo_default(moo_method method)
{
    return (moo_config){ .method = method, .c = 0.5, .alpha = 2, .beta = 0.5, .max_norm = 1, .ridge = 1e-10 };
}

/* The words stand in the enum's order. */
const char *moo_method_name(moo_method method) { return MOO_METHOD_WORDS[method].word; }
const char *moo_method_help(moo_method method) { return MOO_METHOD_WORDS[method].help; }

/* ---- what is no Gram matrix ---- */

/* Products of gradients that are there are off by 1e-12 at most (kernels/ops.h); what is off by more is no product. */
static const double MAX_OFF = 1e-9;

static int check_entries(const double *G, int K, error *err)
{
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++)
            if (!isfinite(G[i * K + j]))
                return error_set(err, ERR_STATE, "the product of the gradients of objectives %d and %d is %g", i, j,
                                 G[i * K + j]);
    for (int i = 0; i < K; i++)
        if (G[i * K + i] < 0)
            return error_set(err, ERR_STATE, "the product of objective %d's gradient with itself is %g (0 or more)", i,
                             G[i * K + i]);
    return OK;
}

static int check_pairs(const double *G, int K, error *err)
{
    for (int i = 0; i < K; i++)
        for (int j = 0; j < i; j++) {
            const double lengths = sqrt(G[i * K + i]) * sqrt(G[j * K + j]);
            const double one = G[i * K + j], other = G[j * K + i];

            /* Off by rounding, of the numbers themselves or of products that nearly cancelled. */
            if (fabs(one - other) > MAX_OFF * fmax(fabs(one), fabs(other)) && fabs(one - other) > MAX_OFF * lengths)
                return error_set(err, ERR_STATE, "the product of objectives %d and %d is %g, of %d and %d it is %g", i,
                                 j, one, j, i, other);

            /* Cauchy-Schwarz */
            if (fabs(one) > (1 + MAX_OFF) * lengths)
                return error_set(err, ERR_STATE,
                                 "the product of objectives %d and %d is %g, more than their gradients' lengths (%g) "
                                 "allow",
                                 i, j, one, lengths);
        }
    return OK;
}

/* Of three and more, each pair may be fine and all of them together not. */
static int check_definite(const double *G, int K, error *err)
{
    double small[MOO_MAX * MOO_MAX], C[MOO_MAX * MOO_MAX], length[MOO_MAX], values[MOO_MAX], V[MOO_MAX * MOO_MAX];
    int index[MOO_MAX], n = 0;
    for (int i = 0; i < K; i++)
        if (G[i * K + i] > 0) index[n++] = i;
    if (n < 3) return OK;

    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) small[i * n + j] = G[index[i] * K + index[j]];
    matrix_cosines(small, n, C, length);
    matrix_eigen(C, n, values, V);
    if (values[0] >= -MAX_OFF * n) return OK;
    return error_set(err, ERR_STATE,
                     "not a Gram matrix: no gradients have these products (an eigenvalue of their cosines is %g)",
                     values[0]);
}

int moo_check(const double *G, int K, error *err)
{
    int rc = check_entries(G, K, err);
    if (rc == OK) rc = check_pairs(G, K, err);
    return rc == OK ? check_definite(G, K, err) : rc;
}

static int check_preferences(const moo_config *c, int K, error *err)
{
    for (int i = 0; i < K; i++)
        if (!isfinite(c->pref[i]) || c->pref[i] < 0)
            return error_set(err, ERR_ARGUMENT, "the preference of objective %d is %g (a finite number from 0 on)", i,
                             c->pref[i]);
    return OK;
}

void moo_state_walk(moo_state *m, saved_state *s)
{
    state_section(s, "moo", 1);
    state_numbers(s, "cosines", m->phi, MOO_MAX * MOO_MAX, -INFINITY, INFINITY);
}

/* ---- solving ---- */

bool moo_adds_up(moo_method method) { return METHODS[method].adds_up; }

bool moo_has_say(const moo_config *config, int K, int i)
{
    bool any = false;
    for (int k = 0; k < K; k++) any |= config->pref[k] > 0;
    return !any || config->pref[i] > 0;
}

/* The objectives that take part and have a gradient; returns how many. */
static int choose(const moo_config *c, const double *G, int K, const bool *active, int *index)
{
    int n = 0;
    for (int i = 0; i < K; i++)
        if ((!active || active[i]) && G[i * K + i] > 0 && moo_has_say(c, K, i)) index[n++] = i;
    return n;
}

/* Shares of the whole. A whole that no double holds is counted in units of the largest. */
static void preferences(const moo_config *c, const int *index, int n, double *p)
{
    double total = 0, max = 0;
    for (int i = 0; i < n; i++) {
        total += c->pref[index[i]];
        max = fmax(max, c->pref[index[i]]);
    }

    const double unit = isfinite(total) ? 1 : max;
    if (unit != 1) total = 0;
    for (int i = 0; i < n && unit != 1; i++) total += c->pref[index[i]] / unit;
    for (int i = 0; i < n; i++) p[i] = total > 0 ? c->pref[index[i]] / unit / total : 1.0 / n;
}

int moo_solve(const moo_config *config, const double *G, int K, const bool *active, rng_key order, moo_state *state,
              double *w, error *err)
{
    double small[MOO_MAX * MOO_MAX], p[MOO_MAX], x[MOO_MAX], length[MOO_MAX];
    int index[MOO_MAX];
    moo_state none = { 0 };
    memset(w, 0, sizeof *w * (size_t)K);
    if (check_preferences(config, K, err) != OK) return ERR_ARGUMENT;
    if (moo_check(G, K, err) != OK) return ERR_STATE;

    /* The problem of those that take part alone. A method whose answer is a sum sees each gradient as often as it is
     * preferred; the others are told the preferences. */
    const int n = choose(config, G, K, active, index);
    if (n == 0) return OK;
    preferences(config, index, n, p);
    const bool lengths = METHODS[config->method].adds_up;
    for (int i = 0; i < n; i++) length[i] = lengths ? p[i] * n : 1;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) small[i * n + j] = length[i] * length[j] * G[index[i] * K + index[j]];
    const moo_problem problem = { config, n, small, p, index, order, state ? state : &none };
    METHODS[config->method].fn(&problem, x);

    for (int i = 0; i < n; i++) w[index[i]] = length[i] * x[i];
    for (int i = 0; i < K; i++)
        if (!isfinite(w[i]))
            return error_set(err, ERR_STATE,
                             "%s gives objective %d the weight %g: gradients of such lengths are too far apart",
                             moo_method_name(config->method), i, w[i]);
    return OK;
}

double moo_cosine(const double *G, int K, int i, int j)
{
    if (i == j) return G[i * K + i] > 0;
    const double one = sqrt(G[i * K + i]), other = sqrt(G[j * K + j]);
    return one > 0 && other > 0 ? fmax(-1, fmin(1, G[i * K + j] / one / other)) : 0;
}

double moo_norm(const double *G, int K, const double *w) { return sqrt(fmax(0, matrix_form(G, K, w, w))); }

void moo_order(const moo_problem *p, int i, int *others)
{
    uint64_t drawn[MOO_MAX];
    const rng_key key = { p->order.seed, p->order.stream * MOO_MAX + (uint64_t)i };
    for (int j = 0; j < p->K - 1; j++) drawn[j] = (uint64_t)j;
    if (!p->config->natural_order) rng_permutation(key, drawn, (uint64_t)(p->K - 1));
    for (int j = 0; j < p->K - 1; j++) others[j] = (int)drawn[j] < i ? (int)drawn[j] : (int)drawn[j] + 1;
}
