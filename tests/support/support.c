/* SPDX-License-Identifier: MIT */
#include "tests/support/support.h"

#include <math.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/held_folder.h"
#include "base/str.h"

test_random test_random_seed(uint64_t seed) { return (test_random){ seed }; }

uint64_t test_random_next(test_random *rnd)
{
    uint64_t z = rnd->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t test_random_below(test_random *rnd, uint64_t n) { return test_random_next(rnd) % n; }

double test_random_unit(test_random *rnd) { return (double)(test_random_next(rnd) >> 11) * 0x1p-53; }

float test_random_normal(test_random *rnd)
{
    double radius = sqrt(-2 * log(1 - test_random_unit(rnd)));
    return (float)(radius * cos(6.283185307179586 * test_random_unit(rnd)));
}

void test_random_bytes(test_random *rnd, void *out, size_t len)
{
    unsigned char *p = out;
    for (size_t i = 0; i < len; i++) p[i] = (unsigned char)test_random_next(rnd);
}

/* ---- folders: each is the folder "d" of a held one, which has a mark of its own ---- */

enum { MAX_FOLDERS = 256 };
static held_folder folders[MAX_FOLDERS];
static pid_t owner; /* of the folders: a child that is forked leaves them alone */

static void remove_folders(void)
{
    for (int i = 0; i < MAX_FOLDERS && getpid() == owner; i++) held_folder_close(&folders[i]);
}

static char *folder_in(const char *root)
{
    error err = { 0 };
    int i = 0;
    str path = { 0 };
    if (owner == 0) atexit(remove_folders);
    if (owner != getpid()) memset(folders, 0, sizeof folders);
    owner = getpid();
    while (i < MAX_FOLDERS && folders[i].path[0]) i++;
    if (i == MAX_FOLDERS) fail_msg("%d folders are open: which test removes none?", i);

    test_ok(held_folder_open(&folders[i], root, "troupe-tests", &err), &err);
    str_printf(&path, "%s/d", folders[i].path);
    test_ok(dir_make_all(path.data, &err), &err);
    return str_take(&path);
}

char *test_folder_new(void) { return folder_in(temporary_root()); }
char *test_folder_in_memory(void) { return folder_in(dir_exists("/dev/shm") ? "/dev/shm" : temporary_root()); }

void test_folder_remove(char *folder)
{
    error err;
    if (!folder) return;
    test_ok(dir_remove_all(folder, &err), &err);
    *strrchr(folder, '/') = '\0';
    for (int i = 0; i < MAX_FOLDERS && getpid() == owner; i++)
        if (strcmp(folders[i].path, folder) == 0) held_folder_close(&folders[i]);
    free(folder);
}

void test_file_temporary(char *path, size_t size, const char *text)
{
    snprintf(path, size, "%s/troupe-test-file-XXXXXX", temporary_root());
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

int test_file_nameless(const char *text)
{
    char path[TEST_PATH];
    test_file_temporary(path, sizeof path, text);
    return test_file_unlinked(path);
}

int test_file_unlinked(const char *path)
{
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd > 0);
    assert_int_equal(unlink(path), 0);
    return fd;
}

void test_file_write(const char *folder, const char *name, const char *text)
{
    char path[1024];
    error err;
    path_join(path, sizeof path, folder, name);
    test_ok(file_write_atomic(path, text, strlen(text), &err), &err);
}

char *test_file_at(const char *folder, const char *name, const char *text, char path[TEST_PATH])
{
    test_file_write(folder, name, text);
    return path_join(path, TEST_PATH, folder, name);
}

char *test_file_read(const char *folder, const char *name)
{
    char path[1024];
    error err = { 0 };
    size_t len;
    path_join(path, sizeof path, folder, name);
    char *text = file_read(path, 1u << 30, &len, &err);
    if (!text) fail_msg("%s", err.text);
    return text;
}

void test_near(double got, double want, double tolerance, const char *what)
{
    double scale = fabs(want) > 1 ? fabs(want) : 1;
    if (!(fabs(got - want) <= tolerance * scale))
        fail_msg("%s: got %.17g, want %.17g (tolerance %g)", what, got, want, tolerance);
}

char *test_data(const char *name)
{
    const char *shared = getenv("TROUPE_SHARED"), *source = getenv("TROUPE_SOURCE");
    str path = { 0 };
    if (shared && *shared)
        str_printf(&path, "%s/%s", shared, name);
    else
        str_printf(&path, "%s/../shared/%s", source && *source ? source : ".", name);
    if (file_exists(path.data) || dir_exists(path.data)) return str_take(&path);
    fprintf(stderr, "skipped: no test data %s (set TROUPE_SHARED)\n", path.data);
    str_free(&path);
    return NULL;
}
