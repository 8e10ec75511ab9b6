/* SPDX-License-Identifier: MIT */
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "tests/support/honest.h"

enum { RESEND_MS = 300, TRAIN_MS = 40, FORGERY_MS = 700, END_MS = 4000000 };

typedef enum kind {
    TO_TASK,
    TO_ACK,
    TO_SCORE_REQUEST,
    EPISODE_IN,
    SCORE_IN,
    PLAYED,
    RESEND,
    BREAK,
    TRAINED,
    TICK,
    FORGERY,
    CRASH
} kind;

struct event {
    int64_t at;
    kind kind;
    uint32_t peer; /* a connection's number: events of one that is broken are void */
    uint64_t id;   /* task */
    int64_t version;
    uint64_t weights;
    uint32_t attempt;
    bool fails;
};

struct played {
    uint64_t id, weights;
    int64_t version;
    uint32_t attempt;
    bool old; /* delivered on an earlier connection */
};

bool world_chance(world *w, double p) { return w->rough && test_random_unit(&w->rnd) < p; }

/* Trained again from a checkpoint, a version is never quite what it was. */
static uint64_t new_weights(const world *w, int64_t version)
{
    return hash_combine(1000 + (uint64_t)version, version == 0 ? 0 : (uint64_t)w->life);
}

static void push(world *w, event e, int64_t delay)
{
    e.at = w->now + delay;
    vec_push(&w->events, e);
}

/* A message: late, and sometimes twice. */
static void send_message(world *w, event e)
{
    const int64_t delay = w->rough ? 1 + (int64_t)test_random_below(&w->rnd, world_chance(w, 0.05) ? 400 : 20) : 1;
    push(w, e, delay);
    if (world_chance(w, 0.05)) push(w, e, delay + (int64_t)test_random_below(&w->rnd, 300));
}

/* ---- what is played ---- */

/* A sampler's rows of a step. */
const picked_row *world_rows(int64_t step, picked_row rows[PROMPTS * (1 + REFILLS)])
{
    for (int i = 0; i < PROMPTS * (1 + REFILLS); i++)
        rows[i] = (picked_row){ .row = ((uint64_t)step * 7 + (uint64_t)i * 3) % EVALS };
    return rows;
}

static void task_of(const world *w, uint64_t id, task *t)
{
    picked_row rows[PROMPTS * (1 + REFILLS)];
    const int64_t step = task_id_step(id);
    if (task_id_eval(id))
        scheduler_eval_task(&w->config.schedule, step, task_id_index(id), t);
    else
        scheduler_task(&w->config.schedule, step, w->sampled ? world_rows(step, rows) : NULL, task_id_index(id), t);
}

/* The only episode that this task can become with weights `version`. */
episode *world_episode(const world *w, uint64_t id, int64_t version, uint64_t weights)
{
    task t;
    task_of(w, id, &t);
    const uint64_t h = hash_combine(id, w->max_staleness ? 0 : (uint64_t)version);
    episode *e =
        honest_episode(&t, "text", 1 + (uint32_t)(h % MAX_SAMPLED), (honest_policy){ version, weights, -0.5f });
    for (uint32_t i = HONEST_PROMPT; i < e->tokens.n; i++)
        e->tokens.ids[i] = (int32_t)((h >> (i - HONEST_PROMPT)) % VOCAB);
    task_reset(&t);
    return e;
}

static episode *episode_of(const world *w, const event *v)
{
    episode *e = world_episode(w, v->id, v->version, v->weights);
    e->attempt = v->attempt;
    return v->fails ? honest_failure(e, FAIL_TOOL_LOST) : e;
}

/* With refills, every second group is of one mind, however its rewards were added up. */
score *world_score(const world *w, uint64_t id)
{
    const bool alike = w->config.schedule.refills > 0 && task_id_index(id) / GROUP % 2 == 1;
    score *s = xcalloc(1, sizeof *s);
    s->task = id;
    score_set(s, "accuracy", !alike ? (double)(id % 7) / 7 : id % 2 ? 0.3 : 0.1 + 0.2, NULL);
    return s;
}

