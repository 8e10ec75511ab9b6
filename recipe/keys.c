/* SPDX-License-Identifier: MIT */
/* The keys on paper: a line each for a terminal, a paragraph each for docs/keys.md. */
#include <string.h>

#include "recipe/parts.h"

enum { PAGE_COLUMNS = 120 };

static const char *kind_name(const option *o)
{
    static const char *const NAMES[] = {
        [OPTION_TEXT] = "text", [OPTION_STRING] = "text",   [OPTION_PATH] = "path",   [OPTION_NAMED] = "name",
        [OPTION_WHOLE] = "int", [OPTION_NUMBER] = "number", [OPTION_BOOL] = "bool",   [OPTION_WORD] = "word",
        [OPTION_PAIR] = "pair", [OPTION_PRESETS] = "word",  [OPTION_VALUE] = "value",
    };
    return NAMES[o->kind];
}

static const char *default_text(const option *o)
{
    if (!o->fallback) return "required";
    if (!o->fallback[0]) return "-"; /* an empty column would shift the help into it */
    return o->fallback;
}

/* What may be written for a key that is one of some words: "grpo, dapo, ..."; nothing for others. */
static void add_spellings(const option *o, str *out)
{
    if (o->words) words_list(o->words, out);
    for (int i = 0; o->presets && o->presets[i].name; i++) str_item(out, ", ", o->presets[i].name);
}

/* The table's rows, and after each those of the tables that come after it: a method's keys are read with the section
 * that they belong to (algorithm.*, optim.*), wherever the method's file is. */
static void print_rows(FILE *to, const config_part *parts, const option_table *t, void (*print)(FILE *, const option *))
{
    for (const option *o = t->rows; o->key; o++) {
        print(to, o);
        for (const config_part *p = parts; p->table; p++)
            if (p->table->after && strcmp(p->table->after, o->key) == 0) print_rows(to, parts, p->table, print);
    }
}

/* ---- --keys ---- */

static void print_line(FILE *to, const option *o)
{
    str spellings = { 0 };
    add_spellings(o, &spellings);
    fprintf(to, "%-26s %-7s %-10s %s", o->key, kind_name(o), default_text(o), o->help);
    if (spellings.len) fprintf(to, ": %s", spellings.data);
    fputc('\n', to);
    str_free(&spellings);
}

void recipe_print_keys(FILE *to)
{
    config_part parts[RECIPE_PARTS + 1];
    recipe_parts(NULL, parts);
    for (const config_part *p = parts; p->table; p++)
        if (p->table->title) print_rows(to, parts, p->table, print_line);
}

/* ---- docs/keys.md ---- */

/* A paragraph, its lines no longer than the page is wide. */
static void print_wrapped(FILE *to, const char *first, const char *rest, const char *text)
{
    int column = fprintf(to, "%s", first);

    for (bool begun = false; *text; begun = true) {
        const int word = (int)strcspn(text, " ");
        if (begun && column + 1 + word > PAGE_COLUMNS)
            column = fprintf(to, "\n%s", rest) - 1; /* fprintf counts the newline, which is no column */
        else if (begun)
            column += fprintf(to, " ");

        column += fprintf(to, "%.*s", word, text);
        text += word + (text[word] == ' ');
    }
    fprintf(to, "\n");
}

static void print_item(FILE *to, const char *name, const char *help)
{
    str text = { 0 };
    str_printf(&text, "`%s`: %s", name, help);
    print_wrapped(to, "- ", "  ", text.data);
    str_free(&text);
}

/* "int, 2 to 4096, default 8" */
static void print_facts(FILE *to, const option *o)
{
    static const char *const LONG[] = {
        [OPTION_TEXT] = "text",
        [OPTION_STRING] = "text",
        [OPTION_PATH] = "path",
        [OPTION_NAMED] = "name or path",
        [OPTION_WHOLE] = "whole number",
        [OPTION_NUMBER] = "number",
        [OPTION_BOOL] = "true or false",
        [OPTION_WORD] = "one of the words below",
        [OPTION_PAIR] = "two numbers `{ a, b }`",
        [OPTION_PRESETS] = "one of the names below",
        [OPTION_VALUE] = "value",
    };
    const bool ranged = o->kind == OPTION_WHOLE || o->kind == OPTION_NUMBER;
    const bool pair = o->kind == OPTION_PAIR;

    /* %.15g: the longest bound of a row is 1e15, and no fraction shows digits that its row doesn't have. */
    fprintf(to, "*%s", LONG[o->kind]);
    if (ranged) fprintf(to, ", %.15g to %.15g", o->min, o->max);
    if (pair) fprintf(to, " from %.15g to below %.15g", o->min, o->max);
    if (!o->fallback) fprintf(to, ", required");
    if (o->fallback && !o->fallback[0]) fprintf(to, ", not set by default");
    if (o->fallback && o->fallback[0]) fprintf(to, ", default `%s`", o->fallback);
    if (o->needs) fprintf(to, ", only with `%s`", o->needs);
    fprintf(to, "*\n");
}

static void print_elsewhere(FILE *to, const char *names)
{
    str text = { 0 };
    while (*names) {
        const int n = (int)strcspn(names, " ");
        if (text.len > 0) str_puts(&text, ", ");
        str_printf(&text, "`%.*s`", n, names);
        names += n + (names[n] == ' ');
    }
    str_printf(&text, ".");
    print_wrapped(to, "\nElsewhere: ", "", text.data);
    str_free(&text);
}

static void print_preset(FILE *to, const option_preset *p)
{
    str help = { 0 };
    str_printf(&help, "%s", p->help);
    if (p->defaults[0]) str_printf(&help, " (`%s`)", p->defaults);
    print_item(to, p->name, help.data);
    str_free(&help);
}

/* A row's help is the part of a line (--keys) and, with a capital, the paragraph's first sentence. */
static void add_help(const option *o, str *out)
{
    char first = o->help[0];
    if (first >= 'a' && first <= 'z') first = (char)(first - 'a' + 'A'); /* not toupper: no locale changes the page */
    str_printf(out, "%c%s. %s", first, o->help + 1, o->more);
}

static void print_option(FILE *to, const option *o)
{
    str text = { 0 };
    add_help(o, &text);

    fprintf(to, "\n### `%s`\n\n", o->key);
    print_facts(to, o);
    print_wrapped(to, "\n", "", text.data);

    if (o->words || o->presets) fprintf(to, "\n");
    for (const word_row *w = o->words; w && w->word; w++)
        if (w->help) print_item(to, w->word, w->help);
    for (const option_preset *p = o->presets; p && p->name; p++) print_preset(to, p);
    if (o->elsewhere) print_elsewhere(to, o->elsewhere);
    str_free(&text);
}

void recipe_print_page(FILE *to)
{
    config_part parts[RECIPE_PARTS + 1];
    recipe_parts(NULL, parts);

    fprintf(to, "# The keys of a recipe\n\n");
    print_wrapped(to, "", "",
                  "Written by `troupe train --keys --markdown`; change a key's text in its row: the table of its room "
                  "(`*/*options*.c`), or of its training method (`learner/methods/*.c`). Each can be set in "
                  "recipe.lua, `rollout = { group = 16 }`, or on the command line, "
                  "`rollout.group=16`, which wins. \"Elsewhere\" is what other trainers call a key: Troupe knows these "
                  "names and says which key is meant.");

    for (const config_part *p = parts; p->table; p++) {
        if (!p->table->title) continue;
        fprintf(to, "\n## %s\n\n", p->table->title);
        print_wrapped(to, "", "", p->table->about);
        print_rows(to, parts, p->table, print_option);
    }
}
