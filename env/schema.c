/* SPDX-License-Identifier: MIT */
#include "env/schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

enum { MAX_DEPTH = 32, MAX_PATH = 200, SHOWN = 60 };

static const char *const TYPES[] = { "object", "array", "string", "integer", "number", "boolean", "null", NULL };
static const char *const DESCRIBING[] = { "title",    "description", "default",  "examples", "example",
                                          "format",   "$schema",     "$id",      "$comment", "deprecated",
                                          "readOnly", "writeOnly",   "nullable", NULL };

static bool among(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(word, *words) == 0) return true;
    return false;
}

/* "a.b" of "a" and "b"; what does not fit is cut. */
static const char *join(char *out, const char *path, const char *name)
{
    snprintf(out, MAX_PATH, "%.120s%s%.70s", path, *path ? "." : "", name);
    return out;
}

/* ---- is it a schema? ---- */

static int check(const json_t *schema, const char *path, int depth, error *err);

static int bad(error *err, const char *path, const char *key, const char *expected)
{
    return error_set(err, ERR_PARSE, "parameters%s%s%s%s: expected %s", *path ? "." : "", path, *key ? "." : "", key,
                     expected);
}

static int check_type(const json_t *type, const char *path, error *err)
{
    const json_t *item = type;
    const size_t n = json_is_array(type) ? json_array_size(type) : 1;
    for (size_t i = 0; i < n; i++) {
        if (json_is_array(type)) item = json_array_get(type, i);
        if (!json_is_string(item) || !among(json_string_value(item), TYPES))
            return bad(err, path, "type", "object, array, string, integer, number, boolean or null");
    }
    return n > 0 ? OK : bad(err, path, "type", "at least one type");
}

static int check_properties(const json_t *properties, const char *path, int depth, error *err)
{
    const char *name;
    json_t *s;
    if (!json_is_object(properties)) return bad(err, path, "properties", "an object of schemas");

    /* The cast, here and below: jansson's loops want an object that is not const, and change nothing. */
    json_object_foreach((json_t *)(uintptr_t)properties, name, s)
    {
        char here[MAX_PATH], inner[MAX_PATH];
        const int rc = check(s, join(inner, join(here, path, "properties"), name), depth + 1, err);
        if (rc != OK) return rc;
    }
    return OK;
}

static int check_required(const json_t *required, const json_t *schema, const char *path, error *err)
{
    const json_t *properties = json_object_get(schema, "properties");
    size_t i;
    json_t *name;
    if (!json_is_array(required)) return bad(err, path, "required", "a list of names");

    json_array_foreach((json_t *)(uintptr_t)required, i, name)
    {
        if (!json_is_string(name)) return bad(err, path, "required", "a list of names");
        if (properties && !json_object_get(properties, json_string_value(name)))
            return error_set(err, ERR_PARSE, "parameters%s%s.required: '%s' is not among the properties",
                             *path ? "." : "", path, json_string_value(name));
    }
    return OK;
}

static int check_list(const json_t *list, const char *key, const char *path, int depth, error *err)
{
    char here[MAX_PATH];
    size_t i;
    json_t *s;
    if (!json_is_array(list) || json_array_size(list) == 0) return bad(err, path, key, "a list that is not empty");
    if (strcmp(key, "enum") == 0) return OK;

    json_array_foreach((json_t *)(uintptr_t)list, i, s)
    {
        const int rc = check(s, join(here, path, key), depth + 1, err);
        if (rc != OK) return rc;
    }
    return OK;
}

static int check_keyword(const json_t *schema, const char *key, const json_t *v, const char *path, int depth,
                         error *err)
{
    static const char *const NUMBERS[] = { "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", NULL };
    static const char *const COUNTS[] = { "minItems", "maxItems", "minLength", "maxLength", NULL };
    char here[MAX_PATH];

    if (strcmp(key, "type") == 0) return check_type(v, path, err);
    if (strcmp(key, "properties") == 0) return check_properties(v, path, depth, err);
    if (strcmp(key, "required") == 0) return check_required(v, schema, path, err);
    if (strcmp(key, "enum") == 0 || strcmp(key, "anyOf") == 0) return check_list(v, key, path, depth, err);
    if (strcmp(key, "items") == 0) return check(v, join(here, path, key), depth + 1, err);
    if (strcmp(key, "additionalProperties") == 0)
        return json_is_boolean(v) ? OK : check(v, join(here, path, key), depth + 1, err);
    if (among(key, NUMBERS)) return json_is_number(v) ? OK : bad(err, path, key, "a number");
    if (among(key, COUNTS))
        return json_is_integer(v) && json_integer_value(v) >= 0 ? OK : bad(err, path, key, "a whole number");
    if (strcmp(key, "const") == 0 || among(key, DESCRIBING)) return OK;

    return bad(err, path, key,
               "a keyword that is checked: type, enum, const, properties, required, additionalProperties, "
               "items, anyOf, minimum, maxLength, ...");
}

