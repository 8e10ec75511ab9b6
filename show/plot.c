/* SPDX-License-Identifier: MIT */
#include "show/plot.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "show/result_file.h"

enum { WIDTH = 720, LEFT = 56, RIGHT = 16, TITLE = 34, CURVES = 284, BOTTOM = 76 };
enum { LEGEND_COLUMNS = 3, LEGEND_ROW = 18, LABEL = 26 }; /* a label's characters */
static const char *const COLOURS[PLOT_MAX_RUNS] = { "#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a" };

/* What every drawing of ours begins with, and what is in its title. */
#define BEGINS "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 "
#define TITLED " by training step (thick: evaluations, thin: rollouts)</text>"

/* ---- axes ---- */

/* Steps to the right, rewards upwards. */
typedef struct axes {
    double steps, min, max;
    int top, height; /* of the curves, of all */
} axes;

static void widen(axes *a, const curve *c)
{
    for (size_t k = 0; k < c->len; k++) {
        a->steps = fmax(a->steps, c->data[k].step);
        a->min = fmin(a->min, c->data[k].value);
        a->max = fmax(a->max, c->data[k].value);
    }
}

static axes axes_of(const run_curves *runs, int n)
{
    const int rows = (n + LEGEND_COLUMNS - 1) / LEGEND_COLUMNS;
    axes a = { .steps = 1, .max = -INFINITY, .top = TITLE + rows * LEGEND_ROW };
    a.height = a.top + CURVES + BOTTOM;

    for (int i = 0; i < n; i++) {
        widen(&a, &runs[i].train);
        widen(&a, &runs[i].eval);
    }
    /* From 0 to 1 at least: drawings of several runs can be laid side by side, and a flat curve is not blown up. What
     * is never above 0, as a logprob, ends there. */
    a.max = a.max <= 0 && a.min < 0 ? 0 : fmax(a.max, 1);
    return a;
}

/* SVG's y grows downwards. */
static double place_x(const axes *a, double step) { return LEFT + step / a->steps * (WIDTH - LEFT - RIGHT); }
static double place_y(const axes *a, double value)
{
    return a->top + CURVES - (value - a->min) / (a->max - a->min) * CURVES;
}

/* ---- text ---- */

/* How SVG writes the character at `text`, of `len` bytes (0: a byte that is not UTF-8). NULL: as it is. */
static const char *entity_of(const char *text, size_t len)
{
    if (*text == '&') return "&amp;";
    if (*text == '<') return "&lt;";
    return len == 0 || (unsigned char)*text < ' ' ? "?" : NULL;
}

/* Text of a user's: at most `max` characters, and nothing of it is markup. */
static void add_text(str *svg, const char *text, int max)
{
    for (int n = 0; *text && n < max; n++) {
        const size_t len = utf8_length(text, text + strlen(text));
        const char *entity = entity_of(text, len);

        if (entity)
            str_puts(svg, entity);
        else
            str_add(svg, text, len);
        text += len > 0 ? len : 1;
    }
}

/* ---- the drawing ---- */

static void draw_title(str *svg, const axes *a, const char *objective)
{
    str_printf(svg,
               BEGINS "%d %d\" font-family=\"sans-serif\" "
                      "font-size=\"12\">\n<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n"
                      "<text x=\"%d\" y=\"22\" font-size=\"15\" font-weight=\"bold\">",
               WIDTH, a->height, WIDTH, a->height, LEFT);
    add_text(svg, objective, OBJECTIVE_NAME);
    str_puts(svg, TITLED "\n");
}

