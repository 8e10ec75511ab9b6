/* SPDX-License-Identifier: MIT */
#include "learner/moo/problem.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"

typedef struct problem {
    double *J; /* [K, d]; NULL: the Gram matrix was given */
    size_t K, d;
    double G[MOO_MAX * MOO_MAX]; /* [K, K] */
} problem;

/* ---- in ---- */

static int read_numbers(const json_t *row, const char *what, size_t i, size_t n, double *out, error *err)
{
    const size_t found = json_array_size(row);
    if (found != n) return error_set(err, ERR_PARSE, "%s: row %zu: expected %zu numbers, found %zu", what, i, n, found);

    for (size_t k = 0; k < n; k++) {
        const json_t *number = json_array_get(row, k);
        if (!json_is_number(number))
            return error_set(err, ERR_PARSE, "%s: row %zu: entry %zu is not a number", what, i, k);
        out[k] = json_number_value(number);
    }
    return OK;
}

/* out [n_rows, n]. */
static int read_matrix(const json_t *rows, const char *what, size_t n, double *out, error *err)
{
    for (size_t i = 0; i < json_array_size(rows); i++)
        if (read_numbers(json_array_get(rows, i), what, i, n, out + i * n, err) != OK) return ERR_PARSE;
    return OK;
}

static void gram_of(problem *p)
{
    for (size_t i = 0; i < p->K; i++)
        for (size_t j = 0; j < p->K; j++) {
            double sum = 0;
            for (size_t n = 0; n < p->d; n++) sum += p->J[i * p->d + n] * p->J[j * p->d + n];
            p->G[i * p->K + j] = sum;
        }
}

static int read_gradients(problem *p, const json_t *J, error *err)
{
    p->d = json_array_size(json_array_get(J, 0));
    if (p->d == 0) return error_set(err, ERR_PARSE, "J: row 0: expected a list of at least one number");

    p->J = xcalloc(p->K * p->d, sizeof *p->J);
    if (read_matrix(J, "J", p->d, p->J, err) != OK) return ERR_PARSE;
    gram_of(p);
    return OK;
}

/* What is not read would be taken for something that counts. */
static int check_keys(const json_t *line, error *err)
{
    static const char *const KEYS[] = { "J", "G", "pref", NULL };
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)line, key, value)
    {
        int k = 0;
        while (KEYS[k] && strcmp(KEYS[k], key) != 0) k++;
        if (!KEYS[k]) return error_set(err, ERR_PARSE, "no key \"%.60s\" (J, G, pref)", key);
    }
    if (json_object_get(line, "J") && json_object_get(line, "G"))
        return error_set(err, ERR_PARSE, "expected \"J\" or \"G\", found both");
    return OK;
}

static int read_problem(problem *p, const json_t *line, error *err)
{
    const json_t *J = json_object_get(line, "J"), *G = json_object_get(line, "G");
    if (check_keys(line, err) != OK) return ERR_PARSE;

    p->K = json_array_size(J ? J : G);
    if (p->K == 0 || p->K > MOO_MAX)
        return error_set(err, ERR_PARSE, "expected \"J\" (gradients, a row each) or \"G\" with 1 to %d rows", MOO_MAX);
    return J ? read_gradients(p, J, err) : read_matrix(G, "G", p->K, p->G, err);
}

static int read_preferences(moo_config *c, const problem *p, const json_t *line, error *err)
{
    const json_t *pref = json_object_get(line, "pref");
    memset(c->pref, 0, sizeof c->pref);
    if (!pref) return OK;

    if (read_numbers(pref, "pref", 0, p->K, c->pref, err) != OK) return ERR_PARSE;
    for (size_t i = 0; i < p->K; i++)
        if (c->pref[i] != 0) return OK;
    return error_set(err, ERR_PARSE, "pref: all are 0 (at least one must be above 0)");
}

/* ---- out ---- */

static void print_row(FILE *out, const double *x, size_t n)
{
    putc('[', out);
    for (size_t i = 0; i < n; i++) fprintf(out, "%s%.17g", i ? "," : "", x[i]);
    putc(']', out);
}

/* d = sum_i w_i g_i */
static void print_direction(FILE *out, const problem *p, const double *w)
{
    double *d = xcalloc(p->d, sizeof *d);
    for (size_t i = 0; i < p->K; i++)
        for (size_t n = 0; n < p->d; n++) d[n] += w[i] * p->J[i * p->d + n];
    print_row(out, d, p->d);
    free(d);
}

static void print_cosines(FILE *out, const problem *p)
{
    const int K = (int)p->K;
    double row[MOO_MAX];
    putc('[', out);
    for (int i = 0; i < K; i++) {
        for (int j = 0; j < K; j++) row[j] = moo_cosine(p->G, K, i, j);
        if (i > 0) putc(',', out);
        print_row(out, row, p->K);
    }
    putc(']', out);
}

static void print_answer(FILE *out, const problem *p, const double *w)
{
    fputs("{\"weights\":", out);
    print_row(out, w, p->K);
    if (p->J) {
        fputs(",\"direction\":", out);
        print_direction(out, p, w);
    }
    fputs(",\"cosines\":", out);
    print_cosines(out, p);
    fputs("}\n", out);
}

/* ---- line by line ---- */

typedef struct answering {
    FILE *out;
    moo_config config; /* with the line's preferences */
    rng_key order;     /* of the line */
    moo_state memory;  /* one bucket's, over the lines */
} answering;

static int answer_problem(void *ctx, uint64_t number, const json_t *line, error *err)
{
    answering *a = ctx;
    problem p = { 0 };
    double w[MOO_MAX];
    a->order.stream = number;
    int rc = read_problem(&p, line, err);
    if (rc == OK) rc = read_preferences(&a->config, &p, line, err);
    if (rc == OK) rc = moo_solve(&a->config, p.G, (int)p.K, NULL, a->order, &a->memory, w, err);
    if (rc == OK) print_answer(a->out, &p, w);
    free(p.J);
    return rc;
}

int moo_answer_lines(FILE *in, FILE *out, const moo_config *config, uint64_t seed, error *err)
{
    answering a = { .out = out, .config = *config, .order = { seed, 0 } };
    return json_each_line(in, answer_problem, &a, err);
}
