/* SPDX-License-Identifier: MIT */
#include "run/scoring.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "exchange/store.h"
#include "lua/dialect.h"
#include "reward/rehearsal.h"
#include "reward/scorer.h"
#include "show/scores.h"

/* REHEARSED_BYTES: no recipe says here how long an answer may be, so it is a long one. */
enum { MAX_FILE = 1 << 30, REHEARSED_BYTES = 1 << 16 };

typedef struct scoring {
    const scoring_request *request;
    FILE *out;
    scorer *scorer;
    dialect *dialect; /* NULL: of a database, where answers are known */
    char *first_row;  /* JSON text */
    score_tally tally;
} scoring;

/* ---- out ---- */

static const char *status_name(score_status status)
{
    switch (status) {
    case SCORE_OK:
        return "ok";
    case SCORE_SCRIPT:
        return "script";
    case SCORE_MACHINE:
        break;
    }
    return "machine";
}

/* The row's "id", whatever it is, so that lines can be joined with the data again. */
static json_t *id_of(const char *row)
{
    json_t *parsed = row ? json_loads(row, JSON_ALLOW_NUL, NULL) : NULL;
    json_t *id = json_incref(json_object_get(parsed, "id"));
    json_decref(parsed);
    return id ? id : json_null();
}

static void print_json(const scoring *s, const char *row, uint64_t number, const char *status, const score *sc)
{
    json_t *line = json_object();
    json_object_set_new(line, "id", id_of(row));
    json_object_set_new(line, "episode", json_integer((json_int_t)number));
    json_object_set_new(line, "status", json_string(status));
    json_object_set_new(line, "objectives", score_objectives_json(sc));
    json_object_set_new(line, "error", json_bytes(sc->error));
    if (sc->info) json_object_set_new(line, "info", json_loads(sc->info, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL));

    char *text = json_text(line, false);
    fprintf(s->out, "%s\n", text);
    free(text);
    json_decref(line);
}

static void print_line(const scoring *s, uint64_t number, const score *sc)
{
    fprintf(s->out, "%" PRIu64 ": ", number);
    if (sc->status != SCORE_OK) fprintf(s->out, "missing (%s)", sc->error ? sc->error : "no reason given");
    score_print_values(s->out, sc, "  ", 4);
    putc('\n', s->out);
}

/* row NULL: there is none. */
static void take_score(scoring *s, const char *row, const char *status, const score *sc)
{
    const uint64_t number = s->tally.episodes + 1;
    if (s->request->json)
        print_json(s, row, number, status, sc);
    else
        print_line(s, number, sc);
    score_tally_add(&s->tally, sc);
}

static void score_one(scoring *s, const task *t, const episode *e)
{
    score sc;
    if (!s->first_row) s->first_row = xstrdup(t->row);
    scorer_score(s->scorer, t, e, &sc);
    take_score(s, t->row, status_name(sc.status), &sc);
    score_reset(&sc);
}

/* ---- lines of JSON ---- */

/* The text of a JSON string; a NUL in it, which no text of ours can hold, becomes U+FFFD. The caller frees. */
static char *text_of(const json_t *string)
{
    const char *p = json_string_value(string), *end = p + json_string_length(string);
    str text = { 0 };
    while (p < end) {
        const size_t len = strnlen(p, (size_t)(end - p));
        str_add(&text, p, len);
        p += len;
        if (p == end) break;
        str_puts(&text, "\xef\xbf\xbd");
        p++;
    }
    return str_take(&text);
}

/* row_text: the row once more, as JSON. */
static int score_row(scoring *s, const json_t *row, char *row_text, error *err)
{
    const char *response = NULL;
    int rc = json_need_string(row, "response", "row", &response, err);
    if (rc != OK) return rc;

    const task t = { .group_size = 1, .max_tokens = 1, .row = row_text, .id = s->tally.episodes };
    episode *e = episode_new(&t);
    e->text = text_of(json_object_get(row, "response"));
    e->transcript = xstrdup(e->text);
    e->stop = STOP_EOS;

    const size_t len = strlen(e->text);
    if (len <= MAX_ROW_BYTES) /* a larger one is named by the scorer */
        rc = dialect_answer(s->dialect, e->text, len, &e->answer, err);
    if (rc == OK) score_one(s, &t, e);
    episode_free(e);
    return rc;
}

