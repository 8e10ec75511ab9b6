/* SPDX-License-Identifier: MIT */
/* run_dir - runs/NAME: what a run leaves behind, and what resuming it needs.
 *
 *     recipe/      the run's own copy of what it was begun with (run/ingredients.h)
 *     run.json     format, those files with their hashes, overrides, and the changes that were taken since;
 *                  also where its sockets are just now, for people to see: no program reads that
 *     logs/        one a process            lock   held by the process that supervises the run
 *
 * Nothing in run.json is a place to delete or to write: a copied or edited run can't reach beyond its own folder. The
 * folder and its files are for their owner alone. */
#pragma once

#include "base/error.h"
#include "base/held_folder.h"
#include "run/ingredients.h"

enum { RUN_WORDS = 96, RUN_COPIES = 8, RUN_OVERRIDES = RUN_WORDS - RUN_COPIES }; /* a process takes RUN_WORDS words */

typedef struct run_dir {
    char path[1024];                /* absolute */
    char recipe[2048];              /* the run's own copy */
    held_folder sockets;            /* private; exists between run_dir_begin and run_dir_end */
    char *overrides[RUN_OVERRIDES]; /* a person's, with absolute paths */
    char *words[RUN_WORDS];         /* what the processes get: those, and where the copies are */
    int n_overrides, n_words;
    ingredients parts;
    json_t *history;             /* list of { "unix", "words", "taken" } */
    char *before[RUN_OVERRIDES]; /* the overrides that resuming found; kept while they can be taken back to */
    int n_before;                /* -1: they can't */
    int lock_fd;
} run_dir;

/* ERR_ARGUMENT unless `name` is one component of a path that can be typed. */
int run_name_check(const char *name, error *err);

/* Makes a new run of an opened recipe. ERR_STATE when there is one already (and !fresh: the sentence says how to resume
 * it), or when the folder is not a run and not empty. fresh: what that run has made goes; what a person put there
 * stays. */
int run_dir_begin(run_dir *r, const char *path, const recipe *of, const char *const *overrides, int n_overrides,
                  bool fresh, error *err);

typedef struct resume_options {
    const char *const *words; /* "key=value" that the run gets from now on */
    int n_words;
    bool take_changes;                             /* recipe, scripts and data anew from where they came from */
    void (*tell)(void *ctx, const char *sentence); /* differences, and what was taken */
    /* The caller's own checks of the recipe that is gone on with, before any of it is written down; may be NULL. */
    int (*agree)(void *ctx, const recipe *with, error *err);
    void *ctx;
} resume_options;

/* Takes up a run that stopped or was killed: the recipe it continues with (the caller frees), or NULL. ERR_STATE while
 * another process supervises it, or when its files are not those it was begun with. */
recipe *run_dir_resume(run_dir *r, const char *path, const resume_options *options, error *err);
/* The words that a resume brought were not good for this run: run.json forgets them. Without effect when there were
 * none, or when files were taken with them. */
int run_dir_take_back(run_dir *r, error *err);
void run_dir_end(run_dir *r); /* removes the sockets, lets go of the lock */
