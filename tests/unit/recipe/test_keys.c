/* SPDX-License-Identifier: MIT */
/* The rooms' tables of keys, row by row; and docs/keys.md. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "recipe/parts.h"
#include "tests/support/support.h"

static config_part parts[RECIPE_PARTS + 1];

static int find_parts(void **state)
{
    (void)state;
    recipe_parts(NULL, parts);
    return 0;
}

/* A size that the row's kind does not fill would be written over its neighbours. */
static bool fits_its_place(const option *o)
{
    switch (o->kind) {
    case OPTION_TEXT:
    case OPTION_NAMED:
        return o->size > 1;
    case OPTION_PATH:
        return o->size == OPTION_PATH_BYTES;
    case OPTION_STRING:
        return o->size == sizeof(char *);
    case OPTION_WHOLE:
        if (o->size == sizeof(int32_t)) return o->min >= INT32_MIN && o->max <= INT32_MAX;
        return o->size == sizeof(int64_t) && fabs(o->min) <= 1e15 && o->max <= 1e15;
    case OPTION_NUMBER:
        return o->size == sizeof(double) || o->size == sizeof(float);
    case OPTION_BOOL:
        return o->size == sizeof(bool);
    case OPTION_WORD:
        return o->size == sizeof(int) && o->words;
    case OPTION_PAIR:
        return o->size == sizeof(double);
    case OPTION_PRESETS:
        return o->presets;
    case OPTION_VALUE:
        return true;
    }
    return false;
}

static void every_row_fits_its_place(void **state)
{
    (void)state;
    for (const config_part *p = parts; p->table; p++)
        for (const option *o = p->table->rows; o->key; o++) {
            if (!fits_its_place(o)) fail_msg("%s: its kind, size or range is not that of its place", o->key);
            if (o->kind == OPTION_WHOLE || o->kind == OPTION_NUMBER || o->kind == OPTION_PAIR)
                if (!(o->min < o->max)) fail_msg("%s: no range", o->key);
        }
}

/* Settings are bytes: a row copied from another method would set that one's, and nothing would say so. */
static void a_method_s_keys_set_its_own_settings(void **state)
{
    (void)state;
    int set = 0;
    for (size_t i = 0; METHODS[i]; i++)
        for (const option *o = METHODS[i]->options ? METHODS[i]->options->rows : NULL; o && o->key; o++) {
            if (o->kind == OPTION_VALUE || o->offset < offsetof(trainer_config, settings)) continue;
            const size_t begin = offsetof(trainer_config, settings) + i * sizeof(method_settings);
            if (o->offset < begin || o->offset + o->size > begin + sizeof(method_settings))
                fail_msg("%s is not among the settings of method %s", o->key, METHODS[i]->name);
            set++;
        }
    assert_true(set > 10);
}

static void every_default_is_a_value_of_its_key(void **state)
{
    (void)state;
    recipe *r = xcalloc(1, sizeof *r);
    config_part places[RECIPE_PARTS + 1];
    error err = { 0 };
    recipe_parts(r, places);
    for (const config_part *p = places; p->table; p++) test_ok(option_defaults(p->table, p->out, &err), &err);
    prompt_options_reset(&r->prompt);
    free(r);
}

/* A preset that named no key, or no value of it, would be a name that does nothing. */
static const option *row_of(const char *section, const char *name, size_t len)
{
    for (const config_part *p = parts; p->table; p++)
        for (const option *o = p->table->rows; o->key; o++)
            if (strncmp(o->key, section, strlen(section)) == 0 && strlen(o->key) == strlen(section) + len &&
                strncmp(o->key + strlen(section), name, len) == 0)
                return o;
    return NULL;
}

static void presets_name_keys_and_values_of_theirs(void **state)
{
    (void)state;
    trainer_config c = { 0 };
    error err = { 0 };
    const option *name = row_of("algorithm.", "name", 4);
    int said = 0;
    for (const option_preset *p = name->presets; p->name; p++)
        for (const char *at = p->defaults; *at; at += strcspn(at, " "), at += strspn(at, " "), said++) {
            const option *o = row_of("algorithm.", at, strcspn(at, "="));
            if (!o) fail_msg("%s: %s: there is no such key", p->name, at);
            char *text = option_preset_text(p, "algorithm.", o->key);
            test_ok(option_set_text(o, &c, text, &err), &err);
            free(text);
        }
    assert_true(said > 20);
}

