/* SPDX-License-Identifier: MIT */
#include "env/world/world.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/vec.h"
#include "env/program.h"
#include "env/world/words.h"

enum { DEFAULT_INSTANCES = 8, DEFAULT_TIMEOUT_MS = 30000, DEFAULT_START_MS = 60000, LONGEST_WAIT_MS = 1000 };
enum { FIRST_PAUSE_MS = 200, LONGEST_PAUSE_MS = 10000 };
enum { NOWHERE = -1 };

typedef enum stage { STAGE_DOWN, STAGE_OPENING, STAGE_OPEN } stage;

typedef struct instance {
    program *program;
    stage stage;
    int64_t open_id, open_by_ms;
    int64_t heard_us;      /* its last line */
    int64_t not_before_ms; /* it may be started again */
    int losses;            /* one after the other, without an answer to a reset or a step in between */
    int plays;
} instance;

/* An episode that has a place, or has lost it. */
typedef struct play {
    uint64_t id;
    int at;     /* its instance, or NOWHERE */
    error lost; /* why, where it is nowhere */
} play;

/* A reset or a step that was asked for. */
typedef struct request {
    uint64_t call, play;
    int64_t id, began_us, deadline_ms;
    bool is_reset;
    char *line; /* until it can be said; NULL: it was */
} request;

struct world {
    instance *instances; /* [n_instances] */
    int n_instances, at_once, timeout_ms, start_ms;
    char *options;
    int64_t next_id;
    world_tool *tools;
    size_t n_tools;
    bool known; /* its tools: instances after the first are not asked again */
    vec(play) plays;
    vec(request) requests; /* in the order in which they were asked */
    vec(tool_result) done;
};

static void end_instances(world *w)
{
    program **all = xcalloc((size_t)w->n_instances, sizeof *all);
    for (int i = 0; i < w->n_instances; i++) all[i] = w->instances[i].program;
    program_end_all(all, w->n_instances);
    for (int i = 0; i < w->n_instances; i++) program_free(all[i]);
    free(all);
}

void world_free(world *w)
{
    if (!w) return;
    end_instances(w);
    for (size_t i = 0; i < w->n_tools; i++) world_tool_reset(&w->tools[i]);
    for (size_t i = 0; i < w->requests.len; i++) free(w->requests.data[i].line);
    for (size_t i = 0; i < w->done.len; i++) tool_result_reset(&w->done.data[i]);
    vec_free(&w->plays);
    vec_free(&w->requests);
    vec_free(&w->done);
    free(w->instances);
    free(w->tools);
    free(w->options);
    free(w);
}

size_t world_n_tools(const world *w) { return w->n_tools; }

const world_tool *world_tool_at(const world *w, size_t i) { return &w->tools[i]; }

/* ---- requests ---- */

static play *play_of(world *w, uint64_t id)
{
    for (size_t i = 0; i < w->plays.len; i++)
        if (w->plays.data[i].id == id) return &w->plays.data[i];
    return NULL;
}

static void drop_request(world *w, size_t i)
{
    free(w->requests.data[i].line);
    const size_t after = --w->requests.len - i;
    memmove(w->requests.data + i, w->requests.data + i + 1, after * sizeof *w->requests.data);
}

/* The request's result goes to who polls. Takes what *r owns. */
static void finish(world *w, size_t i, tool_result *r)
{
    r->call = w->requests.data[i].call;
    r->ms = (double)(clock_us() - w->requests.data[i].began_us) / 1000;
    vec_push(&w->done, *r);
    drop_request(w, i);
}

static void fail_request(world *w, size_t i, const char *why)
{
    finish(w, i, &(tool_result){ .failed = FAIL_TOOL_LOST, .text = xstrdup(why) });
}

/* ---- an instance's life ---- */

static int64_t pause_ms(int losses)
{
    int64_t ms = losses < 2 ? 0 : FIRST_PAUSE_MS;
    for (int i = 2; i < losses && ms < LONGEST_PAUSE_MS; i++) ms *= 2;
    return ms < LONGEST_PAUSE_MS ? ms : LONGEST_PAUSE_MS;
}

