/* SPDX-License-Identifier: MIT */
#include "show/probe_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

enum { NEXT_SHOWN = 5 };

/* ---- JSON ---- */

static void print_ids(FILE *out, const char *key, const int32_t *ids, size_t n)
{
    fprintf(out, "\"%s\":[", key);
    for (size_t i = 0; i < n; i++) fprintf(out, "%s%" PRId32, i ? "," : "", ids[i]);
    putc(']', out);
}

static void print_floats(FILE *out, const char *key, const float *x, size_t n)
{
    fprintf(out, "\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        if (i > 0) putc(',', out);
        if (isfinite(x[i]))
            fprintf(out, "%.9g", (double)x[i]);
        else
            fputs("null", out);
    }
    putc(']', out);
}

void probe_print_json(FILE *out, const probe *p)
{
    putc('{', out);
    print_ids(out, "ids", p->ids.data, p->n);
    putc(',', out);
    print_floats(out, "token_logprobs", p->logprobs, p->n - 1);
    putc(',', out);
    print_floats(out, "last_logits", p->logits, (size_t)p->model->config.vocab);
    putc(',', out);
    print_ids(out, "greedy_ids", p->ids.data + p->n, p->ids.len - p->n);
    fputs("}\n", out);
}

/* ---- a table ---- */

/* Quoted as JSON: a token may be a newline, or half of a character. The tokens' text after a blank, and the end of the
 * line. */
static void print_text(FILE *out, const probe *p, const int32_t *ids, size_t n)
{
    if (p->tokenizer) {
        str text = { 0 }, quoted = { 0 };
        tokenizer_decode(p->tokenizer, ids, n, true, &text);
        str_json(&quoted, str_text(&text), text.len);
        fprintf(out, " %s", quoted.data);
        str_free(&text);
        str_free(&quoted);
    }
    putc('\n', out);
}

static void print_tokens(FILE *out, const probe *p)
{
    fputs("   #        id    logprob  token\n", out);
    for (size_t i = 0; i < p->n; i++) {
        fprintf(out, "%4zu  %8" PRId32 "  ", i, p->ids.data[i]);
        if (i > 0)
            fprintf(out, "%9.4f ", (double)p->logprobs[i - 1]);
        else
            fputs("        - ", out);
        print_text(out, p, &p->ids.data[i], 1);
    }
}

/* log of the sum of exp(logit - max): exp of a large logit is infinite. */
static double log_sum(const float *logits, int V, float max)
{
    double sum = 0;
    for (int v = 0; v < V; v++) sum += exp((double)logits[v] - (double)max);
    return log(sum);
}

/* The likeliest next tokens, best first. */
static void print_next(FILE *out, const probe *p)
{
    const int V = p->model->config.vocab;
    const float max = p->logits[probe_likeliest(p->logits, V)];
    const double total = log_sum(p->logits, V, max);

    /* five times the largest: a vocabulary of 150,000 need not be sorted for that */
    float *left = xmalloc(sizeof *left * (size_t)V);
    memcpy(left, p->logits, sizeof *left * (size_t)V);
    fputs("\nnext        id    logprob  token\n", out);
    for (int i = 0; i < NEXT_SHOWN && i < V; i++) {
        const int32_t v = probe_likeliest(left, V);
        fprintf(out, "%4d  %8" PRId32 "  %9.4f ", i + 1, v, (double)p->logits[v] - (double)max - total);
        print_text(out, p, &v, 1);
        left[v] = -INFINITY;
    }
    free(left);
}

static void print_greedy(FILE *out, const probe *p)
{
    fputs("\ngreedy:", out);
    for (size_t i = p->n; i < p->ids.len; i++) fprintf(out, " %" PRId32, p->ids.data[i]);
    putc('\n', out);
    print_text(out, p, p->ids.data + p->n, p->ids.len - p->n);
}

void probe_print_table(FILE *out, const probe *p)
{
    print_tokens(out, p);
    print_next(out, p);
    if (p->ids.len > p->n) print_greedy(out, p);
}
