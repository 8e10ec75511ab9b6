/* SPDX-License-Identifier: MIT */
/* scorer - one script, one episode, named objectives or an error.
 *
 *     worker --SCORE_REQUEST--> host process (the script's VM) --SCORE--> worker
 *
 * The script runs in a process that can be killed: some functions in C can't be stopped otherwise. What decides is the
 * CPU time of that process. A call that uses more than its share has no score (SCORE_SCRIPT, with a sentence), its
 * process is killed and another started. Wall-clock time alone is not the script's fault: a process that is stopped,
 * starved or killed from outside is replaced and asked once more, then it is SCORE_MACHINE. A missing score is never 0.
 *
 * A row, a response or a transcript above MAX_ROW_BYTES is not sent but named; it costs itself. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "rollout/episode.h"
#include "rollout/score.h"

typedef struct scorer_config {
    const char *script;   /* path of reward.lua */
    int64_t cpu_ms;       /* a call's time, and a millisecond more for each KB of its longest text; 0: 1000 */
    int64_t memory_mb;    /* 0: 64 */
    int64_t instructions; /* 0: 100 million */
    int64_t print_bytes;  /* what the script may print in all, in a process's life; 0: 4 KB a call */
    bool fixed_order;     /* rows always come in the same order: then a script may keep state between them */
} scorer_config;

typedef struct scorer scorer;
/* ERR_SCRIPT when the script can't be loaded or returns no function: said before anything runs. */
scorer *scorer_new(const scorer_config *config, error *err);
void scorer_free(scorer *s);
/* Always fills *out (score_reset when done). Returns within cpu_ms and a little on a machine that has time. */
void scorer_score(scorer *s, const task *t, const episode *e, score *out);
/* tick(ctx) is called several times a second while a script is waited for, by the waiting thread: a long script need
 * not make its worker look dead. NULL: none. */
void scorer_set_tick(scorer *s, void (*tick)(void *ctx), void *ctx);
int scorer_host_pid(const scorer *s); /* for tests */

/* The host process's main, after the hidden verb `reward-host`: serves requests on `fd` until its end. What its last
 * line was goes to `lines` (reward/last_line.h). */
int reward_host_main(const scorer_config *config, int fd, int lines);
/* Loads the script in this process and forgets it: errors with file and line. */
int scorer_check_script(const scorer_config *config, error *err);
