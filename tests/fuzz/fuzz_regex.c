/* SPDX-License-Identifier: MIT */
/* fuzz_regex - whatever pattern the linear matcher takes of those that PCRE2 takes, its match in any text is PCRE2's,
 * groups included. And the words of a text are their own words. The first 0 byte parts pattern and text. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "lua/linear.h"
#include "lua/words.h"

enum { STEPS = 1000000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_match(const linear *r, const pcre2_code *code, const char *text, size_t len)
{
    int32_t spans[2 * LINEAR_GROUPS];
    int64_t steps = STEPS;
    int n = 0;
    pcre2_match_data *match = pcre2_match_data_create(LINEAR_GROUPS, NULL);
    const int theirs = pcre2_match(code, (PCRE2_SPTR)text, len, 0, 0, match, NULL);
    const PCRE2_SIZE *o = pcre2_get_ovector_pointer(match);
    if (theirs >= PCRE2_ERROR_NOMATCH) { /* else it gave up, or the text is not UTF-8 */
        void *scratch = xmalloc(linear_scratch(r));
        const linear_end end = linear_search(r, text, len, 0, scratch, &steps, spans, &n);
        if (end != LINEAR_TOO_LONG && (end == LINEAR_MATCH ? n : PCRE2_ERROR_NOMATCH) != theirs) abort();
        for (int i = 0; end == LINEAR_MATCH && i < 2 * n; i++)
            if (spans[i] != (o[i] == PCRE2_UNSET ? LINEAR_NONE : (int32_t)o[i])) abort();
        free(scratch);
    }
    pcre2_match_data_free(match);
}

static void check_words(const char *text, size_t len)
{
    char *once = xmalloc(len + 1), *twice = xmalloc(len + 1);
    const size_t n = words_normalise(text, len, once);
    if (n > len || words_normalise(text, len, twice) != n || memcmp(once, twice, n) != 0) abort();
    free(once);
    free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *part = size ? memchr(data, 0, size) : NULL;
    const size_t n = part ? (size_t)(part - data) : size;
    const char *pattern = (const char *)data, *text = part ? (const char *)part + 1 : "";
    const size_t len = part ? size - n - 1 : 0;
    int why;
    PCRE2_SIZE at;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, n, PCRE2_UTF, &why, &at, NULL);
    linear *r = linear_new(pattern, n);
    if (code && r) check_match(r, code, text, len);
    check_words(text, len);
    linear_free(r);
    pcre2_code_free(code);
    return 0;
}
