/* SPDX-License-Identifier: MIT */
/* error - a code and one sentence that can be shown to a person as it is.
 *
 * A function that can fail takes `error *err` last and returns OK or a code (or NULL). On success `err` is untouched,
 * so calls chain. No caller prints on the way up; each floor may add *where* with error_within; a process's main prints
 * once. `err` may be NULL everywhere: the code alone is then the answer. */
#pragma once

#include <stddef.h>

typedef enum error_code {
    OK = 0,
    ERR_MEMORY,      /* an allocation or a configured cap was too small */
    ERR_IO,          /* the operating system refused; the sentence names file and reason */
    ERR_PARSE,       /* foreign bytes are malformed: file, message, script, tool call */
    ERR_ARGUMENT,    /* the user asked for something that can't be: a recipe key, a flag */
    ERR_STATE,       /* right call, wrong moment */
    ERR_FULL,        /* a bounded thing is full; trying later may help */
    ERR_TIMEOUT,     /* a deadline passed; the sentence names who was waited for */
    ERR_LIMIT,       /* a cap of ours was hit: size, instructions, output */
    ERR_NOT_FOUND,   /* no such file, key, tool, peer, version */
    ERR_PEER,        /* another process broke the protocol or went away */
    ERR_SCRIPT,      /* a user's Lua raised; the sentence has their line number */
    ERR_UNSUPPORTED, /* well-formed, but not something this build can do */
    ERR_INTERRUPTED, /* a signal asked us to stop */
    ERR_DEVICE,      /* an accelerator failed */
    ERR_SPACE,       /* a disk, a quota or a limit on file sizes has no room: it can be gone on with once there is */
} error_code;

/* A process's exit status for ERR_INTERRUPTED: 128 + SIGINT, as shells say it, so that a loop in a script ends, too. */
enum { STATUS_INTERRUPTED = 130 };

typedef struct error {
    int code;
    char text[504];
} error;

/* Sets code and sentence; returns `code`, so that `return error_set(...)` reads well. Of a very long sentence the
 * middle is left out. It is whole UTF-8 characters, whatever it quotes: a control character is shown as \x1b, what is
 * no UTF-8 as '?', so "%.80s" may cut a word anywhere. */
int error_set(error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ERR_IO, or ERR_SPACE, with ": " and the text of `errno_value` after the sentence; a limit of this process comes with
 * its ulimit. */
int error_sys(error *err, int errno_value, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Prefixes "where: " to the sentence already there; returns its code. */
int error_within(error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "timeout", "script", ...: short and stable. For tests, which compare codes: a person is shown the sentence. */
const char *error_name(int code);
