/* SPDX-License-Identifier: MIT */
/* tokenizer.json -> tokenizer. What it asks for and we don't do is refused by name: a tokenizer that is nearly right
 * trains a model on other tokens than it was made for. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model/tokenizer/internal.h"

enum { MAX_FILE = 1 << 28, MAX_VOCAB = 1 << 22 };

static int refuse(error *err, const char *where, const char *key, const char *found, const char *supported)
{
    return error_set(err, ERR_UNSUPPORTED, "%s: %s is %.60s; supported: %s", where, key, found, supported);
}

/* ---- vocabulary ---- */

static int set_token(tokenizer *t, int32_t id, const char *written, const char *bytes, size_t len, const char *where,
                     error *err)
{
    if (t->texts[id])
        return error_set(err, ERR_PARSE, "%s: token '%.40s': id %d already belongs to another token", where, written,
                         id);
    t->texts[id] = xstrndup(bytes, len);
    t->lengths[id] = len;
    map_set(t->ids, written, (void *)(intptr_t)(id + 1));
    return OK;
}

/* The byte that a token is written for, as <0x0A> is; -1: it is none. Two digits and nothing else: numbers may have
 * signs and blanks, which a vocabulary may have tokens with, too. */
static int byte_written(const char *token)
{
    const bool framed = strlen(token) == 6 && strncmp(token, "<0x", 3) == 0 && token[5] == '>';
    if (!framed || !isxdigit((unsigned char)token[3]) || !isxdigit((unsigned char)token[4])) return -1;
    return (int)strtol(token + 3, NULL, 16);
}

/* What the decoder of a vocabulary of characters makes of a token's marks. */
static void spaced(const char *token, str *out)
{
    for (const char *mark; (mark = strstr(token, MARK)) != NULL; token = mark + strlen(MARK)) {
        str_add(out, token, (size_t)(mark - token));
        str_putc(out, ' ');
    }
    str_puts(out, token);
}

/* A token of a vocabulary of characters: the mark is a space, <0x0A> a byte, everything else itself. */
static void character_bytes(tokenizer *t, const char *token, int32_t id, str *out)
{
    const int byte = byte_written(token);
    if (byte >= 0) {
        str_putc(out, (char)byte);
        t->bytes[byte] = id;
        return;
    }

    spaced(token, out);
}

/* A token with a character that stands for no byte can't come out of a merge; it is kept as it is written. */
static int read_token(tokenizer *t, const char *token, int32_t id, const char *where, error *err)
{
    str bytes = { 0 };
    const bool byte_level = t->byte_level && alphabet_to_bytes(token, &bytes);
    if (!t->byte_level) character_bytes(t, token, id, &bytes);

    int rc = OK;
    const int32_t added = tokenizer_id(t, token); /* -1: it is no added token */
    if (added >= 0 && added != id)
        rc = error_set(err, ERR_PARSE, "%s: token '%.40s' has ids %d and %d", where, token, id, added);
    else if (added < 0 && (byte_level || !t->byte_level))
        rc = set_token(t, id, token, str_text(&bytes), bytes.len, where, err);
    else if (added < 0)
        rc = set_token(t, id, token, token, strlen(token), where, err);

    if (rc == OK && byte_level && bytes.len == 1) t->bytes[(unsigned char)bytes.data[0]] = id;
    str_free(&bytes);
    return rc;
}

static int read_id(const json_t *id, const char *token, const char *where, int32_t *out, error *err)
{
    const json_int_t v = json_is_integer(id) ? json_integer_value(id) : -1;
    if (v < 0 || v >= MAX_VOCAB)
        return error_set(err, ERR_PARSE, "%s: token '%.40s': expected an id from 0 to %d", where, token, MAX_VOCAB - 1);
    *out = (int32_t)v;
    return OK;
}

/* An added token is written as it is, not in the byte alphabet: where it stands in model.vocab too, its text stays. */
static int read_vocab(tokenizer *t, const json_t *vocab, const char *where, error *err)
{
    const char *token;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)vocab, token, value)
    {
        int32_t id = -1;
        if (read_id(value, token, where, &id, err) != OK || read_token(t, token, id, where, err) != OK)
            return ERR_PARSE;
    }
    return OK;
}

/* What is looked for, and decoded to: of a `normalized` token, what the normalizer makes of it. */
static int searched_text(const tokenizer *t, const char *text, bool normalized, str *out, error *err)
{
    if (normalized && normalize(t, text, strlen(text), AT_BEGIN, out, err) != OK) return err->code;
    if (out->len == 0) str_puts(out, text);
    return OK;
}