/* It is gone, or does what no instance may: what it was playing is lost. */
static void lose(world *w, int at, const error *why)
{
    instance *in = &w->instances[at];
    program_kill(in->program);
    in->stage = STAGE_DOWN;
    in->plays = 0;
    in->not_before_ms = clock_ms() + pause_ms(++in->losses);

    for (size_t i = 0; i < w->plays.len; i++) {
        play *p = &w->plays.data[i];
        if (p->at != at) continue;
        p->at = NOWHERE;
        p->lost = *why;
        for (size_t k = w->requests.len; k-- > 0;)
            if (w->requests.data[k].play == p->id) fail_request(w, k, why->text);
    }
}

static int not_the_protocol(const instance *in, const char *what, error *err)
{
    return error_set(err, ERR_PEER, "environment %s: %.200s", program_name(in->program), what);
}

static int start(world *w, int at, int64_t now_ms, error *err)
{
    instance *in = &w->instances[at];
    int rc = program_start(in->program, err);
    if (rc != OK) return rc;
    in->stage = STAGE_OPENING;
    in->open_id = ++w->next_id;
    in->open_by_ms = now_ms + w->start_ms;
    char *line = world_say_open(in->open_id, w->options);
    rc = program_say(in->program, line, err);
    free(line);
    return rc;
}

/* ---- places ---- */

/* An instance with room: of those that run the one with the fewest plays, else one that can be started. */
static int free_place(const world *w, int64_t now_ms)
{
    int best = NOWHERE;
    for (int i = 0; i < w->n_instances; i++) {
        const instance *in = &w->instances[i];
        if (in->stage == STAGE_DOWN ? in->not_before_ms > now_ms : in->plays >= w->at_once) continue;
        const bool runs = in->stage != STAGE_DOWN,
                   better_runs = best != NOWHERE && w->instances[best].stage != STAGE_DOWN;
        if (best == NOWHERE || (runs && !better_runs) || (runs == better_runs && in->plays < w->instances[best].plays))
            best = i;
    }
    return best;
}

/* Gives the reset a place, if there is one. True: it has none. */
static bool waits(world *w, size_t i, int64_t now_ms)
{
    error err = { 0 };
    request *r = &w->requests.data[i];
    play *p = play_of(w, r->play);
    if (p->at != NOWHERE) return false;
    const int at = free_place(w, now_ms);
    if (at == NOWHERE) return true;

    p->at = at;
    w->instances[at].plays++;
    r->deadline_ms = now_ms + w->timeout_ms;
    if (w->instances[at].stage != STAGE_DOWN) return false;
    r->deadline_ms += w->start_ms;
    if (start(w, at, now_ms, &err) != OK) lose(w, at, &err);
    return false;
}

/* Says what can be said: of plays with a place, to instances that are open. */
static void say_waiting(world *w)
{
    for (size_t i = 0; i < w->requests.len; i++) {
        error err = { 0 };
        request *r = &w->requests.data[i];
        const play *p = r->line ? play_of(w, r->play) : NULL;
        if (!p || p->at == NOWHERE || w->instances[p->at].stage != STAGE_OPEN) continue;
        const int at = p->at;
        const int rc = program_say(w->instances[at].program, r->line, &err);
        free(r->line);
        r->line = NULL;
        if (rc == OK) continue;
        lose(w, at, &err);
        i = (size_t)-1; /* requests have gone: from the first again */
    }
}

static void give_places(world *w, int64_t now_ms)
{
    for (size_t i = 0; i < w->requests.len; i++) {
        const size_t before = w->requests.len;
        if (!w->requests.data[i].is_reset || !w->requests.data[i].line) continue;
        if (waits(w, i, now_ms)) break; /* those after it wait, too */
        if (w->requests.len < before) i = (size_t)-1;
    }
    say_waiting(w);
}

/* ---- what an instance says ---- */

static int on_open(world *w, instance *in, const json_t *answer, error *err)
{
    const char *problem = json_string_value(json_object_get(answer, "error"));
    error why = { 0 };
    if (problem) return not_the_protocol(in, problem, err);
    in->stage = STAGE_OPEN;
    if (w->known) return OK;
    w->known = true;
    if (world_hear_tools(answer, &w->tools, &w->n_tools, &why) == OK) return OK;
    return not_the_protocol(in, why.text, err);
}

