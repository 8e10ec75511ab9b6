/* SPDX-License-Identifier: MIT */
#include "run/sample_call.h"

#include <string.h>

enum { MAX_DEPTH = 16 };

static json_t *value_of(const json_t *schema, uint32_t variant, int depth);

/* The first type, where there are several. */
static const char *type_of(const json_t *schema)
{
    const json_t *type = json_object_get(schema, "type");
    if (json_is_array(type)) type = json_array_get(type, 0);
    if (json_is_string(type)) return json_string_value(type);
    return json_object_get(schema, "properties") ? "object" : "string";
}

static json_t *number_of(const json_t *schema, uint32_t variant)
{
    const json_t *low = json_object_get(schema, "minimum"), *high = json_object_get(schema, "maximum");
    double x = json_is_number(low) ? json_number_value(low) + variant % 8 : variant % 8;
    if (json_is_number(high) && x > json_number_value(high)) x = json_number_value(high);
    return json_integer((json_int_t)x);
}

static json_t *object_of(const json_t *schema, uint32_t variant, int depth)
{
    json_t *out = json_object(), *properties = json_object_get(schema, "properties"), *name;
    size_t i;
    json_array_foreach(json_object_get(schema, "required"), i, name)
    {
        const char *key = json_string_value(name);
        if (key)
            json_object_set_new(out, key, value_of(json_object_get(properties, key), variant + (uint32_t)i, depth));
    }
    return out;
}

static json_t *value_of(const json_t *schema, uint32_t variant, int depth)
{
    static const char *const WORDS[] = { "a", "north", "1", "hello", "yes", "x" };
    const json_t *choices = json_object_get(schema, "enum"), *only = json_object_get(schema, "const");
    const json_t *any = json_object_get(schema, "anyOf");
    if (depth > MAX_DEPTH) return json_null();
    if (only) return json_deep_copy(only);
    if (json_array_size(choices) > 0)
        return json_deep_copy(json_array_get(choices, variant % json_array_size(choices)));
    if (json_array_size(any) > 0) return value_of(json_array_get(any, 0), variant, depth + 1);

    const char *type = type_of(schema);
    if (strcmp(type, "object") == 0) return object_of(schema, variant, depth + 1);
    if (strcmp(type, "array") == 0) return json_array();
    if (strcmp(type, "integer") == 0 || strcmp(type, "number") == 0) return number_of(schema, variant);
    if (strcmp(type, "boolean") == 0) return json_boolean(variant % 2);
    if (strcmp(type, "null") == 0) return json_null();
    return json_string(WORDS[variant % (sizeof WORDS / sizeof *WORDS)]);
}

json_t *sample_value(const json_t *schema, uint32_t variant) { return value_of(schema, variant, 0); }
