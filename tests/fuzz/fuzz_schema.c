/* SPDX-License-Identifier: MIT */
/* fuzz_schema - any JSON is a schema of arguments or an error with a place; any JSON keeps to a schema or the policy
 * reads a sentence.
 *
 * Input: the schema, a line "====", the arguments. */
#include "base/json.h"
#include "env/schema.h"
#include "tests/fuzz/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    error err = { 0 };
    const str_view text = fuzz_part(&data, &size);
    json_t *schema = json_parse(text.data, text.len, "schema", NULL);
    json_t *value = json_parse((const char *)data, size, "arguments", NULL);
    int rc = schema ? schema_check(schema, &err) : ERR_PARSE;
    if (schema && rc != OK && (fuzz_failed(rc, &err), rc != ERR_PARSE)) abort();
    if (rc == OK && value && (rc = schema_validate(schema, value, &err)) != OK) {
        fuzz_failed(rc, &err);
        if (rc != ERR_ARGUMENT) abort();
    }
    json_decref(schema);
    json_decref(value);
    return 0;
}
