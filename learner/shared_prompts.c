/* SPDX-License-Identifier: MIT */
#include "learner/shared_prompts.h"

#include <string.h>

#include "base/hash.h"

static uint32_t prompt_tokens(const trajectory *t)
{
    uint32_t n = 0;
    while (n < t->n && !t->mask[n] && t->role[n] != TOKEN_HINT) n++;
    return n;
}

static bool same_prompt(const trajectory *a, const trajectory *b)
{
    const uint32_t n = prompt_tokens(a);
    return prompt_tokens(b) == n && memcmp(a->ids, b->ids, sizeof *a->ids * n) == 0;
}

shared_prompts shared_prompts_none(arena *a, const advantage_table *table)
{
    shared_prompts p = { .first = arena_array(a, int, table->S),
                         .tokens = arena_zalloc(a, sizeof *p.tokens * (size_t)table->S),
                         .sharers = arena_array(a, int, table->S) };
    for (int s = 0; s < table->S; s++) {
        p.first[s] = s;
        p.sharers[s] = 1;
    }
    return p;
}

/* A hash says quickly that two prompts differ; that they are equal, only the tokens do. */
static void find_first(arena *a, const advantage_table *table, const int *partition, const int *which, int n,
                       shared_prompts *p)
{
    uint64_t *hash = arena_array(a, uint64_t, table->S);
    for (int i = 0; i < n; i++) {
        const int s = which[i];
        const trajectory *t = &table->episodes[s]->tokens;
        hash[s] = hash_bytes(t->ids, sizeof *t->ids * prompt_tokens(t), 0);

        for (int j = 0; j < i; j++) {
            const int other = which[j];
            if (p->first[other] != other || hash[other] != hash[s]) continue;
            if (partition && partition[other] != partition[s]) continue;
            if (!same_prompt(&table->episodes[other]->tokens, t)) continue;
            p->first[s] = other;
            p->sharers[other]++;
            break;
        }
    }
}

/* Stable: prompts in the order of their first episodes, and each one's episodes in the order that was. */
static void gather(arena *a, const shared_prompts *p, int *which, int n)
{
    int *gathered = arena_array(a, int, n), at = 0;
    for (int i = 0; i < n; i++)
        for (int j = i; p->first[which[i]] == which[i] && j < n; j++)
            if (p->first[which[j]] == which[i]) gathered[at++] = which[j];
    memcpy(which, gathered, sizeof *which * (size_t)at);
}

shared_prompts shared_prompts_find(arena *a, const advantage_table *table, const int *partition, int *which, int n)
{
    shared_prompts p = shared_prompts_none(a, table);
    find_first(a, table, partition, which, n, &p);
    gather(a, &p, which, n);

    for (int i = 0; i < n; i++) {
        const int s = which[i];
        const uint32_t prompt = prompt_tokens(&table->episodes[s]->tokens);
        p.sharers[s] = p.sharers[p.first[s]];
        p.tokens[s] = p.sharers[s] > 1 && prompt > 1 ? (int)prompt - 1 : 0;
    }
    return p;
}
