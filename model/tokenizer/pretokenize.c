/* SPDX-License-Identifier: MIT */
/* From text to the pieces that BPE merges within: the steps of tokenizer.json's pre_tokenizer, one after the other.
 *
 *     text -> step 0 cuts it into ranges -> each goes down through steps 1, 2, ... -> piece_fn, in order
 *
 * Patterns are PCRE2's, and come from a foreign file: matching has a limit, and running into it is an
 * error. */
#include <string.h>

#include "model/tokenizer/internal.h"

/* A pattern that backtracks this often on one match has met a text it can't be trusted with. */
enum { MATCH_LIMIT = 1000000, MAX_PATTERN = 8192 };

/* ^ and $ are Oniguruma's: of lines. */
#define SYNTAX (PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C)

/* Hugging Face reads patterns by Oniguruma. What PCRE2 would read as something else, at the start of `p`: in a class or
 * outside of one. NULL: both read the same. */
static const char *foreign_in_class(const char *p)
{
    if (strncmp(p, "&&", 2) == 0) return "an intersection of classes (&&)";
    if (strncmp(p, "[:", 2) == 0) return "a POSIX class";
    return *p == '[' ? "a class in a class" : NULL;
}

static const char *foreign_outside(const char *p)
{
    if (strncmp(p, "{,", 2) == 0) return "a repeat without its minimum ({,n})";
    if (strncmp(p, "(?", 2) != 0) return NULL;
    const size_t flags = strspn(p + 2, "imsx-");
    const bool sets = p[2 + flags] == ')' || p[2 + flags] == ':';
    return sets && memchr(p + 2, 'm', flags) ? "the flag (?m)" : NULL;
}

static const char *foreign_escape(char letter)
{
    if (letter == 'h' || letter == 'H') return "\\h, which is a hexadecimal digit there";
    return letter == 'v' ? "\\v, which is one character there" : NULL;
}

/* How a class begins at `p`, its bracket: a bracket that closes it can't be its first character. */
static size_t class_head(const char *p)
{
    const size_t n = p[1] == '^' ? 2 : 1;
    return p[n] == ']' ? n : n - 1;
}

/* Another model's ids would come of it without a word: whatever is read otherwise is refused by its name. */
static int check_syntax(const char *pattern, error *err)
{
    bool in_class = false;
    for (const char *p = pattern; *p; p++) {
        const bool escapes = *p == '\\' && p[1];
        const char *foreign = in_class ? foreign_in_class(p) : foreign_outside(p);
        if (escapes) foreign = foreign_escape(*++p);
        if (foreign)
            return error_set(err, ERR_UNSUPPORTED, "split pattern: %s at byte %zu is not supported", foreign,
                             (size_t)(p - pattern));

        const bool opens = !in_class && !escapes && *p == '[';
        if (in_class && !escapes && *p == ']') in_class = false;
        if (!opens) continue;
        in_class = true;
        p += class_head(p);
    }
    return OK;
}

int split_compile(split *s, const char *pattern, bool literal, error *err)
{
    int code;
    PCRE2_SIZE at;
    /* Pieces must end where characters do, so no \C: matching trusts that it gets whole ones. */
    const uint32_t options = PCRE2_UTF | (literal ? PCRE2_LITERAL : SYNTAX);
    if (strlen(pattern) > MAX_PATTERN)
        return error_set(err, ERR_LIMIT, "split pattern: %zu bytes (at most %d are allowed)", strlen(pattern),
                         MAX_PATTERN);
    if (!literal && check_syntax(pattern, err) != OK) return err->code;

    s->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &code, &at, NULL);
    if (!s->code) {
        PCRE2_UCHAR why[128];
        pcre2_get_error_message(code, why, sizeof why);
        return error_set(err, ERR_PARSE, "split pattern: %s at byte %zu", (const char *)why, (size_t)at);
    }

    pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE); /* where it can't, pcre2_match interprets */
    return OK;
}

