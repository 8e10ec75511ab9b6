/* SPDX-License-Identifier: MIT */
#include "model/import_vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "model/import_spm.h"

enum { MAX_TOKEN = 4096 };

/* GGUF's token_type. */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

typedef struct vocab {
    const gguf *g;
    char **tokens; /* [n], owned */
    double *types; /* [n]; NULL: all are normal */
    int32_t n;
    int32_t bos, eos, unk, pad; /* -1: none */
    bool add_bos, add_bos_said;
} vocab;

int import_vocab_id(const gguf *g, const char *key, int64_t tokens, int32_t *id, error *err)
{
    int64_t v = 0;
    *id = -1;

    if (!gguf_has(g, key)) return OK;
    const int rc = gguf_whole(g, key, &v, err);
    if (rc != OK) return rc;

    if (v == UINT32_MAX || v == -1) return OK; /* how llama.cpp says that there is none */
    if (v < 0 || v >= tokens)
        return error_set(err, ERR_PARSE, "%s: %s is %lld, the vocabulary has %lld tokens", gguf_where(g), key,
                         (long long)v, (long long)tokens);
    *id = (int32_t)v;
    return OK;
}

/* ---- reading ---- */

static int read_tokens(vocab *v, gguf *g, int64_t vocab_rows, error *err)
{
    const gguf_text *texts = NULL;
    size_t n = 0;
    const int rc = gguf_strings(g, "tokenizer.ggml.tokens", &texts, &n, err);
    if (rc != OK) return rc;
    if (n == 0 || n > (size_t)vocab_rows)
        return error_set(err, ERR_PARSE, "%s: %zu tokens for an embedding of %lld rows", gguf_where(g), n,
                         (long long)vocab_rows);

    v->tokens = xcalloc(n, sizeof *v->tokens);
    v->n = (int32_t)n;
    for (size_t i = 0; i < n; i++) {
        if (texts[i].len > MAX_TOKEN || memchr(texts[i].data, 0, texts[i].len))
            return error_set(err, ERR_PARSE, "%s: token %zu has %zu bytes, or a NUL among them", gguf_where(g), i,
                             texts[i].len);
        v->tokens[i] = xstrndup(texts[i].data, texts[i].len);
    }
    return OK;
}

/* A list that has a number for each token, where it is there. */
static int read_numbers(const vocab *v, const char *key, double **out, error *err)
{
    size_t n = 0;
    *out = NULL;
    if (!gguf_has(v->g, key)) return OK;
    const int rc = gguf_reals(v->g, key, out, &n, err);
    if (rc != OK) return rc;
    if (n != (size_t)v->n)
        return error_set(err, ERR_PARSE, "%s: %s has %zu numbers for %d tokens", gguf_where(v->g), key, n, v->n);
    return OK;
}

static int read_special(vocab *v, error *err)
{
    static const char ADD_BOS[] = "tokenizer.ggml.add_bos_token";
    int rc = import_vocab_id(v->g, "tokenizer.ggml.bos_token_id", v->n, &v->bos, err);
    if (rc == OK) rc = import_vocab_id(v->g, "tokenizer.ggml.eos_token_id", v->n, &v->eos, err);
    if (rc == OK) rc = import_vocab_id(v->g, "tokenizer.ggml.unknown_token_id", v->n, &v->unk, err);
    if (rc == OK) rc = import_vocab_id(v->g, "tokenizer.ggml.padding_token_id", v->n, &v->pad, err);
    v->add_bos_said = gguf_has(v->g, ADD_BOS);
    if (rc == OK && v->add_bos_said) rc = gguf_bool(v->g, ADD_BOS, &v->add_bos, err);
    return rc;
}

static int type_of(const vocab *v, int32_t id)
{
    const double type = v->types ? v->types[id] : TYPE_NORMAL;
    return type >= TYPE_NORMAL && type <= TYPE_BYTE ? (int)type : TYPE_NORMAL;
}

/* ---- BPE over the byte alphabet ---- */

/* The expressions that text is cut by, as the tokenizer.json of the models themselves has them. */
#define CASELESS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define WORD CASELESS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define GPT4(digits) WORD digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" SPACES

