/* SPDX-License-Identifier: MIT */
/* fakes - the loop and the wire that exchange/server.c talks to, for a test that has neither: time is what the test
 * says, what the server sends goes to a callback, what peers say is handed to the server's own callbacks. A program
 * that links this has no other proto/loop or proto/endpoint in it. */
#pragma once

#include "exchange/server.h"

typedef struct fakes {
    void *ctx;
    int (*on_send)(void *ctx, peer_id peer, const message *m); /* what endpoint_send returns; m is borrowed */
    void (*on_refuse)(void *ctx, peer_id peer, refusal why, const char *said);
    int64_t now_ms;
    endpoint_callbacks server; /* as the server has registered them */
    void (*tick)(void *ctx);
    void (*look)(void *ctx); /* at its queue of versions */
    void *server_ctx;
    bool for_recipe; /* who is dismissed came for the recipe */
    refusal_counts counts;
} fakes;

/* The fakes of a loop; it is one of theirs. */
loop *fakes_loop(fakes *f);
