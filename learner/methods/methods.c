/* SPDX-License-Identifier: MIT */
/* The methods there are, in the order in which they are asked: those that put parts into the trainer come first. */
#include "learner/method.h"

extern const method METHOD_MOO, METHOD_LEARNERS, METHOD_LORA, METHOD_MIXTURE, METHOD_ISOLATION, METHOD_REFERENCE,
    METHOD_PIVOT, METHOD_PREFERENCE, METHOD_REWARD_KL, METHOD_ERA;

const method *const METHODS[] = {
    &METHOD_MOO,        /* learner/moo/moo.h: K gradients become one */
    &METHOD_LEARNERS,   /* several learners, each a share of the episodes and of the parameters */
    &METHOD_LORA,       /* model/lora.h */
    &METHOD_MIXTURE,    /* AMFT */
    &METHOD_ISOLATION,  /* HFT, EPI */
    &METHOD_REFERENCE,  /* the policy that a KL is to */
    &METHOD_PIVOT,      /* MOA */
    &METHOD_PREFERENCE, /* rows with weights of their own */
    &METHOD_REWARD_KL,  /* a KL as a cost of the reward */
    &METHOD_ERA,        /* logits scaled by entropy */
    NULL,
};
