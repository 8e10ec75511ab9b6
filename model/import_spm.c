/* SPDX-License-Identifier: MIT */
#include "model/import_spm.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"

static const char SPACE[] = "\xe2\x96\x81"; /* U+2581 */

json_t *added_token_json(int32_t id, const char *content, bool special, bool normalized)
{
    return json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", (int)id, "content", content, "single_word", 0,
                     "lstrip", 0, "rstrip", 0, "normalized", normalized, "special", special);
}

json_t *begin_with_json(int32_t id, const char *content)
{
    return json_pack("{s:s, s:[{s:{s:s, s:i}}, {s:{s:s, s:i}}], s:[{s:{s:s, s:i}}, {s:{s:s, s:i}}, {s:{s:s, s:i}}, "
                     "{s:{s:s, s:i}}], s:{s:{s:s, s:[i], s:[s]}}}",
                     "type", "TemplateProcessing", "single", "SpecialToken", "id", content, "type_id", 0, "Sequence",
                     "id", "A", "type_id", 0, "pair", "SpecialToken", "id", content, "type_id", 0, "Sequence", "id",
                     "A", "type_id", 0, "SpecialToken", "id", content, "type_id", 1, "Sequence", "id", "B", "type_id",
                     1, "special_tokens", content, "id", content, "ids", (int)id, "tokens", content);
}

/* ---- merges ---- */

static int by_score(const void *a, const void *b)
{
    const spm_piece *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

typedef struct parting {
    const spm_piece *left, *right;
} parting;

static int by_parts(const void *a, const void *b)
{
    const parting *x = a, *y = b;
    if (x->left->id != y->left->id) return x->left->id < y->left->id ? -1 : 1;
    return (x->right->id > y->right->id) - (x->right->id < y->right->id);
}

/* Every way to put a piece together from two others. */
static void add_merges(json_t *merges, const map *known, const spm_piece *p)
{
    const size_t len = strlen(p->text);
    parting *ways = xcalloc(len + 1, sizeof *ways);
    char *left = xstrdup(p->text);
    size_t n = 0;

    /* From the last cut to the first: `left` loses a byte each time, and what it has lost is p->text + cut. */
    for (size_t cut = len; cut-- > 1;) {
        const bool within = ((unsigned char)p->text[cut] & 0xc0) == 0x80; /* within a character */
        left[cut] = 0;
        if (within) continue;
        ways[n] = (parting){ map_get(known, left), map_get(known, p->text + cut) };
        if (ways[n].left && ways[n].right) n++;
    }

    qsort(ways, n, sizeof *ways, by_parts);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(merges, json_pack("[s, s]", ways[i].left->text, ways[i].right->text));
    free(left);
    free(ways);
}

/* ---- the whole ---- */

static json_t *normalizer_json(bool space_first)
{
    json_t *replace = json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", " ", "content", SPACE);
    if (!space_first) return replace;
    return json_pack("{s:s, s:[{s:s, s:s}, o]}", "type", "Sequence", "normalizers", "type", "Prepend", "prepend", SPACE,
                     replace);
}

static json_t *decoder_json(bool space_first)
{
    json_t *j =
        json_pack("{s:s, s:[{s:s, s:{s:s}, s:s}, {s:s}, {s:s}]}", "type", "Sequence", "decoders", "type", "Replace",
                  "pattern", "String", SPACE, "content", " ", "type", "ByteFallback", "type", "Fuse");
    if (space_first)
        json_array_append_new(json_object_get(j, "decoders"), json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip",
                                                                        "content", " ", "start", 1, "stop", 0));
    return j;
}

static bool is_added(piece_kind kind) { return kind == PIECE_UNKNOWN || kind == PIECE_CONTROL || kind == PIECE_USER; }

/* The vocabulary and the added tokens, in the order of the ids. */
typedef struct written {
    json_t *vocab, *added;
    map *known; /* text -> spm_piece */
    const char *unknown;
    int bytes; /* how many of the 256 there are */
} written;

static written write_pieces(const spm_piece *pieces, int32_t n, bool space_first)
{
    written w = { .vocab = json_object(), .added = json_array(), .known = map_new() };

    for (int32_t i = 0; i < n; i++) {
        const spm_piece *p = &pieces[i];

        if (p->kind == PIECE_UNUSED || map_get(w.known, p->text)) continue;
        if (json_object_set_new(w.vocab, p->text, json_integer(p->id)) != 0) continue; /* not UTF-8 */
        map_set(w.known, p->text, (void *)(uintptr_t)p);

        w.bytes += p->kind == PIECE_BYTE;
        if (p->kind == PIECE_UNKNOWN && !w.unknown) w.unknown = p->text;
        if (!is_added(p->kind)) continue;
        const bool spaced =
            p->kind == PIECE_USER && !space_first && strstr(p->text, SPACE); /* Gemma's runs of spaces */
        json_array_append_new(w.added, added_token_json(p->id, p->text, p->kind != PIECE_USER, spaced));
    }
    return w;
}

/* By falling score, of the pieces that putting together can make. */
static json_t *write_merges(const spm_piece *pieces, int32_t n, const map *known)
{
    json_t *merges = json_array();
    spm_piece *sorted = xcalloc((size_t)n + 1, sizeof *sorted);
    memcpy(sorted, pieces, sizeof *sorted * (size_t)n);
    qsort(sorted, (size_t)n, sizeof *sorted, by_score);
    for (int32_t i = 0; i < n; i++)
        if (sorted[i].kind == PIECE_NORMAL) add_merges(merges, known, &sorted[i]);
    free(sorted);
    return merges;
}

json_t *spm_tokenizer(const spm_piece *pieces, int32_t n, bool space_first, int32_t bos)
{
    json_t *post = json_null();
    for (int32_t i = 0; i < n; i++)
        if (pieces[i].id == bos) post = begin_with_json(bos, pieces[i].text);

    const written w = write_pieces(pieces, n, space_first);
    json_t *merges = write_merges(pieces, n, w.known);
    map_free(w.known);

    json_t *model = json_pack("{s:s, s:n, s:s?, s:n, s:n, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout", "unk_token",
                              w.unknown, "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 1,
                              "byte_fallback", w.bytes == 256, "vocab", w.vocab, "merges", merges);
    return json_pack("{s:s, s:n, s:n, s:o, s:o, s:n, s:o, s:o, s:o}", "version", "1.0", "truncation", "padding",
                     "added_tokens", w.added, "normalizer", normalizer_json(space_first), "pre_tokenizer",
                     "post_processor", post, "decoder", decoder_json(space_first), "model", model);
}
