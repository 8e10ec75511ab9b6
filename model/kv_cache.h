/* SPDX-License-Identifier: MIT */
/* kv_cache - the pages in which keys and values of decoded tokens lie. Geometry and storage only: who owns a page is
 * the engine's affair (actor/kv_pages). A page holds KV_PAGE tokens of every layer. */
#pragma once

#include "kernels/ops.h"
#include "model/config.h"

typedef struct kv_cache {
    device *dev; /* borrowed */
    int layers, kv_heads, head_dim, n_pages;
    float *k, *v; /* [layers, n_pages, KV_PAGE, kv_heads, head_dim] */
} kv_cache;

/* Pages are not cleared: what a sequence has not written yet is never read. */
kv_cache *kv_cache_new(device *dev, const model_config *config, int n_pages, error *err);
void kv_cache_free(kv_cache *kv);
/* What a page of KV_PAGE tokens takes. */
size_t kv_page_bytes(const model_config *config);
