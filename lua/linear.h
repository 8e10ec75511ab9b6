/* SPDX-License-Identifier: MIT */
/* linear - regular expressions matched in time linear in the text, with the matches that PCRE2 would find.
 *
 * PCRE2 backtracks: (a+)+$ on a text of a's takes longer than any limit, and \s+$ on spaces is quadratic without
 * that its own limits see it. A policy that writes such a text must not lose its script the score. So a pattern is also
 * compiled here, if it can be: literals, classes, groups, alternatives, greedy and lazy repetitions, anchors, \b, and
 * the flags i, m, s. It is run as a set of threads, one for each instruction at most, in the order in which a
 * backtracking matcher would try them (Pike's machine): the first that ends is the match, captures included.
 *
 * Not here: back references, what looks ahead or behind, atomic and possessive parts, a repetition without end of what
 * may be empty, and what is rare. linear_new is then NULL. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINEAR_GROUPS = 32, LINEAR_NONE = -1 };

typedef struct linear linear;

/* A pattern that PCRE2 has accepted, under PCRE2_UTF and no other option. NULL: not one of these. */
linear *linear_new(const char *pattern, size_t len);
void linear_free(linear *r);            /* NULL is allowed */
size_t linear_scratch(const linear *r); /* what one search needs, in bytes */

typedef enum linear_end { LINEAR_NO_MATCH, LINEAR_MATCH, LINEAR_TOO_LONG } linear_end;

/* The first match from text[from] on: spans[2 g], spans[2 g + 1] are the offsets of group g, LINEAR_NONE where it has
 * no part; *n_groups: one more than the highest that has. The text is UTF-8, shorter than 2 GB. `scratch`
 * [linear_scratch], aligned for pointers. *steps counts down: LINEAR_TOO_LONG when it is used up. */
linear_end linear_search(const linear *r, const char *text, size_t len, size_t from, void *scratch, int64_t *steps,
                         int32_t spans[2 * LINEAR_GROUPS], int *n_groups);
