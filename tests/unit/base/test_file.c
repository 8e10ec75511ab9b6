/* SPDX-License-Identifier: MIT */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/str.h"
#include "tests/support/support.h"

static char *at(char *out, const char *folder, const char *name) { return path_join(out, 1024, folder, name); }

static int count_entries(const char *folder)
{
    char command[1100];
    snprintf(command, sizeof command, "exit $(ls -A '%s' | wc -l)", folder);
    int status = system(command);
    return WEXITSTATUS(status);
}

static void what_is_written_is_read_and_mapped(void **state)
{
    (void)state;
    char *folder = test_folder_new(), path[1024];
    error err;
    static const size_t sizes[] = { 0, 1, 4096, 65536, 300000 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        test_random rnd = test_random_seed(i);
        char *data = xmalloc(sizes[i]);
        test_random_bytes(&rnd, data, sizes[i]);
        test_ok(file_write_atomic(at(path, folder, "f"), data, sizes[i], &err), &err);
        size_t len = 99;
        char *got = file_read(path, sizes[i], &len, &err);
        assert_non_null(got);
        assert_int_equal(len, sizes[i]);
        assert_memory_equal(got, data, len);
        assert_int_equal(got[len], 0);
        file_map map;
        test_ok(file_map_open(&map, path, &err), &err);
        assert_int_equal(map.len, sizes[i]);
        if (sizes[i]) assert_memory_equal(map.data, data, map.len);
        file_map_close(&map);
        free(got);
        free(data);
    }
    test_folder_remove(folder);
}

static void reading_has_a_limit_and_names_what_is_missing(void **state)
{
    (void)state;
    char *folder = test_folder_new(), path[1024];
    error err = { 0 };
    test_file_write(folder, "f", "12345");
    assert_null(file_read(at(path, folder, "f"), 4, NULL, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    assert_null(file_read(at(path, folder, "none"), 4, NULL, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, path));
    file_map map;
    assert_int_equal(file_map_open(&map, path, &err), ERR_NOT_FOUND);
    assert_int_equal(file_map_open(&map, folder, &err), ERR_IO);
    assert_null(map.data);
    test_folder_remove(folder);
}

/* The promise: whatever a path leads to, reading it neither waits nor continues for ever, and the sentence says what it
 * is. */
static void what_is_no_regular_file_is_refused(void **state)
{
    (void)state;
    char *folder = test_folder_new(), pipe_path[1024], socket_path[1024], link_path[1024];
    assert_int_equal(mkfifo(at(pipe_path, folder, "pipe"), 0600), 0);
    assert_int_equal(symlink("pipe", at(link_path, folder, "link")), 0);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", at(socket_path, folder, "socket"));
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    const struct {
        const char *path, *is;
    } all[] = { { pipe_path, " is a pipe; expected a regular file" },
                { link_path, " is a pipe; expected a regular file" },
                { socket_path, " is a socket; expected a regular file" },
                { folder, " is a folder; expected a regular file" },
                { "/dev/zero", "/dev/zero is a device; expected a regular file" },
                { "/dev/null", "/dev/null is a device; expected a regular file" } };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        error errs[5] = { 0 };
        file_map map;
        uint64_t hash, bytes;
        assert_null(file_read(all[i].path, 100, NULL, &errs[0]));
        assert_null(file_read_once(all[i].path, 100, NULL, &errs[1]));
        assert_int_equal(file_map_open(&map, all[i].path, &errs[2]), ERR_IO);
        assert_int_equal(file_hash(all[i].path, &hash, &bytes, &errs[3]), ERR_IO);
        assert_int_equal(file_open(all[i].path, O_WRONLY | O_APPEND | O_CREAT, 0600, &errs[4]), -1);
        for (int e = 0; e < 5; e++)
            if (!strstr(errs[e].text, all[i].is)) fail_msg("%s: %s", all[i].path, errs[e].text);
    }
    assert_int_equal(file_check("/nowhere/at/all", NULL), OK); /* whoever opens it says so */
    close(fd);
    test_folder_remove(folder);
}

/* It is read by blocks of a megabyte: sizes around their borders. */
static void the_hash_of_a_file_is_that_of_its_bytes_whatever_its_size(void **state)
{
    (void)state;
    enum { MB = 1 << 20 };
    const size_t sizes[] = { 0, 1, 31, 32, 100, MB - 1, MB, MB + 1, 2 * MB, 2 * MB + 77 };
    char *folder = test_folder_new(), path[1024];
    unsigned char *data = xmalloc(3 * MB);
    for (size_t i = 0; i < 3 * MB; i++) data[i] = (unsigned char)(i * 2654435761u >> 13);
    at(path, folder, "bytes");

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t hash = 0, bytes = 0;
        assert_int_equal(file_write_atomic(path, data, sizes[i], NULL), OK);
        assert_int_equal(file_hash(path, &hash, &bytes, NULL), OK);
        assert_int_equal(bytes, sizes[i]);
        if (hash != hash_bytes(data, sizes[i], 0)) fail_msg("%zu bytes", sizes[i]);
    }
    free(data);
    test_folder_remove(folder);
}

