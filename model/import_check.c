/* SPDX-License-Identifier: MIT */
#include "model/import_check.h"

#include "model/config.h"
#include "model/tokenizer/tokenizer.h"

int import_check(const char *dir, int64_t tokens, const char *model_path, const char *tokenizer_path, error *err)
{
    model_config config;
    int rc = model_config_read(&config, dir, err);
    if (rc != OK) return error_within(err, "%s", model_path);

    tokenizer *t = tokenizer_open(dir, err);
    if (!t) return error_within(err, "%s", tokenizer_path);

    if (tokenizer_vocab(t) != tokens)
        rc = error_set(err, ERR_PARSE, "%s: only %d of %lld tokens are distinct", tokenizer_path, tokenizer_vocab(t),
                       (long long)tokens);

    tokenizer_free(t);
    return rc;
}
