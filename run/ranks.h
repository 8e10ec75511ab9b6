/* SPDX-License-Identifier: MIT */
/* ranks - several learners of one run, from the side of the program: the first has the exchange, the database and the
 * metrics, and tells the others what to do; they train with it and know nothing of the run.
 *
 *     STEP  its groups, as msgpack        trainer_step on all ranks
 *     SAVE                                the moments' pieces are gathered for the first's checkpoint
 *     END                                 the run is over
 *     STOP                                it was asked to stop: it can be continued
 *
 * A rank that fails alone (no memory, mostly) calls all out of what they are doing: they tell each other what has
 * happened and where they are (ranks_regroup), and the first saves the last whole version with all ranks' moments. By
 * MPI and NCCL no rank can be called: such a rank ends its process, MPI ends the others, and the run continues from its
 * checkpoint with --resume. */
#pragma once

#include "exchange/server.h"
#include "learner/trainer.h"

/* On the first rank; nothing is done when it is alone (`c` NULL or of size 1). */
void ranks_watch(comm *c); /* while it waits: see comm_watch */
void ranks_step(comm *c, const step_batch *b);
void ranks_save(comm *c);
void ranks_end(comm *c, bool stopped);

/* What a failure has left of the ranks' common state. */
typedef struct ranks_left {
    bool whole;         /* all of them have the same version, and all of it */
    char sentence[640]; /* of whom it failed first: "learner 2: out of memory: ..." */
    int code;           /* its error */
} ranks_left;

/* After a step or a save of this rank failed, or was left because another's had. False where ranks can't be called (see
 * above) and for one rank: then *left is not set. Collective, from wherever the ranks are. */
bool ranks_regroup(comm *c, const trainer *t, const error *why, ranks_left *left);
/* The others' life, until END, or STOP (ERR_INTERRUPTED). The weights are the trainer's. */
int ranks_follow(comm *c, trainer *t, const weights *w, error *err);
