/* The exchange in a world where everything that can go wrong does: thousands of short runs, each from a seed.
 *
 * Connections break and take what is under way with them; messages come twice, late and in any order; actors, reward
 * workers and tools die; the exchange itself is killed between any two actions and comes back with what it had
 * committed. Whatever happens, each step becomes ready once, in order, with the very episodes that a calm run has;
 * nothing acknowledged is lost; no token is staler than allowed; and the run ends.
 *
 *     SIM_SEED=17 test_exchange_sim      plays one history again        SIM_RUNS=20000      plays more of them */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/map.h"
#include "base/vec.h"
#include "exchange/core.h"
#include "tests/support/support.h"

enum {
    REFILLS = 2,
    REFILLED = 2
}; /* of three groups one has no signal, of the group in its place none, then one has */
enum { STEPS = 4, PROMPTS = 3, GROUP = 4, EVALS = 5, ACTORS = 3, JUDGES = 2, SLOTS = 5, VOCAB = 50, MOST_SAMPLED = 6 };
enum {
    LEASE_MS = 900,
    TICK_MS = 100,
    RESEND_MS = 300,
    TRAIN_MS = 40,
    END_MS = 4000000,
    DEFAULT_RUNS = 1500,
    EVAL_EVERY = 2
};

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
    CRASH
} kind;

typedef struct event {
    int64_t at;
    kind kind;
    uint32_t peer; /* a connection's number: events of one that is broken are void */
    uint64_t id;   /* task */
    int64_t version;
    uint32_t attempt;
    bool fails;
} event;

typedef struct played {
    uint64_t id;
    int64_t version;
    uint32_t attempt;
    bool old; /* delivered on an earlier connection */
} played;

typedef struct client {
    uint32_t peer;
    bool actor;
    vec(played) unacked; /* played, not acknowledged */
} client;

typedef struct kept { /* what a database would have */
    int64_t version;  /* that sampled it */
    bool scored;
    int life; /* of the exchange that committed it */
} kept;

typedef struct world {
    test_random rnd;
    uint64_t seed;
    bool rough;
    int64_t now, max_staleness;
    int64_t told; /* the last step whose rows the core was told */
    bool sampled; /* a sampler picks the rows */
    core *core;
    core_config config;
    vec(event) events;
    client clients[ACTORS + JUDGES];
    uint32_t next_peer;
    idmap *disk;            /* task id -> kept */
    int64_t version, ready; /* trained; last step that became ready */
    bool training;
    uint64_t arrived; /* a good episode of an open step, as the last event; 0: none */
    int evals_ready, crashes_left, life;
    uint64_t content[STEPS + 1];
} world;

static uint64_t weights_of(int64_t version) { return 1000 + (uint64_t)version * 17; }
static bool chance(world *w, double p) { return w->rough && test_random_unit(&w->rnd) < p; }

static void push(world *w, event e, int64_t delay)
{
    e.at = w->now + delay;
    vec_push(&w->events, e);
}

/* A message: late, and sometimes twice. */
static void send_message(world *w, event e)
{
    const int64_t delay = w->rough ? 1 + (int64_t)test_random_below(&w->rnd, chance(w, 0.05) ? 400 : 20) : 1;
    push(w, e, delay);
    if (chance(w, 0.05)) push(w, e, delay + (int64_t)test_random_below(&w->rnd, 300));
}

/* ---- what is played ---- */

/* A sampler's rows of a step. */
static const picked_row *rows_of(int64_t step, picked_row rows[PROMPTS * (1 + REFILLS)])
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
        scheduler_task(&w->config.schedule, step, w->sampled ? rows_of(step, rows) : NULL, task_id_index(id), t);
}

/* The only episode that this task can become with weights `version`. */
static episode *episode_of(const world *w, uint64_t id, int64_t version, uint32_t attempt, bool fails)
{
    task t;
    task_of(w, id, &t);
    episode *e = episode_new(&t);
    const uint64_t h = hash_combine(id, w->max_staleness ? 0 : (uint64_t)version);
    trajectory_append(&e->tokens, ROLE_QUESTION, (const int32_t[]){ 1, 2, 3 }, 3);
    e->tokens.n_prompt = 3;
    for (uint64_t i = 0; i < 1 + h % MOST_SAMPLED; i++)
        trajectory_append_sampled(&e->tokens, (int32_t)((h >> i) % VOCAB), -0.5f, version, weights_of(version));
    e->text = xstrdup("text");
    e->transcript = xstrdup("text");
    e->attempt = attempt;
    e->stop = fails ? STOP_ERROR : STOP_EOS;
    if (fails) e->failed = FAIL_TOOL_LOST, e->failure_text = xstrdup("the box died");
    task_reset(&t);
    return e;
}

