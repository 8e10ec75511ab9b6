/* SPDX-License-Identifier: MIT */
#include "actor/kv_pages.h"

#include <assert.h>
#include <stdlib.h>

#include "base/str.h"

struct kv_pages {
    int n_pages, n_free;
    int32_t free_list[]; /* a stack: the page given back last is still warm in the cache */
};

kv_pages *kv_pages_new(int n_pages)
{
    kv_pages *p = xmalloc(sizeof *p + sizeof(int32_t) * (size_t)n_pages);
    p->n_pages = p->n_free = n_pages;
    for (int i = 0; i < n_pages; i++) p->free_list[i] = n_pages - 1 - i;
    return p;
}

void kv_pages_free(kv_pages *p) { free(p); }

int32_t kv_pages_take(kv_pages *p) { return p->n_free > 0 ? p->free_list[--p->n_free] : -1; }

void kv_pages_give(kv_pages *p, int32_t page)
{
    assert(p->n_free < p->n_pages && page >= 0 && page < p->n_pages);
    p->free_list[p->n_free++] = page;
}

int kv_pages_used(const kv_pages *p) { return p->n_pages - p->n_free; }
