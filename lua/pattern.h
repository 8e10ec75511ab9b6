/* SPDX-License-Identifier: MIT */
/* pattern - Lua's patterns, matched in time linear in the text.
 *
 * Lua's own matcher tries what it has tried before: "%s*x" on 20,000 spaces takes 200 million steps, "a-a-a-b" more,
 * and a policy that knows writes a text that no reward script can judge in time. This one remembers where a repetition
 * has failed. It fails there again whatever led to it, because what comes does not depend on what was, so that each
 * repetition is tried once at each place. Only a back reference (%1) breaks that: patterns with one have a budget of
 * steps, and past it there is no match, which is said: a policy could avoid a low score by causing an error.
 *
 * Same language and same matches as string.find of Lua 5.4; a malformed pattern is an error before anything is matched.
 * Memory is Lua's, so it counts and is collected; any function here may raise. */
#pragma once

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PATTERN_CAPTURES = 32 };

typedef struct pattern pattern;

/* Room for a short pattern on the caller's stack: most are, and then nothing is allocated. */
enum { PATTERN_ROOM = 2048 };
typedef union pattern_room {
    max_align_t align;
    char bytes[PATTERN_ROOM];
} pattern_room;

/* Compiles into `room`, or, with room NULL or too small, into a userdata. Pushes one value: that userdata or nil.
 * `anchors`: a ^ at the beginning is one (not in gmatch). */
pattern *pattern_push(lua_State *L, const char *text, size_t len, bool anchors, pattern_room *room);
bool pattern_is_anchored(const pattern *p);

typedef struct capture {
    const char *begin;
    ptrdiff_t len; /* or one of the two below */
} capture;
enum { CAPTURE_OPEN = -1, CAPTURE_POSITION = -2 };

typedef struct matcher {
    lua_State *L;
    const pattern *p;
    const char *text;
    size_t len;
    int memo;          /* a stack index with nil, where what is remembered is kept alive */
    uint8_t *failed;   /* [quantifiers, len + 1] bits; NULL: nothing is remembered yet */
    uint32_t *balance; /* [len + 1] of the %b at `balance_of`; NULL: not yet */
    const void *balance_of;
    const char *no_pair; /* from here on %b with twice the same character has no second */
    uint64_t steps, scanned;
    bool gave_up; /* the budget is used up: from here on nothing matches */
    int depth, n_captures;
    capture captures[PATTERN_CAPTURES];
} matcher;

/* Zero-initialise a matcher but for L, p, text, len and memo. The end of the match that begins at `from`, or
 * NULL; the captures are then set. */
const char *pattern_match(matcher *m, const char *from);
/* The same, at the first place from `*from` on where there is one; *from becomes its beginning. */
const char *pattern_search(matcher *m, const char **from);