/* The answer to request i. An error that it tells costs the one play. */
static int on_answer(world *w, instance *in, size_t i, const json_t *answer, error *err)
{
    error why = { 0 };
    tool_result r = { .ok = true };
    const json_t *problem = json_object_get(answer, "error");
    int rc = OK;
    if (problem) {
        const char *text = json_string_value(problem);
        not_the_protocol(in, text ? text : "it failed, and does not say why", &why);
        fail_request(w, i, why.text);
        return OK;
    }

    if (w->requests.data[i].is_reset)
        rc = (r.text = world_hear_opening(answer, &why)) ? OK : why.code;
    else
        rc = world_hear_step(answer, &r, &why);
    if (rc != OK) return not_the_protocol(in, why.text, err);
    in->losses = 0;
    finish(w, i, &r);
    return OK;
}

static int on_line(world *w, int at, const char *line, size_t len, error *err)
{
    instance *in = &w->instances[at];
    error why = { 0 };
    if (strspn(line, " \t\r") == len) return OK;
    json_t *answer = json_parse(line, len, "a line of its stdout", &why);
    const json_t *id = json_object_get(answer, "id");
    int rc = OK;

    if (!answer) {
        rc = not_the_protocol(in, why.text, err);
    } else if (!json_is_integer(id)) {
        rc = not_the_protocol(in, "it says something without an id", err);
    } else if (in->stage == STAGE_OPENING && json_integer_value(id) == in->open_id) {
        rc = on_open(w, in, answer, err);
    } else { /* of a request that was cancelled there is nothing to be found */
        for (size_t i = 0; i < w->requests.len; i++) {
            const request *r = &w->requests.data[i];
            if (r->id != json_integer_value(id) || r->line || play_of(w, r->play)->at != at) continue;
            rc = on_answer(w, in, i, answer, err);
            break;
        }
    }
    json_decref(answer);
    return rc;
}

static int listen(world *w, int at, int64_t now_ms, error *err)
{
    instance *in = &w->instances[at];
    size_t len;
    const char *line;
    int rc = program_turn(in->program, err);
    if (rc != OK) error_within(err, "environment");
    while (rc == OK && (line = program_line(in->program, &len))) {
        in->heard_us = clock_us();
        rc = on_line(w, at, line, len, err);
    }
    if (rc == OK && in->stage == STAGE_OPENING && now_ms >= in->open_by_ms)
        rc = error_set(err, ERR_TIMEOUT, "environment %s: not open after %d s", program_name(in->program),
                       w->start_ms / 1000);
    return rc;
}

/* ---- what takes too long ---- */

/* The play is lost. An instance that says nothing meanwhile is stuck, and is lost with all that it plays. */
static void drop_late(world *w, int64_t now_ms)
{
    for (size_t i = 0; i < w->requests.len; i++) {
        error why = { 0 };
        const request *r = &w->requests.data[i];
        if (r->line || r->deadline_ms > now_ms) continue;
        play *p = play_of(w, r->play);
        const int at = p->at;
        const instance *in = &w->instances[at];
        error_set(&why, ERR_TIMEOUT, "environment %s: no answer to a %s within %g s", program_name(in->program),
                  r->is_reset ? "reset" : "step", w->timeout_ms / 1000.0);
        if (in->plays <= 1 || in->heard_us < r->began_us) {
            lose(w, at, &why);
        } else { /* the place stays taken until the play is left: the instance still works on it */
            p->lost = why;
            fail_request(w, i, why.text);
        }
        i = (size_t)-1;
    }
}

/* ---- as a tool ---- */

static void ask(world *w, uint64_t call, const tool_context *ctx, bool is_reset, char *line, int64_t now_ms)
{
    vec_push(&w->requests, (request){ .call = call,
                                      .play = ctx->play,
                                      .id = w->next_id,
                                      .began_us = clock_us(),
                                      .deadline_ms = now_ms + w->timeout_ms,
                                      .is_reset = is_reset,
                                      .line = line });
}

int world_reset(world *w, uint64_t call, const tool_context *ctx, int64_t now_ms, error *err)
{
    (void)err;
    world_leave(w, ctx->play); /* what it lost before */
    vec_push(&w->plays, (play){ .id = ctx->play, .at = NOWHERE });
    ask(w, call, ctx, true, world_say_reset(++w->next_id, ctx), now_ms);
    give_places(w, now_ms);
    return OK;
}

