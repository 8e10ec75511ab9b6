/* SPDX-License-Identifier: MIT */
#include "cli/arguments.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

enum { MAX_FLAGS = 32 };

/* "optim.lr=1e-4". A path with a slash before its '=' (runs/a=b) is no key: no key has a slash. */
static bool is_override(const char *word)
{
    const char *p = word;
    while (isalnum((unsigned char)*p) || *p == '_' || *p == '.') p++;
    return *p == '=' && p > word;
}

/* ---- values ---- */

/* strtoll passes over space in front and stops where it doesn't understand: a value is all of the text. */
static bool begins_number(const char *text) { return *text && !isspace((unsigned char)*text); }

int value_whole(const char *what, const char *text, int64_t min, int64_t max, int64_t *out, error *err)
{
    char *end;
    errno = 0;
    const long long n = strtoll(text, &end, 10);
    if (!begins_number(text) || *end || errno == ERANGE || n < min || n > max)
        return error_set(err, ERR_ARGUMENT,
                         "%s: expected a whole number from %" PRId64 " to %" PRId64 ", found '%.80s'", what, min, max,
                         text);
    *out = n;
    return OK;
}

int value_number(const char *what, const char *text, double min, double max, double *out, error *err)
{
    double v;
    if (str_number(text, strlen(text), &v) != OK || v < min || v > max)
        return error_set(err, ERR_ARGUMENT, "%s: expected a number from %.10g to %.10g, found '%.80s'", what, min, max,
                         text);
    *out = v;
    return OK;
}

static int value_hex(const char *what, const char *text, uint64_t *out, error *err)
{
    const size_t len = strlen(text);
    /* strtoull by itself would take "-1" and "0x10", too */
    if (len == 0 || len > 16 || strspn(text, "0123456789abcdefABCDEF") != len)
        return error_set(err, ERR_ARGUMENT, "%s: expected an id of up to 16 hexadecimal digits, found '%.80s'", what,
                         text);
    *out = strtoull(text, NULL, 16);
    return OK;
}

static int value_choice(const flag *f, const char *text, error *err)
{
    str known = { 0 };

    for (int i = 0; f->choices[i]; i++) {
        if (strcmp(f->choices[i], text) == 0) {
            *f->choice = i;
            str_free(&known);
            return OK;
        }
        str_item(&known, ", ", f->choices[i]);
    }
    error_set(err, ERR_ARGUMENT, "%s: expected one of %s, found '%.80s'", f->name, known.data, text);
    str_free(&known);
    return ERR_ARGUMENT;
}

static int take_value(const flag *f, const char *text, error *err)
{
    if (f->whole) return value_whole(f->name, text, (int64_t)f->min, (int64_t)f->max, f->whole, err);
    if (f->number) return value_number(f->name, text, f->min, f->max, f->number, err);
    if (f->hex) return value_hex(f->name, text, f->hex, err);
    if (f->choice) return value_choice(f, text, err);
    if (f->text && !*text) return error_set(err, ERR_ARGUMENT, "option '%s' needs a value, found ''", f->name);
    *(f->text ? f->text : f->any) = text;
    return OK;
}

/* ---- options ---- */

static int unknown_flag(const char *word, const syntax *s, error *err)
{
    const flag *flags = s->flags;
    const char *names[MAX_FLAGS + 2] = { "--help" }; /* in no verb's table: all have it */
    const char *key = word + strspn(word, "-");
    char bare[80]; /* "--modle=DIR" is compared by its name: a long value would make any name far */
    snprintf(bare, sizeof bare, "%.*s", (int)strcspn(word, "="), word);
    for (int i = 0; flags && flags[i].name && i < MAX_FLAGS; i++) names[i + 1] = flags[i].name;

    const char *nearest = str_nearest(bare, names);
    const bool overrides = s->keys && is_override(key); /* --steps=50 instead of steps=50, as other trainers have it */

    if (nearest && overrides)
        return error_set(err, ERR_ARGUMENT,
                         "no option '%.80s' (did you mean '%s'? a recipe's key is given without dashes: %.80s)", word,
                         nearest, key);
    if (nearest) return error_set(err, ERR_ARGUMENT, "no option '%.80s' (did you mean '%s'?)", word, nearest);
    if (overrides)
        return error_set(err, ERR_ARGUMENT, "no option '%.80s' (a recipe's key is given without dashes: %.80s)", word,
                         key);
    return error_set(err, ERR_ARGUMENT, "no option '%.80s' (--help lists them)", word);
}

/* A value that is itself an option was forgotten, not meant: --model --json. It may be said as --model=--json. */
static const char *next_value(int argc, char **argv, int *i)
{
    if (*i + 1 >= argc || (argv[*i + 1][0] == '-' && argv[*i + 1][1] == '-')) return NULL;
    return argv[++*i];
}

/* The flag that the word is, "--name" or "--name=value"; NULL: none of them. */
static const flag *flag_of(const char *word, const flag *flags)
{
    for (const flag *f = flags; f && f->name; f++) {
        const size_t len = strlen(f->name);
        if (strncmp(word, f->name, len) == 0 && (!word[len] || word[len] == '=')) return f;
    }
    return NULL;
}

static int take_flag(int argc, char **argv, int *i, const syntax *s, error *err)
{
    const char *word = argv[*i];
    const flag *f = flag_of(word, s->flags);
    if (!f) return unknown_flag(word, s, err);

    const char *joined = strchr(word, '='), *value = joined ? joined + 1 : NULL;
    if (f->present) {
        if (value) return error_set(err, ERR_ARGUMENT, "option '%s' takes no value", f->name);
        *f->present = true;
        return OK;
    }
    if (!value) value = next_value(argc, argv, i);
    return value ? take_value(f, value, err) : error_set(err, ERR_ARGUMENT, "option '%s' needs a value", f->name);
}

/* ---- words ---- */

static int take_word(arguments *a, const char *word, bool before, const syntax *s, error *err)
{
    if (before && s->keys && is_override(word)) {
        if (a->n_overrides == MAX_OVERRIDES)
            return error_set(err, ERR_ARGUMENT, "more than %d key=value words", MAX_OVERRIDES);
        a->overrides[a->n_overrides++] = word;
        return OK;
    }
    if (a->n_positional == s->max || a->n_positional == MAX_POSITIONAL)
        return error_set(err, ERR_ARGUMENT, "unexpected word '%.80s' (expected %s)", word,
                         s->words ? s->words : "options alone");
    a->positional[a->n_positional++] = word;
    a->n_before += before;
    return OK;
}

int arguments_parse(arguments *a, int argc, char **argv, const syntax *s, error *err)
{
    *a = (arguments){ 0 };
    bool only_words = false;
    int rc = OK;
    for (int i = 1; i < argc && rc == OK; i++) {
        const char *word = argv[i];
        if (!only_words && strcmp(word, "--") == 0)
            only_words = true;
        else if (!only_words && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0))
            a->help = true;
        else if (!only_words && word[0] == '-' && word[1]) /* "-" alone is a word: standard input, elsewhere */
            rc = take_flag(argc, argv, &i, s, err);
        else
            rc = take_word(a, word, !only_words, s, err);
    }

    /* who asks for help need not know the words yet */
    if (rc != OK || a->help || a->n_positional >= s->min) return rc;
    if (a->n_positional == 0) return error_set(err, ERR_ARGUMENT, "expected %s, found nothing", s->words);
    return error_set(err, ERR_ARGUMENT, "expected %s, found only %s", s->words, a->positional[0]);
}
