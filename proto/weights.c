/* SPDX-License-Identifier: MIT */
#include "proto/weights.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/held_folder.h"
#include "base/str.h"

static const char PREFIX[] = "troupe-weights";
static const char SHARED_MEMORY[] = "/dev/shm";

/* A container's /dev/shm may be too small for a few versions (64 MB is usual): then what follows goes to a file system,
 * and what is there stays until it is old. */
struct weights_stage {
    held_folder folders[2]; /* in shared memory, in the temporary folder */
    int current;
    int64_t written;
};

typedef struct kept {
    int64_t version; /* -1: none */
    char path[256];
} kept;

struct weights_publisher {
    kept files[WEIGHTS_KEPT];
    int next;
    weights_body newest;
};

void weights_host(char out[80])
{
    size_t len = 0;
    char *id = file_read("/proc/sys/kernel/random/boot_id", 4096, &len, NULL);
    snprintf(out, 80, "%s", id ? id : "unknown");
    out[strcspn(out, "\n")] = 0;
    free(id);
}

/* ---- the files ---- */

void weights_sweep(void)
{
    held_folder_sweep(SHARED_MEMORY, PREFIX);
    held_folder_sweep(temporary_root(), PREFIX);
}

static int move_out(weights_stage *s, error *err)
{
    s->current = 1;
    return held_folder_open(&s->folders[1], temporary_root(), PREFIX, err);
}

weights_stage *weights_stage_new(error *err)
{
    weights_stage *s = xcalloc(1, sizeof *s);
    if (held_folder_open(&s->folders[0], SHARED_MEMORY, PREFIX, NULL) == OK || move_out(s, err) == OK) return s;
    weights_stage_free(s);
    return NULL;
}

void weights_stage_free(weights_stage *s)
{
    if (!s) return;
    for (int i = 0; i < 2; i++)
        if (s->folders[i].path[0]) held_folder_close(&s->folders[i]);
    free(s);
}

int weights_stage_write(weights_stage *s, int64_t version, weights_write write, void *ctx, char path[256], error *err)
{
    error why = { 0 };
    const int64_t number = s->written++; /* the same version may be written twice */
    int rc;
    do {
        snprintf(path, 256, "%s/v%" PRId64 "-%" PRId64 ".safetensors", s->folders[s->current].path, version, number);
        rc = write(ctx, path, &why);
    } while (rc != OK && s->current == 0 && move_out(s, &why) == OK);
    return rc == OK ? OK : error_set(err, rc, "publishing version %" PRId64 ": %s", version, why.text);
}

/* ---- publisher ---- */

weights_publisher *weights_publisher_new(void)
{
    weights_publisher *p = xcalloc(1, sizeof *p);
    for (int i = 0; i < WEIGHTS_KEPT; i++) p->files[i].version = -1;
    p->newest.version = -1;
    weights_host(p->newest.host);
    return p;
}

static void drop(kept *k)
{
    if (k->version >= 0) unlink(k->path); /* who has it mapped keeps it */
    k->version = -1;
}

void weights_publisher_free(weights_publisher *p)
{
    for (int i = 0; p && i < WEIGHTS_KEPT; i++) drop(&p->files[i]);
    free(p);
}

/* Where `version` goes: over itself when it is published again, else over the oldest. */
static int slot_for(const weights_publisher *p, int64_t version)
{
    for (int i = 0; i < WEIGHTS_KEPT; i++)
        if (p->files[i].version == version) return i;
    return p->next;
}

int weights_publish(weights_publisher *p, int64_t version, uint64_t hash, const char *path, error *err)
{
    struct stat st;
    if (stat(path, &st) != 0) return error_sys(err, errno, "publishing version %" PRId64 ": %s", version, path);

    const int at = slot_for(p, version);
    kept *slot = &p->files[at];
    drop(slot);
    slot->version = version;
    snprintf(slot->path, sizeof slot->path, "%s", path);

    if (at == p->next) p->next = (p->next + 1) % WEIGHTS_KEPT;
    p->newest.version = version;
    p->newest.hash = hash;
    p->newest.bytes = (uint64_t)st.st_size;
    snprintf(p->newest.path, sizeof p->newest.path, "%s", path);
    return OK;
}

bool weights_announcement(const weights_publisher *p, weights_body *out)
{
    *out = p->newest;
    return p->newest.version >= 0;
}

