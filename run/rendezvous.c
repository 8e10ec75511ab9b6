/* SPDX-License-Identifier: MIT */
#include "run/rendezvous.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/process.h"

enum {
    RENDEZVOUS_MS = 120000, /* for all to come: a scheduler starts them one after the other */
    MAX_PLACE = 4096        /* no machine has so many GPUs: a larger number is no place of ours */
};

/* Said of the folder as it was given, not of the socket that would be in it. */
static int check_meet(const char *meet, error *err)
{
    struct stat st;
    const int why = stat(meet, &st) == 0 ? 0 : errno;
    if (why == ENOENT)
        return error_set(err, ERR_NOT_FOUND,
                         "--meet %s: no such folder; make it before the learners start: mkdir -p %s", meet, meet);
    if (why != 0) return error_sys(err, why, "--meet %s", meet);
    if (!S_ISDIR(st.st_mode))
        return error_set(err, ERR_ARGUMENT, "--meet %s: not a folder; name one that all learners can write to", meet);
    if (access(meet, R_OK | W_OK | X_OK) == 0) return OK;
    return error_sys(err, errno, "--meet %s: learners make their sockets in it", meet);
}

int rendezvous_open(const session_options *o, logger *log, comm **c, error *err)
{
    *c = NULL;
    if (o->mpi) {
        *c = comm_mpi(err);
        return *c ? OK : err->code;
    }

    const bool alone = o->rank < 0 && o->of < 0 && !o->meet;
    if (alone) return OK;
    if (o->rank < 0 || o->rank >= o->of || !o->meet)
        return error_set(err, ERR_ARGUMENT, "several learners need --rank R (from 0), --of N and --meet DIR");

    if (check_meet(o->meet, err) != OK) return err->code;

    log_info(log, "learner %d of %d waits for the others in %s", (int)o->rank + 1, (int)o->of, o->meet);
    *c = comm_local(o->meet, (int)o->rank, (int)o->of, RENDEZVOUS_MS, err);
    return *c ? OK : err->code;
}

/* Which of the learners of this machine we are: learners that meet in a folder are all on one, MPI's may be on several.
 * What a launcher says that is no such number is 0. */
static int place_here(const session_options *o)
{
    if (o->rank >= 0) return (int)o->rank;
    const char *ours = getenv("OMPI_COMM_WORLD_LOCAL_RANK");
    if (!ours) ours = getenv("SLURM_LOCALID");
    if (!ours || !*ours || strspn(ours, "0123456789") != strlen(ours)) return 0;

    const long place = strtol(ours, NULL, 10); /* LONG_MAX for one that is longer */
    return place <= MAX_PLACE ? (int)place : 0;
}

device *rendezvous_device(const session_options *o, const comm *c, const recipe *r, error *err)
{
    int threads = (int)r->run.learner_threads; /* 0: all cores, which several learners of a machine would fight for */
    if (threads <= 0 && o->rank >= 0) {
        threads = process_cores() / c->size;
        if (threads < 1) threads = 1;
    }

    /* No GPU of that number is no error: then all of them take what "auto" takes, and that may be the CPU. */
    if (c && strcmp(r->run.device, "auto") == 0) {
        char name[32];
        snprintf(name, sizeof name, "cuda:%d", place_here(o));
        device *own = device_open(name, threads, NULL);
        if (own) return own;
    }
    return device_open(r->run.device, threads, err);
}

/* Out of a step that another learner has failed in. */
static void leave_step(void *ctx) { device_leave(ctx, &(error){ .code = ERR_PEER, .text = "another learner failed" }); }

static comm *join_gpus(comm *c, device *dev, logger *log)
{
    char why[200] = "";
    c = comm_nccl(c, dev, why, sizeof why);
    if (c->rank > 0) return c; /* all came to the same: one of them says it */

    if (c->on_device)
        log_info(log, "gradients go from GPU to GPU (NCCL)");
    else if (device_stream(dev))
        log_info(log, "gradients go through host memory (%s)", why);
    return c;
}

comm *rendezvous_join(comm *c, device *dev, logger *log)
{
    if (!c) return NULL;
    if (c->size > 1) c = join_gpus(c, dev, log);
    comm_on_failure(c, leave_step, dev);
    return c;
}
