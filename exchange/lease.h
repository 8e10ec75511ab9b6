/* lease - who holds a piece of work, and until when.
 *
 *              grant               complete
 *     open ------------> held ----------------> done
 *       ^--- expire, or its holder is gone ---|
 *
 * State only: no socket, no clock. A worker that dies, hangs or loses its network lets its leases run out; nobody has
 * to notice the death itself. Embedded in what is leased (a task, a score request). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef enum lease_state { LEASE_OPEN, LEASE_HELD, LEASE_DONE } lease_state;

typedef struct lease {
    lease_state state;
    uint32_t holder;
    int64_t deadline_ms;
} lease;

static inline void lease_grant(lease *l, uint32_t holder, int64_t deadline_ms)
{
    *l = (lease){ .state = LEASE_HELD, .holder = holder, .deadline_ms = deadline_ms };
}

static inline bool lease_held_by(const lease *l, uint32_t holder)
{
    return l->state == LEASE_HELD && l->holder == holder;
}
static inline bool lease_expired(const lease *l, int64_t now_ms)
{
    return l->state == LEASE_HELD && l->deadline_ms <= now_ms;
}
