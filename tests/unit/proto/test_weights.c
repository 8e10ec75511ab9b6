/* SPDX-License-Identifier: MIT */
#include "proto/weights.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/str.h"
#include "tests/support/support.h"

enum { MAX_BYTES = 8 << 20 };

/* A learner's two threads. */
typedef struct publisher {
    weights_stage *stage;
    weights_publisher *of;
} publisher;

static publisher new_publisher(void) { return (publisher){ weights_stage_new(), weights_publisher_new() }; }

static void publisher_free(publisher p)
{
    weights_publisher_free(p.of);
    weights_stage_free(p.stage);
}

typedef struct some_bytes {
    const void *data;
    size_t len;
} some_bytes;

static int write_bytes(void *ctx, const char *path, error *err)
{
    const some_bytes *b = ctx;
    return file_write_atomic(path, b->data, b->len, err);
}

static int publish_bytes(publisher p, int64_t version, uint64_t hash, const void *data, size_t len, error *err)
{
    int file;
    some_bytes b = { data, len };
    const int rc = weights_stage_write(p.stage, version, write_bytes, &b, &file, err);
    return rc == OK ? weights_publish(p.of, version, hash, file, err) : rc;
}

/* Bytes of a version: seeded by it, so that one version's are never another's. */
static unsigned char *bytes_of(int64_t version, size_t len)
{
    test_random rnd = test_random_seed((uint64_t)version);
    unsigned char *bytes = xmalloc(len);
    test_random_bytes(&rnd, bytes, len);
    return bytes;
}

static weights_body publish(publisher p, int64_t version, size_t len)
{
    unsigned char *bytes = bytes_of(version, len);
    weights_body a;
    error err = { 0 };
    test_ok(publish_bytes(p, version, hash_bytes(bytes, len, 0), bytes, len, &err), &err);
    assert_true(weights_announcement(p.of, &a));
    assert_true(a.version == version && a.bytes == len && a.hash == hash_bytes(bytes, len, 0));
    free(bytes);
    return a;
}

static void must_be(const weights_blob *blob, int64_t version, size_t len)
{
    unsigned char *bytes = bytes_of(version, len);
    assert_true(blob->version == version && blob->len == len && blob->hash == hash_bytes(bytes, len, 0));
    assert_memory_equal(blob->data, bytes, len);
    free(bytes);
}

/* ---- one host ---- */

static void an_actor_on_the_same_host_maps_the_bytes(void **state)
{
    (void)state;
    const publisher p = new_publisher();
    weights_subscriber *s = weights_subscriber_new(MAX_BYTES);
    weights_body a;
    weights_blob blob;
    weights_get_body get;
    error err = { 0 };
    assert_false(weights_announcement(p.of, &a)); /* none yet */
    for (int64_t version = 0; version < 5; version++) {
        a = publish(p, version, 10000 + (size_t)version);
        assert_int_equal(weights_on_announcement(s, &a, &blob, &get, &err), 1);
        must_be(&blob, version, 10000 + (size_t)version);
    }
    weights_subscriber_free(s);
    publisher_free(p);
    weights_subscriber_free(NULL);
    weights_publisher_free(NULL);
    weights_stage_free(NULL);
}

static bool has_chunk(publisher p, int64_t version)
{
    const weights_get_body get = { .version = version };
    weights_chunk_body c = { 0 };
    const bool there = weights_chunk_of(p.of, &get, &c);
    if (there) assert_true(c.version == version && c.offset == 0 && c.len > 0);
    free(c.data);
    return there;
}

static bool is_open(const weights_body *a)
{
    char name[300];
    return readlink(a->path, name, sizeof name) > 0;
}

static void a_few_versions_are_kept_and_older_ones_closed(void **state)
{
    (void)state;
    const publisher p = new_publisher();
    weights_body a;
    for (int64_t version = 10; version < 20; version++) {
        a = publish(p, version, 100);
        for (int64_t v = 9; v < 20; v++)
            assert_int_equal(has_chunk(p, v), v <= version && v > version - WEIGHTS_KEPT && v >= 10);
    }
    assert_false(has_chunk(p, -1));
    assert_true(is_open(&a));
    publisher_free(p);
    assert_false(is_open(&a));
}

