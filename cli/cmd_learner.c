/* SPDX-License-Identifier: MIT */
/* troupe learner: the exchange and the training of one run. Two threads: this one does all input and output (loop,
 * server, database), the other trains (run/learn). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actor/witness.h"
#include "base/file.h"
#include "run/check_data.h"
#include "run/learn.h"
#include "run/pack.h"
#include "run/player.h"
#include "run/ranks.h"
#include "run/role.h"
#include "run/run_files.h"
#include "cli/verbs.h"
#include "learner/checkpoint.h"

enum { PEERS_MS = 1000, TURN_MS = 100, VERSIONS_UNDER_WAY = 4, MEETING_MS = 120000 };

static const char USAGE[] =
    "usage: troupe learner RECIPE.lua --run DIR --bind ADDRESS [--resume] [key=value ...]\n\n"
    "  --run DIR       where checkpoints, rollouts.db and metrics.jsonl go\n"
    "  --bind ADDRESS  where actors and reward workers connect: ipc:///path or tcp://127.0.0.1:PORT\n"
    "  --resume        go on from the newest checkpoint in DIR\n"
    "  --rank R --of N --meet DIR\n"
    "                  one of N learners of this machine, which meet in DIR; the first (0) is who others connect "
    "to\n"
    "  --mpi           the same by MPI: mpirun -n 4 troupe learner ... --mpi; all see the same files\n\n"
    "'troupe train' starts all roles on one machine; this is one of them by hand.\n"
    "example: troupe learner recipe.lua --run runs/a --bind tcp://127.0.0.1:5555\n";

typedef struct session {
    role role;
    const char *run, *address, *meet;
    int64_t rank, of;      /* -1: not given */
    int report_fd, folder; /* folder: locked as long as we live; -1: not yet */
    bool resume, stop, mpi;
    comm *comm; /* NULL: one learner */
    device *device;
    hf_folder *model;
    dataset *train, *test;
    store *store;
    sampler *sampler;
    sinks *sinks;
    queue *steps, *versions;
    episode_runner *words; /* what episodes are read with */
    witness *witness;
    parcel *for_actors, *for_rewards; /* NULL: can't be sent */
    server *server;
    learner learner;
    char checkpoint[1100];
    int64_t listed_ms; /* when the supervisor was told who is here */
    int64_t from;      /* the step that is resumed; 0: the start */
} session;

static int32_t shots_of(void *ctx, int64_t step, uint64_t prompt) { return shot_schedule_at(ctx, step, prompt); }

/* What actors of this run are held to: they play with the same numbers (run/player). */
static limits run_limits(const session *s)
{
    const recipe *r = s->role.recipe;
    const bool ours = !strpbrk(r->prompt.dialect, "./"); /* else the path of a file */
    const int64_t max = s->model->config.max_position;
    return (limits){ .vocab = s->model->config.vocab,
                     .max_context = r->actor.max_context < max ? r->actor.max_context : max,
                     .max_turns = r->env.max_turns,
                     .eos = s->model->config.eos,
                     .n_eos = s->model->config.n_eos,
                     .dialect = ours ? r->prompt.dialect : NULL };
}

static int witness_episode(void *ctx, const task *t, const episode *e, error *err)
{
    return witness_check(ctx, t, e, err);
}

static server_config server_settings(const session *s)
{
    const recipe *r = s->role.recipe;
    scheduler_config schedule = exchange_schedule(&r->exchange, (uint64_t)r->run.seed);
    schedule.train = s->train;
    schedule.eval = s->test;
    schedule.templated = r->prompt.n_templates > 0 ? (uint32_t)r->curriculum.templated : 0;
    schedule.hinted = (uint32_t)r->curriculum.hinted;
    schedule.demonstrations = (uint32_t)r->curriculum.demonstrations;
    schedule.eval_prompts = (uint64_t)r->run.eval_prompts;
    schedule.eval_shots = (int32_t)r->run.eval_shots;
    schedule.eval_temperature = (float)r->run.eval_temperature;
    schedule.shots = r->curriculum.shots ? shots_of : NULL;
    schedule.shots_ctx = r->curriculum.shots;

    return (server_config){ .core = { .schedule = schedule,
                                      .steps = r->run.steps,
                                      .task_lease_ms = (int64_t)(r->run.lease_seconds * 1000),
                                      .score_lease_ms = (int64_t)r->reward.timeout_ms * 4 + 30000,
                                      .limits = run_limits(s),
                                      .witness = { witness_episode, s->witness },
                                      .signal = r->trainer.objectives.items[0].name },
                            .address = s->address,
                            .run = r->run.name,
                            .store = s->store,
                            .keep_episodes = recipe_keep_episodes(r),
                            .steps = s->steps,
                            .versions = s->versions,
                            .for_actors = s->for_actors,
                            .for_rewards = s->for_rewards };
}

