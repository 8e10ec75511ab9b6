#include "model/tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "model/tokenizer/internal.h"

int tokenizer_vocab(const tokenizer *t) { return t->vocab; }

int32_t tokenizer_id(const tokenizer *t, const char *token) { return (int32_t)(intptr_t)map_get(t->ids, token) - 1; }

bool tokenizer_is_special(const tokenizer *t, int32_t id) { return id >= 0 && id < t->vocab && t->special[id]; }

typedef struct encoding {
    const tokenizer *t;
    token_ids *out;
} encoding;

static int encode_piece(void *ctx, const char *data, size_t len, error *err)
{
    encoding *e = ctx;
    return bpe_encode(e->t, data, len, e->out, err);
}

static int encode_plain(const tokenizer *t, const char *text, size_t len, token_ids *out, error *err)
{
    encoding e = { t, out };
    if (len == 0) return OK;
    if (!t->prefix_space || text[0] == ' ') return pretokenize(t, text, len, encode_piece, &e, err);
    str spaced = { 0 };
    str_putc(&spaced, ' ');
    str_add(&spaced, text, len);
    const int rc = pretokenize(t, spaced.data, spaced.len, encode_piece, &e, err);
    str_free(&spaced);
    return rc;
}

/* The added token that begins at p: the longest one. */
static const added_token *added_at(const tokenizer *t, const char *p, size_t left)
{
    const added_token *best = NULL;
    for (size_t i = 0; i < t->n_added; i++) {
        const added_token *a = &t->added[i];
        if (a->len <= left && (!best || a->len > best->len) && memcmp(a->text, p, a->len) == 0) best = a;
    }
    return best;
}

int tokenizer_encode(const tokenizer *t, const char *text, size_t len, bool specials, token_ids *out, error *err)
{
    size_t begin = 0;
    for (size_t i = 0; specials && i < len;) {
        const added_token *a = added_at(t, text + i, len - i);
        if (!a) {
            i++;
            continue;
        }
        if (encode_plain(t, text + begin, i - begin, out, err) != OK) return err ? err->code : ERR_PARSE;
        vec_push(out, a->id);
        begin = i += a->len;
    }
    return encode_plain(t, text + begin, len - begin, out, err);
}

void tokenizer_decode_one(const tokenizer *t, int32_t id, bool specials, str *out)
{
    if (id < 0 || id >= t->vocab || !t->texts[id]) return;
    if (t->special[id] && !specials) return;
    str_add(out, t->texts[id], t->lengths[id]);
}

void tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t n, bool specials, str *out)
{
    for (size_t i = 0; i < n; i++) tokenizer_decode_one(t, ids[i], specials, out);
}

void tokenizer_free(tokenizer *t)
{
    if (!t) return;
    for (int i = 0; i < t->vocab; i++) free(t->texts[i]);
    for (size_t i = 0; i < t->n_added; i++) free(t->added[i].text);
    for (int i = 0; i < t->n_splits; i++) pcre2_code_free(t->splits[i].code);
    map_free(t->ids);
    idmap_free(t->merges);
    free(t->texts);
    free(t->lengths);
    free(t->special);
    free(t->added);
    free(t);
}
