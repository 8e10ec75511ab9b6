/* SPDX-License-Identifier: MIT */
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/str.h"

/* Both maps are the same machine: entries in order of insertion, and a table of slots that holds entry numbers + 1.
 *
 *      slots   [ 0 | 3 | 0 | 1 | 2 | ... ]      a power of two, at most half full; linear probing
 *      entries [ key value | key value | (removed) | key value ]
 *
 * A removed entry stays until the next rebuild, so that its slot keeps the probes after it together. */
typedef struct entry {
    uint64_t hash; /* of a string key; or the 64-bit key itself */
    char *key;     /* NULL in an idmap */
    void *value;
    bool live;
} entry;

typedef struct table {
    entry *entries;
    uint32_t *slots;
    size_t n_entries, n_slots, n_live;
} table;

struct map {
    table t;
};
struct idmap {
    table t;
};

static bool same(const entry *e, uint64_t hash, const char *key)
{
    return e->live && e->hash == hash && (!key || strcmp(e->key, key) == 0);
}

static size_t first_slot(const table *t, uint64_t hash)
{
    return (size_t)(hash * 0x9e3779b97f4a7c15u >> 32) & (t->n_slots - 1);
}

static entry *find(const table *t, uint64_t hash, const char *key)
{
    if (t->n_slots == 0) return NULL;
    for (size_t i = first_slot(t, hash); t->slots[i]; i = (i + 1) & (t->n_slots - 1)) {
        entry *e = &t->entries[t->slots[i] - 1];
        if (same(e, hash, key)) return e;
    }
    return NULL;
}

static void put_slot(table *t, size_t index)
{
    size_t i = first_slot(t, t->entries[index].hash);
    while (t->slots[i]) i = (i + 1) & (t->n_slots - 1);
    t->slots[i] = (uint32_t)(index + 1);
}

/* Drops the removed entries and makes room for twice the live ones. */
static void rebuild(table *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->n_entries; i++)
        if (t->entries[i].live) t->entries[kept++] = t->entries[i];
    t->n_entries = kept;

    size_t n_slots = 16;
    while (n_slots < 4 * (kept + 1)) n_slots *= 2;
    free(t->slots);
    t->slots = xcalloc(n_slots, sizeof *t->slots);
    t->n_slots = n_slots;
    t->entries = xrealloc(t->entries, n_slots / 2 * sizeof *t->entries);
    for (size_t i = 0; i < kept; i++) put_slot(t, i);
}

static void set(table *t, uint64_t hash, const char *key, void *value)
{
    entry *e = find(t, hash, key);
    if (e) {
        e->value = value;
        return;
    }
    if (t->n_entries == t->n_slots / 2) rebuild(t);
    t->entries[t->n_entries] = (entry){ .hash = hash, .key = xstrdup(key), .value = value, .live = true };
    put_slot(t, t->n_entries++);
    t->n_live++;
}

static bool remove_entry(table *t, uint64_t hash, const char *key)
{
    entry *e = find(t, hash, key);
    if (!e) return false;
    free(e->key);
    *e = (entry){ .hash = e->hash };
    t->n_live--;
    return true;
}

static const entry *next(const table *t, size_t *cursor)
{
    while (*cursor < t->n_entries) {
        const entry *e = &t->entries[(*cursor)++];
        if (e->live) return e;
    }
    return NULL;
}

static void table_free(table *t)
{
    for (size_t i = 0; i < t->n_entries; i++) free(t->entries[i].key);
    free(t->entries);
    free(t->slots);
}

static uint64_t hash_of(const char *key) { return hash_bytes(key, strlen(key), 0); }

map *map_new(void) { return xcalloc(1, sizeof(map)); }

void map_free(map *m)
{
    if (!m) return;
    table_free(&m->t);
    free(m);
}

void *map_get(const map *m, const char *key)
{
    const entry *e = find(&m->t, hash_of(key), key);
    return e ? e->value : NULL;
}

void map_set(map *m, const char *key, void *value) { set(&m->t, hash_of(key), key, value); }

bool map_next(const map *m, size_t *cursor, const char **key, void **value)
{
    const entry *e = next(&m->t, cursor);
    if (!e) return false;
    if (key) *key = e->key;
    if (value) *value = e->value;
    return true;
}

idmap *idmap_new(void) { return xcalloc(1, sizeof(idmap)); }

void idmap_free(idmap *m)
{
    if (!m) return;
    table_free(&m->t);
    free(m);
}

void *idmap_get(const idmap *m, uint64_t key)
{
    const entry *e = find(&m->t, key, NULL);
    return e ? e->value : NULL;
}

void idmap_set(idmap *m, uint64_t key, void *value) { set(&m->t, key, NULL, value); }

bool idmap_remove(idmap *m, uint64_t key) { return remove_entry(&m->t, key, NULL); }

size_t idmap_size(const idmap *m) { return m->t.n_live; }

bool idmap_next(const idmap *m, size_t *cursor, uint64_t *key, void **value)
{
    const entry *e = next(&m->t, cursor);
    if (!e) return false;
    if (key) *key = e->hash;
    if (value) *value = e->value;
    return true;
}
