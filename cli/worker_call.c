/* SPDX-License-Identifier: MIT */
#include "cli/worker_call.h"

#include "learner/comm.h"

int worker_call(call *c, int (*run)(const role_options *o, bool *again, error *err), error *err)
{
    role_options o = { .verb = c->verb->name, .wait_s = 60 };
    const flag flags[] = { { .name = "--connect", .text = &o.address },
                           { .name = "--name", .text = &o.name },
                           { .name = "--wait", .whole = &o.wait_s, .min = 1, .max = 1e6 },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;

    bool again = false;
    o.recipe = c->arguments.positional[0];
    o.overrides = c->arguments.overrides;
    o.n_overrides = c->arguments.n_overrides;
    const int rc = run(&o, &again, err);
    if (again)
        c->status = RANK_AGAIN; /* the recipe it was sent is no longer the learner's: only a new process gets it */
    return call_checked(c, rc);
}
