/* SPDX-License-Identifier: MIT */
#include "run/environment_by_hand.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"

typedef struct playing {
    const environment_by_hand *by;
    router *router;
    json_t *tools;
    tool_context ctx;
} playing;

/* ---- what is heard ---- */

/* Messages as lines, a prompt as it is. */
static char *words_of_opening(const char *text)
{
    str out = { 0 };
    json_t *opening = json_parse(text, strlen(text), "opening", NULL), *one;
    const char *prompt = json_string_value(json_object_get(opening, "prompt"));
    size_t i;
    if (prompt) str_puts(&out, prompt);
    json_array_foreach(json_object_get(opening, "messages"), i, one)
        str_printf(&out, "%s%s: %s", i ? "\n" : "", json_string_value(json_object_get(one, "role")),
                   json_string_value(json_object_get(one, "content")));
    json_decref(opening);
    str_puts(&out, "");
    return str_take(&out);
}

static int await(playing *p, uint64_t call, tool_result *r, error *err)
{
    const int rc = router_await(p->router, call, r, err);
    if (rc != OK || r->failed == FAIL_NONE) return rc;
    error_set(err, ERR_PEER, "%s", r->text);
    tool_result_reset(r);
    return ERR_PEER;
}

static int begin(playing *p, error *err)
{
    tool_result r = { 0 };
    if (await(p, router_reset(p->router, &p->ctx, clock_ms()), &r, err) != OK) return err->code;
    char *words = words_of_opening(r.text);
    p->by->hear(p->by->ctx, words, NULL);
    free(words);
    tool_result_reset(&r);
    return OK;
}

/* ---- a move ---- */

static bool is_tool(const playing *p, const char *name, size_t len)
{
    const json_t *one;
    size_t i;
    json_array_foreach(p->tools, i, one)
    {
        const char *known = json_string_value(json_object_get(one, "name"));
        if (strlen(known) == len && strncmp(known, name, len) == 0) return true;
    }
    return false;
}

/* "go {"way": "north"}" is a call, where there is a tool `go`; all else is said. */
static uint64_t make_move(playing *p, const char *line)
{
    const size_t name = strcspn(line, " \t{");
    const char *rest = line + name + strspn(line + name, " \t");
    if (is_tool(p, line, name) && (*rest == '{' || !*rest)) {
        char *called = xstrndup(line, name);
        const uint64_t call = router_begin(p->router, called, *rest ? rest : "{}", &p->ctx, clock_ms());
        free(called);
        return call;
    }
    char *said = said_arguments(line);
    const uint64_t call = router_say(p->router, said, &p->ctx, clock_ms());
    free(said);
    return call;
}

static int play(playing *p, error *err)
{
    int rc = begin(p, err);
    for (bool over = false; rc == OK && !over;) {
        str line = { 0 };
        tool_result r = { 0 };
        over = !p->by->move(p->by->ctx, &line);
        if (!over) rc = await(p, make_move(p, str_text(&line)), &r, err);
        str_free(&line);
        if (over || rc != OK) break;
        p->by->hear(p->by->ctx, r.text, r.outcome ? r.outcome : "{}");
        over = r.outcome && outcome_is_done(r.outcome);
        tool_result_reset(&r);
    }
    return rc;
}

/* ---- what it is played with ---- */

static int find_row(const environment_by_hand *by, dataset **rows, const char **row, error *err)
{
    const recipe *r = by->recipe;
    *row = "{}";
    if (!recipe_has_environment(r))
        return error_set(err, ERR_ARGUMENT, "%s: env.tools has no T.env{...} to be played", r->path);
    if (!r->curriculum.train[0]) return OK;
    if (!(*rows = recipe_rows(r, r->curriculum.train, err))) return err->code;
    const uint64_t n = dataset_size(*rows);
    if (by->row >= n)
        return error_set(err, ERR_ARGUMENT, "%s has %" PRIu64 " rows, and no row %" PRIu64, r->curriculum.train, n,
                         by->row + 1);
    *row = dataset_row(*rows, by->row);
    return OK;
}

static int open_tools(playing *p, error *err)
{
    if (!(p->router = recipe_router(p->by->recipe, NULL, err))) return err->code;
    char *tools = router_tools_json(p->router);
    p->tools = json_parse(tools, strlen(tools), "tools", err);
    free(tools);
    return p->tools ? OK : err->code;
}

int environment_by_hand_play(const environment_by_hand *by, error *err)
{
    playing p = { .by = by, .ctx = { .play = 1, .start = (uint64_t)by->seed << 33 } };
    dataset *rows = NULL;
    int rc = find_row(by, &rows, &p.ctx.row, err);
    if (rc == OK) rc = open_tools(&p, err);
    if (rc == OK) rc = play(&p, err);
    router_free(p.router);
    json_decref(p.tools);
    dataset_free(rows);
    return rc;
}
