/* SPDX-License-Identifier: MIT */
/* aside - what a program says on its stderr: passed on to ours, whole lines, as long as it is not too much; and the
 * last of it kept, which is why it ended, most times.
 *
 * A program that says more than ASIDE_BYTES in a minute is told of in one line, and the rest of that minute is left
 * out: a disk is not filled by what an episode makes a program say. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum { ASIDE_BYTES = 64 << 10, ASIDE_LINE = 1000 };

typedef struct aside {
    int fd;     /* ours of its stderr, not blocking; -1: none */
    str line;   /* the beginning of one */
    char *last; /* the last line with something in it, visible text; NULL: none */
    int64_t minute_began_ms;
    size_t said; /* bytes passed on in this minute */
    bool cut;    /* that there is more was said */
} aside;

/* Takes the descriptor, the reading end of a pipe. name: for the line that tells of too much; lives as long as a. */
void aside_open(aside *a, int fd);
/* Reads what there is to be read. */
void aside_turn(aside *a, const char *name);
/* The same, and the last of it: the program is gone. */
void aside_close(aside *a, const char *name);
void aside_forget(aside *a); /* what it said last */
void aside_free(aside *a);
