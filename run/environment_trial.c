/* SPDX-License-Identifier: MIT */
#include "run/environment_trial.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "run/sample_call.h"

enum { STEPS = 8, MAX_ROWS = 16, WARM = 10, BESIDE = 16, LONGEST_WAIT_MS = 1000 };
enum { LEAK_BYTES = 8 << 20, LEAK_SHARE = 5 }; /* grown by more than 8 MB and a fifth of what it was */
enum { LONG_TEXT = 64 << 10, ENDS_WITHIN_MS = 400 };

typedef struct trial {
    const environment_trial *what;
    router *router;
    dataset *rows;
    json_t *tools; /* as router_tools_json */
    uint64_t plays;
    char why[500]; /* of the check that runs; "": it holds */
    char note[200];
} trial;

/* ---- playing ---- */

static void found(trial *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The first finding of a check counts. */
static void found(trial *t, const char *format, ...)
{
    va_list arguments;
    if (t->why[0]) return;
    va_start(arguments, format);
    vsnprintf(t->why, sizeof t->why, format, arguments);
    va_end(arguments);
}

static const char *row_at(const trial *t, uint64_t i)
{
    return t->rows ? dataset_row(t->rows, i % dataset_size(t->rows)) : "{}";
}

static tool_context context_of(const trial *t, uint64_t play, uint64_t row, uint32_t seed)
{
    return (tool_context){ .play = play, .row = row_at(t, row), .start = (uint64_t)seed << 33 };
}

/* Adds the result's words, and its outcome, to the record. False: the episode is over, or was lost. */
static bool keep(trial *t, const tool_result *r, const char *asked, str *record)
{
    if (r->failed != FAIL_NONE) {
        found(t, "%s: %s", asked, r->text);
        return false;
    }
    if (record) str_printf(record, "%s\n%s\n", r->text, r->outcome ? r->outcome : "");
    return !r->outcome || !outcome_is_done(r->outcome);
}

static bool take(trial *t, uint64_t call, const char *asked, str *record)
{
    tool_result r = { 0 };
    error err = { 0 };
    if (router_await(t->router, call, &r, &err) != OK) {
        found(t, "%s: %s", asked, err.text);
        return false;
    }
    const bool on = keep(t, &r, asked, record);
    tool_result_reset(&r);
    return on;
}

static uint64_t begin_text(trial *t, const char *text, const tool_context *ctx)
{
    char *said = said_arguments(text);
    const uint64_t call = router_say(t->router, said, ctx, clock_ms());
    free(said);
    return call;
}

static uint64_t begin_call(trial *t, const json_t *kind, uint32_t variant, const tool_context *ctx)
{
    json_t *value = sample_value(json_object_get(kind, "parameters"), variant);
    char *arguments = json_text(value, false);
    const uint64_t call =
        router_begin(t->router, json_string_value(json_object_get(kind, "name")), arguments, ctx, clock_ms());
    free(arguments);
    json_decref(value);
    return call;
}

/* The n-th step of a play: tools in turn, and a text after each round of them. */
static uint64_t begin_step(trial *t, const tool_context *ctx, uint32_t n)
{
    static const char *const TEXTS[] = { "hello", "1", "look", "yes" };
    const uint32_t kinds = (uint32_t)json_array_size(t->tools) + 1;
    if (n % kinds == kinds - 1) return begin_text(t, TEXTS[n / kinds % (sizeof TEXTS / sizeof *TEXTS)], ctx);
    return begin_call(t, json_array_get(t->tools, n % kinds), n / kinds, ctx);
}

static bool step(trial *t, const tool_context *ctx, uint32_t n, str *record)
{
    char asked[40];
    snprintf(asked, sizeof asked, "step %u", n + 1);
    return take(t, begin_step(t, ctx, n), asked, record);
}

static bool reset(trial *t, const tool_context *ctx, str *record)
{
    char asked[400];
    snprintf(asked, sizeof asked, "a reset of row %.200s", ctx->row);
    return take(t, router_reset(t->router, ctx, clock_ms()), asked, record);
}

/* A whole short episode; its record is appended. */
static void play(trial *t, uint64_t row, uint32_t seed, uint32_t steps, str *record)
{
    const tool_context ctx = context_of(t, ++t->plays, row, seed);
    bool on = reset(t, &ctx, record);
    for (uint32_t n = 0; on && n < steps; n++) on = step(t, &ctx, n, record);
    router_leave(t->router, ctx.play);
}

/* Says where the two differ: the lines. */
static void compare(trial *t, const str *a, const str *b, const char *what)
{
    enum { SHOWN = 120 };
    const char *one = str_text(a), *other = str_text(b);
    size_t at = 0, line = 0;
    for (; one[at] && one[at] == other[at]; at++)
        if (one[at] == '\n') line = at + 1;
    if (!one[at] && !other[at]) return;

    const int n = (int)strcspn(one + line, "\n"), m = (int)strcspn(other + line, "\n");
    found(t, "%s: once '%.*s', once '%.*s'", what, n < SHOWN ? n : SHOWN, one + line, m < SHOWN ? m : SHOWN,
          other + line);
}

/* ---- the checks ---- */

static void check_begins(trial *t)
{
    const uint64_t n = t->rows ? dataset_size(t->rows) : 1;
    const uint64_t tried = n < MAX_ROWS ? n : MAX_ROWS;
    for (uint64_t i = 0; i < tried; i++) play(t, i, 1, 0, NULL);
    snprintf(t->note, sizeof t->note, "%" PRIu64 " of %" PRIu64 " rows; tools: %zu", tried, n,
             json_array_size(t->tools));
}

/* Both are under way at once: where an instance plays one episode, they are in two processes. */
static void check_same_start(trial *t)
{
    str a = { 0 }, b = { 0 };
    const tool_context first = context_of(t, ++t->plays, 0, 7), second = context_of(t, ++t->plays, 0, 7);
    reset(t, &first, &a);
    reset(t, &second, &b);
    router_leave(t->router, first.play);
    router_leave(t->router, second.play);
    compare(t, &a, &b, "the same row and seed");
    str_free(&a), str_free(&b);
}

static void check_same_play(trial *t)
{
    for (uint32_t seed = 1; seed <= 3; seed++) {
        str a = { 0 }, b = { 0 };
        play(t, seed, seed, STEPS, &a);
        play(t, seed, seed, STEPS, &b);
        compare(t, &a, &b, "the same steps");
        str_free(&a), str_free(&b);
    }
}

/* An episode beside others: the call that is under way, 0 when it is over. */
typedef struct beside {
    tool_context ctx;
    uint64_t call;
    uint32_t n; /* steps that were asked for */
    str record;
} beside;

/* Its call has this result: the next is made, or its place is free for another. */
static void advance(trial *t, beside *b, const tool_result *r)
{
    const bool on = keep(t, r, "beside others", &b->record) && b->n < STEPS;
    b->call = on ? begin_step(t, &b->ctx, b->n++) : 0;
    if (!on) router_leave(t->router, b->ctx.play);
}

static void await_all(trial *t, beside *all, int n)
{
    for (int left = n; left > 0;) {
        tool_result r = { 0 };
        router_wait(t->router, LONGEST_WAIT_MS);
        while (router_poll(t->router, clock_ms(), &r, 1) == 1) {
            for (int i = 0; i < n; i++) {
                if (all[i].call != r.call) continue;
                advance(t, &all[i], &r);
                left -= all[i].call == 0;
                break;
            }
            tool_result_reset(&r);
        }
    }
}

/* Many begin at once, and are stepped at once: what an instance's threads share, they share now. */
static void check_apart(trial *t)
{
    beside all[BESIDE] = { 0 };
    for (uint32_t i = 0; i < BESIDE; i++) {
        all[i].ctx = context_of(t, ++t->plays, i, 20 + i);
        all[i].call = router_reset(t->router, &all[i].ctx, clock_ms());
    }
    await_all(t, all, BESIDE);
    for (uint32_t i = 0; i < BESIDE; i++) {
        str alone = { 0 };
        play(t, i, 20 + i, STEPS, &alone);
        compare(t, &alone, &all[i].record, "an episode alone and beside others");
        str_free(&alone), str_free(&all[i].record);
    }
    snprintf(t->note, sizeof t->note, "%d at once", BESIDE);
}

static void check_bad_input(trial *t)
{
    char *long_text = xcalloc(LONG_TEXT + 1, 1);
    memset(long_text, 'x', LONG_TEXT);
    const struct {
        const char *name, *text;
    } BAD[] = { { "an empty text", "" },
                { "white space", " \n\t" },
                { "control characters", "\x1b[2J\x1a\x7f" },
                { "bytes that are no UTF-8", "\xff\xfe\xc3(" },
                { "signs beyond the BMP", "\xf0\x9f\x98\x80\xf0\x9f\x92\xa5" },
                { "quotes and braces", "{\"action\": [}'\\\"" },
                { "a number beyond all bounds", "99999999999999999999999999999999999999" },
                { "a text of 64 kB", long_text } };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        const tool_context ctx = context_of(t, ++t->plays, 0, 1);
        if (reset(t, &ctx, NULL)) take(t, begin_text(t, BAD[i].text, &ctx), BAD[i].name, NULL);
        router_leave(t->router, ctx.play);
    }
    snprintf(t->note, sizeof t->note, "%zu texts", sizeof BAD / sizeof *BAD);
    free(long_text);
}