static score *score_of(const world *w, const event *v)
{
    score *s = world_score(w, v->id);
    if (v->fails) s->n_values = 0, s->status = SCORE_MACHINE, s->error = xstrdup("the host died");
    return s;
}

/* ---- connections ---- */

static client *client_of(world *w, uint32_t peer)
{
    for (int i = 0; i < ACTORS + JUDGES; i++)
        if (w->clients[i].peer == peer) return &w->clients[i];
    return NULL;
}

static event delivery(const client *c, const played *p)
{
    return (event){ .kind = EPISODE_IN,
                    .peer = c->peer,
                    .id = p->id,
                    .version = p->version,
                    .weights = p->weights,
                    .attempt = p->attempt };
}

/* HELLO: a new connection, once more what was not acknowledged, and all its room. */
static void connect_client(world *w, client *c)
{
    c->peer = ++w->next_peer;
    w->subject->peer(w, c, true);
    for (size_t i = 0; i < c->unacked.len; i++) {
        const event e = delivery(c, &c->unacked.data[i]);
        w->arrived = !task_id_eval(e.id) && task_id_step(e.id) > w->ready ? e.id : 0;
        w->subject->episode(w, c->peer, episode_of(w, &e));
        c->unacked.data[i].old = true;
    }
    w->subject->want(w, c->peer, SLOTS);
    if (c->actor) push(w, (event){ .kind = RESEND, .peer = c->peer }, 1);
    if (w->rough && test_random_below(&w->rnd, 3) == 0)
        push(w, (event){ .kind = BREAK, .peer = c->peer }, (int64_t)test_random_below(&w->rnd, 3000));
}

static void break_connection(world *w, client *c)
{
    w->subject->peer(w, c, false);
    if (world_chance(w, 0.5)) c->unacked.len = 0; /* the process died, and what it had played with it */
    connect_client(w, c);
}

/* ---- what the exchange does ---- */

/* Byte for byte the one that is played. */
static void check_is_honest(const world *w, const episode *e)
{
    const segment *s = &e->tokens.segments[0];
    episode *honest = world_episode(w, e->id, s->version, s->weight_hash);
    str is = { 0 }, would = { 0 };
    honest->attempt = e->attempt;
    episode_encode(e, &is);
    episode_encode(honest, &would);
    if (is.len != would.len || memcmp(is.data, would.data, is.len) != 0)
        fail_msg("seed %" PRIu64 ": what is trained on is not what was played", w->seed);
    str_free(&is);
    str_free(&would);
    episode_free(honest);
}

static void check_episode(world *w, const episode *e, int64_t step)
{
    const segment *s = &e->tokens.segments[0];
    const int64_t lagging = step - 1 - w->config.schedule.lag;
    if (s->version > step - 1 || s->version < step - 1 - w->max_staleness)
        fail_msg("seed %" PRIu64 ": step %" PRId64 " has a token of version %" PRId64, w->seed, step, s->version);
    if (s->weight_hash != w->weights[s->version])
        fail_msg("seed %" PRIu64 ": step %" PRId64 " has a token by weights that version %" PRId64 " no longer has",
                 w->seed, step, s->version);
    if (!w->rough && s->version != (lagging > 0 ? lagging : 0) && w->config.schedule.lag)
        fail_msg("step %" PRId64 " lags with version %" PRId64, step, s->version);
    if (e->failed != FAIL_NONE) fail_msg("seed %" PRIu64 ": a failed episode is trained on", w->seed);
    check_is_honest(w, e);
    if (!w->subject->has_kept(w, e->id))
        fail_msg("seed %" PRIu64 ": an episode is trained on that was never committed", w->seed);
}

