/* SPDX-License-Identifier: MIT */
/* prefix_tree - full pages whose tokens begin other streams too: computed once, shared by all.
 *
 * An entry is found by (weight hash, parent entry, the page's 16 tokens): a page stands for everything before it as
 * well, and one computed with other weights can't be asked for. Tokens are compared, not only hashed; entry ids are
 * never used twice, so the children of an evicted page are simply never found again.
 *
 *     promised --page computed--> ready --last user leaves--> cached (least recently used goes first) --> gone
 *
 * A promised entry is being computed by one stream in this very step: others wait a step for it instead of computing it
 * too. The tree owns the pages of its entries. One thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "actor/kv_pages.h"
#include "kernels/ops.h"

typedef struct prefix_tree prefix_tree;

typedef struct prefix_entry {
    uint64_t id, parent, hash; /* id 0 is the root: no page */
    uint64_t weight_hash;
    int32_t ids[KV_PAGE];
    int32_t page;
    int users;
    bool ready;
    struct prefix_entry *older, *newer; /* the cached ones, by time of last use */
} prefix_entry;

prefix_tree *prefix_tree_new(kv_pages *pages); /* pages borrowed */
void prefix_tree_free(prefix_tree *t);

/* The entry after `parent` (0: the root) for these tokens, or NULL. Does not take a use of it. */
prefix_entry *prefix_tree_find(prefix_tree *t, uint64_t weight_hash, uint64_t parent, const int32_t *ids);
/* Makes a promised entry with one user, on `page`, which is the tree's from now on. NULL (page stays the caller's) when
 * another entry stands under the same hash. */
prefix_entry *prefix_tree_promise(prefix_tree *t, uint64_t weight_hash, uint64_t parent, const int32_t *ids,
                                  int32_t page);
void prefix_entry_use(prefix_tree *t, prefix_entry *e);
void prefix_entry_leave(prefix_tree *t, prefix_entry *e); /* one without its page goes at once */
/* Gives up the cached entry that was used least recently. False: there is none. */
bool prefix_tree_evict(prefix_tree *t);
/* Forgets every cached entry: the weights have changed. No entry may be in use. */
void prefix_tree_clear(prefix_tree *t);
