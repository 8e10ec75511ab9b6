/* SPDX-License-Identifier: MIT */
#include "run/memory_plan.h"

#include <inttypes.h>
#include <stdio.h>

#include "actor/actor.h"
#include "base/str.h"
#include "learner/trainer.h"
#include "model/hf_folder.h"
#include "proto/weights.h"
#include "run/check_data.h"
#include "run/quiet_device.h"
#include "run/workers.h"

/* What a process is before it has a model: libraries, a Lua state, a database; and a tokenizer's tables by the
 * token. */
static const uint64_t PROGRAM = (uint64_t)24 << 20, A_TOKEN = 640;

/* ---- the columns ---- */

/* A pass holds micro_tokens, or one episode that is longer; no more than a step has. */
static int tokens_of_pass(const recipe *r, int micro_tokens, int max_context)
{
    const int64_t step = r->exchange.group * r->exchange.prompts_per_step * max_context;
    const int pass = micro_tokens > max_context ? micro_tokens : max_context;
    return step < pass ? (int)step : pass;
}

static memory_need learner_need(const recipe *r, const device *dev, const param_table *shapes, int tokens)
{
    memory_need need = { 0 };
    trainer_need(&r->trainer, dev, shapes, (int)r->run.learners, tokens, &need);
    return need;
}

static void add(memory_plan *p, const char *name, int64_t count, memory_need each)
{
    p->columns[p->n++] = (memory_column){ .name = name, .count = count, .each = each };
}

memory_plan memory_plan_of(const recipe *r, const device *dev, const param_table *shapes)
{
    const model_config *model = &shapes->config;
    const uint64_t program = PROGRAM + A_TOKEN * (uint64_t)model->vocab;
    const engine_config played = episode_runner_engine(r, model, actor_slots(r));
    memory_plan p = { .recipe = r, .on_host = device_view(dev, shapes) != NULL };
    p.tokens = trainer_tokens(&r->trainer, dev, shapes, (int)r->run.learners);

    /* Weights that are published lie in shared memory once, however many actors map them: a column of their own. */
    memory_need learner = learner_need(r, dev, shapes, tokens_of_pass(r, p.tokens, played.max_context));
    memory_need actor = { 0 }, worker = { 0 }, shared = { 0 };
    actor_need(&played, dev, shapes, &actor);
    learner.bytes[MEMORY_PROGRAM] = actor.bytes[MEMORY_PROGRAM] = program;
    worker.bytes[MEMORY_PROGRAM] = PROGRAM;
    shared.bytes[MEMORY_PUBLISHING] = weights_published_bytes(sizeof(float) * (uint64_t)shapes->total);

    add(&p, "learner", r->run.learners, learner);
    add(&p, "actor", r->run.actors, actor);
    add(&p, "reward worker", r->run.reward_workers, worker);
    add(&p, "shared memory", 1, shared);
    return p;
}

int memory_plan_open(const recipe *r, memory_plan *out, error *err)
{
    error why = { 0 };
    if (check_data(r, NEEDS_MODEL, err) != OK) return err->code;
    device *dev = quiet_device(r, &why);
    if (!dev) return recipe_error(r, "device", &why, err);

    hf_folder *f = hf_folder_open_config(r->run.model, NULL, &why);
    if (f) *out = memory_plan_of(r, dev, f->table);
    const int rc = f ? OK : recipe_error(r, "model", &why, err);
    hf_folder_close(f);
    device_close(dev);
    return rc;
}

uint64_t memory_plan_total(const memory_plan *p)
{
    uint64_t total = 0;
    for (int i = 0; i < p->n; i++) total += (uint64_t)p->columns[i].count * memory_need_total(&p->columns[i].each);
    return total;
}

/* ---- what can't fit ---- */

typedef struct largest {
    const memory_column *column;
    memory_part part;
    uint64_t bytes;
} largest;

/* Of learner and actors: no key makes the others less. */
static largest largest_of(const memory_plan *p)
{
    largest max = { .column = &p->columns[0] };
    for (int i = 0; i < 2; i++)
        for (int part = 0; part < N_MEMORY_PARTS; part++) {
            const uint64_t bytes = (uint64_t)p->columns[i].count * p->columns[i].each.bytes[part];
            if (bytes > max.bytes) max = (largest){ &p->columns[i], (memory_part)part, bytes };
        }
    return max;
}