static void check_group(world *w, const group *g, int64_t step, uint64_t *content)
{
    for (uint32_t i = 0; i < g->n; i++) {
        const episode *e = g->episodes[i];
        check_episode(w, e, step);
        if (i > 0 && e->sample <= g->episodes[i - 1]->sample)
            fail_msg("seed %" PRIu64 ": samples out of order", w->seed);
        *content = hash_combine(*content, e->id);
        *content = hash_combine(*content, e->prompt_id);
        *content = hash_combine(*content, (uint64_t)e->tokens.n);
        *content = hash_combine(*content, (uint64_t)(score_get(g->scores[i], "accuracy") * 1e6));
    }
}

void world_step(world *w, int64_t step, group **groups, uint32_t n)
{
    uint64_t content = 0, last = 0;
    if (step != w->version + 1 && !w->max_staleness)
        fail_msg("seed %" PRIu64 ": step %" PRId64 " after version %" PRId64, w->seed, step, w->version);
    if (step != w->ready + 1)
        fail_msg("seed %" PRIu64 ": step %" PRId64 " became ready after step %" PRId64, w->seed, step, w->ready);
    for (uint32_t g = 0; g < n; g++) {
        if (g > 0 && groups[g]->id <= last) fail_msg("seed %" PRIu64 ": groups out of order", w->seed);
        last = groups[g]->id;
        check_group(w, groups[g], step, &content);
    }
    if (n != PROMPTS + (w->config.schedule.refills ? REFILLED : 0))
        fail_msg("seed %" PRIu64 ": step %" PRId64 " has %u groups", w->seed, step, n);
    w->ready = step;
    w->content[step] = content;
    push(w, (event){ .kind = TRAINED, .version = step }, TRAIN_MS);
}

void world_eval(world *w, int64_t version)
{
    if (version != w->version)
        fail_msg("seed %" PRIu64 ": version %" PRId64 " was evaluated while %" PRId64 " was out", w->seed, version,
                 w->version);
    w->evals_ready++;
}

void world_send_task(world *w, uint32_t peer, const task *t)
{
    send_message(
        w, (event){ .kind = TO_TASK, .peer = peer, .id = t->id, .version = t->max_version, .attempt = t->attempt });
}

void world_ask_score(world *w, uint32_t peer, uint64_t id)
{
    send_message(w, (event){ .kind = TO_SCORE_REQUEST, .peer = peer, .id = id });
}

void world_send_ack(world *w, uint32_t peer, uint64_t id)
{
    if (id == w->arrived && !w->subject->has_kept(w, id))
        fail_msg("seed %" PRIu64 ": acknowledged before it was committed", w->seed);
    if (!world_chance(w, 0.1)) send_message(w, (event){ .kind = TO_ACK, .peer = peer, .id = id });
}

/* Of a connection, or a life of the exchange, before this one; or forged. */
void world_refused(world *w, refused_as as, const char *said)
{
    const bool lied = as == REFUSED_EPISODE && w->lies-- > 0;
    if (as != REFUSED_UNASKED && !lied) fail_msg("seed %" PRIu64 ": refused: %s", w->seed, said);
}

/* ---- the exchange's lives ---- */

static void publish(world *w, int64_t version)
{
    if (version > w->version || version == 0) w->weights[version] = new_weights(w, version);
    w->version = version;
    w->subject->publish(w, version, version % EVAL_EVERY == 0);
}

static void begin_life(world *w, int64_t from, int crash_within_ms)
{
    w->life++;
    w->failed_plays = 0;
    w->ready = w->told = from;
    w->subject->open(w, from);
    push(w, (event){ .kind = TICK }, TICK_MS);
    if (w->crashes_left-- > 0)
        push(w, (event){ .kind = CRASH }, (int64_t)test_random_below(&w->rnd, (uint64_t)crash_within_ms));
    if (w->rough) push(w, (event){ .kind = FORGERY }, (int64_t)test_random_below(&w->rnd, FORGERY_MS));
    w->version = from;
    publish(w, from);
    for (int i = 0; i < ACTORS + JUDGES; i++) connect_client(w, &w->clients[i]);
}

