/* SPDX-License-Identifier: MIT */
/* A worker without a recipe, and learners of all kinds: one that sends what it says, and those that don't. The learner
 * is a process of its own. */
#include "run/fetch.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "proto/endpoint.h"
#include "tests/support/support.h"

enum { PATIENCE_MS = 20000, SHORT_MS = 300 };

static const char RECIPE[] = "local more = require 'more'\n"
                             "return { name = 'sent', model = 'm', data = { train = 'd.jsonl' },\n"
                             "         reward = { script = 'reward.lua', objectives = more } }\n";

/* ---- learners ---- */

typedef struct learner {
    loop *lp;
    endpoint *ep;
    parcel *parcel;
    parcel_list says;         /* instead of the parcel's */
    const char *bye;          /* its only answer; NULL: it answers */
    bool mute, forgets, lies; /* sends no chunk; is started anew after the first; sends other bytes */
    bool nags;                /* welcomes whoever asks for a chunk */
    int chunks;
} learner;

static void on_peer(void *ctx, peer_id peer, const hello_body *hello, bool up, const char *why)
{
    learner *l = ctx;
    (void)why;
    if (!up) return;
    message m = { .type = l->bye ? MSG_BYE : MSG_WELCOME };
    if (!hello->for_recipe || strcmp(hello->role, "reward") != 0) _exit(1);
    if (l->bye)
        snprintf(m.bye.reason, sizeof m.bye.reason, "%s", l->bye);
    else
        m.welcome = (welcome_body){ .run = "sent", .recipe = l->says.files ? l->says : l->parcel->list };
    endpoint_send(l->ep, peer, &m, NULL);
}

static void welcome_again(const learner *l, peer_id peer)
{
    const message again = { .type = MSG_WELCOME, .welcome = { .run = "sent", .recipe = l->parcel->list } };
    endpoint_send(l->ep, peer, &again, NULL);
}

static void on_message(void *ctx, peer_id peer, message *m)
{
    learner *l = ctx;
    message c = { .type = MSG_RECIPE_CHUNK };
    if (m->type == MSG_RECIPE_GET && l->nags) welcome_again(l, peer);
    if (m->type != MSG_RECIPE_GET || l->mute || !parcel_chunk_of(l->parcel, &m->recipe_get, &c.recipe_chunk)) return;
    if (l->lies) ((char *)c.recipe_chunk.data)[0] ^= 1;
    endpoint_send(l->ep, peer, &c, NULL);
    free(c.recipe_chunk.data);
    if (l->forgets && l->chunks++ == 0) welcome_again(l, peer);
}

typedef struct scene {
    char *dir, *tmp, address[400];
    learner learner;
    pid_t pid; /* of the learner; 0: there is none */
    fetched fetched;
    error err;
} scene;

static void pack(scene *s, const char *name, const char *text)
{
    char path[400];
    test_file_write(s->dir, "file", text);
    snprintf(path, sizeof path, "%s/file", s->dir);
    test_ok(parcel_add(s->learner.parcel, name, path, &s->err), &s->err);
}

static scene open_scene(const char *recipe_text)
{
    scene s = { .dir = test_folder_new(), .tmp = test_folder_new(), .learner.parcel = parcel_new() };
    snprintf(s.address, sizeof s.address, "ipc://%s/learner", s.dir);
    pack(&s, "recipe.lua", recipe_text);
    pack(&s, "more.lua", "return { accuracy = 1 }");
    pack(&s, "reward/script.lua", "return function() return 1 end");
    test_ok(parcel_add_word(s.learner.parcel, "rollout.group=3", &s.err), &s.err);
    setenv("TMPDIR", s.tmp, 1);
    return s;
}

