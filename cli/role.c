/* SPDX-License-Identifier: MIT */
#include "cli/role.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/supervisor.h"
#include "learner/comm.h"
#include "proto/address.h"

/* The descriptor that a supervisor gave us for our last sentence; -1: nobody did. */
static int words_fd(void)
{
    const char *number = getenv(LAST_WORDS_FD);
    return number && *number ? atoi(number) : -1;
}

int role_open(role *r, call *c, const flag *flags, const char *const *log_name, error *err)
{
    sigset_t stops;
    *r = (role){ .call = c };
    /* Before any library makes a thread: a signal takes whichever thread lets it in, and there it would kill. The loop
     * reads it later. */
    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &stops, NULL);
    if (words_fd() >= 0) fcntl(words_fd(), F_SETFD, FD_CLOEXEC);
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;

    const arguments *a = &c->arguments;
    r->log = logger_new(2, log_name && *log_name ? *log_name : c->verb->name, LOG_INFO, false);
    r->recipe = recipe_open(a->positional[0], a->overrides, a->n_overrides, err);
    if (r->recipe) r->loop = loop_new(err);
    return r->loop ? OK : role_close(r, err->code, err);
}

int role_open_worker(role *r, call *c, const char **address, const char **name, error *err)
{
    char local[ADDRESS_BYTES];
    int64_t wait_s = 60;
    const flag flags[] = { { .name = "--connect", .text = address },
                           { .name = "--name", .text = name },
                           { .name = "--wait", .whole = &wait_s, .min = 1, .max = 1e6 },
                           { 0 } };
    *address = NULL;
    *name = c->verb->name;
    const int opened = role_open(r, c, flags, name, err);
    if (opened != OK) return opened;

    r->works = true;
    r->wait_s = wait_s;
    if (!*address) return role_close(r, error_set(err, ERR_ARGUMENT, "needs --connect ADDRESS"), err);
    const int rc = address_local(*address, false, local, err); /* before a model is loaded for nothing */
    return rc == OK ? OK : role_close(r, rc, err);
}

int role_close(role *r, int rc, const error *err)
{
    loop_free(r->loop);
    recipe_free(r->recipe);
    logger_free(r->log);
    if (rc == OK) return OK;

    const bool supervised = words_fd() >= 0;
    if (supervised) dprintf(words_fd(), "%s\n", err->text); /* it reads this though the log's disk is full */
    if (rc == ERR_TIMEOUT && r->works && supervised) r->call->status = RANK_AGAIN; /* the learner's doing, not ours */
    return call_checked(r->call, rc);
}
