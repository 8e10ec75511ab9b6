/* SPDX-License-Identifier: MIT */
#include "proto/peers.h"

#include "tests/support/support.h"

enum { N = 100 };

/* N of them; each owes `bytes`. */
static peers crowd(size_t bytes)
{
    peers ps = { 0 };
    for (unsigned char i = 0; i < N; i++) peers_get(&ps, &i, 1, 0)->sent = bytes;
    return ps;
}

static void a_peer_that_owes_nothing_may_be_sent_anything(void **state)
{
    (void)state;
    peers ps = crowd(0);
    assert_true(peers_have_room(&ps, &ps.all.data[0], 64 << 20));
    ps.all.data[0].sent = OWED_BYTES;
    assert_false(peers_have_room(&ps, &ps.all.data[0], 1));
    ps.all.data[0].read = 1;
    assert_true(peers_have_room(&ps, &ps.all.data[0], 1) && !peers_have_room(&ps, &ps.all.data[0], 2));
    peers_free(&ps);
}

/* However many there are that do not read. */
static void all_peers_together_owe_no_more_than_a_bound(void **state)
{
    (void)state;
    peers ps = crowd(ALL_OWED_BYTES / N);
    peer *newcomer = &ps.all.data[0];
    newcomer->sent = 0;
    assert_true(peers_have_room(&ps, newcomer, ALL_OWED_BYTES / N));
    assert_false(peers_have_room(&ps, newcomer, ALL_OWED_BYTES / N + N + 1));
    assert_true(peers_have_room(&ps, newcomer, BIG_BYTES - 1)); /* words and tasks go on */
    newcomer->sent = ALL_OWED_BYTES / N;
    for (int i = 0; i < N; i++) assert_false(peers_have_room(&ps, &ps.all.data[i], BIG_BYTES));
    for (int i = 1; i < N; i++) ps.all.data[i].read = ps.all.data[i].sent;
    assert_true(peers_have_room(&ps, newcomer, BIG_BYTES));
    peers_free(&ps);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_peer_that_owes_nothing_may_be_sent_anything),
                                        cmocka_unit_test(all_peers_together_owe_no_more_than_a_bound) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