static void a_version_that_is_published_again_does_not_push_others_out(void **state)
{
    (void)state;
    const publisher p = new_publisher();
    for (int64_t v = 1; v <= WEIGHTS_KEPT; v++) publish(p, v, 100);
    for (int i = 0; i < 2 * WEIGHTS_KEPT; i++) publish(p, WEIGHTS_KEPT, 100);
    for (int64_t v = 1; v <= WEIGHTS_KEPT; v++) assert_true(has_chunk(p, v));
    publish(p, WEIGHTS_KEPT + 1, 100);
    assert_false(has_chunk(p, 1));
    for (int64_t v = 2; v <= WEIGHTS_KEPT + 1; v++) assert_true(has_chunk(p, v));
    publisher_free(p);
}

static void what_is_mapped_stays_whole_when_its_file_is_closed(void **state)
{
    (void)state;
    const publisher p = new_publisher();
    weights_subscriber *s = weights_subscriber_new(MAX_BYTES);
    weights_blob blob;
    weights_get_body get;
    error err = { 0 };
    const weights_body a = publish(p, 0, 50000);
    assert_int_equal(weights_on_announcement(s, &a, &blob, &get, &err), 1);
    for (int64_t version = 1; version < 6; version++) publish(p, version, 50000);
    publisher_free(p);
    must_be(&blob, 0, 50000);
    weights_subscriber_free(s);
}

/* An actor that was stopped for a few steps: the descriptor it is told of is a later version's, of the same length. */
static void a_number_that_is_another_versions_by_now_is_not_mapped(void **state)
{
    (void)state;
    const publisher p = new_publisher();
    weights_subscriber *s = weights_subscriber_new(MAX_BYTES);
    weights_blob blob;
    weights_get_body get;
    error err = { 0 };
    const weights_body old = publish(p, 1, 100);
    int64_t version = 1;
    while (strcmp(publish(p, ++version, 100).path, old.path) != 0) assert_true(version < 20);
    assert_int_equal(weights_on_announcement(s, &old, &blob, &get, &err), 0);
    assert_true(get.version == 1 && !has_chunk(p, 1));
    weights_subscriber_free(s);
    publisher_free(p);
}

static void what_can_not_be_written_is_an_error_that_names_the_version(void **state)
{
    (void)state;
    const publisher p = new_publisher();
    struct rlimit before, small;
    error err = { 0 };
    unsigned char *bytes = bytes_of(3, 100000);
    getrlimit(RLIMIT_FSIZE, &before);
    small = before, small.rlim_cur = 4096;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0); /* as a full file system: neither folder takes it */
    const int rc = publish_bytes(p, 3, 1, bytes, 100000, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(rc, ERR_SPACE);
    assert_non_null(strstr(err.text, "publishing version 3: a file in "));
    assert_non_null(strstr(err.text, "TMPDIR names another folder"));
    assert_false(has_chunk(p, 3));
    publish(p, 4, 100000); /* and it continues */
    assert_true(has_chunk(p, 4));
    free(bytes);
    publisher_free(p);
}

/* ---- what the dead leave ---- */

/* Files of one user's tests: others of ours may run beside. */
static int ours_in(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) n += strncmp(e->d_name, "troupe-weights", 14) == 0;
    if (d) closedir(d);
    return n;
}

static void be_a_learner(int told)
{
    error err = { 0 };
    weights_body a = { 0 };
    const publisher p = new_publisher();
    if (publish_bytes(p, 1, 1, "x", 1, &err) != OK || !weights_announcement(p.of, &a)) _exit(1);
    if (write(told, &a, sizeof a) < 0) _exit(1);
    alarm(60); /* should the test itself be killed */
    for (;;) pause();
}