static int read_added_token(tokenizer *t, const json_t *a, const char *where, error *err)
{
    added_token token = { 0 };
    const char *text;
    bool special, single_word;
    if (!json_is_object(a)) return error_set(err, ERR_PARSE, "%s: added_tokens: expected objects", where);

    if (json_need_string(a, "content", where, &text, err) != OK ||
        read_id(json_object_get(a, "id"), text, where, &token.id, err) != OK ||
        json_opt_bool(a, "special", where, false, &special, err) != OK ||
        json_opt_bool(a, "single_word", where, false, &single_word, err) != OK ||
        json_opt_bool(a, "normalized", where, !special, &token.normalized, err) != OK ||
        json_opt_bool(a, "lstrip", where, false, &token.lstrip, err) != OK ||
        json_opt_bool(a, "rstrip", where, false, &token.rstrip, err) != OK)
        return error_within(err, "added_tokens");
    token.single_word = single_word;
    if (!*text) return error_set(err, ERR_PARSE, "%s: an added token has no content", where);

    /* Decoding writes that, but for marks, which are spaces in a vocabulary of characters. */
    str searched = { 0 }, shown = { 0 };
    int rc = searched_text(t, text, token.normalized, &searched, err);
    if (rc == OK && t->byte_level)
        str_add(&shown, searched.data, searched.len);
    else if (rc == OK)
        spaced(searched.data, &shown);
    if (rc == OK) rc = set_token(t, token.id, text, shown.data, shown.len, where, err);
    str_free(&shown);
    if (rc != OK) {
        str_free(&searched);
        return ERR_PARSE;
    }

    token.len = searched.len;
    token.text = str_take(&searched);
    t->special[token.id] = special;
    t->added_begins[(unsigned char)*token.text] = true;
    t->added[t->n_added++] = token;
    return OK;
}

static int read_added(tokenizer *t, const json_t *added, const char *where, error *err)
{
    t->added = xcalloc(json_array_size(added) + 1, sizeof *t->added);
    for (size_t i = 0; i < json_array_size(added); i++) {
        const int rc = read_added_token(t, json_array_get(added, i), where, err);
        if (rc != OK) return rc;
    }
    return OK;
}

/* One more than the largest id, which is not always the number of tokens. */
static int32_t count_ids(const json_t *vocab, const json_t *added)
{
    json_int_t largest = -1;
    const char *token;
    json_t *id;

    json_object_foreach((json_t *)(uintptr_t)vocab, token, id)
    {
        if (json_integer_value(id) > largest) largest = json_integer_value(id);
    }

    for (size_t i = 0; i < json_array_size(added); i++) {
        id = json_object_get(json_array_get(added, i), "id");
        if (json_integer_value(id) > largest) largest = json_integer_value(id);
    }
    return (int32_t)(largest < MAX_VOCAB ? largest + 1 : MAX_VOCAB); /* read_id refuses what is larger */
}

static int read_tokens(tokenizer *t, const json_t *vocab, const json_t *added, const char *where, error *err)
{
    if (!json_is_object(vocab)) return error_set(err, ERR_PARSE, "%s: model.vocab: expected an object", where);
    t->vocab = count_ids(vocab, added);
    t->texts = xcalloc((size_t)t->vocab + 1, sizeof *t->texts);
    t->lengths = xcalloc((size_t)t->vocab + 1, sizeof *t->lengths);
    t->special = xcalloc((size_t)t->vocab + 1, sizeof *t->special);

    for (int b = 0; b < 256; b++) t->bytes[b] = -1;

    const int rc = read_added(t, added, where, err);
    return rc == OK ? read_vocab(t, vocab, where, err) : rc;
}

/* ---- merges: "a b" or ["a", "b"] ---- */

static int add_merge(tokenizer *t, const char *left, const char *right, uint64_t rank)
{
    str both = { 0 };
    str_puts(&both, left);
    str_puts(&both, right);
    const int32_t a = tokenizer_id(t, left), b = tokenizer_id(t, right), c = tokenizer_id(t, both.data);
    str_free(&both);
    if (a < 0 || b < 0 || c < 0) return ERR_NOT_FOUND;

    /* A pair of ids -> rank and merged id, plus 1: 0 is what a map says for a pair that never merges. */
    const uint64_t key = (uint64_t)(uint32_t)a << 32 | (uint32_t)b, value = (rank << 32 | (uint32_t)c) + 1;
    idmap_set(t->merges, key, (void *)(uintptr_t)value);
    return OK;
}

static int read_merge(tokenizer *t, const json_t *m, size_t rank, const char *where, error *err)
{
    const char *left = json_string_value(json_array_get(m, 0)), *right = json_string_value(json_array_get(m, 1));
    char *pair = xstrdup(json_is_string(m) ? json_string_value(m) : "");
    char *space = strchr(pair, ' ');
    if (space) {
        *space = 0;
        left = pair;
        right = space + 1;
    }

    int rc = OK;
    if (!left || !right)
        rc = error_set(err, ERR_PARSE, "%s: merge %zu is neither \"a b\" nor [\"a\", \"b\"]", where, rank);
    else if (add_merge(t, left, right, rank) != OK)
        rc = error_set(err, ERR_PARSE, "%s: merge %zu: '%.40s', '%.40s' or both together are not in the vocabulary",
                       where, rank, left, right);
    free(pair);
    return rc;
}

static int read_merges(tokenizer *t, const json_t *merges, const char *where, error *err)
{
    if (!json_is_array(merges)) return error_set(err, ERR_PARSE, "%s: model.merges: expected a list", where);
    for (size_t i = 0; i < json_array_size(merges); i++)
        if (read_merge(t, json_array_get(merges, i), i, where, err) != OK) return ERR_PARSE;
    return OK;
}

