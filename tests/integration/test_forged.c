/* SPDX-License-Identifier: MIT */
/* An actor of a training that holds leases and forges: it has the very episode that the task would become, of a run
 * with the same seed, and changes one thing in it, in all the places where it shows. Nothing of it is trained on: the
 * run ends with the bytes of the undisturbed run. What it passes on unchanged is as good as any actor's. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "base/clock.h"
#include "base/vec.h"
#include "exchange/store.h"
#include "tests/integration/fleet.h"
#include "tests/integration/villain.h"
#include "tests/support/support.h"

enum { SECONDS = 150, LAST = 16 };

typedef vec(episode *) episodes;

/* ---- what is forged: false where this episode has no such thing ---- */

static bool nothing(episode *e) { return e->failed == FAIL_NONE; }

static bool first_token(episode *e) { return e->tokens.ids[0] = e->tokens.ids[0] ? e->tokens.ids[0] - 1 : 1, true; }

static bool question(episode *e)
{
    const uint32_t i = e->tokens.n_prompt - 4;
    return e->tokens.ids[i] = e->tokens.ids[i - 1], e->tokens.ids[i] != e->tokens.ids[i + 1];
}

static bool shot_as_instruction(episode *e)
{
    uint32_t i = 0;
    while (i < e->tokens.n_prompt && e->tokens.role[i] != TOKEN_SHOT) i++;
    return i < e->tokens.n_prompt && (e->tokens.role[i] = TOKEN_INSTRUCTION, true);
}

static void put_digit(char *text, const char *from, char digit)
{
    char *at = strstr(text, from);
    if (at) at[strcspn(at, "0123456789")] = digit;
}

/* Another digit, wherever the answer stands. */
static bool answer(episode *e)
{
    char old[200];
    if (!e->answer || !strpbrk(e->answer, "0123456789") || strlen(e->answer) > 60) return false;
    const char digit = *strpbrk(e->answer, "0123456789") == '7' ? '8' : '7';
    snprintf(old, sizeof old, "<answer>%s", e->answer);
    put_digit(e->text, old, digit);
    put_digit(e->transcript, old, digit);
    put_digit(e->turns[e->n_turns - 1].text, old, digit);
    put_digit(e->answer, e->answer, digit);
    return true;
}

static bool answer_alone(episode *e)
{
    if (!e->answer) return false;
    free(e->answer);
    return e->answer = xstrdup("answer"), true;
}

static bool no_answer(episode *e)
{
    if (!e->answer) return false;
    free(e->answer);
    e->answer = NULL;
    return e->stop = STOP_EOS, true;
}

static bool text(episode *e)
{
    free(e->text);
    return e->text = xstrdup("<answer>42</answer>"), true;
}

static bool word(episode *e)
{
    const uint32_t i = e->turns[0].start;
    return e->tokens.ids[i] = e->tokens.ids[i] ? e->tokens.ids[i] - 1 : 1, true;
}

static bool bytes(episode *e)
{
    const uint32_t i = e->turns[0].start;
    if (e->turns[0].end - i < 2 || e->tokens.wrote[i + 1] == 0) return false;
    return e->tokens.wrote[i]++, e->tokens.wrote[i + 1]--, true;
}

static bool arguments(episode *e)
{
    if (e->n_calls == 0) return false;
    free(e->calls[0].arguments);
    return e->calls[0].arguments = xstrdup("{\"code\":\"print(42)\"}"), true;
}

static bool observation(episode *e)
{
    if (e->n_calls == 0) return false;
    free(e->calls[0].observation);
    return e->calls[0].observation = xstrdup("42"), true;
}

static bool data_group(episode *e)
{
    free(e->data_group);
    return e->data_group = xstrdup("easy"), true;
}

static bool unplayable(episode *e)
{
    e->failed = FAIL_PROMPT, e->stop = STOP_ERROR;
    return e->failure_text = xstrdup("the prompt is too long"), true;
}

static const struct {
    const char *name;
    bool (*forge)(episode *e);
} WAYS[] = {
    { "nothing", nothing },
    { "first_token", first_token },
    { "question", question },
    { "shot_as_instruction", shot_as_instruction },
    { "answer", answer },
    { "answer_alone", answer_alone },
    { "no_answer", no_answer },
    { "text", text },
    { "word", word },
    { "bytes", bytes },
    { "arguments", arguments },
    { "observation", observation },
    { "data_group", data_group },
    { "unplayable", unplayable },
};
enum { N_WAYS = sizeof WAYS / sizeof *WAYS };

/* ---- who does it ---- */