static int check(const json_t *schema, const char *path, int depth, error *err)
{
    const char *key;
    json_t *v;
    if (depth > MAX_DEPTH) return bad(err, path, "", "less depth");
    if (!json_is_object(schema) && !(json_is_array(schema) && json_array_size(schema) == 0)) /* Lua's {} is both */
        return bad(err, path, "", "a schema (an object)");

    json_object_foreach((json_t *)(uintptr_t)schema, key, v)
    {
        const int rc = check_keyword(schema, key, v, path, depth, err);
        if (rc != OK) return rc;
    }
    return OK;
}

int schema_check(const json_t *schema, error *err) { return check(schema, "", 0, err); }

/* ---- does a value keep to it? ---- */

static bool has_type(const json_t *v, const char *type)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return strcmp(type, "object") == 0;
    case JSON_ARRAY:
        return strcmp(type, "array") == 0;
    case JSON_STRING:
        return strcmp(type, "string") == 0;
    case JSON_INTEGER:
        return strcmp(type, "integer") == 0 || strcmp(type, "number") == 0;
    case JSON_REAL:
        if (strcmp(type, "number") == 0) return true;
        return strcmp(type, "integer") == 0 && json_real_value(v) == floor(json_real_value(v)); /* 2.0 is one */
    case JSON_TRUE:
    case JSON_FALSE:
        return strcmp(type, "boolean") == 0;
    case JSON_NULL:
        return strcmp(type, "null") == 0;
    }
    return false;
}

/* What stands before the name of a type in a sentence. */
static const char *article_of(const char *type)
{
    if (strcmp(type, "null") == 0) return "";
    return strchr("aio", type[0]) ? "an " : "a ";
}

/* "a string", "an integer or null", "one of "C", "F"": what a schema asks for, in words. */
static void expectation(const json_t *schema, str *out)
{
    const json_t *type = json_object_get(schema, "type"), *list = json_object_get(schema, "enum");
    size_t n = 0;
    if (type) n = json_is_array(type) ? json_array_size(type) : 1;

    for (size_t i = 0; i < n && !list; i++) {
        const char *name = json_string_value(json_is_array(type) ? json_array_get(type, i) : type);
        str_printf(out, "%s%s%s", i ? " or " : "", article_of(name), name);
    }

    for (size_t i = 0; i < json_array_size(list); i++) {
        char *text = json_text(json_array_get(list, i), true);
        str_printf(out, "%s%s", i ? ", " : "one of ", text);
        free(text);
    }

    if (out->len == 0) str_puts(out, "a value");
}

static const char *name_of(const char *path) { return *path ? path : "the arguments"; }

/* "PATH should be WHAT, not VALUE" */
static int wrong(const json_t *value, const char *path, const char *what, error *err)
{
    char *text = json_text(value, true);
    const size_t len = strlen(text);

    size_t shown = 0; /* whole characters of it */
    for (size_t n; shown < SHOWN && shown < len && (n = utf8_length(text + shown, text + len)) > 0;) shown += n;

    error_set(err, ERR_ARGUMENT, "%s should be %s, not %.*s%s", name_of(path), what, (int)shown, text,
              shown < len ? "..." : "");
    free(text);
    return ERR_ARGUMENT;
}

static int validate(const json_t *schema, const json_t *value, const char *path, error *err);

static int validate_type(const json_t *schema, const json_t *value, const char *path, error *err)
{
    const json_t *type = json_object_get(schema, "type"), *list = json_object_get(schema, "enum");
    const json_t *only = json_object_get(schema, "const");
    bool good = !type, listed = !list;
    for (size_t i = 0; type && i < (json_is_array(type) ? json_array_size(type) : 1); i++)
        good |= has_type(value, json_string_value(json_is_array(type) ? json_array_get(type, i) : type));
    for (size_t i = 0; i < json_array_size(list); i++) listed |= json_equal(value, json_array_get(list, i)) != 0;

    str what = { 0 };
    int rc = OK;
    if (!good || !listed) {
        expectation(schema, &what);
        rc = wrong(value, path, what.data, err);
    } else if (only && !json_equal(value, only)) {
        char *text = json_text(only, true);
        rc = wrong(value, path, text, err);
        free(text);
    }
    str_free(&what);
    return rc;
}

