/* SPDX-License-Identifier: MIT */
#include "model/tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "model/tokenizer/internal.h"

enum { MAX_TEXT = 1 << 30 };

int tokenizer_vocab(const tokenizer *t) { return t->vocab; }

int32_t tokenizer_id(const tokenizer *t, const char *token) { return (int32_t)(intptr_t)map_get(t->ids, token) - 1; }

bool tokenizer_is_special(const tokenizer *t, int32_t id) { return id >= 0 && id < t->vocab && t->special[id]; }

/* ---- text to ids ---- */

typedef struct encoding {
    bpe bpe;
    token_ids *out;
    bool specials;
} encoding;

static int encode_piece(void *ctx, const char *data, size_t len, error *err)
{
    encoding *e = ctx;
    (void)err;
    bpe_encode(&e->bpe, data, len, e->out);
    return OK;
}

/* `text` as the vocabulary wants it. */
static int encode_plain(encoding *e, const char *text, size_t len, place where, error *err)
{
    return len > 0 ? pretokenize(e->bpe.t, text, len, where, encode_piece, e, err) : OK;
}

typedef int (*segment_fn)(encoding *e, const char *text, size_t len, place where, error *err);

/* Added tokens become their ids, and each segment between them goes to `segment`. */
static int encode_around(encoding *e, bool normalized, segment_fn segment, const char *text, size_t len, place where,
                         error *err)
{
    added_match m;
    size_t from = 0;
    int rc = OK;

    while (rc == OK && added_find(e->bpe.t, normalized, text, from, len, &m)) {
        rc = segment(e, text + from, m.begin - from, from == 0 ? where : BEHIND_TOKEN, err);
        if (rc == OK) vec_push(e->out, m.token->id);
        from = m.end;
    }
    if (rc != OK) return rc;
    return segment(e, text + from, len - from, from == 0 ? where : BEHIND_TOKEN, err);
}

/* A segment is normalized, and only then looked through for the added tokens that are, too. */
static int encode_normalized(encoding *e, const char *text, size_t len, place where, error *err)
{
    str changed = { 0 };
    if (len == 0) return OK;

    int rc = OK;
    if (normalize_is_needed(e->bpe.t, text, len)) {
        rc = normalize(e->bpe.t, text, len, where, &changed, err);
        text = str_text(&changed);
        len = changed.len;
    }

    if (rc == OK && e->specials)
        rc = encode_around(e, true, encode_plain, text, len, where, err);
    else if (rc == OK)
        rc = encode_plain(e, text, len, where, err);
    str_free(&changed);
    return rc;
}

static int encode_from(const tokenizer *t, const char *text, size_t len, bool specials, place where, token_ids *out,
                       error *err)
{
    encoding e = { .bpe.t = t, .out = out, .specials = specials };
    const size_t before = out->len;
    if (len > MAX_TEXT) return error_set(err, ERR_LIMIT, "a text of %zu bytes (at most %d are allowed)", len, MAX_TEXT);

    int rc;
    if (specials)
        rc = encode_around(&e, false, encode_normalized, text, len, where, err);
    else
        rc = encode_normalized(&e, text, len, where, err);
    if (rc != OK) out->len = before;
    bpe_reset(&e.bpe);
    return rc;
}

int tokenizer_encode(const tokenizer *t, const char *text, size_t len, bool specials, token_ids *out, error *err)
{
    return encode_from(t, text, len, specials, AT_BEGIN, out, err);
}

int tokenizer_encode_on(const tokenizer *t, const char *text, size_t len, bool specials, token_ids *out, error *err)
{
    return encode_from(t, text, len, specials, CONTINUES, out, err);
}

/* ---- ids to text ---- */

void tokenizer_decode_one(const tokenizer *t, int32_t id, bool specials, str *out)
{
    if (id < 0 || id >= t->vocab || !t->texts[id]) return;
    if (t->special[id] && !specials) return;
    str_add(out, t->texts[id], t->lengths[id]);
}

void tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t n, bool specials, str *out)
{
    const size_t begin = out->len;
    for (size_t i = 0; i < n; i++) tokenizer_decode_one(t, ids[i], specials, out);
    if (!t->strips_space || out->len == begin || out->data[begin] != ' ') return;
    memmove(out->data + begin, out->data + begin + 1, out->len - begin); /* the closing zero too */
    out->len--;
}

void tokenizer_free(tokenizer *t)
{
    if (!t) return;

    for (int i = 0; t->texts && i < t->vocab; i++) free(t->texts[i]);
    for (int i = 0; i < t->n_splits; i++) split_reset(&t->splits[i]);
    for (int i = 0; i < t->n_normalizers; i++) {
        free(t->normalizers[i].from);
        free(t->normalizers[i].to);
    }

    map_free(t->ids);
    idmap_free(t->merges);
    free(t->texts);
    free(t->lengths);
    free(t->special);
    for (size_t i = 0; i < t->n_added; i++) free(t->added[i].text);
    free(t->added);
    free(t);
}
