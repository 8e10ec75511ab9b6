/* troupe plot: learning curves of one or more runs as an SVG that a browser and a README show as it is.
 *
 * For each run: the training reward of one objective (thin line) and its evaluations (thick line, dots), over the
 * steps; under them, in grey, how many shots the prompts had. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "base/vec.h"
#include "cli/arguments.h"
#include "cli/metrics_file.h"
#include "cli/verbs.h"

enum { WIDTH = 720, HEIGHT = 400, LEFT = 56, RIGHT = 16, TOP = 40, BOTTOM = 76, MAX_RUNS = 6 };
static const char *const COLOURS[MAX_RUNS] = { "#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a" };

typedef struct point {
    double x, y;
} point;
typedef vec(point) curve;

typedef struct run_curves {
    const char *label;
    curve train, eval, shots;
} run_curves;

typedef struct reading {
    run_curves *r;
    const char *objective;
} reading;

static void add_line(void *ctx, const json_t *line)
{
    const reading *g = ctx;
    char train[96], eval[96];
    snprintf(train, sizeof train, "reward/%s/mean", g->objective);
    snprintf(eval, sizeof eval, "eval/%s/mean", g->objective);
    const double x = metrics_file_number(line, "step"), t = metrics_file_number(line, train);
    const double e = metrics_file_number(line, eval), shots = metrics_file_number(line, "prompt/shots/mean");
    if (!isnan(t)) vec_push(&g->r->train, (point){ x, t });
    if (!isnan(e)) vec_push(&g->r->eval, (point){ x, e });
    if (!isnan(shots)) vec_push(&g->r->shots, (point){ x, shots });
}

static int read_run(run_curves *r, const char *dir, const char *objective, error *err)
{
    const char *slash = strrchr(dir, '/');
    r->label = slash && slash[1] ? slash + 1 : dir;
    if (metrics_file_read(dir, add_line, &(reading){ r, objective }, err) != OK) return err->code;
    if (r->train.len + r->eval.len > 0) return OK;
    return error_set(err, ERR_NOT_FOUND, "%s/metrics.jsonl has no values of '%s' yet", dir, objective);
}

static double last_step(const run_curves *runs, int n)
{
    double most = 1;
    for (int i = 0; i < n; i++) {
        const curve *const all[] = { &runs[i].train, &runs[i].eval };
        for (int c = 0; c < 2; c++)
            for (size_t k = 0; k < all[c]->len; k++) most = fmax(most, all[c]->data[k].x);
    }
    return most;
}

static double place_x(double x, double most) { return LEFT + x / most * (WIDTH - LEFT - RIGHT); }
static double place_y(double y) { return HEIGHT - BOTTOM - fmax(0, fmin(1, y)) * (HEIGHT - TOP - BOTTOM); }

static void draw_axes(str *svg, const char *objective, double most)
{
    str_printf(svg,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" "
               "font-size=\"12\">\n<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n"
               "<text x=\"%d\" y=\"22\" font-size=\"15\" font-weight=\"bold\">%s by training step (thick: evaluations, "
               "thin: rollouts)</text>\n",
               WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT, objective);
    for (int i = 0; i <= 5; i++) {
        const double y = i / 5.0;
        str_printf(svg, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#d8dee4\"/>\n", LEFT, WIDTH - RIGHT,
                   place_y(y), place_y(y));
        str_printf(svg, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.1f</text>\n", LEFT - 6, place_y(y) + 4, y);
        str_printf(svg, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>\n", place_x(most * y, most),
                   HEIGHT - BOTTOM + 16, most * y);
    }
}

static void draw_curve(str *svg, const curve *c, double most, const char *colour, double width, bool dots)
{
    if (c->len == 0) return;
    str_printf(svg, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%.1f\" stroke-opacity=\"%.2f\" points=\"",
               colour, width, dots ? 1.0 : 0.35);
    for (size_t i = 0; i < c->len; i++)
        str_printf(svg, "%.1f,%.1f ", place_x(c->data[i].x, most), place_y(c->data[i].y));
    str_puts(svg, "\"/>\n");
    for (size_t i = 0; dots && i < c->len; i++)
        str_printf(svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", place_x(c->data[i].x, most),
                   place_y(c->data[i].y), colour);
}

/* The shots of the first run that had any: a grey band whose height is their number. */
static void draw_shots(str *svg, const curve *c, double most)
{
    double top = 0;
    for (size_t i = 0; i < c->len; i++) top = fmax(top, c->data[i].y);
    if (top <= 0) return;
    const double floor = HEIGHT - 8, height = BOTTOM - 44;
    str_printf(svg, "<polygon fill=\"#d8dee4\" points=\"%.1f,%.1f ", place_x(c->data[0].x, most), floor);
    for (size_t i = 0; i < c->len; i++)
        str_printf(svg, "%.1f,%.1f ", place_x(c->data[i].x, most), floor - c->data[i].y / top * height);
    str_printf(svg, "%.1f,%.1f\"/>\n", place_x(c->data[c->len - 1].x, most), floor);
    str_printf(svg, "<text x=\"%d\" y=\"%d\" fill=\"#57606a\">shots in the prompt (at most %.3g)</text>\n", LEFT + 4,
               HEIGHT - 12, top);
}

