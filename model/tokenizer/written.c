/* SPDX-License-Identifier: MIT */
#include "model/tokenizer/written.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

static const char BETWEEN[] = " ,\n\t";

int written_ids_read(const tokenizer *t, const char *text, token_ids *out, error *err)
{
    char *end;

    for (const char *p = text + strspn(text, BETWEEN); *p; p = end + strspn(end, BETWEEN)) {
        errno = 0;
        const long id = strtol(p, &end, 10);

        if (end == p || errno == ERANGE)
            return error_set(err, ERR_ARGUMENT, "no id at '%.20s' (ids are written as '1 2 3')", p);
        if (id < 0 || id >= tokenizer_vocab(t))
            return error_set(err, ERR_ARGUMENT, "id %ld: the vocabulary ends at %d", id, tokenizer_vocab(t) - 1);
        vec_push(out, (int32_t)id);
    }
    return OK;
}

void written_ids(const token_ids *ids, const char *between, str *out)
{
    for (size_t i = 0; i < ids->len; i++) str_printf(out, "%s%" PRId32, i ? between : "", ids->data[i]);
}

void written_tokens_json(const tokenizer *t, const token_ids *ids, str *out)
{
    str token = { 0 };
    str_puts(out, "{\"ids\":[");
    written_ids(ids, ",", out);

    str_puts(out, "],\"tokens\":[");
    for (size_t i = 0; i < ids->len; i++) {
        if (i) str_putc(out, ',');
        str_clear(&token);
        tokenizer_decode_one(t, ids->data[i], true, &token);
        str_json(out, str_text(&token), token.len);
    }
    str_puts(out, "]}");
    str_free(&token);
}
