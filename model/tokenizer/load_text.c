/* SPDX-License-Identifier: MIT */
/* The normalizer and the decoder of a tokenizer.json, and folders that have vocab.json and
 * merges.txt instead of one. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model/tokenizer/internal.h"

enum { MAX_DEPTH = 4, MAX_FILE = 1 << 28 };

static int refuse(error *err, const char *where, const char *key, const char *found, const char *supported)
{
    return error_set(err, ERR_UNSUPPORTED, "%s: %s is %.60s; supported: %s", where, key, found, supported);
}

/* ---- normalizer ---- */

static int add_normalizer(tokenizer *t, normalizer n, const char *where, error *err)
{
    if (t->n_normalizers == MAX_NORMALIZERS)
        return error_set(err, ERR_UNSUPPORTED, "%s: more than %d normalizers", where, MAX_NORMALIZERS);
    t->normalizers[t->n_normalizers++] = n;
    return OK;
}

static int read_replace(tokenizer *t, const json_t *j, const char *where, error *err)
{
    const char *from, *to;
    const json_t *pattern = json_object_get(j, "pattern");
    if (!json_is_object(pattern) || !json_object_get(pattern, "String"))
        return refuse(err, where, "normalizer", "a Replace by Regex", "a Replace of a String");

    if (json_need_string(pattern, "String", where, &from, err) != OK ||
        json_need_string(j, "content", where, &to, err) != OK)
        return ERR_PARSE;
    if (!*from) return error_set(err, ERR_PARSE, "%s: normalizer: a Replace with an empty pattern", where);
    return add_normalizer(t, (normalizer){ NORMALIZE_REPLACE, xstrdup(from), xstrdup(to) }, where, err);
}

static int read_normalizer_at(tokenizer *t, const json_t *j, const char *where, int depth, error *err)
{
    const char *type = json_string_value(json_object_get(j, "type")), *prepended;
    if (type && strcmp(type, "Sequence") == 0 && depth < MAX_DEPTH) {
        const json_t *list = json_object_get(j, "normalizers");
        int rc = OK;
        for (size_t i = 0; rc == OK && i < json_array_size(list); i++)
            rc = read_normalizer_at(t, json_array_get(list, i), where, depth + 1, err);
        return rc;
    }

    if (type && strcmp(type, "NFC") == 0) return add_normalizer(t, (normalizer){ .kind = NORMALIZE_NFC }, where, err);
    if (type && strcmp(type, "Replace") == 0) return read_replace(t, j, where, err);
    if (type && strcmp(type, "Prepend") == 0) {
        if (json_need_string(j, "prepend", where, &prepended, err) != OK) return error_within(err, "normalizer");
        return add_normalizer(t, (normalizer){ NORMALIZE_PREPEND, NULL, xstrdup(prepended) }, where, err);
    }

    return refuse(err, where, "normalizer", type ? type : "not an object with a type",
                  "null, NFC, Prepend, Replace, Sequence");
}

int read_normalizer(tokenizer *t, const json_t *j, const char *where, error *err)
{
    return j && !json_is_null(j) ? read_normalizer_at(t, j, where, 0, err) : OK;
}

/* ---- decoder ---- */

/* The mark becomes a space. */
static bool is_mark_to_space(const json_t *j)
{
    const char *from = json_string_value(json_object_get(json_object_get(j, "pattern"), "String"));
    const char *to = json_string_value(json_object_get(j, "content"));
    return from && strcmp(from, MARK) == 0 && to && strcmp(to, " ") == 0;
}

/* One space goes from the front, none from the end. */
static bool is_strip_of_space(const json_t *j)
{
    const char *content = json_string_value(json_object_get(j, "content"));
    return content && strcmp(content, " ") == 0 && json_integer_value(json_object_get(j, "start")) == 1 &&
           json_integer_value(json_object_get(j, "stop")) == 0;
}

/* Encoding put no mark in front, so decoding takes no space away. */
static bool prepends_never(const json_t *metaspace)
{
    const char *scheme = json_string_value(json_object_get(metaspace, "prepend_scheme"));
    if (scheme) return strcmp(scheme, "never") == 0;
    return json_is_false(json_object_get(metaspace, "add_prefix_space"));
}

static int read_step(tokenizer *t, const json_t *j, const char *where, int depth, error *err);

static int read_steps(tokenizer *t, const json_t *list, const char *where, int depth, error *err)
{
    int rc = OK;
    for (size_t i = 0; rc == OK && i < json_array_size(list); i++)
        rc = read_step(t, json_array_get(list, i), where, depth, err);
    return rc;
}

