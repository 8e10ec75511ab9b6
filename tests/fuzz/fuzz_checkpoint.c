/* SPDX-License-Identifier: MIT */
/* fuzz_checkpoint - a checkpoint whose state.json or memory.state holds any bytes is loaded as it was written, or
 * refused with a sentence that names the folder; nothing outside the arrays is touched.
 *
 * Input: one byte that chooses the file, then what stands in it. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "learner/checkpoint.h"
#include "tests/fuzz/files.h"
#include "tests/unit/learner/tiny.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REMEMBERED = 5 };

static struct {
    char dir[128];
    tiny model;
    optimizer *o;
    double numbers[REMEMBERED];
    char *kept[2]; /* state.json and memory.state as they were written */
    size_t kept_len[2];
} one;

static const char *const FILES[2] = { "state.json", "memory.state" };

static checkpoint_parts parts_of(void) { return (checkpoint_parts){ .w = one.model.w, .o = one.o }; }

/* As modules do: a text, numbers, and every other number of an array. */
static void walk(saved_state *s)
{
    state_section(s, "module", 1);
    state_same(s, "names", "a b");
    state_numbers(s, "numbers", one.numbers, REMEMBERED, 0, REMEMBERED);
    state_section(s, "column", 2);
    state_column(s, "even", one.numbers, (REMEMBERED + 1) / 2, 2 * sizeof(double), 0, REMEMBERED);
}

/* A run with one checkpoint. */
static void make_run(void)
{
    error err = { 0 };
    char path[256];
    const optim_config config = { .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.95 };
    const char *run = fuzz_folder();
    test_file_write(run, "config.json", TINY_CONFIG);
    one.model = tiny_open(5);
    one.o = optimizer_new(&config, one.model.w, NULL, NULL);
    for (int i = 0; i < REMEMBERED; i++) one.numbers[i] = i;
    weights_seal(one.model.w, 1);
    checkpoint_parts parts = parts_of();
    saved_state *memory = state_new();
    walk(memory);
    parts.memory = memory;
    if (checkpoint_save(run, run, &parts, 7, &err) != OK) abort();
    state_free(memory);
    snprintf(one.dir, sizeof one.dir, "%s/checkpoints/step-1", run);
    for (int i = 0; i < 2; i++)
        if (!(one.kept[i] =
                  file_read(path_join(path, sizeof path, one.dir, FILES[i]), 1 << 20, &one.kept_len[i], &err)))
            abort();
}

static void put(int which, const void *data, size_t len)
{
    char name[64];
    snprintf(name, sizeof name, "checkpoints/step-1/%s", FILES[which]);
    fuzz_put(name, (str_view){ data, len });
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    checkpoint_state state;
    error err = { 0 };
    if (size < 1) return 0;
    if (!one.o) make_run();
    const int which = data[0] & 1;
    const checkpoint_parts parts = parts_of();
    put(which, data + 1, size - 1);
    int rc = checkpoint_load(one.dir, &parts, &state, &err);
    saved_state *memory = rc == OK ? checkpoint_memory(one.dir, &err) : NULL;
    if (memory) {
        walk(memory);
        rc = state_end(memory, &err);
    } else if (rc == OK) {
        rc = err.code;
    }
    state_free(memory);
    if (rc != OK && (err.code != rc || !strstr(err.text, "step-1"))) abort();
    if (rc == OK && err.code) abort();
    put(which, one.kept[which], one.kept_len[which]);
    return 0;
}
