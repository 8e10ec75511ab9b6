/* SPDX-License-Identifier: MIT */
#include "run/child_words.h"

#include <inttypes.h>
#include <stdio.h>

static void set_name(child_words *c, const fleet_words *f, const char *role, int64_t number)
{
    if (number > 0)
        snprintf(c->name, sizeof c->name, "%.10s-%" PRId64, role, number);
    else
        snprintf(c->name, sizeof c->name, "%.10s", role);
    snprintf(c->log, sizeof c->log, "%s/logs/%s.log", f->run->path, c->name);
}

/* argv = self, the words, the run's own, NULL. */
static void join(const fleet_words *f, const char **argv, const char *const *first)
{
    int n = 0;
    argv[n++] = f->self;
    while (*first) argv[n++] = *first++;
    for (int i = 0; i < f->run->n_words; i++) argv[n++] = f->run->words[i];
    argv[n] = NULL;
}

void child_words_learner(child_words *c, const fleet_words *f, int rank)
{
    set_name(c, f, "learner", rank > 0 ? rank + 1 : 0);
    snprintf(c->rank, sizeof c->rank, "%d", rank);
    snprintf(c->learners, sizeof c->learners, "%" PRId64, f->learners);
    snprintf(c->report, sizeof c->report, "%d", f->report_fd);

    /* A learner that is started anew takes up its checkpoint, though the run was begun and not resumed: --resume is the
     * one difference between the two command lines. */
    const char *first[20] = { "learner", f->run->recipe, "--run", f->run->path, "--bind", f->address };
    int n = 6;
    if (rank == 0) {
        first[n++] = "--report-fd";
        first[n++] = c->report;
    }
    if (f->learners > 1) { /* the folder of the run's sockets is theirs alone: no learner of another run comes there */
        const char *const together[] = { "--rank", c->rank, "--of", c->learners, "--meet", f->run->sockets.path };
        for (int i = 0; i < 6; i++) first[n++] = together[i];
    }

    if (f->resumed) first[n] = "--resume";
    join(f, c->argv, first);
    first[n] = "--resume";
    join(f, c->restart, first);
}

void child_words_worker(child_words *c, const fleet_words *f, const char *role, int64_t number)
{
    set_name(c, f, role, number);
    const char *const first[] = { role, f->run->recipe, "--connect", f->address, "--name", c->name, NULL };
    join(f, c->argv, first);
}
