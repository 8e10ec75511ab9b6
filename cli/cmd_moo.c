/* SPDX-License-Identifier: MIT */
/* troupe moo: gradients in, the weights and the direction of a method out (learner/moo/problem). For people, and for
 * tests against others. */
#include <string.h>

#include "base/str.h"
#include "cli/verbs.h"
#include "learner/moo/problem.h"

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

/* key=value into the config, and the seed. */
static int read_settings(moo_config *c, double *seed, const arguments *a, error *err)
{
    const struct {
        const char *name;
        double *value;
    } settings[] = { { "c", &c->c },         { "alpha", &c->alpha }, { "beta", &c->beta }, { "max_norm", &c->max_norm },
                     { "ridge", &c->ridge }, { "seed", seed } };
    const size_t n = sizeof settings / sizeof *settings;

    for (int i = 0; i < a->n_overrides; i++) {
        const char *key = a->overrides[i], *equals = strchr(key, '=');
        const size_t len = (size_t)(equals - key);
        size_t k = 0;
        while (k < n && (strlen(settings[k].name) != len || strncmp(settings[k].name, key, len) != 0)) k++;
        if (k == n)
            return error_set(err, ERR_ARGUMENT, "no setting '%.*s' (c, alpha, beta, max_norm, ridge, seed)", (int)len,
                             key);
        if (value_number(settings[k].name, equals + 1, 0, 1e15, settings[k].value, err) != OK) return ERR_ARGUMENT;
    }
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

static int read_method(moo_config *c, const char *name, error *err)
{
    if (!name) return error_set(err, ERR_ARGUMENT, "no --method ('troupe moo --help' lists them)");
    const word_row *method = words_named(MOO_METHOD_WORDS, name);
    if (!method) return no_method(name, err);
    *c = moo_default((moo_method)method->value);
    return OK;
}

/* Without a problem it was called from a terminal, most likely, by someone who does not know what to type. */
static int answer(const moo_config *config, double seed, error *err)
{
    const int rc = moo_answer_lines(stdin, stdout, config, (uint64_t)seed, err);
    if (rc != ERR_NOT_FOUND) return rc;
    return error_set(err, rc, "no problem on standard input ('troupe moo --help' shows one)");
}

static int run_verb(call *c, error *err)
{
    static const char *const ORDERS[] = { "natural", NULL };
    moo_config config = { 0 };
    const char *method = NULL;
    double seed = 1;   /* read as the other settings are; whole numbers up to 2^53 are exact */
    bool json = false; /* the answers are JSON anyway */
    int order = -1;
    const flag flags[] = { { .name = "--method", .text = &method },
                           { .name = "--order", .choice = &order, .choices = ORDERS },
                           { .name = "--json", .present = &json },
                           { 0 } };
    int rc = call_open(c, flags, err);
    if (rc != OK) return rc;

    rc = read_method(&config, method, err);
    config.natural_order = order == 0; /* else pcgrad and gradvac draw it, by the seed */
    if (rc == OK) rc = read_settings(&config, &seed, &c->arguments, err);
    if (rc == OK) rc = answer(&config, seed, err);
    return call_checked(c, rc);
}

const verb VERB_MOO = { .name = "moo",
                        .synopsis = "--method M",
                        .help = "many gradients to one direction, by any method",
                        .print_usage = print_usage,
                        .words = "settings (the problem comes from standard input)",
                        .keys = true,
                        .run = run_verb };
