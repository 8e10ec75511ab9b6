/* SPDX-License-Identifier: MIT */
/* device - where arrays live and operations run: "cpu", "cuda:N", or "auto".
 *
 * Operations return nothing. The first failure sticks to the device; device_sync reports it with the operation's name.
 * Memory that the machine lacks ends what is being done: see device_guard.
 * Pointers are flat, shapes are arguments; there is no tensor class. One thread owns a device. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/words.h"

typedef struct device device;
struct ops;

/* How linear products are computed. BF16: factors rounded to bf16, sums in fp32; everything else stays fp32. */
#define PRECISIONS(X)                                                                                                  \
    X(PRECISION_F32, "f32", "float32 throughout")                                                                      \
    X(PRECISION_BF16, "bf16", "factors of linear products in bfloat16, sums in float32")
typedef enum precision { PRECISIONS(WORDS_MEMBER) } precision;
extern const word_row PRECISION_WORDS[];

/* `threads` <= 0: one a core this process may use. "auto" takes CUDA when the module and a driver are there.
 * NULL and `err` for a device this machine lacks. */
device *device_open(const char *name, int threads, error *err);
void device_close(device *dev);
/* PRECISION_F32 until told otherwise; to be told before anything is packed. */
void device_set_precision(device *dev, precision p);
precision device_precision(const device *dev);
const struct ops *device_ops(const device *dev);
const char *device_name(const device *dev); /* "cpu (avx512, 2 threads)" */
int device_threads(const device *dev);

/* Device memory, 64-byte aligned. device_alloc never returns NULL: it leaves by the guard. device_try returns NULL and
 * ERR_MEMORY with a sentence: for what is made at the start. Both refuse what this machine, its control group or ulimit
 * has no room for, before the kernel's out-of-memory killer acts. */
void *device_alloc(device *dev, size_t bytes);
void *device_try(device *dev, size_t bytes, error *err);
void device_free(device *dev, void *p);
void device_copy_in(device *dev, void *to_device, const void *from_host, size_t bytes);
void device_copy_out(device *dev, void *to_host, const void *from_device, size_t bytes);
/* From one array of the device to another, in the order of the operations around it. */
void device_copy(device *dev, void *to, const void *from, size_t bytes);
/* CUDA's stream that the operations are given to, for libraries that work on it (NCCL); NULL where there is none. */
void *device_stream(const device *dev);
/* The array itself where the host may read it (CPU, after device_sync); NULL where it has to be copied out. */
const void *device_view(const device *dev, const void *on_device);
/* Memory of one step: bump-allocated, all of it forgotten by device_scratch_reset (kept and reused underneath). */
void *device_scratch(device *dev, size_t bytes);
/* The same in host memory, for records that go with a step's arrays; forgotten by the same reset. */
void *device_host_scratch(device *dev, size_t bytes);
void device_scratch_reset(device *dev);
/* The same, and the memory goes back to the machine: for one who has failed and wants to save. */
void device_scratch_drop(device *dev);
size_t device_scratch_peak(const device *dev); /* for tests: what a pass is promised to need at most */
/* Runs fn(ctx, err) and returns what it returns. When an array or scratch that fn asks for, however deep inside, cannot
 * be allocated, fn ends at once (a long jump) and ERR_MEMORY returned: "out of memory: scratch needs 64 MB more (3.5 GB
 * in use), and ...". What fn holds in malloc's memory is lost then, its arrays are in any state, the device itself
 * continues: for a process that saves what it has and ends. Guards nest. Without one the process ends with the sentence
 * and EXIT_MEMORY. */
int device_guard(device *dev, int (*fn)(void *ctx, error *err), void *ctx, error *err);
/* Leaves what the guard runs from anywhere inside it, as when memory is short: device_guard returns `why`. */
__attribute__((noreturn)) void device_leave(device *dev, const error *why);
/* For tests: the request (array or scratch) after `n` more is refused, and all that follow; < 0: none. */
void device_starve(device *dev, int64_t n);

/* fn over [0, n) on the host, item by item, shared among the device's threads where it has any. */
void device_parallel(device *dev, int64_t n, void (*fn)(void *ctx, int64_t begin, int64_t end, int thread), void *ctx);
/* tick(ctx) is called by the device's own thread several times a second (as its pieces of work allow) while the CPU
 * computes, so that a process in a long pass can say that it lives. It must not use the device. A GPU calls it never.
 * NULL: none. */
void device_set_tick(device *dev, void (*tick)(void *ctx), void *ctx);
/* Waits for the work given so far; OK, or ERR_DEVICE and the name of the operation that failed first. */
int device_sync(device *dev, error *err);
