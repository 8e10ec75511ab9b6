/* SPDX-License-Identifier: MIT */
#include "base/hash.h"

#include <string.h>

#include "tests/support/support.h"

static void xxh64_gives_the_published_values(void **state)
{
    (void)state;
    assert_true(hash_bytes("", 0, 0) == 0xef46db3751d8e999u);
    assert_true(hash_bytes(NULL, 0, 0) == 0xef46db3751d8e999u);
    assert_true(hash_bytes("a", 1, 0) == 0xd24ec4f1a98c6e5bu);
    assert_true(hash_bytes("abc", 3, 0) == 0x44bc2cf5ad770999u);
    const char *fox = "The quick brown fox jumps over the lazy dog";
    assert_true(hash_bytes(fox, strlen(fox), 0) == 0x0b242d361fda71bcu);
}

/* The promise: any one bit, and the length, and the seed, change the hash; where the bytes lie does not. */
static void every_bit_counts_and_the_address_does_not(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 100; len++) {
        unsigned char a[128], b[128];
        test_random rnd = test_random_seed(len + 1);
        test_random_bytes(&rnd, a, sizeof a);
        memcpy(b + 3, a, len);
        uint64_t h = hash_bytes(a, len, 5);
        assert_true(hash_bytes(b + 3, len, 5) == h);
        assert_true(hash_bytes(a, len, 6) != h);
        assert_true(hash_bytes(a, len + 1, 5) != h);
        for (size_t bit = 0; bit < 8 * len; bit++) {
            a[bit / 8] ^= (unsigned char)(1u << bit % 8);
            if (hash_bytes(a, len, 5) == h) fail_msg("bit %zu of %zu bytes", bit, len);
            a[bit / 8] ^= (unsigned char)(1u << bit % 8);
        }
    }
}

static void bytes_that_come_in_pieces_have_the_hash_of_the_whole(void **state)
{
    (void)state;
    unsigned char a[300];
    for (size_t i = 0; i < sizeof a; i++) a[i] = (unsigned char)(i * 31 + 7);
    for (size_t len = 0; len <= sizeof a; len++)
        for (size_t first = 0; first <= len; first += HASH_STRIPE)
            for (size_t second = 0; first + second <= len; second += HASH_STRIPE) {
                hash_run r = hash_begin(9);
                hash_stripes(&r, a, first);
                hash_stripes(&r, a + first, second);
                const size_t at = first + second;
                if (hash_end(&r, a + at, len - at) != hash_bytes(a, len, 9)) fail_msg("%zu of %zu bytes", at, len);
            }
}

static void combining_minds_the_order(void **state)
{
    (void)state;
    assert_true(hash_combine(1, 2) != hash_combine(2, 1));
    assert_true(hash_combine(1, 2) == hash_combine(1, 2));
}

static void hex_is_sixteen_digits(void **state)
{
    (void)state;
    char out[17];
    hash_hex(0x00ef46db3751d8e9u, out);
    assert_string_equal(out, "00ef46db3751d8e9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xxh64_gives_the_published_values),
        cmocka_unit_test(every_bit_counts_and_the_address_does_not),
        cmocka_unit_test(bytes_that_come_in_pieces_have_the_hash_of_the_whole),
        cmocka_unit_test(combining_minds_the_order),
        cmocka_unit_test(hex_is_sixteen_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
