/* SPDX-License-Identifier: MIT */
/* A client of the exchange that is none of ours, while a training runs: it forges, floods, lies about its role and its
 * name, takes work and lets it lie, asks for everything and reads nothing, and opens connections by the hundred. The
 * run is to be the undisturbed one, byte for byte; the learner's memory is to stay what it was; and the client's names
 * are to stand in the metrics with what was refused of them. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <zmq.h>

#include "base/clock.h"
#include "tests/integration/drip.h"
#include "tests/integration/fleet.h"
#include "tests/integration/villain.h"
#include "tests/support/honest.h"
#include "tests/support/support.h"

/* AddressSanitizer keeps what was freed for a while, 256 MB of it unless it is told otherwise: what the learner holds
 * would drown in that. */
static const char *const SMALL_QUARANTINE = "quarantine_size_mb=8";

enum { SECONDS = 240, LAST = 8, GIANT = 32 << 20, MORE_MEMORY_KB = 64 << 10, NAMES = 200, FEW_FILES = 150 };

static const char *const LEASE = "lease_seconds=4"; /* so that whoever holds work holds it up for no longer */

static process start(const place *p)
{
    return place_start(p, (const char *const[]){ "actors=2", "reward_workers=2", "steps=8", LEASE, NULL });
}

/* Under a shell's soft limit that the client's connections exceed: a learner that kept to it could open no file
 * more. */
static process start_with_few_files(const place *p)
{
    struct rlimit before;
    getrlimit(RLIMIT_NOFILE, &before);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){ FEW_FILES, before.rlim_max });
    const process t = start(p);
    setrlimit(RLIMIT_NOFILE, &before);
    return t;
}

/* ---- what it says ---- */

/* An episode that could be one of the run's, but for what is done to it. */
static episode *forged(const villain *v, uint64_t id)
{
    const task t = { .id = id,
                     .group = task_id(false, task_id_step(id), task_id_index(id) / 4 * 4),
                     .sample = task_id_index(id) % 4,
                     .step = task_id_step(id),
                     .attempt = v->attempt,
                     .n_shots = 3 };
    episode *e =
        honest_episode(&t, "<answer>1</answer>", 1, (honest_policy){ v->version < 0 ? 0 : v->version, v->hash, -0.5f });
    e->answer = xstrdup("1");
    e->stop = STOP_ANSWER;
    return e;
}

static void say_score(villain *v, uint64_t id, double value)
{
    score s = { .task = id };
    score_set(&s, "accuracy", 0, NULL);
    s.values[0].value = value;
    say(v, (message){ .type = MSG_SCORE, .score = { &s } });
    score_reset(&s);
}

/* ---- what it does ---- */

static void forge(villain *v)
{
    connect_to(v);
    hello(v, "actor", "mallory-forges");
    listen_for(v, 100);
    for (int64_t step = 1; step <= LAST; step++)
        for (uint32_t i = 0; i < 8; i++) {
            say_episode(v, forged(v, task_id(false, step, i)));
            say_score(v, task_id(false, step, i), 1); /* of another role, too */
        }
    connect_to(v);
    hello(v, "reward", "mallory-judges");
    for (int64_t step = 1; step <= LAST; step++)
        for (uint32_t i = 0; i < 8; i++) {
            say_score(v, task_id(false, step, i), -1);
            say_episode(v, forged(v, task_id(false, step, i)));
        }
    listen_for(v, 20);
}

static void spoil(villain *v, episode *e)
{
    const int32_t ids[600] = { 0 };
    switch (test_random_below(&v->rnd, 6)) {
    case 0:
        trajectory_append(&e->tokens, TOKEN_OBSERVATION, ids, 600);
        break;
    case 1:
        e->tokens.logprob[2] = -1e30f;
        break;
    case 2:
        e->tokens.ids[0] = 1 << 20;
        break;
    case 3:
        e->tokens.segments[0].weight_hash ^= 1;
        break;
    case 4:
        e->sample += 100;
        break;
    default:
        free(e->text);
        e->text = memset(xcalloc(1, 400001), 'x', 400000);
    }
}