static void a_killed_learner_leaves_nothing_and_a_living_one_has_no_name_there(void **state)
{
    (void)state;
    int told[2], status;
    weights_body a;
    weights_blob blob;
    weights_get_body get;
    error err = { 0 };
    weights_subscriber *s = weights_subscriber_new(MAX_BYTES);
    char *temporary = test_folder_new();
    setenv("TMPDIR", temporary, 1);
    assert_int_equal(pipe(told), 0);
    const int before = ours_in("/dev/shm");
    const pid_t learner = fork();
    if (learner == 0) be_a_learner(told[1]);
    assert_int_equal(read(told[0], &a, sizeof a), sizeof a);
    assert_int_equal(weights_on_announcement(s, &a, &blob, &get, &err), 1); /* another process's */
    assert_true(blob.len == 1 && *(const char *)blob.data == 'x');
    assert_int_equal(ours_in("/dev/shm"), before);
    assert_int_equal(ours_in(temporary), 0);
    assert_int_equal(kill(learner, SIGKILL), 0);
    assert_int_equal(waitpid(learner, &status, 0), learner);
    assert_false(is_open(&a));
    weights_subscriber_free(s);
    unsetenv("TMPDIR");
    test_folder_remove(temporary);
    close(told[0]), close(told[1]);
}

/* ---- another host ---- */

enum { LEN = 2 * WEIGHTS_CHUNK_BYTES + WEIGHTS_CHUNK_BYTES / 2 };

/* A learner and an actor that don't share memory. */
typedef struct two_hosts {
    publisher p;
    weights_subscriber *s;
    weights_body a;
    weights_blob blob;
    weights_get_body get;
    error err;
} two_hosts;

static two_hosts new_hosts(void)
{
    two_hosts h = { .p = new_publisher(), .s = weights_subscriber_new(MAX_BYTES) };
    h.a = publish(h.p, 7, LEN);
    snprintf(h.a.host, sizeof h.a.host, "another");
    return h;
}

static void free_hosts(two_hosts *h)
{
    weights_subscriber_free(h->s);
    publisher_free(h->p);
}

static int announce(two_hosts *h) { return weights_on_announcement(h->s, &h->a, &h->blob, &h->get, &h->err); }

static weights_chunk_body chunk_at(two_hosts *h, int64_t version, uint64_t offset)
{
    const weights_get_body get = { .version = version, .offset = offset };
    weights_chunk_body c;
    if (!weights_chunk_of(h->p.of, &get, &c)) fail_msg("version %" PRId64 " has no byte %" PRIu64, version, offset);
    return c;
}

static int deliver(two_hosts *h, weights_chunk_body c)
{
    const int rc = weights_on_chunk(h->s, &c, &h->blob, &h->get, &h->err);
    free(c.data);
    return rc;
}

/* Asks for what h->get says until all of it is there. Returns how many chunks that took. */
static int fetch_the_rest(two_hosts *h)
{
    int chunks = 1, rc;
    while ((rc = deliver(h, chunk_at(h, h->get.version, h->get.offset))) == 0) {
        assert_true(h->get.version >= 0 && ++chunks < 10);
    }
    assert_int_equal(rc, 1);
    return chunks;
}

static void an_actor_on_another_host_gets_the_same_bytes_in_chunks(void **state)
{
    (void)state;
    two_hosts h = new_hosts();
    assert_int_equal(announce(&h), 0);
    assert_true(h.get.version == 7 && h.get.offset == 0);
    assert_int_equal(fetch_the_rest(&h), 3);
    must_be(&h.blob, 7, LEN);
    h.a = publish(h.p, 8, 10);
    snprintf(h.a.host, sizeof h.a.host, "another");
    assert_int_equal(announce(&h), 0);
    assert_int_equal(fetch_the_rest(&h), 1);
    must_be(&h.blob, 8, 10);
    free_hosts(&h);
}

static void a_file_that_is_not_seen_or_of_another_length_is_fetched_in_chunks(void **state)
{
    (void)state;
    two_hosts h = new_hosts();
    weights_host(h.a.host);
    snprintf(h.a.path, sizeof h.a.path, "/proc/1/fd/7000");
    assert_int_equal(announce(&h), 0);
    assert_int_equal(fetch_the_rest(&h), 3);
    must_be(&h.blob, 7, LEN);
    const weights_body other = publish(h.p, 8, 10);
    snprintf(h.a.path, sizeof h.a.path, "%s", other.path);
    assert_int_equal(announce(&h), 0);
    assert_true(h.get.version == 7 && h.get.offset == 0);
    free_hosts(&h);
}

