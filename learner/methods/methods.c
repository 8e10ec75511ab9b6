/* SPDX-License-Identifier: MIT */
/* The methods there are, in the order in which they are asked: those that put parts into the trainer come first. */
#include "learner/method.h"

#define ALL_METHODS(X)                                                                                                 \
    X(MOO)        /* K gradients become one: learner/moo/moo.h */                                                      \
    X(BY_TOKEN)   /* ... of logprobs instead of parameters */                                                          \
    X(LEARNERS)   /* several learners, each a share of the episodes and of the parameters */                           \
    X(LORA)       /* an adapter is trained: model/lora.h */                                                            \
    X(CARRY)      /* what succeeds with shots, without them: arXiv 2209.15189 */                                       \
    X(MIXTURE)    /* AMFT, arXiv 2508.06944 */                                                                         \
    X(ANCHOR)     /* ASFT: imitated tokens near the reference */                                                       \
    X(ISOLATION)  /* HFT, arXiv 2404.18466; EPI, 2604.14010 */                                                         \
    X(REFERENCE)  /* the policy that a KL is to */                                                                     \
    X(MOA)        /* MOA, arXiv 2512.09756 */                                                                          \
    X(PREFERENCE) /* rows with weights of their own */                                                                 \
    X(REWARD_KL)  /* a KL as a cost of the reward */                                                                   \
    X(ERA)        /* logits scaled by entropy, arXiv 2510.08549 */

#define DECLARED(name) extern const method METHOD_##name;
#define ADDRESS(name) &METHOD_##name,

ALL_METHODS(DECLARED)

const method *const METHODS[] = { ALL_METHODS(ADDRESS) NULL };
