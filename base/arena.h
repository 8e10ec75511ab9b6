/* SPDX-License-Identifier: MIT */
/* arena - a bump allocator for memory that dies together: one a step, one an episode.
 *
 * Grows by chunks that are kept and reused after a reset (page faults are the expensive part, not the bumping).
 * Running out of memory ends the process with a sentence (memory_exhausted): an arena's users have no other way on. One
 * thread owns an arena. */
#pragma once

#include <stddef.h>

typedef struct arena arena;

arena *arena_new(size_t chunk_bytes);
void arena_free(arena *a);
void *arena_alloc(arena *a, size_t bytes);  /* 64-byte aligned, contents undefined */
void *arena_zalloc(arena *a, size_t bytes); /* the same, zeroed */
char *arena_strdup(arena *a, const char *s);
char *arena_strndup(arena *a, const char *s, size_t len); /* always terminated */
void arena_reset(arena *a);                               /* forgets everything, keeps the chunks */
size_t arena_peak_bytes(const arena *a);                  /* for tests: the most ever in use between resets */
#define arena_array(a, type, n) ((type *)arena_alloc((a), sizeof(type) * (size_t)(n)))