/* What workers are given that come without a recipe: as it is now, whoever edits it later. Where that can't be, others
 * still play. */
static parcel *pack(session *s, pack_for whom)
{
    error why = { 0 };
    parcel *p = pack_recipe(s->role.recipe, whom, &why);
    if (!p)
        log_warn(s->role.log, "%s have to be started with RECIPE.lua: %s",
                 whom == PACK_FOR_ACTOR ? "actors" : "reward workers", why.text);
    return p;
}

static void damaged(void *ctx, const char *dir, const char *why)
{
    log_warn(((session *)ctx)->role.log, "%s is damaged (%s); the checkpoint before it is used", dir, why);
}

/* A run that was killed before its first checkpoint is resumed from its start. */
static int find_checkpoint(session *s, error *err)
{
    checkpoint_state state = { 0 };
    if (!s->resume) return OK;
    const int rc = checkpoint_latest(s->run, s->checkpoint, sizeof s->checkpoint, &state, damaged, s, err);
    if (rc == ERR_NOT_FOUND) return s->checkpoint[0] = 0, OK;
    s->from = state.step;
    return rc;
}

/* Which of the learners of this machine we are. */
static int place_here(const session *s)
{
    const char *ours = getenv("OMPI_COMM_WORLD_LOCAL_RANK");
    int64_t place = 0;
    if (!ours) ours = getenv("SLURM_LOCALID");
    if (s->rank >= 0) return (int)s->rank;
    if (ours && value_whole("the launcher's local rank", ours, 0, 4096, &place, NULL) != OK) place = 0;
    return (int)place;
}

static int cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

/* With device = "auto", several learners of one machine take its GPUs in turn; on its CPU they share the cores. */
static device *open_device(const session *s, error *err)
{
    const recipe *r = s->role.recipe;
    char name[32];
    int threads = (int)r->run.learner_threads;
    device *dev = NULL;
    if (threads <= 0 && s->rank >= 0) threads = cores() > s->comm->size ? cores() / s->comm->size : 1;
    snprintf(name, sizeof name, "cuda:%d", place_here(s));
    if (s->comm && strcmp(r->run.device, "auto") == 0) dev = device_open(name, threads, NULL);
    return dev ? dev : device_open(r->run.device, threads, err);
}

/* Gradients go from GPU to GPU where they can; where there are GPUs and they can't, the first learner says why. */
static void join_gpus(session *s)
{
    char why[200] = "";
    if (!s->comm || s->comm->size == 1) return;
    s->comm = comm_nccl(s->comm, s->device, why, sizeof why);
    if (s->comm->rank > 0) return;
    if (s->comm->on_device)
        log_info(s->role.log, "gradients go from GPU to GPU (NCCL)");
    else if (device_stream(s->device))
        log_info(s->role.log, "gradients go through host memory (%s)", why);
}

/* Out of a step that another learner has failed in. */
static void leave_step(void *ctx) { device_leave(ctx, &(error){ .code = ERR_PEER, .text = "another learner failed" }); }

static int open_inputs(session *s, error *err)
{
    const recipe *r = s->role.recipe;
    if (check_data(r, NEEDS_MODEL | NEEDS_TRAIN | NEEDS_TEST, err) != OK) return err->code;
    if (!(s->train = dataset_open(r->curriculum.train, 0, err))) return err->code;
    if (r->curriculum.test[0] && !(s->test = dataset_open(r->curriculum.test, 0, err))) return err->code;
    if (sampler_needed(&r->curriculum.sampler) && !(s->sampler = sampler_new(&r->curriculum.sampler, s->train, err)))
        return err->code;
    if (!(s->device = open_device(s, err))) return err->code;
    join_gpus(s);
    if (s->comm) comm_on_failure(s->comm, leave_step, s->device);
    device_set_precision(s->device, r->run.precision);
    if (!(s->model = hf_folder_open(r->run.model, s->device, err))) return err->code;
    return find_checkpoint(s, err);
}

/* Two learners of one folder would write the same checkpoints and episodes. Whoever supervises holds RUN/lock; this is
 * for learners that are started by hand, too. Where folders can't be locked (NFS), a second learner is not kept out. */