static void take_unread(scoring *s, const char *row_text, const error *why)
{
    const score sc = { .status = SCORE_SCRIPT, .error = (char *)(uintptr_t)why->text };
    s->tally.unread++;
    take_score(s, row_text, "row", &sc);
}

static void take_line(scoring *s, int number, const char *line, size_t len, error *err)
{
    json_t *row = json_parse(line, len, "row", err);
    char *text = row ? json_text(row, false) : NULL;
    if (!row || score_row(s, row, text, err) != OK) {
        error_within(err, "%s:%d", s->request->file, number);
        take_unread(s, text, err);
    }
    free(text);
    json_decref(row);
}

static int score_lines(scoring *s, error *err)
{
    size_t len;
    char *text = file_read_once(s->request->file, MAX_FILE, &len, err);
    if (!text) return err->code;

    const char *line = text + utf8_mark(text, len), *all = text + len;
    for (int number = 1; line < all; number++) {
        const char *end = memchr(line, '\n', (size_t)(all - line));
        if (!end) end = all; /* the last line may have no newline */

        const bool blank = strspn(line, " \t\r") >= (size_t)(end - line);
        if (!blank) take_line(s, number, line, (size_t)(end - line), err);
        line = end + 1;
    }
    free(text);

    const bool none = s->tally.episodes > 0 && s->tally.unread == s->tally.episodes;
    return none ? err->code : OK; /* the last line's reason */
}

/* ---- a run's episodes ---- */

static int score_stored(void *ctx, const char *row, episode *e, score *old)
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

static int score_store(scoring *s, error *err)
{
    store *st = store_open_read(s->request->file, err);
    if (!st) return err->code;
    store_on_damage(st, s->request->tell, NULL);
    const int rc = store_read(st, -1, -1, 2, score_stored, s, err);
    store_close(st);
    return rc;
}

/* ---- all ---- */

/* What a training would refuse, said before there is one. These rows may have been too well-behaved to show it. */
static void rehearse(const scoring *s, const scorer_config *of_rows)
{
    char note[400] = "";
    error err = { 0 };
    str sentence = { 0 };
    if (!s->first_row) return;

    scorer_config config = *of_rows;
    config.print_bytes = REHEARSAL_PRINTS;
    scorer *sc = scorer_new(&config, &err);
    if (!sc || reward_rehearse(sc, s->first_row, REHEARSED_BYTES, note, sizeof note, &err) != OK)
        str_printf(&sentence, "a training would refuse this script: %s", err.text);
    else if (note[0])
        str_printf(&sentence, "note: %s", note);
    if (sentence.len > 0) s->request->tell(NULL, sentence.data);
    str_free(&sentence);
    scorer_free(sc);
}

static bool is_database(const char *file)
{
    const size_t len = strlen(file);
    return len > 3 && strcmp(file + len - 3, ".db") == 0;
}

static int score_file(scoring *s, error *err)
{
    if (is_database(s->request->file)) return score_store(s, err);
    if (!(s->dialect = dialect_new(s->request->dialect, NULL, "[]", err))) return err->code;
    return score_lines(s, err);
}

int scoring_run(FILE *out, const scoring_request *request, error *err)
{
    scoring s = { .request = request, .out = out };
    const scorer_config config = { .script = request->script, .cpu_ms = request->timeout_ms, .fixed_order = true };

    int rc = scorer_check_script(&config, err);
    if (rc == OK && !(s.scorer = scorer_new(&config, err))) rc = err->code;
    if (rc == OK) rc = score_file(&s, err);
    if (rc == OK && !request->json) score_tally_print(out, &s.tally);
    if (rc == OK) rehearse(&s, &config);

    scorer_free(s.scorer);
    dialect_free(s.dialect);
    free(s.first_row);
    score_tally_reset(&s.tally);
    return rc;
}