/* With refills, every second group is of one mind. */
static score *score_of(const world *w, uint64_t id, bool fails)
{
    const bool alike = w->config.schedule.refills > 0 && task_id_index(id) / GROUP % 2 == 1;
    score *s = xcalloc(1, sizeof *s);
    s->task = id;
    if (fails)
        s->status = SCORE_MACHINE, s->error = xstrdup("the host died");
    else
        score_set(s, "accuracy", alike ? 0.5 : (double)(id % 7) / 7, NULL);
    return s;
}

/* ---- connections ---- */

static client *client_of(world *w, uint32_t peer)
{
    for (int i = 0; i < ACTORS + JUDGES; i++)
        if (w->clients[i].peer == peer) return &w->clients[i];
    return NULL;
}

static void send_episode(world *w, const client *c, uint64_t id, int64_t version, uint32_t attempt, bool fails)
{
    send_message(
        w, (event){
               .kind = EPISODE_IN, .peer = c->peer, .id = id, .version = version, .attempt = attempt, .fails = fails });
}

/* HELLO: a new connection, all its room, and again what was not acknowledged. */
static void connect_client(world *w, client *c)
{
    c->peer = ++w->next_peer;
    core_peer_up(w->core, c->peer, c->actor);
    for (size_t i = 0; i < c->unacked.len; i++) {
        played *p = &c->unacked.data[i];
        core_episode(w->core, w->now, c->peer, episode_of(w, p->id, p->version, p->attempt, false));
        p->old = true;
    }
    core_want(w->core, w->now, c->peer, SLOTS);
    if (c->actor) push(w, (event){ .kind = RESEND, .peer = c->peer }, 1);
    if (w->rough && test_random_below(&w->rnd, 3) == 0)
        push(w, (event){ .kind = BREAK, .peer = c->peer }, (int64_t)test_random_below(&w->rnd, 3000));
}

static void break_connection(world *w, client *c)
{
    core_peer_down(w->core, c->peer);
    if (chance(w, 0.5)) c->unacked.len = 0; /* the process died, and what it had played with it */
    connect_client(w, c);
}

/* ---- the exchange's side ---- */

static void check_group(const world *w, const group *g, int64_t step, uint64_t *content)
{
    for (uint32_t i = 0; i < g->n; i++) {
        const episode *e = g->episodes[i];
        const int64_t version = e->tokens.segments[0].version;
        if (version > step - 1 || version < step - 1 - w->max_staleness)
            fail_msg("seed %" PRIu64 ": step %" PRId64 " has a token of version %" PRId64, w->seed, step, version);
        const int64_t lagging = step - 1 - w->config.schedule.lag;
        if (!w->rough && version != (lagging > 0 ? lagging : 0) && w->config.schedule.lag)
            fail_msg("step %" PRId64 " lags with version %" PRId64, step, version);
        if (e->failed != FAIL_NONE) fail_msg("seed %" PRIu64 ": a failed episode is trained on", w->seed);
        if (!idmap_get(w->disk, e->id))
            fail_msg("seed %" PRIu64 ": an episode is trained on that was never committed", w->seed);
        if (i > 0 && e->sample <= g->episodes[i - 1]->sample)
            fail_msg("seed %" PRIu64 ": samples out of order", w->seed);
        *content = hash_combine(*content, e->id);
        *content = hash_combine(*content, e->prompt_id);
        *content = hash_combine(*content, (uint64_t)e->tokens.n);
        *content = hash_combine(*content, (uint64_t)(score_get(g->scores[i], "accuracy") * 1e6));
    }
}

static void on_step(world *w, const action *a)
{
    uint64_t content = 0, last = 0;
    if (a->step != w->version + 1 && !w->max_staleness)
        fail_msg("seed %" PRIu64 ": step %" PRId64 " after version %" PRId64, w->seed, a->step, w->version);
    if (a->step != w->ready + 1)
        fail_msg("seed %" PRIu64 ": step %" PRId64 " became ready after step %" PRId64, w->seed, a->step, w->ready);
    for (uint32_t g = 0; g < a->n_groups; g++) {
        if (g > 0 && a->groups[g]->id <= last) fail_msg("seed %" PRIu64 ": groups out of order", w->seed);
        last = a->groups[g]->id;
        check_group(w, a->groups[g], a->step, &content);
        group_free(a->groups[g]);
    }
    free(a->groups);
    if (a->n_groups != PROMPTS + (w->config.schedule.refills ? REFILLED : 0))
        fail_msg("seed %" PRIu64 ": step %" PRId64 " has %u groups", w->seed, a->step, a->n_groups);
    w->ready = a->step;
    w->content[a->step] = content;
    push(w, (event){ .kind = TRAINED, .version = a->step }, TRAIN_MS);
}

