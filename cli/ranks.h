/* SPDX-License-Identifier: MIT */
/* ranks - several learners of one run, from the side of the program: the first has the exchange, the database and the
 * metrics, and tells the others what to do; they train with it and know nothing of the run.
 *
 *     STEP  its groups, as msgpack        trainer_step on all ranks
 *     SAVE                                the moments' pieces are gathered for the first's checkpoint
 *     END                                 all is over
 *
 * A rank that fails alone ends its process, and MPI ends the others: the run goes on from
 * its checkpoint with --resume. */
#pragma once

#include "exchange/server.h"
#include "learner/trainer.h"

/* On the first rank; nothing is done when it is alone (`c` NULL or of size 1). */
void ranks_step(comm *c, const step_batch *b);
void ranks_save(comm *c);
void ranks_end(comm *c);
/* The others' life, until END. The weights are the trainer's. */
int ranks_follow(comm *c, trainer *t, const weights *w, error *err);
