/* SPDX-License-Identifier: MIT */
/* The environment's first word: it is reset, and what it says becomes the prompt. How the files share a rollout:
 * rollouts_inner.h. */
#include "actor/rollouts_inner.h"

#include "base/rng.h"

/* A place of the sampling key's counter that no token and no call comes to. */
static const uint64_t START_SEED = (uint64_t)1 << 49;

uint64_t rollout_start_seed(const task *t)
{
    uint32_t bits[4];
    const rng_key key = { t->seed, t->prompt_id };
    rng_philox(key, t->eval, START_SEED, bits);
    return (uint64_t)bits[0] << 32 | bits[1];
}

void rollout_reset(rollouts *s, rollout *p, int64_t now_ms)
{
    const tool_context context = {
        .episode = p->task->id, .play = p->play, .start = rollout_start_seed(p->task), .row = p->task->row
    };
    p->opens = true;
    p->call = router_reset(s->config.router, &context, now_ms);
    idmap_set(s->by_call, p->call, p);
}

void rollout_open(rollouts *s, rollout *p, const tool_result *r)
{
    error why = { 0 };
    p->opens = false;
    if (r->failed != FAIL_NONE) {
        rollout_fail(s, p, r->failed, r->text ? r->text : "the environment was lost");
        return;
    }
    p->episode->opening = xstrdup(r->text);
    const int rc = rollout_start(s, p, &why);
    p->waits = rc == ERR_FULL;
    if (rc != OK && !p->waits) rollout_fail(s, p, FAIL_PROMPT, why.text);
}

void rollouts_enter_waiting(rollouts *s)
{
    for (size_t i = 0; i < s->all.len; i++) {
        error why = { 0 };
        rollout *p = s->all.data[i];
        if (!p->waits) continue;
        const int rc = rollout_go_in(s, p, &why);
        p->waits = rc == ERR_FULL;
        if (rc != OK && !p->waits) rollout_fail(s, p, FAIL_PROMPT, why.text);
    }
}
