/* SPDX-License-Identifier: MIT */
/* fleet - for tests of the program as it is installed: starts it, reads what it says, finds and kills its processes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/process.h"
#include "base/str.h"

typedef struct outcome {
    int status; /* exit status; 128 + signal */
    char *text; /* stdout and stderr together */
} outcome;

/* Runs `troupe WORDS...` to its end, NULL-terminated; `input` is its stdin (NULL: nothing). Fails the test after
 * `seconds`. */
outcome troupe_run(const char *input, int seconds, const char *const *words);
void outcome_free(outcome *o);
/* Shorthand: OUT = TROUPE("env", "list"). */
#define TROUPE(...) troupe_run(NULL, 120, (const char *const[]){ __VA_ARGS__, NULL })

/* ---- by a shell, in a folder of the test's own ---- */

/* Setup and teardown of one test: the working folder is a new one. */
int enter_folder(void **state);
int leave_folder(void **state);
/* What a response in a file has is its text and answer: the calculator's reward asks for calls. */
#define REWARD_OF_A_RESPONSE "return function(task, episode) return episode.answer == task.answer and 1 or 0 end\n"
/* A shell's command, with $TROUPE, $RECIPE, $REWARD, $MODEL and $CALCULATOR (the recipe's folder). Its streams are the
 * caller's pipe unless the command says otherwise. */
outcome shell_run(const char *command);
/* It ends with `status` and has said all of `says`, NULL-terminated. */
void shell_expect(const char *command, int status, const char *const *says);
#define SHELL(status, command, ...) shell_expect(command, status, (const char *const[]){ __VA_ARGS__, NULL })

/* Skips the test, aloud, on a machine that does not let the Python tool's sandbox be built. */
void need_sandbox(void);

/* A training in the background, its output in RUN.out. */
process troupe_start(const char *out_path, const char *const *words);
int troupe_wait(process *p, int seconds); /* exit status, or 128 + signal */

/* The calculator recipe with a step small enough for tests: `extra` overrides follow. Writes into argv[max]. */
const char **train_words(const char **argv, const char *recipe, const char *run, const char *const *extra);

/* A folder for one run, of the calculator's recipe. */
typedef struct place {
    char *dir;
    char run[300], out[300], recipe[1100];
} place;

place place_new(void);
process place_start(const place *p, const char *const *extra); /* troupe_start of train_words */
/* Fails unless both runs ended step `step` with the same weights, byte for byte. */
void assert_same_model(const place *a, const place *b, int step);
void assert_nobody_left(const place *p);

/* Waits until metrics.jsonl of the run has a line of step `step`. */
void wait_for_step(const char *run, int64_t step, int seconds);
/* Pids of processes whose command line has both words. Returns how many. */
int find_processes(const char *word, const char *second, int *pids, int max);
/* The folder of the run's sockets, which is in every actor's and reward worker's command line. */
void sockets_of(const char *run, char out[256]);
/* Value of a key in each line of metrics.jsonl with this event; returns how many values. */
int metric_values(const char *run, const char *event, const char *key, double *out, int max);
/* The bytes of a file: the caller frees. */
char *bytes_of(const char *path, size_t *len);
