/* SPDX-License-Identifier: MIT */
#include "learner/methods/isolation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "base/str.h"
#include "learner/method.h"

static const double MAX_COUNT = 9007199254740992; /* 2^53: whole numbers up to here are exact */

enum { BLOCKS = 4096, MIN_BLOCK = 256, LAYERS_OUTSIDE = 1 };

struct isolation {
    isolation_config config;
    isolation_block *blocks; /* [n] */
    int n, layers;
    /* What is remembered, in one array: importance [ISOLATION_TASKS, n], steps and name (52 bits of a hash; 0: none) of
     * each task, the mask as 0 and 1, and the update it was chosen at. */
    double *memory, *importance, *steps, *names, *chosen, *chosen_at;
    bool *mask;
};

static int cut(isolation *s, const param_table *t, int64_t size)
{
    int n = 0;
    for (int i = 0; i < t->n; i++)
        for (int64_t at = 0; at < t->items[i].count; at += size, n++) {
            const param *p = &t->items[i];
            const int64_t count = p->count - at < size ? p->count - at : size;
            if (s->blocks) s->blocks[n] = (isolation_block){ p->offset + at, count, p->layer };
            if (p->layer + 1 > s->layers) s->layers = p->layer + 1;
        }
    return n;
}

isolation *isolation_new(const isolation_config *config, const param_table *table, int64_t size)
{
    if (config->freeze <= 0 && config->protect <= 0) return NULL;
    isolation *s = xcalloc(1, sizeof *s);
    s->config = *config;
    if (s->config.every < 1) s->config.every = 1;

    /* Blocks of whole cache lines of fp32; once to count them, once to write them down. */
    const int64_t usual = table->total / BLOCKS > MIN_BLOCK ? table->total / BLOCKS : MIN_BLOCK;
    if (size <= 0) size = usual / 16 * 16;
    s->n = cut(s, table, size);
    s->blocks = xcalloc((size_t)s->n, sizeof *s->blocks);
    cut(s, table, size);
    s->mask = xcalloc((size_t)s->n, sizeof *s->mask);

    /* What is remembered lies in one piece, as it is saved. */
    s->memory = xcalloc((size_t)(ISOLATION_TASKS + 1) * (size_t)s->n + 2 * ISOLATION_TASKS + 1, sizeof *s->memory);
    s->importance = s->memory;
    s->steps = s->importance + (size_t)ISOLATION_TASKS * (size_t)s->n;
    s->names = s->steps + ISOLATION_TASKS;
    s->chosen = s->names + ISOLATION_TASKS;
    s->chosen_at = s->chosen + s->n;
    return s;
}

void isolation_free(isolation *s)
{
    if (!s) return;
    free(s->blocks);
    free(s->memory);
    free(s->mask);
    free(s);
}

int isolation_count(const isolation *s) { return s->n; }
const isolation_block *isolation_blocks(const isolation *s) { return s->blocks; }

int isolation_task(isolation *s, const char *name)
{
    const double word = (double)(hash_bytes(name, strlen(name), 0) >> 12) + 1;
    int k = 0;
    while (k < ISOLATION_TASKS - 1 && s->names[k] > 0 && s->names[k] != word) k++;
    if (!(s->names[k] > 0)) s->names[k] = word;
    return k;
}

/* ---- choosing ---- */

typedef struct ranked {
    double value;
    int block;
} ranked;

static int descending(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->block - y->block;
}

/* Marks the blocks with the largest values, the share of all. */
static void mark_largest(isolation *s, ranked *r, double share)
{
    const int max = (int)floor(share * s->n);
    qsort(r, (size_t)s->n, sizeof *r, descending);
    for (int i = 0; i < max; i++) s->chosen[r[i].block] = 1;
}

