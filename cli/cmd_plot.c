/* SPDX-License-Identifier: MIT */
/* troupe plot: learning curves of one or more runs (show/plot). */
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "cli/verbs.h"
#include "show/plot.h"

static void print_usage(FILE *to)
{
    fprintf(to,
            "usage: troupe plot OUT.svg RUN [RUN ...] [--objective NAME]\n\n"
            "Draws the training reward (thin) and the evaluations (thick) of up to %d runs over their steps.\n\n"
            "  --objective NAME  which reward (default: the first of the first run)\n\n"
            "example: troupe plot curve.svg runs/calculator runs/calculator-control --objective accuracy\n",
            PLOT_MAX_RUNS);
}

/* SVG is what is written: under a name that promises another format (x.png) no program would open it. */
static bool promises_another(const char *path)
{
    struct stat st;
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    if (!dot || strcasecmp(dot, ".svg") == 0) return false;
    return stat(path, &st) != 0 || S_ISREG(st.st_mode); /* a device or a pipe may be called as it likes */
}

static int run_verb(call *c, error *err)
{
    const arguments *a = &c->arguments;
    const char *objective = "";
    const flag flags[] = { { .name = "--objective", .text = &objective }, { 0 } };
    const int rc = call_open(c, flags, err);
    if (rc != OK) return rc;

    const char *out = a->positional[0];
    if (promises_another(out)) return call_wrong(c, err, "%s: a drawing is SVG: give it a name that ends in .svg", out);
    return plot_runs(a->positional[0], a->positional + 1, a->n_positional - 1, objective, err);
}

const verb VERB_PLOT = { .name = "plot",
                         .synopsis = "OUT.svg RUN [RUN ...]",
                         .help = "draw learning curves",
                         .print_usage = print_usage,
                         .words = "OUT.svg RUN [RUN ...], six runs at most",
                         .min_words = 2,
                         .max_words = 1 + PLOT_MAX_RUNS,
                         .run = run_verb };
