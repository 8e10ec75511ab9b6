/* SPDX-License-Identifier: MIT */
/* sql-host FILE MEMORY_MB ROWS OUTPUT_BYTES SOCKET: the process in which queries run. Only T.sql starts it, and reads
 * through the socket what goes wrong: nothing is printed. */
#include <limits.h>

#include "cli/verbs.h"
#include "env/tools/sql.h"

static int run_verb(call *c, error *err)
{
    int64_t n[4];
    bool read = c->argc == 6;
    for (int i = 0; read && i < 4; i++) read = value_whole("number", c->argv[i + 2], 0, INT_MAX, &n[i], err) == OK;
    if (!read) return call_wrong(c, err, "a run starts it for the T.sql of its recipe");

    const sql_host host = {
        .database = c->argv[1], .memory_mb = (int)n[0], .rows = (int)n[1], .output_bytes = (int)n[2], .sock = (int)n[3]
    };
    if (sql_serve(&host, err) == OK) return OK;
    c->status = 1;
    return CALL_OVER;
}

const verb VERB_SQL_HOST = { .name = "sql-host", .reports = true, .run = run_verb };