/* It is given work, as any peer that says HELLO, and answers with what can't be, or not at all, or leaves with it. */
static void take_work(villain *v)
{
    connect_to(v);
    hello(v, "actor", "mallory-takes");
    say(v, (message){ .type = MSG_WANT, .want = { UINT32_MAX } });
    listen_for(v, 60);
    for (int i = 0; i < 4 && v->task; i++) {
        episode *e = forged(v, v->task);
        spoil(v, e);
        say_episode(v, e);
    }
    say_bytes(v,
              "\6\x81\xa7"
              "episode\xc0",
              11);
    if (test_random_below(&v->rnd, 2)) say(v, (message){ .type = MSG_BYE });
    listen_for(v, 20);
    connect_to(v);
    hello(v, "reward", "mallory-scores");
    say(v, (message){ .type = MSG_WANT, .want = { 3 } });
    listen_for(v, 60);
    static const double bad[] = { 1e300, -1e300, 1e6 };
    for (int i = 0; i < 3 && v->task; i++) say_score(v, v->task, bad[i]);
    listen_for(v, 20);
}

static void send_giants(villain *v)
{
    char *giant = xcalloc(1, GIANT);
    connect_to(v);
    hello(v, "actor", "mallory-giant");
    giant[0] = MSG_EPISODE;
    say_bytes(v, giant, GIANT);
    listen_for(v, 50);
    connect_to(v);
    hello(v, "actor", "mallory-long");
    giant[0] = MSG_WANT;
    say_bytes(v, giant, 100000);
    say_bytes(v, giant, 1000000);
    episode *e = forged(v, task_id(false, 1, 0));
    free(e->transcript);
    e->transcript = memset(xcalloc(1, 1200001), 'x', 1200000);
    say_episode(v, e);
    const int32_t ids[1000] = { 0 };
    e = forged(v, task_id(false, 1, 0));
    for (int i = 0; i < 1000; i++) trajectory_append(&e->tokens, TOKEN_OBSERVATION, ids, 1000); /* a million */
    say_episode(v, e);
    listen_for(v, 100);
    free(giant);
}

/* As long as they may be, faster than they can be read. */
static void flood(villain *v)
{
    connect_to(v);
    hello(v, "actor", "mallory-floods");
    episode *e = forged(v, task_id(false, 1, 0));
    free(e->text), free(e->transcript);
    e->text = memset(xcalloc(1, 170001), 'x', 170000);
    e->transcript = memset(xcalloc(1, 170001), 'x', 170000);
    str bytes = { 0 };
    const message m = { .type = MSG_EPISODE, .episode = { e } };
    message_encode(&m, &bytes);
    for (int i = 0; i < 700; i++) say_bytes(v, bytes.data, bytes.len);
    str_free(&bytes);
    episode_free(e);
    listen_for(v, 200);
}

static void lie_about_names(villain *v)
{
    static const char *const taken[] = { "actor-1", "actor-2", "reward-1", "reward-2" };
    for (int i = 0; i < 4; i++) {
        connect_to(v);
        hello(v, i < 2 ? "actor" : "reward", taken[i]);
        say(v, (message){ .type = MSG_WANT, .want = { 100 } });
        listen_for(v, 20); /* else it is gone before it was connected */
    }
    connect_to(v);
    for (int i = 0; i < NAMES; i++) {
        char name[32];
        snprintf(name, sizeof name, "mallory-%d", i);
        hello(v, "actor", name);
        say(v, (message){ .type = MSG_BYE });
    }
    hello(v, "exchange", "mallory-rules");
    hello(v, "learner", "mallory-learns");
    listen_for(v, 20);
}

