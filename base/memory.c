/* SPDX-License-Identifier: MIT */
#include "base/memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/memory_need.h"

enum { TEXT_BYTES = 8192, PATH_BYTES = 1024 };
static const uint64_t ASKED_FOR = (uint64_t)4 << 20, MARGIN = (uint64_t)64 << 20;

/* ---- the kernel's files, without malloc ---- */

/* The first TEXT_BYTES - 1 bytes of root + path; false when there is no such file. */
static bool read_text(const char *root, const char *path, char out[TEXT_BYTES])
{
    char whole[PATH_BYTES];
    if (snprintf(whole, sizeof whole, "%s%s", root, path) >= (int)sizeof whole) return false;
    const int fd = open(whole, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    size_t len = 0;
    for (ssize_t n; len < TEXT_BYTES - 1 && (n = read(fd, out + len, TEXT_BYTES - 1 - len)) > 0;) len += (size_t)n;
    close(fd);
    out[len] = '\0';
    return true;
}

/* The number after `name` at the start of a line ("MemTotal:       24 kB", "oom_kill 3"); `fallback` without one. */
static uint64_t number_after(const char *text, const char *name, uint64_t fallback)
{
    const size_t len = strlen(name);
    for (const char *line = text; line;) {
        if (strncmp(line, name, len) == 0) return strtoull(line + len, NULL, 10);
        line = strchr(line, '\n');
        if (line) line++;
    }
    return fallback;
}

/* A file that holds one number; "max", or no file: UINT64_MAX. */
static uint64_t read_number(const char *root, const char *folder, const char *name)
{
    char path[PATH_BYTES], text[TEXT_BYTES];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return UINT64_MAX;
    if (!read_text(root, path, text) || text[0] < '0' || text[0] > '9') return UINT64_MAX;
    return strtoull(text, NULL, 10);
}

static uint64_t less(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

/* ---- limits ---- */

static void narrow(memory_room *room, uint64_t bytes, uint64_t of, const char *limit)
{
    if (bytes < room->bytes) *room = (memory_room){ bytes, of, limit };
}

/* Swap counts: with it a run is slow, without it the run would be refused. */
static void machine_limit(const char *root, memory_room *room)
{
    char text[TEXT_BYTES];
    if (!read_text(root, "/proc/meminfo", text)) return;
    const uint64_t available = number_after(text, "MemAvailable:", UINT64_MAX / 4096);
    const uint64_t total = number_after(text, "MemTotal:", 0) + number_after(text, "SwapTotal:", 0);
    narrow(room, 1024 * (available + number_after(text, "SwapFree:", 0)), 1024 * total, "the machine's memory");
}

typedef struct cgroup_files {
    const char *mount, *limit, *used, *file_pages[2]; /* keys of memory.stat: what the kernel takes back first */
    uint64_t none;                                    /* a limit from here on is none */
} cgroup_files;

static const cgroup_files V2 = {
    "/sys/fs/cgroup", "memory.max", "memory.current", { "inactive_file ", "active_file " }, UINT64_MAX
};
static const cgroup_files V1 = { "/sys/fs/cgroup/memory",
                                 "memory.limit_in_bytes",
                                 "memory.usage_in_bytes",
                                 { "total_inactive_file ", "total_active_file " },
                                 UINT64_MAX / 4 };

static void group_limit(const char *root, const cgroup_files *f, const char *folder, memory_room *room)
{
    char path[PATH_BYTES], text[TEXT_BYTES];
    const uint64_t limit = read_number(root, folder, f->limit), used = read_number(root, folder, f->used);
    if (limit >= f->none || used == UINT64_MAX) return;

    uint64_t held = used;
    if (snprintf(path, sizeof path, "%s/memory.stat", folder) < (int)sizeof path && read_text(root, path, text))
        for (int i = 0; i < 2; i++) held = less(held, number_after(text, f->file_pages[i], 0));
    narrow(room, less(limit, held), limit, "the control group's limit");
}

/* From this process's group up to the mount. In a namespace the path may lead nowhere: the mount itself is looked at
 * in any case. */
static void groups_above(const char *root, const cgroup_files *f, const char *group, memory_room *room)
{
    char folder[PATH_BYTES];
    if (snprintf(folder, sizeof folder, "%s%s", f->mount, group) >= (int)sizeof folder) return;
    const size_t mount = strlen(f->mount);
    for (;;) {
        group_limit(root, f, folder, room);
        char *slash = strrchr(folder + mount, '/');
        if (!slash) return;
        *slash = '\0';
    }
}

/* Lines "0::/path" (v2) and "N:memory:/path" (v1; names in a list with commas). */
static void group_limits(const char *root, memory_room *room)
{
    char text[TEXT_BYTES];
    if (!read_text(root, "/proc/self/cgroup", text)) return;
    char *rest = text, *line;

    while ((line = strsep(&rest, "\n"))) {
        char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path) continue;
        *path++ = '\0';
        names++;

        if (*names == '\0') groups_above(root, &V2, path, room);
        for (char *name; (name = strsep(&names, ","));)
            if (strcmp(name, "memory") == 0) groups_above(root, &V1, path, room);
    }
}

/* /proc/self/statm, in pages: size, resident, shared, text, lib, data. */
static void process_limits(const char *root, memory_room *room)
{
    static const struct {
        int resource;
        int column;
        const char *name;
    } LIMITS[] = { { RLIMIT_AS, 0, "ulimit -v" }, { RLIMIT_DATA, 5, "ulimit -d" } };
    char text[TEXT_BYTES];
    uint64_t pages[6] = { 0 };
    if (!read_text(root, "/proc/self/statm", text)) return;
    char *at = text;
    for (int i = 0; i < 6; i++) pages[i] = strtoull(at, &at, 10);

    for (size_t i = 0; i < sizeof LIMITS / sizeof *LIMITS; i++) {
        struct rlimit r;
        if (getrlimit((__rlimit_resource_t)LIMITS[i].resource, &r) != 0 || r.rlim_cur == RLIM_INFINITY) continue;
        const uint64_t used = pages[LIMITS[i].column] * (uint64_t)sysconf(_SC_PAGESIZE);
        narrow(room, less(r.rlim_cur, used), r.rlim_cur, LIMITS[i].name);
    }
}

static uint64_t resident(const char *root)
{
    char text[TEXT_BYTES], *at = text;
    if (!read_text(root, "/proc/self/statm", text)) return UINT64_MAX;
    strtoull(text, &at, 10);
    return strtoull(at, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

const word_row MEMORY_PART_WORDS[] = { MEMORY_PARTS(WORDS_ROW){ 0 } };

memory_room memory_machine_now(const char *root)
{
    memory_room room = { UINT64_MAX, UINT64_MAX, "nothing known" };
    machine_limit(root, &room);
    group_limits(root, &room);
    return room;
}

memory_room memory_room_now(const char *root, uint64_t held)
{
    memory_room room = memory_machine_now(root);

    /* What is held but not touched yet: no limit shows it, and it is promised already. */
    if (room.bytes != UINT64_MAX && held > 0) room.bytes = less(room.bytes, less(held, resident(root)));
    process_limits(root, &room); /* an address is taken when it is asked for, touched or not */
    return room;
}

bool memory_fits(uint64_t bytes, uint64_t held, memory_room *room)
{
    if (bytes < ASKED_FOR) return true;
    const memory_room found = memory_room_now("", held);
    if (room) *room = found;
    /* A ulimit refuses, and that is all; where the kernel would kill, others get a margin. */
    const uint64_t share = found.of / 16, margin = share < MARGIN ? share : MARGIN;
    return bytes <= less(found.bytes, strncmp(found.limit, "ulimit", 6) == 0 ? 0 : margin);
}

/* A group's limit is looked at as if nothing were used: the smallest of them and of the machine. */
uint64_t memory_size(const char *root)
{
    char text[TEXT_BYTES];
    uint64_t size = UINT64_MAX;
    struct rlimit r;
    if (read_text(root, "/proc/meminfo", text)) size = 1024 * number_after(text, "MemTotal:", UINT64_MAX / 1024);

    memory_room room = { UINT64_MAX, UINT64_MAX, "" };
    group_limits(root, &room);
    if (room.of < size) size = room.of;
    if (getrlimit(RLIMIT_AS, &r) == 0 && r.rlim_cur != RLIM_INFINITY && r.rlim_cur < size) size = r.rlim_cur;
    return size;
}

uint64_t memory_kills(const char *root)
{
    enum { VMSTAT_BYTES = 32768 };
    char path[PATH_BYTES], text[VMSTAT_BYTES];
    size_t len = 0;

    if (snprintf(path, sizeof path, "%s/proc/vmstat", root) >= (int)sizeof path) return 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;

    for (ssize_t n; len < sizeof text - 1 && (n = read(fd, text + len, sizeof text - 1 - len)) > 0;) len += (size_t)n;
    close(fd);
    text[len] = '\0';
    return number_after(text, "oom_kill ", 0);
}

/* ---- sentences ---- */

char *memory_text(uint64_t bytes, char *out, size_t size)
{
    static const char *const UNITS[] = { "MB", "GB", "TB", "PB" };
    double n = (double)bytes / (1 << 20);
    int unit = 0;
    if (bytes < 1 << 20) {
        snprintf(out, size, "%" PRIu64 " bytes", bytes);
        return out;
    }

    for (; n >= 1024 && unit < 3; unit++) n /= 1024;
    snprintf(out, size, n < 10 && unit > 0 ? "%.1f %s" : "%.0f %s", n, UNITS[unit]);
    return out;
}

void memory_exhausted(uint64_t bytes)
{
    char need[32], line[120];
    const int len = snprintf(line, sizeof line, "troupe: out of memory: %s more are needed\n",
                             memory_text(bytes, need, sizeof need));
    if (write(2, line, (size_t)len) < 0) _exit(EXIT_MEMORY);
    _exit(EXIT_MEMORY);
}
