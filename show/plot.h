/* SPDX-License-Identifier: MIT */
/* plot - learning curves of a few runs as an SVG that a browser and a README show as it is.
 *
 *     title                                the objective
 *     -- run a   -- run b   -- run c       a colour each
 *     |                                    thin line: mean reward of the rollouts
 *     |                                    thick line and dots: the evaluations
 *     +---------------------- steps
 *     ..::::::::............               a grey band: how many shots the prompts had
 *
 * The rewards' axis goes from 0 to 1, and further where there are others. Nothing of a run's name is taken for
 * markup. */
#pragma once

#include "base/str.h"
#include "show/curves.h"

enum { PLOT_MAX_RUNS = 6 };

/* The drawing of `n` runs, PLOT_MAX_RUNS at most, after what `svg` has. */
void plot_svg(str *svg, const run_curves *runs, int n, const char *objective);
/* Reads the runs in the folders `dirs` and writes their drawing to `path`. objective "": the first of the first run. A
 * file that isn't such a drawing is not replaced (result_file.h). Errors are run_curves_read's and result_file's. */
int plot_runs(const char *path, const char *const *dirs, int n, const char *objective, error *err);