static void start(scene *s)
{
    s->pid = fork();
    if (s->pid != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    learner *l = &s->learner;
    const endpoint_config config = { .address = s->address, .heartbeat_ms = 50 };
    const endpoint_callbacks cb = { .ctx = l, .on_message = on_message, .on_peer = on_peer };
    l->lp = loop_new(NULL);
    l->ep = endpoint_bind(l->lp, &config, &cb, NULL, NULL);
    while (l->ep && loop_once(l->lp, 20, NULL) == OK) continue;
    _exit(1);
}

static recipe *fetch(scene *s, int64_t patience_ms)
{
    static const char *const OWN[] = { "reward.timeout_ms=77" };
    const fetch_config config = { .address = s->address,
                                  .name = "newcomer",
                                  .role = PACK_FOR_REWARD,
                                  .patience_ms = patience_ms,
                                  .words = OWN,
                                  .n_words = 1 };
    s->err = (error){ 0 };
    return fetch_recipe(&s->fetched, &config, NULL, &s->err);
}

static void close_scene(scene *s)
{
    if (s->pid > 0) kill(s->pid, SIGKILL), waitpid(s->pid, NULL, 0);
    fetched_reset(&s->fetched);
    int n = 0;
    DIR *d = opendir(s->tmp);
    while (readdir(d)) n++;
    closedir(d);
    assert_int_equal(n, 2); /* "." and "..": nothing is left of it */
    parcel_free(s->learner.parcel);
    test_folder_remove(s->dir);
    test_folder_remove(s->tmp);
    unsetenv("TMPDIR");
}

static void must_be_refused(scene *s, int64_t patience_ms, int code, const char *about)
{
    recipe *r = fetch(s, patience_ms);
    assert_null(r);
    if (s->err.code != code || !strstr(s->err.text, about)) fail_msg("%d: %s", s->err.code, s->err.text);
    if (!strstr(s->err.text, s->address)) fail_msg("'%s' does not say who", s->err.text);
    close_scene(s);
}

/* ---- promises ---- */

static void the_recipe_is_opened_as_it_was_sent_with_ones_own_words_last(void **state)
{
    (void)state;
    scene s = open_scene(RECIPE);
    start(&s);
    recipe *r = fetch(&s, PATIENCE_MS);
    if (!r) fail_msg("%s", s.err.text);
    assert_string_equal(r->run.name, "sent");
    assert_int_equal(r->exchange.group, 3);
    assert_true(r->reward.timeout_ms == 77 && r->sent);
    assert_true(file_exists(r->reward.script));
    assert_int_equal(s.fetched.list.n_files, 3);
    recipe_free(r);
    close_scene(&s);
}

static void a_learner_that_comes_later_or_again_is_no_matter(void **state)
{
    (void)state;
    scene s = open_scene(RECIPE);
    s.learner.forgets = true;
    start(&s);
    recipe *r = fetch(&s, PATIENCE_MS);
    if (!r) fail_msg("%s", s.err.text);
    recipe_free(r);
    close_scene(&s);
}

static void a_list_that_leads_out_of_the_folder_is_refused_by_name(void **state)
{
    (void)state;
    scene s = open_scene(RECIPE);
    parcel_file files[] = { { "recipe.lua", 1, 1 }, { "../../evil.lua", 1, 1 } };
    s.learner.says = (parcel_list){ .files = files, .n_files = 2 };
    start(&s);
    must_be_refused(&s, PATIENCE_MS, ERR_PARSE, "a file '../../evil.lua'");
}

static void more_than_a_worker_takes_is_refused_with_the_limit(void **state)
{
    (void)state;
    scene s = open_scene(RECIPE);
    parcel_file files[] = { { "recipe.lua", 1, 1 }, { "model/tokenizer.json", (uint64_t)1 << 40, 1 } };
    s.learner.says = (parcel_list){ .files = files, .n_files = 2 };
    start(&s);
    must_be_refused(&s, PATIENCE_MS, ERR_PARSE, "at most 64 MB are allowed in all");
}

static void bytes_that_are_not_those_of_the_list_are_refused(void **state)
{
    (void)state;
    scene s = open_scene(RECIPE);
    s.learner.lies = true;
    start(&s);
    must_be_refused(&s, PATIENCE_MS, ERR_PEER, "recipe.lua: announced with hash");
}

static void a_learner_that_sends_nothing_is_waited_for_so_long_and_no_longer(void **state)
{
    (void)state;
    scene s = open_scene(RECIPE);
    s.learner.mute = true;
    start(&s);
    must_be_refused(&s, 1500, ERR_TIMEOUT, "no part of the recipe arrived");
    s = open_scene(RECIPE);
    s.learner.mute = s.learner.nags = true;
    start(&s);
    must_be_refused(&s, 1500, ERR_TIMEOUT, "no part of the recipe arrived");
    s = open_scene(RECIPE);
    must_be_refused(&s, SHORT_MS, ERR_TIMEOUT, "no learner has answered");
}

static void what_the_learner_says_when_it_refuses_is_said(void **state)
{
    (void)state;
    scene s = open_scene(RECIPE);
    s.learner.bye = "protocol 5 is spoken here, not 4";
    start(&s);
    must_be_refused(&s, PATIENCE_MS, ERR_PEER, "protocol 5 is spoken here, not 4");
    s = open_scene(RECIPE);
    s.learner.bye = "\x1b[2Jgone";
    start(&s);
    must_be_refused(&s, PATIENCE_MS, ERR_PEER, "\\x1b[2Jgone"); /* nothing that a terminal obeys */
}

/* What a hostile recipe would have a worker read: the script's errors would show its lines to the learner. */
static void a_recipe_that_names_files_of_this_machine_is_refused(void **state)
{
    (void)state;
    scene s = open_scene("return { name = 'sent', model = 'm', data = { train = 'd' },\n"
                         "  reward = { script = '/etc/passwd', objectives = { a = 1 } } }\n");
    parcel_file files[1] = { s.learner.parcel->list.files[0] };
    s.learner.says = (parcel_list){ .files = files, .n_files = 1 };
    start(&s);
    must_be_refused(&s, PATIENCE_MS, ERR_ARGUMENT, "reward.script: it names a file that is not among those");
}

static void a_recipe_with_a_mistake_is_said_to_be_the_learners(void **state)
{
    (void)state;
    scene s = open_scene("return { nmae = 'x' }");
    start(&s);
    must_be_refused(&s, PATIENCE_MS, ERR_ARGUMENT, "nmae");
}

/* A recipe of one's own may: this one came from elsewhere. */
static void no_tool_runs_without_a_sandbox_for_a_recipe_that_was_sent(void **state)
{
    (void)state;
    scene s = open_scene("local T = require 'troupe'\n"
                         "return { name = 'sent', model = 'm', data = { train = 'd' },\n"
                         "  env = { tools = { T.python{ sandbox = 'none' } } },\n"
                         "  reward = { script = 'r.lua', objectives = { a = 1 } } }\n");
    start(&s);
    recipe *r = fetch(&s, PATIENCE_MS);
    if (!r) fail_msg("%s", s.err.text);
    assert_null(recipe_router(r, NULL, &s.err));
    if (!strstr(s.err.text, "sandbox = \"none\"")) fail_msg("%s", s.err.text);
    recipe_free(r);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_recipe_is_opened_as_it_was_sent_with_ones_own_words_last),
        cmocka_unit_test(a_learner_that_comes_later_or_again_is_no_matter),
        cmocka_unit_test(a_list_that_leads_out_of_the_folder_is_refused_by_name),
        cmocka_unit_test(more_than_a_worker_takes_is_refused_with_the_limit),
        cmocka_unit_test(bytes_that_are_not_those_of_the_list_are_refused),
        cmocka_unit_test(a_learner_that_sends_nothing_is_waited_for_so_long_and_no_longer),
        cmocka_unit_test(what_the_learner_says_when_it_refuses_is_said),
        cmocka_unit_test(a_recipe_that_names_files_of_this_machine_is_refused),
        cmocka_unit_test(a_recipe_with_a_mistake_is_said_to_be_the_learners),
        cmocka_unit_test(no_tool_runs_without_a_sandbox_for_a_recipe_that_was_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
