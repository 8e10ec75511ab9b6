/* SPDX-License-Identifier: MIT */
/* cells - the code that the calls of an episode have run, for a Python whose variables last: a call runs the earlier
 * ones again, in silence, and then its own. So no process lives between calls, a box that is lost costs no episode its
 * variables, and a call says the same however often it is made. Chance of each is its own again (its seed).
 *
 * A call that ended by itself counts, an exception included; one that a limit ended left nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "env/router.h"

typedef struct cells cells;
cells *cells_new(void);
void cells_free(cells *c);

/* What the box is asked (box_config.cells): JSON, [[seed, code], ...], this call's last. It is noted until it ends; the
 * same call may be asked again. ctx->play 0: it is alone. The caller frees. */
char *cells_request(cells *c, uint64_t call, const char *code, size_t len, const tool_context *ctx, size_t *out_len);
/* ran: it came to its own end. */
void cells_ended(cells *c, uint64_t call, bool ran);
void cells_leave(cells *c, uint64_t play);
