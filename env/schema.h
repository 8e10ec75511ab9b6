/* SPDX-License-Identifier: MIT */
/* schema - JSON Schema of a tool's arguments: is the schema one, and do the arguments keep to it.
 *
 * Known: type (one or several), enum, const, properties, required, additionalProperties, items, minItems, maxItems,
 * minLength, maxLength, minimum, maximum, exclusiveMinimum, exclusiveMaximum, anyOf; the words that only describe
 * (title, description, default, examples, format, $schema, ...) say nothing here. Any other keyword is refused: a rule
 * that is not checked is worse than none. */
#pragma once

#include "base/error.h"
#include "base/json.h"

/* ERR_PARSE and where, what was found and what is allowed: "parameters.properties.city.type: ...". */
int schema_check(const json_t *schema, error *err);
/* ERR_ARGUMENT and a sentence for the policy: "city is missing (a string)", "days should be an integer, not "two"". */
int schema_validate(const json_t *schema, const json_t *value, error *err);
