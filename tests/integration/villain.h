/* SPDX-License-Identifier: MIT */
/* villain - a client of a run's exchange that is none of ours: it says what its test wants, on a socket of its own. */
#pragma once

#include "proto/messages.h"
#include "tests/integration/fleet.h"
#include "tests/support/support.h"

typedef struct villain {
    void *context, *socket;
    char address[300];
    int64_t version; /* of the weights, as announced; -1: not yet */
    uint64_t hash, task;
    uint32_t attempt;
    test_random rnd;
} villain;

villain villain_new(void *context, const char *address, uint64_t seed); /* of a ZeroMQ context; not connected yet */
void connect_to(villain *v);                                            /* anew, as another connection */
void say_bytes(villain *v, const void *bytes, size_t len);
void say(villain *v, message m);
void say_episode(villain *v, episode *e); /* takes e */
void hello(villain *v, const char *role, const char *name);
void listen_for(villain *v, int64_t ms); /* what it is told: the weights that exist, and work */

/* Waits until the run's learner listens (what is sent before is lost), and gives its address. */
void wait_for_exchange(const place *p, char address[300]);
int learner_of(const place *p);                      /* pid; 0: there is none */
double last_metric(const place *p, const char *key); /* of the last step; 0: there is none */
