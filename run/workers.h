/* SPDX-License-Identifier: MIT */
/* workers - the two roles that connect to a learner: an actor plays its tasks, a reward worker scores its episodes. Both
 * live until the learner says goodbye, a signal comes, or it is silent for too long (role.h: again). */
#pragma once

#include "run/role.h"

int run_actor(const role_options *o, bool *again, error *err);
int run_reward_worker(const role_options *o, bool *again, error *err);