/* Words of capitals and then small letters, either of which may be missing. */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(digits, suffix)                                                                                          \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" suffix "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" suffix           \
    "|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES

typedef struct pre_tokenizer {
    const char *name;
    const char *split; /* NULL: GPT-2's own expression */
    bool digits;       /* each digit by itself, before GPT-2's expression */
    bool nfc;
    bool ignore_merges;
} pre_tokenizer;

static const pre_tokenizer PRES[] = {
    { "gpt-2", NULL, false, false, false },
    { "smollm", NULL, true, false, false },
    { "starcoder", NULL, true, false, false },
    { "refact", NULL, true, false, false }, /* Granite 3 */
    { "qwen2", GPT4("\\p{N}"), false, true, false },
    { "deepseek-r1-qwen", GPT4("\\p{N}"), false, false, false },
    { "llama-bpe", GPT4("\\p{N}{1,3}"), false, false, true },
    { "llama3", GPT4("\\p{N}{1,3}"), false, false, true },
    { "llama-v3", GPT4("\\p{N}{1,3}"), false, false, true },
    { "smaug-bpe", GPT4("\\p{N}{1,3}"), false, false, false }, /* SmolLM3 */
    { "dbrx", GPT4("\\p{N}{1,3}"), false, false, false },      /* OLMo 2, Phi-4, Granite 4 */
    { "glm4", GPT4("\\p{N}{1,3}"), false, false, false },
    { "gpt-4o", CASED("\\p{N}{1,3}", CASELESS "?"), false, false, false }, /* Phi-4-mini */
    { "tekken", CASED("\\p{N}", ""), false, false, true },                 /* Mistral Nemo, Ministral */
    { "seed-coder", WORD "\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+" SPACES, false, false, false }, /* Seed-OSS */
};

static int find_pre(const vocab *v, const pre_tokenizer **out, error *err)
{
    gguf_text name = { 0 };
    int rc = gguf_string(v->g, "tokenizer.ggml.pre", &name, err);
    if (rc != OK) return rc;

    str known = { 0 };
    for (size_t i = 0; i < sizeof PRES / sizeof *PRES; i++) {
        str_item(&known, ", ", PRES[i].name);
        if (gguf_text_is(name, PRES[i].name)) *out = &PRES[i];
    }
    if (!*out)
        rc = error_set(err, ERR_UNSUPPORTED, "%s: tokenizer.ggml.pre is '%.*s'; supported: %s", gguf_where(v->g),
                       (int)(name.len < 40 ? name.len : 40), name.data, known.data);
    str_free(&known);
    return rc;
}

static json_t *pre_tokenizer_json(const pre_tokenizer *pre)
{
    json_t *steps = json_array();
    if (pre->digits) json_array_append_new(steps, json_pack("{s:s, s:b}", "type", "Digits", "individual_digits", 1));
    if (pre->split)
        json_array_append_new(steps, json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex",
                                               pre->split, "behavior", "Isolated", "invert", 0));
    json_array_append_new(steps, json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                                           "trim_offsets", 1, "use_regex", !pre->split));
    return json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", steps);
}

/* The vocabulary and the tokens that stand in a text as they are. */
static int byte_level_tokens(const vocab *v, json_t *tokens, json_t *added, error *err)
{
    for (int32_t i = 0; i < v->n; i++) {
        const int type = type_of(v, i);

        if (type == TYPE_UNUSED) continue; /* llama.cpp's padding up to the embedding's rows */
        if (json_object_get(tokens, v->tokens[i]))
            return error_set(err, ERR_PARSE, "%s: token %d occurs twice", gguf_where(v->g), i);
        if (json_object_set_new(tokens, v->tokens[i], json_integer(i)) != 0)
            return error_set(err, ERR_PARSE, "%s: token %d is not UTF-8", gguf_where(v->g), i);

        if (type == TYPE_CONTROL || type == TYPE_USER || type == TYPE_UNKNOWN)
            json_array_append_new(added, added_token_json(i, v->tokens[i], type != TYPE_USER, false));
    }
    return OK;
}

