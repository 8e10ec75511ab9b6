/* SPDX-License-Identifier: MIT */
#include "run/episode_runner.h"

#include <string.h>

#include "base/clock.h"

enum {
    TOKENS_PER_STEP = 512, /* of one forward pass: a token of each episode under way, and as much of new prompts */
    MAX_FINISHED = 64,
    IDLE_MS = 200, /* a tool's answer ends the wait earlier */
};

/* The shots of a task are chosen by its group: all samples of a prompt see the same ones. */
static int pick_shots(void *ctx, const task *t, const char **out, int max)
{
    const episode_runner *p = ctx;
    uint64_t rows[MAX_SHOTS];
    int want = t->n_shots < max ? t->n_shots : max;
    if (want > MAX_SHOTS) want = MAX_SHOTS;
    const int n = shot_pick(t->seed, t->group, want, p->shots.len, rows);
    for (int i = 0; i < n; i++) out[i] = p->shots.data[rows[i]];
    return n;
}

/* Takes the router. */
static int open_words(episode_runner *p, const recipe *r, router *tools_of, error *err)
{
    if (!(p->router = tools_of)) return err->code;
    if (r->curriculum.shots_file[0] && shots_read(&p->shots, r->curriculum.shots_file, err) != OK) return err->code;

    char *tools = router_tools_json(p->router);
    p->dialect = recipe_dialect(r, tools, err);
    free(tools);
    return p->dialect ? OK : err->code;
}

typedef hf_folder *open_fn(const char *dir, device *dev, error *err);

static int open_model(episode_runner *p, const recipe *r, const char *dir, open_fn *open, int threads, error *err)
{
    if (!(p->device = device_open(r->run.device, threads, err))) return err->code;
    device_set_precision(p->device, r->run.precision);
    if (!(p->tokenizer = tokenizer_open(dir, err))) return err->code;
    if (!(p->model = open(dir, p->device, err))) return err->code;

    const int have = p->model->config.vocab, need = tokenizer_vocab(p->tokenizer);
    if (need <= have) return OK;
    return error_set(err, ERR_PARSE, "%s: the tokenizer has %d tokens, the model %d", dir, need, have);
}

engine_config episode_runner_engine(const recipe *r, const model_config *model, int slots)
{
    int max_context = (int)r->actor.max_context;
    if (max_context > model->max_position) max_context = model->max_position; /* after it RoPE was never trained */
    return (engine_config){ .max_streams = slots, .max_context = max_context, .tokens_per_step = TOKENS_PER_STEP };
}

static void set_rollouts(episode_runner *p, const recipe *r, const model_config *mc, int slots)
{
    p->rollouts = (rollout_config){ .tokenizer = p->tokenizer,
                                    .dialect = p->dialect,
                                    .router = p->router,
                                    .plays = recipe_has_environment(r),
                                    .submits = recipe_has_submit(r),
                                    .dialect_name = r->prompt.dialect,
                                    .environment = EPISODE_ENVIRONMENT,
                                    .instruction = r->prompt.instruction,
                                    .templates = (const char *const *)r->prompt.templates,
                                    .n_templates = r->prompt.n_templates,
                                    .shots = p->shots.len > 0 ? pick_shots : NULL,
                                    .shots_ctx = p,
                                    .max_turns = (int)r->env.max_turns,
                                    .max_observation_tokens = (int)r->env.max_observation,
                                    .top_p = (float)r->actor.top_p,
                                    .eos = mc->eos,
                                    .n_eos = mc->n_eos };
    p->engine = episode_runner_engine(r, mc, slots);
}

static episode_runner *episode_runner_open(const recipe *r, const char *dir, open_fn *open, int threads, int slots,
                                           logger *lg, error *err)
{
    episode_runner *p = xcalloc(1, sizeof *p);
    if (open_model(p, r, dir, open, threads, err) != OK || open_words(p, r, recipe_router(r, lg, err), err) != OK) {
        episode_runner_free(p);
        return NULL;
    }
    set_rollouts(p, r, &p->model->config, slots);
    return p;
}

episode_runner *episode_runner_new(const recipe *r, const char *model_dir, int threads, int slots, logger *lg,
                                   error *err)
{
    return episode_runner_open(r, model_dir ? model_dir : r->run.model, hf_folder_open, threads, slots, lg, err);
}

episode_runner *episode_runner_new_shapes(const recipe *r, int threads, int slots, logger *lg, error *err)
{
    return episode_runner_open(r, r->run.model, hf_folder_open_config, threads, slots, lg, err);
}

episode_runner *episode_runner_of_words(const recipe *r, const model_config *model, error *err)
{
    episode_runner *p = xcalloc(1, sizeof *p);
    if (!(p->tokenizer = tokenizer_open(r->run.model, err)) ||
        open_words(p, r, recipe_router_of_words(r, err), err) != OK) {
        episode_runner_free(p);
        return NULL;
    }
    set_rollouts(p, r, model, 0);
    return p;
}

void episode_runner_free(episode_runner *p)
{
    if (!p) return;
    dialect_free(p->dialect);
    router_free(p->router);
    hf_folder_close(p->model);
    tokenizer_free(p->tokenizer);
    device_close(p->device);
    shots_free(&p->shots);
    free(p);
}

/* ---- playing in this process ---- */

/* Begins tasks while there is room. True: there are no more. */
static int begin_tasks(episode_runner *p, rollouts *s, const episode_runner_callbacks *cb, bool *last, error *err)
{
    int rc = OK;
    while (rc == OK && !*last && rollouts_in_flight(s) < p->engine.max_streams) {
        task t = { 0 };
        if (cb->next(cb->ctx, &t) != OK)
            *last = true;
        else
            rc = rollouts_begin(s, &t, clock_ms(), err);
        task_reset(&t);
    }
    return rc;
}

static int play_all(episode_runner *p, rollouts *s, const episode_runner_callbacks *cb, error *err)
{
    episode *finished[MAX_FINISHED];
    bool last = false, idle = false;
    int n = 0;
    while (begin_tasks(p, s, cb, &last, err) == OK) {
        if (last && n == 0 && rollouts_in_flight(s) == 0) return OK;
        n = rollouts_step(s, clock_ms(), finished, MAX_FINISHED, &idle, err);
        if (n < 0) return -n;
        for (int i = 0; i < n; i++) cb->done(cb->ctx, finished[i]);

        /* Nothing to compute and nothing ended: all that is under way waits for tools. */
        if (idle && n == 0 && rollouts_in_flight(s) > 0) router_wait(p->router, IDLE_MS);
    }
    return err->code;
}

int episode_runner_run(episode_runner *p, const episode_runner_callbacks *cb, error *err)
{
    engine *en = engine_new(&p->engine, p->model->weights, err);
    if (!en) return err->code;
    p->rollouts.engine = en;
    rollouts *s = rollouts_new(&p->rollouts, err);
    const int rc = s ? play_all(p, s, cb, err) : err->code;
    rollouts_free(s);
    engine_free(en);
    return rc;
}