static void chunks_that_nobody_waits_for_change_nothing(void **state)
{
    (void)state;
    two_hosts h = new_hosts();
    assert_int_equal(deliver(&h, chunk_at(&h, 7, 0)), 0); /* nothing was announced */
    assert_true(h.get.version < 0);
    assert_int_equal(announce(&h), 0);
    assert_int_equal(deliver(&h, chunk_at(&h, 7, WEIGHTS_CHUNK_BYTES)), 0); /* too early */
    assert_true(h.get.version < 0);
    assert_int_equal(deliver(&h, chunk_at(&h, 7, 0)), 0);
    assert_true(h.get.version == 7 && h.get.offset == WEIGHTS_CHUNK_BYTES);
    assert_int_equal(deliver(&h, chunk_at(&h, 7, 0)), 0); /* twice */
    assert_true(h.get.version < 0);
    publish(h.p, 8, LEN);
    assert_int_equal(deliver(&h, chunk_at(&h, 8, WEIGHTS_CHUNK_BYTES)), 0); /* of another version */
    assert_true(h.get.version < 0);
    h.get = (weights_get_body){ .version = 7, .offset = WEIGHTS_CHUNK_BYTES };
    assert_int_equal(fetch_the_rest(&h), 2);
    must_be(&h.blob, 7, LEN);
    assert_int_equal(deliver(&h, chunk_at(&h, 7, 0)), 0); /* it is complete */
    assert_true(h.get.version < 0);
    must_be(&h.blob, 7, LEN);
    free_hosts(&h);
}

static void a_lost_chunk_is_made_up_for_when_the_announcement_is_repeated(void **state)
{
    (void)state;
    two_hosts h = new_hosts();
    announce(&h);
    assert_int_equal(deliver(&h, chunk_at(&h, 7, 0)), 0);
    h.get = (weights_get_body){ 0 }; /* what it asked for never came */
    assert_int_equal(announce(&h), 0);
    assert_true(h.get.version == 7 && h.get.offset == WEIGHTS_CHUNK_BYTES);
    assert_int_equal(fetch_the_rest(&h), 2);
    must_be(&h.blob, 7, LEN);
    free_hosts(&h);
}

static void a_newer_version_begins_from_its_first_byte(void **state)
{
    (void)state;
    two_hosts h = new_hosts();
    announce(&h);
    assert_int_equal(deliver(&h, chunk_at(&h, 7, 0)), 0);
    const weights_chunk_body late = chunk_at(&h, 7, WEIGHTS_CHUNK_BYTES);
    h.a = publish(h.p, 8, LEN);
    snprintf(h.a.host, sizeof h.a.host, "another");
    assert_int_equal(announce(&h), 0);
    assert_true(h.get.version == 8 && h.get.offset == 0);
    const weights_get_body get = h.get;
    assert_int_equal(deliver(&h, late), 0);
    assert_true(h.get.version < 0);
    h.get = get;
    assert_int_equal(fetch_the_rest(&h), 3);
    must_be(&h.blob, 8, LEN);
    free_hosts(&h);
}

static void chunks_that_do_not_fit_the_announcement_are_refused_and_can_be_had_again(void **state)
{
    (void)state;
    two_hosts h = new_hosts();
    announce(&h);
    const weights_chunk_body bad[] = {
        { .version = 7, .total = LEN + 1, .len = 1 },
        { .version = 7, .total = LEN, .len = 0 },
        { .version = 7, .total = LEN, .len = LEN + 1 },
    };
    for (int i = 0; i < 3; i++) {
        weights_chunk_body c = bad[i];
        c.data = xcalloc(1, c.len + 1);
        assert_int_equal(deliver(&h, c), -ERR_PEER);
        assert_non_null(strstr(h.err.text, "version 7"));
    }
    assert_int_equal(announce(&h), 0);
    assert_true(h.get.version == 7 && h.get.offset == 0);
    assert_int_equal(fetch_the_rest(&h), 3);
    must_be(&h.blob, 7, LEN);
    free_hosts(&h);
}

