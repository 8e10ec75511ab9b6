/* SPDX-License-Identifier: MIT */
/* store - rollouts.db: every episode and score that was ever acked, in SQLite (WAL). Commit first, ack afterwards.
 *
 * synchronous = FULL: a commit is on the disk when it returns, so what was acked survives a power cut too. Each episode
 * and each score is stored with a hash of its bytes. One that a disk or an editor has changed since counts as not
 * there: it is told of, and played or scored again. One thread uses a store. */
#pragma once

#include "rollout/episode.h"
#include "rollout/score.h"

typedef struct store store;

store *store_open(const char *path, error *err);      /* made when it isn't there */
store *store_open_read(const char *path, error *err); /* also from a folder that can't be written */
void store_close(store *s);
/* Whether the file is a whole database, every page where it belongs: reads all of it (a gigabyte takes seconds). Else
 * ERR_PARSE and what is wrong. Rows have hashes of their own, which are looked at when they are read. */
int store_check_whole(const char *path, error *err);
/* What store_read calls for a damaged episode or score, and store_read_steps for a damaged step, with a sentence that
 * has its task and step (fn NULL: nothing). */
typedef void (*store_damage)(void *ctx, const char *sentence);
void store_on_damage(store *s, store_damage fn, void *ctx);

/* A transaction around what arrived together. */
int store_begin(store *s, error *err);
int store_commit(store *s, error *err);
/* Replaces an older one of the same task, and takes its score away. */
int store_put_episode(store *s, const task *t, const episode *e, error *err);
int store_put_score(store *s, const score *sc, error *err);
/* Records that step `step` is trained (0: the start): with which weights it ended, and from how many groups and
 * episodes it came. */
int store_put_step(store *s, int64_t step, uint64_t weight_hash, uint32_t groups, uint32_t episodes, error *err);
/* The same for a step whose checkpoint exists and whose record doesn't, since the process died between the two. Groups
 * and episodes are counted in what was played for it, in groups of at least `min` episodes. Where there is a record
 * nothing happens. */
int store_complete_step(store *s, int64_t step, uint64_t weight_hash, uint32_t min, error *err);
/* The same for all steps between the first on record and `step`: records that a disk has lost would be missing in every
 * count from then on. They are told of as damage, and have the hash 0, since theirs is lost. */
int store_complete_steps(store *s, int64_t step, uint32_t min, error *err);
/* The run goes back to the checkpoint of `step`: what was trained after it counts no more, nor does what can't be a
 * step. */
int store_forget_steps(store *s, int64_t step, error *err);

/* Training episodes of steps before `step` go, and their scores; step records, and so all counts, stay, and so do
 * evaluations. The file doesn't shrink: what is freed is used again. */
int store_drop_episodes(store *s, int64_t step, error *err);

/* What store_read calls for each episode; nonzero: to stop. row: the task's data row (JSON). It takes the episode, and
 * its score (NULL where there is none, or it is damaged). */
typedef int (*store_row)(void *ctx, const char *row, episode *e, score *sc);
/* Reads the episodes of `step` (negative: of all steps after `after_step`), in order of step and task. evals: 0 for
 * those of training, 1 for those of evaluations, 2 for both. */
int store_read(store *s, int64_t step, int64_t after_step, int evals, store_row fn, void *ctx, error *err);
/* Reads the records of the steps that were trained, and of the start (0), in order; damaged ones are left out. */
typedef void (*store_step)(void *ctx, int64_t step, uint64_t weight_hash);
int store_read_steps(store *s, store_step fn, void *ctx, error *err);
/* Steps trained so far, groups and episodes over all of them. */
int store_counts(store *s, int64_t *steps, int64_t *groups, int64_t *episodes, error *err);
