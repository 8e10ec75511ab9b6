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
} encoding;

static int encode_piece(void *ctx, const char *data, size_t len, error *err)
{
    encoding *e = ctx;
    return bpe_encode(&e->bpe, data, len, e->out, err);
}

static int encode_plain(encoding *e, const char *text, size_t len, error *err)
{
    return len > 0 ? pretokenize(e->bpe.t, text, len, encode_piece, e, err) : OK;
}

/* Added tokens, and what lies between them: those that are not normalized first, the others in what these leave. */
static int encode_around(encoding *e, bool normalized, const char *text, size_t len, error *err)
{
    added_match m;
    size_t from = 0;
    int rc = OK;
    while (rc == OK && added_find(e->bpe.t, normalized, text, from, len, &m)) {
        rc = normalized ? encode_plain(e, text + from, m.begin - from, err)
                        : encode_around(e, true, text + from, m.begin - from, err);
        if (rc == OK) vec_push(e->out, m.token->id);
        from = m.end;
    }
    if (rc != OK) return rc;
    return normalized ? encode_plain(e, text + from, len - from, err)
                      : encode_around(e, true, text + from, len - from, err);
}

static int check_text(const tokenizer *t, const char *text, size_t len, error *err)
{
    size_t at;
    if (len > MAX_TEXT) return error_set(err, ERR_LIMIT, "a text of %zu bytes, %d are allowed", len, MAX_TEXT);
    if (!t->nfc || nfc_for_certain(text, len, &at)) return OK;
    const int shown = (int)utf8_length(text + at, text + len);
    return error_set(err, ERR_UNSUPPORTED,
                     "the tokenizer wants Unicode's normal form C, and '%.*s' at byte %zu may have to change for it: "
                     "text is not normalized here",
                     shown, text + at, at);
}

int tokenizer_encode(const tokenizer *t, const char *text, size_t len, bool specials, token_ids *out, error *err)
{
    encoding e = { .bpe.t = t, .out = out };
    const size_t before = out->len;
    int rc = check_text(t, text, len, err);
    if (rc == OK) rc = specials ? encode_around(&e, false, text, len, err) : encode_plain(&e, text, len, err);
    if (rc != OK) out->len = before;
    bpe_reset(&e.bpe);
    return rc;
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
    for (size_t i = 0; i < n; i++) tokenizer_decode_one(t, ids[i], specials, out);
}

void tokenizer_free(tokenizer *t)
{
    if (!t) return;
    for (int i = 0; t->texts && i < t->vocab; i++) free(t->texts[i]);
    for (int i = 0; i < t->n_splits; i++) split_reset(&t->splits[i]);
    map_free(t->ids);
    idmap_free(t->merges);
    free(t->texts);
    free(t->lengths);
    free(t->special);
    free(t->added);
    free(t);
}
