/* SPDX-License-Identifier: MIT */
/* lease - who holds a piece of work, and until when.
 *
 *              grant               complete
 *     open ------------> held ----------------> done
 *       ^                |  ^
 *       |                |  '-- renew: its holder gets on
 *       '----------------'
 *          expire, or its holder is gone
 *
 * State only: no socket, no clock. A worker that dies, hangs or loses its network lets its leases run out; the exchange
 * need not notice the death itself. A worker that is only slow says how far it is, and its leases are renewed; but not
 * for ever, as one that says so may be wrong or lie. Embedded in what is leased (a task, a score request). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef enum lease_state { LEASE_OPEN, LEASE_HELD, LEASE_DONE } lease_state;

enum { LEASE_BEFORE = 3 };

typedef struct lease {
    lease_state state;
    uint32_t holder;               /* stays when the lease ends; 0: none yet */
    uint32_t before[LEASE_BEFORE]; /* who held it before, last first: whoever was only slow may still deliver */
    int64_t deadline_ms;
    int64_t limit_ms; /* no renewal carries the deadline beyond it */
} lease;

static inline void lease_grant(lease *l, uint32_t holder, int64_t deadline_ms, int64_t limit_ms)
{
    for (int i = LEASE_BEFORE - 1; i > 0 && l->holder != holder; i--) l->before[i] = l->before[i - 1];
    if (l->holder != holder) l->before[0] = l->holder;
    l->state = LEASE_HELD;
    l->holder = holder;
    l->deadline_ms = deadline_ms;
    l->limit_ms = limit_ms;
}

static inline void lease_renew(lease *l, int64_t deadline_ms)
{
    if (deadline_ms > l->limit_ms) deadline_ms = l->limit_ms;
    if (deadline_ms > l->deadline_ms) l->deadline_ms = deadline_ms;
}

static inline bool lease_held_by(const lease *l, uint32_t holder)
{
    return l->state == LEASE_HELD && l->holder == holder;
}
/* Whether this work was ever handed to `peer`, as far back as is remembered. */
static inline bool lease_was_granted(const lease *l, uint32_t peer)
{
    bool was = l->holder == peer;
    for (int i = 0; i < LEASE_BEFORE; i++) was |= l->before[i] == peer;
    return was && peer != 0;
}
static inline bool lease_expired(const lease *l, int64_t now_ms)
{
    return l->state == LEASE_HELD && l->deadline_ms <= now_ms;
}