static void talk_rubbish(villain *v)
{
    connect_to(v);
    hello(v, "actor", "mallory-rubbish");
    for (int i = 0; i < 5000; i++) {
        unsigned char bytes[64];
        const size_t len = 1 + test_random_below(&v->rnd, sizeof bytes);
        test_random_bytes(&v->rnd, bytes, len);
        bytes[0] = (unsigned char)test_random_below(&v->rnd, N_MESSAGES + 2);
        if (bytes[0] == MSG_BYE || bytes[0] == MSG_HELLO) bytes[0] = MSG_SCORE;
        say_bytes(v, bytes, len);
    }
    say(v,
        (message){ .type = MSG_WEIGHTS, .weights = { .version = 99, .hash = 1, .bytes = 1, .path = "/etc/passwd" } });
    say(v, (message){ .type = MSG_EPISODE_ACK, .ack = { task_id(false, 1, 0) } });
    listen_for(v, 20);
}

/* What an exchange says, and none of its peers; asked of itself, and of whoever else is there. */
static void command(villain *v)
{
    char row[] = "{}";
    episode *e = forged(v, task_id(false, 1, 0));
    task t = { .id = e->id, .group_size = 4, .max_tokens = 1, .row = row };
    connect_to(v);
    hello(v, "reward", "mallory-commands");
    say(v, (message){ .type = MSG_SCORE_REQUEST, .score_request = { &t, e } });
    say(v, (message){ .type = MSG_TASK, .task = { &t } });
    say(v, (message){ .type = MSG_WELCOME, .welcome = { .run = "mallory's", .seed = 7 } });
    say(v, (message){ .type = MSG_GROUP, .group = { .id = 1, .size = 4, .n = 4 } });
    say(v,
        (message){ .type = MSG_WEIGHTS, .weights = { .version = 99, .hash = 1, .bytes = 1, .path = "/etc/passwd" } });
    episode_free(e);
    listen_for(v, 20);
}

/* Sockets that stay: two that never read, one of weights and one of the recipe, and one that holds whatever it was
 * given and says that it lives. */
typedef struct company {
    villain glutton, holder, newcomer;
} company;

static void come_for_the_recipe(villain *v)
{
    message m = { .type = MSG_HELLO,
                  .hello = { .role = "actor",
                             .name = "mallory-newcomer",
                             .protocol = PROTOCOL_VERSION,
                             .life = test_random_next(&v->rnd) | 1,
                             .for_recipe = true } };
    connect_to(v);
    say(v, m);
}

/* All of it, again and again, also what isn't there; and work, which is for those who have it. */
static void ask_for_the_recipe(villain *v)
{
    for (uint32_t i = 0; i < 300; i++)
        say(v, (message){ .type = MSG_RECIPE_GET, .recipe_get = { i % 6, i % 50 == 0 ? UINT64_MAX : 0 } });
    say(v, (message){ .type = MSG_WANT, .want = { 100 } });
    say(v, (message){ .type = MSG_HEARTBEAT });
}

static void be_rude(company *c, int round)
{
    if (round == 0) {
        connect_to(&c->glutton);
        hello(&c->glutton, "actor", "mallory-glutton");
        connect_to(&c->holder);
        hello(&c->holder, "actor", "mallory-holds");
        say(&c->holder, (message){ .type = MSG_WANT, .want = { 2 } });
        come_for_the_recipe(&c->newcomer);
    }
    ask_for_the_recipe(&c->newcomer);
    for (int i = 0; i < 300; i++)
        say(&c->glutton, (message){ .type = MSG_WEIGHTS_GET, .weights_get = { .version = i % LAST, .offset = 0 } });
    say(&c->glutton, (message){ .type = MSG_HEARTBEAT, .heartbeat = { .ping = (uint64_t)round } });
    say(&c->holder, (message){ .type = MSG_HEARTBEAT });
}

/* ---- what it comes to ---- */

static long peak_kb(int pid)
{
    char path[64], line[256];
    long kb = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %ld", &kb) == 1) break;
    if (f) fclose(f);
    return kb;
}

