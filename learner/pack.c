/* SPDX-License-Identifier: MIT */
#include "learner/pack.h"

#include <string.h>

/* Whether token i has a part in the loss: sampled, and by a version that is new enough; or given. */
static bool has_loss(const pack_options *o, const trajectory *t, uint32_t i)
{
    if (!t->mask[i]) return o->imitation && t->role[i] == TOKEN_HINT;
    for (uint32_t s = 0; o->oldest > 0 && s < t->n_segments; s++)
        if (i >= t->segments[s].start && i < t->segments[s].end) return t->segments[s].version >= o->oldest;
    return true;
}

static int sampled_tokens(const pack_options *o, const trajectory *t)
{
    int n = 0;
    for (uint32_t i = 0; i < t->n; i++) n += t->mask[i] && has_loss(o, t, i);
    return n;
}

static bool has_any_loss(const pack_options *o, const trajectory *t)
{
    bool any = false;
    for (uint32_t i = 1; i < t->n; i++) any |= has_loss(o, t, i);
    return any;
}

/* Tokens up to and including the last that has a loss. The last token itself is only ever a target, never an input. */
static uint32_t useful_tokens(const pack_options *o, const trajectory *t)
{
    uint32_t n = t->n;
    while (n > 0 && !has_loss(o, t, n - 1)) n--;
    return n;
}

static void fill_sequence(const pack_options *o, packed_batch *b, int32_t *ids, int32_t *positions, int32_t *rows,
                          int32_t *targets, const trajectory *t, int place)
{
    const uint32_t n = useful_tokens(o, t);
    for (uint32_t i = 0; i + 1 < n; i++) {
        const int row = b->tokens.T++;
        ids[row] = t->ids[i];
        positions[row] = (int32_t)i;
        if (!has_loss(o, t, i + 1)) continue;

        const int out = b->tokens.n_out++;
        rows[out] = row;
        targets[out] = t->ids[i + 1];
        b->behaviour[out] = (double)t->logprob[i + 1];
        b->episode[out] = place;
        b->token[out] = (int)i + 1;
        b->imitated[out] = t->role[i + 1] == TOKEN_HINT;
    }
}

/* Where each partition's sequences begin: `which` is in their order. */
static int *cut_by_partition(arena *a, const pack_options *o, const int *which, int n)
{
    int *cuts = arena_array(a, int, o->n_partitions + 1);
    for (int k = 0, i = 0; k <= o->n_partitions; k++) {
        while (i < n && o->partition[which[i]] < k) i++;
        cuts[k] = i;
    }
    return cuts;
}

static void build(arena *a, const pack_options *o, packed_batch *b, const advantage_table *table, const int *which,
                  int n)
{
    int tokens = 0;
    for (int i = 0; i < n; i++) tokens += (int)useful_tokens(o, &table->episodes[which[i]]->tokens);

    int32_t *ids = arena_array(a, int32_t, tokens), *positions = arena_array(a, int32_t, tokens);
    int32_t *rows = arena_array(a, int32_t, tokens), *targets = arena_array(a, int32_t, tokens);
    int32_t *starts = arena_array(a, int32_t, n + 1);
    *b = (packed_batch){ .behaviour = arena_array(a, double, tokens),
                         .episode = arena_array(a, int, tokens),
                         .token = arena_array(a, int, tokens),
                         .imitated = arena_array(a, bool, tokens) };

    for (int i = 0; i < n; i++) {
        starts[i] = b->tokens.T;
        fill_sequence(o, b, ids, positions, rows, targets, &table->episodes[which[i]]->tokens, which[i]);
    }
    starts[n] = b->tokens.T;

    b->tokens.S = n;
    b->tokens.ids = ids;
    b->tokens.positions = positions;
    b->tokens.starts = starts;
    b->tokens.out_rows = rows;
    b->tokens.targets = targets;
}

static bool has_signal(const advantage_table *t, const pack_options *o, int s)
{
    bool any = t->scalar[s] != 0 || (t->has_spans && t->tokens[s]);
    for (int k = 0; o->by_objective && k < t->K; k++) {
        const size_t at = (size_t)k * (size_t)t->S + (size_t)s;
        any |= t->by_objective[at] != 0 || (t->has_spans && t->tokens_by_objective[at]);
    }
    /* Imitation needs no advantage: a demonstration in a group of equal rewards has none. */
    any |= o->imitation && t->episodes[s]->hint_len > 0 && t->scalar[s] >= 0;
    return any && t->counts[s] && has_any_loss(o, &t->episodes[s]->tokens);
}

static bool any_signal(const advantage_table *t, const pack_options *o)
{
    bool any = false;
    for (int s = 0; s < t->S; s++) any |= has_signal(t, o, s);
    return any;
}

