/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "tests/unit/model/tokenizer/small.h"

/* The definition: printable Latin-1 stands for itself, the other bytes in order for U+0100 and on. */
static void the_byte_alphabet_is_gpt2s_and_is_its_own_inverse(void **state)
{
    (void)state;
    int next = 256;
    str written = { 0 }, back = { 0 };
    for (int b = 0; b < 256; b++) {
        const bool itself = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        const int c = itself ? b : next++;
        const char want[3] = { (char)(c < 128 ? c : 0xc0 | c >> 6), (char)(c < 128 ? 0 : 0x80 | (c & 63)), 0 };
        str_clear(&written);
        byte_to_alphabet((unsigned char)b, &written);
        assert_string_equal(written.data, want);
        str_clear(&back);
        assert_true(alphabet_to_bytes(written.data, &back));
        assert_int_equal(back.len, 1);
        assert_int_equal((unsigned char)back.data[0], b);
    }
    const char *const foreign[] = { " ", "\x7f", "\u00ad", "\u0144", "\u2581", "a\u4f60", "🦙" };
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) assert_false(alphabet_to_bytes(foreign[i], &back));
    str_free(&written);
    str_free(&back);
}

/* Against the bit patterns, written down once more: shortest form, no surrogate, at most U+10FFFF. */
static size_t length_by_value(const unsigned char *s, size_t left)
{
    static const uint32_t FIRST_OF[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (s[0] < 0x80) return 1;
    for (size_t n = 2; n <= 4 && n <= left; n++) {
        if (s[0] >> (7 - n) != (1 << (n + 1)) - 2) continue; /* n ones and a zero */
        uint32_t c = s[0] & (0x7fu >> n);
        for (size_t i = 1; i < n; i++) {
            if (s[i] >> 6 != 2) return 0;
            c = c << 6 | (s[i] & 63);
        }
        return c < FIRST_OF[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : n;
    }
    return 0;
}

static void only_well_formed_utf8_is_taken_for_it(void **state)
{
    (void)state;
    test_random rnd = test_random_seed(1);
    static const unsigned char interesting[] = { 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf,
                                                 0xe0, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xf8, 0xff, 'a' };
    for (int i = 0; i < 300000; i++) {
        unsigned char s[4];
        const size_t len = 1 + test_random_below(&rnd, 4);
        for (size_t k = 0; k < len; k++) s[k] = interesting[test_random_below(&rnd, sizeof interesting)];
        const size_t got = utf8_length((const char *)s, (const char *)s + len), want = length_by_value(s, len);
        if (got != want)
            fail_msg("%02x %02x ..., %zu bytes: got %zu, want %zu", s[0], len > 1 ? s[1] : 0, len, got, want);
    }
}

static void white_space_is_found_from_both_sides(void **state)
{
    (void)state;
    const char *const spaces[] = { " ",      "\t",     "\r",     "\xc2\x85", "\u00a0",
                                   "\u1680", "\u2003", "\u2028", "\u202f",   "\u3000" };
    const char *const others[] = { "a", "\u200b", "\xc2\x84", "\u180e", "\ufeff", "你", "\x1f" };
    char text[16];
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        const size_t n = strlen(spaces[i]);
        snprintf(text, sizeof text, "x%sy", spaces[i]);
        assert_int_equal(space_at(text + 1, text + 2 + n), n);
        assert_int_equal(space_before(text, text + 1 + n), n);
        assert_int_equal(space_before(text + 1, text + 1 + n), n);
        if (n > 1) assert_int_equal(space_before(text + 2, text + 1 + n), 0); /* half of it is none */
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(space_at(others[i], others[i] + strlen(others[i])), 0);
        assert_int_equal(space_before(others[i], others[i] + strlen(others[i])), 0);
    }
}

static void a_text_in_doubt_of_its_normal_form_is_named(void **state)
{
    (void)state;
    const char *const certain[] = { "plain", "Größe naïve", "привет",   "Ελλάδα",   "你好",
                                    "한국",  "日本のかな",  "🦙 ✅", "\xff\x80", "" };
    const struct {
        const char *text;
        size_t at;
    } doubtful[] = { { "e\u0301", 1 }, { "x\u212b", 1 },  { "ab\u1161", 2 },
                     { "\uf900", 0 },  { "か\u3099", 3 }, { "a\U0002f800", 1 } };
    size_t at = 99;
    for (size_t i = 0; i < sizeof certain / sizeof *certain; i++)
        if (!nfc_for_certain(certain[i], strlen(certain[i]), &at)) fail_msg("%s: doubted at byte %zu", certain[i], at);
    for (size_t i = 0; i < sizeof doubtful / sizeof *doubtful; i++) {
        assert_false(nfc_for_certain(doubtful[i].text, strlen(doubtful[i].text), &at));
        assert_int_equal(at, doubtful[i].at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_byte_alphabet_is_gpt2s_and_is_its_own_inverse),
        cmocka_unit_test(only_well_formed_utf8_is_taken_for_it),
        cmocka_unit_test(white_space_is_found_from_both_sides),
        cmocka_unit_test(a_text_in_doubt_of_its_normal_form_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
