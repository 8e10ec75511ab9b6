/* SPDX-License-Identifier: MIT */
#include "env/sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As in <linux/landlock.h>, of which older systems have less. */
enum { CREATE_RULESET = 444, ADD_RULE = 445, RESTRICT_SELF = 446, ASK_VERSION = 1, PATH_BENEATH = 1 };
enum { EXECUTE = 1 << 0, WRITE_FILE = 1 << 1, READ_FILE = 1 << 2, READ_DIR = 1 << 3, TRUNCATE = 1 << 14 };
enum { OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE }; /* the others are of folders */

/* The versions of Landlock that brought what: 13 rights of files are of the first. */
enum { RIGHTS = 13, REFER_FROM = 2, TRUNCATE_FROM = 3, NETWORK_FROM = 4, DEVICES_FROM = 5, SCOPES_FROM = 6 };

typedef struct ruleset_attr {
    uint64_t files, network, scoped;
} ruleset_attr;

typedef struct __attribute__((packed)) path_attr {
    uint64_t allowed;
    int32_t parent;
} path_attr;

int landlock_version(void)
{
    const long version = syscall(CREATE_RULESET, NULL, 0, ASK_VERSION);
    return version > 0 ? (int)version : 0;
}

static uint64_t all_rights(int version)
{
    const int rights = RIGHTS + (version >= REFER_FROM) + (version >= TRUNCATE_FROM) + (version >= DEVICES_FROM);
    return (UINT64_C(1) << rights) - 1;
}

int landlock_begin(bool tcp_too, error *err)
{
    const int version = landlock_version();
    const ruleset_attr all = { .files = all_rights(version), .network = tcp_too ? 3 : 0, .scoped = 3 };
    size_t size = sizeof all;
    if (version < SCOPES_FROM) size = offsetof(ruleset_attr, scoped);
    if (version < NETWORK_FROM) size = offsetof(ruleset_attr, network);
    const int rules = (int)syscall(CREATE_RULESET, &all, size, 0);
    if (rules < 0) error_sys(err, errno, "sandbox: cannot limit files (Landlock)");
    return rules;
}

int landlock_allow(int rules, const char *path, landlock_use use, error *err)
{
    static const uint64_t RIGHTS_OF[] = { [LANDLOCK_READ] = READ_FILE | READ_DIR,
                                          [LANDLOCK_RUN] = READ_FILE | READ_DIR | EXECUTE,
                                          [LANDLOCK_ALL] = UINT64_MAX };
    struct stat st;
    const int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) return OK;
    uint64_t allowed = RIGHTS_OF[use] & all_rights(landlock_version());
    if (fstat(fd, &st) != 0 || !S_ISDIR(st.st_mode)) allowed &= OF_FILES;
    const path_attr beneath = { .allowed = allowed, .parent = fd };
    const int failed = syscall(ADD_RULE, rules, PATH_BENEATH, &beneath, 0) == 0 ? 0 : errno;
    close(fd);
    return failed ? error_sys(err, failed, "sandbox: cannot show %s (Landlock)", path) : OK;
}

int landlock_enter(int rules, error *err)
{
    const int failed = syscall(RESTRICT_SELF, rules, 0) == 0 ? 0 : errno;
    close(rules);
    return failed ? error_sys(err, failed, "sandbox: cannot limit files (Landlock)") : OK;
}
