#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "model/tokenizer/internal.h"

enum { ON_STACK = 256 };

/* Parts of a piece as a linked list, merged best rank first (Sennrich et al. 2016; the leftmost of equals first). Pieces
 * are words: the quadratic search beats a heap up to a few hundred parts, and a longer piece pays for its length. */
typedef struct part {
    int32_t id;
    int next; /* -1: the last */
} part;

static uint64_t merge_of(const tokenizer *t, int32_t left, int32_t right)
{
    return (uint64_t)(uintptr_t)idmap_get(t->merges, (uint64_t)(uint32_t)left << 32 | (uint32_t)right);
}

static void merge_all(const tokenizer *t, part *parts)
{
    for (;;) {
        uint64_t best = UINT64_MAX;
        int at = -1;
        for (int i = 0; parts[i].next >= 0; i = parts[i].next) {
            const uint64_t m = merge_of(t, parts[i].id, parts[parts[i].next].id);
            if (m && m < best) best = m, at = i;
        }
        if (at < 0) return;
        parts[at].id = (int32_t)((best - 1) & 0xffffffff);
        parts[at].next = parts[parts[at].next].next;
    }
}

static int32_t whole_token(const tokenizer *t, const char *data, size_t len)
{
    str written = { 0 };
    for (size_t i = 0; i < len; i++) byte_to_alphabet((unsigned char)data[i], &written);
    const int32_t id = written.data ? tokenizer_id(t, written.data) : -1;
    str_free(&written);
    return id;
}

int bpe_encode(const tokenizer *t, const char *data, size_t len, token_ids *out, error *err)
{
    part small[ON_STACK], *parts = len <= ON_STACK ? small : xmalloc(sizeof(part) * len);
    const int32_t whole = t->ignore_merges ? whole_token(t, data, len) : -1;
    int rc = OK;
    for (size_t i = 0; i < len; i++) {
        parts[i] = (part){ .id = t->bytes[(unsigned char)data[i]], .next = i + 1 < len ? (int)i + 1 : -1 };
        if (parts[i].id < 0) rc = error_set(err, ERR_PARSE, "the vocabulary has no token for byte %d", (unsigned char)data[i]);
    }
    if (whole >= 0) {
        vec_push(out, whole);
    } else if (rc == OK && len > 0) {
        merge_all(t, parts);
        for (int i = 0; i >= 0; i = parts[i].next) vec_push(out, parts[i].id);
    }
    if (parts != small) free(parts);
    return rc;
}
