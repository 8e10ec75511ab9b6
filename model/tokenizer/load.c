/* tokenizer.json -> tokenizer. What it asks for and we don't do is refused by name: a tokenizer that is nearly right
 * trains a model on other tokens than it was made for. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/vec.h"
#include "model/tokenizer/internal.h"

enum { MAX_FILE = 1 << 28, MAX_VOCAB = 1 << 22 };

static const char GPT2_PATTERN[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

static int refuse(error *err, const char *where, const char *what, const char *found)
{
    return error_set(err, ERR_UNSUPPORTED, "%s: %s '%.60s' is not supported", where, what, found);
}

/* ---- vocabulary ---- */

static int check_id(json_int_t id, const char *token, const char *where, error *err)
{
    if (id >= 0 && id < MAX_VOCAB) return OK;
    return error_set(err, ERR_PARSE, "%s: token '%.40s': id %lld is out of range", where, token, (long long)id);
}

static int count_vocab(tokenizer *t, const json_t *vocab, const json_t *added, const char *where, error *err)
{
    const char *token;
    json_t *id;
    json_int_t last = -1;
    if (!json_is_object(vocab)) return error_set(err, ERR_PARSE, "%s: model.vocab: expected an object", where);
    json_object_foreach((json_t *)(uintptr_t)vocab, token, id)
    {
        const json_int_t v = json_is_integer(id) ? json_integer_value(id) : -1;
        if (check_id(v, token, where, err) != OK) return ERR_PARSE;
        last = v > last ? v : last;
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *id_of = json_object_get(json_array_get(added, i), "id");
        const json_int_t v = json_is_integer(id_of) ? json_integer_value(id_of) : -1;
        if (check_id(v, text_of(json_array_get(added, i), "content"), where, err) != OK) return ERR_PARSE;
        last = v > last ? v : last;
    }
    t->vocab = (int)last + 1;
    t->texts = xcalloc((size_t)t->vocab + 1, sizeof *t->texts);
    t->lengths = xcalloc((size_t)t->vocab + 1, sizeof *t->lengths);
    t->special = xcalloc((size_t)t->vocab + 1, sizeof *t->special);
    return OK;
}

static void set_text(tokenizer *t, int32_t id, const char *bytes, size_t len)
{
    free(t->texts[id]);
    t->texts[id] = xstrndup(bytes, len);
    t->lengths[id] = len;
}

static int read_token(tokenizer *t, const char *token, int32_t id, const char *where, error *err)
{
    str bytes = { 0 };
    const char *p = token, *end = token + strlen(token);
    while (p < end) {
        const int b = alphabet_to_byte(&p, end);
        if (b < 0) {
            str_free(&bytes);
            return error_set(err, ERR_UNSUPPORTED, "%s: token '%.40s' is not byte-level", where, token);
        }
        str_putc(&bytes, (char)b);
    }
    set_text(t, id, bytes.data ? bytes.data : "", bytes.len);
    if (bytes.len == 1) t->bytes[(unsigned char)bytes.data[0]] = id;
    map_set(t->ids, token, (void *)(intptr_t)(id + 1));
    str_free(&bytes);
    return OK;
}

/* An added token is written as it is, not in the byte alphabet: it may also stand in model.vocab. */
static int read_added(tokenizer *t, const json_t *added, const char *where, error *err)
{
    t->added = xcalloc(json_array_size(added) + 1, sizeof *t->added);
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *a = json_array_get(added, i);
        const char *text = text_of(a, "content");
        const char *const flags[] = { "lstrip", "rstrip", "single_word" };
        for (int f = 0; f < 3; f++)
            if (json_is_true(json_object_get(a, flags[f]))) return refuse(err, where, flags[f], text);
        if (!*text) return error_set(err, ERR_PARSE, "%s: added token %zu has no content", where, i);
        added_token *to = &t->added[t->n_added++];
        *to = (added_token){ .text = xstrdup(text), .len = strlen(text), .id = (int32_t)json_integer_value(json_object_get(a, "id")),
                             .special = json_is_true(json_object_get(a, "special")) };
        set_text(t, to->id, text, to->len);
        t->special[to->id] = to->special;
        map_set(t->ids, text, (void *)(intptr_t)(to->id + 1));
    }
    return OK;
}

static int read_vocab(tokenizer *t, const json_t *vocab, const json_t *added, const char *where, error *err)
{
    const char *token;
    json_t *id;
    for (int b = 0; b < 256; b++) t->bytes[b] = -1;
    if (count_vocab(t, vocab, added, where, err) != OK) return ERR_PARSE;
    map *written_out = map_new();
    for (size_t i = 0; i < json_array_size(added); i++) map_set(written_out, text_of(json_array_get(added, i), "content"), t);
    int rc = OK;
    json_object_foreach((json_t *)(uintptr_t)vocab, token, id)
    {
        if (rc == OK && !map_get(written_out, token)) rc = read_token(t, token, (int32_t)json_integer_value(id), where, err);
    }
    map_free(written_out);
    return rc == OK ? read_added(t, added, where, err) : rc;
}

/* ---- merges: "a b" or ["a", "b"] ---- */

