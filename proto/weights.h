/* SPDX-License-Identifier: MIT */
/* weights - a version of the weights on its way from the learner to the actors. Opaque bytes with a version and a hash.
 *
 * On one host: a file in shared memory that actors map, a new one each version, kept for a few versions. It has no
 * name, so that nothing is left of it when its processes are killed: actors open the learner's descriptor, as
 * /proc/PID/fd/N. Elsewhere: the same bytes in chunks over the wire. Whoever loads them compares the hash with its own.
 *
 *     training thread   weights_stage_write   the file, from where the weights lie: no second copy of them in memory
 *     I/O thread        weights_publish       announces it, and closes it when it is old */
#pragma once

#include "base/file.h"
#include <stdbool.h>

#include "proto/messages.h"

enum { WEIGHTS_KEPT = 2, WEIGHTS_CHUNK_BYTES = 1 << 20 };

typedef struct weights_stage weights_stage;
/* Files are made in shared memory (/dev/shm), or in the temporary folder where there is none, or once it is full. */
weights_stage *weights_stage_new(void);
void weights_stage_free(weights_stage *s);
/* Has `write(ctx, path, err)` write a new file, which `path` names for this process alone (/proc/self/fd/N:
 * base/file.h). One thread. *file is the caller's to close. ERR_IO: neither place takes it. */
typedef int (*weights_write)(void *ctx, const char *path, error *err);
int weights_stage_write(weights_stage *s, int64_t version, weights_write write, void *ctx, int *file, error *err);

typedef struct weights_publisher weights_publisher;
weights_publisher *weights_publisher_new(void);
void weights_publisher_free(weights_publisher *p); /* closes the files */
/* What its versions take, and the one that is being written, of `bytes` each. */
static inline uint64_t weights_published_bytes(uint64_t bytes) { return (WEIGHTS_KEPT + 1) * bytes; }
/* The file is the publisher's from here on; after an error still the caller's. */
int weights_publish(weights_publisher *p, int64_t version, uint64_t hash, int file, error *err);
/* The announcement of the newest version. False: none has been published yet. */
bool weights_announcement(const weights_publisher *p, weights_body *out);
/* A chunk for an actor on another host. False: that version is no longer kept. `out->data` is the caller's. */
bool weights_chunk_of(weights_publisher *p, const weights_get_body *get, weights_chunk_body *out);

/* This machine's name for itself: the boot id, and the namespace of its process ids. Two processes with the same one
 * see each other's files as /proc/PID/fd/N. */
void weights_host(char out[80]);

typedef struct weights_subscriber weights_subscriber;
typedef struct weights_blob {
    int64_t version;
    uint64_t hash;
    const void *data; /* valid until the next call on the subscriber */
    size_t len;
    bool mapped; /* data is a file_map's (base/file.h) */
} weights_blob;
/* max_bytes: the most that weights of the model can take. An announcement of more is no learner's of this run, and is
 * refused. */
weights_subscriber *weights_subscriber_new(uint64_t max_bytes);
void weights_subscriber_free(weights_subscriber *s);
/* The blob has been read: its memory is given back. */
void weights_subscriber_release(weights_subscriber *s);
/* An announcement came. Returns 1 when *blob is ready, 0 when *get is to be sent (chunks will follow), or a negative
 * error code. The same announcement again, while its chunks are under way, means that one was lost: *get then asks for
 * the chunk that is missing. */
int weights_on_announcement(weights_subscriber *s, const weights_body *a, weights_blob *blob, weights_get_body *get,
                            error *err);
/* A chunk came. Returns the same; after a chunk that was not expected, 0 with get->version < 0: nothing is to be
 * sent. */
int weights_on_chunk(weights_subscriber *s, const weights_chunk_body *c, weights_blob *blob, weights_get_body *get,
                     error *err);
