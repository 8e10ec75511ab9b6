/* SPDX-License-Identifier: MIT */
#include "base/option.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* ---- what is wrong ---- */

bool option_given(const option_reading *r, const char *key) { return r->given && r->given(r->ctx, key); }

static int wrong(option_reading *r, const char *key, bool found, const char *fmt, va_list args)
{
    snprintf(r->key, sizeof r->key, "%s", key);
    vsnprintf(r->text, sizeof r->text, fmt, args);
    r->found = found;
    return ERR_ARGUMENT;
}

int option_wrong(option_reading *r, const char *key, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int rc = wrong(r, key, false, fmt, args);
    va_end(args);
    return rc;
}

int option_expected(option_reading *r, const char *key, const char *fmt, ...)
{
    char sentence[300];
    va_list args;

    snprintf(sentence, sizeof sentence, "expected %s", fmt);
    va_start(args, fmt);
    const int rc = wrong(r, key, true, sentence, args);
    va_end(args);
    return rc;
}

int option_names(option_reading *r, const char *key, const json_t *list, int min, int max, char *out, int size, int *n)
{
    static const char EXPECTED[] = "a list of %d to %d names of at most %d characters";
    const size_t have = json_array_size(list); /* 0 for what is no list */

    if (have < (size_t)min || have > (size_t)max) return option_expected(r, key, EXPECTED, min, max, size - 1);

    for (size_t i = 0; i < have; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (!name || !*name || strlen(name) >= (size_t)size)
            return option_expected(r, key, EXPECTED, min, max, size - 1);
        snprintf(out + i * (size_t)size, (size_t)size, "%s", name);
    }
    *n = (int)have;
    return OK;
}

static bool is_one_of(const char *name, const char *const *names)
{
    while (*names && strcmp(*names, name) != 0) names++;
    return *names != NULL;
}

static int unknown_field(option_reading *r, const char *key, const char *field, const char *const *names)
{
    str known = { 0 };
    for (int i = 0; names[i]; i++) str_printf(&known, "%s%s", i ? ", " : "", names[i]);
    const char *nearest = str_nearest(field, names);
    const int rc = nearest ? option_wrong(r, key, "it has no field '%.60s' (did you mean '%s'?)", field, nearest)
                           : option_wrong(r, key, "it has no field '%.60s' (there are %s)", field, known.data);
    str_free(&known);
    return rc;
}

int option_fields(option_reading *r, const char *key, const json_t *value, const char *const *names)
{
    const char *field;
    json_t *item;
    json_object_foreach((json_t *)(uintptr_t)value, field, item)
    {
        if (!is_one_of(field, names)) return unknown_field(r, key, field, names);
    }
    return OK;
}

/* ---- values ---- */

/* What stands at a place may be a member, or bytes that someone reads as one: to copy is right for both. */
static void put(const option *o, void *config, const void *value, size_t size)
{
    memcpy((char *)config + o->offset, value, size);
}

void option_set_number(const option *o, void *config, double value)
{
    /* A row's range is within its type (tests/unit/recipe holds every row to it), so none of these is cut. */
    if (o->kind == OPTION_WHOLE && o->size == sizeof(int64_t))
        put(o, config, &(int64_t){ (int64_t)value }, sizeof(int64_t));
    else if (o->kind == OPTION_WHOLE)
        put(o, config, &(int32_t){ (int32_t)value }, sizeof(int32_t));
    else if (o->size == sizeof(float))
        put(o, config, &(float){ (float)value }, sizeof(float));
    else
        put(o, config, &value, sizeof value);
}

void option_set_word(const option *o, void *config, int value) { put(o, config, &value, sizeof value); }
void option_set_bool(const option *o, void *config, bool value) { put(o, config, &value, sizeof value); }

void option_set_pair(const option *o, void *config, const double value[2]) { put(o, config, value, 2 * sizeof *value); }

static int bad_text(const option *o, const char *text, error *err)
{
    return error_set(err, ERR_ARGUMENT, "%s: the default '%s' is not a value of this key", o->key, text);
}

static bool in_range(const option *o, double v)
{
    return v >= o->min && v <= o->max && (o->kind != OPTION_WHOLE || v == floor(v));
}

static int set_number_text(const option *o, void *config, const char *text, error *err)
{
    char *end;
    const double value = strtod(text, &end);
    if (end == text || *end || !in_range(o, value)) return bad_text(o, text, err);
    option_set_number(o, config, value);
    return OK;
}

static int set_pair_text(const option *o, void *config, const char *text, error *err)
{
    double pair[2];
    char *end;

    pair[0] = strtod(text, &end);
    if (*end != ',') return bad_text(o, text, err);
    pair[1] = strtod(end + 1, &end);
    if (*end) return bad_text(o, text, err);

    for (int i = 0; i < 2; i++)
        if (!(pair[i] >= o->min && pair[i] < o->max)) return bad_text(o, text, err);
    option_set_pair(o, config, pair);
    return OK;
}

static int set_word_text(const option *o, void *config, const char *text, error *err)
{
    const word_row *word = words_named(o->words, text);
    if (!word) return bad_text(o, text, err);
    option_set_word(o, config, word->value);
    return OK;
}

int option_set_text(const option *o, void *config, const char *text, error *err)
{
    switch (o->kind) {
    case OPTION_TEXT:
    case OPTION_PATH:
    case OPTION_NAMED:
        if (strlen(text) >= o->size) return bad_text(o, text, err);
        put(o, config, text, strlen(text) + 1);
        return OK;
    case OPTION_STRING:
        put(o, config, &(char *){ xstrdup(text) }, sizeof(char *));
        return OK;
    case OPTION_WHOLE:
    case OPTION_NUMBER:
        return set_number_text(o, config, text, err);
    case OPTION_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) return bad_text(o, text, err);
        option_set_bool(o, config, text[0] == 't');
        return OK;
    case OPTION_WORD:
        return *text ? set_word_text(o, config, text, err) : OK;
    case OPTION_PAIR:
        return set_pair_text(o, config, text, err);
    case OPTION_PRESETS:
    case OPTION_VALUE:
        return OK;
    }
    return OK;
}

int option_defaults(const option_table *table, void *config, error *err)
{
    int rc = OK;
    for (const option *o = table->rows; o->key && rc == OK; o++)
        if (o->fallback) rc = option_set_text(o, config, o->fallback, err);
    return rc;
}

char *option_preset_text(const option_preset *p, const char *section, const char *key)
{
    const size_t n = strlen(section);
    if (!p->defaults || strncmp(key, section, n) != 0) return NULL;

    for (const char *at = p->defaults; *at;) {
        const size_t word = strcspn(at, " "), name = strcspn(at, "=");
        if (strlen(key + n) == name && strncmp(at, key + n, name) == 0) return xstrndup(at + name + 1, word - name - 1);
        at += word + strspn(at + word, " ");
    }
    return NULL;
}
