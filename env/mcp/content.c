/* SPDX-License-Identifier: MIT */
#include "env/mcp/content.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* Text as it is; of what a policy of words can't read, that it was there. */
static void add_part(const json_t *part, str *out)
{
    const char *type = text_at(part, "type");
    const json_t *resource = json_object_get(part, "resource");
    if (strcmp(type, "text") == 0)
        str_puts(out, text_at(part, "text"));
    else if (strcmp(type, "resource") == 0 && json_is_string(json_object_get(resource, "text")))
        str_puts(out, text_at(resource, "text"));
    else if (strcmp(type, "resource_link") == 0)
        str_puts(out, text_at(part, "uri"));
    else
        str_printf(out, "[%.40s %.80s]", *type ? type : "part", text_at(part, "mimeType"));
}

static void add_parts(const json_t *content, str *out)
{
    const json_t *part;
    for (size_t i = 0; (part = json_array_get(content, i)); i++) {
        if (i > 0) str_putc(out, '\n');
        add_part(part, out);
    }
}

static void add_result(const json_t *result, str *out)
{
    const json_t *content = json_object_get(result, "content"),
                 *structure = json_object_get(result, "structuredContent");
    if (json_array_size(content) > 0 || !structure) {
        add_parts(content, out);
        return;
    }
    char *text = json_text(structure, false);
    str_puts(out, text);
    free(text);
}

char *mcp_content(const json_t *message, bool *ok)
{
    str out = { 0 };
    const json_t *problem = json_object_get(message, "error"), *result = json_object_get(message, "result");
    *ok = !problem && !json_is_true(json_object_get(result, "isError"));
    str_puts(&out, "");
    if (problem)
        str_printf(&out, "error: %s", text_at(problem, "message"));
    else
        add_result(result, &out);
    return str_take(&out);
}