/* A new exchange with what the disk has; training continues from a checkpoint that may lie behind. */
static void restart(world *w)
{
    const int64_t from = w->version - (int64_t)test_random_below(&w->rnd, (uint64_t)w->version + 1);
    w->subject->close(w);
    w->events.len = 0;
    begin_life(w, from, 3000);
}

/* ---- what happens ---- */

/* An actor that still has the episode, and would play the same again, sends it at once. */
static bool has_it(client *c, const event *e)
{
    for (size_t i = 0; i < c->unacked.len; i++) {
        played *p = &c->unacked.data[i];
        if (p->id != e->id) continue;
        if (p->version != e->version || p->weights != e->weights)
            return c->unacked.data[i] = c->unacked.data[--c->unacked.len], false;
        p->old = false;
        p->attempt = e->attempt;
        return true;
    }
    return false;
}

static void begin_to_play(world *w, client *c, const event *e)
{
    event p = { .kind = PLAYED,
                .peer = c->peer,
                .id = e->id,
                .version = w->version,
                .weights = w->weights[w->version],
                .attempt = e->attempt };
    const bool has = has_it(c, &p);
    p.fails = !has && world_chance(w, 0.02);
    w->failed_plays += p.fails;
    push(w, p, has ? 1 : !w->rough ? 10 : 5 + (int64_t)test_random_below(&w->rnd, world_chance(w, 0.02) ? 3000 : 100));
}

static void on_task(world *w, client *c, const event *e)
{
    task t;
    task_of(w, e->id, &t);
    const bool waits = w->version<t.min_version, late = w->version> e->version;
    task_reset(&t);
    if (waits)
        push(w, *e, 20);
    else if (late)
        w->subject->want(w, c->peer, 1); /* left to its lease */
    else
        begin_to_play(w, c, e);
}

static void on_played(world *w, client *c, const event *e)
{
    event in = *e;
    in.kind = EPISODE_IN;
    if (!e->fails && !has_it(c, e)) vec_push(&c->unacked, (played){ e->id, e->weights, e->version, e->attempt, false });
    send_message(w, in);
    w->subject->want(w, c->peer, 1);
}

static void on_ack(client *c, uint64_t id)
{
    for (size_t i = 0; i < c->unacked.len; i++)
        if (c->unacked.data[i].id == id) c->unacked.data[i--] = c->unacked.data[--c->unacked.len];
}

static void resend(world *w, const client *c)
{
    for (size_t i = 0; i < c->unacked.len; i++)
        if (!c->unacked.data[i].old) send_message(w, delivery(c, &c->unacked.data[i]));
    push(w, (event){ .kind = RESEND, .peer = c->peer }, RESEND_MS);
}

static void on_trained(world *w, int64_t step)
{
    if (core_evaluating(w->subject->core(w)) || step > w->version + 1)
        push(w, (event){ .kind = TRAINED, .version = step }, 20); /* held back, or not its turn */
    else
        publish(w, step);
}

/* A peer that was let in, and was given nothing, answers for others: episodes with the right weights and other words,
 * failures, scores. */
static void forge(world *w)
{
    const client stranger = { .peer = ++w->next_peer, .actor = test_random_below(&w->rnd, 2) == 0 };
    w->subject->peer(w, &stranger, true);
    for (int i = 0; i < 8; i++) {
        const int64_t step = 1 + (int64_t)test_random_below(&w->rnd, STEPS);
        const event e = { .id = task_id(false, step, (uint32_t)test_random_below(&w->rnd, PROMPTS * GROUP)),
                          .version = w->version,
                          .weights = w->weights[w->version],
                          .fails = test_random_below(&w->rnd, 3) == 0 };
        if (stranger.actor) {
            episode *forged = episode_of(w, &e);
            trajectory_append_sampled(&forged->tokens, 1, -0.5f, e.version, e.weights);
            w->subject->episode(w, stranger.peer, forged);
        } else {
            score *forged = score_of(w, &e);
            if (!e.fails) forged->values[0].value = 0.123;
            w->subject->score(w, stranger.peer, forged);
        }
    }
    w->subject->peer(w, &stranger, false);
    push(w, (event){ .kind = FORGERY }, FORGERY_MS);
}