static void draw_legend(str *svg, const run_curves *runs, int n)
{
    for (int i = 0; i < n; i++) {
        const int x = WIDTH - RIGHT - 150 * (n - i);
        str_printf(svg, "<line x1=\"%d\" x2=\"%d\" y1=\"18\" y2=\"18\" stroke=\"%s\" stroke-width=\"3\"/>", x, x + 22,
                   COLOURS[i]);
        str_printf(svg, "<text x=\"%d\" y=\"22\">%.20s</text>\n", x + 28, runs[i].label);
    }
}

static int draw(const char *path, const run_curves *runs, int n, const char *objective, error *err)
{
    str svg = { 0 };
    const double most = last_step(runs, n);
    draw_axes(&svg, objective, most);
    for (int i = 0; i < n; i++)
        if (runs[i].shots.len > 0) {
            draw_shots(&svg, &runs[i].shots, most);
            break;
        }
    for (int i = 0; i < n; i++) {
        draw_curve(&svg, &runs[i].train, most, COLOURS[i], 1.5, false);
        draw_curve(&svg, &runs[i].eval, most, COLOURS[i], 3, true);
    }
    draw_legend(&svg, runs, n);
    str_puts(&svg, "</svg>\n");
    const int rc = file_write_atomic(path, svg.data, svg.len, err);
    str_free(&svg);
    return rc;
}

static int usage(FILE *to)
{
    fprintf(to,
            "usage: troupe plot OUT.svg RUN [RUN ...] [--objective NAME]\n\n"
            "Draws the training reward (thin) and the evaluations (thick) of up to %d runs over their steps.\n\n"
            "example: troupe plot curve.svg runs/calculator runs/calculator-control --objective accuracy\n",
            MAX_RUNS);
    return to == stdout ? 0 : 2;
}

int cmd_plot(int argc, char **argv)
{
    const char *objective = "accuracy";
    run_curves runs[MAX_RUNS] = { 0 };
    arguments a;
    error err = { 0 };
    const flag flags[] = { { .name = "--objective", .text = &objective }, { 0 } };
    const syntax s = { .flags = flags,
                       .words = "OUT.svg RUN [RUN ...], six runs at most",
                       .least = 2,
                       .most = 1 + MAX_RUNS,
                       .usage = usage };
    const int status = arguments_open(&a, argc, argv, &s);
    if (status >= 0) return status;
    const int n = a.n_positional - 1;
    const char *out = a.positional[0];
    int rc = OK;
    for (int i = 0; i < n && rc == OK; i++) rc = read_run(&runs[i], a.positional[i + 1], objective, &err);
    if (rc == OK) rc = draw(out, runs, n, objective, &err);
    if (rc != OK) fprintf(stderr, "troupe: plot: %s\n", err.text);
    for (int i = 0; i < n; i++) {
        vec_free(&runs[i].train);
        vec_free(&runs[i].eval);
        vec_free(&runs[i].shots);
    }
    return rc == OK ? 0 : 1;
}