static void keys_and_their_other_names_are_said_once(void **state)
{
    (void)state;
    str names = { 0 };
    str_puts(&names, " ");
    for (const config_part *p = parts; p->table; p++)
        for (const option *o = p->table->rows; o->key; o++) {
            str all = { 0 };
            str_printf(&all, "%s %s", o->key, o->elsewhere ? o->elsewhere : "");
            for (char *save = NULL, *word = strtok_r(all.data, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
                char spaced[120];
                snprintf(spaced, sizeof spaced, " %s ", word);
                if (strstr(names.data, spaced)) fail_msg("%s stands twice", word);
                str_printf(&names, "%s ", word);
            }
            str_free(&all);
        }
    str_free(&names);
}

static void every_key_has_its_paragraph(void **state)
{
    (void)state;
    for (const config_part *p = parts; p->table; p++) {
        const option_table *t = p->table;
        if (!t->title == !t->after || !t->title == !!t->about)
            fail_msg("%s: a table has a title and says what it is about, or comes after a key", t->rows->key);
        for (const option *o = p->table->rows; o->key; o++) {
            if (!o->help || strlen(o->help) < 8 || strlen(o->help) > 130)
                fail_msg("%s: help is one line that says what it is", o->key);
            if (!o->more || strlen(o->more) < 20) fail_msg("%s: no paragraph", o->key);
            if (o->help[strlen(o->help) - 1] == '.' || o->more[strlen(o->more) - 1] != '.')
                fail_msg("%s: help is no sentence, its paragraph ends one", o->key);
        }
    }
}

/* A table whose keys come after one that there is not, or after each other, would be printed nowhere. */
static void every_key_stands_once_on_the_page(void **state)
{
    (void)state;
    char *page = NULL;
    size_t len;
    FILE *to = open_memstream(&page, &len);
    recipe_print_page(to);
    fclose(to);

    for (const config_part *p = parts; p->table; p++)
        for (const option *o = p->table->rows; o->key; o++) {
            char heading[OPTION_KEY_BYTES];
            snprintf(heading, sizeof heading, "\n### `%s`\n", o->key);
            const char *first = strstr(page, heading);
            if (!first) fail_msg("%s is not on the page: its table comes after '%s'", o->key, p->table->after);
            if (strstr(first + 1, heading)) fail_msg("%s stands twice on the page", o->key);
        }
    free(page);
}

static void the_page_is_what_the_program_prints(void **state)
{
    (void)state;
    char path[1100], *printed = NULL;
    size_t len, file_len;
    error err = { 0 };
    FILE *to = open_memstream(&printed, &len);
    recipe_print_page(to);
    fclose(to);

    snprintf(path, sizeof path, "%s/docs/keys.md", getenv("TROUPE_SOURCE"));
    char *page = file_read(path, 1 << 24, &file_len, &err);
    if (!page) fail_msg("%s", err.text);
    if (strcmp(page, printed) != 0) fail_msg("docs/keys.md is old: troupe train --keys --markdown > docs/keys.md");
    for (const char *line = printed; *line; line += strcspn(line, "\n") + 1)
        if (strcspn(line, "\n") > 140) fail_msg("a line of %zu columns: %.60s", strcspn(line, "\n"), line);
    free(page);
    free(printed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_fits_its_place),
        cmocka_unit_test(a_method_s_keys_set_its_own_settings),
        cmocka_unit_test(every_default_is_a_value_of_its_key),
        cmocka_unit_test(presets_name_keys_and_values_of_theirs),
        cmocka_unit_test(keys_and_their_other_names_are_said_once),
        cmocka_unit_test(every_key_has_its_paragraph),
        cmocka_unit_test(every_key_stands_once_on_the_page),
        cmocka_unit_test(the_page_is_what_the_program_prints),
    };
    return cmocka_run_group_tests(tests, find_parts, NULL);
}
