/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <string.h>

#include "tests/support/support.h"

typedef struct piece {
    unsigned char *data, fill;
    size_t len;
} piece;

static void check_piece(const piece *p, uint64_t seed)
{
    for (size_t i = 0; i < p->len; i++)
        if (p->data[i] != p->fill) fail_msg("seed %ju: a piece of %zu bytes was overwritten", (uintmax_t)seed, p->len);
}

/* The promise: pieces are aligned, never overlap, and a reset lets their places be used again. */
static void pieces_keep_their_contents_until_a_reset(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        test_random rnd = test_random_seed(seed);
        arena *a = arena_new(1024);
        piece pieces[300];
        size_t n = 0;
        for (int step = 0; step < 300; step++) {
            uint64_t what = test_random_below(&rnd, 20);
            if (what == 0) {
                arena_reset(a);
                n = 0;
            } else {
                piece *p = &pieces[n++];
                p->len = test_random_below(&rnd, what == 2 ? 5000 : 200);
                p->fill = (unsigned char)test_random_next(&rnd);
                p->data = arena_alloc(a, p->len);
                if ((uintptr_t)p->data % 64 != 0) fail_msg("seed %ju: not aligned", (uintmax_t)seed);
                memset(p->data, p->fill, p->len);
            }
            for (size_t i = 0; i < n; i++) check_piece(&pieces[i], seed);
        }
        arena_free(a);
    }
}

static void a_reset_gives_the_same_memory_again(void **state)
{
    (void)state;
    arena *a = arena_new(4096);
    void *first = arena_alloc(a, 100), *large = arena_alloc(a, 100000);
    size_t peak = arena_peak_bytes(a);
    assert_in_range(peak, 100100, 100300);
    for (int i = 0; i < 100; i++) {
        arena_reset(a);
        assert_ptr_equal(arena_alloc(a, 100), first);
        assert_ptr_equal(arena_alloc(a, 100000), large);
    }
    assert_int_equal(arena_peak_bytes(a), peak);
    arena_free(a);
}

static void zeroed_memory_is_zero_even_when_it_was_used(void **state)
{
    (void)state;
    arena *a = arena_new(256);
    memset(arena_alloc(a, 200), 0xff, 200);
    arena_reset(a);
    const unsigned char *p = arena_zalloc(a, 200);
    for (int i = 0; i < 200; i++) assert_int_equal(p[i], 0);
    arena_free(a);
}

static void strings_are_copied_and_terminated(void **state)
{
    (void)state;
    arena *a = arena_new(64);
    char text[] = "hello";
    char *copy = arena_strdup(a, text), *part = arena_strndup(a, text, 2);
    memset(text, 'x', 5);
    assert_string_equal(copy, "hello");
    assert_string_equal(part, "he");
    assert_string_equal(arena_strndup(a, NULL, 0), "");
    arena_free(a);
    arena_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_keep_their_contents_until_a_reset),
        cmocka_unit_test(a_reset_gives_the_same_memory_again),
        cmocka_unit_test(zeroed_memory_is_zero_even_when_it_was_used),
        cmocka_unit_test(strings_are_copied_and_terminated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