static void a_chunk_begins_where_asked_and_never_behind_the_end(void **state)
{
    (void)state;
    two_hosts h = new_hosts();
    unsigned char *bytes = bytes_of(7, LEN);
    const uint64_t offsets[] = { 0, 1, WEIGHTS_CHUNK_BYTES - 1, LEN - 1 };
    for (int i = 0; i < 4; i++) {
        const weights_chunk_body c = chunk_at(&h, 7, offsets[i]);
        const uint64_t left = LEN - offsets[i];
        assert_true(c.offset == offsets[i] && c.total == LEN);
        assert_int_equal(c.len, left < WEIGHTS_CHUNK_BYTES ? left : WEIGHTS_CHUNK_BYTES);
        assert_memory_equal(c.data, bytes + offsets[i], c.len);
        free(c.data);
    }
    const uint64_t behind[] = { LEN, LEN + 1, UINT64_MAX };
    for (int i = 0; i < 3; i++) {
        weights_chunk_body c;
        assert_false(weights_chunk_of(h.p.of, &(weights_get_body){ 7, behind[i] }, &c));
    }
    free(bytes);
    free_hosts(&h);
}

static void announcements_of_nothing_are_refused(void **state)
{
    (void)state;
    two_hosts h = new_hosts();
    h.a.bytes = 0;
    assert_int_equal(announce(&h), -ERR_PEER);
    h.a.bytes = LEN, h.a.version = -1;
    assert_int_equal(announce(&h), -ERR_PEER);
    free_hosts(&h);
}

/* Chunks are collected up to the announced length: it is no more than the model can have. */
static void announcements_of_more_than_the_model_has_are_refused(void **state)
{
    (void)state;
    two_hosts h = new_hosts();
    static const uint64_t MORE[] = { MAX_BYTES + 1, (uint64_t)1 << 62, UINT64_MAX };
    for (size_t i = 0; i < sizeof MORE / sizeof *MORE; i++) {
        h.a.bytes = MORE[i];
        assert_int_equal(announce(&h), -ERR_PEER);
        assert_non_null(strstr(h.err.text, "this model's have"));
        weights_chunk_body c = chunk_at(&h, 7, 0);
        c.total = MORE[i];
        assert_int_equal(deliver(&h, c), 0);
        assert_true(h.get.version < 0); /* nothing more is asked for */
    }
    h.a.bytes = MAX_BYTES;
    assert_int_equal(announce(&h), 0);
    free_hosts(&h);
}

static void a_host_calls_itself_always_the_same(void **state)
{
    (void)state;
    char a[80], b[80];
    weights_host(a), weights_host(b);
    assert_string_equal(a, b);
    assert_true(strlen(a) > 5 && !strchr(a, '\n'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_actor_on_the_same_host_maps_the_bytes),
        cmocka_unit_test(a_few_versions_are_kept_and_older_ones_closed),
        cmocka_unit_test(a_version_that_is_published_again_does_not_push_others_out),
        cmocka_unit_test(what_is_mapped_stays_whole_when_its_file_is_closed),
        cmocka_unit_test(what_can_not_be_written_is_an_error_that_names_the_version),
        cmocka_unit_test(a_number_that_is_another_versions_by_now_is_not_mapped),
        cmocka_unit_test(a_killed_learner_leaves_nothing_and_a_living_one_has_no_name_there),
        cmocka_unit_test(an_actor_on_another_host_gets_the_same_bytes_in_chunks),
        cmocka_unit_test(a_file_that_is_not_seen_or_of_another_length_is_fetched_in_chunks),
        cmocka_unit_test(chunks_that_nobody_waits_for_change_nothing),
        cmocka_unit_test(a_lost_chunk_is_made_up_for_when_the_announcement_is_repeated),
        cmocka_unit_test(a_newer_version_begins_from_its_first_byte),
        cmocka_unit_test(chunks_that_do_not_fit_the_announcement_are_refused_and_can_be_had_again),
        cmocka_unit_test(a_chunk_begins_where_asked_and_never_behind_the_end),
        cmocka_unit_test(announcements_of_nothing_are_refused),
        cmocka_unit_test(announcements_of_more_than_the_model_has_are_refused),
        cmocka_unit_test(a_host_calls_itself_always_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