static int validate_property(const json_t *schema, const char *name, const json_t *v, const char *path, error *err)
{
    char here[MAX_PATH];
    const json_t *known = json_object_get(json_object_get(schema, "properties"), name);
    const json_t *other = json_object_get(schema, "additionalProperties");
    join(here, path, name);
    if (known) return validate(known, v, here, err);
    if (!other || json_is_true(other)) return OK;
    if (!json_is_false(other)) return validate(other, v, here, err);

    str names = { 0 };
    const char *key;
    json_t *unused;
    json_object_foreach(json_object_get(schema, "properties"), key, unused) str_item(&names, ", ", key);
    error_set(err, ERR_ARGUMENT, "there is no argument %s (there are: %s)", here, names.len ? names.data : "none");
    str_free(&names);
    return ERR_ARGUMENT;
}

static int validate_object(const json_t *schema, const json_t *value, const char *path, error *err)
{
    const json_t *required = json_object_get(schema, "required");
    const char *name;
    char here[MAX_PATH];
    json_t *v;

    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *key = json_string_value(json_array_get(required, i));
        if (json_object_get(value, key)) continue;
        str what = { 0 };
        expectation(json_object_get(json_object_get(schema, "properties"), key), &what);
        error_set(err, ERR_ARGUMENT, "%s is missing (%s)", join(here, path, key), what.data);
        str_free(&what);
        return ERR_ARGUMENT;
    }

    json_object_foreach((json_t *)(uintptr_t)value, name, v)
    {
        const int rc = validate_property(schema, name, v, path, err);
        if (rc != OK) return rc;
    }
    return OK;
}

/* Characters, not bytes: in UTF-8 a byte 10xxxxxx continues a character. */
static size_t length_of(const char *s)
{
    size_t n = 0;
    for (; *s; s++) n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static int validate_size(const json_t *schema, const json_t *value, const char *path, error *err)
{
    const bool text = json_is_string(value);
    const size_t n = text ? length_of(json_string_value(value)) : json_array_size(value);
    const json_t *min = json_object_get(schema, text ? "minLength" : "minItems");
    const json_t *max = json_object_get(schema, text ? "maxLength" : "maxItems");
    char what[80];

    if (min && n < (size_t)json_integer_value(min))
        snprintf(what, sizeof what, "at least %lld %s", (long long)json_integer_value(min),
                 text ? "characters" : "items");
    else if (max && n > (size_t)json_integer_value(max))
        snprintf(what, sizeof what, "at most %lld %s", (long long)json_integer_value(max),
                 text ? "characters" : "items");
    else
        return OK;
    return wrong(value, path, what, err);
}

static int validate_number(const json_t *schema, const json_t *value, const char *path, error *err)
{
    static const struct {
        const char *key, *words;
        int sign; /* of value - bound, where it is wrong */
        bool equal;
    } BOUNDS[] = { { "minimum", "at least", -1, false },
                   { "maximum", "at most", 1, false },
                   { "exclusiveMinimum", "more than", -1, true },
                   { "exclusiveMaximum", "less than", 1, true } };

    for (size_t i = 0; i < sizeof BOUNDS / sizeof *BOUNDS; i++) {
        char what[80];
        const json_t *bound = json_object_get(schema, BOUNDS[i].key);
        if (!bound) continue;

        const double difference = json_number_value(value) - json_number_value(bound);
        const bool beyond = difference * BOUNDS[i].sign > 0 || (BOUNDS[i].equal && difference == 0);
        if (!beyond) continue;

        snprintf(what, sizeof what, "%s %.15g", BOUNDS[i].words, json_number_value(bound));
        return wrong(value, path, what, err);
    }
    return OK;
}

static int validate_items(const json_t *schema, const json_t *value, const char *path, error *err)
{
    const json_t *items = json_object_get(schema, "items");
    int rc = validate_size(schema, value, path, err);
    for (size_t i = 0; rc == OK && items && i < json_array_size(value); i++) {
        char here[MAX_PATH];
        snprintf(here, sizeof here, "%.150s[%zu]", path, i);
        rc = validate(items, json_array_get(value, i), here, err);
    }
    return rc;
}

/* Where no alternative fits, the sentence is the last one's. */
static int validate_any(const json_t *schema, const json_t *value, const char *path, error *err)
{
    const json_t *any = json_object_get(schema, "anyOf");
    int rc = OK;
    for (size_t i = 0; i < json_array_size(any); i++) {
        rc = validate(json_array_get(any, i), value, path, err);
        if (rc == OK) return OK;
    }
    return rc;
}

static int validate(const json_t *schema, const json_t *value, const char *path, error *err)
{
    int rc = validate_type(schema, value, path, err);
    if (rc == OK) rc = validate_any(schema, value, path, err);
    if (rc != OK) return rc;
    if (json_is_object(value)) return validate_object(schema, value, path, err);
    if (json_is_array(value)) return validate_items(schema, value, path, err);
    if (json_is_string(value)) return validate_size(schema, value, path, err);
    return json_is_number(value) ? validate_number(schema, value, path, err) : OK;
}

int schema_validate(const json_t *schema, const json_t *value, error *err) { return validate(schema, value, "", err); }
