/* SPDX-License-Identifier: MIT */
/* checkpoint_files - the folders of a run's checkpoints: which are whole, which is the newest, which may go.
 *
 * state.json is a checkpoint's table of contents: size and hash (XXH64) of every file, and a hash of its own text. What
 * it lists is Troupe's, and all that is ever deleted of a checkpoint; what a person put beside it stays. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct checkpoint_state {
    int64_t step;    /* policy version */
    int64_t updates; /* optimizer steps (a step without signal makes none) */
    uint64_t weight_hash;
    uint64_t seed;
} checkpoint_state;

/* A folder for the parts of step `step` under RUN_DIR/checkpoints, of another name until it is whole; what killed
 * processes left of such goes first. Its path into `dir`. */
int checkpoint_begin(const char *run_dir, int64_t step, char *dir, size_t size, error *err);
/* Writes state.json for what lies in `dir`, syncs, and gives it its name. What had that name is set aside as NAME.old;
 * what a person put beside it stays in its place. On an error `dir` is removed. */
int checkpoint_commit(const char *run_dir, const char *dir, const checkpoint_state *state, error *err);
void checkpoint_abandon(const char *dir); /* removes what checkpoint_begin made */

/* state.json alone. ERR_PARSE: it is not as it was written. */
int checkpoint_read_state(const char *dir, checkpoint_state *state, error *err);
/* Holds every file against its size and hash: ERR_PARSE names the file, what was expected and what was found. */
int checkpoint_verify(const char *dir, checkpoint_state *state, error *err);
/* The newest checkpoint that is whole: its folder into `dir`. Each newer one that is damaged is told with the reason.
 * ERR_NOT_FOUND: there is none at all; ERR_PARSE: there are, and all are damaged. Changes nothing. */
typedef void (*checkpoint_told)(void *ctx, const char *damaged_dir, const char *why);
int checkpoint_latest(const char *run_dir, char *dir, size_t size, checkpoint_state *state, checkpoint_told tell,
                      void *ctx, error *err);
/* Renames a folder to the first free of NAME.WORD, NAME.WORD-2, ...; the new path into `moved`. */
int checkpoint_set_aside(const char *dir, const char *word, char *moved, size_t size, error *err);

/* Removes all but the newest `keep` (0: keeps all) of those up to step `latest`, the one just saved: what stands after
 * it is damaged, or a person's, and must not be kept in its place. Nor does a folder count whose state.json is of
 * another step. */
int checkpoint_prune(const char *run_dir, int64_t keep, int64_t latest, error *err);
int checkpoint_remove_all(const char *run_dir, error *err); /* and what is left of unfinished ones */