/* Importance over the mean of the block's layer: layers whose gradients are large don't take all the places. */
static void protect_task(isolation *s, int of_task, ranked *r)
{
    const double *S = s->importance + (size_t)of_task * (size_t)s->n;
    double *sum = xcalloc(2 * (size_t)(s->layers + LAYERS_OUTSIDE), sizeof *sum),
           *blocks = sum + s->layers + LAYERS_OUTSIDE;
    for (int i = 0; i < s->n; i++) {
        sum[s->blocks[i].layer + 1] += S[i];
        blocks[s->blocks[i].layer + 1]++;
    }
    for (int i = 0; i < s->n; i++) {
        const double mean = sum[s->blocks[i].layer + 1] / blocks[s->blocks[i].layer + 1];
        r[i] = (ranked){ mean > 0 ? S[i] / mean : 0, i };
    }
    mark_largest(s, r, s->config.protect);
    free(sum);
}

static void choose(isolation *s, int64_t update, int of_task)
{
    ranked *r = xcalloc((size_t)s->n, sizeof *r);
    memset(s->chosen, 0, sizeof *s->chosen * (size_t)s->n);
    const rng_key key = { s->config.seed ^ UINT64_C(0x68616c66), (uint64_t)update };
    for (int i = 0; i < s->n; i++) r[i] = (ranked){ rng_uniform(key, 0, (uint64_t)i), i };
    if (s->config.freeze > 0) mark_largest(s, r, s->config.freeze);
    for (int k = 0; s->config.protect > 0 && k < ISOLATION_TASKS; k++)
        if (k != of_task && s->steps[k] > 0) protect_task(s, k, r);
    free(r);
    *s->chosen_at = (double)update;
}

const bool *isolation_mask(isolation *s, int64_t update, int of_task)
{
    if (*s->chosen_at < 1 || update >= (int64_t)*s->chosen_at + s->config.every) choose(s, update, of_task);
    for (int i = 0; i < s->n; i++) s->mask[i] = s->chosen[i] > 0;
    return s->mask;
}

void isolation_learn(isolation *s, int of_task, const double *squares)
{
    double *S = s->importance + (size_t)of_task * (size_t)s->n;
    const double keep = s->steps[of_task]++ > 0 ? s->config.keep : 0;
    for (int i = 0; i < s->n; i++) S[i] = keep * S[i] + (1 - keep) * squares[i] / (double)s->blocks[i].count;
}

/* ---- memory ---- */

void isolation_state(isolation *s, saved_state *to)
{
    const int64_t tasks = ISOLATION_TASKS, n = s->n;
    state_section(to, "isolation", 1);
    state_numbers(to, "importance", s->importance, tasks * n, 0, INFINITY);
    state_numbers(to, "steps", s->steps, tasks, 0, MAX_COUNT);
    state_numbers(to, "tasks", s->names, tasks, 0, MAX_COUNT);
    state_numbers(to, "frozen", s->chosen, n, 0, 1);
    state_numbers(to, "chosen_at", s->chosen_at, 1, 0, MAX_COUNT);
}

/* ---- its keys ---- */

#define AT(member) SETTINGS_AT(ISOLATION, isolation_config, member)

static const option ROWS[] = {
    { "optim.freeze", OPTION_NUMBER, AT(freeze), 0, 0.99, "0",
      .help = "half fine-tuning: share of the parameters that rest, in blocks drawn at random; 0: none",
      .more = "Others rest after `optim.freeze_every` updates (HFT, arXiv 2404.18466; 0.5 there): keeps more of "
              "what the base model knew. Weights and moments of a resting block do not move." },
    { "optim.protect", OPTION_NUMBER, AT(protect), 0, 0.99, "0",
      .help = "isolation: share of the parameters that other data groups protect, as they matter most to them; 0: "
              "none",
      .more = "Evolving parameter isolation (EPI, arXiv 2604.14010), by block, for data whose rows have a "
              "\"group\": what one task needs most is frozen in steps of the others." },
    { "optim.protect_keep", OPTION_NUMBER, AT(keep), 0, 1, "0.99",
      .help = "isolation: decay of the running importance of each block for each data group",
      .more = "The importance is a mean of squared gradients over about 1 / (1 - keep) steps of the group. Smaller "
              "forgets sooner what mattered." },
    { "optim.freeze_every", OPTION_WHOLE, AT(every), 1, 1e9, "100",
      .help = "updates between two choices of the blocks that rest",
      .more = "For `optim.freeze` and `optim.protect`." },
    { 0 },
};