static void on_eval(world *w, const action *a)
{
    for (uint32_t g = 0; g < a->n_groups; g++) group_free(a->groups[g]);
    free(a->groups);
    if (a->step != w->version)
        fail_msg("seed %" PRIu64 ": version %" PRId64 " was evaluated while %" PRId64 " was out", w->seed, a->step,
                 w->version);
    w->evals_ready++;
}

static void commit(world *w, const action *a)
{
    kept *k = idmap_get(w->disk, a->task_id);
    if (!k) idmap_set(w->disk, a->task_id, k = xcalloc(1, sizeof *k));
    if (a->kind == COMMIT_EPISODE) {
        if (k->life == w->life) fail_msg("seed %" PRIu64 ": an episode was committed twice", w->seed);
        k->life = w->life;
        k->version = a->episode->tokens.n_segments ? a->episode->tokens.segments[0].version : -1;
        k->scored = false;
    } else {
        k->scored = true;
    }
}

static void perform(world *w, const action *a)
{
    switch (a->kind) {
    case COMMIT_EPISODE:
    case COMMIT_SCORE:
        commit(w, a);
        break;
    case SEND_TASK:
        send_message(w, (event){ .kind = TO_TASK,
                                 .peer = a->peer,
                                 .id = a->task_id,
                                 .version = a->task->max_version,
                                 .attempt = a->task->attempt });
        break;
    case ASK_SCORE:
        send_message(w, (event){ .kind = TO_SCORE_REQUEST, .peer = a->peer, .id = a->task_id });
        break;
    case SEND_ACK:
        if (a->task_id == w->arrived && !idmap_get(w->disk, a->task_id))
            fail_msg("seed %" PRIu64 ": acknowledged before it was committed", w->seed);
        if (!chance(w, 0.1)) send_message(w, (event){ .kind = TO_ACK, .peer = a->peer, .id = a->task_id });
        break;
    case STEP_READY:
        on_step(w, a);
        break;
    case EVAL_READY:
        on_eval(w, a);
        break;
    case REFUSE: /* of a connection, or a life of the exchange, before this one */
        if (a->refused != REFUSED_UNASKED) fail_msg("seed %" PRIu64 ": refused: %s", w->seed, a->said);
        break;
    case DISMISS:
        fail_msg("seed %" PRIu64 ": dismissed: %s", w->seed, a->said);
    case HALT:
        fail_msg("seed %" PRIu64 ": halted: %s", w->seed, a->why);
    }
}

/* Everything since the last commit: the process dies after any of its actions. */
static void drop_actions(world *w)
{
    action a;
    while (core_next_action(w->core, &a)) {
        for (uint32_t g = 0; g < a.n_groups; g++) group_free(a.groups[g]);
        free(a.groups);
    }
}

static void publish(world *w, int64_t version)
{
    w->version = version;
    if (version % EVAL_EVERY == 0) core_evaluate(w->core, version);
    for (picked_row rows[PROMPTS * (1 + REFILLS)]; w->sampled && w->told < version + 1 + w->max_staleness;)
        core_rows(w->core, w->told + 1, rows_of(w->told + 1, rows)), w->told++;
    core_version(w->core, w->now, version, weights_of(version));
}

/* A new exchange with what the disk has; training goes on from a checkpoint that may lie behind. */
static void restart(world *w)
{
    const int64_t from = w->version - (int64_t)test_random_below(&w->rnd, (uint64_t)w->version + 1);
    drop_actions(w);
    core_free(w->core);
    w->core = core_new(&w->config);
    w->events.len = 0;
    w->ready = w->told = from;
    w->life++;
    for (int64_t v = 0; v <= from; v++) core_known(w->core, v, weights_of(v));
    uint64_t id;
    void *value;
    for (size_t i = 0; idmap_next(w->disk, &i, &id, &value);) {
        const kept *k = value;
        if (task_id_eval(id) || task_id_step(id) <= from || k->version < 0) continue;
        core_restore(w->core, episode_of(w, id, k->version, 0, false), k->scored ? score_of(w, id, false) : NULL);
    }
    push(w, (event){ .kind = TICK }, TICK_MS);
    publish(w, from);
    for (int i = 0; i < ACTORS + JUDGES; i++) connect_client(w, &w->clients[i]);
    if (w->crashes_left-- > 0) push(w, (event){ .kind = CRASH }, (int64_t)test_random_below(&w->rnd, 3000));
}

