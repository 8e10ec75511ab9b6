/* SPDX-License-Identifier: MIT */
/* workers - the two roles that connect to a learner: an actor plays its tasks, a reward worker scores its episodes.
 * Both live until the learner says goodbye, a signal comes, or it is silent for too long (role.h: again). */
#pragma once

#include "actor/actor.h"
#include "reward/worker.h"
#include "run/episode_runner.h"
#include "run/role.h"

int run_actor(const role_options *o, bool *again, error *err);
int run_reward_worker(const role_options *o, bool *again, error *err);

/* Episodes that an actor of this recipe has in flight: as many as are asked for, or its share of a step. */
int actor_slots(const recipe *r);
/* Its threads on a machine of so many cores: as many as are asked for, or its share. */
int actor_threads(const recipe *r, int cores);

/* What the two give to actor/ and reward/: all of it is borrowed from what is given here. */
actor_config actor_settings(const role *r, const episode_runner *p);
worker_config reward_settings(const role *r, scorer *s);