void split_reset(split *s)
{
    pcre2_code_free(s->code);
    *s = (split){ 0 };
}

typedef struct range {
    size_t begin, end;
    bool match;
} range;
typedef vec(range) ranges;

/* One call of pretokenize: each step has its own match block and ranges, since cutting a piece goes down all steps
 * before the next piece's turn comes. */
typedef struct cutter {
    const tokenizer *t;
    piece_fn piece;
    void *ctx;
    pcre2_match_context *limits;
    pcre2_match_data *match[MAX_SPLITS];
    ranges ranges[MAX_SPLITS];
    str spaced[MAX_SPLITS];
    place where; /* nothing has been before this piece */
} cutter;

/* 1: o[0], o[1] are the match; 0: there is none; otherwise an error. */
static int search(cutter *c, int step, const char *data, size_t len, size_t from, size_t o[2], error *err)
{
    const pcre2_code *code = c->t->splits[step].code;
    pcre2_match_data *match = c->match[step];
    int found = pcre2_match(code, (PCRE2_SPTR)data, len, from, PCRE2_NO_UTF_CHECK, match, c->limits);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter has the heap */
        found = pcre2_match(code, (PCRE2_SPTR)data, len, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match, c->limits);

    if (found == PCRE2_ERROR_NOMATCH) return 0;
    if (found < 0) {
        PCRE2_UCHAR why[128];
        pcre2_get_error_message(found, why, sizeof why);
        error_set(err, ERR_LIMIT, "the split pattern gave up on a text of %zu bytes: %s", len, (const char *)why);
        return -1;
    }

    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(match);
    o[0] = at[0];
    o[1] = at[1];
    return 1;
}

/* All matches and the segments between them, in order. An empty match cuts too, but not right after another. */
static int find_ranges(cutter *c, int step, const char *data, size_t len, error *err)
{
    ranges *r = &c->ranges[step];
    const bool invert = c->t->splits[step].invert;
    size_t at = 0, from = 0, o[2] = { 0, 0 };
    int found = 0;
    r->len = 0;

    while (from <= len && (found = search(c, step, data, len, from, o, err)) > 0) {
        if (o[1] == o[0] && r->len > 0 && o[0] == at) {
            from += from < len ? utf8_length(data + from, data + len) : 1;
            continue;
        }

        if (o[0] > at) vec_push(r, (range){ at, o[0], invert });
        vec_push(r, (range){ o[0], o[1], !invert });
        at = from = o[1];
    }

    if (at < len) vec_push(r, (range){ at, len, invert });
    return found < 0 ? ERR_LIMIT : OK;
}

static void remove_matches(ranges *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->len; i++)
        if (!r->data[i].match) r->data[n++] = r->data[i];
    r->len = n;
}

static void join_equals(ranges *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->len; i++) {
        if (n > 0 && r->data[n - 1].match == r->data[i].match)
            r->data[n - 1].end = r->data[i].end;
        else
            r->data[n++] = r->data[i];
    }
    r->len = n;
}

/* Only the first of several matches in a row joins its neighbour. */
static void join_previous(ranges *r)
{
    size_t n = 0;
    bool after_match = false;

    for (size_t i = 0; i < r->len; i++) {
        const range here = r->data[i];
        if (here.match && !after_match && n > 0)
            r->data[n - 1].end = here.end;
        else
            r->data[n++] = here;
        after_match = here.match;
    }
    r->len = n;
}

/* From the end, so that of several matches in a row the last one joins its neighbour; the ranges are kept at the end of
 * the array until all are known. */
static void join_next(ranges *r)
{
    size_t first = r->len;
    bool before_match = false;

    for (size_t i = r->len; i-- > 0;) {
        const range here = r->data[i];
        if (here.match && !before_match && first < r->len)
            r->data[first].begin = here.begin;
        else
            r->data[--first] = here;
        before_match = here.match;
    }

    r->len -= first;
    memmove(r->data, r->data + first, sizeof *r->data * r->len);
}