/* The key that makes it less, with its value. */
static char *advice(const memory_plan *p, const largest *max, char *out, size_t size)
{
    const recipe *r = p->recipe;
    const bool actors = max->column == &p->columns[1];
    const char *how_set = r->trainer.micro_tokens > 0 ? "" : ", auto";

    if (max->part == MEMORY_PAGES || (actors && max->part == MEMORY_ACTIVATIONS))
        snprintf(out, size, "lower actor_slots (%d now), rollout.max_context (%d now) or actors (%" PRId64 " now)",
                 actor_slots(r), r->actor.max_context, r->run.actors);
    else if (max->part == MEMORY_ACTIVATIONS)
        snprintf(out, size, "lower learner.micro_tokens (%d now%s)", p->tokens, how_set);
    else if (max->part == MEMORY_MOMENTS)
        snprintf(out, size, "lora.rank makes them small (%d now)", r->trainer.lora.rank);
    else if (max->part == MEMORY_GRADIENTS && r->trainer.moo.over != MOO_OVER_NOTHING)
        snprintf(out, size, "moo.by_micro_batch = true keeps a part of them at a time");
    else if (actors && r->run.actors > 1)
        snprintf(out, size, "lower actors (%" PRId64 " now)", r->run.actors);
    else
        snprintf(out, size, "take a smaller model");
    return out;
}

int memory_plan_check(const memory_plan *p, const memory_room *room, error *err)
{
    const uint64_t total = memory_plan_total(p);
    if (!p->on_host || total <= room->bytes) return OK; /* a GPU's own memory is judged where it is asked for */

    char need[32], left[32], of[32], part[32], keys[200];
    const largest max = largest_of(p);
    return error_set(err, ERR_MEMORY,
                     "the run needs up to %s of memory, and %s leaves %s of %s; most of it is the %s's %s (%s): %s "
                     "('troupe plan' shows all)",
                     memory_text(total, need, sizeof need), room->limit, memory_text(room->bytes, left, sizeof left),
                     memory_text(room->of, of, sizeof of), max.column->name, words_of(MEMORY_PART_WORDS, (int)max.part),
                     memory_text(max.bytes, part, sizeof part), advice(p, &max, keys, sizeof keys));
}

/* ---- for people ---- */

static void print_cell(FILE *to, uint64_t bytes)
{
    char text[32];
    fprintf(to, "  %14s", bytes > 0 ? memory_text(bytes, text, sizeof text) : "");
}

static void print_heads(const memory_plan *p, FILE *to)
{
    fprintf(to, "%-16s", "");
    for (int i = 0; i < p->n; i++) {
        char head[32];
        const memory_column *c = &p->columns[i];
        if (c->count > 1)
            snprintf(head, sizeof head, "%s x%" PRId64, c->name, c->count);
        else
            snprintf(head, sizeof head, "%s", c->name);
        fprintf(to, "  %14s", head);
    }
    fputc('\n', to);
}

void memory_plan_print(const memory_plan *p, const memory_room *room, FILE *to)
{
    char total[32], left[32], of[32];
    print_heads(p, to);
    for (const word_row *row = MEMORY_PART_WORDS; row->word; row++) {
        fprintf(to, "%-16s", row->word);
        for (int i = 0; i < p->n; i++) print_cell(to, p->columns[i].each.bytes[row->value]);
        fputc('\n', to);
    }
    fprintf(to, "%-16s", "each");
    for (int i = 0; i < p->n; i++) print_cell(to, memory_need_total(&p->columns[i].each));

    fprintf(to, "\n\nlearner.micro_tokens %d%s; %d episodes in flight an actor, %d tokens each at most\n", p->tokens,
            p->recipe->trainer.micro_tokens > 0 ? "" : " (auto)", actor_slots(p->recipe), p->recipe->actor.max_context);
    fprintf(to, "all together %s; %s leaves %s of %s%s\n", memory_text(memory_plan_total(p), total, sizeof total),
            room->limit, memory_text(room->bytes, left, sizeof left), memory_text(room->of, of, sizeof of),
            p->on_host ? "" : " (learner and actors use the GPU's memory)");
}

char *memory_plan_line(const memory_plan *p, const memory_room *room, char *out, size_t size)
{
    str line = { 0 };
    char text[32];
    for (int i = 0; i < p->n; i++) {
        const memory_column *c = &p->columns[i];
        str_printf(&line, "%s%s", i > 0 ? ", " : "", c->name);
        if (c->count > 1) str_printf(&line, " %" PRId64 " x", c->count);
        str_printf(&line, " %s", memory_text(memory_need_total(&c->each), text, sizeof text));
        if (i == 0) str_printf(&line, " (%d tokens a pass)", p->tokens);
    }
    snprintf(out, size, "%s; %s free", line.data, memory_text(room->bytes, text, sizeof text));
    str_free(&line);
    return out;
}