static int read_merge(tokenizer *t, const json_t *m, uint64_t rank, const char *where, error *err)
{
    const char *left = json_string_value(json_array_get(m, 0)), *right = json_string_value(json_array_get(m, 1));
    char *pair = xstrdup(json_is_string(m) ? json_string_value(m) : "");
    char *space = strchr(pair, ' ');
    if (space) *space = 0, left = pair, right = space + 1;
    str both = { 0 };
    if (left && right) str_puts(&both, left), str_puts(&both, right);
    const int32_t a = left ? tokenizer_id(t, left) : -1, b = right ? tokenizer_id(t, right) : -1;
    const int32_t c = both.data ? tokenizer_id(t, both.data) : -1;
    free(pair);
    str_free(&both);
    if (a < 0 || b < 0 || c < 0) return error_set(err, ERR_PARSE, "%s: merge %llu names a token that is not in the vocabulary", where, (unsigned long long)rank);
    const uint64_t key = (uint64_t)(uint32_t)a << 32 | (uint32_t)b, value = (rank << 32 | (uint32_t)c) + 1;
    if (!idmap_get(t->merges, key)) idmap_set(t->merges, key, (void *)(uintptr_t)value);
    return OK;
}

static int read_merges(tokenizer *t, const json_t *merges, const char *where, error *err)
{
    if (!json_is_array(merges)) return error_set(err, ERR_PARSE, "%s: model.merges: expected a list", where);
    for (size_t i = 0; i < json_array_size(merges); i++)
        if (read_merge(t, json_array_get(merges, i), i, where, err) != OK) return ERR_PARSE;
    return OK;
}

/* ---- pre-tokenizer ---- */

static int add_split(tokenizer *t, const char *pattern, bool literal, bool removed, const char *where, error *err)
{
    if (t->n_splits == MAX_SPLITS) return error_set(err, ERR_UNSUPPORTED, "%s: more than %d pre-tokenizers", where, MAX_SPLITS);
    split *s = &t->splits[t->n_splits];
    if (split_compile(s, pattern, literal, err) != OK) return error_within(err, "%s", where);
    s->removed = removed;
    t->n_splits++;
    return OK;
}

static int read_split(tokenizer *t, const json_t *p, const char *where, error *err)
{
    const json_t *pattern = json_object_get(p, "pattern");
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const char *literal = json_string_value(json_object_get(pattern, "String"));
    const char *behaviour = text_of(p, "behavior");
    const bool removed = strcmp(behaviour, "Removed") == 0;
    if (!removed && strcmp(behaviour, "Isolated") != 0) return refuse(err, where, "split behavior", behaviour);
    if (json_is_true(json_object_get(p, "invert"))) {
        /* An inverted Removed keeps the matches; with Isolated both sides are kept anyway. */
        if (removed) return refuse(err, where, "an inverted split with behavior", behaviour);
    }
    if (!regex && !literal) return error_set(err, ERR_PARSE, "%s: a Split has no pattern", where);
    return add_split(t, regex ? regex : literal, !regex, removed, where, err);
}

static int read_pretokenizer(tokenizer *t, const json_t *p, int depth, const char *where, error *err)
{
    const char *type = text_of(p, "type");
    if (!p || json_is_null(p)) return OK;
    if (strcmp(type, "Split") == 0) return read_split(t, p, where, err);
    if (strcmp(type, "Digits") == 0)
        return add_split(t, json_is_true(json_object_get(p, "individual_digits")) ? "\\p{N}" : "\\p{N}+", false, false, where, err);
    if (strcmp(type, "ByteLevel") == 0) {
        const json_t *use_regex = json_object_get(p, "use_regex");
        t->prefix_space |= json_is_true(json_object_get(p, "add_prefix_space"));
        return json_is_false(use_regex) ? OK : add_split(t, GPT2_PATTERN, false, false, where, err);
    }
    if (strcmp(type, "Sequence") != 0 || depth > 4) return refuse(err, where, "pre-tokenizer", type);
    const json_t *list = json_object_get(p, "pretokenizers");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const int rc = read_pretokenizer(t, json_array_get(list, i), depth + 1, where, err);
        if (rc != OK) return rc;
    }
    return OK;
}

/* ---- the whole file ---- */

static int read_all(tokenizer *t, const json_t *j, const char *where, error *err)
{
    const json_t *model = json_object_get(j, "model"), *normalizer = json_object_get(j, "normalizer");
    const char *type = text_of(model, "type");
    if (*type && strcmp(type, "BPE") != 0) return refuse(err, where, "model type", type);
    if (normalizer && !json_is_null(normalizer)) return refuse(err, where, "normalizer", text_of(normalizer, "type"));
    if (json_is_true(json_object_get(model, "byte_fallback"))) return refuse(err, where, "byte_fallback", "true");
    t->ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
    int rc = read_vocab(t, json_object_get(model, "vocab"), json_object_get(j, "added_tokens"), where, err);
    if (rc == OK) rc = read_merges(t, json_object_get(model, "merges"), where, err);
    if (rc == OK) rc = read_pretokenizer(t, json_object_get(j, "pre_tokenizer"), 0, where, err);
    return rc;
}

tokenizer *tokenizer_parse(const char *json, size_t len, const char *where, error *err)
{
    json_t *j = json_parse(json, len, where, err);
    if (!j) return NULL;
    tokenizer *t = xcalloc(1, sizeof *t);
    t->ids = map_new();
    t->merges = idmap_new();
    const int rc = json_is_object(j) ? read_all(t, j, where, err) : error_set(err, ERR_PARSE, "%s: expected an object", where);
    json_decref(j);
    if (rc == OK) return t;
    tokenizer_free(t);
    return NULL;
}

tokenizer *tokenizer_open(const char *model_dir, error *err)
{
    char path[1200];
    size_t len;
    char *text = file_read(path_join(path, sizeof path, model_dir, "tokenizer.json"), MAX_FILE, &len, err);
    if (!text) return NULL;
    tokenizer *t = tokenizer_parse(text, len, path, err);
    free(text);
    return t;
}
