/* SPDX-License-Identifier: MIT */
/* program - another's program that we talk to in lines: ours go to its stdin, its own come from its stdout.
 *
 * Nothing here waits: what can't be written yet is kept, what is not whole yet is not handed on. The program has a
 * process group of its own and goes with us, however we end. What it says on stderr is said on ours, as long as it is
 * not too much (env/aside.h). */
#pragma once

#include <poll.h>
#include <stdbool.h>

#include "base/error.h"

typedef struct program program;

enum { PROGRAM_MAX_LINE = 16 << 20, PROGRAM_FDS = 3 };

/* argv is copied, and searched in PATH; name (copied; NULL: argv[0]) is what sentences call it. Not started yet. */
program *program_new(const char *const *argv, const char *name);
void program_free(program *p); /* and ends it */
const char *program_name(const program *p);

/* ERR_NOT_FOUND and others of process_spawn. One that runs is ended first, and what it has said is forgotten. */
int program_start(program *p, error *err);
void program_end(program *p); /* it has a moment to end by itself */
/* The same of several: they have the moment together. */
void program_end_all(program *const *all, int n);
void program_kill(program *p); /* it has none */

/* Says a line, which has no newline in it; without effect on one that doesn't run. ERR_LIMIT: it has not read what it
 * was told before, more than PROGRAM_MAX_LINE bytes. */
int program_say(program *p, const char *line, error *err);
/* Writes what waits to be written, reads what can be read. ERR_PEER: it has ended, or closed its stdout, with the last
 * line of its stderr; or it says a line longer than PROGRAM_MAX_LINE; the sentence says which, and it is ended. */
int program_turn(program *p, error *err);
/* The next whole line, without its newline; NULL: there is none yet. Valid until the next program_turn. */
const char *program_line(program *p, size_t *len);
int program_fds(const program *p, struct pollfd *out, int max);
