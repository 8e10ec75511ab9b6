/* SPDX-License-Identifier: MIT */
#include "tests/sim/fakes.h"

#include <stdio.h>
#include <string.h>

/* Each of the three is the same object under the name that the server knows it by. */
loop *fakes_loop(fakes *f) { return (loop *)f; }
static fakes *of_loop(const loop *lp) { return (fakes *)(uintptr_t)lp; }
static fakes *of_endpoint(const endpoint *ep) { return (fakes *)(uintptr_t)ep; }

/* ---- loop ---- */

int64_t loop_now_ms(const loop *lp) { return of_loop(lp)->now_ms; }

void loop_add_fd(loop *lp, int fd, loop_fn fn, void *ctx)
{
    (void)fd;
    of_loop(lp)->look = fn;
    of_loop(lp)->server_ctx = ctx;
}

void loop_add_timer(loop *lp, int64_t every_ms, loop_fn fn, void *ctx)
{
    (void)every_ms, (void)ctx;
    of_loop(lp)->tick = fn;
}

void loop_remove(loop *lp, void *ctx) { (void)lp, (void)ctx; }

/* ---- endpoint ---- */

endpoint *endpoint_bind(loop *lp, const endpoint_config *config, const endpoint_callbacks *cb, logger *lg, error *err)
{
    (void)config, (void)lg, (void)err;
    of_loop(lp)->server = *cb;
    return (endpoint *)lp;
}

void endpoint_free(endpoint *ep) { (void)ep; }
const char *endpoint_address(const endpoint *ep) { return (void)ep, "nowhere"; }
const char *endpoint_peer_name(const endpoint *ep, peer_id peer) { return (void)ep, (void)peer, "a-peer"; }

int endpoint_send(endpoint *ep, peer_id peer, const message *m, error *err)
{
    const int rc = of_endpoint(ep)->on_send(of_endpoint(ep)->ctx, peer, m);
    return rc == OK ? OK : error_set(err, rc, "as the test wants it");
}

void endpoint_refuse(endpoint *ep, peer_id peer, refusal why, const char *said)
{
    fakes *f = of_endpoint(ep);
    f->counts.by_reason[why]++;
    if (f->on_refuse) f->on_refuse(f->ctx, peer, why, said);
}

void endpoint_dismiss(endpoint *ep, peer_id peer, const char *why)
{
    fakes *f = of_endpoint(ep);
    const hello_body hello = { .role = "actor", .for_recipe = f->for_recipe };
    f->server.on_peer(f->server.ctx, peer, &hello, false, why);
}

const refusal_counts *endpoint_refused(const endpoint *ep) { return &of_endpoint(ep)->counts; }
