/* SPDX-License-Identifier: MIT */
#include "proto/address.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/support.h"

static void addresses_that_leave_this_machine_or_are_open_to_all_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "tcp://0.0.0.0:5555",
        "tcp://*:5555",
        "tcp://10.0.0.1:5555",
        "tcp://128.0.0.1:5555",
        "tcp://example.org:5555",
        "tcp://127.example.org:5555",
        "tcp://localhost.example.org:5555",
        "tcp://LOCALHOST.:5555",
        "tcp://127.1:5555",
        "tcp://127.0.0.1.5:5555",
        "tcp://127.0.0.300:5555",
        "tcp://[::]:5555",
        "tcp://::1:5555",
        "tcp://[::1",
        "tcp://[::1%eth0]:5555",
        "tcp://[::ffff:10.0.0.1]:5555",
        "tcp://127.0.0.1:0;10.0.0.1:5555",
        "tcp://10.0.0.1:0;127.0.0.1:5555",
        "tcp://localhost:0;10.0.0.1:5555",
        "tcp://eth0:5555",
        "tcp://lo:5555",
        "tcp://",
        "tcp://:5555",
        "tcp://localhost",
        "udp://127.0.0.1:5555",
        "pgm://127.0.0.1;239.0.0.1:5555",
        "inproc://here",
        "ipc://@troupe",
        "ipc://@",
        "127.0.0.1:5555",
        "IPC:///tmp/x",
        "",
    };
    char out[ADDRESS_BYTES];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (int binds = 0; binds < 2; binds++) {
            error err = { 0 };
            if (address_local(bad[i], binds, out, &err) == OK) fail_msg("was taken: %s", bad[i]);
            if (err.code != ERR_UNSUPPORTED) fail_msg("%s: %s", bad[i], err.text);
            assert_non_null(strstr(err.text, bad[i]));
            assert_non_null(strstr(err.text, "127.0.0.1:PORT"));
        }
}

static void what_can_not_be_an_address_is_refused(void **state)
{
    (void)state;
    char out[ADDRESS_BYTES], path[300] = "ipc:///";
    memset(path + 7, 'x', 150);
    const char *const bad[] = { "tcp://127.0.0.1:",
                                "tcp://127.0.0.1:0",
                                "tcp://127.0.0.1:65536",
                                "tcp://127.0.0.1:port",
                                "tcp://localhost:-1",
                                "tcp://127.0.0.1: 80",
                                "tcp://127.0.0.1:000080",
                                "tcp://127.0.0.1:80/x",
                                "ipc://",
                                "ipc://*",
                                path };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (int binds = 0; binds < 2; binds++) {
            error err = { 0 };
            assert_int_equal(address_local(bad[i], binds, out, &err), ERR_ARGUMENT);
            assert_non_null(strstr(err.text, bad[i]));
        }
    error err = { 0 };
    assert_int_equal(address_local("tcp://127.0.0.1:*", false, out, &err), ERR_ARGUMENT); /* no address is everywhere */
}

static void what_is_taken_is_what_libzmq_understands(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        { "tcp://127.0.0.1:5555", "tcp://127.0.0.1:5555" },
        { "tcp://127.9.8.7:1", "tcp://127.9.8.7:1" },
        { "tcp://localhost:65535", "tcp://127.0.0.1:65535" },
        { "tcp://[::1]:5555", "tcp://[::1]:5555" },
        { "ipc:///tmp/a b", "ipc:///tmp/a b" },
        { "ipc://here", "ipc://here" },
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char out[ADDRESS_BYTES];
        error err = { 0 };
        test_ok(address_local(good[i][0], i % 2, out, &err), &err);
        assert_string_equal(out, good[i][1]);
    }
    char out[ADDRESS_BYTES];
    error err = { 0 };
    test_ok(address_local("tcp://localhost:*", true, out, &err), &err);
    assert_string_equal(out, "tcp://127.0.0.1:*");
}

static void a_file_of_somebody_is_not_replaced_by_a_socket(void **state)
{
    (void)state;
    char *dir = test_folder_new(), local[300];
    error err = { 0 };
    snprintf(local, sizeof local, "ipc://%s/notes", dir);
    test_ok(address_vacant(local, &err), &err);
    test_ok(address_vacant("tcp://127.0.0.1:1", &err), &err);
    test_file_write(dir, "notes", "mine");
    assert_int_equal(address_vacant(local, &err), ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "is not a socket: it is not replaced"));
    test_folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_somebody_is_not_replaced_by_a_socket),
        cmocka_unit_test(addresses_that_leave_this_machine_or_are_open_to_all_are_refused),
        cmocka_unit_test(what_can_not_be_an_address_is_refused),
        cmocka_unit_test(what_is_taken_is_what_libzmq_understands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
