/* SPDX-License-Identifier: MIT */
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
#include "show/metrics_file.h"
#include "show/result_file.h"
#include "cli/verbs.h"
#include "rollout/score.h"

enum { WIDTH = 720, LEFT = 56, RIGHT = 16, TITLE = 34, CURVES = 284, BOTTOM = 76, MAX_RUNS = 6 };
enum { LEGEND_COLUMNS = 3, LEGEND_ROW = 18, LABEL = 26 }; /* a label's characters */
static const char *const COLOURS[MAX_RUNS] = { "#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a" };

typedef struct point {
    double x, y;
} point;
typedef vec(point) curve;

typedef struct run_curves {
    char label[128];
    curve train, eval, shots;
} run_curves;

typedef struct objective_names {
    char items[MAX_OBJECTIVES][OBJECTIVE_NAME + 1];
    int n;
} objective_names;

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

/* reward/NAME/mean and eval/NAME/mean -> the names, each once. */
static void add_names(void *ctx, const json_t *line)
{
    objective_names *names = ctx;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)line, key, value)
    {
        const char *slash = strchr(key, '/'), *end = slash ? strchr(slash + 1, '/') : NULL;
        const bool ours = strncmp(key, "reward/", 7) == 0 || strncmp(key, "eval/", 5) == 0;
        if (!ours || !end || strcmp(end, "/mean") != 0 || end - slash > OBJECTIVE_NAME) continue;
        char name[OBJECTIVE_NAME + 1];
        int i = 0;
        snprintf(name, sizeof name, "%.*s", (int)(end - slash - 1), slash + 1);
        while (i < names->n && strcmp(names->items[i], name) != 0) i++;
        if (i == names->n && i < MAX_OBJECTIVES) memcpy(names->items[names->n++], name, sizeof name);
    }
}

static int no_such_objective(const char *dir, const char *name, const objective_names *names, error *err)
{
    str known = { 0 };
    for (int i = 0; i < names->n; i++) str_printf(&known, "%s%s", i ? ", " : "", names->items[i]);
    error_set(err, ERR_NOT_FOUND, "%s/metrics.jsonl has no values of '%.80s' yet%s%s%s", dir, name,
              known.len ? " (it has " : "", known.len ? known.data : "", known.len ? ")" : "");
    str_free(&known);
    return ERR_NOT_FOUND;
}

/* `objective` "": the first that the run has, from now on. */
static int read_run(run_curves *r, const char *dir, char objective[OBJECTIVE_NAME + 1], error *err)
{
    objective_names names = { .n = 0 };
    size_t end = strlen(dir);
    while (end > 1 && dir[end - 1] == '/') end--; /* runs/a/ is runs/a */
    size_t begin = end;
    while (begin > 0 && dir[begin - 1] != '/') begin--;
    snprintf(r->label, sizeof r->label, "%.*s", (int)(end - begin), dir + begin);
    if (metrics_file_read(dir, add_names, &names, err) != OK) return error_within(err, "%s is no run", dir);
    if (!objective[0] && names.n > 0) memcpy(objective, names.items[0], sizeof names.items[0]);
    if (metrics_file_read(dir, add_line, &(reading){ r, objective }, err) != OK) return err->code;
    return r->train.len + r->eval.len > 0 ? OK : no_such_objective(dir, objective, &names, err);
}

/* Steps to the right, rewards upwards: 0 to 1, and further where there are others. */
typedef struct axes {
    double steps, min, max;
    int top, height; /* of the curves, of all */
} axes;

static void widen(axes *a, const curve *c)
{
    for (size_t k = 0; k < c->len; k++) {
        a->steps = fmax(a->steps, c->data[k].x);
        a->min = fmin(a->min, c->data[k].y), a->max = fmax(a->max, c->data[k].y);
    }
}