static int take_folder(session *s, error *err)
{
    s->folder = open(s->run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->folder < 0) return error_sys(err, errno, "cannot open %s", s->run);
    if (flock(s->folder, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return OK;
    return error_set(err, ERR_STATE, "%s: another learner is at work in this folder", s->run);
}

static int open_outputs(session *s, error *err)
{
    char path[1100], figures[1100];
    const recipe *r = s->role.recipe;
    umask(077); /* for their owner alone */
    if (dir_make_all(s->run, err) != OK || take_folder(s, err) != OK) return err->code;
    path_join(path, sizeof path, s->run, "rollouts.db");
    if (!s->resume && file_exists(path))
        return error_set(err, ERR_STATE, "%s holds a run already (--resume goes on with it)", s->run);
    path_join(figures, sizeof figures, s->run, "metrics.jsonl");
    if (!s->resume && file_exists(figures) && !run_files_is_run(s->run)) /* it would be written anew */
        return error_set(err, ERR_STATE, "%s is there and of no run: it is not replaced (give another --run)", figures);
    if (!(s->store = store_open(path, err))) return err->code;
    if (!(s->sinks = sinks_open(s->run, s->report_fd, s->from, err))) return err->code;
    s->steps = queue_new((size_t)r->exchange.max_staleness + 2);
    s->versions = queue_new(VERSIONS_UNDER_WAY);
    if (!s->steps || !s->versions) return error_set(err, ERR_IO, "no eventfd: too many open files");
    return OK;
}

static learn_config learn_settings(const session *s)
{
    const recipe *r = s->role.recipe;
    return (learn_config){ .recipe = r,
                           .run_dir = s->run,
                           .model = s->model,
                           .checkpoint = s->checkpoint[0] ? s->checkpoint : NULL,
                           .comm = s->comm,
                           .rows = s->train,
                           .sampler = s->sampler,
                           .prompts = (uint32_t)(r->exchange.prompts_per_step * (1 + r->exchange.refills)),
                           .steps = s->steps,
                           .versions = s->versions,
                           .sinks = s->sinks,
                           .log = s->role.log };
}

static int open_witness(session *s, error *err)
{
    const recipe *r = s->role.recipe;
    if (check_data(r, NEEDS_WORDS, err) != OK) return err->code;
    if (!(s->words = episode_runner_of_words(r, &s->model->config, err))) return err->code;
    s->witness = witness_new(&s->words->rollouts, s->words->engine.max_context);
    return OK;
}

static int open_all(session *s, error *err)
{
    if (open_inputs(s, err) != OK || open_outputs(s, err) != OK) return err->code;
    const learn_config lc = learn_settings(s);
    if (learner_open(&s->learner, &lc, err) != OK || open_witness(s, err) != OK) return err->code;
    s->for_actors = pack(s, PACK_FOR_ACTOR);
    s->for_rewards = pack(s, PACK_FOR_REWARD);
    const server_config sc = server_settings(s);
    if (!(s->server = server_new(s->role.loop, &sc, s->role.log, err))) return err->code;
    return s->resume ? server_restore(s->server, s->from, err) : OK;
}

static void on_stop(void *ctx)
{
    session *s = ctx;
    if (!s->stop) log_info(s->role.log, "asked to stop: the step under way is finished and saved");
    s->stop = true;
    learner_stop(&s->learner);
}

/* A run that stands still says what it waits for. */
static void remind(session *s)
{
    char waiting[200], sentence[240];
    if (!server_reminder(s->server, waiting, sizeof waiting)) return;
    snprintf(sentence, sizeof sentence, "waiting for %s", waiting);
    log_info(s->role.log, "%s", sentence);
    sinks_say(s->sinks, sentence);
}

/* For the supervisor: who is here, and by that, that we are. */
static void report_peers(session *s)
{
    const int64_t now_ms = loop_now_ms(s->role.loop);
    if (now_ms - s->listed_ms < PEERS_MS) return;
    str names = { 0 };
    s->listed_ms = now_ms;
    str_puts(&names, "");
    server_peers(s->server, &names);
    sinks_tell(s->sinks, "peers", names.data);
    str_free(&names);
}

/* The I/O thread's life: as long as the other one trains. What fails here stops it after the step under way. */
static int serve(session *s, error *err)
{
    int rc = loop_on_stop(s->role.loop, on_stop, s, err);
    if (rc == OK) rc = learner_start(&s->learner, err);
    while (rc == OK && !s->learner.over) {
        rc = loop_once(s->role.loop, TURN_MS, err);
        if (rc == OK && !s->stop) rc = server_check(s->server, err);
        remind(s);
        report_peers(s);
        if (learner_hangs(&s->learner, err) != OK) role_abandon(&s->role, err);
        const server_stats stats = server_statistics(s->server);
        learner_tell(&s->learner, &stats);
    }
    return rc == OK ? server_finish(s->server, err) : rc;
}

static void drain(session *s)
{
    void *item;
    while (s->steps && queue_pop(s->steps, &item, 0) == OK) step_batch_free(item);
    while (s->versions && queue_pop(s->versions, &item, 0) == OK) new_version_free(item);
}

static int close_all(session *s, int rc, error *err)
{
    error end = { 0 };
    if (s->learner.started) {
        learner_stop(&s->learner);
        if (s->versions) queue_close(s->versions);
    }
    const int trained = learner_close(&s->learner, &end);
    if (rc == OK && trained != OK) rc = error_set(err, trained, "%s", end.text);
    sinks_tell(s->sinks, "farewell", "");
    server_free(s->server);
    witness_free(s->witness);
    episode_runner_free(s->words);
    parcel_free(s->for_actors);
    parcel_free(s->for_rewards);
    drain(s);
    queue_free(s->steps);
    queue_free(s->versions);
    sinks_close(s->sinks);
    store_close(s->store);
    sampler_free(s->sampler);
    dataset_free(s->train);
    dataset_free(s->test);
    hf_folder_close(s->model);
    device_close(s->device);
    if (s->folder >= 0) close(s->folder);
    return rc;
}

/* A learner that isn't the first: it has the weights, trains its share, and talks only to the other learners. */
static int follow(session *s, error *err)
{
    int rc = open_inputs(s, err);
    const learn_config lc = learn_settings(s);
    if (rc == OK) rc = learner_open(&s->learner, &lc, err);
    if (rc == OK) rc = ranks_follow(s->comm, s->learner.trainer, s->model->weights, err);
    return rc;
}

/* The other learners, if there are any: by MPI, or by --rank, --of and --meet on one machine. */
static int find_others(session *s, error *err)
{
    if (s->mpi) return (s->comm = comm_mpi(err)) ? OK : err->code;
    if (s->rank < 0 && s->of < 0 && !s->meet) return OK;
    if (s->rank < 0 || s->rank >= s->of || !s->meet)
        return error_set(err, ERR_ARGUMENT, "several learners need --rank R (from 0), --of N and --meet DIR");
    log_info(s->role.log, "learner %d of %d waits for the others in %s", (int)s->rank + 1, (int)s->of, s->meet);
    return (s->comm = comm_local(s->meet, (int)s->rank, (int)s->of, MEETING_MS, err)) ? OK : err->code;
}

static int run_verb(call *c, error *err)
{
    session s = { .report_fd = -1, .folder = -1, .rank = -1, .of = -1 };
    int64_t report = -1;
    char local[ADDRESS_BYTES];
    const flag flags[] = { { .name = "--run", .text = &s.run },
                           { .name = "--bind", .text = &s.address },
                           { .name = "--report-fd", .whole = &report, .min = 0, .max = 1 << 20 },
                           { .name = "--resume", .present = &s.resume },
                           { .name = "--mpi", .present = &s.mpi },
                           { .name = "--rank", .whole = &s.rank, .min = 0, .max = 4095 },
                           { .name = "--of", .whole = &s.of, .min = 1, .max = 4096 },
                           { .name = "--meet", .text = &s.meet },
                           { 0 } };
    int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    const role_options o = { .verb = c->verb->name,
                             .recipe = c->arguments.positional[0],
                             .overrides = c->arguments.overrides,
                             .n_overrides = c->arguments.n_overrides };
    opened = role_open(&s.role, &o, err);
    if (opened != OK) return call_checked(c, opened);
    if (!s.run || !s.address)
        return call_checked(
            c, role_close(&s.role, error_set(err, ERR_ARGUMENT, "needs --run DIR and --bind ADDRESS"), err));
    if (address_local(s.address, true, local, err) != OK) return call_checked(c, role_close(&s.role, err->code, err));
    s.report_fd = (int)report;
    if (report >= 0) fcntl(s.report_fd, F_SETFD, FD_CLOEXEC);
    if (report >= 0) fcntl(s.report_fd, F_SETFL, O_NONBLOCK); /* a supervisor that doesn't read must not block us */
    if (find_others(&s, err) != OK) return call_checked(c, role_close(&s.role, err->code, err));
    int rc;
    if (s.comm && s.comm->rank > 0) {
        rc = follow(&s, err);
    } else {
        rc = open_all(&s, err);
        if (rc == OK) rc = serve(&s, err);
    }
    rc = close_all(&s, rc, err);
    if (rc == OK || rc == ERR_INTERRUPTED)
        comm_free(s.comm); /* else MPI sees a rank that failed, and ends the others */
    return call_checked(c, role_close(&s.role, rc, err));
}

const verb VERB_LEARNER = { .name = "learner",
                            .synopsis = "RECIPE.lua --run DIR",
                            .help = "one role, for fleets",
                            .usage = USAGE,
                            .words = "RECIPE.lua",
                            .min_words = 1,
                            .max_words = 1,
                            .keys = true,
                            .reports = true,
                            .run = run_verb };
