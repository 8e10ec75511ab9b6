/* SPDX-License-Identifier: MIT */
/* search - the tool search(query): the best passages of an index (env/search/passages.h) for the words of a question.
 *
 * A thread of its own searches, so that the engine doesn't wait. Its code is ours and its data the recipe's; the policy
 * chooses words, which are no language to the index. */
#pragma once

#include "env/router.h"

#define SEARCH_NAME "search"
extern const char SEARCH_DESCRIPTION[], SEARCH_PARAMETERS[];

typedef struct search_config {
    const char *index;              /* its file */
    int k;                          /* passages of an answer; 0: 3 */
    const char *name, *description; /* NULL: SEARCH_NAME, SEARCH_DESCRIPTION; copied */
    int timeout_ms;                 /* of a search; 0: 10000 */
} search_config;

/* passages_open's errors. */
int search_tool(const search_config *config, tool *out, error *err);
