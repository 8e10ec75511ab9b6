/* SPDX-License-Identifier: MIT */
/* troupe score: a reward script on episodes that are already there: lines of JSON, or a run's rollouts.db. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/verbs.h"
#include "exchange/store.h"
#include "lua/dialect.h"
#include "reward/rehearsal.h"
#include "reward/scorer.h"

enum { MAX_FILE = 1 << 30, REHEARSED_BYTES = 1 << 16, MAX_REASONS = 4 };

typedef struct scoring {
    scorer *scorer;
    dialect *dialect;
    bool json;
    uint64_t episodes, missing, unread; /* unread: rows that are none */
    char *first_row;                    /* JSON text */
    char *reasons[MAX_REASONS];         /* why episodes have no score: the first that differ */
    uint64_t had_reason[MAX_REASONS];   /* episodes */
    score sums;                         /* of each objective */
    score counts;                       /* how many had it */
} scoring;

static const char USAGE[] =
    "usage: troupe score REWARD.lua FILE.jsonl [--dialect NAME] [--timeout MS] [--json]\n"
    "       troupe score REWARD.lua RUN/rollouts.db [--timeout MS] [--json]\n\n"
    "  --dialect NAME  how the answer stands in a response: xml (default), qwen, or a dialect file\n"
    "  --json          a line of JSON an episode\n"
    "  --timeout MS    CPU time of one call (default 1000)\n\n"
    "A line of FILE.jsonl is a data row with the model's \"response\": {\"prompt\": ..., \"answer\": ..., "
    "\"response\": ...}\n"
    "example: troupe score recipes/calculator/reward.lua runs/calculator/rollouts.db\n";

/* ---- out ---- */

static void add_reason(scoring *s, const char *why)
{
    int i = 0;
    while (i < MAX_REASONS && s->reasons[i] && strcmp(s->reasons[i], why) != 0) i++;
    if (i == MAX_REASONS) return;
    if (!s->reasons[i]) s->reasons[i] = xstrdup(why);
    s->had_reason[i]++;
}

static void add(scoring *s, const score *sc)
{
    s->episodes++;
    if (sc->status != SCORE_OK) s->missing++;
    if (sc->status == SCORE_SCRIPT && sc->error) add_reason(s, sc->error);
    for (int i = 0; i < sc->n_values; i++) {
        const char *name = sc->values[i].name;
        const double sum = score_get(&s->sums, name), n = score_get(&s->counts, name);
        if (!isfinite(sc->values[i].value)) continue;
        score_set(&s->sums, name, (isfinite(sum) ? sum : 0) + sc->values[i].value, NULL);
        score_set(&s->counts, name, (isfinite(n) ? n : 0) + 1, NULL);
    }
}

static void print_values(const score *sc)
{
    if (sc->status != SCORE_OK) printf("missing (%s)", sc->error ? sc->error : "no reason given");
    for (int i = 0; i < sc->n_values; i++) {
        if (isfinite(sc->values[i].value))
            printf("%s%s %.4g", i ? "  " : "", sc->values[i].name, sc->values[i].value);
        else
            printf("%s%s missing", i ? "  " : "", sc->values[i].name);
    }
    putchar('\n');
}

static const char *status_name(const score *sc)
{
    return sc->status == SCORE_OK ? "ok" : sc->status == SCORE_SCRIPT ? "script" : "machine";
}

/* The row's "id", whatever it is, so that lines can be joined with the data again. */
static json_t *id_of(const char *row)
{
    json_t *parsed = row ? json_loads(row, JSON_ALLOW_NUL, NULL) : NULL;
    json_t *id = json_incref(json_object_get(parsed, "id"));
    json_decref(parsed);
    return id ? id : json_null();
}

