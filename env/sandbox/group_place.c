/* SPDX-License-Identifier: MIT */
#include "env/sandbox/group_place.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { MAX_PATH = 1024, ROOT_FIELD = 3, TARGET_FIELD = 4 };

/* The next word of a line into `out`, with mountinfo's octal escapes (a blank is \040) undone. What follows it; NULL
 * when it is too long. */
static const char *take_word(const char *p, char *out, size_t size)
{
    size_t n = 0;

    for (; *p && *p != ' ' && *p != '\n'; p++) {
        unsigned char byte = (unsigned char)*p;
        unsigned code;
        if (byte == '\\' && sscanf(p + 1, "%3o", &code) == 1) {
            byte = (unsigned char)code;
            p += 3;
        }
        if (n + 1 >= size) return NULL;
        out[n++] = (char)byte;
    }

    out[n] = 0;
    return *p == ' ' ? p + 1 : p;
}

/* Whether this line of mountinfo is a mount of version 2: its type stands after the lone dash. */
static bool is_version_2(const char *line, size_t len)
{
    static const char MARK[] = " - cgroup2 ";
    return memmem(line, len, MARK, strlen(MARK)) != NULL;
}

static bool mount_of(const char *line, char *root, char *target)
{
    char skipped[MAX_PATH];
    for (int field = 0; line && field <= TARGET_FIELD; field++) {
        char *out = skipped;
        if (field == ROOT_FIELD) out = root;
        if (field == TARGET_FIELD) out = target;
        line = take_word(line, out, MAX_PATH);
    }
    return line != NULL;
}

/* What of `path` lies below `root`: "" or "/..."; NULL: it lies elsewhere. */
static const char *below(const char *path, const char *root)
{
    const size_t len = strcmp(root, "/") == 0 ? 0 : strlen(root);
    if (strncmp(path, root, len) != 0) return NULL;
    path += len;
    if (strcmp(path, "/") == 0) return "";
    return *path == 0 || *path == '/' ? path : NULL;
}

/* The line "0::PATH" is version 2's. */
static bool group_of(const char *cgroup, char *out, size_t size)
{
    static const char HEAD[] = "0::";
    for (const char *line = cgroup; line && *line; line = strchr(line, '\n'), line += line != NULL) {
        if (strncmp(line, HEAD, strlen(HEAD)) != 0) continue;
        line += strlen(HEAD);
        return snprintf(out, size, "%.*s", (int)strcspn(line, "\n"), line) < (int)size;
    }
    return false;
}

int group_place_find(const char *mountinfo, const char *cgroup, char *out, size_t size, error *err)
{
    char group[MAX_PATH], root[MAX_PATH], target[MAX_PATH];
    bool mounted = false;
    if (!group_of(cgroup, group, sizeof group))
        return error_set(err, ERR_UNSUPPORTED, "this kernel has no cgroup v2 hierarchy");
    if (strncmp(group, "/..", 3) == 0)
        return error_set(err, ERR_UNSUPPORTED, "group %.200s lies outside of this cgroup namespace", group);

    for (const char *line = mountinfo; line && *line; line = strchr(line, '\n'), line += line != NULL) {
        if (!is_version_2(line, strcspn(line, "\n")) || !mount_of(line, root, target)) continue;
        mounted = true;
        const char *rest = below(group, root);
        if (rest && snprintf(out, size, "%s%s", target, rest) < (int)size) return OK;
    }
    return mounted ? error_set(err, ERR_UNSUPPORTED, "group %.200s lies outside of what is mounted", group)
                   : error_set(err, ERR_UNSUPPORTED, "no cgroup v2 hierarchy is mounted");
}
