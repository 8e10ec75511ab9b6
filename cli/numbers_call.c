/* SPDX-License-Identifier: MIT */
#include "cli/numbers_call.h"

typedef struct answering {
    trainer_config config;
    int (*answer)(const trainer_config *config, const json_t *line, FILE *out, error *err);
} answering;

static int answer_line(void *ctx, uint64_t number, const json_t *line, error *err)
{
    (void)number;
    const answering *a = ctx;
    return a->answer(&a->config, line, stdout, err);
}

int numbers_run(call *c, int (*answer)(const trainer_config *config, const json_t *line, FILE *out, error *err),
                error *err)
{
    answering a = { .answer = answer };
    const int opened = call_open(c, NULL, err);
    if (opened != OK) return opened;

    int rc = by_hand_settings(&a.config, c->arguments.overrides, c->arguments.n_overrides, err);
    if (rc == OK) rc = json_each_line(stdin, answer_line, &a, err);
    if (rc == ERR_NOT_FOUND)
        rc = error_set(err, rc, "nothing on standard input ('troupe %s --help' shows a line)", c->verb->name);
    return call_checked(c, rc);
}