static bool chunk_of_file(const char *path, const weights_get_body *get, weights_chunk_body *out)
{
    file_map map;
    if (file_map_open(&map, path, NULL) != OK) return false;

    const bool inside = get->offset < map.len;
    if (inside) {
        const size_t left = map.len - (size_t)get->offset;
        const size_t len = left < WEIGHTS_CHUNK_BYTES ? left : WEIGHTS_CHUNK_BYTES;
        *out = (weights_chunk_body){
            .version = get->version, .offset = get->offset, .total = map.len, .data = xmalloc(len), .len = len
        };
        memcpy(out->data, map.data + get->offset, len);
    }
    file_map_close(&map);
    return inside;
}

bool weights_chunk_of(weights_publisher *p, const weights_get_body *get, weights_chunk_body *out)
{
    if (get->version < 0) return false;
    for (int i = 0; i < WEIGHTS_KEPT; i++)
        if (p->files[i].version == get->version) return chunk_of_file(p->files[i].path, get, out);
    return false;
}

/* ---- subscriber ---- */

struct weights_subscriber {
    char host[80];
    uint64_t max_bytes;
    file_map map;
    weights_body wanted; /* being fetched in chunks; version -1: nothing */
    str bytes;
};

weights_subscriber *weights_subscriber_new(uint64_t max_bytes)
{
    weights_subscriber *s = xcalloc(1, sizeof *s);
    s->max_bytes = max_bytes;
    weights_host(s->host);
    s->wanted.version = -1;
    return s;
}

void weights_subscriber_free(weights_subscriber *s)
{
    if (!s) return;
    file_map_close(&s->map);
    str_free(&s->bytes);
    free(s);
}

void weights_subscriber_release(weights_subscriber *s)
{
    file_map_close(&s->map);
    s->map = (file_map){ 0 };
    if (s->wanted.version < 0) str_free(&s->bytes);
}

/* Asks for the next chunk; what has come of the same version is kept. */
static void fetch(weights_subscriber *s, const weights_body *a, weights_get_body *get)
{
    const bool same = s->wanted.version == a->version && s->wanted.hash == a->hash && s->wanted.bytes == a->bytes;
    if (!same) str_clear(&s->bytes);
    s->wanted = *a;
    *get = (weights_get_body){ .version = a->version, .offset = s->bytes.len };
}

int weights_on_announcement(weights_subscriber *s, const weights_body *a, weights_blob *blob, weights_get_body *get,
                            error *err)
{
    file_map_close(&s->map);
    s->map = (file_map){ 0 };
    if (a->version < 0 || a->bytes == 0)
        return -error_set(err, ERR_PEER, "announced weights of %" PRIu64 " bytes", a->bytes);
    if (a->bytes > s->max_bytes)
        return -error_set(err, ERR_PEER,
                          "announced weights of %" PRIu64 " bytes (this model's have at most %" PRIu64 ")", a->bytes,
                          s->max_bytes);

    /* Another machine, or a container that doesn't see the folder: by chunks. */
    const bool here = strcmp(a->host, s->host) == 0;
    if (!here || file_map_open(&s->map, a->path, NULL) != OK || s->map.len != a->bytes) {
        fetch(s, a, get);
        return 0;
    }

    s->wanted.version = -1;
    *blob = (weights_blob){
        .version = a->version, .hash = a->hash, .data = s->map.data, .len = s->map.len, .mapped = true
    };
    return 1;
}

int weights_on_chunk(weights_subscriber *s, const weights_chunk_body *c, weights_blob *blob, weights_get_body *get,
                     error *err)
{
    *get = (weights_get_body){ .version = -1 };
    if (s->wanted.version < 0 || c->version != s->wanted.version || c->offset != s->bytes.len) return 0;
    if (c->total != s->wanted.bytes || c->len == 0 || c->len > c->total - c->offset)
        return -error_set(err, ERR_PEER, "version %" PRId64 ": a chunk lies outside the %" PRIu64 " bytes announced",
                          c->version, s->wanted.bytes);

    str_add(&s->bytes, c->data, c->len);
    if (s->bytes.len < c->total) {
        *get = (weights_get_body){ .version = c->version, .offset = s->bytes.len };
        return 0;
    }

    *blob = (weights_blob){ .version = c->version, .hash = s->wanted.hash, .data = s->bytes.data, .len = s->bytes.len };
    s->wanted.version = -1; /* the next fetch clears the bytes */
    return 1;
}
