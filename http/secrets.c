/* SPDX-License-Identifier: MIT */
#include "http/secrets.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static bool is_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* A token of RFC 9110, section 5.6.2. */
static bool is_name(const char *name)
{
    const char *p = name;
    while (*p && (isalnum((unsigned char)*p) || strchr("!#$%&'*+-.^_`|~", *p))) p++;
    return *name && !*p;
}

/* What is after a '$'. Returns what follows the variable; NULL: it names none. */
static const char *add_variable(const char *p, const char *header, str *out, error *err)
{
    const bool braced = *p == '{';
    const char *begin = p + braced, *end = begin;
    while (is_word(*end)) end++;
    if (end == begin || (braced && *end != '}')) {
        error_set(err, ERR_ARGUMENT, "header %.80s: '$' should begin the name of a variable (a dollar is '$$')",
                  header);
        return NULL;
    }

    char *name = xstrndup(begin, (size_t)(end - begin));
    const char *value = getenv(name);
    if (value && *value)
        str_puts(out, value);
    else
        error_set(err, ERR_NOT_FOUND, "header %.80s: the environment has no variable %.80s", header, name);
    free(name);
    return value && *value ? end + braced : NULL;
}

static int expand(const char *value, const char *header, str *out, error *err)
{
    for (const char *p = value; *p;) {
        if (*p != '$' || p[1] == '$') {
            str_putc(out, *p);
            p += *p == '$' ? 2 : 1;
            continue;
        }
        p = add_variable(p + 1, header, out, err);
        if (!p) return ERR_ARGUMENT;
    }
    return OK;
}

/* Another line would be another header. */
static int check_value(const char *value, const char *header, error *err)
{
    for (const char *p = value; *p; p++)
        if ((unsigned char)*p < ' ' && *p != '\t')
            return error_set(err, ERR_ARGUMENT, "header %.80s: its value holds a control character", header);
    return OK;
}

char *secrets_header(const char *name, const char *value, error *err)
{
    str line = { 0 };
    if (!is_name(name)) {
        error_set(err, ERR_ARGUMENT, "'%.80s' is not a header's name", name);
        return NULL;
    }
    str_printf(&line, "%s: ", name);
    const size_t head = line.len;
    if (expand(value, name, &line, err) == OK && check_value(line.data + head, name, err) == OK) return str_take(&line);
    str_free(&line);
    return NULL;
}
