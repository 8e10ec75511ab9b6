#include "model/kv_cache.h"

#include <stdlib.h>

#include "base/str.h"

kv_cache *kv_cache_new(device *dev, const model_config *config, int n_pages, error *err)
{
    if (n_pages < 1) {
        error_set(err, ERR_ARGUMENT, "a key/value cache needs at least one page, not %d", n_pages);
        return NULL;
    }
    kv_cache *kv = xcalloc(1, sizeof *kv);
    *kv = (kv_cache){ .dev = dev, .layers = config->layers, .kv_heads = config->kv_heads, .head_dim = config->head_dim, .n_pages = n_pages };
    const size_t floats = (size_t)config->layers * (size_t)n_pages * KV_PAGE * (size_t)(config->kv_heads * config->head_dim);
    kv->k = device_alloc(dev, sizeof(float) * floats);
    kv->v = device_alloc(dev, sizeof(float) * floats);
    return kv;
}

void kv_cache_free(kv_cache *kv)
{
    if (!kv) return;
    device_free(kv->dev, kv->k);
    device_free(kv->dev, kv->v);
    free(kv);
}
