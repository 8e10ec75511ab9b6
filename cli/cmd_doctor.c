/* SPDX-License-Identifier: MIT */
/* troupe doctor: what this machine can and can't do for a run, each with what to do about it. */
#include <stdio.h>

#include "cli/verbs.h"
#include "run/machine.h"

static const char USAGE[] = "usage: troupe doctor\n\nChecks processor, memory, limits and the sandbox; "
                            "status 1 when a run would suffer.\n";

static void print_finding(void *problems, const finding *f)
{
    static const char *const SIGNS[] = { [FINDING_GOOD] = "ok", [FINDING_BAD] = "BAD", [FINDING_ABSENT] = "-" };
    printf("%-4s %-12s %s\n", SIGNS[f->kind], f->what, f->detail);
    if (f->kind != FINDING_BAD) return;
    if (f->advice) printf("     -> %s\n", f->advice);
    ++*(int *)problems;
}

static int run_verb(call *c, error *err)
{
    int problems = 0;
    const int opened = call_open(c, NULL, err);
    if (opened != OK) return opened;

    printf("troupe %s\n", TROUPE_VERSION);
    machine_examine(print_finding, &problems);
    if (problems)
        printf("%d thing%s to look at\n", problems, problems > 1 ? "s" : "");
    else
        printf("this machine is fit for: make demo\n");
    c->status = problems ? 1 : 0;
    return OK;
}

const verb VERB_DOCTOR = {
    .name = "doctor", .help = "what this machine can and can't do", .usage = USAGE, .run = run_verb
};