/* Resident bytes of our children. */
static int64_t children_bytes(void)
{
    char path[64], *end;
    size_t len;
    int64_t pages = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    char *list = file_read(path, 1 << 16, &len, NULL);
    for (const char *at = list; at && *at; at = end) {
        const long pid = strtol(at, &end, 10);
        if (end == at) break;
        snprintf(path, sizeof path, "/proc/%ld/statm", pid);
        char *sizes = file_read(path, 256, &len, NULL);
        const char *resident = sizes ? strchr(sizes, ' ') : NULL;
        if (resident) pages += strtol(resident, NULL, 10);
        free(sizes);
    }
    free(list);
    return pages * sysconf(_SC_PAGESIZE);
}

static void check_no_leak(trial *t)
{
    const int64_t n = t->what->resets, warm = n / WARM;
    int64_t before = 0;
    const int64_t began_us = clock_us();
    for (int64_t i = 0; i < n && !t->why[0]; i++) {
        if (i == warm) before = children_bytes();
        play(t, (uint64_t)i, (uint32_t)i, 3, NULL);
    }
    const int64_t after = children_bytes(), grown = after - before;
    snprintf(t->note, sizeof t->note, "%" PRId64 " episodes of 3 steps, %.2f ms each; %.1f MB, then %.1f MB", n,
             (double)(clock_us() - began_us) / 1000 / (double)n, (double)before / 1e6, (double)after / 1e6);
    if (grown > LEAK_BYTES && grown > before / LEAK_SHARE)
        found(t, "its processes have grown from %.1f to %.1f MB", (double)before / 1e6, (double)after / 1e6);
}

