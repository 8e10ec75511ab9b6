/* SPDX-License-Identifier: MIT */
/* troupe forgetting: what a run has learned of each data group, and what it has lost again (show/forgetting). */
#include "cli/verbs.h"
#include "show/forgetting.h"

static const char USAGE[] = "usage: troupe forgetting RUN [--json]\n\n"
                            "A row an evaluation, a column a data group (a row's \"group\"), and what was forgotten.\n"
                            "  --json  {\"groups\": {NAME: {\"evals\": [], \"best\": , \"last\": , \"forgotten\": }}, "
                            "\"steps\": [], \"mean_forgotten\": }\n\n"
                            "example: troupe forgetting runs/languages\n";

static int print_forgetting(const char *run, bool json, error *err)
{
    group_evals e = { 0 };
    const int rc = group_evals_read(&e, run, err);
    if (rc == OK && json) forgetting_print_json(stdout, &e);
    if (rc == OK && !json) forgetting_print_table(stdout, &e);
    group_evals_reset(&e);
    return rc;
}

static int run_verb(call *c, error *err)
{
    bool json = false;
    const flag flags[] = { { .name = "--json", .present = &json }, { 0 } };
    const int rc = call_open(c, flags, err);
    if (rc != OK) return rc;

    return print_forgetting(c->arguments.positional[0], json, err);
}

const verb VERB_FORGETTING = { .name = "forgetting",
                               .synopsis = "RUN",
                               .help = "what each data group has learned and lost",
                               .usage = USAGE,
                               .words = "RUN",
                               .min_words = 1,
                               .max_words = 1,
                               .run = run_verb };
