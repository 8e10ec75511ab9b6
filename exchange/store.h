/* store - rollouts.db: every episode and score that was ever acked, in SQLite (WAL). Commit first, ack afterwards.
 *
 * synchronous = NORMAL: a commit survives any crash of our processes; after a power cut the database is whole, but may
 * lack the last commits, whose tasks are then simply played again. One thread uses a store. */
#pragma once

#include "rollout/episode.h"
#include "rollout/score.h"

typedef struct store store;

store *store_open(const char *path, error *err); /* made when it isn't there */
store *store_open_read(const char *path, error *err);
void store_close(store *s);

/* A transaction around what arrived together. */
int store_begin(store *s, error *err);
int store_commit(store *s, error *err);
int store_put_episode(store *s, const task *t, const episode *e, error *err); /* replaces an older one of the same task */
int store_put_score(store *s, const score *sc, error *err);
/* A step was trained on: with which weights it ended, and how many groups and episodes it had. */
int store_put_step(store *s, int64_t step, uint64_t weight_hash, uint32_t groups, uint32_t episodes, error *err);

/* Reading. row: the task's data row (JSON). The callback takes episode and score (NULL: not scored). Return nonzero to stop. */
typedef int (*store_row)(void *ctx, const char *row, episode *e, score *sc);
/* step < 0: all; evals: 0 training, 1 evaluations, 2 both. In order of step and task. */
int store_read(store *s, int64_t step, int64_t after_step, int evals, store_row fn, void *ctx, error *err);
/* Steps trained so far, groups over all of them. */
int store_counts(store *s, int64_t *steps, int64_t *groups, int64_t *episodes, error *err);
