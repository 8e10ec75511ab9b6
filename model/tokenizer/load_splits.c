/* SPDX-License-Identifier: MIT */
/* The pre_tokenizer of a tokenizer.json -> splits. */
#include <string.h>

#include "model/tokenizer/internal.h"

enum { MAX_DEPTH = 4 };

static const char GPT2_PATTERN[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* State of the reading: after ByteLevel the text is bytes written in its alphabet, which our splits don't see. */
typedef struct reading {
    tokenizer *t;
    bool byte_level;
    const char *where;
} reading;

static int add_split(reading *r, split with, const char *pattern, bool literal, error *err)
{
    tokenizer *t = r->t;
    if (t->n_splits == MAX_SPLITS)
        return error_set(err, ERR_UNSUPPORTED, "%s: more than %d pre-tokenizers", r->where, MAX_SPLITS);
    if (pattern && split_compile(&with, pattern, literal, err) != OK) return error_within(err, "%s", r->where);
    t->splits[t->n_splits++] = with;
    return OK;
}

static int read_behaviour(const char *name, split_behaviour *out)
{
    static const char *const NAMES[] = { "Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext" };
    for (int i = 0; i < 5; i++)
        if (strcmp(NAMES[i], name) == 0) {
            *out = (split_behaviour)i;
            return OK;
        }
    return ERR_UNSUPPORTED;
}

static int read_split(reading *r, const json_t *p, error *err)
{
    split s = { 0 };
    const char *behaviour, *regex, *literal;
    const json_t *pattern = json_object_get(p, "pattern");
    if (!json_is_object(pattern)) return error_set(err, ERR_PARSE, "%s: a Split has no pattern", r->where);

    if (json_need_string(p, "behavior", r->where, &behaviour, err) != OK ||
        json_opt_bool(p, "invert", r->where, false, &s.invert, err) != OK ||
        json_opt_string(pattern, "Regex", r->where, NULL, &regex, err) != OK ||
        json_opt_string(pattern, "String", r->where, NULL, &literal, err) != OK)
        return ERR_PARSE;

    if (read_behaviour(behaviour, &s.behaviour) != OK)
        return error_set(err, ERR_UNSUPPORTED,
                         "%s: a Split's behavior is '%.40s'; supported: Isolated, Removed, "
                         "Contiguous, MergedWithPrevious, MergedWithNext",
                         r->where, behaviour);

    if (!regex && !literal)
        return error_set(err, ERR_PARSE, "%s: a Split's pattern is neither Regex nor String", r->where);
    if (!regex && !*literal && !s.invert) return OK; /* nothing is found, nothing cut */
    return add_split(r, s, regex ? regex : literal, !regex, err);
}

static int read_digits(reading *r, const json_t *p, error *err)
{
    bool individual;
    if (json_opt_bool(p, "individual_digits", r->where, false, &individual, err) != OK) return ERR_PARSE;
    return add_split(r, (split){ .behaviour = SPLIT_ISOLATED }, individual ? "\\p{N}" : "\\p{N}+", false, err);
}

static int read_byte_level(reading *r, const json_t *p, error *err)
{
    split s = { .behaviour = SPLIT_ISOLATED };
    bool use_regex;
    if (json_opt_bool(p, "use_regex", r->where, true, &use_regex, err) != OK ||
        json_opt_bool(p, "add_prefix_space", r->where, true, &s.prefix_space, err) != OK)
        return ERR_PARSE;

    r->byte_level = true;
    if (!use_regex && !s.prefix_space) return OK;
    return add_split(r, s, use_regex ? GPT2_PATTERN : NULL, false, err);
}

/* {"prepend_scheme": "always" | "first" | "never", "split": true}; older files say add_prefix_space. */
static int read_metaspace(reading *r, const json_t *p, error *err)
{
    split s = { .behaviour = SPLIT_MERGE_NEXT, .metaspace = true };
    const char *scheme, *mark;
    bool prefix, cuts;
    if (json_opt_string(p, "replacement", r->where, MARK, &mark, err) != OK ||
        json_opt_bool(p, "add_prefix_space", r->where, true, &prefix, err) != OK ||
        json_opt_string(p, "prepend_scheme", r->where, prefix ? "always" : "never", &scheme, err) != OK ||
        json_opt_bool(p, "split", r->where, true, &cuts, err) != OK)
        return ERR_PARSE;

    if (strcmp(mark, MARK) != 0)
        return error_set(err, ERR_UNSUPPORTED, "%s: a Metaspace's replacement is '%.20s'; supported: U+2581", r->where,
                         mark);

    if (strcmp(scheme, "always") == 0)
        s.prepend = PREPEND_ALWAYS;
    else if (strcmp(scheme, "first") == 0)
        s.prepend = PREPEND_FIRST;
    else if (strcmp(scheme, "never") == 0)
        s.prepend = PREPEND_NEVER;
    else
        return error_set(err, ERR_UNSUPPORTED,
                         "%s: a Metaspace's prepend_scheme is '%.20s'; supported: always, first, never", r->where,
                         scheme);
    return add_split(r, s, cuts ? MARK : NULL, true, err);
}

static int read_step(reading *r, const json_t *p, int depth, error *err)
{
    const char *type;
    if (!json_is_object(p)) return error_set(err, ERR_PARSE, "%s: pre_tokenizer: expected an object", r->where);
    if (json_need_string(p, "type", r->where, &type, err) != OK) return error_within(err, "pre_tokenizer");

    if (strcmp(type, "Sequence") == 0 && depth < MAX_DEPTH) {
        const json_t *list = json_object_get(p, "pretokenizers");
        for (size_t i = 0; i < json_array_size(list); i++) {
            const int rc = read_step(r, json_array_get(list, i), depth + 1, err);
            if (rc != OK) return rc;
        }
        return OK;
    }

    if (r->byte_level)
        return error_set(err, ERR_UNSUPPORTED, "%s: pre-tokenizer '%.40s' after ByteLevel; supported: ByteLevel last",
                         r->where, type);

    if (strcmp(type, "Split") == 0) return read_split(r, p, err);
    if (strcmp(type, "Digits") == 0) return read_digits(r, p, err);
    if (strcmp(type, "ByteLevel") == 0) return read_byte_level(r, p, err);
    if (strcmp(type, "Metaspace") == 0) return read_metaspace(r, p, err);
    return error_set(err, ERR_UNSUPPORTED,
                     "%s: pre-tokenizer '%.40s'; supported: ByteLevel, Metaspace, Split, Digits, Sequence", r->where,
                     type);
}

int read_pretokenizer(tokenizer *t, const json_t *pretokenizer, const char *where, error *err)
{
    reading r = { .t = t, .where = where };
    if (pretokenizer && !json_is_null(pretokenizer)) {
        const int rc = read_step(&r, pretokenizer, 0, err);
        if (rc != OK) return rc;
    }
    if (r.byte_level == t->byte_level) return OK;
    return error_set(err, ERR_UNSUPPORTED, "%s: pre_tokenizer and decoder: ByteLevel in both, or in neither", where);
}
