#include <string.h>

#include "base/vec.h"
#include "model/tokenizer/internal.h"

enum { MATCH_LIMIT = 1000000 };

/* The byte alphabet of GPT-2: printable Latin-1 characters stand for themselves, the rest for code points from 256 on. */
static bool stands_for_itself(int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; }

static int code_point_of(int byte)
{
    int next = 256;
    if (stands_for_itself(byte)) return byte;
    for (int b = 0; b < byte; b++) next += !stands_for_itself(b);
    return next;
}

void byte_to_alphabet(unsigned char byte, str *out)
{
    const int c = code_point_of(byte);
    if (c < 128) {
        str_putc(out, (char)c);
        return;
    }
    str_putc(out, (char)(0xc0 | c >> 6));
    str_putc(out, (char)(0x80 | (c & 63)));
}

int alphabet_to_byte(const char **text, const char *end)
{
    const unsigned char *p = (const unsigned char *)*text;
    int c = p[0], length = 1;
    if (c >= 0xc0) {
        if (end - *text < 2) return -1;
        c = (c & 31) << 6 | (p[1] & 63);
        length = 2;
    }
    *text += length;
    if (c < 256 && stands_for_itself(c)) return c;
    for (int b = 0; b < 256; b++)
        if (!stands_for_itself(b) && code_point_of(b) == c) return b;
    return -1;
}

int split_compile(split *s, const char *pattern, bool literal, error *err)
{
    int code;
    PCRE2_SIZE at;
    s->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP | (literal ? PCRE2_LITERAL : 0), &code, &at, NULL);
    if (!s->code) {
        PCRE2_UCHAR why[128];
        pcre2_get_error_message(code, why, sizeof why);
        return error_set(err, ERR_PARSE, "split pattern: %s at character %zu", (const char *)why, (size_t)at);
    }
    pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE); /* where it can't, pcre2_match interprets */
    return OK;
}

/* The state of one pretokenize call: a match block per step. */
typedef struct cutter {
    const tokenizer *t;
    piece_fn piece;
    void *ctx;
    pcre2_match_data *match[MAX_SPLITS];
    pcre2_match_context *limits;
} cutter;

static int cut(cutter *c, int step, const char *data, size_t len, error *err);

static int pass_on(cutter *c, int step, const char *data, size_t len, error *err)
{
    return len == 0 ? OK : cut(c, step + 1, data, len, err);
}

static int cut(cutter *c, int step, const char *data, size_t len, error *err)
{
    if (step == c->t->n_splits) return c->piece(c->ctx, data, len, err);
    const split *s = &c->t->splits[step];
    size_t at = 0, from = 0; /* the next piece begins at `at`; the search goes on from `from` */
    int rc = OK;
    while (rc == OK && from < len) {
        const int found = pcre2_match(s->code, (PCRE2_SPTR)data, len, from, PCRE2_NO_UTF_CHECK, c->match[step], c->limits);
        if (found == PCRE2_ERROR_NOMATCH) break;
        if (found < 0) return error_set(err, ERR_LIMIT, "the split pattern gave up on a text of %zu bytes", len);
        const PCRE2_SIZE *o = pcre2_get_ovector_pointer(c->match[step]);
        if (o[1] == o[0]) { /* an empty match cuts nothing: step over one character */
            from++;
            while (from < len && ((unsigned char)data[from] & 0xc0) == 0x80) from++;
            continue;
        }
        rc = pass_on(c, step, data + at, o[0] - at, err);
        if (rc == OK && !s->removed) rc = pass_on(c, step, data + o[0], o[1] - o[0], err);
        at = from = o[1];
    }
    return rc == OK ? pass_on(c, step, data + at, len - at, err) : rc;
}

/* Length of the well-formed UTF-8 sequence at p, or 0. */
static size_t character_at(const char *p, const char *end)
{
    const unsigned char *s = (const unsigned char *)p;
    const size_t left = (size_t)(end - p);
    const size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
    if (n == 0 || n > left) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0; /* overlong; surrogate */
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
    return n;
}

int pretokenize(const tokenizer *t, const char *text, size_t len, piece_fn piece, void *ctx, error *err)
{
    cutter c = { .t = t, .piece = piece, .ctx = ctx, .limits = pcre2_match_context_create(NULL) };
    const char *end = text + len, *begin = text, *p = text;
    int rc = OK;
    pcre2_set_match_limit(c.limits, MATCH_LIMIT);
    for (int i = 0; i < t->n_splits; i++) c.match[i] = pcre2_match_data_create(1, NULL);
    while (rc == OK && p < end) {
        const size_t n = character_at(p, end);
        if (n > 0) {
            p += n;
            continue;
        }
        rc = p > begin ? cut(&c, 0, begin, (size_t)(p - begin), err) : OK;
        if (rc == OK) rc = piece(ctx, p, 1, err); /* half a character, or none: its bytes are kept all the same */
        begin = ++p;
    }
    if (rc == OK && p > begin) rc = cut(&c, 0, begin, (size_t)(p - begin), err);
    for (int i = 0; i < t->n_splits; i++) pcre2_match_data_free(c.match[i]);
    pcre2_match_context_free(c.limits);
    return rc;
}

size_t tokenizer_whole_characters(const char *data, size_t len)
{
    size_t back = 0; /* bytes since the last lead byte */
    while (back < 4 && back < len && ((unsigned char)data[len - 1 - back] & 0xc0) == 0x80) back++;
    if (back == len || back == 4) return len; /* no lead byte in sight: waiting would not help */
    const unsigned char lead = (unsigned char)data[len - 1 - back];
    const size_t need = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    return need > back + 1 ? len - 1 - back : len;
}