/* True: the exchange was killed in between. */
static bool settle(world *w)
{
    action a;
    while (core_next_action(w->core, &a)) {
        perform(w, &a);
        if (w->crashes_left > 0 && chance(w, 0.0005)) {
            w->crashes_left--;
            return true;
        }
    }
    return false;
}

/* ---- what happens ---- */

/* An actor that still has the episode, and would play the same again, sends it at once. */
static bool has_it(client *c, const event *e)
{
    for (size_t i = 0; i < c->unacked.len; i++) {
        played *p = &c->unacked.data[i];
        if (p->id != e->id) continue;
        if (p->version != e->version) return c->unacked.data[i] = c->unacked.data[--c->unacked.len], false;
        p->old = false;
        p->attempt = e->attempt;
        return true;
    }
    return false;
}

static void begin_to_play(world *w, client *c, const event *e)
{
    event p = { .kind = PLAYED, .peer = c->peer, .id = e->id, .version = w->version, .attempt = e->attempt };
    const bool has = has_it(c, &p);
    p.fails = !has && chance(w, 0.02);
    push(w, p, has ? 1 : !w->rough ? 10 : 5 + (int64_t)test_random_below(&w->rnd, chance(w, 0.02) ? 3000 : 100));
}

static void on_task(world *w, client *c, const event *e)
{
    const uint64_t id = e->id;
    task t;
    task_of(w, id, &t);
    const bool waits = w->version<t.min_version, late = w->version> e->version;
    task_reset(&t);
    if (waits)
        push(w, (event){ .kind = TO_TASK, .peer = c->peer, .id = id, .version = e->version, .attempt = e->attempt },
             20);
    else if (late)
        core_want(w->core, w->now, c->peer, 1); /* left to its lease */
    else
        begin_to_play(w, c, e);
}

static void on_played(world *w, client *c, const event *e)
{
    if (!e->fails && !has_it(c, e)) vec_push(&c->unacked, (played){ e->id, e->version, e->attempt, false });
    send_episode(w, c, e->id, e->version, e->attempt, e->fails);
    core_want(w->core, w->now, c->peer, 1);
}

static void on_ack(client *c, uint64_t id)
{
    for (size_t i = 0; i < c->unacked.len; i++)
        if (c->unacked.data[i].id == id) c->unacked.data[i--] = c->unacked.data[--c->unacked.len];
}

static void resend(world *w, const client *c)
{
    for (size_t i = 0; i < c->unacked.len; i++) {
        const played *p = &c->unacked.data[i];
        if (!p->old) send_episode(w, c, p->id, p->version, p->attempt, false);
    }
    push(w, (event){ .kind = RESEND, .peer = c->peer }, RESEND_MS);
}

