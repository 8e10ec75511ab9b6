/* SPDX-License-Identifier: MIT */
#include "exchange/scheduler.h"

#include "base/str.h"

static const uint64_t REFILL_SHUFFLE = UINT64_C(0x5ef111);

static uint64_t row_of(const scheduler_config *c, int64_t step, uint32_t prompt)
{
    const uint64_t before = (uint64_t)(step - 1) * c->prompts_per_step;
    if (prompt < c->prompts_per_step) return dataset_visit(c->train, c->seed, before + prompt);
    return dataset_visit(c->train, c->seed ^ REFILL_SHUFFLE, before * c->refills + prompt - c->prompts_per_step);
}

uint32_t scheduler_prompts(const scheduler_config *c) { return c->prompts_per_step * (1 + c->refills); }

void scheduler_task(const scheduler_config *c, int64_t step, const picked_row *rows, uint32_t index, task *t)
{
    const uint32_t prompt = index / c->group, sample = index % c->group;
    const uint64_t row = rows ? rows[prompt].row : row_of(c, step, prompt);
    const int64_t oldest = step - 1 - c->max_staleness, newest = step - 1 - c->lag;
    const uint32_t left = c->group - sample; /* this one and those behind it */
    const float hint = left <= c->demonstrations                       ? 1
                       : rows && left <= c->demonstrations + c->hinted ? rows[prompt].hint
                                                                       : 0;
    *t = (task){ .id = task_id(false, step, index),
                 .group = task_id(false, step, prompt * c->group),
                 .sample = sample,
                 .group_size = c->group,
                 .step = step,
                 .prompt_id = row,
                 .seed = c->seed,
                 .n_shots = c->shots ? c->shots(c->shots_ctx, step, prompt) : 0,
                 .min_version = oldest > 0 ? oldest : 0,
                 .hint = hint,
                 .template_id = rows && sample < c->templated ? rows[prompt].template_id : 0,
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
