/* SPDX-License-Identifier: MIT */
/* memory_room and memory_size against /proc and /sys as other machines have them: folders made for the test. */
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "tests/support/support.h"

enum { PATH = 1024 };
static const uint64_t MB = 1 << 20;

static void put(const char *root, const char *path, const char *text)
{
    char whole[PATH], folder[PATH];
    error err = { 0 };
    snprintf(whole, sizeof whole, "%s%s", root, path);
    test_ok(dir_make_all(path_dirname(folder, sizeof folder, whole), &err), &err);
    test_ok(file_write_atomic(whole, text, strlen(text), &err), &err);
}

/* 8 GB in all, 6 free or to be freed. */
static char *machine(void)
{
    char *root = test_folder_new();
    put(root, "/proc/meminfo",
        "MemTotal:        8388608 kB\nMemFree:  1000 kB\nMemAvailable:    6291456 kB\nSwapTotal: 0 kB\nSwapFree: 0 "
        "kB\n");
    put(root, "/proc/self/cgroup", "0::/\n");
    put(root, "/proc/self/statm", "300000 25600 100 1 0 1000 0\n"); /* 100 MB are resident */
    return root;
}

static void without_a_group_the_machine_is_the_limit(void **state)
{
    (void)state;
    char *root = machine();
    const memory_room room = memory_room_now(root, 0);
    assert_int_equal(room.bytes, 6144 * MB);
    assert_int_equal(room.of, 8192 * MB);
    assert_string_equal(room.limit, "the machine's memory");
    assert_int_equal(memory_size(root), 8192 * MB);
    test_folder_remove(root);
}

static void swap_counts(void **state)
{
    (void)state;
    char *root = machine();
    put(root, "/proc/meminfo", "MemTotal: 1024 kB\nMemAvailable: 512 kB\nSwapTotal: 2048 kB\nSwapFree: 1024 kB\n");
    assert_int_equal(memory_room_now(root, 0).bytes, 1536 * 1024);
    test_folder_remove(root);
}

/* What was asked for and not yet touched is still to come. */
static void promises_are_taken_off(void **state)
{
    (void)state;
    char *root = machine();
    const uint64_t resident = 25600 * (uint64_t)sysconf(_SC_PAGESIZE);
    assert_int_equal(memory_room_now(root, resident / 2).bytes, 6144 * MB);
    assert_int_equal(memory_room_now(root, resident + 1000 * MB).bytes, 5144 * MB);
    test_folder_remove(root);
}

static void the_tightest_group_on_the_way_up_is_the_limit(void **state)
{
    (void)state;
    char *root = machine();
    put(root, "/proc/self/cgroup", "1:name=systemd:/x\n0::/outer/inner\n");
    put(root, "/sys/fs/cgroup/outer/inner/memory.max", "max\n");
    put(root, "/sys/fs/cgroup/outer/inner/memory.current", "5000\n");
    put(root, "/sys/fs/cgroup/outer/memory.max", "2147483648\n");
    put(root, "/sys/fs/cgroup/outer/memory.current", "1610612736\n"); /* 1.5 GB, half a GB of it files */
    put(root, "/sys/fs/cgroup/outer/memory.stat", "anon 1\ninactive_file 268435456\nactive_file 268435456\n");
    const memory_room room = memory_room_now(root, 0);
    assert_int_equal(room.bytes, 1024 * MB);
    assert_int_equal(room.of, 2048 * MB);
    assert_string_equal(room.limit, "the control group's limit");
    assert_int_equal(memory_size(root), 2048 * MB);
    test_folder_remove(root);
}

