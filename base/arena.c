/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/str.h"

enum { ALIGN = 64 };

typedef struct chunk {
    unsigned char *data;
    size_t size, used;
} chunk;

/* Chunks [0, current] hold what is in use, in order; those after are empty and kept. A request that does not fit in a
 * kept chunk gets one of its own size, put where it is needed: order is what makes a rewind possible. */
struct arena {
    chunk *chunks;
    size_t n, capacity, current;
    size_t chunk_bytes, in_use, peak;
};

static size_t round_up(size_t bytes)
{
    if (bytes > SIZE_MAX - ALIGN) memory_exhausted(bytes);
    return bytes == 0 ? ALIGN : (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

arena *arena_new(size_t chunk_bytes)
{
    arena *a = xcalloc(1, sizeof *a);
    a->chunk_bytes = round_up(chunk_bytes);
    return a;
}

void arena_free(arena *a)
{
    if (!a) return;
    for (size_t i = 0; i < a->n; i++) free(a->chunks[i].data);
    free(a->chunks);
    free(a);
}

/* Puts a new chunk at place `at`; the empty ones from there move up by one. */
static void insert_chunk(arena *a, size_t at, size_t bytes)
{
    if (a->n == a->capacity) {
        a->capacity = a->capacity ? 2 * a->capacity : 8;
        a->chunks = xrealloc(a->chunks, a->capacity * sizeof *a->chunks);
    }
    void *data = memory_fits(bytes, 0, NULL) ? aligned_alloc(ALIGN, bytes) : NULL;
    if (!data) memory_exhausted(bytes);
    memmove(a->chunks + at + 1, a->chunks + at, (a->n - at) * sizeof *a->chunks);
    a->chunks[at] = (chunk){ .data = data, .size = bytes };
    a->n++;
}

/* The chunk the next `bytes` come from. */
static chunk *chunk_for(arena *a, size_t bytes)
{
    if (a->n == 0) insert_chunk(a, 0, bytes > a->chunk_bytes ? bytes : a->chunk_bytes);
    chunk *c = &a->chunks[a->current];
    if (c->size - c->used >= bytes) return c;

    /* A kept chunk that is large enough moves up to be the next one; else a new one comes there. */
    size_t next = a->current + (c->used > 0); /* an empty chunk that is too small steps aside */
    for (size_t i = next; i < a->n; i++) {
        if (a->chunks[i].size < bytes) continue;
        chunk found = a->chunks[i];
        memmove(a->chunks + next + 1, a->chunks + next, (i - next) * sizeof found);
        a->chunks[next] = found;
        a->current = next;
        return &a->chunks[next];
    }

    insert_chunk(a, next, bytes > a->chunk_bytes ? bytes : a->chunk_bytes);
    a->current = next;
    return &a->chunks[next];
}

void *arena_alloc(arena *a, size_t bytes)
{
    bytes = round_up(bytes);
    chunk *c = chunk_for(a, bytes);
    void *p = c->data + c->used;
    c->used += bytes;
    a->in_use += bytes;
    if (a->in_use > a->peak) a->peak = a->in_use;
    return p;
}

void *arena_zalloc(arena *a, size_t bytes) { return memset(arena_alloc(a, bytes), 0, bytes); }

char *arena_strndup(arena *a, const char *s, size_t len)
{
    char *copy = arena_alloc(a, len + 1);
    if (len) memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *arena_strdup(arena *a, const char *s) { return arena_strndup(a, s, strlen(s)); }

void arena_reset(arena *a)
{
    for (size_t i = 0; i < a->n; i++) a->chunks[i].used = 0;
    a->current = 0;
    a->in_use = 0;
}

size_t arena_peak_bytes(const arena *a) { return a->peak; }