static void print_json(const char *row, uint64_t number, const char *status, const score *sc)
{
    json_t *values = json_object(), *line = json_object();
    json_object_set_new(line, "id", id_of(row));
    json_object_set_new(line, "episode", json_integer((json_int_t)number));
    json_object_set_new(line, "status", json_string(status));
    for (int i = 0; i < sc->n_values; i++)
        json_object_set_new(values, sc->values[i].name,
                            isfinite(sc->values[i].value) ? json_real(sc->values[i].value) : json_null());
    json_object_set_new(line, "objectives", values);
    json_object_set_new(line, "error", json_bytes(sc->error));
    if (sc->info) json_object_set_new(line, "info", json_loads(sc->info, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL));
    char *text = json_text(line, false);
    puts(text);
    free(text);
    json_decref(line);
}

static void print_score(scoring *s, const char *row, const char *status, const score *sc)
{
    if (s->json)
        print_json(row, s->episodes + 1, status, sc);
    else
        printf("%" PRIu64 ": ", s->episodes + 1), print_values(sc);
    add(s, sc);
}

static void score_one(scoring *s, const task *t, const episode *e)
{
    score sc;
    if (!s->first_row) s->first_row = xstrdup(t->row);
    scorer_score(s->scorer, t, e, &sc);
    print_score(s, t->row, status_name(&sc), &sc);
    score_reset(&sc);
}

/* A line that is no row costs itself: it has a number, no score, and the reason. */
static void say_unread(scoring *s, const char *row, const error *why)
{
    const score sc = { .status = SCORE_SCRIPT, .error = (char *)(uintptr_t)why->text };
    s->unread++;
    print_score(s, row, "row", &sc);
}

static void print_summary(const scoring *s)
{
    if (s->json) return;
    printf("%" PRIu64 " episodes, %" PRIu64 " without a score", s->episodes, s->missing);
    if (s->unread) printf(" (%" PRIu64 " of them are lines that could not be read)", s->unread);
    putchar('\n');
    for (int i = 0; i < MAX_REASONS && s->reasons[i]; i++)
        printf("  %" PRIu64 " without a score: %s\n", s->had_reason[i], s->reasons[i]);
    for (int i = 0; i < s->sums.n_values; i++)
        printf("  %-24s mean %.4f over %.0f\n", s->sums.values[i].name,
               s->sums.values[i].value / s->counts.values[i].value, s->counts.values[i].value);
}

/* What a training would refuse, said before there is one. These rows may have been too well-behaved to show it. */
static void rehearse(const scoring *s)
{
    char note[400] = "";
    error err = { 0 };
    if (!s->first_row) return;
    if (reward_rehearse(s->scorer, s->first_row, REHEARSED_BYTES, note, sizeof note, &err) != OK)
        fprintf(stderr, "troupe: score: a training would refuse this script: %s\n", err.text);
    else if (note[0])
        fprintf(stderr, "troupe: score: note: %s\n", note);
}

/* ---- in ---- */

/* The text of a JSON string; a NUL in it, which no text of ours can hold, becomes U+FFFD. The caller frees. */
static char *text_of(const json_t *string)
{
    const char *p = json_string_value(string);
    str text = { 0 };
    for (size_t len = json_string_length(string), n; len > 0; p += n, len -= n) {
        n = *p ? strnlen(p, len) : 1;
        str_add(&text, *p ? p : "\xef\xbf\xbd", *p ? n : 3);
    }
    return str_take(&text);
}

/* A row with its response. On an error its row, when there is one, is in *text (the caller frees). */
static int score_line(scoring *s, const char *line, size_t len, char **text, error *err)
{
    const char *response = NULL;
    json_t *row = json_parse(line, len, "row", err);
    if (!row) return err->code;
    int rc = json_need_string(row, "response", "row", &response, err);
    *text = json_text(row, false);
    if (rc == OK) {
        const task t = { .group_size = 1, .max_tokens = 1, .row = *text, .id = s->episodes };
        episode *e = episode_new(&t);
        e->text = text_of(json_object_get(row, "response"));
        e->transcript = xstrdup(e->text);
        e->stop = STOP_EOS;
        if (strlen(e->text) <= MAX_ROW_BYTES) /* a larger one is named by the scorer */
            rc = dialect_answer(s->dialect, e->text, strlen(e->text), &e->answer, err);
        if (rc == OK) score_one(s, &t, e);
        episode_free(e);
    }
    json_decref(row);
    return rc;
}