static void version_1_groups_count_too(void **state)
{
    (void)state;
    char *root = machine();
    put(root, "/proc/self/cgroup", "9:cpu:/\n4:hugetlb,memory:/job/7\n0::/\n");
    put(root, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    put(root, "/sys/fs/cgroup/memory/memory.usage_in_bytes", "1000\n");
    put(root, "/sys/fs/cgroup/memory/job/7/memory.limit_in_bytes", "1073741824\n");
    put(root, "/sys/fs/cgroup/memory/job/7/memory.usage_in_bytes", "1073741824\n");
    assert_int_equal(memory_room_now(root, 0).bytes, 0);
    put(root, "/sys/fs/cgroup/memory/job/7/memory.stat", "cache 9\ntotal_inactive_file 1048576\n");
    assert_int_equal(memory_room_now(root, 0).bytes, MB);
    assert_int_equal(memory_size(root), 1024 * MB);
    test_folder_remove(root);
}

/* In a container the group's path may be one of the host's. */
static void a_path_that_leads_nowhere_leaves_the_mount(void **state)
{
    (void)state;
    char *root = machine();
    put(root, "/proc/self/cgroup", "0::/not/here/../at/all\n");
    put(root, "/sys/fs/cgroup/memory.max", "1048576\n");
    put(root, "/sys/fs/cgroup/memory.current", "0\n");
    assert_int_equal(memory_room_now(root, 0).bytes, MB);
    test_folder_remove(root);
}

static void nonsense_is_no_limit(void **state)
{
    (void)state;
    char *root = test_folder_new();
    assert_true(memory_room_now(root, 0).bytes == UINT64_MAX);
    assert_true(memory_size(root) == UINT64_MAX);
    put(root, "/proc/self/cgroup", "::::\n0:\n\n4:memory\n0::");
    put(root, "/proc/meminfo", "MemTotal\nMemAvailable: lots\n");
    put(root, "/sys/fs/cgroup/memory.max", "\n");
    memory_room_now(root, 1);
    test_folder_remove(root);
}

static void kills_are_counted(void **state)
{
    (void)state;
    char *root = machine();
    assert_int_equal(memory_kills(root), 0);
    put(root, "/proc/vmstat", "nr_free_pages 1\noom_kill_x 9\noom_kill 3\n");
    assert_int_equal(memory_kills(root), 3);
    test_folder_remove(root);
}

static void sizes_are_said_as_people_say_them(void **state)
{
    (void)state;
    char text[32];
    assert_string_equal(memory_text(812, text, sizeof text), "812 bytes");
    assert_string_equal(memory_text(64 * MB, text, sizeof text), "64 MB");
    assert_string_equal(memory_text(3584 * MB, text, sizeof text), "3.5 GB");
    assert_string_equal(memory_text(400 * 1024 * MB, text, sizeof text), "400 GB");
    assert_string_equal(memory_text(UINT64_MAX, text, sizeof text), "16384 PB");
}

/* In a child with 600 MB of address space: `fn` must end it with EXIT_MEMORY and one sentence. */
static void starve(void (*fn)(void))
{
    int ends[2], status;
    char said[200] = "";
    assert_int_equal(pipe(ends), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit few = { 600 * MB, 600 * MB };
        dup2(ends[1], 2);
        setrlimit(RLIMIT_AS, &few);
        fn();
        _exit(0);
    }
    close(ends[1]);
    const ssize_t n = read(ends[0], said, sizeof said - 1);
    close(ends[0]);
    waitpid(pid, &status, 0);
    assert_true(n > 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_MEMORY) fail_msg("status %#x: %s", (unsigned)status, said);
    if (strncmp(said, "troupe: out of memory: ", 23) != 0) fail_msg("'%s'", said);
}

static void take_one(void) { *(volatile char *)xmalloc(4096 * MB) = 1; }
static void take_many(void)
{
    for (;;) memset(xmalloc(100000), 1, 100000);
}
static void take_by_growing(void)
{
    str s = { 0 };
    for (;;)
        str_puts(&s, "a hundred bytes or so, again and again, until there are no more of them to be had at all ...");
}
static void take_zeros(void) { *(volatile char *)xcalloc(SIZE_MAX / 2, 4) = 1; }

static void running_out_ends_with_a_sentence_never_with_a_crash(void **state)
{
    (void)state;
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__ /* they need more address space than there is */
    starve(take_one);
    starve(take_many);
    starve(take_by_growing);
    starve(take_zeros);
#else
    (void)starve, (void)take_one, (void)take_many, (void)take_by_growing, (void)take_zeros;
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_group_the_machine_is_the_limit),
        cmocka_unit_test(swap_counts),
        cmocka_unit_test(promises_are_taken_off),
        cmocka_unit_test(the_tightest_group_on_the_way_up_is_the_limit),
        cmocka_unit_test(version_1_groups_count_too),
        cmocka_unit_test(a_path_that_leads_nowhere_leaves_the_mount),
        cmocka_unit_test(nonsense_is_no_limit),
        cmocka_unit_test(kills_are_counted),
        cmocka_unit_test(sizes_are_said_as_people_say_them),
        cmocka_unit_test(running_out_ends_with_a_sentence_never_with_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
