/* SPDX-License-Identifier: MIT */
/* fuzz_sql - whatever a query is, it ends, its text is bounded, and the database can be asked afterwards. */
#include <stdlib.h>
#include <string.h>

#include "env/sql/database.h"
#include "tests/fuzz/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { OUTPUT = 1000, NOTE = 100, ERROR = 520 };
    static const char TABLES[] =
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'y');";
    static const char ASK[] = "ROLLBACK; SELECT 6 * 7";
    static const database_limits LIMITS = {
        .memory_bytes = 4 << 20, .steps = 100000, .rows = 10, .output_bytes = OUTPUT
    };
    error err = { 0 };
    str out = { 0 }, after = { 0 };
    database *d = database_open(NULL, 0, &LIMITS, &err);
    if (!d || database_build(d, TABLES, &err) != OK) abort();
    const bool ok = database_query(d, 7, (const char *)data, size, &out);
    if (out.len > OUTPUT + NOTE + ERROR || (!ok && !strstr(str_text(&out), "error: ") && !memchr(data, 0, size)))
        abort();
    database_query(d, 7, (const char *)data, size, NULL);
    database_query(d, 7, ASK, 8, NULL); /* there may be no transaction to roll back */
    if (!database_query(d, 7, ASK + 10, sizeof ASK - 11, &after) || !strstr(after.data, "\n42\n")) abort();
    str_free(&out);
    str_free(&after);
    database_free(d);
    return 0;
}
