/* SPDX-License-Identifier: MIT */
#include "run/session.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actor/witness.h"
#include "base/file.h"
#include "learner/checkpoint.h"
#include "proto/address.h"
#include "run/check_data.h"
#include "run/learner_thread.h"
#include "run/rendezvous.h"
#include "run/pack.h"
#include "run/episode_runner.h"
#include "run/ranks.h"
#include "run/run_files.h"
#include "run/session_settings.h"
#include "show/shell_word.h"

enum { PEERS_MS = 1000, TURN_MS = 100, VERSIONS_UNDER_WAY = 4 };

typedef struct session {
    const session_options *options;
    role role;
    bool stop;
    _Atomic bool followed; /* the orders of the first learner have come to their end */
    int folder;            /* locked as long as we live; -1: not yet */
    comm *comm;            /* NULL: one learner */
    device *device;
    hf_folder *model;
    dataset *train, *test;
    store *store;
    sampler *sampler;
    sinks *sinks;
    queue *steps, *versions;
    weights_stage *stage;  /* the files of versions */
    episode_runner *words; /* what episodes are read with */
    witness *witness;
    parcel *for_actors, *for_rewards; /* NULL: can't be sent */
    server *server;
    learner_thread learner;
    char checkpoint[1100]; /* "": none */
    int64_t from;          /* the step that is resumed; 0: the start */
    int64_t listed_ms;     /* when the supervisor was told who is here */
} session;

/* ---- what it is made of ---- */

static int open_data(session *s, error *err)
{
    const recipe *r = s->role.recipe;
    if (check_data(r, NEEDS_MODEL | NEEDS_TRAIN | NEEDS_TEST, err) != OK) return err->code;
    if (!(s->train = recipe_rows(r, r->curriculum.train, err))) return err->code;
    if (r->curriculum.test[0] && !(s->test = recipe_rows(r, r->curriculum.test, err))) return err->code;

    if (sampler_needed(&r->curriculum.sampler) && !(s->sampler = sampler_new(&r->curriculum.sampler, s->train, err)))
        return err->code;
    return OK;
}

static void damaged(void *ctx, const char *dir, const char *why)
{
    log_warn((logger *)ctx, "%s is damaged (%s); the checkpoint before it is used", dir, why);
}

static int open_inputs(session *s, error *err)
{
    const session_options *o = s->options;
    const recipe *r = s->role.recipe;
    if (open_data(s, err) != OK) return err->code;

    if (!(s->device = rendezvous_device(o, s->comm, r, err))) return err->code;
    s->comm = rendezvous_join(s->comm, s->device, s->role.log);
    device_set_precision(s->device, r->run.precision);
    if (!(s->model = hf_folder_open(r->run.model, s->device, err))) return err->code;
    if (!o->resume) return OK;
    return session_checkpoint(o->run, damaged, s->role.log, s->checkpoint, sizeof s->checkpoint, &s->from, err);
}

/* Two learners of one folder would write the same checkpoints and episodes. Whoever supervises holds RUN/lock; this is
 * for learners that are started by hand, too. Where folders can't be locked (NFS), a second learner is not kept out. */
