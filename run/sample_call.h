/* SPDX-License-Identifier: MIT */
/* sample_call - arguments that keep to a tool's parameters, made from their JSON Schema: for trials, where any do. */
#pragma once

#include <jansson.h>
#include <stdint.h>

/* The `variant`-th value that the schema suggests: of an enum the variant-th, of numbers within their bounds. Only
 * required properties are given. New reference. What a pattern or a format asks for is not known here. */
json_t *sample_value(const json_t *schema, uint32_t variant);
