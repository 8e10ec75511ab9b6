/* SPDX-License-Identifier: MIT */
/* kv_pages - which pages of the cache are free. A page has one owner: a stream, or an entry of the prefix tree. */
#pragma once

#include <stdint.h>

typedef struct kv_pages kv_pages;

kv_pages *kv_pages_new(int n_pages);
void kv_pages_free(kv_pages *p);
int32_t kv_pages_take(kv_pages *p); /* -1: none is free */
void kv_pages_give(kv_pages *p, int32_t page);
int kv_pages_used(const kv_pages *p);
