/* SPDX-License-Identifier: MIT */
#include "base/map.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/support.h"

enum { KEYS = 40 };

static void *value_of(uint64_t n) { return (void *)(uintptr_t)(n + 1); }

/* The reference of one map: a plain list in order of insertion. */
typedef struct model {
    uint64_t key[KEYS];
    void *value[KEYS];
    size_t n;
} model;

static size_t model_find(const model *m, uint64_t key)
{
    size_t i = 0;
    while (i < m->n && m->key[i] != key) i++;
    return i;
}

static void model_set(model *m, uint64_t key, void *value)
{
    size_t i = model_find(m, key);
    m->key[i] = key;
    m->value[i] = value;
    if (i == m->n) m->n++;
}

static bool model_remove(model *m, uint64_t key)
{
    size_t i = model_find(m, key);
    if (i == m->n) return false;
    memmove(m->key + i, m->key + i + 1, (m->n - i - 1) * sizeof *m->key);
    memmove(m->value + i, m->value + i + 1, (m->n - i - 1) * sizeof *m->value);
    m->n--;
    return true;
}

static void check_strings(const map *strings, const model *m, uint64_t seed)
{
    size_t i = 0, at = 0;
    const char *name;
    void *value;
    for (; map_next(strings, &i, &name, &value); at++) {
        char want[32];
        snprintf(want, sizeof want, "key-%ju", (uintmax_t)m->key[at]);
        if (strcmp(name, want) != 0 || value != m->value[at]) fail_msg("seed %ju: %s", (uintmax_t)seed, name);
    }
    assert_int_equal(at, m->n);
}

static void check_ids(const idmap *ids, const model *m, uint64_t seed)
{
    size_t i = 0, at = 0;
    uint64_t key;
    void *value;
    if (idmap_size(ids) != m->n) fail_msg("seed %ju: size", (uintmax_t)seed);
    for (; idmap_next(ids, &i, &key, &value); at++)
        if (key != m->key[at] || value != m->value[at]) fail_msg("seed %ju: %ju", (uintmax_t)seed, (uintmax_t)key);
    assert_int_equal(at, m->n);
}

/* The promise: both maps hold what a plain list would, in its order, whatever the history. */
static void any_history_leaves_what_a_list_would_hold(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        test_random rnd = test_random_seed(seed);
        map *strings = map_new();
        idmap *ids = idmap_new();
        model of_strings = { 0 }, of_ids = { 0 }; /* a string stays: only ids are removed */
        for (int step = 0; step < 400; step++) {
            uint64_t key = test_random_below(&rnd, KEYS) << 32; /* low bits alike: bad keys for a weak hash */
            char name[32];
            snprintf(name, sizeof name, "key-%ju", (uintmax_t)key);
            if (test_random_below(&rnd, 3) == 0) {
                bool was = model_remove(&of_ids, key);
                assert_int_equal(idmap_remove(ids, key), was);
                assert_null(idmap_get(ids, key));
            } else {
                void *value = value_of(test_random_below(&rnd, 1000));
                model_set(&of_strings, key, value);
                model_set(&of_ids, key, value);
                map_set(strings, name, value);
                idmap_set(ids, key, value);
                assert_ptr_equal(map_get(strings, name), value);
                assert_ptr_equal(idmap_get(ids, key), value);
            }
            check_strings(strings, &of_strings, seed);
            check_ids(ids, &of_ids, seed);
        }
        map_free(strings);
        idmap_free(ids);
    }
}

static void many_keys_are_all_found(void **state)
{
    (void)state;
    idmap *ids = idmap_new();
    for (uint64_t k = 0; k < 100000; k++) idmap_set(ids, k * 4096, value_of(k));
    for (uint64_t k = 0; k < 100000; k++) assert_ptr_equal(idmap_get(ids, k * 4096), value_of(k));
    assert_null(idmap_get(ids, 1));
    assert_int_equal(idmap_size(ids), 100000);
    idmap_free(ids);
}

static void keys_are_copied_and_empty_maps_answer(void **state)
{
    (void)state;
    map *m = map_new();
    assert_null(map_get(m, "x"));
    char key[] = "x";
    map_set(m, key, key);
    key[0] = 'y';
    assert_ptr_equal(map_get(m, "x"), key);
    assert_null(map_get(m, "y"));
    map_free(m);
    map_free(NULL);
    idmap_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_history_leaves_what_a_list_would_hold),
        cmocka_unit_test(many_keys_are_all_found),
        cmocka_unit_test(keys_are_copied_and_empty_maps_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
