/* SPDX-License-Identifier: MIT */
#include "run/vigil.h"

#include <inttypes.h>
#include <stdio.h>

/* CPU time in a hundred milliseconds that makes a process one that computes: an idle loop's heartbeats take less. */
enum { BUSY_PERCENT = 3, PATIENT = 5, SAY_AGAIN_MS = 60000 }; /* PATIENT: times lost_ms, for one that loads its model */

static int seconds(int64_t ms) { return (int)((ms + 500) / 1000); }

/* Whether it had CPU time, or waited for a disk, since it had had `cpu_ms`, `ms` ago. */
static bool is_busy(const vigil_sight *s, int64_t cpu_ms, int64_t ms)
{
    return s->process.state == 'D' || (s->process.cpu_ms - cpu_ms) * 100 > ms * BUSY_PERCENT;
}

static vigil_verdict say(vigil *v, int64_t now_ms)
{
    v->said_ms = now_ms;
    return VIGIL_SAY;
}

static vigil_verdict look_stopped(vigil *v, const vigil_limits *l, const vigil_sight *s, int64_t now_ms, char *out,
                                  size_t size)
{
    if (!v->stopped_ms) {
        v->stopped_ms = now_ms;
        v->said_ms = 0;
    }

    const int64_t ms = now_ms - v->stopped_ms;
    if (ms >= l->stopped_ms) {
        snprintf(out, size, "%s has been stopped for %d s (SIGSTOP): replacing it", s->name, seconds(ms));
        return VIGIL_REPLACE;
    }
    if (ms < l->stopped_ms / 5 || v->said_ms) return VIGIL_WELL; /* a short stop is not worth a line */

    snprintf(out, size, "%s is stopped (SIGSTOP); it is replaced in %d s unless it continues", s->name,
             seconds(l->stopped_ms - ms));
    return say(v, now_ms);
}

/* Loading a large model takes its time, so who has never come is waited for as long as it computes. */
static vigil_verdict look_lost(vigil *v, const vigil_limits *l, const vigil_sight *s, int64_t now_ms, char *out,
                               size_t size)
{
    if (!v->lost_ms) {
        v->lost_ms = now_ms;
        v->lost_cpu_ms = s->process.cpu_ms;
        v->said_ms = 0;
    }

    const int64_t ms = now_ms - v->lost_ms;
    const bool busy = is_busy(s, v->lost_cpu_ms, ms);
    int64_t limit = l->lost_ms;
    if (busy && !v->came) limit *= PATIENT;

    if (ms >= limit) {
        snprintf(out, size, "%s is alive but has not been connected to the learner for %d s: replacing it", s->name,
                 seconds(ms));
        return VIGIL_REPLACE;
    }
    if (ms < l->lost_ms / 2 || v->said_ms) return VIGIL_WELL;

    snprintf(out, size,
             "%s is alive (%s) but is not connected to the learner; it is replaced in %d s unless it connects", s->name,
             busy ? "and computes" : "idle", seconds(limit - ms));
    return say(v, now_ms);
}

static vigil_verdict look_silent(vigil *v, const vigil_limits *l, const vigil_sight *s, int64_t now_ms, char *out,
                                 size_t size)
{
    if (v->heard_ms != s->heard_ms) {
        v->heard_ms = s->heard_ms;
        v->heard_cpu_ms = s->process.cpu_ms;
    }

    const int64_t ms = now_ms - s->heard_ms;
    if (ms < l->silent_ms) return VIGIL_WELL;
    if (!is_busy(s, v->heard_cpu_ms, ms)) {
        snprintf(out, size, "%s has reported nothing for %d s and uses no CPU time: replacing it", s->name,
                 seconds(ms));
        return VIGIL_REPLACE;
    }
    if (v->said_ms && now_ms - v->said_ms < SAY_AGAIN_MS) return VIGIL_WELL;

    snprintf(out, size, "%s has reported nothing for %d s but uses CPU time: waiting for it", s->name, seconds(ms));
    return say(v, now_ms);
}

/* It was stopped, and is no longer: a new beginning. */
static vigil_verdict look_going_on(vigil *v, const vigil_sight *s, char *out, size_t size)
{
    const bool told = v->said_ms > 0;
    *v = (vigil){ .came = v->came };
    snprintf(out, size, "%s continues", s->name);
    return told ? VIGIL_SAY : VIGIL_WELL;
}

vigil_verdict vigil_look(vigil *v, const vigil_limits *limits, const vigil_sight *s, int64_t now_ms, char *out,
                         size_t size)
{
    if (s->process.state == 'T') return look_stopped(v, limits, s, now_ms, out, size);
    if (v->stopped_ms) return look_going_on(v, s, out, size);
    if (s->process.state == 't') return VIGIL_WELL; /* in a debugger's hands */

    /* Without a list of peers (the learner is starting, or silent) nothing is known of who is connected. */
    if (s->connects && s->connected) v->came = true;
    if (!s->connects || !s->listed || s->connected) v->lost_ms = 0;
    if (s->connects && s->listed && !s->connected) return look_lost(v, limits, s, now_ms, out, size);
    return s->reports ? look_silent(v, limits, s, now_ms, out, size) : VIGIL_WELL;
}

void vigil_forgive(vigil *v, int64_t ms)
{
    if (v->stopped_ms) v->stopped_ms += ms;
    if (v->lost_ms) v->lost_ms += ms;
}