static axes axes_of(const run_curves *runs, int n)
{
    const int rows = (n + LEGEND_COLUMNS - 1) / LEGEND_COLUMNS;
    axes a = { .steps = 1, .max = 1, .top = TITLE + rows * LEGEND_ROW };
    a.height = a.top + CURVES + BOTTOM;
    for (int i = 0; i < n; i++) widen(&a, &runs[i].train), widen(&a, &runs[i].eval);
    return a;
}

static double place_x(const axes *a, double x) { return LEFT + x / a->steps * (WIDTH - LEFT - RIGHT); }
static double place_y(const axes *a, double y) { return a->top + CURVES - (y - a->min) / (a->max - a->min) * CURVES; }

/* Text of a user's: at most `max` characters, and nothing of it is markup. */
static void add_text(str *svg, const char *text, int max)
{
    for (int n = 0; *text && n < max; n++) {
        const size_t len = utf8_length(text, text + strlen(text));
        const char *word = *text == '&'                         ? "&amp;"
                           : *text == '<'                       ? "&lt;"
                           : (unsigned char)*text < ' ' || !len ? "?"
                                                                : NULL;
        if (word)
            str_puts(svg, word);
        else
            str_add(svg, text, len);
        text += len ? len : 1;
    }
}

static void draw_axes(str *svg, const axes *a, const char *objective)
{
    str_printf(svg,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" "
               "font-size=\"12\">\n<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n"
               "<text x=\"%d\" y=\"22\" font-size=\"15\" font-weight=\"bold\">",
               WIDTH, a->height, WIDTH, a->height, LEFT);
    add_text(svg, objective, OBJECTIVE_NAME);
    str_puts(svg, " by training step (thick: evaluations, thin: rollouts)</text>\n");
    for (int i = 0; i <= 5; i++) {
        const double y = a->min + (a->max - a->min) * i / 5.0, at = place_y(a, y);
        str_printf(svg, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#d8dee4\"/>\n", LEFT, WIDTH - RIGHT,
                   at, at);
        str_printf(svg, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>\n", LEFT - 6, at + 4, y);
        str_printf(svg, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.4g</text>\n",
                   place_x(a, a->steps * i / 5.0), a->top + CURVES + 16, a->steps * i / 5.0);
    }
}

static void draw_curve(str *svg, const axes *a, const curve *c, const char *colour, double width, bool dots)
{
    if (c->len == 0) return;
    str_printf(svg, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%.1f\" stroke-opacity=\"%.2f\" points=\"",
               colour, width, dots ? 1.0 : 0.35);
    for (size_t i = 0; i < c->len; i++)
        str_printf(svg, "%.1f,%.1f ", place_x(a, c->data[i].x), place_y(a, c->data[i].y));
    str_puts(svg, "\"/>\n");
    for (size_t i = 0; dots && i < c->len; i++)
        str_printf(svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", place_x(a, c->data[i].x),
                   place_y(a, c->data[i].y), colour);
}

/* The shots of the first run that had any: a grey band whose height is their number. */
static void draw_shots(str *svg, const axes *a, const curve *c)
{
    double top = 0;
    for (size_t i = 0; i < c->len; i++) top = fmax(top, c->data[i].y);
    if (top <= 0) return;
    const double floor = a->height - 8, height = BOTTOM - 44;
    str_printf(svg, "<polygon fill=\"#d8dee4\" points=\"%.1f,%.1f ", place_x(a, c->data[0].x), floor);
    for (size_t i = 0; i < c->len; i++)
        str_printf(svg, "%.1f,%.1f ", place_x(a, c->data[i].x), floor - c->data[i].y / top * height);
    str_printf(svg, "%.1f,%.1f\"/>\n", place_x(a, c->data[c->len - 1].x), floor);
    str_printf(svg, "<text x=\"%d\" y=\"%d\" fill=\"#57606a\">shots in the prompt (at most %.3g)</text>\n", LEFT + 4,
               a->height - 12, top);
}

/* Between the title and the curves, three a row. */
static void draw_legend(str *svg, const run_curves *runs, int n)
{
    const int wide = (WIDTH - LEFT - RIGHT) / LEGEND_COLUMNS;
    for (int i = 0; i < n; i++) {
        const int x = LEFT + i % LEGEND_COLUMNS * wide, y = TITLE + i / LEGEND_COLUMNS * LEGEND_ROW + 6;
        str_printf(svg, "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"%s\" stroke-width=\"3\"/>", x, x + 22,
                   y, y, COLOURS[i]);
        str_printf(svg, "<text x=\"%d\" y=\"%d\">", x + 28, y + 4);
        add_text(svg, runs[i].label, LABEL);
        str_puts(svg, "</text>\n");
    }
}

/* What every drawing of ours begins with. */
static const char BEGINS[] = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ";

static bool is_drawing(const char *text, size_t len)
{
    return len >= sizeof BEGINS - 1 && memcmp(text, BEGINS, sizeof BEGINS - 1) == 0 &&
           strstr(text, " by training step (thick: evaluations, thin: rollouts)</text>");
}

static int write_drawing(const char *path, const str *svg, error *err)
{
    result_file f;
    int rc = result_file_begin(&f, path, is_drawing, err);
    if (rc == OK) rc = result_file_add(&f, svg->data, svg->len, err);
    const int ended = result_file_end(&f, rc == OK, rc == OK ? err : NULL);
    return rc == OK ? ended : rc;
}

static int draw(const char *path, const run_curves *runs, int n, const char *objective, error *err)
{
    str svg = { 0 };
    const axes a = axes_of(runs, n);
    draw_axes(&svg, &a, objective);
    for (int i = 0; i < n; i++)
        if (runs[i].shots.len > 0) {
            draw_shots(&svg, &a, &runs[i].shots);
            break;
        }
    for (int i = 0; i < n; i++) {
        draw_curve(&svg, &a, &runs[i].train, COLOURS[i], 1.5, false);
        draw_curve(&svg, &a, &runs[i].eval, COLOURS[i], 3, true);
    }
    draw_legend(&svg, runs, n);
    str_puts(&svg, "</svg>\n");
    const int rc = write_drawing(path, &svg, err);
    str_free(&svg);
    return rc;
}

static void print_usage(FILE *to)
{
    fprintf(to,
            "usage: troupe plot OUT.svg RUN [RUN ...] [--objective NAME]\n\n"
            "Draws the training reward (thin) and the evaluations (thick) of up to %d runs over their steps.\n\n"
            "  --objective NAME  which reward (default: the first of the first run)\n\n"
            "example: troupe plot curve.svg runs/calculator runs/calculator-control --objective accuracy\n",
            MAX_RUNS);
}

static int run_verb(call *c, error *err)
{
    const char *asked = "";
    char objective[OBJECTIVE_NAME + 1];
    run_curves runs[MAX_RUNS] = { 0 };
    const flag flags[] = { { .name = "--objective", .text = &asked }, { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    const int n = c->arguments.n_positional - 1;
    const char *out = c->arguments.positional[0];
    int rc = OK;
    snprintf(objective, sizeof objective, "%s", asked);
    for (int i = 0; i < n && rc == OK; i++) rc = read_run(&runs[i], c->arguments.positional[i + 1], objective, err);
    if (rc == OK) rc = draw(out, runs, n, objective, err);
    for (int i = 0; i < n; i++) {
        vec_free(&runs[i].train);
        vec_free(&runs[i].eval);
        vec_free(&runs[i].shots);
    }
    return rc;
}

const verb VERB_PLOT = { .name = "plot",
                         .synopsis = "OUT.svg RUN [RUN ...]",
                         .help = "draw learning curves",
                         .print_usage = print_usage,
                         .words = "OUT.svg RUN [RUN ...], six runs at most",
                         .min_words = 2,
                         .max_words = 1 + MAX_RUNS,
                         .run = run_verb };
