/* SPDX-License-Identifier: MIT */
/* refusals - what was refused: counted by peer and by reason for ever, named in the log at a bounded rate for ever.
 *
 * A peer that talks rubbish must not fill the disk, and it must not be forgotten either: each peer has a few lines at
 * once and then one every ten seconds, all peers together one a second; a line that is said says how many were not. No
 * more than REFUSING_PEERS names are kept: those that come later are counted together, as "others". */
#pragma once

#include <stdint.h>

#include "base/log.h"

typedef enum refusal {
    REFUSAL_MALFORMED, /* bytes that are no message */
    REFUSAL_TOO_LONG,  /* longer than a message of its type can be in this run */
    REFUSAL_ROLE,      /* a message that its sender's role does not send */
    REFUSAL_NAMESAKE,  /* HELLO under the name of a connected peer */
    REFUSAL_PROTOCOL,  /* HELLO of another version */
    REFUSAL_CROWD,     /* more peers than there may be */
    REFUSAL_UNREAD,    /* asks for more before it has read what it was sent */
    REFUSAL_EPISODE,   /* beyond the run's limits, or not the task's */
    REFUSAL_SCORE,     /* beyond its bounds */
    REFUSAL_UNASKED,   /* an answer of a peer that was not asked */
    N_REFUSALS
} refusal;

enum { REFUSING_PEERS = 32, REFUSED_NAME = 64 };

typedef struct refusal_counts {
    uint64_t by_reason[N_REFUSALS], all;
    int n_peers; /* in order of their first refusal; the last may be "others" */
    struct {
        char name[REFUSED_NAME];
        uint64_t n;
    } peers[REFUSING_PEERS + 1];
} refusal_counts;

typedef struct refusals refusals;

const char *refusal_name(refusal r); /* "malformed", "too_long", ... as in metrics */
refusals *refusals_new(logger *lg);  /* borrowed; NULL: only counts */
void refusals_free(refusals *r);
/* `said`: what was refused and why, a sentence about the peer without its name. */
void refusals_add(refusals *r, int64_t now_ms, const char *peer, refusal why, const char *said);
/* Now and then: says what was held back and whose turn has come. */
void refusals_tick(refusals *r, int64_t now_ms);
const refusal_counts *refusals_counted(const refusals *r);