/* Before the truth, a lie, from a peer that may hold the lease: it is never taken, and costs the task nothing. */
static void lie(world *w, const event *e)
{
    episode *lied = episode_of(w, e);
    honest_spoil(lied, (int)test_random_below(&w->rnd, HONEST_SPOILS));
    w->arrived = 0; /* that it was refused is acknowledged, too */
    w->lies = 1;
    w->subject->episode(w, e->peer, lied);
}

/* A good episode of a step that is open: when it is acknowledged it must have been committed. */
static uint64_t wanted(const world *w, const event *e)
{
    const int64_t step = task_id_step(e->id), behind = step - 1 - e->version;
    if (e->kind != EPISODE_IN || e->fails || task_id_eval(e->id)) return 0;
    const bool open = step > w->ready && step <= w->version + 1 + w->max_staleness;
    return open && e->version <= w->version && behind >= w->config.schedule.lag && behind <= w->max_staleness ? e->id
                                                                                                              : 0;
}

/* Now and then an actor says that it gets on, whether it does or not. */
static void get_on(world *w)
{
    for (int i = 0; i < ACTORS + JUDGES; i++)
        if (world_chance(w, 0.3)) w->subject->progress(w, w->clients[i].peer, (uint64_t)w->now);
}

static void happen(world *w, const event *e)
{
    client *c = client_of(w, e->peer);
    if (e->peer && !c) return; /* on a connection that is no more */
    w->arrived = wanted(w, e);
    w->lies = 0;
    switch (e->kind) {
    case TO_TASK:
        on_task(w, c, e);
        break;
    case TO_ACK:
        on_ack(c, e->id);
        break;
    case TO_SCORE_REQUEST:
        send_message(w, (event){ .kind = SCORE_IN, .peer = e->peer, .id = e->id, .fails = world_chance(w, 0.02) });
        break;
    case EPISODE_IN:
        if (w->arrived && world_chance(w, 0.03)) lie(w, e);
        w->subject->episode(w, e->peer, episode_of(w, e));
        break;
    case SCORE_IN:
        w->subject->score(w, e->peer, score_of(w, e));
        w->subject->want(w, e->peer, 1);
        break;
    case PLAYED:
        on_played(w, c, e);
        break;
    case RESEND:
        resend(w, c);
        break;
    case BREAK:
        break_connection(w, c);
        break;
    case TRAINED:
        on_trained(w, e->version);
        break;
    case TICK:
        get_on(w);
        w->subject->tick(w);
        push(w, (event){ .kind = TICK }, TICK_MS);
        break;
    case FORGERY:
        forge(w);
        break;
    case CRASH:
        restart(w);
        break;
    }
}

static event next_event(world *w)
{
    size_t first = 0;
    for (size_t i = 1; i < w->events.len; i++)
        if (w->events.data[i].at < w->events.data[first].at) first = i;
    const event e = w->events.data[first];
    w->events.data[first] = w->events.data[--w->events.len];
    return e;
}

/* ---- a run ---- */

static void open_world(world *w, const subject *under_test, const core_config *config, bool sampled, uint64_t seed,
                       bool rough)
{
    *w = (world){ .rnd = test_random_seed(seed),
                  .seed = seed,
                  .rough = rough,
                  .sampled = sampled,
                  .subject = under_test,
                  .config = *config,
                  .max_staleness = config->schedule.max_staleness };
    w->crashes_left = rough ? (int)test_random_below(&w->rnd, 4) : 0;
    for (int i = 0; i < ACTORS + JUDGES; i++) w->clients[i].actor = i < ACTORS;
    begin_life(w, 0, 2000);
}

