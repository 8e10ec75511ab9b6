/* SPDX-License-Identifier: MIT */
/* many_gradients - a gradient for each of the reward's objectives, for each data group, or for both: who owns which,
 * and what is told of them. How they become one is learner/bucket.h's affair and learner/moo/'s. */
#include <string.h>

#include "base/str.h"
#include "learner/method.h"

static bool wanted(const trainer_config *c) { return c->moo.over != MOO_OVER_NOTHING; }

/* How many gradients: rewards, groups, or rewards times groups. */
static int rows_of(const trainer_config *c)
{
    const int groups = moo_of_groups(&c->moo) ? c->moo.n_groups : 1;
    return moo_of_rewards(&c->moo) ? c->objectives.n * groups : groups;
}

/* Weights from gradients of logprobs (methods/by_token.c) need none of parameters to be kept apart. */
static int open(trainer_parts *p, void **self, error *err)
{
    (void)self, (void)err;
    const trainer_config *c = p->config;
    const int groups = moo_of_groups(&c->moo) ? c->moo.n_groups : 1;
    bucket_config b = c->moo.bucket;
    if (c->moo.by_token) return OK;

    /* Objectives are preferred as the reward weighs them; a KL has a row more for each group, which is no
     * objective's. */
    int extra = 0;
    if (moo_of_rewards(&c->moo)) {
        for (int k = 0; k < rows_of(c); k++) b.moo.pref[k] = c->objectives.items[k / groups].weight;
        extra = c->loss.kl > 0 ? groups : 0;
    }
    p->buckets = bucket_set_new(&b, p->w->table, p->w->dev, rows_of(c), extra);
    return OK;
}

/* Each episode's data group -> [S] in the arena; NULL, with `err`, for a group that the recipe doesn't name. */
static int *partitions_of(const moo_plan *m, arena *a, const advantage_table *table, error *err)
{
    int *partition = arena_array(a, int, table->S);
    for (int s = 0; s < table->S; s++) {
        const char *name = table->episodes[s]->data_group ? table->episodes[s]->data_group : "";
        int k = 0;
        while (k < m->n_groups && strcmp(m->groups[k], name) != 0) k++;
        if (k == m->n_groups) {
            error_set(err, ERR_STATE, "a row of group '%.60s': moo.groups does not name it", name);
            return NULL;
        }
        partition[s] = k;
    }
    return partition;
}

static int plan(void *self, train_step *s, error *err)
{
    (void)self;
    const moo_plan *m = &s->parts->config->moo;
    s->options.by_objective = moo_of_rewards(m);
    if (!moo_of_groups(m)) return OK;
    s->options.partition = partitions_of(m, s->parts->arena, s->table, err);
    s->options.n_partitions = m->n_groups;
    return s->options.partition ? OK : ERR_STATE;
}

/* The names of K gradients: an objective's, a group's, or "accuracy@de". */
static int tell(void *self, train_step *s, error *err)
{
    (void)self, (void)err;
    const char *names[MOO_MAX];
    const trainer_config *c = s->parts->config;
    const moo_plan *m = &c->moo;
    const int groups = moo_of_groups(m) ? m->n_groups : 1;
    if (!s->parts->buckets || !s->plan->learns) return OK;

    for (int k = 0; k < rows_of(c); k++) {
        const char *reward = moo_of_rewards(m) ? c->objectives.items[k / groups].name : "";
        const char *data_group = moo_of_groups(m) ? m->groups[k % groups] : "";
        str joined = { 0 };
        str_printf(&joined, "%s%s%s", reward, m->over == MOO_OVER_BOTH ? "@" : "", data_group);
        names[k] = memcpy(arena_alloc(s->parts->arena, joined.len + 1), joined.data, joined.len + 1);
        str_free(&joined);
    }
    bucket_metrics(s->parts->buckets, names, s->out);
    return OK;
}

static void remembered(void *self, trainer_parts *p, saved_state *to)
{
    (void)self;
    if (p->buckets) bucket_state(p->buckets, to);
}

/* Slabs: of all buckets until the last micro-batch, or of the embedding and a layer. */
static void need(const method_place *m, memory_need *to)
{
    const trainer_config *c = m->config;
    const int kl = moo_of_rewards(&c->moo) && c->loss.kl > 0 ? rows_of(c) / c->objectives.n : 0;
    if (c->moo.by_token) return;
    to->bytes[MEMORY_GRADIENTS] += (uint64_t)(rows_of(c) + kl) * bucket_slab_bytes(&c->moo.bucket, m->table);
}

const method METHOD_MOO = {
    .name = "moo",
    .wanted = wanted,
    .open = open,
    .at = { [AT_PLAN] = plan, [AT_METRICS] = tell },
    .state = remembered,
    .need = need,
};