static long file_pages(void)
{
    long whole = 0, resident = 0, shared = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%ld %ld %ld", &whole, &resident, &shared) != 3) shared = 0;
    if (f) fclose(f);
    return shared;
}

static void pages_of_a_map_that_are_dropped_are_not_ours_and_read_the_same(void **state)
{
    (void)state;
    enum { BYTES = 8 << 20 };
    char *folder = test_folder_new(), path[1024], *data = xmalloc(BYTES);
    file_map map;
    for (int i = 0; i < BYTES; i++) data[i] = (char)(i * 7);
    assert_int_equal(file_write_atomic(at(path, folder, "bytes"), data, BYTES, NULL), OK);
    assert_int_equal(file_map_open(&map, path, NULL), OK);

    const long before = file_pages();
    assert_memory_equal(map.data, data, BYTES);
    assert_true(file_pages() - before > (BYTES - (1 << 20)) / sysconf(_SC_PAGESIZE));
    file_map_drop(map.data + 5, BYTES - 9);
    assert_true(file_pages() - before < (1 << 20) / sysconf(_SC_PAGESIZE));
    assert_memory_equal(map.data, data, BYTES);
    file_map_drop(map.data + 10, 20); /* less than a page: nothing to drop */
    assert_memory_equal(map.data, data, BYTES);
    file_map_close(&map);
    free(data);
    test_folder_remove(folder);
}