/* The steps of a decoder for a vocabulary of characters: the mark becomes a space, <0x0A> a byte, one space goes. */
static int read_step(tokenizer *t, const json_t *j, const char *where, int depth, error *err)
{
    const char *type = json_string_value(json_object_get(j, "type"));
    const char *name = type ? type : "";
    if (strcmp(name, "Sequence") == 0 && depth < MAX_DEPTH)
        return read_steps(t, json_object_get(j, "decoders"), where, depth + 1, err);
    if (strcmp(name, "ByteFallback") == 0 || strcmp(name, "Fuse") == 0) return OK;
    if (strcmp(name, "Replace") == 0 && is_mark_to_space(j)) return OK;
    if (strcmp(name, "Metaspace") == 0 && prepends_never(j)) return OK;

    if (strcmp(name, "Metaspace") == 0 || (strcmp(name, "Strip") == 0 && is_strip_of_space(j))) {
        t->strips_space = true;
        return OK;
    }
    return refuse(err, where, "decoder", type ? type : "null",
                  "ByteLevel; or Metaspace, or Replace of the mark, ByteFallback, Fuse, Strip of one space");
}

int read_decoder(tokenizer *t, const json_t *j, const char *where, error *err)
{
    const char *type = json_string_value(json_object_get(j, "type"));
    t->byte_level = type && strcmp(type, "ByteLevel") == 0;
    if (t->byte_level) return OK;
    if (!type) return refuse(err, where, "decoder", "null", "ByteLevel, Metaspace, Sequence");
    return read_step(t, j, where, 0, err);
}

/* ---- vocab.json + merges.txt ---- */

static const char QWEN2_PATTERN[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
                                    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/* How a family splits, which its vocab.json doesn't say. */
static int add_family(json_t *whole, const char *family, const char *where, error *err)
{
    if (strcmp(family, "GPT2Tokenizer") == 0 || strcmp(family, "GPT2TokenizerFast") == 0) {
        json_object_set_new(whole, "pre_tokenizer",
                            json_pack("{s:s, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "use_regex", 1));
        return OK;
    }

    if (strcmp(family, "Qwen2Tokenizer") == 0 || strcmp(family, "Qwen2TokenizerFast") == 0) {
        json_object_set_new(whole, "normalizer", json_pack("{s:s}", "type", "NFC"));
        json_object_set_new(whole, "pre_tokenizer",
                            json_pack("{s:s, s:[{s:s, s:{s:s}, s:s}, {s:s, s:b, s:b}]}", "type", "Sequence",
                                      "pretokenizers", "type", "Split", "pattern", "Regex", QWEN2_PATTERN, "behavior",
                                      "Isolated", "type", "ByteLevel", "add_prefix_space", 0, "use_regex", 0));
        return OK;
    }
    return refuse(err, where, "tokenizer_class", family, "GPT2Tokenizer, Qwen2Tokenizer (beside vocab.json)");
}

static json_t *read_merge_lines(const char *path, error *err)
{
    size_t len;
    char *text = file_read(path, MAX_FILE, &len, err), *rest = NULL;
    if (!text) return NULL;

    json_t *merges = json_array();
    for (char *line = strtok_r(text, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
        if (strncmp(line, "#version", 8) == 0) continue;
        if (json_array_append_new(merges, json_string(line)) != 0) { /* no UTF-8 */
            error_set(err, ERR_PARSE, "%s: merge %zu is not a string", path, json_array_size(merges));
            json_decref(merges);
            merges = NULL;
            break;
        }
    }

    free(text);
    return merges;
}

/* added_tokens_decoder: { "151643": { "content": ... } } -> the list that tokenizer.json has. */
static json_t *added_list(const json_t *config)
{
    json_t *list = json_array(), *token;
    const char *id;

    json_object_foreach(json_object_get(config, "added_tokens_decoder"), id, token)
    {
        json_t *copy = json_copy(token);
        if (!json_is_object(copy)) copy = json_object();
        json_object_set_new(copy, "id", json_integer(strtoll(id, NULL, 10)));
        json_array_append_new(list, copy);
    }
    return list;
}

json_t *tokenizer_json_of_vocab(const char *dir, error *err)
{
    char vocab_path[1200], merges_path[1200], config_path[1200];
    path_join(vocab_path, sizeof vocab_path, dir, "vocab.json");
    path_join(merges_path, sizeof merges_path, dir, "merges.txt");
    path_join(config_path, sizeof config_path, dir, "tokenizer_config.json");
    json_t *vocab = json_parse_file(vocab_path, err), *merges = vocab ? read_merge_lines(merges_path, err) : NULL;
    json_t *config = merges ? json_parse_file(config_path, err) : NULL, *whole = NULL;

    const char *family;
    if (config && json_need_string(config, "tokenizer_class", config_path, &family, err) == OK) {
        whole = json_pack("{s:{s:s, s:O, s:O}, s:o, s:{s:s}}", "model", "type", "BPE", "vocab", vocab, "merges", merges,
                          "added_tokens", added_list(config), "decoder", "type", "ByteLevel");
        if (add_family(whole, family, config_path, err) != OK) {
            json_decref(whole);
            whole = NULL;
        }
    }

    json_decref(config);
    json_decref(merges);
    json_decref(vocab);
    return whole;
}
