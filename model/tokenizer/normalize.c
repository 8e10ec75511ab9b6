/* SPDX-License-Identifier: MIT */
/* Normalizers: what is done to a segment of text before it is split. utf8proc has Unicode's tables; the rest is search
 * and replace. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "model/tokenizer/internal.h"

/* Appends normal form C of well-formed UTF-8. Its tables may be newer than those a model was trained with; a character
 * they don't know stays as it is, as anywhere. */
static int append_nfc(const char *text, size_t len, str *out, error *err)
{
    utf8proc_uint8_t *result = NULL;
    const utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)len, &result,
                                            UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n < 0) return error_set(err, ERR_PARSE, "normal form C: %s", utf8proc_errmsg(n));
    str_add(out, (const char *)result, (size_t)n);
    free(result);
    return OK;
}

/* Segments of characters are normalized; bytes that are none stay. */
static int nfc(const char *text, size_t len, str *out, error *err)
{
    const char *end = text + len, *p = text;
    int rc = OK;
    while (rc == OK && p < end) {
        const size_t n = utf8_run(p, end);
        if (n > 0) rc = append_nfc(p, n, out, err);
        p += n;
        if (p < end) str_putc(out, *p++);
    }
    return rc;
}

static void replace(const normalizer *n, const char *text, size_t len, str *out)
{
    const size_t old = strlen(n->from);
    const char *end = text + len;
    while (text < end) {
        const char *found = memmem(text, (size_t)(end - text), n->from, old);
        str_add(out, text, (size_t)((found ? found : end) - text));
        if (!found) break;
        str_puts(out, n->to);
        text = found + old;
    }
}

static int apply(const normalizer *n, const char *text, size_t len, place where, str *out, error *err)
{
    switch (n->kind) {
    case NORMALIZE_NFC:
        return nfc(text, len, out, err);
    case NORMALIZE_PREPEND:
        if (len > 0 && where != CONTINUES) str_puts(out, n->to);
        str_add(out, text, len);
        return OK;
    case NORMALIZE_REPLACE:
        replace(n, text, len, out);
        return OK;
    }
    return OK;
}

bool normalize_is_needed(const tokenizer *t, const char *text, size_t len)
{
    size_t at;
    for (int i = 0; i < t->n_normalizers; i++)
        if (t->normalizers[i].kind != NORMALIZE_NFC || !nfc_for_certain(text, len, &at)) return true;
    return false;
}

int normalize(const tokenizer *t, const char *text, size_t len, place where, str *out, error *err)
{
    str from = { 0 };
    int rc = OK;

    str_clear(out);
    str_add(out, text, len);
    for (int i = 0; rc == OK && i < t->n_normalizers; i++) {
        const str swap = from; /* each step reads what the one before wrote */
        from = *out;
        *out = swap;
        str_clear(out);
        rc = apply(&t->normalizers[i], str_text(&from), from.len, where, out, err);
    }
    str_free(&from);
    return rc;
}

bool is_word_character(const char *p, const char *end)
{
    utf8proc_int32_t c;
    if (utf8_length(p, end) == 0 || utf8proc_iterate((const utf8proc_uint8_t *)p, end - p, &c) <= 0) return false;
    const utf8proc_category_t k = utf8proc_category(c);
    return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NO) || k == UTF8PROC_CATEGORY_PC;
}