static void a_pipe_that_is_open_already_is_read_once(void **state)
{
    (void)state;
    int ends[2];
    char path[64];
    error err = { 0 };
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "rows", 4), 4);
    close(ends[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    assert_null(file_read(path, 100, NULL, &err));
    char *text = file_read_once(path, 100, NULL, &err);
    assert_string_equal(text, "rows");
    free(text);
    close(ends[0]);
}

/* The promise: until the end says keep, the old file is what every reader sees; a dropped one leaves nothing behind. */
static void a_file_is_the_old_or_the_new_one_and_never_half(void **state)
{
    (void)state;
    char *folder = test_folder_new(), path[1024];
    error err;
    file_writer w;
    test_file_write(folder, "f", "old");
    test_ok(file_write_begin(&w, at(path, folder, "f"), &err), &err);
    test_ok(file_write_all(&w, "new, ", 5, &err), &err);
    char *seen = test_file_read(folder, "f");
    assert_string_equal(seen, "old");
    free(seen);
    test_ok(file_write_all(&w, "all of it", 9, &err), &err);
    test_ok(file_write_end(&w, true, &err), &err);
    seen = test_file_read(folder, "f");
    assert_string_equal(seen, "new, all of it");
    free(seen);
    test_ok(file_write_begin(&w, path, &err), &err);
    test_ok(file_write_all(&w, "dropped", 7, &err), &err);
    test_ok(file_write_end(&w, false, &err), &err);
    test_ok(file_write_end(&w, false, &err), &err); /* twice is allowed: a way out may call it again */
    seen = test_file_read(folder, "f");
    assert_string_equal(seen, "new, all of it");
    free(seen);
    assert_int_equal(count_entries(folder), 1);
    test_folder_remove(folder);
}

static void two_writers_of_one_file_do_not_mix(void **state)
{
    (void)state;
    char *folder = test_folder_new(), path[1024];
    error err;
    file_writer a, b;
    test_ok(file_write_begin(&a, at(path, folder, "f"), &err), &err);
    test_ok(file_write_begin(&b, path, &err), &err);
    test_ok(file_write_all(&a, "aaaa", 4, &err), &err);
    test_ok(file_write_all(&b, "bb", 2, &err), &err);
    test_ok(file_write_end(&b, true, &err), &err);
    test_ok(file_write_end(&a, true, &err), &err);
    char *seen = test_file_read(folder, "f");
    assert_string_equal(seen, "aaaa");
    free(seen);
    assert_int_equal(count_entries(folder), 1);
    test_folder_remove(folder);
}

static void a_write_that_cannot_be_says_so_and_leaves_nothing(void **state)
{
    (void)state;
    char *folder = test_folder_new(), path[1024];
    error err = { 0 };
    assert_int_equal(file_write_atomic(at(path, folder, "no/such/f"), "x", 1, &err), ERR_IO);
    assert_non_null(strstr(err.text, "No such file or directory"));
    assert_int_equal(mkdir(at(path, folder, "d"), 0777), 0);
    assert_int_equal(file_write_atomic(path, "x", 1, &err), ERR_IO); /* a folder stands in its place */
    assert_int_equal(count_entries(folder), 1);
    test_folder_remove(folder);
}

static void new_files_obey_the_umask(void **state)
{
    (void)state;
    char *folder = test_folder_new(), path[1024];
    struct stat st;
    mode_t before = umask(027);
    test_file_write(folder, "f", "x");
    umask(before);
    assert_int_equal(stat(at(path, folder, "f"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    test_folder_remove(folder);
}

static void appended_lines_stand_whole_one_a_line(void **state)
{
    (void)state;
    char *folder = test_folder_new(), path[1024];
    error err;
    int fd = open(at(path, folder, "f"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    for (int i = 0; i < 3; i++) test_ok(file_append_line(fd, "line", 4, &err), &err);
    test_ok(file_append_line(fd, NULL, 0, &err), &err);
    close(fd);
    assert_int_equal(file_append_line(fd, "line", 4, &err), ERR_IO);
    char *seen = test_file_read(folder, "f");
    assert_string_equal(seen, "line\nline\nline\n\n");
    free(seen);
    test_folder_remove(folder);
}

static void a_copy_is_equal(void **state)
{
    (void)state;
    char *folder = test_folder_new(), from[1024], to[1024];
    error err;
    test_file_write(folder, "a", "contents");
    test_ok(file_copy(at(from, folder, "a"), at(to, folder, "b"), &err), &err);
    char *seen = test_file_read(folder, "b");
    assert_string_equal(seen, "contents");
    free(seen);
    assert_int_equal(file_copy(at(from, folder, "none"), to, &err), ERR_NOT_FOUND);
    test_folder_remove(folder);
}

static void folders_are_made_and_removed_with_all_that_is_in_them(void **state)
{
    (void)state;
    char *folder = test_folder_new(), outside[1024], deep[1024], link[1024], top[1024];
    error err = { 0 };
    test_file_write(folder, "outside", "stays");
    test_ok(dir_make_all(at(deep, folder, "a/b//c/"), &err), &err);
    test_ok(dir_make_all(deep, &err), &err);
    assert_true(dir_exists(deep));
    assert_false(file_exists(deep));
    test_file_write(deep, "f", "x");
    assert_int_equal(symlink(at(outside, folder, ""), at(link, deep, "link")), 0); /* to be removed, not followed */
    test_ok(dir_sync(deep, &err), &err);
    assert_int_equal(dir_sync(at(outside, folder, "outside"), &err), ERR_IO); /* a file is no folder */
    assert_int_equal(dir_sync(at(outside, folder, "nowhere"), &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "nowhere"));
    test_ok(dir_remove_all(at(top, folder, "a"), &err), &err);
    assert_false(dir_exists(top));
    assert_true(file_exists(at(outside, folder, "outside")));
    test_ok(dir_remove_all(top, &err), &err); /* missing is fine */
    assert_int_equal(symlink(folder, top), 0);
    assert_int_not_equal(dir_remove_all(top, &err), OK); /* a link is not the folder it points to */
    assert_true(file_exists(at(outside, folder, "outside")));
    assert_int_equal(unlink(top), 0);
    assert_int_not_equal(dir_make_all(at(top, folder, "outside/x"), &err), OK); /* a file is in the way */
    assert_non_null(strstr(err.text, "outside"));
    test_folder_remove(folder);
}

static void paths_join_and_split(void **state)
{
    (void)state;
    char out[64];
    assert_string_equal(path_join(out, sizeof out, "a", "b"), "a/b");
    assert_string_equal(path_join(out, sizeof out, "a/", "b"), "a/b");
    assert_string_equal(path_join(out, sizeof out, "a", "/b"), "/b");
    assert_string_equal(path_join(out, sizeof out, "", "b"), "b");
    assert_string_equal(path_dirname(out, sizeof out, "a/b/c"), "a/b");
    assert_string_equal(path_dirname(out, sizeof out, "/c"), "/");
    assert_string_equal(path_dirname(out, sizeof out, "c"), ".");
    assert_int_equal(strlen(path_join(out, 8, "0123456789", "x")), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_and_mapped),
        cmocka_unit_test(reading_has_a_limit_and_names_what_is_missing),
        cmocka_unit_test(what_is_no_regular_file_is_refused),
        cmocka_unit_test(the_hash_of_a_file_is_that_of_its_bytes_whatever_its_size),
        cmocka_unit_test(pages_of_a_map_that_are_dropped_are_not_ours_and_read_the_same),
        cmocka_unit_test(a_pipe_that_is_open_already_is_read_once),
        cmocka_unit_test(a_file_is_the_old_or_the_new_one_and_never_half),
        cmocka_unit_test(two_writers_of_one_file_do_not_mix),
        cmocka_unit_test(a_write_that_cannot_be_says_so_and_leaves_nothing),
        cmocka_unit_test(new_files_obey_the_umask),
        cmocka_unit_test(appended_lines_stand_whole_one_a_line),
        cmocka_unit_test(a_copy_is_equal),
        cmocka_unit_test(folders_are_made_and_removed_with_all_that_is_in_them),
        cmocka_unit_test(paths_join_and_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