/* Owner by owner, in each the order that was. */
static void sort_by_partition(arena *a, const pack_options *o, int *which, int n)
{
    int *sorted = arena_array(a, int, n), at = 0;
    for (int k = 0; k < o->n_partitions; k++)
        for (int i = 0; i < n; i++)
            if (o->partition[which[i]] == k) sorted[at++] = which[i];
    memcpy(which, sorted, sizeof *which * (size_t)at);
}

/* Indices of the episodes to pack: with a signal, all that count where something acts on all, or a few to check. */
static int choose(const advantage_table *table, const pack_options *o, int *which, pack_plan *plan)
{
    int n = 0;
    plan->signal = any_signal(table, o);
    const bool all = o->everything || o->kl || (o->regulariser && plan->signal);
    for (int s = 0; s < table->S; s++) {
        const bool acted_on = all && table->counts[s] && has_any_loss(o, &table->episodes[s]->tokens);
        if (acted_on || (!all && has_signal(table, o, s))) which[n++] = s;
    }
    plan->learns = plan->signal || (o->kl && n > 0);
    if (n > 0) return n;

    for (int s = 0; s < table->S && n < o->check; s++)
        if (has_any_loss(o, &table->episodes[s]->tokens)) which[n++] = s;
    return n;
}

/* As many of which[begin..n) as a micro-batch holds; at least one. */
static int end_of_batch(const advantage_table *table, const pack_options *o, const int *which, int begin, int n)
{
    int end = begin, tokens = 0;
    do tokens += (int)useful_tokens(o, &table->episodes[which[end++]]->tokens);
    while (end < n && tokens + (int)useful_tokens(o, &table->episodes[which[end]]->tokens) <= o->max_tokens);
    return end;
}

/* which[cuts[r], cuts[r + 1]) is rank r's: about as many tokens each, whole episodes. */
static int *cut_by_rank(arena *a, const advantage_table *table, const pack_options *o, const int *which, int n,
                        int ranks)
{
    int *cuts = arena_array(a, int, ranks + 1);
    double all = 0, before = 0;
    for (int i = 0; i < n; i++) all += useful_tokens(o, &table->episodes[which[i]]->tokens);

    /* An episode is the rank's in whose part its middle lies. */
    for (int i = 0, r = 0; r <= ranks; r++) {
        for (; i < n; i++) {
            const double own = useful_tokens(o, &table->episodes[which[i]]->tokens);
            if (r < ranks && before + 0.5 * own >= all * r / ranks) break;
            before += own;
        }
        cuts[r] = i;
    }
    return cuts;
}

/* The rank's share of which [n]; what all ranks have goes to plan->shares. */
static int *take_share(arena *a, const advantage_table *table, const pack_options *o, int *which, int *n,
                       pack_plan *plan)
{
    const int ranks = o->ranks > 0 ? o->ranks : 1, n_partitions = o->partition ? o->n_partitions : 1;
    const int *cuts = cut_by_rank(a, table, o, which, *n, ranks);
    plan->has_rows = arena_zalloc(a, sizeof *plan->has_rows * (size_t)(ranks * n_partitions));
    for (int r = 0; r < ranks; r++)
        for (int i = cuts[r]; i < cuts[r + 1]; i++) {
            const int k = o->partition ? o->partition[which[i]] : 0;
            plan->has_rows[r * n_partitions + k] = true;
        }

    *n = cuts[o->rank + 1] - cuts[o->rank];
    return which + cuts[o->rank];
}

pack_plan *pack_groups(arena *a, const advantage_table *table, const pack_options *options)
{
    /* What the loss is a mean over: all that count, whether they are packed or not, on every rank alike. */
    pack_plan *plan = arena_zalloc(a, sizeof *plan);
    for (int s = 0; s < table->S; s++) {
        if (!table->counts[s]) continue;
        plan->tokens += sampled_tokens(options, &table->episodes[s]->tokens);
        plan->counted++;
    }

    int *which = arena_array(a, int, table->S);
    plan->episodes = choose(table, options, which, plan);
    if (options->partition) sort_by_partition(a, options, which, plan->episodes);
    plan->trained = plan->episodes;
    which = take_share(a, table, options, which, &plan->episodes, plan);

    plan->batches = arena_array(a, packed_batch, plan->episodes);
    for (int begin = 0, end; begin < plan->episodes; begin = end) {
        packed_batch *b = &plan->batches[plan->n++];
        end = end_of_batch(table, options, which, begin, plan->episodes);
        build(a, options, b, table, which + begin, end - begin);
        if (options->partition) b->sequences = cut_by_partition(a, options, which + begin, end - begin);
    }
    return plan;
}
