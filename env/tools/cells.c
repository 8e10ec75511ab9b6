/* SPDX-License-Identifier: MIT */
#include "env/tools/cells.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/vec.h"

/* `text`: the JSON of all that has run, without the brackets around it: [seed, code], ... */
typedef struct played {
    uint64_t play;
    char *text;
} played;

typedef struct begun {
    uint64_t call, play;
    char *cell;
} begun;

struct cells {
    vec(played) plays;
    vec(begun) calls;
};

cells *cells_new(void) { return xcalloc(1, sizeof(cells)); }

void cells_free(cells *c)
{
    if (!c) return;
    for (size_t i = 0; i < c->plays.len; i++) free(c->plays.data[i].text);
    for (size_t i = 0; i < c->calls.len; i++) free(c->calls.data[i].cell);
    vec_free(&c->plays);
    vec_free(&c->calls);
    free(c);
}

static played *played_of(cells *c, uint64_t play)
{
    for (size_t i = 0; i < c->plays.len; i++)
        if (c->plays.data[i].play == play) return &c->plays.data[i];
    return NULL;
}

/* Takes it out; NULL: it was not begun. */
static char *take_begun(cells *c, uint64_t call, uint64_t *play)
{
    for (size_t i = 0; i < c->calls.len; i++) {
        if (c->calls.data[i].call != call) continue;
        char *cell = c->calls.data[i].cell;
        *play = c->calls.data[i].play;
        c->calls.data[i] = c->calls.data[--c->calls.len];
        return cell;
    }
    return NULL;
}

char *cells_request(cells *c, uint64_t call, const char *code, size_t len, const tool_context *ctx, size_t *out_len)
{
    str cell = { 0 }, all = { 0 };
    uint64_t play;
    str_printf(&cell, "[%" PRIu64 ", ", ctx->seed);
    str_json(&cell, code, len);
    str_putc(&cell, ']');

    const played *before = ctx->play ? played_of(c, ctx->play) : NULL;
    str_printf(&all, "[%s%s%s]", before ? before->text : "", before ? ", " : "", cell.data);
    free(take_begun(c, call, &play));
    if (ctx->play)
        vec_push(&c->calls, (begun){ call, ctx->play, str_take(&cell) });
    else
        str_free(&cell);
    *out_len = all.len;
    return str_take(&all);
}

void cells_ended(cells *c, uint64_t call, bool ran)
{
    uint64_t play;
    char *cell = take_begun(c, call, &play);
    played *p = cell && ran ? played_of(c, play) : NULL;
    if (p) {
        str all = { 0 };
        str_printf(&all, "%s, %s", p->text, cell);
        free(p->text);
        p->text = str_take(&all);
    } else if (cell && ran) {
        vec_push(&c->plays, (played){ play, cell });
        return;
    }
    free(cell);
}

void cells_leave(cells *c, uint64_t play)
{
    for (size_t i = c->calls.len; i-- > 0;) {
        if (c->calls.data[i].play != play) continue;
        free(c->calls.data[i].cell);
        c->calls.data[i] = c->calls.data[--c->calls.len];
    }
    played *p = played_of(c, play);
    if (!p) return;
    free(p->text);
    *p = c->plays.data[--c->plays.len];
}