typedef struct attack {
    villain villain;
    episodes known; /* of the calm run */
    int lives, sent;
    int tried[N_WAYS];
} attack;

static int keep(void *ctx, const char *row, episode *e, score *sc)
{
    (void)row;
    vec_push((episodes *)ctx, e);
    score_free(sc);
    return 0;
}

static episodes read_run(const place *p)
{
    char path[400];
    error err = { 0 };
    episodes all = { 0 };
    snprintf(path, sizeof path, "%s/rollouts.db", p->run);
    store *s = store_open_read(path, &err);
    if (!s) fail_msg("%s", err.text);
    test_ok(store_read(s, -1, -1, 0, keep, &all, &err), &err);
    store_close(s);
    assert_true(all.len > 0);
    return all;
}

static episode *copy_of(const attack *a, uint64_t id)
{
    str record = { 0 };
    error err = { 0 };
    episode *copy = NULL;
    for (size_t i = 0; i < a->known.len && !copy; i++) {
        if (a->known.data[i]->id != id) continue;
        episode_encode(a->known.data[i], &record);
        copy = episode_decode(record.data, record.len, &err);
        if (!copy) fail_msg("%s", err.text);
    }
    str_free(&record);
    return copy;
}

/* The way that was tried least often. */
static int next_way(const attack *a)
{
    int min = 0;
    for (int i = 1; i < N_WAYS; i++)
        if (a->tried[i] < a->tried[min]) min = i;
    return min;
}

/* Of what it has just been given. */
static void deliver(attack *a)
{
    villain *v = &a->villain;
    for (int tries = 0, way = next_way(a); tries < N_WAYS; tries++, way = (way + 1) % N_WAYS) {
        episode *e = copy_of(a, v->task);
        if (!e) return; /* of an evaluation */
        e->attempt = v->attempt;
        if (!WAYS[way].forge(e)) {
            episode_free(e);
            continue;
        }
        a->tried[way]++;
        a->sent += way > 0;
        say_episode(v, e);
        return;
    }
}

/* As a new one each time: after three lies that name is refused. Towards the end it is gone. */
static void forge(void *ctx)
{
    attack *a = ctx;
    char name[32];
    villain *v = &a->villain;
    if (v->version >= LAST - 2) return;
    connect_to(v);
    snprintf(name, sizeof name, "mallory-%d", ++a->lives);
    hello(v, "actor", name);
    say(v, (message){ .type = MSG_WANT, .want = { 1 } });
    for (int i = 0; i < 100 && !v->task; i++) listen_for(v, 5);
    if (v->task) deliver(a);
    listen_for(v, 10); /* until it was read */
}

static void run_to_end(process *t, void (*meanwhile)(void *ctx), void *ctx)
{
    int status = -1;
    const int64_t until_ms = clock_ms() + SECONDS * 1000;
    while (!process_wait(t, 10, &status)) {
        if (meanwhile) meanwhile(ctx);
        if (clock_ms() < until_ms) continue;
        process_signal(t, SIGKILL);
        fail_msg("the run did not end within %d s", SECONDS);
    }
    assert_int_equal(status, 0);
}

static process start(const place *p)
{
    return place_start(p, (const char *const[]){ "actors=1", "actor_slots=3", "steps=16", "checkpoint_every=16",
                                                 "lease_seconds=4", NULL });
}

static void nothing_that_is_forged_is_trained_on(void **state)
{
    (void)state;
    need_sandbox();
    char address[300];
    place calm = place_new(), p = place_new();
    process t = start(&calm);
    run_to_end(&t, NULL, NULL);
    t = start(&p);
    wait_for_exchange(&p, address);
    void *context = zmq_ctx_new();
    attack a = { .villain = villain_new(context, address, 1), .known = read_run(&calm) };
    run_to_end(&t, forge, &a);

    for (int i = 0; i < N_WAYS; i++) {
        print_message("%s %d%s", WAYS[i].name, a.tried[i], i + 1 < N_WAYS ? ", " : "\n");
        if (a.tried[i] == 0) fail_msg("nothing was forged by '%s'", WAYS[i].name);
    }
    assert_int_equal((int)last_metric(&p, "exchange/refused/episode"), a.sent);
    assert_same_model(&calm, &p, LAST);
    zmq_close(a.villain.socket);
    zmq_ctx_term(context);
    for (size_t i = 0; i < a.known.len; i++) episode_free(a.known.data[i]);
    vec_free(&a.known);
    test_folder_remove(calm.dir);
    test_folder_remove(p.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(nothing_that_is_forged_is_trained_on) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