static int score_lines(scoring *s, const char *path, error *err)
{
    size_t len;
    int number = 1;
    char *text = file_read_once(path, MAX_FILE, &len, err);
    if (!text) return err->code;
    char *line = text + utf8_mark(text, len);
    for (char *end; line < text + len; line = end + 1, number++) {
        char *row = NULL;
        end = memchr(line, '\n', len - (size_t)(line - text));
        if (!end) end = text + len;
        const bool blank = strspn(line, " \t\r") >= (size_t)(end - line);
        if (!blank && score_line(s, line, (size_t)(end - line), &row, err) != OK) {
            error_within(err, "%s:%d", path, number);
            say_unread(s, row, err);
        }
        free(row);
    }
    free(text);
    if (s->episodes > 0 && s->unread == s->episodes) return err->code; /* not one row: the last line's reason */
    return OK;
}

static int score_row(void *ctx, const char *row, episode *e, score *old)
{
    task t = { .id = e->id,
               .group = e->group,
               .sample = e->sample,
               .group_size = e->sample + 1,
               .max_tokens = 1,
               .step = e->step,
               .eval = e->eval,
               .prompt_id = e->prompt_id,
               .row = xstrdup(row) };
    score_one(ctx, &t, e);
    task_reset(&t);
    episode_free(e);
    score_free(old);
    return 0;
}

static void tell_damage(void *ctx, const char *sentence)
{
    (void)ctx;
    fprintf(stderr, "troupe: score: %s\n", sentence);
}

static int score_store(scoring *s, const char *path, error *err)
{
    store *st = store_open_read(path, err);
    if (!st) return err->code;
    store_on_damage(st, tell_damage, NULL);
    const int rc = store_read(st, -1, -1, 2, score_row, s, err);
    store_close(st);
    return rc;
}

static int run_verb(call *c, error *err)
{
    scoring s = { 0 };
    const char *dialect_name = "xml";
    int64_t timeout_ms = 1000;
    const flag flags[] = { { .name = "--dialect", .text = &dialect_name },
                           { .name = "--timeout", .whole = &timeout_ms, .min = 1, .max = 600000 },
                           { .name = "--json", .present = &s.json },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    const char *file = c->arguments.positional[1];
    const size_t len = strlen(file);
    const bool database = len > 3 && strcmp(file + len - 3, ".db") == 0;
    const scorer_config config = { .script = c->arguments.positional[0], .cpu_ms = timeout_ms, .fixed_order = true };
    int rc = scorer_check_script(&config, err);
    if (rc == OK) rc = (s.scorer = scorer_new(&config, err)) ? OK : err->code;
    if (rc == OK && !database) rc = (s.dialect = dialect_new(dialect_name, NULL, "[]", err)) ? OK : err->code;
    if (rc == OK) rc = database ? score_store(&s, file, err) : score_lines(&s, file, err);
    if (rc == OK) print_summary(&s), rehearse(&s);
    scorer_free(s.scorer);
    dialect_free(s.dialect);
    free(s.first_row);
    for (int i = 0; i < MAX_REASONS; i++) free(s.reasons[i]);
    score_reset(&s.sums);
    score_reset(&s.counts);
    return rc;
}

const verb VERB_SCORE = { .name = "score",
                          .synopsis = "REWARD.lua FILE.jsonl|rollouts.db",
                          .help = "run a reward script offline",
                          .usage = USAGE,
                          .words = "REWARD.lua FILE",
                          .min_words = 2,
                          .max_words = 2,
                          .run = run_verb };
