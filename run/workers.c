/* SPDX-License-Identifier: MIT */
#include "run/workers.h"

#include "base/process.h"
#include "run/check_data.h"

/* By a reward worker, so that the next is there when one is done; the lease of a score counts on it
 * (session_settings.c). */
enum { REQUESTS_HELD = 4 };

/* A share: what one actor of the fleet needs to hold so that a step is played in one go. */
int actor_slots(const recipe *r)
{
    if (r->run.actor_slots > 0) return (int)r->run.actor_slots;
    const int64_t episodes = r->exchange.group * r->exchange.prompts_per_step;
    return (int)((episodes + r->run.actors - 1) / r->run.actors); /* rounded up: the last one would wait for a place */
}

int actor_threads(const recipe *r, int cores)
{
    if (r->run.actor_threads > 0) return (int)r->run.actor_threads;
    const int shared_with_learner = r->exchange.max_staleness > 0 ? 2 : 1; /* at 0 it waits while they play */
    const int share = cores / (int)r->run.actors / shared_with_learner;
    return share > 1 ? share : 1;
}

actor_config actor_settings(const role *r, const episode_runner *p)
{
    const role_options *o = r->options;
    return (actor_config){ .address = o->address,
                           .name = r->name,
                           .slots = actor_slots(r->recipe),
                           .rollouts = p->rollouts,
                           .engine = p->engine,
                           .device = p->device,
                           .shapes = p->model->table,
                           .recipe = &r->files,
                           .patience_ms = o->wait_s * 1000 };
}

worker_config reward_settings(const role *r, scorer *s)
{
    const role_options *o = r->options;
    return (worker_config){ .address = o->address,
                            .name = r->name,
                            .scorer = s,
                            .recipe = &r->files,
                            .slots = REQUESTS_HELD,
                            .patience_ms = o->wait_s * 1000 };
}

int run_actor(const role_options *o, bool *again, error *err)
{
    role r;
    const int opened = role_open_worker(&r, o, PACK_FOR_ACTOR, again, err);
    if (opened != OK) return opened;

    episode_runner *p = NULL;
    /* Shapes alone: weights come from the learner, a version at a time, and a remote actor has no file of them. */
    if (check_data(r.recipe, NEEDS_MODEL | NEEDS_WORDS, err) == OK)
        p = episode_runner_new_shapes(r.recipe, actor_threads(r.recipe, process_cores()), actor_slots(r.recipe), r.log,
                                      err);
    int rc = p ? OK : err->code;
    if (rc == OK) {
        const actor_config config = actor_settings(&r, p);
        rc = actor_run(r.loop, &config, r.log, err);
    }

    episode_runner_free(p);
    return role_close(&r, rc, err);
}

int run_reward_worker(const role_options *o, bool *again, error *err)
{
    role r;
    const int opened = role_open_worker(&r, o, PACK_FOR_REWARD, again, err);
    if (opened != OK) return opened;

    const scorer_config sc = reward_scorer(&r.recipe->reward);
    scorer *s = check_data(r.recipe, NEEDS_SCRIPT, err) == OK ? scorer_new(&sc, err) : NULL;
    int rc = s ? OK : err->code;
    if (rc == OK) {
        const worker_config config = reward_settings(&r, s);
        rc = worker_run(r.loop, &config, r.log, err);
    }

    scorer_free(s);
    return role_close(&r, rc, err);
}
