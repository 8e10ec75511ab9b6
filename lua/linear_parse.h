/* SPDX-License-Identifier: MIT */
/* linear_parse - reads a regular expression into a tree; internal to linear.c. Whatever it isn't sure of it refuses:
 * the pattern is then PCRE2's alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

enum { MAX_LINEAR_REPEAT = 1000, MAX_LINEAR_RANGES = 16, MAX_LINEAR_SETS = 64 };

/* Characters: those of ASCII as bits, the others as ranges or all; turned round when `negated`. */
typedef struct linear_set {
    uint64_t ascii[2];
    uint32_t range[MAX_LINEAR_RANGES][2];
    int n_ranges;
    bool others, negated;
} linear_set;

bool linear_set_has(const linear_set *s, uint32_t c);

typedef enum linear_assert {
    AT_BEGIN,
    AT_LINE_BEGIN,
    AT_END,
    AT_LAST_LINE_END,
    AT_LINE_END,
    AT_WORD_BORDER,
    AT_NO_WORD_BORDER,
} linear_assert;

typedef enum linear_kind {
    NODE_EMPTY,
    NODE_CHAR,
    NODE_SET,
    NODE_ASSERT,
    NODE_BOTH,   /* a, then b */
    NODE_EITHER, /* a, or else b */
    NODE_GROUP,
    NODE_REPEAT,
} linear_kind;

typedef struct linear_node linear_node;
struct linear_node {
    linear_kind kind;
    uint32_t value; /* the character, the set's number, the assertion, the group's number */
    const linear_node *a, *b;
    int min, max; /* NODE_REPEAT; max -1: without end */
    bool lazy;
};

typedef struct linear_tree {
    arena *memory;
    const linear_node *root;
    linear_set sets[MAX_LINEAR_SETS];
    int n_sets, n_groups; /* the whole match is group 0 */
} linear_tree;

/* Fills *tree, which linear_tree_free releases in any case. False: refused. */
bool linear_parse(linear_tree *tree, const char *pattern, size_t len);
void linear_tree_free(linear_tree *tree);
