/* SPDX-License-Identifier: MIT */
#include "run/role.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proto/address.h"
#include "run/last_words.h"

/* The descriptor that a supervisor gave us for our last sentence; -1: none did. */
static int words_fd(void)
{
    const char *number = getenv(LAST_WORDS_FD);
    return number && *number ? atoi(number) : -1;
}

bool role_is_supervised(void) { return words_fd() >= 0; }

/* Says that the log can't be written, in words that no last sentence begins with (supervisor.h). */
static void tell_of_log(void *ctx, int errno_value)
{
    char reason[128];
    (void)ctx;
    dprintf(words_fd(), LOG_IS_LOST "%s\n", strerror_r(errno_value, reason, sizeof reason));
}

/* As far as this user may: each peer is a descriptor, and a shell's usual limit is a caution of long ago. */
static void allow_files(void)
{
    enum { MANY = 65536 };
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= MANY) return;
    files.rlim_cur = files.rlim_max < MANY ? files.rlim_max : MANY;
    setrlimit(RLIMIT_NOFILE, &files);
}

/* What a process does before it opens its recipe. */
static void begin(role *r, const role_options *o)
{
    sigset_t stops;
    /* Before any library makes a thread: a signal takes whichever thread lets it in, and there it would kill. The loop
     * reads it later. */
    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &stops, NULL);
    allow_files();
    if (words_fd() >= 0) fcntl(words_fd(), F_SETFD, FD_CLOEXEC);

    r->options = o;
    if (!r->name) r->name = o->name ? o->name : o->verb;
    r->log = logger_new(2, r->name, LOG_INFO, false);
    if (words_fd() >= 0) logger_on_failure(r->log, tell_of_log, NULL);
}

static int open_recipe(role *r, error *err)
{
    r->recipe = recipe_open(r->options->recipe, r->options->overrides, r->options->n_overrides, err);
    return r->recipe ? OK : err->code;
}

static int finish(role *r, int rc, error *err)
{
    if (rc == OK && (r->loop = loop_new(err))) return OK;
    return role_close(r, err->code, err);
}

int role_open(role *r, const role_options *o, error *err)
{
    *r = (role){ .fetched.folder.lock = -1 };
    begin(r, o);
    return finish(r, open_recipe(r, err), err);
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

static int open_sent(role *r, pack_for what, error *err)
{
    const role_options *o = r->options;
    const fetch_config config = { .address = o->address,
                                  .name = r->name,
                                  .role = what,
                                  .patience_ms = o->wait_s * 1000,
                                  .words = o->overrides,
                                  .n_words = o->n_overrides };
    if (!(r->recipe = fetch_recipe(&r->fetched, &config, r->log, err))) return err->code;
    parcel_list_copy(&r->files, &r->fetched.list);
    return OK;
}

/* Two of a kind without --name must not have the same name; a process id is 1 in every container. */
static const char *make_name(role *r, const char *verb)
{
    unsigned n = (unsigned)getpid();
    if (getrandom(&n, sizeof n, 0) < 0) n = (unsigned)getpid(); /* only on a kernel without entropy */
    snprintf(r->made, sizeof r->made, "%.20s-%06x", verb, n & 0xffffff);
    return r->made;
}

int role_open_worker(role *r, const role_options *o, pack_for what, bool *again, error *err)
{
    char local[ADDRESS_BYTES];
    *r = (role){ .fetched.folder.lock = -1, .works = true, .again = again };
    if (!o->name) r->name = make_name(r, o->verb);
    begin(r, o);

    if (!o->address) return role_close(r, error_set(err, ERR_ARGUMENT, "needs --connect ADDRESS"), err);
    int rc = address_local(o->address, false, local, err); /* before a model is loaded for nothing */
    if (rc == OK) rc = o->recipe ? open_own(r, what, err) : open_sent(r, what, err);
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
    if (supervised) dprintf(words_fd(), "%s\n", err->text);            /* it reads this though the log's disk is full */
    if (rc == ERR_TIMEOUT && r->works && supervised) *r->again = true; /* the learner's doing, not ours */
    return rc;
}

void role_abandon(const role *r, const error *err)
{
    fprintf(stderr, "troupe: %s: %s\n", r->options->verb, err->text);
    if (words_fd() >= 0) dprintf(words_fd(), "%s\n", err->text);
    _exit(RANK_AGAIN);
}
