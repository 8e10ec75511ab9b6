/* SPDX-License-Identifier: MIT */
#include "base/frame.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "tests/support/support.h"

enum { LONG = 3 << 20, LIMIT = 4 << 20, PATIENCE_MS = 20000 };

typedef struct sender {
    int fd;
    char *body;
    size_t len;
    int rc;
} sender;

static void pair_of(int fd[2]) { assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0); }

static void close_both(const int fd[2])
{
    close(fd[0]);
    close(fd[1]);
}

static void *send_one(void *ctx)
{
    sender *s = ctx;
    s->rc = frame_send(s->fd, s->body, s->len, clock_ms() + PATIENCE_MS);
    return NULL;
}

/* The promise: whatever its length, also beyond what a socket holds, a body arrives as it was sent. */
static void a_body_arrives_as_it_was_sent(void **state)
{
    static const size_t LENGTHS[] = { 1, 2, 9, 65536, LONG };
    (void)state;
    int fd[2];
    pair_of(fd);
    for (size_t i = 0; i < sizeof LENGTHS / sizeof *LENGTHS; i++) {
        sender s = { .fd = fd[0], .body = malloc(LENGTHS[i]), .len = LENGTHS[i] };
        for (size_t b = 0; b < s.len; b++) s.body[b] = (char)(b * 31 + i);
        pthread_t thread;
        char *body = NULL;
        size_t len = 0;
        assert_int_equal(pthread_create(&thread, NULL, send_one, &s), 0);
        assert_int_equal(frame_receive(fd[1], LIMIT, &body, &len, clock_ms() + PATIENCE_MS), OK);
        pthread_join(thread, NULL);
        assert_int_equal(s.rc, OK);
        assert_int_equal(len, s.len);
        assert_memory_equal(body, s.body, len);
        free(body);
        free(s.body);
    }
    close_both(fd);
}

static void waits_end_at_their_deadline(void **state)
{
    (void)state;
    int fd[2];
    char *body = NULL, *big = calloc(LONG, 1);
    size_t len = 0;
    pair_of(fd);
    assert_int_equal(frame_receive(fd[1], LIMIT, &body, &len, clock_ms() + 30), ERR_TIMEOUT);
    assert_int_equal(frame_send(fd[0], big, LONG, clock_ms() + 30), ERR_TIMEOUT); /* there is no reader */
    assert_null(body);
    free(big);
    close_both(fd);
}

/* What a hostile or broken peer may write in front, and in the middle, of a message. */
static void lengths_that_cannot_be_are_refused_unread(void **state)
{
    static const uint64_t LENGTHS[] = { 0, LIMIT + 1, UINT64_MAX, UINT64_MAX - 8 };
    (void)state;
    for (size_t i = 0; i < sizeof LENGTHS / sizeof *LENGTHS; i++) {
        int fd[2];
        char *body = NULL;
        size_t len = 0;
        pair_of(fd);
        assert_int_equal(write(fd[0], &LENGTHS[i], 8), 8);
        assert_int_equal(frame_receive(fd[1], LIMIT, &body, &len, clock_ms() + PATIENCE_MS), ERR_PARSE);
        assert_null(body);
        close_both(fd);
    }
}

static void a_peer_that_goes_in_the_middle_is_gone(void **state)
{
    static const size_t CUTS[] = { 0, 3, 8, 12 };
    (void)state;
    for (size_t i = 0; i < sizeof CUTS / sizeof *CUTS; i++) {
        int fd[2];
        char *body = NULL;
        size_t len = 0;
        str bytes = { 0 };
        frame_append(&bytes, "abcdefgh", 8);
        pair_of(fd);
        assert_int_equal(write(fd[0], bytes.data, CUTS[i]), (ssize_t)CUTS[i]);
        close(fd[0]);
        assert_int_equal(frame_receive(fd[1], LIMIT, &body, &len, clock_ms() + PATIENCE_MS), ERR_PEER);
        assert_int_equal(frame_send(fd[1], "x", 1, clock_ms() + PATIENCE_MS), ERR_PEER);
        assert_null(body);
        close(fd[1]);
        str_free(&bytes);
    }
}

/* Both ends on one thread, a piece at a time: neither ever waits, and nothing is copied but into its place. */
static void pieces_move_without_waiting(void **state)
{
    (void)state;
    int fd[2];
    char *from = malloc(LONG), *to = calloc(LONG, 1);
    frame_out out;
    frame_in in;
    frame_state sent = FRAME_WAITS, received = FRAME_WAITS;
    pair_of(fd);
    for (size_t i = 0; i < LONG; i++) from[i] = (char)(i * 7);
    frame_out_begin(&out, 5, from, LONG);
    frame_in_begin(&in, 5, to, LONG);
    while (sent == FRAME_WAITS || received == FRAME_WAITS) {
        if (sent == FRAME_WAITS) sent = frame_out_move(&out, fd[0]);
        if (received == FRAME_WAITS) received = frame_in_move(&in, fd[1]);
    }
    assert_int_equal(sent, FRAME_DONE);
    assert_int_equal(received, FRAME_DONE);
    assert_memory_equal(from, to, LONG);
    free(from);
    free(to);
    close_both(fd);
}

/* Ranks that are not in the same operation must not take each other's numbers for their own. */
static void another_head_than_expected_is_foreign(void **state)
{
    (void)state;
    int fd[2];
    char to[8];
    frame_in in;
    pair_of(fd);
    assert_int_equal(frame_send(fd[0], "\5abcdefgh", 9, clock_ms() + PATIENCE_MS), OK);
    frame_in_begin(&in, 6, to, sizeof to);
    assert_int_equal(frame_in_move(&in, fd[1]), FRAME_FOREIGN);
    assert_int_equal(frame_type(in.head), 5);
    assert_int_equal(frame_length(in.head), 8);
    close_both(fd);
}

static void a_buffer_gives_its_frames_back(void **state)
{
    (void)state;
    str bytes = { 0 };
    char body[16];
    for (size_t n = 1; n <= sizeof body; n++) {
        memset(body, (int)n, sizeof body);
        frame_append(&bytes, body, n);
    }
    for (size_t cut = 0; cut <= bytes.len; cut++) {
        str_view rest = { bytes.data, cut }, found;
        size_t n = 0;
        int rc;
        while ((rc = frame_next(&rest, &found)) == OK) {
            n++;
            assert_int_equal(found.len, n);
            assert_int_equal(found.data[n - 1], (int)n);
        }
        const bool at_border = rest.len == 0;
        assert_int_equal(rc, at_border ? ERR_NOT_FOUND : ERR_PARSE);
        if (cut == bytes.len) assert_int_equal(n, sizeof body);
    }
    str_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_arrives_as_it_was_sent),
        cmocka_unit_test(waits_end_at_their_deadline),
        cmocka_unit_test(lengths_that_cannot_be_are_refused_unread),
        cmocka_unit_test(a_peer_that_goes_in_the_middle_is_gone),
        cmocka_unit_test(pieces_move_without_waiting),
        cmocka_unit_test(another_head_than_expected_is_foreign),
        cmocka_unit_test(a_buffer_gives_its_frames_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
