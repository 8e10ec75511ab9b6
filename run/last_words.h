/* SPDX-License-Identifier: MIT */
/* last_words - what a child process says before it ends, so that the supervisor can report it.
 *
 *      child ---- pipe (LAST_WORDS_FD in its environment) ----> its last sentence; that its log cannot be written
 *            ---- stderr, its log file -----------------------> read where the pipe brought nothing
 *
 * The pipe is there because a log may lie on a full disk. Of the log only what this life has written counts. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"

/* The environment variable that names the descriptor a child writes its last sentence to. */
#define LAST_WORDS_FD "TROUPE_LAST_WORDS_FD"
/* What a child writes there when its log can't be written, with the reason after it; it continues without a log. */
#define LOG_IS_LOST "\001log: "

typedef struct last_words {
    int fd; /* -1: no pipe */
    str heard;
    off_t log_from; /* where this life's part of the log begins */
} last_words;

/* A pipe for a child that starts now and writes `log`; *child_end is for the child (the caller closes its own copy). */
int last_words_begin(last_words *w, int log, int *child_end, error *err);

/* Takes what has come by the pipe, without waiting. True: the child's log is lost, `why` says the reason. */
bool last_words_poll(last_words *w, char *why, size_t size);

/* The child has ended, or was never started: closes the pipe. `out`: its last sentence of our own ("troupe: actor:
 * ..."), else its last line that is no everyday line of the log; "" where it said nothing. */
void last_words_end(last_words *w, const char *log_path, char *out, size_t size);

void last_words_free(last_words *w);
