/* SPDX-License-Identifier: MIT */
/* troupe moo: gradients in, the weights and the direction of a method out. For people, and for tests against others. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/verbs.h"
#include "learner/moo/moo.h"

static void print_usage(FILE *to)
{
    fprintf(
        to,
        "usage: troupe moo --method METHOD [--order natural] [c=0.5 alpha=2 beta=0.5 max_norm=1 ridge=1e-10 seed=1]\n\n"
        "Reads problems from standard input, one JSON object a line, and prints an answer for each:\n"
        "  {\"J\":[[1,3],[-3,-1]],\"pref\":[1,1]}  the objectives' gradients, a row each (or \"G\", their Gram "
        "matrix)\n"
        "  {\"weights\":[],\"direction\":[],\"cosines\":[]}  direction (with J): what to descend; cosines: of all "
        "pairs\n\n"
        "  --order natural   pcgrad and gradvac meet the others in their order, not in a drawn one\n"
        "  --json            accepted; the answers are JSON anyway\n\nmethods:\n");
    for (int m = 0; m < N_MOO_METHODS; m++)
        fprintf(to, "  %-9s  %s\n", moo_method_name((moo_method)m), moo_method_help((moo_method)m));
    fprintf(to, "\nexample: echo '{\"J\":[[1,3],[-3,-1]]}' | troupe moo --method mgda\n");
}

/* One line's problem: J [K, d] or none, G [K, K]. */
typedef struct problem {
    double *J;
    size_t K, d;
    double G[MOO_MAX * MOO_MAX];
} problem;