static void draw_grid(str *svg, const axes *a)
{
    for (int i = 0; i <= 5; i++) {
        const double value = a->min + (a->max - a->min) * i / 5.0, y = place_y(a, value);
        str_printf(svg, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#d8dee4\"/>\n", LEFT, WIDTH - RIGHT,
                   y, y);
        str_printf(svg, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>\n", LEFT - 6, y + 4, value);

        const double step = a->steps * i / 5.0;
        str_printf(svg, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.4g</text>\n", place_x(a, step),
                   a->top + CURVES + 16, step);
    }
}

static void add_points(str *svg, const axes *a, const curve *c)
{
    for (size_t i = 0; i < c->len; i++)
        str_printf(svg, "%.1f,%.1f ", place_x(a, c->data[i].step), place_y(a, c->data[i].value));
}

static void draw_line(str *svg, const axes *a, const curve *c, const char *colour, double width, double opacity)
{
    if (c->len == 0) return;
    str_printf(svg, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%.1f\" stroke-opacity=\"%.2f\" points=\"",
               colour, width, opacity);
    add_points(svg, a, c);
    str_puts(svg, "\"/>\n");
}

static void draw_dots(str *svg, const axes *a, const curve *c, const char *colour)
{
    for (size_t i = 0; i < c->len; i++)
        str_printf(svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", place_x(a, c->data[i].step),
                   place_y(a, c->data[i].value), colour);
}

static void draw_run(str *svg, const axes *a, const run_curves *r, const char *colour)
{
    /* rollouts are of prompts with examples and at training's temperature: pale, or they would pass for the result */
    draw_line(svg, a, &r->train, colour, 1.5, 0.35);
    draw_line(svg, a, &r->eval, colour, 3, 1);
    draw_dots(svg, a, &r->eval, colour); /* a run with one evaluation has no line */
}

/* A grey band along the bottom whose height is the number of shots. */
static void draw_shots(str *svg, const axes *a, const curve *c)
{
    double top = 0;
    for (size_t i = 0; i < c->len; i++) top = fmax(top, c->data[i].value);
    if (top <= 0) return;

    const double floor = a->height - 8, height = BOTTOM - 44;
    str_printf(svg, "<polygon fill=\"#d8dee4\" points=\"%.1f,%.1f ", place_x(a, c->data[0].step), floor);
    for (size_t i = 0; i < c->len; i++)
        str_printf(svg, "%.1f,%.1f ", place_x(a, c->data[i].step), floor - c->data[i].value / top * height);
    str_printf(svg, "%.1f,%.1f\"/>\n", place_x(a, c->data[c->len - 1].step), floor);

    str_printf(svg, "<text x=\"%d\" y=\"%d\" fill=\"#57606a\">shots in the prompt (at most %.3g)</text>\n", LEFT + 4,
               a->height - 12, top);
}

/* One band: of several runs' only the first's, for they would hide each other. */
static void draw_first_shots(str *svg, const axes *a, const run_curves *runs, int n)
{
    int i = 0;
    while (i < n && runs[i].shots.len == 0) i++;
    if (i < n) draw_shots(svg, a, &runs[i].shots);
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

void plot_svg(str *svg, const run_curves *runs, int n, const char *objective)
{
    assert(n <= PLOT_MAX_RUNS);
    const axes a = axes_of(runs, n);
    draw_title(svg, &a, objective);
    draw_grid(svg, &a);
    draw_first_shots(svg, &a, runs, n); /* after the curves */
    for (int i = 0; i < n; i++) draw_run(svg, &a, &runs[i], COLOURS[i]);
    draw_legend(svg, runs, n);
    str_puts(svg, "</svg>\n");
}

/* ---- the file ---- */

static bool is_drawing(const char *text, size_t len)
{
    const size_t begins = sizeof BEGINS - 1;
    return len >= begins && memcmp(text, BEGINS, begins) == 0 && strstr(text, TITLED);
}

static int write_drawing(const char *path, const str *svg, error *err)
{
    result_file f;
    int rc = result_file_begin(&f, path, is_drawing, err);
    if (rc == OK) rc = result_file_add(&f, svg->data, svg->len, err);

    const int ended = result_file_end(&f, rc == OK, rc == OK ? err : NULL); /* the first reason is the one to tell */
    return rc == OK ? ended : rc;
}

int plot_runs(const char *path, const char *const *dirs, int n, const char *objective, error *err)
{
    run_curves runs[PLOT_MAX_RUNS] = { 0 };
    char name[OBJECTIVE_NAME + 1];
    int rc = OK;

    /* "" becomes the first run's first, and the others are read by it */
    snprintf(name, sizeof name, "%s", objective);
    for (int i = 0; i < n && rc == OK; i++) rc = run_curves_read(&runs[i], dirs[i], name, err);

    if (rc == OK) {
        str svg = { 0 };
        plot_svg(&svg, runs, n, name);
        rc = write_drawing(path, &svg, err);
        str_free(&svg);
    }
    for (int i = 0; i < n; i++) run_curves_reset(&runs[i]);
    return rc;
}