static void join(ranges *r, split_behaviour behaviour)
{
    if (r->len == 0) return;

    switch (behaviour) {
    case SPLIT_ISOLATED:
        return;
    case SPLIT_REMOVED:
        remove_matches(r);
        return;
    case SPLIT_CONTIGUOUS:
        join_equals(r);
        return;
    case SPLIT_MERGE_PREVIOUS:
        join_previous(r);
        return;
    case SPLIT_MERGE_NEXT:
        join_next(r);
        return;
    }
}

/* Spaces become marks, and one is put in front. */
static void mark_spaces(cutter *c, int step, const char **data, size_t *len)
{
    const split *s = &c->t->splits[step];
    str *out = &c->spaced[step];
    const bool begins = (*data)[0] == ' ' || (*len >= strlen(MARK) && memcmp(*data, MARK, strlen(MARK)) == 0);
    const bool at_begin = c->where == AT_BEGIN;
    const bool wanted = s->prepend == PREPEND_ALWAYS || (s->prepend == PREPEND_FIRST && at_begin);
    str_clear(out);
    if (wanted && !begins && c->where != CONTINUES) str_puts(out, MARK);

    for (size_t i = 0; i < *len; i++) {
        if ((*data)[i] == ' ')
            str_puts(out, MARK);
        else
            str_putc(out, (*data)[i]);
    }
    *data = out->data;
    *len = out->len;
}

/* Cuts a piece by the splits from `step` on. */
static int cut(cutter *c, int step, const char *data, size_t len, error *err)
{
    if (step == c->t->n_splits) return c->piece(c->ctx, data, len, err);
    const split *s = &c->t->splits[step];

    /* What the step puts in front or in between goes to its own buffer. */
    if (s->prefix_space && c->where != CONTINUES && data[0] != ' ') {
        str_clear(&c->spaced[step]);
        str_putc(&c->spaced[step], ' ');
        str_add(&c->spaced[step], data, len);
        data = c->spaced[step].data;
        len++;
    }
    if (s->metaspace) mark_spaces(c, step, &data, &len);
    if (!s->code) return cut(c, step + 1, data, len, err);

    int rc = find_ranges(c, step, data, len, err);
    ranges *r = &c->ranges[step];
    if (rc == OK) join(r, s->behaviour);
    for (size_t i = 0; rc == OK && i < r->len; i++) {
        const range at = r->data[i];
        if (at.end > at.begin) rc = cut(c, step + 1, data + at.begin, at.end - at.begin, err);
    }
    return rc;
}

static int cut_characters(cutter *c, const char *text, size_t len, error *err)
{
    const char *end = text + len, *p = text;
    int rc = OK;

    while (rc == OK && p < end) {
        const size_t n = utf8_run(p, end);
        if (n > 0) rc = cut(c, 0, p, n, err);
        p += n;
        if (rc != OK || p == end) break;

        if (c->where == AT_BEGIN) c->where = BEHIND_TOKEN;
        rc = c->piece(c->ctx, p++, 1, err); /* half a character, or none: its bytes are kept all the same */
    }
    return rc;
}

int pretokenize(const tokenizer *t, const char *text, size_t len, place where, piece_fn piece, void *ctx, error *err)
{
    cutter c = { .t = t, .piece = piece, .ctx = ctx, .where = where, .limits = pcre2_match_context_create(NULL) };
    pcre2_set_match_limit(c.limits, MATCH_LIMIT);
    for (int i = 0; i < t->n_splits; i++) c.match[i] = pcre2_match_data_create(1, NULL);

    const int rc = cut_characters(&c, text, len, err);

    for (int i = 0; i < t->n_splits; i++) {
        pcre2_match_data_free(c.match[i]);
        vec_free(&c.ranges[i]);
        str_free(&c.spaced[i]);
    }
    pcre2_match_context_free(c.limits);
    return rc;
}
