/* SPDX-License-Identifier: MIT */
/* Byte-pair encoding (Sennrich et al. 2016) of one piece: its parts in a linked list, the possible merges in a heap. A
 * merge that was overtaken by a better one stays in the heap and is seen to be stale when its turn comes. So a piece of
 * n bytes costs n log n: a tool may well print a megabyte without a space. */
#include <stdlib.h>
#include <string.h>

#include "model/tokenizer/internal.h"

static void sift_up(bpe_merge *heap, size_t i)
{
    const bpe_merge m = heap[i];
    for (; i > 0 && heap[(i - 1) / 2].order > m.order; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = m;
}

static bpe_merge take_best(bpe *b)
{
    bpe_merge *heap = b->heap.data;
    const bpe_merge best = heap[0], last = heap[--b->heap.len];
    const size_t n = b->heap.len;

    size_t i = 0;
    for (size_t child = 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && heap[child + 1].order < heap[child].order) child++;
        if (heap[child].order >= last.order) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return best;
}

/* Notes the merge of the part at `left` with the one after it, if there is one. */
static void propose(bpe *b, int32_t left)
{
    const bpe_part *l = &b->parts.data[left];
    if (l->next < 0) return;
    const int32_t right_id = b->parts.data[l->next].id;
    const uint64_t key = (uint64_t)(uint32_t)l->id << 32 | (uint32_t)right_id;
    const uint64_t found = (uint64_t)(uintptr_t)idmap_get(b->t->merges, key);
    if (found == 0) return; /* no merge; load.c stores each plus 1 */

    const uint64_t rank = (found - 1) >> 32;
    vec_push(&b->heap, (bpe_merge){ .order = rank << 32 | (uint32_t)left,
                                    .left = l->id,
                                    .right = right_id,
                                    .merged = (int32_t)((found - 1) & 0xffffffff) });
    sift_up(b->heap.data, b->heap.len - 1);
}

static bool still_there(const bpe *b, const bpe_merge *m)
{
    const bpe_part *l = &b->parts.data[m->order & 0xffffffff];
    return l->id == m->left && l->next >= 0 && b->parts.data[l->next].id == m->right;
}

static void merge(bpe *b, const bpe_merge *m)
{
    const int32_t left = (int32_t)(m->order & 0xffffffff);
    bpe_part *l = &b->parts.data[left], *r = &b->parts.data[l->next];
    l->id = m->merged;
    r->id = -1;
    l->next = r->next;
    if (l->next >= 0) b->parts.data[l->next].previous = left;

    propose(b, left);
    if (l->previous >= 0) propose(b, l->previous);
}

static int32_t whole_token(bpe *b, const char *data, size_t len)
{
    str_clear(&b->written);
    if (!b->t->byte_level) str_add(&b->written, data, len);
    for (size_t i = 0; b->t->byte_level && i < len; i++) byte_to_alphabet((unsigned char)data[i], &b->written);
    return tokenizer_id(b->t, b->written.data);
}

static void add_part(bpe *b, int32_t id)
{
    const int32_t i = (int32_t)b->parts.len;
    if (i > 0) b->parts.data[i - 1].next = i;
    vec_push(&b->parts, (bpe_part){ .id = id, .previous = i - 1, .next = -1 });
}

/* A byte that the vocabulary has no token for is left out, as `tokenizers` leaves it out: SmolLM2 lacks 21 of them, and
 * a tool may print any. */
static void byte_parts(bpe *b, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const int32_t id = b->t->bytes[(unsigned char)data[i]];
        if (id >= 0) add_part(b, id);
    }
}

/* A character that is no token: its bytes, or the unknown token, once for several in a row if they are to be fused;
 * without either it is left out. */
static void unknown_part(bpe *b, const char *data, size_t len)
{
    const tokenizer *t = b->t;
    if (t->byte_fallback)
        byte_parts(b, data, len);
    else if (t->unk >= 0 && (!t->fuse_unk || b->parts.len == 0 || b->parts.data[b->parts.len - 1].id != t->unk))
        add_part(b, t->unk);
}

static void character_parts(bpe *b, const char *data, size_t len)
{
    for (size_t i = 0, n; i < len; i += n) {
        char character[5] = { 0 };
        n = utf8_length(data + i, data + len);
        if (n == 0) n = 1;
        memcpy(character, data + i, n);

        const int32_t id = *character ? tokenizer_id(b->t, character) : -1;
        if (id >= 0)
            add_part(b, id);
        else
            unknown_part(b, data + i, n);
    }
}

static void set_parts(bpe *b, const char *data, size_t len)
{
    b->parts.len = b->heap.len = 0;
    vec_reserve(&b->parts, len);
    if (b->t->byte_level)
        byte_parts(b, data, len);
    else
        character_parts(b, data, len);
}

void bpe_encode(bpe *b, const char *data, size_t len, token_ids *out)
{
    if (len == 0) return;
    const int32_t whole = b->t->ignore_merges ? whole_token(b, data, len) : -1;
    if (whole >= 0) {
        vec_push(out, whole);
        return;
    }

    set_parts(b, data, len);
    for (int32_t i = 0; i + 1 < (int32_t)b->parts.len; i++) propose(b, i);
    while (b->heap.len > 0) {
        const bpe_merge best = take_best(b);
        if (still_there(b, &best)) merge(b, &best);
    }

    /* The first part is never swallowed: merges go to the left one. */
    int32_t i = b->parts.len > 0 ? 0 : -1;
    for (; i >= 0; i = b->parts.data[i].next) vec_push(out, b->parts.data[i].id);
}

void bpe_reset(bpe *b)
{
    vec_free(&b->parts);
    vec_free(&b->heap);
    str_free(&b->written);
}
