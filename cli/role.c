/* SPDX-License-Identifier: MIT */
#include "cli/role.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli/supervisor.h"
#include "learner/comm.h"
#include "proto/address.h"

/* The descriptor that a supervisor gave us for our last sentence; -1: nobody did. */
static int words_fd(void)
{
    const char *number = getenv(LAST_WORDS_FD);
    return number && *number ? atoi(number) : -1;
}

/* In words that no last sentence has (supervisor.h). */
static void tell_of_log(void *ctx, int errno_value)
{
    char reason[128];
    (void)ctx;
    dprintf(words_fd(), LOG_IS_LOST "%s\n", strerror_r(errno_value, reason, sizeof reason));
}

/* Everything before the recipe. OK, or what the verb is to return. */
static int begin(role *r, call *c, const flag *flags, const char *const *log_name, error *err)
{
    sigset_t stops;
    /* Before any library makes a thread: a signal takes whichever thread lets it in, and there it would kill. The loop
     * reads it later. */
    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &stops, NULL);
    if (words_fd() >= 0) fcntl(words_fd(), F_SETFD, FD_CLOEXEC);
    const int opened = call_open(c, flags, err);
    if (opened == OK) r->log = logger_new(2, log_name && *log_name ? *log_name : c->verb->name, LOG_INFO, false);
    if (words_fd() >= 0) logger_on_failure(r->log, tell_of_log, NULL);
    return opened;
}

static int open_recipe(role *r, error *err)
{
    const arguments *a = &r->call->arguments;
    r->recipe = recipe_open(a->positional[0], a->overrides, a->n_overrides, err);
    return r->recipe ? OK : err->code;
}

static int finish(role *r, int rc, error *err)
{
    if (rc == OK && (r->loop = loop_new(err))) return OK;
    return role_close(r, err->code, err);
}

int role_open(role *r, call *c, const flag *flags, const char *const *log_name, error *err)
{
    *r = (role){ .call = c, .fetched.folder.lock = -1 };
    const int opened = begin(r, c, flags, log_name, err);
    return opened == OK ? finish(r, open_recipe(r, err), err) : opened;
}

/* A recipe of the worker's own: its files are to be the learner's, too. Where that can't be told it is not held up. */
static int open_own(role *r, pack_for what, error *err)
{
    error why = { 0 };
    if (open_recipe(r, err) != OK) return err->code;
    parcel *p = pack_recipe(r->recipe, what, &why);
    if (p)
        parcel_list_copy(&r->files, &p->list);
    else
        log_debug(r->log, "not compared with the learner's recipe: %s", why.text);
    parcel_free(p);
    return OK;
}

static int open_sent(role *r, pack_for what, const char *address, const char *name, error *err)
{
    const arguments *a = &r->call->arguments;
    const fetch_config config = { .address = address,
                                  .name = name,
                                  .role = what,
                                  .patience_ms = r->wait_s * 1000,
                                  .words = a->overrides,
                                  .n_words = a->n_overrides };
    if (!(r->recipe = fetch_recipe(&r->fetched, &config, r->log, err))) return err->code;
    parcel_list_copy(&r->files, &r->fetched.list);
    return OK;
}

/* Two of a kind that nobody named must not be each other's namesakes; a process id is 1 in every container. */
static const char *make_name(role *r)
{
    unsigned n = (unsigned)getpid();
    if (getrandom(&n, sizeof n, 0) < 0) n = (unsigned)getpid(); /* only on a kernel without entropy */
    snprintf(r->name, sizeof r->name, "%.20s-%06x", r->call->verb->name, n & 0xffffff);
    return r->name;
}

int role_open_worker(role *r, call *c, pack_for what, const char **address, const char **name, error *err)
{
    char local[ADDRESS_BYTES];
    int64_t wait_s = 60;
    const flag flags[] = { { .name = "--connect", .text = address },
                           { .name = "--name", .text = name },
                           { .name = "--wait", .whole = &wait_s, .min = 1, .max = 1e6 },
                           { 0 } };
    *r = (role){ .call = c, .fetched.folder.lock = -1 };
    *address = NULL;
    *name = make_name(r);
    const int opened = begin(r, c, flags, name, err);
    if (opened != OK) return opened;

    r->works = true;
    r->wait_s = wait_s;
    if (!*address) return role_close(r, error_set(err, ERR_ARGUMENT, "needs --connect ADDRESS"), err);
    int rc = address_local(*address, false, local, err); /* before a model is loaded for nothing */
    if (rc == OK)
        rc = c->arguments.n_positional > 0 ? open_own(r, what, err) : open_sent(r, what, *address, *name, err);
    return finish(r, rc, err);
}

int role_close(role *r, int rc, const error *err)
{
    loop_free(r->loop);
    recipe_free(r->recipe);
    fetched_reset(&r->fetched);
    parcel_list_reset(&r->files);
    logger_free(r->log);
    if (rc == OK) return OK;

    const bool supervised = words_fd() >= 0;
    if (supervised) dprintf(words_fd(), "%s\n", err->text); /* it reads this though the log's disk is full */
    if (rc == ERR_TIMEOUT && r->works && supervised) r->call->status = RANK_AGAIN; /* the learner's doing, not ours */
    return call_checked(r->call, rc);
}

void role_abandon(const role *r, const error *err)
{
    fprintf(stderr, "troupe: %s: %s\n", r->call->verb->name, err->text);
    if (words_fd() >= 0) dprintf(words_fd(), "%s\n", err->text);
    _exit(RANK_AGAIN);
}