static void check_ends(trial *t)
{
    const int64_t began = clock_ms();
    router_free(t->router);
    t->router = NULL;
    const int64_t took = clock_ms() - began;
    snprintf(t->note, sizeof t->note, "%" PRId64 " ms", took);
    if (took > ENDS_WITHIN_MS) found(t, "a process had to be ended: %" PRId64 " ms after its stdin did", took);
}

/* ---- all of them ---- */

static int open_trial(trial *t, error *err)
{
    const recipe *r = t->what->recipe;
    if (!recipe_has_environment(r))
        return error_set(err, ERR_ARGUMENT, "%s: env.tools has no T.env{...} to be tested", r->path);
    if (r->curriculum.train[0] && !(t->rows = recipe_rows(r, r->curriculum.train, err))) return err->code;
    if (!(t->router = recipe_router(r, t->what->log, err))) return err->code;
    char *tools = router_tools_json(t->router);
    t->tools = json_parse(tools, strlen(tools), "tools", err);
    free(tools);
    return t->tools ? OK : err->code;
}

static int run_checks(trial *t, error *err)
{
    static const struct {
        const char *name;
        void (*check)(trial *t);
    } CHECKS[] = {
        { "begins", check_begins }, { "same start", check_same_start }, { "same play", check_same_play },
        { "apart", check_apart },   { "bad input", check_bad_input },   { "no leak", check_no_leak },
        { "ends", check_ends },
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof CHECKS / sizeof *CHECKS; i++) {
        t->why[0] = t->note[0] = 0;
        CHECKS[i].check(t);
        failed += t->why[0] != 0;
        t->what->tell(t->what->ctx, CHECKS[i].name, t->note, t->why[0] ? t->why : NULL);
    }
    return failed ? error_set(err, ERR_STATE, "%d of %zu checks failed", failed, sizeof CHECKS / sizeof *CHECKS) : OK;
}

int environment_trial_run(const environment_trial *what, error *err)
{
    trial t = { .what = what };
    int rc = open_trial(&t, err);
    if (rc == OK) rc = run_checks(&t, err);
    router_free(t.router);
    dataset_free(t.rows);
    json_decref(t.tools);
    return rc;
}
