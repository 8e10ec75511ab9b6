/* SPDX-License-Identifier: MIT */
#include "run/tuning_test.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/vec.h"
#include "learner/pack.h"
#include "model/transformer.h"

enum { ROWS_AT_ONCE = 64 };

/* What a data group's rows come to. */
typedef struct sums {
    char *name;
    double nats, tokens, bytes;
} sums;

typedef struct testing {
    const tuning_test *of;
    arena *a;
    vec(sums) groups;
    group *batch[ROWS_AT_ONCE];
    int n;
} testing;

/* ---- adding up ---- */

static sums *sums_of(testing *t, const char *name)
{
    for (size_t i = 0; i < t->groups.len; i++)
        if (strcmp(t->groups.data[i].name, name) == 0) return &t->groups.data[i];
    vec_push(&t->groups, (sums){ .name = xstrdup(name) });
    return &t->groups.data[t->groups.len - 1];
}

/* Bytes of what is learned of a row; a control token has none. */
static void count_row(testing *t, const episode *e)
{
    str text = { 0 };
    sums *s = sums_of(t, e->data_group);
    for (uint32_t i = 1; i < e->tokens.n; i++) {
        if (e->tokens.role[i] != TOKEN_HINT) continue;
        str_clear(&text);
        tokenizer_decode_one(t->of->rows->tokenizer, e->tokens.ids[i], false, &text);
        s->bytes += (double)text.len;
        s->tokens++;
    }
    str_free(&text);
}

static int add_pass(testing *t, const advantage_table *table, const packed_batch *b, error *err)
{
    device *dev = t->of->w->dev;
    const int n = b->tokens.n_out;
    float *logprob = arena_array(t->a, float, n);
    device_scratch_reset(dev);
    const activations *acts = model_forward(t->of->w, &b->tokens, &(forward_options){ 0 });
    if (device_sync(dev, err) != OK) return err->code;
    device_copy_out(dev, logprob, acts->logprob, sizeof *logprob * (size_t)n);
    for (int i = 0; i < n; i++) sums_of(t, table->episodes[b->episode[i]]->data_group)->nats -= (double)logprob[i];
    return OK;
}

/* ---- passes ---- */

static int run_batch(void *ctx, error *err)
{
    testing *t = ctx;
    const objective_set objectives = tuning_objectives();
    const advantage_config config = { 0 };
    const pack_options options = { .max_tokens = t->of->micro_tokens, .imitation = true, .supervised = true };
    arena_reset(t->a);
    const advantage_table *table =
        advantage_compute(t->a, &config, &objectives, (const group *const *)t->batch, t->n, NULL);
    const pack_plan *plan = pack_groups(t->a, table, &options);
    int rc = OK;
    for (int i = 0; rc == OK && i < plan->n; i++) rc = add_pass(t, table, &plan->batches[i], err);
    return rc;
}

static int flush(testing *t, error *err)
{
    const int rc = t->n > 0 ? device_guard(t->of->w->dev, run_batch, t, err) : OK;
    for (int i = 0; i < t->n; i++) group_free(t->batch[i]);
    t->n = 0;
    return rc;
}

static int add_row(testing *t, uint64_t i, error *err)
{
    bool cut;
    episode *e = tuning_row(t->of->rows, dataset_row(t->of->data, i), &cut, err);
    if (!e && err->code == ERR_LIMIT) return OK;
    if (!e) return error_within(err, "row %" PRIu64 " of data.test", i + 1);
    count_row(t, e);
    t->batch[t->n++] = tuning_group(e, i, 0);
    return t->n == ROWS_AT_ONCE ? flush(t, err) : OK;
}

/* ---- figures ---- */

static void set(metrics *out, const char *what, const char *name, double value)
{
    char key[160];
    snprintf(key, sizeof key, "eval/%s%s%s", what, name[0] ? "/" : "", name);
    if (isfinite(value)) metrics_set(out, key, value);
}

static double bits_per_byte(const sums *s) { return s->nats / M_LN2 / s->bytes; }

static void tell(const testing *t, metrics *out)
{
    sums all = { 0 };
    double worst = -INFINITY;
    for (size_t i = 0; i < t->groups.len; i++) {
        const sums *s = &t->groups.data[i];
        all.nats += s->nats;
        all.tokens += s->tokens;
        all.bytes += s->bytes;
        worst = fmax(worst, bits_per_byte(s));
        if (s->name[0]) set(out, "bits_per_byte", s->name, bits_per_byte(s));
    }
    set(out, "nll", "", all.nats / all.tokens);
    set(out, "logprob/mean", "", -all.nats / all.tokens);
    set(out, "bits_per_byte", "", bits_per_byte(&all));
    if (t->groups.len > 1) set(out, "worst", "", worst);
}

int tuning_test_run(const tuning_test *of, metrics *out, error *err)
{
    testing t = { .of = of, .a = arena_new(1 << 20) };
    const uint64_t size = dataset_size(of->data), n = of->n > 0 && of->n < size ? of->n : size;
    int rc = OK;
    for (uint64_t i = 0; rc == OK && i < n; i++) rc = add_row(&t, i, err);
    if (rc == OK) rc = flush(&t, err);
    if (rc == OK) tell(&t, out);

    for (int i = 0; i < t.n; i++) group_free(t.batch[i]);
    for (size_t i = 0; i < t.groups.len; i++) free(t.groups.data[i].name);
    vec_free(&t.groups);
    arena_free(t.a);
    return rc;
}