int world_step(world *w, uint64_t call, const char *name, const char *arguments, const tool_context *ctx,
               int64_t now_ms, error *err)
{
    const play *p = play_of(w, ctx->play);
    if (!p) return error_set(err, ERR_STATE, "an environment is stepped before it is reset");
    if (p->lost.code != OK) return error_set(err, ERR_PEER, "%s", p->lost.text);
    ask(w, call, ctx, false, world_say_step(++w->next_id, name, arguments, ctx), now_ms);
    say_waiting(w);
    return OK;
}

void world_cancel(world *w, uint64_t call)
{
    for (size_t i = 0; i < w->requests.len; i++)
        if (w->requests.data[i].call == call) {
            drop_request(w, i);
            return;
        }
}

/* The instance is told, whatever has become of the play. */
void world_leave(world *w, uint64_t id)
{
    play *p = play_of(w, id);
    if (!p) return;
    for (size_t i = w->requests.len; i-- > 0;)
        if (w->requests.data[i].play == id) drop_request(w, i);
    if (p->at != NOWHERE) {
        instance *in = &w->instances[p->at];
        in->plays--;
        char *line = world_say_close(id);
        if (in->stage == STAGE_OPEN) program_say(in->program, line, NULL);
        free(line);
    }
    *p = w->plays.data[--w->plays.len];
}

int world_fds(const world *w, struct pollfd *out, int max)
{
    int n = 0;
    for (int i = 0; i < w->n_instances; i++) n += program_fds(w->instances[i].program, out + n, max - n);
    return n;
}

int world_poll(world *w, int64_t now_ms, tool_result *out, int max)
{
    int n = 0;
    for (int i = 0; i < w->n_instances; i++) {
        error err = { 0 };
        if (w->instances[i].stage != STAGE_DOWN && listen(w, i, now_ms, &err) != OK) lose(w, i, &err);
    }
    drop_late(w, now_ms);
    give_places(w, now_ms);
    while (n < max && w->done.len > 0) out[n++] = w->done.data[--w->done.len];
    return n;
}

static void sooner(int64_t ms, int64_t *first)
{
    if (ms < *first) *first = ms;
}

int64_t world_deadline_ms(const world *w)
{
    int64_t first = w->done.len > 0 ? 0 : INT64_MAX;
    bool waiting = false;
    for (size_t i = 0; i < w->requests.len; i++) {
        waiting |= w->requests.data[i].line != NULL;
        if (!w->requests.data[i].line) sooner(w->requests.data[i].deadline_ms, &first);
    }
    for (int i = 0; i < w->n_instances && waiting; i++) { /* a reset that waits for an instance */
        const instance *in = &w->instances[i];
        if (in->stage == STAGE_OPENING) sooner(in->open_by_ms, &first);
        if (in->stage == STAGE_DOWN) sooner(in->not_before_ms, &first);
    }
    return first;
}

/* ---- the start ---- */

static int wait_until_open(world *w, error *err)
{
    int rc = start(w, 0, clock_ms(), err);
    while (rc == OK && w->instances[0].stage != STAGE_OPEN) {
        struct pollfd fds[PROGRAM_FDS];
        const int n = program_fds(w->instances[0].program, fds, PROGRAM_FDS);
        poll(fds, (nfds_t)n, LONGEST_WAIT_MS); /* not for ever: it has to be open in time */
        rc = listen(w, 0, clock_ms(), err);
    }
    return rc;
}

world *world_open(const world_config *config, error *err)
{
    world *w = xcalloc(1, sizeof *w);
    w->n_instances = config->instances > 0 ? config->instances : DEFAULT_INSTANCES;
    w->at_once = config->at_once > 0 ? config->at_once : 1;
    w->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : DEFAULT_TIMEOUT_MS;
    w->start_ms = config->start_ms > 0 ? config->start_ms : DEFAULT_START_MS;
    w->options = xstrdup(config->options ? config->options : "{}");
    w->instances = xcalloc((size_t)w->n_instances, sizeof *w->instances);
    for (int i = 0; i < w->n_instances; i++) w->instances[i].program = program_new(config->command, config->name);
    if (wait_until_open(w, err) == OK) return w;
    world_free(w);
    return NULL;
}
