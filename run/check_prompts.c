/* SPDX-License-Identifier: MIT */
#include "run/check_prompts.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/vec.h"

enum { LOOKED_AT = 64 }; /* rows: a prompt with its shots takes milliseconds to render, a data set has millions */

typedef struct tally {
    int made, fitting, failed;
    size_t min, max; /* tokens of those that could be made */
    uint64_t failed_row;
    error why; /* of the first that could not */
} tally;

/* Tokens of one row's prompt; negative: it can't be made. */
static int64_t prompt_tokens(const prompt_maker *m, const char *row, uint64_t draw, int n_shots, error *err)
{
    uint64_t picked[MAX_SHOTS];
    const char *shots[MAX_SHOTS];
    const int n = shot_pick((uint64_t)m->recipe->run.seed, draw, n_shots, m->shots->len, picked);
    for (int i = 0; i < n; i++) shots[i] = m->shots->data[picked[i]];

    prompt_pieces pieces = { 0 };
    token_ids ids = { 0 };
    int rc = dialect_prompt(m->dialect, m->recipe->prompt.instruction, shots, n, row, &pieces, err);
    for (size_t i = 0; rc == OK && i < pieces.len; i++)
        rc = tokenizer_encode(m->tokenizer, pieces.data[i].text, pieces.data[i].len, true, &ids, err);
    const int64_t tokens = rc == OK ? (int64_t)ids.len : -1;

    prompt_pieces_free(&pieces);
    vec_free(&ids);
    return tokens;
}

static void count_failed(tally *t, uint64_t row, const error *why)
{
    if (t->failed++ > 0) return;
    t->failed_row = row;
    t->why = *why;
}

static void count_made(tally *t, size_t tokens, int max_context)
{
    if (t->made++ == 0) t->min = tokens;
    if (tokens < t->min) t->min = tokens;
    if (tokens > t->max) t->max = tokens;
    t->fitting += tokens > 0 && (int64_t)tokens < max_context; /* one token at least is left to sample */
}

static void count(const prompt_maker *m, const dataset *rows, uint64_t row, int n_shots, tally *t)
{
    error why = { 0 };
    const int64_t tokens = prompt_tokens(m, dataset_row(rows, row), row + 1, n_shots, &why);
    if (tokens < 0)
        count_failed(t, row, &why);
    else
        count_made(t, (size_t)tokens, m->max_context);
}

static uint64_t longest_row(const dataset *rows)
{
    uint64_t longest = 0;
    for (uint64_t i = 1; i < dataset_size(rows); i++)
        if (strlen(dataset_row(rows, i)) > strlen(dataset_row(rows, longest))) longest = i;
    return longest;
}

/* Rows evenly over the whole set, and the longest: where one prompt doesn't fit it is that one's. */
static tally count_all(const prompt_maker *m, const dataset *rows, int n_shots)
{
    tally t = { 0 };
    const uint64_t n = dataset_size(rows), looked = n < LOOKED_AT ? n : LOOKED_AT, longest = longest_row(rows);
    for (uint64_t i = 0; i < looked; i++)
        if (i * n / looked != longest) count(m, rows, i * n / looked, n_shots, &t);
    count(m, rows, longest, n_shots, &t);
    return t;
}

/* What is no error but had better be known. */
static void note_lost(const tally *t, const char *name, int n_shots, int max_context, char *note, size_t size)
{
    if (t->failed > 0)
        snprintf(note, size, "%d of %d prompts of %s can't be made and will not be played; row %" PRIu64 ": %s",
                 t->failed, t->failed + t->made, name, t->failed_row + 1, t->why.text);
    else if (t->fitting < t->made)
        snprintf(note, size,
                 "%d of %d prompts of %s don't fit with %d shots and will not be played: the longest has %zu tokens, "
                 "an episode may have %d",
                 t->made - t->fitting, t->made, name, n_shots, t->max, max_context);
}

int check_prompts(const prompt_maker *m, const dataset *rows, const char *name, int n_shots, char *note, size_t size,
                  error *err)
{
    const tally t = count_all(m, rows, n_shots);
    if (t.made == 0)
        return error_set(err, ERR_ARGUMENT, "no prompt can be made from %s with %d shots; row %" PRIu64 ": %s", name,
                         n_shots, t.failed_row + 1, t.why.text);
    if (t.fitting == 0)
        return error_set(err, ERR_ARGUMENT,
                         "no prompt of %s fits with %d shots: the shortest of %d has %zu tokens, an episode may have "
                         "%d with its answer",
                         name, n_shots, t.made, t.min, m->max_context);

    note_lost(&t, name, n_shots, m->max_context, note, size);
    return OK;
}
