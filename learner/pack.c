#include "learner/pack.h"

#include <string.h>

/* Tokens up to and including the last sampled one. The last token itself is only ever a target, never an input. */
static uint32_t useful_tokens(const trajectory *t)
{
    uint32_t n = t->n;
    while (n > 0 && !t->mask[n - 1]) n--;
    return n;
}

static void fill_sequence(packed_batch *b, int32_t *ids, int32_t *positions, int32_t *rows, int32_t *targets,
                          const trajectory *t, double advantage)
{
    const uint32_t n = useful_tokens(t);
    const double sampled = trajectory_sampled(t);
    for (uint32_t i = 0; i + 1 < n; i++) {
        const int row = b->tokens.T++;
        ids[row] = t->ids[i];
        positions[row] = (int32_t)i;
        if (!t->mask[i + 1]) continue;
        const int out = b->tokens.n_out++;
        rows[out] = row;
        targets[out] = t->ids[i + 1];
        b->advantage[out] = advantage;
        b->behaviour[out] = (double)t->logprob[i + 1];
        b->sequence_tokens[out] = sampled;
    }
}

static void build(arena *a, packed_batch *b, const advantage_table *table, const int *which, int n)
{
    int tokens = 0;
    for (int i = 0; i < n; i++) tokens += (int)useful_tokens(&table->episodes[which[i]]->tokens);
    int32_t *ids = arena_array(a, int32_t, tokens), *positions = arena_array(a, int32_t, tokens);
    int32_t *rows = arena_array(a, int32_t, tokens), *targets = arena_array(a, int32_t, tokens);
    int32_t *starts = arena_array(a, int32_t, n + 1);
    *b = (packed_batch){ .advantage = arena_array(a, double, tokens),
                         .behaviour = arena_array(a, double, tokens),
                         .sequence_tokens = arena_array(a, double, tokens) };
    for (int i = 0; i < n; i++) {
        starts[i] = b->tokens.T;
        fill_sequence(b, ids, positions, rows, targets, &table->episodes[which[i]]->tokens, table->scalar[which[i]]);
    }
    starts[n] = b->tokens.T;
    b->tokens.S = n;
    b->tokens.ids = ids, b->tokens.positions = positions, b->tokens.starts = starts;
    b->tokens.out_rows = rows, b->tokens.targets = targets;
}

/* Indices of the episodes to pack: all with an advantage, or `check` others when there are none. */
static int choose(const advantage_table *table, int check, int *which)
{
    int n = 0;
    for (int s = 0; s < table->S; s++)
        if (table->counts[s] && table->scalar[s] != 0 && trajectory_sampled(&table->episodes[s]->tokens) > 0)
            which[n++] = s;
    if (n > 0) return n;
    for (int s = 0; s < table->S && n < check; s++)
        if (trajectory_sampled(&table->episodes[s]->tokens) > 0) which[n++] = s;
    return n;
}

pack_plan *pack_groups(arena *a, const advantage_table *table, int max_tokens, int check)
{
    pack_plan *plan = arena_zalloc(a, sizeof *plan);
    for (int s = 0; s < table->S; s++) {
        if (!table->counts[s]) continue;
        plan->tokens += trajectory_sampled(&table->episodes[s]->tokens);
        plan->counted++;
    }
    int *which = arena_array(a, int, table->S);
    plan->episodes = choose(table, check, which);
    plan->batches = arena_array(a, packed_batch, plan->episodes);
    for (int begin = 0; begin < plan->episodes;) {
        int end = begin, tokens = 0;
        do tokens += (int)useful_tokens(&table->episodes[which[end++]]->tokens);
        while (end < plan->episodes && tokens + (int)useful_tokens(&table->episodes[which[end]]->tokens) <= max_tokens);
        build(a, &plan->batches[plan->n++], table, which + begin, end - begin);
        begin = end;
    }
    return plan;
}
