/* SPDX-License-Identifier: MIT */
/* driver - plays a fuzz target without libFuzzer: each file of a corpus folder, then seeded mutations of them for about
 * three seconds. What makes it fail is a crash, a sanitizer's report or the ctest timeout; then it names the file and
 * the mutation that did it:
 *
 *     fuzz_codec tests/fuzz/corpus/codec            all of it
 *     fuzz_codec tests/fuzz/corpus/codec 4711       only mutation 4711 (of each file), to look at it again */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/vec.h"
#include "tests/support/support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

enum { MAX_BYTES = 1 << 20, LIMIT_MS = 3000, MAX_MUTATIONS = 20000 };

typedef struct input {
    char *name, *data;
    size_t len;
} input;
typedef vec(input) corpus;

/* Only here, because a signal handler gets no argument of ours. */
static char under_way[512];

static void tell_what_was_under_way(void)
{
    ssize_t ignored = write(2, under_way, strlen(under_way));
    (void)ignored;
}

static void on_signal(int sig)
{
    tell_what_was_under_way();
    signal(sig, SIG_DFL);
    raise(sig);
}

static int by_name(const void *a, const void *b) { return strcmp(((const input *)a)->name, ((const input *)b)->name); }

static void read_corpus(corpus *c, const char *folder)
{
    DIR *dir = opendir(folder);
    error err = { 0 };
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        char path[1024];
        input in = { .name = xstrdup(entry->d_name) };
        in.data = file_read(path_join(path, sizeof path, folder, entry->d_name), MAX_BYTES, &in.len, &err);
        if (!in.data) fprintf(stderr, "%s\n", err.text);
        if (!in.data) exit(2);
        vec_push(c, in);
    }
    if (dir) closedir(dir);
    if (c->len) qsort(c->data, c->len, sizeof *c->data, by_name);
}

/* A few edits of the kinds that break parsers: flipped bits, odd bytes, pieces cut, doubled,
 * or taken from elsewhere. */
static size_t mutate(uint8_t *data, size_t len, size_t capacity, const corpus *c, test_random *rnd)
{
    static const uint8_t odd[] = { 0, 1, 0x7f, 0x80, 0xff, '"', '\\', '{', '[', '<', '\n', 0xc1, 0xdf, 0xd9 };
    for (uint64_t edits = 1 + test_random_below(rnd, 6); edits > 0; edits--) {
        size_t at = test_random_below(rnd, len + 1), left = len - at;
        size_t n = left ? 1 + test_random_below(rnd, left < 64 ? left : 64) : 0;
        switch (test_random_below(rnd, 6)) {
        case 0:
            if (left) data[at] ^= (uint8_t)(1u << test_random_below(rnd, 8));
            break;
        case 1:
            if (left) data[at] = odd[test_random_below(rnd, sizeof odd)];
            break;
        case 2:
            len = at;
            break;
        case 3:
            memmove(data + at, data + at + n, left - n);
            len -= n;
            break;
        case 4:
            if (len + n > capacity) break;
            memmove(data + at + n, data + at, left);
            len += n;
            break;
        default: {
            const input *other = &c->data[test_random_below(rnd, c->len)];
            size_t from = test_random_below(rnd, other->len + 1);
            size_t m = other->len - from < left ? other->len - from : left;
            memcpy(data + at, other->data + from, m);
        }
        }
    }
    return len;
}

/* The input gets memory of exactly its size: one byte too far is then a sanitizer's report. */
static void play(const uint8_t *data, size_t len)
{
    uint8_t *exact = xmalloc(len);
    if (len) memcpy(exact, data, len);
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
}

static void play_mutation(const corpus *c, const input *in, uint64_t number)
{
    snprintf(under_way, sizeof under_way, "fuzz: under way: mutation %ju of %s\n", (uintmax_t)number, in->name);
    test_random rnd = test_random_seed(number);
    size_t capacity = in->len + 4096;
    uint8_t *data = xmalloc(capacity);
    memcpy(data, in->data, in->len);
    play(data, mutate(data, in->len, capacity, c, &rnd));
    free(data);
}

int main(int argc, char **argv)
{
    corpus c = { 0 };
    if (argc > 1) read_corpus(&c, argv[1]);
    if (c.len == 0) {
        fprintf(stderr, "fuzz: usage: %s CORPUS-FOLDER [MUTATION]; a folder without files tests nothing\n", argv[0]);
        return 2;
    }
    signal(SIGSEGV, on_signal);
    signal(SIGABRT, on_signal);
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(tell_what_was_under_way);
    for (size_t i = 0; i < c.len; i++) {
        snprintf(under_way, sizeof under_way, "fuzz: under way: %s as it is\n", c.data[i].name);
        play((const uint8_t *)c.data[i].data, c.data[i].len);
    }
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1, number = first;
    int64_t deadline_ms = clock_ms() + LIMIT_MS;
    do {
        for (size_t i = 0; i < c.len; i++) play_mutation(&c, &c.data[i], number);
        number++;
    } while (argc <= 2 && number <= MAX_MUTATIONS && clock_ms() < deadline_ms);
    printf("%zu files, %ju mutations of each\n", c.len, (uintmax_t)(number - first));
    for (size_t i = 0; i < c.len; i++) {
        free(c.data[i].name);
        free(c.data[i].data);
    }
    vec_free(&c);
    return 0;
}
