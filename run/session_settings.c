/* SPDX-License-Identifier: MIT */
#include "run/session_settings.h"

#include <string.h>

/* A worker takes four requests at a time (workers.c) and the last of them waits for three others: four times what a
 * script may take, and half a minute for the way and for a host process that has to be started anew. */
static int64_t score_lease_ms(const recipe *r) { return (int64_t)r->reward.timeout_ms * 4 + 30000; }

static int32_t shots_of(void *ctx, int64_t step, uint64_t prompt, uint32_t sample)
{
    return shot_schedule_at(ctx, step, prompt, sample);
}

limits session_limits(const recipe *r, const model_config *model)
{
    const bool ours = !strpbrk(r->prompt.dialect, "./"); /* else the path of a file */
    int64_t max_context = r->actor.max_context;
    if (max_context > model->max_position) max_context = model->max_position; /* as the actors' engine has it */

    return (limits){ .vocab = model->vocab,
                     .max_context = max_context,
                     .max_turns = r->env.max_turns,
                     .environment = recipe_has_environment(r),
                     .submits = recipe_has_submit(r),
                     .eos = model->eos,
                     .n_eos = model->n_eos,
                     .dialect = ours ? r->prompt.dialect : NULL };
}

static int witness_episode(void *ctx, const task *t, const episode *e, error *err)
{
    return witness_check(ctx, t, e, err);
}

static scheduler_config schedule_of(const recipe *r, const server_parts *parts)
{
    scheduler_config s = exchange_schedule(&r->exchange, (uint64_t)r->run.seed);
    s.train = parts->train;
    s.eval = parts->test;
    s.templated = r->prompt.n_templates > 0 ? (uint32_t)r->curriculum.templated : 0;
    s.hinted = (uint32_t)r->curriculum.hinted;
    s.demonstrations = (uint32_t)r->curriculum.demonstrations;

    s.eval_prompts = (uint64_t)r->run.eval_prompts;
    s.eval_shots = (int32_t)r->run.eval_shots;
    s.eval_temperature = (float)r->run.eval_temperature;
    s.shots = r->curriculum.shots ? shots_of : NULL;
    s.shots_ctx = r->curriculum.shots;
    return s;
}

server_config session_server(const recipe *r, const server_parts *parts)
{
    return (server_config){ .core = { .schedule = schedule_of(r, parts),
                                      .steps = r->run.steps,
                                      .task_lease_ms = (int64_t)(r->run.lease_seconds * 1000),
                                      .score_lease_ms = score_lease_ms(r),
                                      .limits = session_limits(r, parts->model),
                                      .witness = { witness_episode, parts->witness },
                                      .signal = r->trainer.objectives.items[0].name },
                            .address = parts->address,
                            .run = r->run.name,
                            .store = parts->store,
                            .keep_episodes = recipe_keep_episodes(r),
                            .steps = parts->steps,
                            .versions = parts->versions,
                            .for_actors = parts->for_actors,
                            .for_rewards = parts->for_rewards };
}

int session_checkpoint(const char *run, checkpoint_told tell, void *ctx, char *dir, size_t size, int64_t *step,
                       error *err)
{
    checkpoint_state state = { 0 };
    const int rc = checkpoint_latest(run, dir, size, &state, tell, ctx, err);
    *step = rc == OK ? state.step : 0;
    if (rc != ERR_NOT_FOUND) return rc;

    dir[0] = '\0'; /* a run that was stopped before its first checkpoint begins again at step 1 */
    *err = (error){ 0 };
    return OK;
}