/* "left right" as a list of two; NULL: there is no space between two texts in UTF-8. The first byte may be a space. */
static json_t *merge_pair(const gguf_text *text)
{
    const char *space = text->len > 2 ? memchr(text->data + 1, ' ', text->len - 2) : NULL;
    if (!space) return NULL;

    const size_t first = (size_t)(space - text->data);
    return json_pack("[o?, o?]", json_stringn(text->data, first), json_stringn(space + 1, text->len - first - 1));
}

static int byte_level_merges(gguf *g, json_t *merges, error *err)
{
    const gguf_text *texts = NULL;
    size_t n = 0;
    const int rc = gguf_strings(g, "tokenizer.ggml.merges", &texts, &n, err);
    if (rc != OK) return rc;

    for (size_t i = 0; i < n; i++) {
        json_t *pair = merge_pair(&texts[i]);
        if (!pair || json_array_size(pair) != 2 || json_array_append_new(merges, pair) != 0)
            return error_set(err, ERR_PARSE, "%s: merge %zu is not a pair of two tokens", gguf_where(g), i);
    }
    return OK;
}

static int byte_level_json(vocab *v, gguf *g, json_t **out, error *err)
{
    const pre_tokenizer *pre = NULL;
    int rc = find_pre(v, &pre, err);
    if (rc != OK) return rc;

    json_t *tokens = json_object(), *added = json_array(), *merges = json_array();
    rc = byte_level_tokens(v, tokens, added, err);
    if (rc == OK) rc = byte_level_merges(g, merges, err);
    if (rc != OK) {
        json_decref(tokens);
        json_decref(added);
        json_decref(merges);
        return rc;
    }

    json_t *model =
        json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout", "unk_token",
                  "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0, "ignore_merges",
                  pre->ignore_merges, "vocab", tokens, "merges", merges);
    json_t *post = v->add_bos && v->bos >= 0 ? begin_with_json(v->bos, v->tokens[v->bos]) : json_null();
    *out = json_pack("{s:s, s:n, s:n, s:o, s:o, s:o, s:o, s:{s:s, s:b, s:b, s:b}, s:o}", "version", "1.0", "truncation",
                     "padding", "added_tokens", added, "normalizer",
                     pre->nfc ? json_pack("{s:s}", "type", "NFC") : json_null(), "pre_tokenizer",
                     pre_tokenizer_json(pre), "post_processor", post, "decoder", "type", "ByteLevel",
                     "add_prefix_space", 1, "trim_offsets", 1, "use_regex", 1, "model", model);
    return OK;
}

/* ---- SentencePiece ---- */

static piece_kind kind_of(int type)
{
    static const piece_kind KINDS[] = {
        [TYPE_NORMAL] = PIECE_NORMAL, [TYPE_UNKNOWN] = PIECE_UNKNOWN, [TYPE_CONTROL] = PIECE_CONTROL,
        [TYPE_USER] = PIECE_USER,     [TYPE_UNUSED] = PIECE_UNUSED,   [TYPE_BYTE] = PIECE_BYTE
    };
    return KINDS[type];
}

/* llama.cpp keeps a user's tokens as they stand in a text, with spaces; beside pieces a space is U+2581. Where a text
 * begins with a space of its own, they would be found after it, so there they stay. Owned. */
static char *piece_text(const vocab *v, int32_t id, bool space_first)
{
    if (type_of(v, id) != TYPE_USER || space_first) return xstrdup(v->tokens[id]);
    str text = { 0 };
    str_puts(&text, "");
    for (const char *p = v->tokens[id]; *p; p++)
        if (*p == ' ')
            str_puts(&text, "\xe2\x96\x81");
        else
            str_putc(&text, *p);
    return text.data;
}

static int scored_json(const vocab *v, json_t **out, error *err)
{
    double *scores = NULL;
    bool space_first = true;
    int rc = read_numbers(v, "tokenizer.ggml.scores", &scores, err);
    if (rc == OK && !scores) rc = error_set(err, ERR_PARSE, "%s: tokenizer.ggml.scores is missing", gguf_where(v->g));
    if (rc == OK && gguf_has(v->g, "tokenizer.ggml.add_space_prefix"))
        rc = gguf_bool(v->g, "tokenizer.ggml.add_space_prefix", &space_first, err);

    if (rc == OK) {
        spm_piece *pieces = xcalloc((size_t)v->n, sizeof *pieces);
        for (int32_t i = 0; i < v->n; i++)
            pieces[i] = (spm_piece){ piece_text(v, i, space_first), (float)scores[i], i, kind_of(type_of(v, i)) };
        const bool begins = v->add_bos || !v->add_bos_said; /* SentencePiece's own way where nothing is said */
        *out = spm_tokenizer(pieces, v->n, space_first, begins ? v->bos : -1);
        for (int32_t i = 0; i < v->n; i++) free(pieces[i].text);
        free(pieces);
    }
    free(scores);
    return rc;
}