static int row_numbers(const json_t *row, const char *what, size_t i, size_t n, double *out, error *err)
{
    if (json_array_size(row) != n)
        return error_set(err, ERR_PARSE, "%s: row %zu: expected %zu numbers, found %zu", what, i, n,
                         json_array_size(row));
    for (size_t k = 0; k < n; k++) {
        if (!json_is_number(json_array_get(row, k)))
            return error_set(err, ERR_PARSE, "%s: row %zu: entry %zu is not a number", what, i, k);
        out[k] = json_number_value(json_array_get(row, k));
    }
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

/* What is not read would be taken for something that has a say. */
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

static int read_rows(problem *p, const json_t *line, error *err)
{
    const json_t *J = json_object_get(line, "J"), *G = json_object_get(line, "G"), *rows = J ? J : G;
    if (check_keys(line, err) != OK) return ERR_PARSE;
    p->K = json_array_size(rows);
    if (p->K == 0 || p->K > MOO_MAX)
        return error_set(err, ERR_PARSE, "expected \"J\" (gradients, a row each) or \"G\" with 1 to %d rows", MOO_MAX);
    p->d = J ? json_array_size(json_array_get(J, 0)) : p->K;
    if (p->d == 0) return error_set(err, ERR_PARSE, "J: row 0: expected a list of numbers, one at least");
    if (J) p->J = xcalloc(p->K * p->d + 1, sizeof *p->J);
    for (size_t i = 0; i < p->K; i++)
        if (row_numbers(json_array_get(rows, i), J ? "J" : "G", i, p->d, J ? p->J + i * p->d : p->G + i * p->K, err) !=
            OK)
            return ERR_PARSE;
    if (J) gram_of(p);
    return OK;
}

static int read_preferences(moo_config *c, const problem *p, const json_t *line, error *err)
{
    const json_t *pref = json_object_get(line, "pref");
    memset(c->pref, 0, sizeof c->pref);
    if (!pref) return OK;
    if (row_numbers(pref, "pref", 0, p->K, c->pref, err) != OK) return ERR_PARSE;
    for (size_t i = 0; i < p->K; i++)
        if (c->pref[i] != 0) return OK;
    return error_set(err, ERR_PARSE, "pref: all are 0, so that no objective has a say (one at least above 0)");
}

static void print_numbers(const char *name, const double *x, size_t n, char before)
{
    printf("%c\"%s\":[", before, name);
    for (size_t i = 0; i < n; i++) printf("%s%.17g", i ? "," : "", x[i]);
    putchar(']');
}

static void print_answer(const problem *p, const double *w)
{
    print_numbers("weights", w, p->K, '{');
    double *d = xcalloc(p->d + 1, sizeof *d);
    for (size_t i = 0; p->J && i < p->K; i++)
        for (size_t n = 0; n < p->d; n++) d[n] += w[i] * p->J[i * p->d + n];
    if (p->J) print_numbers("direction", d, p->d, ',');
    free(d);
    printf(",\"cosines\":[");
    for (size_t i = 0; i < p->K; i++)
        for (size_t j = 0; j < p->K; j++)
            printf("%s%.17g%s",
                   j   ? ","
                   : i ? ",["
                       : "[",
                   moo_cosine(p->G, (int)p->K, (int)i, (int)j), j + 1 == p->K ? "]" : "");
    puts("]}");
}

static int answer(moo_config *c, const char *text, size_t len, const char *where, rng_key order, moo_state *memory,
                  error *err)
{
    problem p = { 0 };
    double w[MOO_MAX];
    json_t *line = json_parse(text, len, where, err);
    int rc = line ? OK : err->code;
    if (rc == OK) rc = read_rows(&p, line, err);
    if (rc == OK) rc = read_preferences(c, &p, line, err);
    if (rc == OK) rc = moo_solve(c, p.G, (int)p.K, NULL, order, memory, w, err);
    if (rc == OK) print_answer(&p, w);
    json_decref(line);
    free(p.J);
    return rc == OK || !line ? rc : error_within(err, "%s", where);
}

/* key=value into the config; the seed goes into the order's key. */
static int read_settings(moo_config *c, rng_key *order, const arguments *a, error *err)
{
    double seed = 1;
    const struct {
        const char *name;
        double *value;
    } settings[] = { { "c", &c->c },         { "alpha", &c->alpha }, { "beta", &c->beta }, { "max_norm", &c->max_norm },
                     { "ridge", &c->ridge }, { "seed", &seed } };
    for (int i = 0; i < a->n_overrides; i++) {
        const char *equals = strchr(a->overrides[i], '=');
        size_t k = 0;
        const size_t len = (size_t)(equals - a->overrides[i]), n = sizeof settings / sizeof *settings;
        while (k < n && (strlen(settings[k].name) != len || strncmp(settings[k].name, a->overrides[i], len) != 0)) k++;
        if (k == n)
            return error_set(err, ERR_ARGUMENT, "no setting '%.*s' (c, alpha, beta, max_norm, ridge, seed)", (int)len,
                             a->overrides[i]);
        if (value_number(settings[k].name, equals + 1, 0, 1e15, settings[k].value, err) != OK) return ERR_ARGUMENT;
    }
    *order = (rng_key){ (uint64_t)seed, 0 };
    return OK;
}

/* A hint where one is near, or else all the names there are. */
static int no_method(const char *name, error *err)
{
    const char *near = words_near(MOO_METHOD_WORDS, name);
    if (near) return error_set(err, ERR_ARGUMENT, "no method '%.80s' (did you mean '%s'?)", name, near);

    str known = { 0 };
    words_list(MOO_METHOD_WORDS, &known);
    const int rc = error_set(err, ERR_ARGUMENT, "no method '%.80s' (there are %s)", name, known.data);
    str_free(&known);
    return rc;
}

static int read_request(moo_config *c, rng_key *order, const char *method, bool natural, const arguments *a, error *err)
{
    if (!method) return error_set(err, ERR_ARGUMENT, "no --method ('troupe moo --help' lists them)");
    const word_row *named = words_named(MOO_METHOD_WORDS, method);
    if (!named) return no_method(method, err);

    *c = moo_default((moo_method)named->value);
    c->natural_order = natural;
    return read_settings(c, order, a, err);
}

static int answer_lines(moo_config *c, rng_key order, error *err)
{
    moo_state memory = { 0 }; /* one bucket's, over the lines */
    char *line = NULL, where[32];
    size_t room = 0;
    int rc = OK;
    bool any = false;
    for (uint64_t n = 1; rc == OK; n++) {
        const ssize_t len = getline(&line, &room, stdin);
        if (len < 0) break;
        if (line[strspn(line, " \t\r\n")] == '\0') continue;
        any = true;
        snprintf(where, sizeof where, "line %llu", (unsigned long long)n);
        order.stream = n;
        const size_t mark = n == 1 ? utf8_mark(line, (size_t)len) : 0;
        rc = answer(c, line + mark, (size_t)len - mark, where, order, &memory, err);
    }
    free(line);
    return any ? rc : error_set(err, ERR_PARSE, "no problem on standard input ('troupe moo --help' shows one)");
}

static int run_verb(call *c, error *err)
{
    moo_config config = moo_default(MOO_SUM);
    rng_key order = { 0 };
    static const char *const ORDERS[] = { "natural", NULL };
    const char *method = NULL;
    bool json = false;
    int natural = -1;
    const flag flags[] = { { .name = "--method", .text = &method },
                           { .name = "--order", .choice = &natural, .choices = ORDERS },
                           { .name = "--json", .present = &json },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    int rc = read_request(&config, &order, method, natural == 0, &c->arguments, err);
    if (rc == OK) rc = answer_lines(&config, order, err);
    return call_checked(c, rc);
}

const verb VERB_MOO = { .name = "moo",
                        .synopsis = "--method M",
                        .help = "many gradients to one direction, by any method",
                        .print_usage = print_usage,
                        .words = "settings (the problem comes from standard input)",
                        .keys = true,
                        .run = run_verb };
