/* SPDX-License-Identifier: MIT */
#include "learner/pack.h"

#include <string.h>

#include "learner/shared_prompts.h"

/* Whether token i has a part in the loss: it was sampled by a version that is new enough, or it is imitated. */
static bool has_loss(const pack_options *o, const trajectory *t, uint32_t i)
{
    if (!t->mask[i]) return o->imitation && t->role[i] == TOKEN_HINT;
    for (uint32_t s = 0; o->oldest > 0 && s < t->n_segments; s++)
        if (i >= t->segments[s].start && i < t->segments[s].end) return t->segments[s].version >= o->oldest;
    return true;
}

/* What the loss is a mean over. A row's first token follows nothing, so it has no loss. */
static int counted_tokens(const pack_options *o, const trajectory *t)
{
    int n = 0;
    for (uint32_t i = 1; i < t->n; i++) n += (t->mask[i] || o->supervised) && has_loss(o, t, i);
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

/* ---- one micro-batch ---- */

typedef struct packer {
    arena *a;
    const advantage_table *table;
    const pack_options *o;
    shared_prompts prompts;
} packer;

/* A batch under way; the arrays are those of `b`. */
typedef struct filling {
    const packer *p;
    packed_batch *b;
    int32_t *ids, *positions, *starts, *prefix, *rows, *targets;
    int *episodes; /* [S] whose each sequence is; a prefix: its first episode's */
} filling;

static int useful_of(const packer *p, int s) { return (int)useful_tokens(p->o, &p->table->episodes[s]->tokens); }

/* Whether which[i] and which[i + 1] have a prefix in common. */
static bool shares_next(const packer *p, const int *which, int i, int n)
{
    const shared_prompts *s = &p->prompts;
    return i >= 0 && i + 1 < n && s->tokens[which[i]] > 0 && s->first[which[i]] == s->first[which[i + 1]];
}

/* Room for n episodes, and a prefix for each pair of them. */
static filling filling_new(const packer *p, packed_batch *b, const int *which, int n)
{
    arena *a = p->a;
    int tokens = 0;
    for (int i = 0; i < n; i++) tokens += useful_of(p, which[i]);

    *b = (packed_batch){ .behaviour = arena_array(a, double, tokens),
                         .episode = arena_array(a, int, tokens),
                         .token = arena_array(a, int, tokens),
                         .imitated = arena_array(a, bool, tokens) };
    return (filling){ .p = p,
                      .b = b,
                      .ids = arena_array(a, int32_t, tokens),
                      .positions = arena_array(a, int32_t, tokens),
                      .starts = arena_array(a, int32_t, 2 * n + 1),
                      .prefix = arena_array(a, int32_t, 2 * n),
                      .rows = arena_array(a, int32_t, tokens),
                      .targets = arena_array(a, int32_t, tokens),
                      .episodes = arena_array(a, int, 2 * n) };
}

/* Adds tokens [from, to) of episode s as a sequence, whose prefix is the sequence `before` (-1: none). Returns its
 * place. */
static int add_rows(filling *f, int s, int before, int from, int to)
{
    token_batch *b = &f->b->tokens;
    const trajectory *t = &f->p->table->episodes[s]->tokens;
    f->starts[b->S] = b->T;
    f->prefix[b->S] = before;
    f->episodes[b->S] = s;

    for (int i = from; i < to; i++, b->T++) {
        f->ids[b->T] = t->ids[i];
        f->positions[b->T] = i;
    }
    return b->S++;
}

/* The last sequence's tokens, from `from` on, that predict one with a loss. */
static void add_outputs(filling *f, int s, int from, int to)
{
    packed_batch *b = f->b;
    const trajectory *t = &f->p->table->episodes[s]->tokens;
    const int first = f->starts[b->tokens.S - 1];

    for (int i = from; i < to; i++) { /* the row of token i gives the logprob of token i + 1 */
        if (!has_loss(f->p->o, t, (uint32_t)i + 1)) continue;
        const int out = b->tokens.n_out++;
        f->rows[out] = first + i - from;
        f->targets[out] = t->ids[i + 1];
        b->behaviour[out] = (double)t->logprob[i + 1];
        b->episode[out] = s;
        b->token[out] = i + 1;
        b->imitated[out] = t->role[i + 1] == TOKEN_HINT;
    }
}

/* Where each partition's sequences begin: they are in its order. */
static int *cut_by_partition(const filling *f)
{
    const pack_options *o = f->p->o;
    int *cuts = arena_array(f->p->a, int, o->n_partitions + 1);
    for (int k = 0, i = 0; k <= o->n_partitions; k++) {
        while (i < f->b->tokens.S && o->partition[f->episodes[i]] < k) i++;
        cuts[k] = i;
    }
    return cuts;
}

static void finish(filling *f)
{
    packed_batch *b = f->b;
    bool any = false;
    for (int s = 0; s < b->tokens.S; s++) any |= f->prefix[s] >= 0;

    f->starts[b->tokens.S] = b->tokens.T;
    b->tokens.ids = f->ids;
    b->tokens.positions = f->positions;
    b->tokens.starts = f->starts;
    b->tokens.prefix = any ? f->prefix : NULL;
    b->tokens.out_rows = f->rows;
    b->tokens.targets = f->targets;
    if (f->p->o->partition) b->sequences = cut_by_partition(f);
}

static void build(const packer *p, packed_batch *b, const int *which, int n)
{
    filling f = filling_new(p, b, which, n);
    int prefix = -1;
    for (int i = 0; i < n; i++) {
        const int s = which[i], end = useful_of(p, s) - 1; /* the last token is only ever a target */
        const bool shared = shares_next(p, which, i, n), continues = shares_next(p, which, i - 1, n);
        if (!continues) prefix = shared ? add_rows(&f, s, -1, 0, p->prompts.tokens[s]) : -1;

        const int from = prefix < 0 ? 0 : p->prompts.tokens[s];
        add_rows(&f, s, prefix, from, end);
        add_outputs(&f, s, from, end);
        b->unshared += end;
    }
    finish(&f);
}

/* ---- which episodes, and in which micro-batch ---- */

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

/* Partition by partition, in each the order that was. */
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

/* Tokens of which[i] and of those after it that share its prompt. */
static int sharers_tokens(const packer *p, const int *which, int i, int n)
{
    int tokens = useful_of(p, which[i]);
    for (; shares_next(p, which, i, n); i++) tokens += useful_of(p, which[i + 1]) - p->prompts.tokens[which[i]];
    return tokens;
}

/* As many of which[begin..n) as a micro-batch holds; at least one. Who shares a prompt goes into one micro-batch where
 * it holds them all; else they are spread over several, each with the prompt. */
static int end_of_batch(const packer *p, const int *which, int begin, int n)
{
    int end = begin, tokens = 0;
    for (; end < n; end++) {
        const bool continues = end > begin && shares_next(p, which, end - 1, n);
        const int own = useful_of(p, which[end]) - (continues ? p->prompts.tokens[which[end]] : 0);
        const int needed = continues ? own : sharers_tokens(p, which, end, n);
        if (end > begin && tokens + needed > p->o->max_tokens) break;
        tokens += own;
    }
    return end;
}

/* What an episode takes to compute: a shared prompt costs each its part. */
static double cost_of(const packer *p, int s)
{
    const double shared = p->prompts.tokens[s];
    return useful_of(p, s) - shared + shared / p->prompts.sharers[s];
}

/* which[cuts[r], cuts[r + 1]) is rank r's: about as many tokens each, whole episodes. */
static int *cut_by_rank(const packer *p, const int *which, int n, int ranks)
{
    int *cuts = arena_array(p->a, int, ranks + 1);
    double all = 0, before = 0;
    for (int i = 0; i < n; i++) all += cost_of(p, which[i]);

    /* An episode is the rank's in whose part its middle lies. */
    for (int i = 0, r = 0; r <= ranks; r++) {
        for (; i < n; i++) {
            const double own = cost_of(p, which[i]);
            if (r < ranks && before + 0.5 * own >= all * r / ranks) break;
            before += own;
        }
        cuts[r] = i;
    }
    return cuts;
}

/* Of the episodes which [n] those that this rank packs; *n becomes their number. Which partitions each rank has goes to
 * plan->has_rows. */
static int *take_own(const packer *p, int *which, int *n, pack_plan *plan)
{
    const pack_options *o = p->o;
    const int ranks = o->ranks > 0 ? o->ranks : 1, n_partitions = o->partition ? o->n_partitions : 1;
    const int *cuts = cut_by_rank(p, which, *n, ranks);
    plan->has_rows = arena_zalloc(p->a, sizeof *plan->has_rows * (size_t)(ranks * n_partitions));
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
        plan->tokens += counted_tokens(options, &table->episodes[s]->tokens);
        plan->counted++;
    }

    packer p = { .a = a, .table = table, .o = options };
    int *which = arena_array(a, int, table->S);
    plan->episodes = choose(table, options, which, plan);
    if (options->partition) sort_by_partition(a, options, which, plan->episodes);
    p.prompts = options->shared_prompts ? shared_prompts_find(a, table, options->partition, which, plan->episodes)
                                        : shared_prompts_none(a, table);
    plan->trained = plan->episodes;
    which = take_own(&p, which, &plan->episodes, plan);

    plan->batches = arena_array(a, packed_batch, plan->episodes);
    for (int begin = 0, end; begin < plan->episodes; begin = end) {
        end = end_of_batch(&p, which, begin, plan->episodes);
        build(&p, &plan->batches[plan->n++], which + begin, end - begin);
    }
    return plan;
}
