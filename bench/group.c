/* SPDX-License-Identifier: MIT */
/* A group's update with its prompt shared and without, by turns in one run, through the learner's own packer. */
#include "base/clock.h"
#include "base/memory.h"
#include "base/rng.h"
#include "bench/step.h"
#include "learner/micro_tokens.h"
#include "learner/pack.h"

/* One way to pack the group: its micro-batches, its best time. */
typedef struct way {
    token_batch *batches; /* [n] */
    int n, tokens;
    int64_t best; /* us */
} way;

static int32_t token_at(int stream, int i, int vocab)
{
    return (int32_t)rng_below((rng_key){ 1, 1 }, (uint64_t)stream, (uint64_t)i, (uint64_t)vocab);
}

/* Sample s: the prompt that all have, and a reply of its own. */
static episode *sample_of(const bench_request *r, int s, int vocab)
{
    episode *e = episode_new(&(task){ .sample = (uint32_t)s });
    for (int i = 0; i < r->prompt; i++)
        trajectory_append(&e->tokens, TOKEN_QUESTION, &(int32_t){ token_at(0, i, vocab) }, 1);
    for (int i = 0; i < r->reply; i++) trajectory_append_sampled(&e->tokens, token_at(s + 1, i, vocab), -1, 0, 0);
    return e;
}

/* As advantage_compute leaves a group in which every sample has a signal. */
static advantage_table *table_of(arena *a, const bench_request *r, int vocab)
{
    advantage_table *t = arena_zalloc(a, sizeof *t);
    t->S = r->group;
    t->episodes = arena_array(a, const episode *, t->S);
    t->scalar = arena_array(a, double, t->S);
    t->counts = arena_array(a, bool, t->S);
    for (int s = 0; s < t->S; s++) {
        t->episodes[s] = sample_of(r, s, vocab);
        t->scalar[s] = s % 2 ? 1 : -1;
        t->counts[s] = true;
    }
    return t;
}

static void table_free(advantage_table *t)
{
    for (int s = 0; s < t->S; s++) episode_free((episode *)(uintptr_t)t->episodes[s]);
}

static way way_of(arena *a, const advantage_table *t, int micro_tokens, bool shared)
{
    const pack_options o = { .max_tokens = micro_tokens, .shared_prompts = shared };
    const pack_plan *plan = pack_groups(a, t, &o);
    way w = { .batches = arena_array(a, token_batch, plan->n), .n = plan->n, .best = INT64_MAX };
    for (int i = 0; i < plan->n; i++) {
        w.batches[i] = plan->batches[i].tokens;
        w.tokens += plan->batches[i].tokens.T;
    }
    return w;
}

static int measure(bench_run *t, way *w, error *err)
{
    const grad_split one = { .K = 1 };
    int64_t us;
    bench_run_take(t, w->batches, w->n, 1);
    if (bench_run_step(t, &one, NULL, &us, err) != OK) return err->code;
    if (us < w->best) w->best = us;
    return OK;
}

static int measure_both(bench_run *t, way *shared, way *unshared, double seconds, error *err)
{
    const int64_t until = clock_us() + (int64_t)(seconds * 1e6);
    for (int n = 0; n < 2 || clock_us() < until; n++) {
        if (measure(t, unshared, err) != OK) return err->code;
        if (measure(t, shared, err) != OK) return err->code;
    }
    return OK;
}

static bench_update update_of(const way *w)
{
    return (bench_update){ .seconds = (double)w->best / 1e6, .tokens = w->tokens, .micro_batches = w->n };
}

int bench_group(const bench_request *r, bench_group_result *out, error *err)
{
    bench_run t = { 0 };
    if (bench_run_open(&t, r, err) != OK) {
        bench_run_close(&t);
        return err->code;
    }

    arena *a = arena_new(1 << 20);
    advantage_table *table = table_of(a, r, t.table->config.vocab);
    const micro_budget budget = { .memory = memory_size(""), .beside = micro_tokens_beside(t.w->dev, t.w->table) };
    const int micro_tokens = micro_tokens_for(t.w->dev, t.w->table, &budget);
    way shared = way_of(a, table, micro_tokens, true), unshared = way_of(a, table, micro_tokens, false);

    const int rc = measure_both(&t, &shared, &unshared, r->seconds, err);
    *out = (bench_group_result){ .shared = update_of(&shared), .unshared = update_of(&unshared) };
    table_free(table);
    arena_free(a);
    bench_run_close(&t);
    return rc;
}
