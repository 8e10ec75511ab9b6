/* SPDX-License-Identifier: MIT */
/* map - string keys or 64-bit keys to pointers; open addressing, insertion order kept for iteration. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct map map; /* string keys, copied */
map *map_new(void);
void map_free(map *m); /* the values stay the caller's */
void *map_get(const map *m, const char *key);
void map_set(map *m, const char *key, void *value);
/* Walks in order of insertion: `for (size_t i = 0; map_next(m, &i, &key, &value);)` */
bool map_next(const map *m, size_t *cursor, const char **key, void **value);

typedef struct idmap idmap; /* uint64 keys */
idmap *idmap_new(void);
void idmap_free(idmap *m);
void *idmap_get(const idmap *m, uint64_t key);
void idmap_set(idmap *m, uint64_t key, void *value);
bool idmap_remove(idmap *m, uint64_t key);
size_t idmap_size(const idmap *m);
bool idmap_next(const idmap *m, size_t *cursor, uint64_t *key, void **value);