static void on_trained(world *w, int64_t step)
{
    if (core_evaluating(w->core) || step > w->version + 1)
        push(w, (event){ .kind = TRAINED, .version = step }, 20); /* held back, or not its turn */
    else
        publish(w, step);
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

static void happen(world *w, const event *e)
{
    client *c = client_of(w, e->peer);
    if (e->peer && !c) return; /* on a connection that is no more */
    w->arrived = wanted(w, e);
    switch (e->kind) {
    case TO_TASK:
        on_task(w, c, e);
        break;
    case TO_ACK:
        on_ack(c, e->id);
        break;
    case TO_SCORE_REQUEST:
        send_message(w, (event){ .kind = SCORE_IN, .peer = e->peer, .id = e->id, .fails = chance(w, 0.02) });
        break;
    case EPISODE_IN:
        core_episode(w->core, w->now, e->peer, episode_of(w, e->id, e->version, e->attempt, e->fails));
        break;
    case SCORE_IN:
        core_score(w->core, w->now, e->peer, score_of(w, e->id, e->fails));
        core_want(w->core, w->now, e->peer, 1);
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
        core_tick(w->core, w->now);
        push(w, (event){ .kind = TICK }, TICK_MS);
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

static void open_world(world *w, const core_config *config, bool sampled, uint64_t seed, bool rough)
{
    *w = (world){ .rnd = test_random_seed(seed),
                  .seed = seed,
                  .rough = rough,
                  .sampled = sampled,
                  .config = *config,
                  .disk = idmap_new(),
                  .life = 1,
                  .max_staleness = config->schedule.max_staleness };
    w->core = core_new(&w->config);
    w->crashes_left = rough ? (int)test_random_below(&w->rnd, 3) : 0;
    for (int i = 0; i < ACTORS + JUDGES; i++) w->clients[i].actor = i < ACTORS;
    push(w, (event){ .kind = TICK }, TICK_MS);
    if (w->crashes_left > 0) push(w, (event){ .kind = CRASH }, (int64_t)test_random_below(&w->rnd, 2000));
    publish(w, 0);
    for (int i = 0; i < ACTORS + JUDGES; i++) connect_client(w, &w->clients[i]);
}

static void close_world(world *w)
{
    uint64_t id;
    void *k;
    drop_actions(w);
    core_free(w->core);
    for (size_t i = 0; idmap_next(w->disk, &i, &id, &k);) free(k);
    idmap_free(w->disk);
    for (int i = 0; i < ACTORS + JUDGES; i++) vec_free(&w->clients[i].unacked);
    vec_free(&w->events);
}

static void play_run(world *w)
{
    for (;;) {
        while (settle(w)) restart(w);
        if (w->version == STEPS && !core_evaluating(w->core)) return;
        const event e = next_event(w);
        w->now = e.at;
        if (w->now > END_MS) {
            char waiting[200];
            core_waiting_for(w->core, waiting, sizeof waiting);
            fail_msg("seed %" PRIu64 ": the run never ends, waiting for %s", w->seed, waiting);
        }
        happen(w, &e);
    }
}

typedef struct stage_set {
    char *dir;
    dataset *train, *test;
    core_config config;
} stage_set;

typedef struct manner {
    int64_t max_staleness, lag;
    uint32_t refills;
    bool sampled;
} manner;

static stage_set open_set(const manner *m)
{
    error err = { 0 };
    char path[400];
    stage_set s = { .dir = test_folder_new() };
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
                              .limits = { .vocab = VOCAB, .max_context = 3 + MOST_SAMPLED, .max_turns = 0 },
                              .signal = "accuracy" };
    return s;
}

static void close_set(stage_set *s)
{
    dataset_free(s->train);
    dataset_free(s->test);
    test_folder_remove(s->dir);
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void rough_histories(manner m)
{
    stage_set s = open_set(&m);
    static world calm, rough;
    open_world(&calm, &s.config, m.sampled, 0, false);
    play_run(&calm);
    assert_int_equal(calm.evals_ready, STEPS / EVAL_EVERY + 1);
    const uint64_t only = number_of("SIM_SEED", 0), runs = only ? only : number_of("SIM_RUNS", DEFAULT_RUNS);
    for (uint64_t seed = only ? only : 1; seed <= runs; seed++) {
        open_world(&rough, &s.config, m.sampled, seed, true);
        play_run(&rough);
        for (int64_t step = 1; step <= STEPS && !m.max_staleness; step++) /* stale tokens depend on who was quick */
            if (rough.content[step] != calm.content[step])
                fail_msg("seed %" PRIu64 ": step %" PRId64 " differs from the calm run's", seed, step);
        close_world(&rough);
    }
    close_world(&calm);
    close_set(&s);
}

static void a_synchronous_run_ends_as_the_calm_one_whatever_happens(void **state)
{
    (void)state;
    rough_histories((manner){ 0 });
}

static void a_run_with_stale_tokens_keeps_to_its_limit_whatever_happens(void **state)
{
    (void)state;
    rough_histories((manner){ .max_staleness = 2 });
}

static void refilled_steps_depend_on_what_was_played_and_not_on_when(void **state)
{
    (void)state;
    rough_histories((manner){ .refills = REFILLS });
    rough_histories((manner){ .max_staleness = 2, .refills = REFILLS });
}

static void a_lagging_run_is_as_stale_as_it_was_told(void **state)
{
    (void)state;
    rough_histories((manner){ .max_staleness = 2, .lag = 2 });
    rough_histories((manner){ .max_staleness = 1, .lag = 1, .refills = REFILLS });
}

static void a_sampler_s_rows_are_played_whatever_happens(void **state)
{
    (void)state;
    rough_histories((manner){ .sampled = true });
    rough_histories((manner){ .max_staleness = 1, .refills = REFILLS, .sampled = true });
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
