/* SPDX-License-Identifier: MIT */
/* calls - what every call that a dialect has found keeps to, and the tools that the targets of dialects have. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "lua/dialect.h"

static const char TOOLS[] = "[{\"name\": \"python\", \"description\": \"\", \"parameters\": {\"type\": \"object\", "
                            "\"properties\": {\"code\": {\"type\": \"string\"}}}},"
                            " {\"name\": \"search\", \"description\": \"\", \"parameters\": {\"type\": \"object\", "
                            "\"properties\": {\"n\": {\"type\": \"integer\"}}}}]";

/* A good call has an object, a bad one its words and a reason. */
static inline void check_call(const dialect_call *c)
{
    json_t *arguments = c->bad ? NULL : json_parse(c->arguments, strlen(c->arguments), "arguments", NULL);
    if (!c->name || !c->arguments || (c->bad ? !*c->bad : !json_is_object(arguments))) abort();
    json_decref(arguments);
}
