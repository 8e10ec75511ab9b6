/* SPDX-License-Identifier: MIT */
#include "run/deaths.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/error.h"
#include "learner/comm.h"

/* The first deaths are followed by a start at once: a step waits for the process. From the fourth on each waits twice
 * as long as the one before, so that a machine in trouble is not kept busy with loading models. */
enum { AT_ONCE = 3, FIRST_DELAY_MS = 500, LONGEST_DELAY_MS = 8000, GOODBYE_MS = 1000 };

static death_kind death_of_exit(int code)
{
    if (code == 0) return DEATH_LEFT;
    if (code == STATUS_INTERRUPTED) return DEATH_STOPPED;
    return code == RANK_AGAIN ? DEATH_AGAIN : DEATH_FAILED;
}

death_kind death_of_status(int status, uint64_t kills)
{
    if (WIFEXITED(status)) return death_of_exit(WEXITSTATUS(status));

    int ended_by = SIGKILL; /* a status that tells no signal is taken for one that came from outside */
    if (WIFSIGNALED(status)) ended_by = WTERMSIG(status);
    switch (ended_by) {
    case SIGSEGV:
    case SIGABRT:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGSYS:
    case SIGTRAP:
    case SIGXCPU:
    case SIGXFSZ: /* the process's own doing, all of them; other signals come from outside */
        return DEATH_CRASHED;
    case SIGKILL:
        return kills > 0 ? DEATH_MEMORY : DEATH_KILLED; /* the kernel's OOM killer says no more than that it killed */
    default:
        return DEATH_KILLED;
    }
}

/* Texts that differ in their numbers alone are equal. */
static bool same_words(const char *a, const char *b)
{
    for (;;) {
        while (isdigit((unsigned char)*a) || *a == '.') a++;
        while (isdigit((unsigned char)*b) || *b == '.') b++;
        if (*a != *b) return false;
        if (!*a) return true;
        a++;
        b++;
    }
}

static int64_t delay_of(const deaths *d, death_kind kind)
{
    const int64_t min = kind == DEATH_LEFT ? GOODBYE_MS : 0; /* the run may be about to end as well */
    if (d->all <= AT_ONCE) return min;

    int64_t delay_ms = FIRST_DELAY_MS;
    for (int i = AT_ONCE + 1; i < d->all && delay_ms < LONGEST_DELAY_MS; i++) delay_ms *= 2;
    return delay_ms > min ? delay_ms : min;
}

static void note_failure(deaths *d, const char *reason)
{
    const bool again = d->same > 0 && same_words(d->reason, reason);
    if (!again) d->same = 0;
    d->same++;
    d->failed++;
    snprintf(d->reason, sizeof d->reason, "%s", reason);
}

death_verdict deaths_add(deaths *d, death_kind kind, const char *reason, uint64_t steps, int64_t *delay_ms)
{
    const bool own = kind >= DEATH_FAILED;
    if (steps != d->steps) *d = (deaths){ .steps = steps }; /* a step was done: what was before it is forgiven */
    d->all++;
    if (own) note_failure(d, reason);

    *delay_ms = delay_of(d, kind);
    if (own && d->same >= DEATHS_OF_ONE_REASON) return DEATH_SAME_AGAIN;
    const bool too_many = d->failed >= DEATHS_FAILED || d->all >= DEATHS_KILLED;
    return too_many ? DEATH_TOO_MANY : DEATH_RESTART;
}
