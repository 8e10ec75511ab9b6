/* SPDX-License-Identifier: MIT */
/* passages - a corpus that is searched by words: one SQLite file with a full-text index (FTS5), ranked by BM25
 * (Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework"; k1 1.2, b 0.75 as in FTS5).
 *
 *     passages_build   a corpus of JSON lines -> the file         (troupe index CORPUS.jsonl OUT)
 *     passages_open    the file -> passages that can be searched  (env/tools/search.h)
 *
 * A line of a corpus is an object with the passage as "text" ("contents", "content" and "passage" are read, too), and
 * may have a "title". Words are compared without case and accents, English ones by their stem (Porter).
 *
 * The same file and query give the same text. One thread uses an opened index. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

typedef struct passages passages;

enum { PASSAGES_MAX = 50 }; /* that a search can ask for */

/* Writes the index of `corpus` at `out`, which appears once it is whole; *count: passages. ERR_PARSE names the line;
 * ERR_STATE: at `out` is something that is no index. `stops` (or NULL) is asked now and then: true ends it with
 * ERR_INTERRUPTED, and nothing is left. */
int passages_build(const char *corpus, const char *out, bool (*stops)(void), int64_t *count, error *err);

/* ERR_PARSE: a file that passages_build did not write; ERR_UNSUPPORTED: of another format. */
passages *passages_open(const char *path, error *err);
void passages_free(passages *p);
int64_t passages_count(const passages *p); /* for tests */

/* Appends the `k` best passages for the words of `query`, the best first, or that there is none:
 *
 *     [1] TITLE
 *     TEXT
 *
 * *found: how many. `stops` is asked now and then while it runs, by its own thread (NULL: never): true ends the search
 * with ERR_TIMEOUT. */
int passages_search(passages *p, const char *query, int k, bool (*stops)(void *ctx), void *ctx, str *out, int *found,
                    error *err);
