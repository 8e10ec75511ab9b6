#include "proto/weights.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

static const char PREFIX[] = "troupe-weights-";

typedef struct kept {
    int64_t version; /* -1: none */
    char path[256];
} kept;

struct weights_publisher {
    char dir[200];
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

static const char *shared_memory(void) { return dir_exists("/dev/shm") ? "/dev/shm" : "/tmp"; }

/* A killed learner leaves its folder behind: "troupe-weights-PID-...", and that process is gone. */
static void remove_stale(const char *root)
{
    DIR *d = opendir(root);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        char path[512];
        if (strncmp(e->d_name, PREFIX, sizeof PREFIX - 1) != 0) continue;
        const long pid = strtol(e->d_name + sizeof PREFIX - 1, NULL, 10);
        snprintf(path, sizeof path, "%s/%s", root, e->d_name);
        if (pid > 0 && kill((pid_t)pid, 0) != 0 && errno == ESRCH) dir_remove_all(path, NULL);
    }
    closedir(d);
}

weights_publisher *weights_publisher_new(error *err)
{
    weights_publisher *p = xcalloc(1, sizeof *p);
    remove_stale(shared_memory());
    snprintf(p->dir, sizeof p->dir, "%s/%s%d-XXXXXX", shared_memory(), PREFIX, (int)getpid());
    for (int i = 0; i < WEIGHTS_KEPT; i++) p->files[i].version = -1;
    p->newest.version = -1;
    weights_host(p->newest.host);
    if (mkdtemp(p->dir)) return p;
    error_sys(err, errno, "%s", p->dir);
    free(p);
    return NULL;
}

void weights_publisher_free(weights_publisher *p)
{
    if (!p) return;
    dir_remove_all(p->dir, NULL);
    free(p);
}

int weights_publish(weights_publisher *p, int64_t version, uint64_t hash, const void *data, size_t len, error *err)
{
    file_writer w;
    kept *slot = &p->files[p->next];
    if (slot->version >= 0) unlink(slot->path); /* who has it mapped keeps it */
    char path[sizeof slot->path];
    snprintf(path, sizeof path, "%s/v%" PRId64 ".safetensors", p->dir, version);
    memcpy(slot->path, path, sizeof path);
    slot->version = -1;
    int rc = file_write_begin(&w, slot->path, err);
    if (rc == OK) {
        rc = file_write_all(&w, data, len, err);
        const int end = file_write_end(&w, rc == OK, err);
        if (rc == OK) rc = end;
    }
    if (rc != OK) return error_within(err, "publishing version %" PRId64, version);
    slot->version = version;
    p->next = (p->next + 1) % WEIGHTS_KEPT;
    p->newest.version = version, p->newest.hash = hash, p->newest.bytes = len;
    snprintf(p->newest.path, sizeof p->newest.path, "%s", slot->path);
    return OK;
}

bool weights_announcement(const weights_publisher *p, weights_body *out)
{
    *out = p->newest;
    return p->newest.version >= 0;
}

bool weights_chunk_of(weights_publisher *p, const weights_get_body *get, weights_chunk_body *out)
{
    for (int i = 0; i < WEIGHTS_KEPT; i++) {
        file_map map;
        if (p->files[i].version != get->version || get->version < 0) continue;
        if (file_map_open(&map, p->files[i].path, NULL) != OK) return false;
        const bool inside = get->offset < map.len;
        if (inside) {
            const size_t left = map.len - (size_t)get->offset, len = left < WEIGHTS_CHUNK_BYTES ? left : WEIGHTS_CHUNK_BYTES;
            *out = (weights_chunk_body){ .version = get->version, .offset = get->offset, .total = map.len, .data = xmalloc(len), .len = len };
            memcpy(out->data, map.data + get->offset, len);
        }
        file_map_close(&map);
        return inside;
    }
    return false;
}

/* ---- subscriber ---- */

struct weights_subscriber {
    char host[80];
    file_map map;
    weights_body wanted; /* being fetched in chunks; version -1: nothing */
    str bytes;
};

weights_subscriber *weights_subscriber_new(void)
{
    weights_subscriber *s = xcalloc(1, sizeof *s);
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

static int fetch(weights_subscriber *s, const weights_body *a, weights_get_body *get)
{
    s->wanted = *a;
    str_clear(&s->bytes);
    *get = (weights_get_body){ .version = a->version, .offset = 0 };
    return 0;
}

int weights_on_announcement(weights_subscriber *s, const weights_body *a, weights_blob *blob, weights_get_body *get, error *err)
{
    (void)err;
    file_map_close(&s->map);
    s->map = (file_map){ 0 };
    if (strcmp(a->host, s->host) != 0 || file_map_open(&s->map, a->path, NULL) != OK || s->map.len != a->bytes)
        return fetch(s, a, get); /* another machine, or a container that doesn't see the folder */
    *blob = (weights_blob){ .version = a->version, .hash = a->hash, .data = s->map.data, .len = s->map.len };
    return 1;
}

int weights_on_chunk(weights_subscriber *s, const weights_chunk_body *c, weights_blob *blob, weights_get_body *get, error *err)
{
    *get = (weights_get_body){ .version = -1 };
    if (s->wanted.version < 0 || c->version != s->wanted.version || c->offset != s->bytes.len) return 0;
    if (c->total != s->wanted.bytes || c->len == 0 || c->len > c->total - c->offset)
        return -error_set(err, ERR_PEER, "version %" PRId64 ": a chunk that does not fit the %" PRIu64 " bytes announced", c->version, s->wanted.bytes);
    str_add(&s->bytes, c->data, c->len);
    if (s->bytes.len < c->total) {
        *get = (weights_get_body){ .version = c->version, .offset = s->bytes.len };
        return 0;
    }
    *blob = (weights_blob){ .version = c->version, .hash = s->wanted.hash, .data = s->bytes.data, .len = s->bytes.len };
    s->wanted.version = -1;
    return 1;
}