static int take_folder(session *s, error *err)
{
    s->folder = open(s->options->run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->folder < 0) return error_sys(err, errno, "cannot open %s", s->options->run);
    if (flock(s->folder, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return OK;
    return error_set(err, ERR_STATE, "%s: another learner is running in this folder", s->options->run);
}

/* Nothing of an older run, and nothing of another's, is written over. */
static int check_folder(const session_options *o, const char *episodes, error *err)
{
    char figures[1100];
    if (o->resume) return OK;
    if (file_exists(episodes))
        return error_set(err, ERR_STATE, "%s already contains a run (use --resume to continue)", o->run);
    path_join(figures, sizeof figures, o->run, "metrics.jsonl");
    if (file_exists(figures) && !run_files_is_run(o->run)) /* it would be written anew */
        return error_set(err, ERR_STATE,
                         "%s exists and does not belong to a run: it is not replaced (give another --run)", figures);
    return OK;
}

static int open_outputs(session *s, error *err)
{
    const session_options *o = s->options;
    char path[1100];
    umask(077); /* for their owner alone */
    if (dir_make_all(o->run, err) != OK || take_folder(s, err) != OK) return err->code;
    path_join(path, sizeof path, o->run, "rollouts.db");
    if (check_folder(o, path, err) != OK) return err->code;

    if (!(s->store = store_open(path, err))) return err->code;
    if (!(s->sinks = sinks_open(o->run, o->report_fd, s->from, err))) return err->code;
    s->steps = queue_new((size_t)s->role.recipe->exchange.max_staleness + 2);
    s->versions = queue_new(VERSIONS_UNDER_WAY);
    if (!s->steps || !s->versions)
        return error_set(err, ERR_IO, "cannot create an eventfd: too many open files (raise ulimit -n)");
    return OK;
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

static learner_thread_config learn_settings(const session *s)
{
    const recipe *r = s->role.recipe;
    return (learner_thread_config){ .recipe = r,
                                    .run_dir = s->options->run,
                                    .model = s->model,
                                    .checkpoint = s->checkpoint[0] ? s->checkpoint : NULL,
                                    .comm = s->comm,
                                    .rows = s->train,
                                    .sampler = s->sampler,
                                    .prompts = (uint32_t)(r->exchange.prompts_per_step * (1 + r->exchange.refills)),
                                    .steps = s->steps,
                                    .versions = s->versions,
                                    .stage = s->stage,
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

static int open_server(session *s, error *err)
{
    s->for_actors = pack(s, PACK_FOR_ACTOR);
    s->for_rewards = pack(s, PACK_FOR_REWARD);

    const server_parts parts = { .address = s->options->address,
                                 .model = &s->model->config,
                                 .train = s->train,
                                 .test = s->test,
                                 .store = s->store,
                                 .steps = s->steps,
                                 .versions = s->versions,
                                 .witness = s->witness,
                                 .for_actors = s->for_actors,
                                 .for_rewards = s->for_rewards };

    const server_config config = session_server(s->role.recipe, &parts);
    if (!(s->server = server_new(s->role.loop, &config, s->role.log, err))) return err->code;
    return s->options->resume ? server_restore(s->server, s->from, err) : OK;
}

static int open_all(session *s, error *err)
{
    if (open_inputs(s, err) != OK || open_outputs(s, err) != OK) return err->code;
    s->stage = weights_stage_new();
    const learner_thread_config lc = learn_settings(s);
    if (learner_thread_open(&s->learner, &lc, err) != OK || open_witness(s, err) != OK) return err->code;
    return open_server(s, err);
}

/* ---- its life ---- */

static void on_stop(void *ctx)
{
    session *s = ctx;
    if (!s->stop) log_info(s->role.log, "asked to stop: the step under way is finished and saved");
    s->stop = true;
    learner_thread_stop(&s->learner);
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
    str_puts(&names, ""); /* with no peer it is an empty text, not NULL */
    server_peers(s->server, &names);
    sinks_tell(s->sinks, "peers", names.data);
    str_free(&names);
}

/* The I/O thread's life: as long as the other one trains. What fails here stops it after the step under way. */
static int serve(session *s, error *err)
{
    int rc = loop_on_stop(s->role.loop, on_stop, s, err);
    if (rc == OK) rc = learner_thread_start(&s->learner, err);

    while (rc == OK && !s->learner.over) {
        rc = loop_once(s->role.loop, TURN_MS, err);
        if (rc == OK && !s->stop) rc = server_check(s->server, err);
        remind(s);
        report_peers(s);
        if (learner_thread_hangs(&s->learner, err) != OK) role_abandon(&s->role, err); /* a thread can't be ended */
        const server_stats stats = server_statistics(s->server);
        learner_thread_tell(&s->learner, &stats);
    }
    return rc == OK ? server_finish(s->server, err) : rc;
}

static void refer_to_first(void *ctx)
{
    const session *s = ctx;
    log_warn(s->role.log, "asked to stop: learner 1 stops the run for all of them, stop that one");
}

/* A learner that waits for the first one's orders can do nothing else; this thread answers who asks it to stop. */
static void *answer_stops(void *ctx)
{
    session *s = ctx;
    error unheard;
    while (!atomic_load(&s->followed) && loop_once(s->role.loop, TURN_MS, &unheard) == OK) {
    }
    return NULL;
}

static int follow_orders(session *s, error *err)
{
    pthread_t answering;
    if (loop_on_stop(s->role.loop, refer_to_first, s, err) != OK) return err->code;
    const bool answers = pthread_create(&answering, NULL, answer_stops, s) == 0;

    const int rc = ranks_follow(s->comm, s->learner.trainer, s->model->weights, err);
    atomic_store(&s->followed, true);
    if (answers) pthread_join(answering, NULL);
    return rc;
}

/* A learner that isn't the first: it has the weights, trains its share, and talks only to the other learners. */
static int follow(session *s, error *err)
{
    int rc = open_inputs(s, err);
    const learner_thread_config lc = learn_settings(s);
    if (rc == OK) rc = learner_thread_open(&s->learner, &lc, err);
    if (rc == OK) rc = follow_orders(s, err);
    return rc == ERR_INTERRUPTED && role_is_supervised() ? OK : rc; /* the supervisor hears it of the first */
}

/* ---- its end ---- */

static void drain(session *s)
{
    void *item;
    while (s->steps && queue_pop(s->steps, &item, 0) == OK) step_batch_free(item);
    while (s->versions && queue_pop(s->versions, &item, 0) == OK) new_version_free(item);
}

static void add_word(str *line, const char *word)
{
    str_putc(line, ' ');
    shell_word(line, word);
}

/* Which of several it is, as its own command has said it. */
static void add_place(str *line, const session_options *o)
{
    if (o->mpi) str_puts(line, " --mpi");
    if (o->rank < 0) return;
    str_printf(line, " --rank %" PRId64 " --of %" PRId64 " --meet", o->rank, o->of);
    add_word(line, o->meet);
}

/* To a person who has started this learner and no supervisor, which would say it: what to type next, for each of
 * several its own; MPI starts all by one command, which only the first says. */
static void say_how_to_resume(const session *s)
{
    const role_options *as = s->role.options;
    const session_options *o = s->options;
    const char *const words[] = { as->recipe, "--run", o->run, "--bind", o->address, "--resume" };
    str line = { 0 };
    if (role_is_supervised() || (o->mpi && s->comm->rank > 0)) return;

    if (o->mpi) str_printf(&line, "mpirun -n %d ", s->comm->size);
    str_puts(&line, "troupe learner");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) add_word(&line, words[i]);
    add_place(&line, o);
    for (int i = 0; i < as->n_overrides; i++) add_word(&line, as->overrides[i]);

    const bool one_of_many = s->comm && !o->mpi;
    log_info(s->role.log, "%s: %s",
             one_of_many ? "to continue, give each learner its own command; this one's is" : "continue with",
             line.data);
    str_free(&line);
}

static int close_all(session *s, int rc, error *err)
{
    error end = { 0 };
    if (s->learner.started) {
        learner_thread_stop(&s->learner);
        if (s->versions) queue_close(s->versions);
    }

    /* First of all: the thread uses nearly all that is closed below. */
    const int trained = learner_thread_close(&s->learner, &end);
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
    weights_stage_free(s->stage);
    sinks_close(s->sinks);
    store_close(s->store);

    sampler_free(s->sampler);
    dataset_free(s->train);
    dataset_free(s->test);
    hf_folder_close(s->model);
    device_close(s->device);
    if (s->folder >= 0) close(s->folder);
    if (rc == ERR_INTERRUPTED || rc == ERR_SPACE) say_how_to_resume(s);
    if (rc == ERR_SPACE && role_is_supervised())
        error_set(err, rc, "%s; make room, and continue with: troupe train --resume %s", err->text, s->options->run);
    return rc;
}

/* ---- all of it ---- */

static int check_options(const session_options *o, error *err)
{
    char local[ADDRESS_BYTES];
    if (!o->run || !o->address) return error_set(err, ERR_ARGUMENT, "needs --run DIR and --bind ADDRESS");
    return address_local(o->address, true, local, err);
}

/* No child has the pipe, and a supervisor that doesn't read it must not block us. */
static void prepare_report(int fd)
{
    if (fd < 0) return;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
}

static int lead(session *s, error *err)
{
    const int rc = open_all(s, err);
    return rc == OK ? serve(s, err) : rc;
}

int run_learner(const role_options *as, const session_options *o, error *err)
{
    session s = { .options = o, .folder = -1 };
    int rc = role_open(&s.role, as, err);
    if (rc != OK) return rc;

    if ((rc = check_options(o, err)) != OK) return role_close(&s.role, rc, err);
    prepare_report(o->report_fd);
    if ((rc = rendezvous_open(o, s.role.log, &s.comm, err)) != OK) return role_close(&s.role, rc, err);

    rc = s.comm && s.comm->rank > 0 ? follow(&s, err) : lead(&s, err);
    rc = close_all(&s, rc, err);
    if (rc == OK || rc == ERR_INTERRUPTED)
        comm_free(s.comm); /* else MPI sees a rank that failed, and ends the others */
    return role_close(&s.role, rc, err);
}
