/* SPDX-License-Identifier: MIT */
#include "model/kv_cache.h"

#include <stdlib.h>

#include "base/str.h"

size_t kv_page_bytes(const model_config *c)
{
    return sizeof(float) * 2 * (size_t)c->layers * KV_PAGE * (size_t)(c->kv_heads * c->head_dim);
}

kv_cache *kv_cache_new(device *dev, const model_config *config, int n_pages, error *err)
{
    if (n_pages < 1) {
        error_set(err, ERR_ARGUMENT, "a key/value cache needs at least one page, not %d", n_pages);
        return NULL;
    }

    size_t bytes = sizeof(float) * KV_PAGE * (size_t)config->head_dim;
    if (__builtin_mul_overflow(bytes, (size_t)config->kv_heads, &bytes) ||
        __builtin_mul_overflow(bytes, (size_t)config->layers, &bytes) ||
        __builtin_mul_overflow(bytes, (size_t)n_pages, &bytes)) {
        error_set(err, ERR_MEMORY, "a key/value cache of %d pages for %d layers is larger than any memory", n_pages,
                  config->layers);
        return NULL;
    }

    kv_cache *kv = xcalloc(1, sizeof *kv);
    *kv = (kv_cache){ .dev = dev,
                      .layers = config->layers,
                      .kv_heads = config->kv_heads,
                      .head_dim = config->head_dim,
                      .n_pages = n_pages };

    kv->k = device_try(dev, bytes, err);
    kv->v = kv->k ? device_try(dev, bytes, err) : NULL;
    if (kv->v) return kv;

    if (err) error_within(err, "key and value pages");
    kv_cache_free(kv);
    return NULL;
}

void kv_cache_free(kv_cache *kv)
{
    if (!kv) return;
    device_free(kv->dev, kv->k);
    device_free(kv->dev, kv->v);
    free(kv);
}
