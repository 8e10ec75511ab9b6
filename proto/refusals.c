/* SPDX-License-Identifier: MIT */
#include "proto/refusals.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/allowance.h"
#include "base/str.h"

enum { PEER_BURST = 5, PEER_EVERY_MS = 10000, ALL_BURST = 20, ALL_EVERY_MS = 1000, SAID_BYTES = 300 };

typedef struct row { /* of one peer, as in refusal_counts */
    allowance lines;
    uint64_t held_back;
    char last[SAID_BYTES]; /* of those held back */
} row;

struct refusals {
    logger *log;
    refusal_counts counts;
    row rows[REFUSING_PEERS + 1];
    allowance lines; /* of all */
};

static const char *const NAMES[N_REFUSALS] = { "malformed", "too_long", "role",    "namesake", "protocol",
                                               "crowd",     "unread",   "episode", "score",    "unasked" };

const char *refusal_name(refusal r) { return r < N_REFUSALS ? NAMES[r] : "unknown"; }

refusals *refusals_new(logger *lg)
{
    refusals *r = xcalloc(1, sizeof *r);
    r->log = lg;
    return r;
}

void refusals_free(refusals *r) { free(r); }

const refusal_counts *refusals_counted(const refusals *r) { return &r->counts; }

static int row_of(refusals *r, const char *peer)
{
    refusal_counts *c = &r->counts;

    for (int i = 0; i < c->n_peers; i++)
        if (strncmp(c->peers[i].name, peer, REFUSED_NAME - 1) == 0) return i;

    if (c->n_peers > REFUSING_PEERS) return REFUSING_PEERS; /* "others" */
    const int at = c->n_peers++;
    snprintf(c->peers[at].name, REFUSED_NAME, "%s", at == REFUSING_PEERS ? "others" : peer);
    return at;
}

/* Whether there may be a line about this peer now. */
static bool may_speak(refusals *r, row *w, int64_t now_ms)
{
    if (!allowance_has(&w->lines, now_ms, PEER_BURST, PEER_EVERY_MS)) return false;
    if (!allowance_has(&r->lines, now_ms, ALL_BURST, ALL_EVERY_MS)) return false;
    allowance_take(&w->lines);
    allowance_take(&r->lines);
    return true;
}

static void speak(refusals *r, row *w, const char *peer, const char *said)
{
    if (w->held_back > 0)
        log_warn(r->log, "refused of %s: %s (and %" PRIu64 " more)", peer, said, w->held_back);
    else
        log_warn(r->log, "refused of %s: %s", peer, said);
    w->held_back = 0;
}

void refusals_add(refusals *r, int64_t now_ms, const char *peer, refusal why, const char *said)
{
    const int at = row_of(r, peer);
    row *w = &r->rows[at];

    r->counts.by_reason[why]++;
    r->counts.all++;
    r->counts.peers[at].n++;

    if (may_speak(r, w, now_ms)) {
        speak(r, w, peer, said);
        return;
    }
    w->held_back++;
    snprintf(w->last, sizeof w->last, "%s", said);
}

void refusals_tick(refusals *r, int64_t now_ms)
{
    for (int i = 0; i < r->counts.n_peers; i++) {
        row *w = &r->rows[i];
        if (w->held_back == 0 || !may_speak(r, w, now_ms)) continue;
        w->held_back--; /* the one that is told */
        speak(r, w, r->counts.peers[i].name, w->last);
    }
}