/* ---- the whole file ---- */

static int refuse_variants(const json_t *model, const char *where, error *err)
{
    const char *type, *prefix, *suffix;
    double dropout;
    if (!json_is_object(model)) return error_set(err, ERR_PARSE, "%s: model: expected an object", where);
    if (json_opt_string(model, "type", where, "BPE", &type, err) != OK ||
        json_opt_string(model, "continuing_subword_prefix", where, "", &prefix, err) != OK ||
        json_opt_string(model, "end_of_word_suffix", where, "", &suffix, err) != OK ||
        json_opt_number(model, "dropout", where, 0, &dropout, err) != OK)
        return error_within(err, "model");

    if (strcmp(type, "BPE") != 0) return refuse(err, where, "model.type", type, "BPE");
    if (*prefix) return refuse(err, where, "model.continuing_subword_prefix", prefix, "null");
    if (*suffix) return refuse(err, where, "model.end_of_word_suffix", suffix, "null");
    if (dropout > 0) return refuse(err, where, "model.dropout", "set", "null");
    return OK;
}

/* A vocabulary of characters may fall back to bytes; the byte alphabet needs no such thing. */
static int read_fallback(tokenizer *t, const json_t *model, const char *where, error *err)
{
    if (json_opt_bool(model, "byte_fallback", where, false, &t->byte_fallback, err) != OK ||
        json_opt_bool(model, "fuse_unk", where, false, &t->fuse_unk, err) != OK)
        return error_within(err, "model");
    if (t->byte_level && t->byte_fallback)
        return refuse(err, where, "model.byte_fallback", "true with a ByteLevel decoder", "false");
    return OK;
}

/* The unknown token is known by then; byte fallback must have all 256 tokens to fall back to. */
static int find_unknown(tokenizer *t, const json_t *model, const char *where, error *err)
{
    const char *unk;
    if (json_opt_string(model, "unk_token", where, NULL, &unk, err) != OK) return error_within(err, "model");
    t->unk = unk ? tokenizer_id(t, unk) : -1;
    if (t->byte_level) return OK;
    if (unk && t->unk < 0)
        return error_set(err, ERR_PARSE, "%s: unk_token '%.40s' is not in the vocabulary", where, unk);
    for (int b = 0; t->byte_fallback && b < 256; b++)
        if (t->bytes[b] < 0) return error_set(err, ERR_PARSE, "%s: byte_fallback, but no token <0x%02X>", where, b);
    return OK;
}

static int read_all(tokenizer *t, const json_t *j, const char *where, error *err)
{
    if (!json_is_object(j)) return error_set(err, ERR_PARSE, "%s: expected an object", where);
    const json_t *model = json_object_get(j, "model");

    /* In this order: how the vocabulary is written is known from the decoder, ids before merges. */
    int rc = refuse_variants(model, where, err);
    if (rc == OK) rc = read_normalizer(t, json_object_get(j, "normalizer"), where, err);
    if (rc == OK) rc = read_decoder(t, json_object_get(j, "decoder"), where, err);
    if (rc == OK) rc = read_fallback(t, model, where, err);
    if (rc == OK) rc = read_pretokenizer(t, json_object_get(j, "pre_tokenizer"), where, err);
    if (rc == OK) rc = json_opt_bool(model, "ignore_merges", where, false, &t->ignore_merges, err);
    if (rc == OK) rc = read_tokens(t, json_object_get(model, "vocab"), json_object_get(j, "added_tokens"), where, err);
    if (rc == OK) rc = read_merges(t, json_object_get(model, "merges"), where, err);
    if (rc == OK) rc = find_unknown(t, model, where, err);
    return rc;
}

static tokenizer *tokenizer_of(const json_t *j, const char *where, error *err)
{
    tokenizer *t = xcalloc(1, sizeof *t);
    t->ids = map_new();
    t->merges = idmap_new();
    if (read_all(t, j, where, err) == OK) return t;
    tokenizer_free(t);
    return NULL;
}

tokenizer *tokenizer_parse(const char *json, size_t len, const char *where, error *err)
{
    json_t *j = json_parse(json, len, where, err);
    tokenizer *t = j ? tokenizer_of(j, where, err) : NULL;
    json_decref(j);
    return t;
}

tokenizer *tokenizer_open(const char *model_dir, error *err)
{
    char path[1200], vocab[1200];
    size_t len;
    path_join(path, sizeof path, model_dir, "tokenizer.json");

    if (!file_exists(path) && file_exists(path_join(vocab, sizeof vocab, model_dir, "vocab.json"))) {
        json_t *j = tokenizer_json_of_vocab(model_dir, err);
        tokenizer *t = j ? tokenizer_of(j, vocab, err) : NULL;
        json_decref(j);
        return t;
    }

    char *text = file_read(path, MAX_FILE, &len, err);
    if (!text) return NULL;
    tokenizer *t = tokenizer_parse(text, len, path, err);
    free(text);
    return t;
}
