/* SPDX-License-Identifier: MIT */
#include "actor/prefix_tree.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/map.h"
#include "base/str.h"

struct prefix_tree {
    kv_pages *pages; /* borrowed */
    idmap *entries;  /* by hash */
    uint64_t next_id;
    prefix_entry *oldest, *newest; /* cached: no user */
};

prefix_tree *prefix_tree_new(kv_pages *pages)
{
    prefix_tree *t = xcalloc(1, sizeof *t);
    t->pages = pages;
    t->entries = idmap_new();
    t->next_id = 1;
    return t;
}

static uint64_t hash_of(uint64_t weight_hash, uint64_t parent, const int32_t *ids)
{
    return hash_combine(hash_combine(weight_hash, parent), hash_bytes(ids, sizeof(int32_t) * KV_PAGE, 0));
}

prefix_entry *prefix_tree_find(prefix_tree *t, uint64_t weight_hash, uint64_t parent, const int32_t *ids)
{
    prefix_entry *e = idmap_get(t->entries, hash_of(weight_hash, parent, ids));
    if (!e || e->weight_hash != weight_hash || e->parent != parent) return NULL;
    return memcmp(e->ids, ids, sizeof e->ids) == 0 ? e : NULL;
}

prefix_entry *prefix_tree_promise(prefix_tree *t, uint64_t weight_hash, uint64_t parent, const int32_t *ids,
                                  int32_t page)
{
    const uint64_t hash = hash_of(weight_hash, parent, ids);
    if (idmap_get(t->entries, hash)) return NULL; /* a collision, or promised by another stream: it stays unshared */

    prefix_entry *e = xcalloc(1, sizeof *e);
    *e = (prefix_entry){
        .id = t->next_id++, .parent = parent, .hash = hash, .weight_hash = weight_hash, .page = page, .users = 1
    };
    memcpy(e->ids, ids, sizeof e->ids);
    idmap_set(t->entries, hash, e);
    return e;
}

/* Out of the list of pages without a user, oldest first. */
static void unlink_cached(prefix_tree *t, prefix_entry *e)
{
    if (e->older)
        e->older->newer = e->newer;
    else
        t->oldest = e->newer;
    if (e->newer)
        e->newer->older = e->older;
    else
        t->newest = e->older;
    e->older = e->newer = NULL;
}

static void forget(prefix_tree *t, prefix_entry *e)
{
    idmap_remove(t->entries, e->hash);
    kv_pages_give(t->pages, e->page);
    free(e);
}

void prefix_entry_use(prefix_tree *t, prefix_entry *e)
{
    if (e->users++ == 0) unlink_cached(t, e);
}

void prefix_entry_leave(prefix_tree *t, prefix_entry *e)
{
    assert(e->users > 0);
    if (--e->users > 0) return;
    if (!e->ready) { /* the stream ended before it was computed: no other must find it */
        forget(t, e);
        return;
    }

    e->older = t->newest;
    if (t->newest)
        t->newest->newer = e;
    else
        t->oldest = e;
    t->newest = e;
}

bool prefix_tree_evict(prefix_tree *t)
{
    prefix_entry *e = t->oldest;
    if (!e) return false;
    unlink_cached(t, e);
    forget(t, e);
    return true;
}

void prefix_tree_clear(prefix_tree *t)
{
    while (prefix_tree_evict(t)) continue;
    assert(idmap_size(t->entries) == 0);
}

void prefix_tree_free(prefix_tree *t)
{
    if (!t) return;
    prefix_tree_clear(t);
    idmap_free(t->entries);
    free(t);
}
