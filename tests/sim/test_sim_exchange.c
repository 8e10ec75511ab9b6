/* SPDX-License-Identifier: MIT */
/* The core of the exchange alone, in a world where everything that can go wrong does (world.h): it is killed between
 * any two of its actions, and what it has asked to commit is kept at once. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/map.h"
#include "tests/sim/world.h"

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { RUNS = 500 }; /* each takes five times as long; those of the release build play all */
#else
enum { RUNS = 1500 };
#endif

typedef struct kept { /* what a database would have */
    int64_t version;  /* that sampled it */
    uint64_t weights;
    bool scored;
    int life; /* of the exchange that committed it */
} kept;

typedef struct bare {
    core *core;
    idmap *disk; /* task id -> kept */
} bare;

static core *core_of(world *w) { return ((bare *)w->exchange)->core; }
static bool has_kept(world *w, uint64_t id) { return idmap_get(((bare *)w->exchange)->disk, id); }

static void free_groups(const action *a)
{
    for (uint32_t g = 0; g < a->n_groups; g++) group_free(a->groups[g]);
    free(a->groups);
}

static void close_core(world *w)
{
    action a;
    while (core_next_action(core_of(w), &a)) free_groups(&a);
    core_free(core_of(w));
}

static void end_core(world *w)
{
    bare *x = w->exchange;
    uint64_t id;
    void *k;
    for (size_t i = 0; idmap_next(x->disk, &i, &id, &k);) free(k);
    idmap_free(x->disk);
    free(x);
}

static void open_core(world *w, int64_t from)
{
    bare *x = w->exchange;
    uint64_t id;
    void *value;
    if (!x) w->exchange = x = xcalloc(1, sizeof *x), x->disk = idmap_new();
    x->core = core_new(&w->config);
    for (int64_t v = 0; v <= from && w->life > 1; v++) core_known(x->core, v, w->weights[v]);
    for (size_t i = 0; idmap_next(x->disk, &i, &id, &value);) {
        const kept *k = value;
        if (task_id_eval(id) || task_id_step(id) <= from || k->version < 0) continue;
        core_restore(x->core, world_episode(w, id, k->version, k->weights), k->scored ? world_score(w, id) : NULL);
    }
}

static void publish_core(world *w, int64_t version, bool evaluate)
{
    core *c = core_of(w);
    if (evaluate) core_evaluate(c, version);
    for (picked_row rows[PROMPTS * (1 + REFILLS)]; w->sampled && w->told < version + 1 + w->max_staleness;)
        core_rows(c, w->told + 1, world_rows(w->told + 1, rows)), w->told++;
    core_version(c, w->now, version, w->weights[version]);
}

static void peer_core(world *w, const client *c, bool up)
{
    if (up)
        core_peer_up(core_of(w), c->peer, c->actor);
    else
        core_peer_down(core_of(w), c->peer);
}

static void want_core(world *w, uint32_t peer, uint32_t slots) { core_want(core_of(w), w->now, peer, slots); }
static void episode_core(world *w, uint32_t peer, episode *e) { core_episode(core_of(w), w->now, peer, e); }
static void score_core(world *w, uint32_t peer, score *s) { core_score(core_of(w), w->now, peer, s); }
static void progress_core(world *w, uint32_t peer, uint64_t n) { core_progress(core_of(w), w->now, peer, n); }
static void tick_core(world *w) { core_tick(core_of(w), w->now); }

static void commit(world *w, const action *a)
{
    bare *x = w->exchange;
    kept *k = idmap_get(x->disk, a->task_id);
    if (!k) idmap_set(x->disk, a->task_id, k = xcalloc(1, sizeof *k));
    if (a->kind == COMMIT_SCORE) {
        k->scored = true;
        return;
    }
    const trajectory *t = &a->episode->tokens;
    if (k->life == w->life) fail_msg("seed %" PRIu64 ": an episode was committed twice", w->seed);
    *k = (kept){ .life = w->life, .version = -1 };
    if (t->n_segments) k->version = t->segments[0].version, k->weights = t->segments[0].weight_hash;
}

static void perform(world *w, const action *a)
{
    switch (a->kind) {
    case COMMIT_EPISODE:
    case COMMIT_SCORE:
        commit(w, a);
        break;
    case SEND_TASK:
        world_send_task(w, a->peer, a->task);
        break;
    case ASK_SCORE:
        world_ask_score(w, a->peer, a->task_id);
        break;
    case SEND_ACK:
        world_send_ack(w, a->peer, a->task_id);
        break;
    case STEP_READY:
        world_step(w, a->step, a->groups, a->n_groups);
        free_groups(a);
        break;
    case EVAL_READY:
        world_eval(w, a->step);
        free_groups(a);
        break;
    case REFUSE:
        world_refused(w, a->refused, a->said);
        break;
    case DISMISS:
        fail_msg("seed %" PRIu64 ": dismissed: %s", w->seed, a->said);
        break;
    case HALT:
        fail_msg("seed %" PRIu64 ": halted: %s", w->seed, a->why);
    }
}

static bool settle_core(world *w)
{
    action a;
    while (core_next_action(core_of(w), &a)) {
        perform(w, &a);
        if (w->crashes_left > 0 && world_chance(w, 0.0005)) {
            w->crashes_left--;
            return true;
        }
    }
    return false;
}

static const subject CORE = { .open = open_core,
                              .close = close_core,
                              .end = end_core,
                              .publish = publish_core,
                              .peer = peer_core,
                              .want = want_core,
                              .episode = episode_core,
                              .score = score_core,
                              .progress = progress_core,
                              .tick = tick_core,
                              .settle = settle_core,
                              .has_kept = has_kept,
                              .core = core_of };

static void a_synchronous_run_ends_as_the_calm_one_whatever_happens(void **state)
{
    (void)state;
    rough_histories(&CORE, (manner){ 0 }, RUNS);
}

static void a_run_with_stale_tokens_keeps_to_its_limit_whatever_happens(void **state)
{
    (void)state;
    rough_histories(&CORE, (manner){ .max_staleness = 2 }, RUNS);
}

static void refilled_steps_depend_on_what_was_played_and_not_on_when(void **state)
{
    (void)state;
    rough_histories(&CORE, (manner){ .refills = REFILLS }, RUNS);
    rough_histories(&CORE, (manner){ .max_staleness = 2, .refills = REFILLS }, RUNS);
}

static void a_lagging_run_is_as_stale_as_it_was_told(void **state)
{
    (void)state;
    rough_histories(&CORE, (manner){ .max_staleness = 2, .lag = 2 }, RUNS);
    rough_histories(&CORE, (manner){ .max_staleness = 1, .lag = 1, .refills = REFILLS }, RUNS);
}

static void a_sampler_s_rows_are_played_whatever_happens(void **state)
{
    (void)state;
    rough_histories(&CORE, (manner){ .sampled = true }, RUNS);
    rough_histories(&CORE, (manner){ .max_staleness = 1, .refills = REFILLS, .sampled = true }, RUNS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refilled_steps_depend_on_what_was_played_and_not_on_when),
        cmocka_unit_test(a_lagging_run_is_as_stale_as_it_was_told),
        cmocka_unit_test(a_sampler_s_rows_are_played_whatever_happens),
        cmocka_unit_test(a_synchronous_run_ends_as_the_calm_one_whatever_happens),
        cmocka_unit_test(a_run_with_stale_tokens_keeps_to_its_limit_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
