/* SPDX-License-Identifier: MIT */
/* support - what tests of every room share: cmocka with the headers it wants, seeded random numbers, temporary folders,
 * files. Includes cmocka, so that a test needs no other line for it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"

/* Random histories from a seed that a failure prints (splitmix64: independent of the rng under test). */
typedef struct test_random {
    uint64_t state;
} test_random;
test_random test_random_seed(uint64_t seed);
uint64_t test_random_next(test_random *rnd);
uint64_t test_random_below(test_random *rnd, uint64_t n); /* [0, n), n > 0 */
double test_random_unit(test_random *rnd);                /* [0, 1) */
float test_random_normal(test_random *rnd);               /* standard normal, for tensors */
void test_random_bytes(test_random *rnd, void *out, size_t len);

/* A fresh folder under TMPDIR (or /tmp); the caller hands the path back to test_folder_remove. Those of a test that
 * fails go with the process, those of a process that is killed with the next one that makes a folder (held_folder.h).
 * Fails the test on error. */
char *test_folder_new(void);
char *test_folder_in_memory(void);     /* the same in /dev/shm, where there is one */
void test_folder_remove(char *folder); /* removes it with all that is in it, and frees the path; NULL is allowed */

enum { TEST_PATH = 500 }; /* bytes of a path in such a folder */

/* Whole files in one line; they fail the test on error. test_file_read's result is the caller's (free). */
/* Writes `text` to a file of its own in the temporary folder, whose name is written to path. */
void test_file_temporary(char *path, size_t size, const char *text);
int test_file_nameless(const char *text); /* a descriptor; its name is gone */
int test_file_unlinked(const char *path); /* the same of a file that is there */
void test_file_write(const char *folder, const char *name, const char *text);
/* Writes it, and -> path: where it is. Returns `path`. */
char *test_file_at(const char *folder, const char *name, const char *text, char path[TEST_PATH]);
char *test_file_read(const char *folder, const char *name);

/* Fails the test with the error's own sentence unless `code` is OK. */
#define test_ok(code, err)                                                                                             \
    do {                                                                                                               \
        int test_ok_code_ = (code);                                                                                    \
        if (test_ok_code_ != OK) fail_msg("%s: %s", error_name(test_ok_code_), (err)->text);                           \
    } while (0)

/* Fails unless `got` is within `tolerance` of `want` (absolute, or relative for large values). */
void test_near(double got, double want, double tolerance, const char *what);

/* The path of a test data folder `name` (e.g. "models/tiny"): $TROUPE_SHARED/name, else ../shared/name beside the
 * source folder. NULL, after saying so on stderr, when it is absent: then skip(). The caller frees. */
char *test_data(const char *name);
