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

/* On stderr for the log, and where the supervisor reads it though the log's disk is full. */
static void say_last(const role *r, const error *err)
{
    fprintf(stderr, "troupe: %s: %s\n", r->name, err->text);
    if (words_fd() >= 0) dprintf(words_fd(), "%s\n", err->text);
}

int role_open(role *r, int argc, char **argv, const flag *flags, const char *const *log_name, int (*usage)(FILE *to))
{
    error err = { 0 };
    sigset_t stops;
    *r = (role){ .name = argv[0] };
    /* Before any library makes a thread: a signal takes whichever thread lets it in, and there it would kill. The loop
     * reads it later. */
    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &stops, NULL);
    if (words_fd() >= 0) fcntl(words_fd(), F_SETFD, FD_CLOEXEC);
    const syntax s = { .flags = flags, .words = "RECIPE.lua", .least = 1, .most = 1, .keys = true, .usage = usage };
    const int status = arguments_open(&r->arguments, argc, argv, &s);
    if (status >= 0) return r->helped = status == 0, status;
    r->log = logger_new(2, log_name && *log_name ? *log_name : r->name, LOG_INFO, false);
    r->recipe = recipe_open(r->arguments.positional[0], r->arguments.overrides, r->arguments.n_overrides, &err);
    if (r->recipe) r->loop = loop_new(&err);
    return r->loop ? 0 : role_close(r, err.code, &err);
}

int role_open_worker(role *r, int argc, char **argv, const char **address, const char **name, int (*usage)(FILE *to))
{
    error err = { 0 };
    char local[ADDRESS_BYTES];
    int64_t wait_s = 60;
    const flag flags[] = { { .name = "--connect", .text = address },
                           { .name = "--name", .text = name },
                           { .name = "--wait", .whole = &wait_s, .least = 1, .most = 1e6 },
                           { 0 } };
    *address = NULL, *name = argv[0];
    const int status = role_open(r, argc, argv, flags, name, usage);
    r->works = true, r->wait_s = wait_s;
    if (status != 0 || r->helped) return status;
    if (!*address) return role_close(r, error_set(&err, ERR_ARGUMENT, "needs --connect ADDRESS"), &err);
    const int rc = address_local(*address, false, local, &err); /* before a model is loaded for nothing */
    return rc == OK ? 0 : role_close(r, rc, &err);
}

int role_close(role *r, int rc, const error *err)
{
    loop_free(r->loop);
    recipe_free(r->recipe);
    logger_free(r->log);
    if (rc == OK) return 0;
    say_last(r, err);
    if (rc == ERR_TIMEOUT && r->works && words_fd() >= 0) return RANK_AGAIN; /* the learner's doing, not ours */
    return rc == ERR_INTERRUPTED ? 130 : rc == ERR_ARGUMENT ? 2 : 1;
}