static void close_world(world *w)
{
    const core_stats s = core_statistics(w->subject->core(w));
    if (s.failed > w->failed_plays)
        fail_msg("seed %" PRIu64 ": %" PRIu64 " failures were counted, %" PRIu64 " were there", w->seed, s.failed,
                 w->failed_plays);
    w->subject->close(w);
    w->subject->end(w);
    for (int i = 0; i < ACTORS + JUDGES; i++) vec_free(&w->clients[i].unacked);
    vec_free(&w->events);
}

static void play_run(world *w)
{
    for (;;) {
        while (w->subject->settle(w)) restart(w);
        if (w->version == STEPS && !core_evaluating(w->subject->core(w))) return;
        const event e = next_event(w);
        w->now = e.at;
        if (w->now > END_MS) {
            char waiting[200];
            core_waiting_for(w->subject->core(w), waiting, sizeof waiting);
            fail_msg("seed %" PRIu64 ": the run never ends, waiting for %s", w->seed, waiting);
        }
        happen(w, &e);
    }
}

typedef struct sim_parts {
    char *dir;
    dataset *train, *test;
    core_config config;
} sim_parts;

static sim_parts open_set(const manner *m)
{
    error err = { 0 };
    char path[400];
    sim_parts s = { .dir = test_folder_new() };
    test_file_write(
        s.dir, "d.jsonl",
        "{\"prompt\":\"a\"}\n{\"prompt\":\"b\"}\n{\"prompt\":\"c\"}\n{\"prompt\":\"d\"}\n{\"prompt\":\"e\"}\n");
    snprintf(path, sizeof path, "%s/d.jsonl", s.dir);
    s.train = dataset_open(path, 0, &err);
    s.test = dataset_open(path, 0, &err);
    if (!s.train || !s.test) fail_msg("%s", err.text);
    s.config = (core_config){ .schedule = { .train = s.train,
                                            .eval = s.test,
                                            .seed = 1,
                                            .prompts_per_step = PROMPTS,
                                            .group = GROUP,
                                            .refills = m->refills,
                                            .max_staleness = m->max_staleness,
                                            .lag = m->lag,
                                            .temperature = 1,
                                            .max_tokens = 8,
                                            .eval_prompts = EVALS },
                              .steps = STEPS,
                              .task_lease_ms = LEASE_MS,
                              .score_lease_ms = LEASE_MS,
                              .max_attempts = 20,
                              .max_losses = 10000,
                              .failure_limit = 0.99,
                              .limits = { .vocab = VOCAB, .max_context = HONEST_PROMPT + MAX_SAMPLED, .max_turns = 0 },
                              .signal = "accuracy" };
    return s;
}

static void close_set(sim_parts *s)
{
    dataset_free(s->train);
    dataset_free(s->test);
    test_folder_remove(s->dir);
}

static uint64_t number_of(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : fallback;
}

void rough_histories(const subject *under_test, manner m, uint64_t fallback)
{
    sim_parts s = open_set(&m);
    static world calm, rough;
    open_world(&calm, under_test, &s.config, m.sampled, 0, false);
    play_run(&calm);
    assert_int_equal(calm.evals_ready, STEPS / EVAL_EVERY + 1);
    const uint64_t only = number_of("SIM_SEED", 0), runs = only ? only : number_of("SIM_RUNS", fallback);
    for (uint64_t seed = only ? only : 1; seed <= runs; seed++) {
        open_world(&rough, under_test, &s.config, m.sampled, seed, true);
        play_run(&rough);
        for (int64_t step = 1; step <= STEPS && !m.max_staleness; step++) /* stale tokens depend on who was quick */
            if (rough.content[step] != calm.content[step])
                fail_msg("seed %" PRIu64 ": step %" PRId64 " differs from the calm run's", seed, step);
        close_world(&rough);
    }
    close_world(&calm);
    close_set(&s);
}
