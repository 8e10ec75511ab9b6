/* SPDX-License-Identifier: MIT */
#include "proto/weights.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/held_folder.h"
#include "base/str.h"

/* A container's /dev/shm may be too small for a few versions (64 MB is usual): then what follows goes to a file system,
 * and what is there stays until it is old. */
struct weights_stage {
    bool moved; /* out of shared memory */
};

typedef struct kept {
    int64_t version; /* -1: none */
    int file;
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

    const size_t len_id = strlen(out);
    out[len_id] = ' ';
    const ssize_t n = readlink("/proc/self/ns/pid", out + len_id + 1, 80 - len_id - 2);
    out[len_id + (n > 0 ? 1 + (size_t)n : 0)] = 0;
}

/* ---- the files ---- */

/* What the kernel calls a file whose name is gone: its last name, which says the version, and this. A descriptor's
 * number comes again, with another file; the version in its name tells them apart. */
static const char GONE[] = " (deleted)";

static void suffix_of(char out[32], int64_t version) { snprintf(out, 32, "-v%" PRId64, version); }

/* It has a name between two system calls only. -1: `root` takes no file. */
static int nameless_file(const char *root, int64_t version, error *err)
{
    char path[256], suffix[32];
    suffix_of(suffix, version);
    snprintf(path, sizeof path, "%s/troupe-weights-XXXXXX%s", root, suffix);

    const int file = mkostemps(path, (int)strlen(suffix), O_CLOEXEC);
    if (file >= 0)
        unlink(path);
    else
        error_sys(err, errno, "cannot create a file in %s", root);
    return file;
}

static int write_in(const char *root, int64_t version, weights_write write, void *ctx, int *file, error *err)
{
    char path[64];
    error why = { 0 };
    if ((*file = nameless_file(root, version, err)) < 0) return err->code;

    snprintf(path, sizeof path, "/proc/self/fd/%d", *file);
    const int rc = write(ctx, path, &why);
    if (rc == OK) return OK;
    close(*file);
    return error_set(err, rc, "a file in %s: %s", root, why.text);
}

weights_stage *weights_stage_new(void) { return xcalloc(1, sizeof(weights_stage)); }

void weights_stage_free(weights_stage *s) { free(s); }

int weights_stage_write(weights_stage *s, int64_t version, weights_write write, void *ctx, int *file, error *err)
{
    error why = { 0 };
    if (!s->moved && write_in("/dev/shm", version, write, ctx, file, &why) == OK) return OK;
    s->moved = true;
    if (write_in(temporary_root(), version, write, ctx, file, &why) == OK) return OK;
    return error_set(err, why.code, "publishing version %" PRId64 ": %s (TMPDIR names another folder)", version,
                     why.text);
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
    if (k->version >= 0) close(k->file); /* who has it mapped keeps it */
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

int weights_publish(weights_publisher *p, int64_t version, uint64_t hash, int file, error *err)
{
    struct stat st;
    if (fstat(file, &st) != 0) return error_sys(err, errno, "publishing version %" PRId64, version);

    const int at = slot_for(p, version);
    kept *slot = &p->files[at];
    drop(slot);
    slot->version = version;
    slot->file = file;

    if (at == p->next) p->next = (p->next + 1) % WEIGHTS_KEPT;
    p->newest.version = version;
    p->newest.hash = hash;
    p->newest.bytes = (uint64_t)st.st_size;
    snprintf(p->newest.path, sizeof p->newest.path, "/proc/%d/fd/%d", (int)getpid(), file);
    return OK;
}

bool weights_announcement(const weights_publisher *p, weights_body *out)
{
    *out = p->newest;
    return p->newest.version >= 0;
}

static bool chunk_of_file(int file, const weights_get_body *get, weights_chunk_body *out)
{
    struct stat st;
    if (fstat(file, &st) != 0 || get->offset >= (uint64_t)st.st_size) return false;

    const size_t left = (size_t)st.st_size - (size_t)get->offset;
    const size_t len = left < WEIGHTS_CHUNK_BYTES ? left : WEIGHTS_CHUNK_BYTES;
    unsigned char *data = xmalloc(len);
    for (size_t done = 0; done < len;) {
        const ssize_t n = pread(file, data + done, len - done, (off_t)(get->offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            free(data);
            return false;
        }
        done += (size_t)n;
    }

    *out = (weights_chunk_body){
        .version = get->version, .offset = get->offset, .total = (uint64_t)st.st_size, .data = data, .len = len
    };
    return true;
}

bool weights_chunk_of(weights_publisher *p, const weights_get_body *get, weights_chunk_body *out)
{
    if (get->version < 0) return false;
    for (int i = 0; i < WEIGHTS_KEPT; i++)
        if (p->files[i].version == get->version) return chunk_of_file(p->files[i].file, get, out);
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

/* The publisher may have closed the file since, and its number may be another file's. */
static bool is_of_version(const char *path, int64_t version)
{
    char name[512], end[64];
    const ssize_t n = readlink(path, name, sizeof name);
    suffix_of(end, version);
    strcat(end, GONE);
    return n >= (ssize_t)strlen(end) && memcmp(name + n - strlen(end), end, strlen(end)) == 0;
}

/* Another machine, another user's learner, or a container that doesn't see its processes: false. */
static bool map_it(weights_subscriber *s, const weights_body *a)
{
    return strcmp(a->host, s->host) == 0 && is_of_version(a->path, a->version) &&
           file_map_open(&s->map, a->path, NULL) == OK && s->map.len == a->bytes;
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

    if (!map_it(s, a)) {
        fetch(s, a, get); /* by chunks */
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
