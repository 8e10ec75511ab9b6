/* SPDX-License-Identifier: MIT */
#include "show/episodes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "show/scores.h"

enum { PROMPT_SHOWN = 48 };

/* ---- as a line ---- */

static void print_score(FILE *out, const score *sc)
{
    if (!sc)
        fputs("not scored", out);
    else if (sc->status != SCORE_OK)
        fprintf(out, "no score: %s", sc->error ? sc->error : "no reason given");
    else
        score_print_values(out, sc, " ", 3);
}

static void print_prompt(FILE *out, const char *row)
{
    const char *prompt = NULL;
    json_t *json = json_parse(row, strlen(row), "row", NULL);
    if (json) json_opt_string(json, "prompt", "row", NULL, &prompt, NULL);
    fprintf(out, "  %.*s\n", PROMPT_SHOWN, prompt ? prompt : "");
    json_decref(json);
}

static void print_line(FILE *out, const char *row, const episode *e, const score *sc)
{
    fprintf(out, "%016" PRIx64 "  step %-4" PRId64 " shots %d  calls %u  stop %-6s  ", e->id, e->step, e->n_shots,
            e->n_calls, stop_reason_name(e->stop));
    print_score(out, sc);
    print_prompt(out, row);
}

/* ---- with all that was said ---- */

/* Each line after a bar, so that nothing in it can be taken for the next episode. */
static void print_barred(FILE *out, const char *text)
{
    fputs("  | ", out);
    for (const char *p = text; *p; p++) {
        putc(*p, out);
        if (*p == '\n') fputs("  | ", out);
    }
    putc('\n', out);
}

static void print_transcript(FILE *out, const char *row, const episode *e, const score *sc)
{
    print_line(out, row, e, sc);
    fprintf(out, "  row: %s\n", row);
    print_barred(out, e->transcript ? e->transcript : "");
    if (e->failure_text) fprintf(out, "  failed: %s\n", e->failure_text);
}

/* ---- as JSON ---- */

/* json_bytes: a policy may write bytes that are no UTF-8, and JSON has no way to say them. */
static json_t *call_json(const tool_call *c)
{
    json_t *call = json_object();
    json_object_set_new(call, "name", json_bytes(c->name));
    json_object_set_new(call, "arguments", json_bytes(c->arguments));
    json_object_set_new(call, "observation", json_bytes(c->observation));
    json_object_set_new(call, "ok", json_boolean(c->ok));
    json_object_set_new(call, "ms", json_real(c->ms));
    if (c->outcome) json_object_set_new(call, "outcome", json_parse(c->outcome, strlen(c->outcome), "outcome", NULL));
    return call;
}

static json_t *calls_json(const episode *e)
{
    json_t *calls = json_array();
    for (uint32_t i = 0; i < e->n_calls; i++) json_array_append_new(calls, call_json(&e->calls[i]));
    return calls;
}

static json_t *episode_json(const char *row, const episode *e, const score *sc)
{
    char id[32];
    snprintf(id, sizeof id, "%016" PRIx64, e->id);

    json_t *line = json_object();
    json_object_set_new(line, "id", json_string(id));
    json_object_set_new(line, "step", json_integer(e->step));
    json_object_set_new(line, "eval", json_boolean(e->eval));
    json_object_set_new(line, "shots", json_integer(e->n_shots));
    json_object_set_new(line, "stop", json_string(stop_reason_name(e->stop)));
    json_object_set_new(line, "sample", json_integer(e->sample));
    json_object_set_new(line, "transcript", json_bytes(e->transcript ? e->transcript : ""));
    json_object_set_new(line, "tokens", json_integer(trajectory_sampled(&e->tokens)));
    json_object_set_new(line, "oldest_version", json_integer(trajectory_oldest_version(&e->tokens)));
    json_object_set_new(line, "objectives", score_objectives_json(sc));
    json_object_set_new(line, "calls", calls_json(e));
    json_object_set_new(line, "row", json_parse(row, strlen(row), "row", NULL));
    json_object_set_new(line, "answer", json_bytes(e->answer));
    if (e->opening) json_object_set_new(line, "opening", json_parse(e->opening, strlen(e->opening), "opening", NULL));
    if (sc && sc->error) json_object_set_new(line, "error", json_bytes(sc->error));
    return line;
}

