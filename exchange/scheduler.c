/* SPDX-License-Identifier: MIT */
#include "exchange/scheduler.h"

#include "base/str.h"

static const uint64_t REFILL_SHUFFLE = UINT64_C(0x5ef111);

/* The row after a step's prompt: the next ones of a shuffled pass, and for refills those of another pass, so that the
 * rows of later steps don't depend on how many refills there were. */
static uint64_t row_of(const scheduler_config *c, int64_t step, uint32_t prompt)
{
    const uint64_t before = (uint64_t)(step - 1) * c->prompts_per_step;
    if (prompt < c->prompts_per_step) return dataset_visit(c->train, c->seed, before + prompt);
    return dataset_visit(c->train, c->seed ^ REFILL_SHUFFLE, before * c->refills + prompt - c->prompts_per_step);
}

uint32_t scheduler_prompts(const scheduler_config *c) { return c->prompts_per_step * (1 + c->refills); }

/* A group's last samples get a hint: first come those without, then the partly hinted, then whole demonstrations. */
static float hint_of(const scheduler_config *c, const picked_row *row, uint32_t sample)
{
    const uint32_t left = c->group - sample; /* this one and those after it */
    if (left <= c->demonstrations) return 1;
    return row && left <= c->demonstrations + c->hinted ? row->hint : 0;
}

/* A mixture that was picked for the prompt, else the recipe's schedule. */
static int32_t shots_of(const scheduler_config *c, int64_t step, const picked_row *row, uint32_t prompt,
                        uint32_t sample)
{
    if (!row || !row->shots.set) return c->shots ? c->shots(c->shots_ctx, step, prompt, sample) : 0;
    return sample + row->shots.n_fewer >= c->group ? row->shots.fewer : row->shots.more;
}

void scheduler_task(const scheduler_config *c, int64_t step, const picked_row *rows, uint32_t index, task *t)
{
    const uint32_t prompt = index / c->group, sample = index % c->group;
    const picked_row *picked = rows ? &rows[prompt] : NULL;
    const uint64_t row = picked ? picked->row : row_of(c, step, prompt);

    /* Step s makes version s of version s - 1; before the first there is only version 0. */
    const int64_t oldest = step - 1 - c->max_staleness, newest = step - 1 - c->lag;

    *t = (task){ .id = task_id(false, step, index),
                 .group = task_id(false, step, prompt * c->group), /* named by its first sample */
                 .sample = sample,
                 .group_size = c->group,
                 .step = step,
                 .prompt_id = row,
                 .seed = c->seed,
                 .n_shots = shots_of(c, step, picked, prompt, sample),
                 .min_version = oldest > 0 ? oldest : 0,
                 .hint = hint_of(c, picked, sample),
                 .template_id = picked && sample < c->templated ? picked->template_id : 0,
                 .max_version = newest > 0 ? newest : 0,
                 .temperature = c->temperature,
                 .max_tokens = c->max_tokens,
                 .row = xstrdup(dataset_row(c->train, row)) };
}

uint32_t scheduler_eval_size(const scheduler_config *c)
{
    if (!c->eval) return 0;
    const uint64_t rows = dataset_size(c->eval);
    return (uint32_t)(c->eval_prompts > 0 && c->eval_prompts < rows ? c->eval_prompts : rows);
}

void scheduler_eval_task(const scheduler_config *c, int64_t version, uint32_t index, task *t)
{
    *t = (task){ .id = task_id(true, version, index),
                 .group = task_id(true, version, index),
                 .group_size = 1,
                 .step = version,
                 .eval = true,
                 .prompt_id = index,
                 .seed = c->seed,
                 .n_shots = c->eval_shots,
                 .min_version = version,
                 .max_version = version,
                 .temperature = c->eval_temperature,
                 .max_tokens = c->max_tokens,
                 .row = xstrdup(dataset_row(c->eval, index)) };
}