static long run_and_watch(process *t, const place *p, void (*meanwhile)(void *ctx), void *ctx)
{
    int status = -1;
    long peak = 0;
    const int64_t until_ms = clock_ms() + SECONDS * 1000;
    for (;;) {
        const int pid = learner_of(p);
        const long now = pid ? peak_kb(pid) : 0;
        if (now > peak) peak = now;
        if (meanwhile) meanwhile(ctx);
        if (process_wait(t, 50, &status)) break;
        if (clock_ms() > until_ms) {
            process_signal(t, SIGKILL);
            fail_msg("the run did not end within %d s", SECONDS);
        }
    }
    assert_int_equal(status, 0);
    return peak;
}

typedef struct attack {
    const place *place;
    villain villain;
    company company;
    drip drip;
    int round;
} attack;

enum { N_WAYS = 7 };

static void everything(void *ctx)
{
    static void (*const WAYS[])(villain *) = { forge,        take_work, send_giants, lie_about_names,
                                               talk_rubbish, flood,     command };
    attack *a = ctx;
    be_rude(&a->company, a->round);
    drip_connect(&a->drip, a->villain.address, 60);
    drip_on(&a->drip);
    WAYS[a->round % N_WAYS](&a->villain);
    a->round++;
}

static void a_hostile_client_has_no_effect_but_counters_with_its_name(void **state)
{
    (void)state;
    need_sandbox();
    setenv("ASAN_OPTIONS", SMALL_QUARANTINE, 1);
    char address[300];
    place calm = place_new(), p = place_new();
    process t = start(&calm);
    const long calm_kb = run_and_watch(&t, &calm, NULL, NULL);
    t = start_with_few_files(&p);
    wait_for_exchange(&p, address);
    attack a = { .place = &p };
    void *context = zmq_ctx_new();
    a.villain = villain_new(context, address, 1);
    a.company.glutton = villain_new(context, address, 1);
    a.company.holder = villain_new(context, address, 1);
    a.company.newcomer = villain_new(context, address, 1);
    const long peak_kb_under_attack = run_and_watch(&t, &p, everything, &a);
    print_message("%d rounds; the learner's peak: %ld KB, undisturbed %ld KB; refused: %.0f\n", a.round,
                  peak_kb_under_attack, calm_kb, last_metric(&p, "exchange/refused"));
    print_message("%d connections that never come to anything\n", a.drip.n);
    assert_true(a.round >= N_WAYS);
    assert_true(a.drip.n > FEW_FILES);
    drip_close(&a.drip);
    assert_true(peak_kb_under_attack <= calm_kb + MORE_MEMORY_KB);
    assert_same_model(&calm, &p, LAST);
    outcome o = TROUPE("rollouts", p.run, "--limit", "1");
    if (!strstr(o.text, "trained: 8 steps, 16 groups, 64 episodes")) fail_msg("%s", o.text);
    outcome_free(&o);
    static const char *const counted[] = { "exchange/refused/unasked",
                                           "exchange/refused/role",
                                           "exchange/refused/namesake",
                                           "exchange/refused/malformed",
                                           "exchange/refused/too_long",
                                           "exchange/refused_of/mallory-forges",
                                           "exchange/refused_of/mallory-judges",
                                           "exchange/refused_of/mallory-newcomer",
                                           "exchange/refused_of/mallory-commands" };
    for (size_t i = 0; i < sizeof counted / sizeof *counted; i++)
        if (!(last_metric(&p, counted[i]) > 0)) fail_msg("%s was not counted", counted[i]);
    zmq_close(a.villain.socket);
    zmq_close(a.company.glutton.socket);
    zmq_close(a.company.holder.socket);
    zmq_close(a.company.newcomer.socket);
    zmq_ctx_term(context);
    test_folder_remove(calm.dir);
    test_folder_remove(p.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_hostile_client_has_no_effect_but_counters_with_its_name) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
