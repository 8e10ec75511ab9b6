/* SPDX-License-Identifier: MIT */
#include "proto/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/held_folder.h"
#include "base/str.h"

static const char PREFIX[] = "troupe-weights";
static const char SHARED_MEMORY[] = "/dev/shm";

typedef struct kept {
    int64_t version; /* -1: none */
    char path[256];
} kept;

struct weights_publisher {
    held_folder folder;
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

/* ---- publisher ---- */

void weights_sweep(void)
{
    held_folder_sweep(SHARED_MEMORY, PREFIX);
    held_folder_sweep(temporary_root(), PREFIX);
}

weights_publisher *weights_publisher_new(error *err)
{
    weights_publisher *p = xcalloc(1, sizeof *p);
    for (int i = 0; i < WEIGHTS_KEPT; i++) p->files[i].version = -1;
    p->newest.version = -1;
    weights_host(p->newest.host);
    if (held_folder_open(&p->folder, SHARED_MEMORY, PREFIX, NULL) == OK) return p;
    if (held_folder_open(&p->folder, temporary_root(), PREFIX, err) == OK) return p;
    free(p);
    return NULL;
}

void weights_publisher_free(weights_publisher *p)
{
    if (!p) return;
    held_folder_close(&p->folder);
    free(p);
}

static int write_version(weights_publisher *p, kept *slot, int64_t version, const void *data, size_t len, error *err)
{
    file_writer w;
    char path[sizeof slot->path]; /* gcc sees both in one struct and fears an overlap */
    snprintf(path, sizeof path, "%s/v%" PRId64 ".safetensors", p->folder.path, version);
    memcpy(slot->path, path, sizeof path);
    slot->version = -1;

    int rc = file_write_begin(&w, slot->path, err);
    if (rc != OK) return rc;

    rc = file_write_all(&w, data, len, err);
    const int end = file_write_end(&w, rc == OK, rc == OK ? err : NULL);
    if (rc == OK) rc = end;

    if (rc == OK) slot->version = version;
    return rc;
}

/* A container's /dev/shm may be too small for a few versions (64 MB is usual): then they go to a file system. Those
 * that are mapped stay whole; one that is asked for in chunks just now is announced anew. */
static int move_out(weights_publisher *p, error *err)
{
    const bool in_shared_memory = strncmp(p->folder.path, SHARED_MEMORY, sizeof SHARED_MEMORY - 1) == 0;
    if (!in_shared_memory) return ERR_IO; /* it has moved already: err says what failed there */

    for (int i = 0; i < WEIGHTS_KEPT; i++) p->files[i].version = -1;
    held_folder_close(&p->folder);
    return held_folder_open(&p->folder, temporary_root(), PREFIX, err);
}

/* Where `version` goes: over itself when it is published again, else over the oldest. */
static int slot_for(const weights_publisher *p, int64_t version)
{
    for (int i = 0; i < WEIGHTS_KEPT; i++)
        if (p->files[i].version == version) return i;
    return p->next;
}

int weights_publish(weights_publisher *p, int64_t version, uint64_t hash, const void *data, size_t len, error *err)
{
    error own = { 0 };
    const int at = slot_for(p, version);
    kept *slot = &p->files[at];

    if (slot->version >= 0) unlink(slot->path); /* who has it mapped keeps it */

    int rc = write_version(p, slot, version, data, len, &own);
    if (rc != OK) {
        rc = move_out(p, &own);
        if (rc == OK) rc = write_version(p, slot, version, data, len, &own);
    }
    if (rc != OK) return error_set(err, rc, "publishing version %" PRId64 ": %s", version, own.text);

    if (at == p->next) p->next = (p->next + 1) % WEIGHTS_KEPT;
    p->newest.version = version;
    p->newest.hash = hash;
    p->newest.bytes = len;
    snprintf(p->newest.path, sizeof p->newest.path, "%s", slot->path);
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
        return -error_set(err, ERR_PEER, "weights of %" PRIu64 " bytes were announced", a->bytes);
    if (a->bytes > s->max_bytes)
        return -error_set(err, ERR_PEER,
                          "weights of %" PRIu64 " bytes were announced (those of this model have %" PRIu64 " at most)",
                          a->bytes, s->max_bytes);

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
        return -error_set(err, ERR_PEER,
                          "version %" PRId64 ": a chunk that does not fit the %" PRIu64 " bytes announced", c->version,
                          s->wanted.bytes);

    str_add(&s->bytes, c->data, c->len);
    if (s->bytes.len < c->total) {
        *get = (weights_get_body){ .version = c->version, .offset = s->bytes.len };
        return 0;
    }

    *blob = (weights_blob){ .version = c->version, .hash = s->wanted.hash, .data = s->bytes.data, .len = s->bytes.len };
    s->wanted.version = -1; /* the next fetch clears the bytes */
    return 1;
}
