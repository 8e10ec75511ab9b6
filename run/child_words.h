/* SPDX-License-Identifier: MIT */
/* child_words - the command lines of a run's processes: which verb, with what of the run, and the run's own words. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "run/run_dir.h"

enum { CHILD_WORDS = 24 + RUN_WORDS };

/* What all processes of a run are told. Texts are borrowed. */
typedef struct fleet_words {
    const char *self;    /* path of the program */
    const char *address; /* of the learner */
    int report_fd;       /* the first learner's pipe to the supervisor */
    int64_t learners;
    bool resumed; /* the run continues: a learner begins as it would be restarted */
    const run_dir *run;
} fleet_words;

/* One process. Its argv point into it and into fleet_words: both stay where they are as long as it is used. */
typedef struct child_words {
    char name[32], log[1100];                             /* "actor-2", RUN/logs/actor-2.log */
    char rank[16], learners[24], report[16];              /* numbers as words */
    const char *argv[CHILD_WORDS], *restart[CHILD_WORDS]; /* end with NULL; restart: after a crash; a worker has none */
} child_words;

/* rank: from 0. The first learner has the run, and reports; the others only train with it. */
void child_words_learner(child_words *c, const fleet_words *f, int rank);
/* role: "actor" or "reward"; number: from 1. */
void child_words_worker(child_words *c, const fleet_words *f, const char *role, int64_t number);