static void print_json(FILE *out, const char *row, const episode *e, const score *sc)
{
    json_t *line = episode_json(row, e, sc);
    char *text = json_text(line, false);
    fprintf(out, "%s\n", text);
    free(text);
    json_decref(line);
}

/* ---- those of a run ---- */

typedef struct reading {
    FILE *out;
    const episodes_wanted *wanted;
    int64_t shown, damaged;
} reading;

static void print_episode(reading *r, const char *row, const episode *e, const score *sc)
{
    switch (r->wanted->form) {
    case EPISODE_LINE:
        print_line(r->out, row, e, sc);
        return;
    case EPISODE_TRANSCRIPT:
        print_transcript(r->out, row, e, sc);
        return;
    case EPISODE_JSON:
        print_json(r->out, row, e, sc);
        return;
    }
}

static int on_episode(void *ctx, const char *row, episode *e, score *sc)
{
    reading *r = ctx;
    if (r->wanted->id == 0 || r->wanted->id == e->id) {
        print_episode(r, row, e, sc);
        r->shown++;
    }
    episode_free(e);
    score_free(sc);
    return r->shown == r->wanted->limit;
}

static void on_damage(void *ctx, const char *sentence)
{
    reading *r = ctx;
    r->damaged++;
    if (r->wanted->tell) r->wanted->tell(NULL, sentence);
}

static store *open_run(const char *run, char *path, size_t size, error *err)
{
    path_join(path, size, run, "rollouts.db");
    /* a folder that may not be looked into is no proof that it holds no run */
    if (access(path, F_OK) != 0 && errno != ENOENT && errno != ENOTDIR) {
        error_sys(err, errno, "%s could not be opened", path);
        return NULL;
    }
    if (!file_exists(path) && !dir_exists(path)) { /* what else stands there, store_open_read says better */
        error_set(err, ERR_NOT_FOUND, "%s is not a run: it has no rollouts.db", run);
        return NULL;
    }
    return store_open_read(path, err);
}

/* After the episodes: how much was trained, or why there are none. */
static int print_end(const reading *r, store *s, const char *run, const char *path, error *err)
{
    if (r->shown == 0 && r->damaged > 0) return error_set(err, ERR_PARSE, "%s: only damaged episodes", path);
    if (r->shown > 0 && r->wanted->form == EPISODE_JSON) return OK;

    int64_t steps, groups, episodes;
    const int rc = store_counts(s, &steps, &groups, &episodes, err);
    if (r->shown == 0) {
        if (rc != OK) return rc;
        return error_set(err, ERR_NOT_FOUND, "%s: no such episodes (%" PRId64 " steps are trained)", run, steps);
    }
    if (rc == OK) /* else what was asked for has been shown all the same */
        fprintf(r->out, "trained: %" PRId64 " steps, %" PRId64 " groups, %" PRId64 " episodes\n", steps, groups,
                episodes);
    return OK;
}

int episodes_print(FILE *out, const char *run, const episodes_wanted *wanted, error *err)
{
    char path[1100];
    store *s = open_run(run, path, sizeof path, err);
    if (!s) return err->code;

    reading r = { .out = out, .wanted = wanted };
    const int kinds = wanted->id ? 2 : wanted->eval; /* an id is asked for whatever it is of */
    store_on_damage(s, on_damage, &r);
    int rc = store_read(s, wanted->step, -1, kinds, on_episode, &r, err);

    if (rc == OK) rc = print_end(&r, s, run, path, err);
    store_close(s);
    return rc;
}
