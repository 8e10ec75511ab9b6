/* SPDX-License-Identifier: MIT */
#include "run/keeping.h"

#include <inttypes.h>

/* memory.state, in both directions: the trainer's sections, then those of the one who keeps. */
static void walk(const keeping *k, saved_state *s)
{
    trainer_state(k->trainer, s);
    if (k->remember) k->remember(k->ctx, s);
}

static checkpoint_parts parts_of(const keeping *k)
{
    return (checkpoint_parts){ .w = k->w,
                               .adapter = trainer_lora(k->trainer),
                               .o = trainer_optimizer(k->trainer),
                               .reference = trainer_moving_reference(k->trainer) };
}

typedef struct passage {
    const keeping *k;
    checkpoint_parts parts;
    const char *dir;
    checkpoint_state state;
} passage;

static int save(void *ctx, error *err)
{
    const passage *p = ctx;
    const run_options *run = &p->k->recipe->run;
    const int rc = checkpoint_save(p->k->run_dir, run->model, &p->parts, (uint64_t)run->seed, err);
    return rc == OK ? checkpoint_prune(p->k->run_dir, run->keep_checkpoints, p->k->w->version, err) : rc;
}

int keeping_save(const keeping *k, error *err)
{
    passage p = { .k = k, .parts = parts_of(k) };
    saved_state *memory = state_new();
    walk(k, memory);
    p.parts.memory = memory;
    const int rc = device_guard(k->w->dev, save, &p, err);
    state_free(memory);
    return rc;
}

static int load(void *ctx, error *err)
{
    passage *p = ctx;
    if (checkpoint_load(p->dir, &p->parts, &p->state, err) != OK) return err->code;
    return trainer_check(p->k->trainer, err) == OK ? OK : error_within(err, "%s", p->dir);
}

static int load_memory(const keeping *k, const char *dir, error *err)
{
    saved_state *memory = checkpoint_memory(dir, err);
    if (!memory) return err->code;
    walk(k, memory);
    const int rc = state_end(memory, err);
    state_free(memory);
    return rc;
}

int keeping_load(const keeping *k, const char *dir, int64_t *step, error *err)
{
    passage p = { .k = k, .parts = parts_of(k), .dir = dir };
    if (device_guard(k->w->dev, load, &p, err) != OK || load_memory(k, dir, err) != OK) return err->code;
    *step = p.state.step;
    if (p.state.seed == (uint64_t)k->recipe->run.seed) return OK;
    return error_set(err, ERR_STATE, "%s was made with seed %" PRIu64 ", the recipe has %" PRId64, dir, p.state.seed,
                     k->recipe->run.seed);
}
