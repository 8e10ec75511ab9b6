/* SPDX-License-Identifier: MIT */
/* Linear matching against PCRE2: whatever pattern it takes, its matches and captures are PCRE2's. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "lua/linear.h"
#include "tests/support/support.h"

enum { PATTERNS = 30000, TEXTS = 6, STEPS = 10000000 };

static const char *one_of(test_random *rnd, const char *const *list, size_t n)
{
    return list[test_random_below(rnd, n)];
}

static void add_pattern(test_random *rnd, int depth, str *out);

static void add_atom(test_random *rnd, int depth, str *out)
{
    static const char *const ATOMS[] = { "a",         "b",   "c",   "x",    ".",      "\\w",       "\\W",
                                         "\\d",       "\\s", "\\S", "[ab]", "[^a]",   "[a-c]",     "\\b",
                                         "\\B",       "^",   "$",   "\\n",  "[\\w-]", "\\.",       "[^\\s]",
                                         "\\A",       "\\Z", "\\z", "[]a]", "\u00e9", "[\u00e9x]", "\n",
                                         "[^\u00e9]", "1",   "{",   "K",    "[^b\\d]" };
    static const char *const OPENS[] = { "(", "(?:", "(?i:", "(?s:", "(?m:", "(?<n>", "(?ms:" };
    if (depth == 0 || test_random_below(rnd, 3) > 0) {
        str_puts(out, one_of(rnd, ATOMS, sizeof ATOMS / sizeof *ATOMS));
        return;
    }
    const char *open = one_of(rnd, OPENS, sizeof OPENS / sizeof *OPENS);
    str_puts(out, strcmp(open, "(?<n>") == 0 && out->data && strstr(out->data, "?<n>") ? "(" : open);
    add_pattern(rnd, depth - 1, out);
    str_puts(out, ")");
}

static void add_pattern(test_random *rnd, int depth, str *out)
{
    static const char *const TIMES[] = { "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,2}?", "{2,}", "{1,}?" };
    const size_t n = test_random_below(rnd, 4);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && test_random_below(rnd, 5) == 0) str_putc(out, '|');
        add_atom(rnd, depth, out);
        if (test_random_below(rnd, 3) == 0) str_puts(out, one_of(rnd, TIMES, sizeof TIMES / sizeof *TIMES));
    }
}

static void fill_text(test_random *rnd, str *out)
{
    static const char *const PIECES[] = { "a",  "a", "b", "b", "c",      "x", "A",      "K",  "k",  " ",
                                          "\n", "1", ".", "-", "\u00e9", "{", "\u212a", "ab", "aaa" };
    const size_t n = test_random_below(rnd, 12);
    str_clear(out);
    str_puts(out, "");
    for (size_t i = 0; i < n; i++) str_puts(out, one_of(rnd, PIECES, sizeof PIECES / sizeof *PIECES));
}

typedef struct both {
    pcre2_code *code;
    pcre2_match_data *match;
    linear *mine;
    void *scratch;
} both;

static void compare(const both *b, const char *pattern, const str *text, size_t from)
{
    int32_t spans[2 * LINEAR_GROUPS];
    int64_t steps = STEPS;
    int n = 0;
    const int theirs = pcre2_match(b->code, (PCRE2_SPTR)text->data, text->len, from, 0, b->match, NULL);
    const linear_end end = linear_search(b->mine, text->data, text->len, from, b->scratch, &steps, spans, &n);
    const int ours = end == LINEAR_MATCH ? n : end == LINEAR_NO_MATCH ? PCRE2_ERROR_NOMATCH : 0;
    const PCRE2_SIZE *o = pcre2_get_ovector_pointer(b->match);
    bool same = ours == theirs;
    for (int i = 0; same && i < 2 * ours; i++) same = spans[i] == (o[i] == PCRE2_UNSET ? -1 : (int32_t)o[i]);
    if (!same)
        fail_msg("/%s/ on '%s' from %zu: %d groups at %d-%d, PCRE2 has %d at %d-%d", pattern, text->data, from, ours,
                 n ? spans[0] : -1, n ? spans[1] : -1, theirs, theirs > 0 ? (int)o[0] : -1,
                 theirs > 0 ? (int)o[1] : -1);
}

static void its_matches_are_those_of_pcre2(void **state)
{
    (void)state;
    str pattern = { 0 }, text = { 0 };
    int taken = 0, compiled = 0;
    test_random rnd = test_random_seed(11);
    for (int i = 0; i < PATTERNS; i++) {
        int code;
        PCRE2_SIZE at;
        str_clear(&pattern);
        str_puts(&pattern, "");
        add_pattern(&rnd, 3, &pattern);
        both b = { .code = pcre2_compile((PCRE2_SPTR)pattern.data, pattern.len, PCRE2_UTF, &code, &at, NULL) };
        if (!b.code) continue;
        compiled++;
        b.mine = linear_new(pattern.data, pattern.len);
        if (b.mine) {
            taken++;
            b.match = pcre2_match_data_create(LINEAR_GROUPS, NULL);
            b.scratch = xmalloc(linear_scratch(b.mine));
            for (int k = 0; k < TEXTS; k++) {
                fill_text(&rnd, &text);
                compare(&b, pattern.data, &text, 0);
                if (text.len > 1 && !(text.data[1] & 0x80)) compare(&b, pattern.data, &text, 1);
            }
            free(b.scratch);
            pcre2_match_data_free(b.match);
        }
        linear_free(b.mine);
        pcre2_code_free(b.code);
    }
    if (taken * 10 < compiled * 6) fail_msg("only %d of %d patterns were taken", taken, compiled);
    str_free(&pattern);
    str_free(&text);
}

/* What it is not sure of is PCRE2's. */
static void what_it_does_not_know_it_refuses(void **state)
{
    (void)state;
    static const char *const PATTERNS_OF_PCRE2[] = { "(a)\\1",      "(?=a)",   "(?!a)b",     "(?<=a)b", "(?<!a)b",
                                                     "a++",         "(?>a)",   "(a*)*",      "(|a)+",   "\\p{L}",
                                                     "[[:alpha:]]", "(?x) a",  "\\R",        "(?P=n)",  "(*UTF)a",
                                                     "a{2}{3}",     "\\Qa\\E", "\\G",        "\\K",     "(?|a)",
                                                     "(?R)",        "(?1)",    "(?i)\u00e9", "[\\d-x]", "\\x41" };
    for (size_t i = 0; i < sizeof PATTERNS_OF_PCRE2 / sizeof *PATTERNS_OF_PCRE2; i++) {
        linear *r = linear_new(PATTERNS_OF_PCRE2[i], strlen(PATTERNS_OF_PCRE2[i]));
        if (r) fail_msg("/%s/ was taken", PATTERNS_OF_PCRE2[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_matches_are_those_of_pcre2),
        cmocka_unit_test(what_it_does_not_know_it_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
