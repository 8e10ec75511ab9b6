/* SPDX-License-Identifier: MIT */
/* retrieved - what a retrieval server says to POST /retrieve, the form that Search-R1 (arXiv 2503.09516) began. Its
 * servers and verl's take "queries", SkyRL's "query": both are sent, since each passes over what it doesn't know.
 *
 *     {"queries": ["..."], "query": "...", "topk": 3, "return_scores": true}
 *  -> {"result": [[{"document": {"id": "7", "contents": "\"TITLE\"\nTEXT"}, "score": 0.8}, ...]]} */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "base/str.h"

/* The request's body; the caller frees. */
char *retrieved_question(const char *query, int k);
/* Appends the first query's documents, k at most, as passage_show does, or that there is none. Read are documents with
 * and without a score around them, as an object or a text, and the title as the first line of "contents" or by its own
 * name. ERR_PARSE: it is something else. */
int retrieved_show(const char *answer, size_t len, int k, str *out, error *err);
