/* SPDX-License-Identifier: MIT */
#include "rollout/trajectory.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

void trajectory_reset(trajectory *t)
{
    free(t->ids);
    free(t->logprob);
    free(t->mask);
    free(t->role);
    free(t->wrote);
    free(t->segments);
    *t = (trajectory){ 0 };
}

static void reserve(trajectory *t, size_t more)
{
    if (t->n + more <= t->capacity) return;
    size_t capacity = t->capacity ? t->capacity : 256;
    while (capacity < t->n + more) capacity *= 2;
    t->ids = xrealloc(t->ids, capacity * sizeof *t->ids);
    t->logprob = xrealloc(t->logprob, capacity * sizeof *t->logprob);
    t->mask = xrealloc(t->mask, capacity);
    t->role = xrealloc(t->role, capacity);
    t->wrote = xrealloc(t->wrote, capacity * sizeof *t->wrote);
    t->capacity = (uint32_t)capacity;
}

void trajectory_append(trajectory *t, token_role role, const int32_t *ids, size_t n)
{
    reserve(t, n);
    if (n > 0) memcpy(t->ids + t->n, ids, n * sizeof *ids);
    for (size_t i = t->n; i < t->n + n; i++) {
        t->logprob[i] = 0;
        t->mask[i] = 0;
        t->role[i] = (uint8_t)role;
        t->wrote[i] = 0;
    }
    t->n += (uint32_t)n;
}

void trajectory_append_sampled(trajectory *t, int32_t id, float logprob, int64_t version, uint64_t weight_hash)
{
    reserve(t, 1);
    t->ids[t->n] = id;
    t->logprob[t->n] = logprob;
    t->mask[t->n] = 1;
    t->wrote[t->n] = 0;
    t->role[t->n++] = TOKEN_POLICY;

    /* The segment under way continues as long as version and weights do. */
    segment *last = t->n_segments ? &t->segments[t->n_segments - 1] : NULL;
    if (last && last->version == version && last->weight_hash == weight_hash) {
        last->end = t->n; /* observations between are covered too: they were not sampled */
        return;
    }

    if (t->n_segments >= t->segment_capacity) { /* a decoded trajectory has segments, but no capacity */
        t->segment_capacity = 2 * t->n_segments + 4;
        t->segments = xrealloc(t->segments, t->segment_capacity * sizeof *t->segments);
    }
    t->segments[t->n_segments++] =
        (segment){ .version = version, .weight_hash = weight_hash, .start = t->n - 1, .end = t->n };
}

void trajectory_wrote(trajectory *t, size_t bytes) { t->wrote[t->n - 1] = (uint32_t)bytes; }

void trajectory_unwrote(trajectory *t, size_t bytes)
{
    for (uint32_t i = t->n; i > 0 && bytes > 0; i--) {
        const uint32_t back = t->wrote[i - 1] < bytes ? t->wrote[i - 1] : (uint32_t)bytes;
        t->wrote[i - 1] -= back;
        bytes -= back;
    }
}

uint32_t trajectory_sampled(const trajectory *t)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n; i++) n += t->mask[i];
    return n;
}

int64_t trajectory_oldest_version(const trajectory *t)
{
    int64_t oldest = -1;
    for (uint32_t i = 0; i < t->n_segments; i++)
        if (oldest < 0 || t->segments[i].version < oldest) oldest = t->segments[i].version;
    return oldest;
}

static int check_token(const trajectory *t, uint32_t i, int32_t vocab, error *err)
{
    if (t->ids[i] < 0 || (vocab > 0 && t->ids[i] >= vocab))
        return error_set(err, ERR_PARSE, "token %" PRIu32 " has id %" PRId32 ", outside a vocabulary of %" PRId32, i,
                         t->ids[i], vocab);
    if (t->role[i] >= N_ROLES || t->mask[i] != (t->role[i] == TOKEN_POLICY))
        return error_set(err, ERR_PARSE, "token %" PRIu32 ": loss mask %u does not fit its role %u", i, t->mask[i],
                         t->role[i]);

    /* A logprob is at most 0, but for the rounding of a softmax; what was not sampled has none. */
    const float logprob = t->logprob[i];
    const bool possible = t->mask[i] ? logprob <= 1e-3f && isfinite(logprob) : logprob == 0;
    if (!possible)
        return error_set(err, ERR_PARSE,
                         "token %" PRIu32
                         ": behaviour logprob %g is impossible (at most 0; 0 where nothing was sampled)",
                         i, (double)t->logprob[i]);
    return OK;
}

static int check_segments(const trajectory *t, error *err)
{
    uint32_t covered = 0; /* sampled tokens before this are in a segment */
    for (uint32_t s = 0; s < t->n_segments; s++) {
        const segment *g = &t->segments[s];
        if (g->start >= g->end || g->end > t->n || g->start < covered || g->version < 0)
            return error_set(err, ERR_PARSE,
                             "segment %" PRIu32 " (%" PRIu32 " to %" PRIu32 ", version %" PRId64 ") is impossible", s,
                             g->start, g->end, g->version);

        for (uint32_t i = covered; i < g->start; i++)
            if (t->mask[i])
                return error_set(err, ERR_PARSE, "token %" PRIu32 " was sampled by no known policy version", i);
        covered = g->end;
    }

    for (uint32_t i = covered; i < t->n; i++)
        if (t->mask[i]) return error_set(err, ERR_PARSE, "token %" PRIu32 " was sampled by no known policy version", i);
    return OK;
}

int trajectory_check(const trajectory *t, int32_t vocab, error *err)
{
    if (t->n_prompt > t->n)
        return error_set(err, ERR_PARSE, "a prompt of %" PRIu32 " tokens in a trajectory of %" PRIu32, t->n_prompt,
                         t->n);
    for (uint32_t i = 0; i < t->n; i++) {
        if (check_token(t, i, vocab, err) != OK) return ERR_PARSE;
        if (i < t->n_prompt && t->mask[i])
            return error_set(err, ERR_PARSE, "token %" PRIu32 " of the prompt has loss mask 1", i);
    }
    return check_segments(t, err);
}
