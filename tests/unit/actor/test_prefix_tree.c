/* SPDX-License-Identifier: MIT */
/* Shared pages: what is found, what is kept, and what must not be. */
#include "actor/prefix_tree.h"

#include "tests/support/support.h"

enum { N_PAGES = 4 };

static void page_of_ids(int32_t *ids, int32_t first)
{
    for (int i = 0; i < KV_PAGE; i++) ids[i] = first + i;
}

/* A promise that its stream broke (it ended before the page was computed) is forgotten with its page: its keys and
 * values are another stream's, or none. */
static void a_page_that_was_never_computed_is_not_found(void **state)
{
    (void)state;
    int32_t ids[KV_PAGE];
    kv_pages *pages = kv_pages_new(N_PAGES);
    prefix_tree *tree = prefix_tree_new(pages);
    page_of_ids(ids, 5);
    for (int round = 0; round < 3 * N_PAGES; round++) { /* a page that is not given back would run out */
        const int32_t page = kv_pages_take(pages);
        assert_true(page >= 0);
        prefix_entry *e = prefix_tree_promise(tree, 7, 0, ids, page);
        assert_non_null(e);
        assert_ptr_equal(prefix_tree_find(tree, 7, 0, ids), e);
        prefix_entry_leave(tree, e);
        assert_null(prefix_tree_find(tree, 7, 0, ids));
    }
    prefix_tree_free(tree);
    kv_pages_free(pages);
}

static void a_computed_page_is_kept_until_it_is_evicted(void **state)
{
    (void)state;
    int32_t ids[KV_PAGE], other[KV_PAGE];
    kv_pages *pages = kv_pages_new(N_PAGES);
    prefix_tree *tree = prefix_tree_new(pages);
    page_of_ids(ids, 5);
    page_of_ids(other, 6);
    prefix_entry *e = prefix_tree_promise(tree, 7, 0, ids, kv_pages_take(pages));
    e->ready = true;
    prefix_entry_leave(tree, e);
    assert_ptr_equal(prefix_tree_find(tree, 7, 0, ids), e);
    assert_null(prefix_tree_find(tree, 8, 0, ids));   /* other weights */
    assert_null(prefix_tree_find(tree, 7, 1, ids));   /* after another page */
    assert_null(prefix_tree_find(tree, 7, 0, other)); /* other tokens */
    assert_true(prefix_tree_evict(tree));
    assert_null(prefix_tree_find(tree, 7, 0, ids));
    assert_false(prefix_tree_evict(tree));
    prefix_tree_free(tree);
    kv_pages_free(pages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_that_was_never_computed_is_not_found),
        cmocka_unit_test(a_computed_page_is_kept_until_it_is_evicted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