static const option_table OPTIONS = { .after = "optim.weight_decay", .rows = ROWS };

/* ---- in the trainer's step ---- */

typedef struct isolating {
    isolation *blocks;
    slice *cuts;     /* [count] the same, for the optimizer */
    double *squares; /* [count] */
} isolating;

static bool wanted(const trainer_config *c)
{
    const isolation_config own = SETTINGS(c, ISOLATION, isolation_config);
    return own.freeze > 0 || own.protect > 0;
}

static int open(trainer_parts *p, void **self, error *err)
{
    (void)err;
    isolating *s = *self = xcalloc(1, sizeof *s);
    isolation_config own = SETTINGS(p->config, ISOLATION, isolation_config);
    own.seed = p->config->seed;
    s->blocks = isolation_new(&own, p->trained->table, 0);
    const int n = isolation_count(s->blocks);

    s->cuts = xcalloc((size_t)n, sizeof *s->cuts);
    s->squares = xcalloc((size_t)n, sizeof *s->squares);
    for (int i = 0; i < n; i++) {
        const isolation_block *b = &isolation_blocks(s->blocks)[i];
        s->cuts[i] = (slice){ b->begin, b->count };
    }

    p->cuts = s->cuts;
    p->n_cuts = n;
    return OK;
}

static void close(trainer_parts *p, void *self)
{
    (void)p;
    isolating *s = self;
    if (!s) return;
    isolation_free(s->blocks);
    free(s->cuts);
    free(s->squares);
    free(s);
}

/* The data group that most of the step's episodes are of. */
static int task_of(isolation *s, const advantage_table *table)
{
    int votes[ISOLATION_TASKS] = { 0 }, best = 0;
    for (int i = 0; i < table->S; i++) {
        const char *name = table->episodes[i]->data_group ? table->episodes[i]->data_group : "";
        const int k = isolation_task(s, name);
        if (++votes[k] > votes[best]) best = k;
    }
    return best;
}

/* Which blocks this update may move, by what earlier ones have shown; then what this one shows. A gradient of zero
 * shows nothing, and is no update. */
static int freeze(void *self, train_step *step, error *err)
{
    isolating *s = self;
    trainer_parts *p = step->parts;
    const int of_task = task_of(s->blocks, step->table), n = isolation_count(s->blocks);
    double norm = 1, frozen = 0;
    if (optimizer_norm(p->optimizer, p->trained, p->trained_grads, &norm, err) != OK) return ERR_STATE;
    if (!(norm > 0)) return OK;

    const bool *mask = isolation_mask(s->blocks, p->optimizer->step + 1, of_task);
    for (int i = 0; i < n; i++) frozen += mask[i];
    optimizer_freeze(p->optimizer, mask);
    metrics_set(step->out, "actor/frozen_blocks", frozen / n);

    if (SETTINGS(p->config, ISOLATION, isolation_config).protect <= 0) return OK;
    optimizer_squares(p->optimizer, p->trained, p->trained_grads, s->squares, n);
    isolation_learn(s->blocks, of_task, s->squares);
    return OK;
}

static void remembered(void *self, trainer_parts *p, saved_state *to)
{
    (void)p;
    isolation_state(((isolating *)self)->blocks, to);
}

const method METHOD_ISOLATION = {
    .name = "isolation",
    .options = &OPTIONS,
    .wanted = wanted,
    .open = open,
    .close = close,
    .at = { [AT_UPDATE] = freeze },
    .state = remembered,
};