/* ---- the files ---- */

static int write_json(const char *dir, const char *name, json_t *j, error *err)
{
    char path[1300];
    char *text = json_text(j, false);
    const int rc = file_write_atomic(path_join(path, sizeof path, dir, name), text, strlen(text), err);
    free(text);
    json_decref(j);
    return rc;
}

static void set_token(json_t *config, const vocab *v, const char *key, int32_t id)
{
    if (id >= 0) json_object_set_new(config, key, json_string(v->tokens[id]));
}

/* The template stands in a file of its own, as the newest transformers writes it, and where older ones look. */
static int write_template(const vocab *v, json_t *config, const char *dir, error *err)
{
    static const char KEY[] = "tokenizer.chat_template";
    char path[1300];
    gguf_text text = { 0 };

    if (!gguf_has(v->g, KEY)) return OK;
    const int rc = gguf_string(v->g, KEY, &text, err);
    if (rc != OK) return rc;

    json_t *j = json_stringn(text.data, text.len);
    if (!j) return error_set(err, ERR_PARSE, "%s: %s is not UTF-8", gguf_where(v->g), KEY);
    json_object_set_new(config, "chat_template", j);
    return file_write_atomic(path_join(path, sizeof path, dir, "chat_template.jinja"), text.data, text.len, err);
}

static int write_config(const vocab *v, const char *dir, error *err)
{
    json_t *config = json_pack("{s:s, s:b, s:b}", "tokenizer_class", "PreTrainedTokenizerFast", "add_bos_token",
                               v->add_bos, "clean_up_tokenization_spaces", 0);

    set_token(config, v, "bos_token", v->bos);
    set_token(config, v, "eos_token", v->eos);
    set_token(config, v, "unk_token", v->unk);
    set_token(config, v, "pad_token", v->pad);

    const int rc = write_template(v, config, dir, err);
    if (rc == OK) return write_json(dir, "tokenizer_config.json", config, err);
    json_decref(config);
    return rc;
}

static int write_tokenizer(vocab *v, gguf *g, const char *dir, error *err)
{
    gguf_text model = { 0 };
    json_t *tokenizer = NULL;
    int rc = gguf_string(g, "tokenizer.ggml.model", &model, err);
    if (rc != OK) return rc;

    if (gguf_text_is(model, "gpt2"))
        rc = byte_level_json(v, g, &tokenizer, err);
    else if (gguf_text_is(model, "llama"))
        rc = scored_json(v, &tokenizer, err);
    else
        rc = error_set(err, ERR_UNSUPPORTED, "%s: tokenizer.ggml.model is '%.*s'; supported: gpt2, llama",
                       gguf_where(g), (int)(model.len < 40 ? model.len : 40), model.data);
    return rc == OK ? write_json(dir, "tokenizer.json", tokenizer, err) : rc;
}

int import_vocab(gguf *g, int64_t vocab_rows, const char *dir, int64_t *tokens, error *err)
{
    vocab v = { .g = g };
    int rc = read_tokens(&v, g, vocab_rows, err);
    if (rc == OK) rc = read_numbers(&v, "tokenizer.ggml.token_type", &v.types, err);
    if (rc == OK) rc = read_special(&v, err);
    if (rc == OK) rc = write_tokenizer(&v, g, dir, err);
    if (rc == OK) rc = write_config(&v, dir, err);

    *tokens = v.n;
    while (*tokens > 0 && type_of(&v, (int32_t)*tokens - 1) == TYPE_UNUSED) --*tokens;
    for (int32_t i = 0; i < v.n && v.tokens; i++) free(v.tokens[i]);
    free(v.tokens);
    free(v.types);
    return rc;
}
