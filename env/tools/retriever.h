/* SPDX-License-Identifier: MIT */
/* retriever - the tool search(query) whose passages a retrieval server finds (env/search/retrieved.h), over HTTP.
 *
 * A server that can't be reached, is overloaded or fails (no connection, 429, 5xx) is asked again after a pause that
 * doubles, until the call's time is over; then the call is lost, and its sentence says why. */
#pragma once

#include "env/tools/search.h"

typedef struct retriever_config {
    const char *url;                /* its address, copied */
    const char *const *headers;     /* "Name: value", NULL-terminated, copied; NULL: none */
    int k;                          /* passages of an answer; 0: 3 */
    const char *name, *description; /* NULL: SEARCH_NAME, SEARCH_DESCRIPTION; copied */
    int timeout_ms;                 /* of a search; 0: 30000 */
} retriever_config;

/* Nothing is asked yet. http_new's and http_check_url's errors. */
int retriever_tool(const retriever_config *config, tool *out, error *err);
