/* SPDX-License-Identifier: MIT */
/* vec - typed growable arrays. `vec(int) v = {0}; vec_push(&v, 3); v.data[0]; vec_free(&v);` */
#pragma once

#include <stdlib.h>

#include "base/str.h"

#define vec(type)                                                                                                      \
    struct {                                                                                                           \
        type *data;                                                                                                    \
        size_t len, capacity;                                                                                          \
    }

#define vec_reserve(v, n)                                                                                              \
    do {                                                                                                               \
        if ((v)->capacity < (size_t)(n)) {                                                                             \
            size_t vec_new_ = (v)->capacity ? (v)->capacity : 8;                                                       \
            while (vec_new_ < (size_t)(n)) vec_new_ *= 2;                                                              \
            (v)->data = xrealloc((v)->data, vec_new_ * sizeof *(v)->data);                                             \
            (v)->capacity = vec_new_;                                                                                  \
        }                                                                                                              \
    } while (0)

#define vec_push(v, ...)                                                                                               \
    do {                                                                                                               \
        vec_reserve((v), (v)->len + 1);                                                                                \
        (v)->data[(v)->len++] = (__VA_ARGS__);                                                                         \
    } while (0)

#define vec_free(v)                                                                                                    \
    do {                                                                                                               \
        free((v)->data);                                                                                               \
        (v)->data = NULL;                                                                                              \
        (v)->len = (v)->capacity = 0;                                                                                  \
    } while (0)
