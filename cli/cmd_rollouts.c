/* SPDX-License-Identifier: MIT */
/* troupe rollouts: reads the episodes of a run, while it runs or after. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "cli/verbs.h"
#include "exchange/store.h"

enum { PROMPT_SHOWN = 48 };

typedef struct reading {
    bool json, text, any;
    uint64_t id; /* 0: all */
    int64_t left, damaged;
} reading;

static const char USAGE[] = "usage: troupe rollouts RUN [--step N] [--eval] [--id ID] [--limit N] [--text | --json]\n\n"
                            "  --step N  of one step (default: all)\n"
                            "  --eval    evaluations instead of training\n"
                            "  --id ID   one episode, as the first column shows it\n"
                            "  --limit N at most N episodes\n"
                            "  --text    with the whole transcript\n"
                            "  --json    a line of JSON an episode\n\n"
                            "example: troupe rollouts runs/calculator --step 40 --text\n";

/* ---- one episode, three ways ---- */

static void print_scores(const score *sc)
{
    if (!sc)
        printf("not scored");
    else if (sc->status != SCORE_OK)
        printf("no score: %s", sc->error ? sc->error : "no reason given");
    for (int i = 0; sc && sc->status == SCORE_OK && i < sc->n_values; i++) {
        if (isfinite(sc->values[i].value))
            printf("%s%s %.3g", i ? " " : "", sc->values[i].name, sc->values[i].value);
        else
            printf("%s%s missing", i ? " " : "", sc->values[i].name);
    }
}

static void print_line(const char *row, const episode *e, const score *sc)
{
    const char *prompt = NULL;
    json_t *json = json_parse(row, strlen(row), "row", NULL);
    if (json) json_opt_string(json, "prompt", "row", NULL, &prompt, NULL);
    printf("%016" PRIx64 "  step %-4" PRId64 " shots %d  calls %u  stop %-6s  ", e->id, e->step, e->n_shots, e->n_calls,
           stop_reason_name(e->stop));
    print_scores(sc);
    printf("  %.*s\n", PROMPT_SHOWN, prompt ? prompt : "");
    json_decref(json);
}

static void print_transcript(const char *row, const episode *e, const score *sc)
{
    print_line(row, e, sc);
    printf("  row: %s\n  | ", row);
    for (const char *p = e->transcript ? e->transcript : ""; *p; p++) {
        putchar(*p);
        if (*p == '\n') fputs("  | ", stdout);
    }
    putchar('\n');
    if (e->failure_text) printf("  failed: %s\n", e->failure_text);
}

static json_t *calls_json(const episode *e)
{
    json_t *calls = json_array();
    for (uint32_t i = 0; i < e->n_calls; i++)
        json_array_append_new(calls, json_pack("{s:o, s:o, s:o, s:b, s:f}", "name", json_bytes(e->calls[i].name),
                                               "arguments", json_bytes(e->calls[i].arguments), "observation",
                                               json_bytes(e->calls[i].observation), "ok", e->calls[i].ok, "ms",
                                               e->calls[i].ms));
    return calls;
}

static void print_json(const char *row, const episode *e, const score *sc)
{
    char id[32];
    snprintf(id, sizeof id, "%016" PRIx64, e->id);
    json_t *values = json_object();
    for (int i = 0; sc && i < sc->n_values; i++)
        json_object_set_new(values, sc->values[i].name,
                            isfinite(sc->values[i].value) ? json_real(sc->values[i].value) : json_null());
    json_t *line = json_pack(
        "{s:s, s:I, s:b, s:i, s:s, s:i, s:o, s:i, s:I, s:o, s:o}", "id", id, "step", (json_int_t)e->step, "eval",
        e->eval, "shots", e->n_shots, "stop", stop_reason_name(e->stop), "sample", (int)e->sample, "transcript",
        json_bytes(e->transcript ? e->transcript : ""), "tokens", (int)trajectory_sampled(&e->tokens), "oldest_version",
        (json_int_t)trajectory_oldest_version(&e->tokens), "objectives", values, "calls", calls_json(e));
    json_object_set_new(line, "row", json_parse(row, strlen(row), "row", NULL));
    json_object_set_new(line, "answer", json_bytes(e->answer));
    if (sc && sc->error) json_object_set_new(line, "error", json_bytes(sc->error));
    char *text = json_text(line, false);
    puts(text);
    free(text);
    json_decref(line);
}

static int show(void *ctx, const char *row, episode *e, score *sc)
{
    reading *r = ctx;
    if (!r->id || r->id == e->id) {
        if (r->json)
            print_json(row, e, sc);
        else if (r->text || r->id)
            print_transcript(row, e, sc);
        else
            print_line(row, e, sc);
        r->any = true, r->left--;
    }
    episode_free(e);
    score_free(sc);
    return r->left == 0;
}

static void tell_damage(void *ctx, const char *sentence)
{
    ((reading *)ctx)->damaged++;
    fprintf(stderr, "troupe: rollouts: %s\n", sentence);
}

static int read_run(const char *run, int64_t step, bool eval, reading *r, error *err)
{
    char path[1100];
    int64_t steps, groups, episodes;
    path_join(path, sizeof path, run, "rollouts.db");
    if (access(path, F_OK) != 0 && errno != ENOENT && errno != ENOTDIR)
        return error_sys(err, errno, "%s could not be opened", path);
    if (!file_exists(path) && !dir_exists(path))
        return error_set(err, ERR_NOT_FOUND, "%s is no run: it has no rollouts.db", run);
    store *s = store_open_read(path, err);
    if (!s) return err->code;
    store_on_damage(s, tell_damage, r);
    int rc = store_read(s, step, -1, r->id ? 2 : eval, show, r, err);
    if (rc == OK && r->damaged > 0 && !r->any) rc = error_set(err, ERR_PARSE, "%s: only damaged episodes", path);
    if (rc == OK && !r->any && (rc = store_counts(s, &steps, &groups, &episodes, err)) == OK)
        rc = error_set(err, ERR_NOT_FOUND, "%s: no such episodes (%" PRId64 " steps are trained)", run, steps);
    if (rc == OK && !r->json && store_counts(s, &steps, &groups, &episodes, err) == OK)
        printf("trained: %" PRId64 " steps, %" PRId64 " groups, %" PRId64 " episodes\n", steps, groups, episodes);
    store_close(s);
    return rc;
}

static int run_verb(call *c, error *err)
{
    reading r = { .left = -1 };
    bool eval = false;
    int64_t step = -1;
    const flag flags[] = { { .name = "--step", .whole = &step, .min = 0, .max = 1e9 },
                           { .name = "--id", .hex = &r.id },
                           { .name = "--limit", .whole = &r.left, .min = 1, .max = 1e15 },
                           { .name = "--eval", .present = &eval },
                           { .name = "--json", .present = &r.json },
                           { .name = "--text", .present = &r.text },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    if (r.json && r.text) return call_wrong(c, err, "--json or --text, not both");
    return read_run(c->arguments.positional[0], step, eval, &r, err);
}

const verb VERB_ROLLOUTS = { .name = "rollouts",
                             .synopsis = "RUN [--step N]",
                             .help = "read the episodes of a run",
                             .usage = USAGE,
                             .words = "RUN",
                             .min_words = 1,
                             .max_words = 1,
                             .run = run_verb };
