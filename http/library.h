/* SPDX-License-Identifier: MIT */
/* library - libcurl's functions, found when a process first needs one. It brings some thirty libraries along, which a
 * training that asks nothing over HTTP has no use for: their memory, and the time in which each process loads them. */
#pragma once

#include <curl/curl.h>

#include "base/error.h"

#define CURL_FUNCTIONS(X)                                                                                              \
    X(easy_init)                                                                                                       \
    X(easy_cleanup)                                                                                                    \
    X(easy_setopt)                                                                                                     \
    X(easy_getinfo)                                                                                                    \
    X(easy_header)                                                                                                     \
    X(easy_strerror)                                                                                                   \
    X(multi_init)                                                                                                      \
    X(multi_cleanup)                                                                                                   \
    X(multi_add_handle)                                                                                                \
    X(multi_remove_handle)                                                                                             \
    X(multi_setopt)                                                                                                    \
    X(multi_assign)                                                                                                    \
    X(multi_socket_action)                                                                                             \
    X(multi_info_read)                                                                                                 \
    X(multi_strerror)                                                                                                  \
    X(slist_append)                                                                                                    \
    X(slist_free_all)                                                                                                  \
    X(global_init)                                                                                                     \
    X(url)                                                                                                             \
    X(url_set)                                                                                                         \
    X(url_get)                                                                                                         \
    X(url_cleanup)                                                                                                     \
    X(free)

/* curl->easy_init is curl_easy_init, and so on. */
typedef struct curl_library {
#define CURL_MEMBER(name) __typeof__(curl_##name) *name;
    CURL_FUNCTIONS(CURL_MEMBER)
#undef CURL_MEMBER
} curl_library;

/* Loaded and made ready by the first call, from whatever thread; the same in all later ones, for as long as the process
 * lives. NULL: ERR_UNSUPPORTED, it is not installed, or too old. */
const curl_library *curl_library_get(error *err);
