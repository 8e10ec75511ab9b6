/* SPDX-License-Identifier: MIT */
/* content - what a server answered to tools/call, as the text that the policy reads. */
#pragma once

#include <stdbool.h>

#include "base/json.h"

/* `message`: the JSON-RPC answer. *ok: the tool did it; else the text tells of an error. The caller frees. */
char *mcp_content(const json_t *message, bool *ok);
