/* SPDX-License-Identifier: MIT */
#include "env/sandbox/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "env/sandbox/filter.h"
#include "env/sandbox/landlock.h"

extern char **environ;

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED 1 /* terabytes of addresses, threads of its own */
int __lsan_is_turned_off(void);
static int locked;
/* At the end it would start a process that stops this one. */
int __lsan_is_turned_off(void) { return locked; }
#else
#define SANITIZED 0
static int locked;
#endif

void confine_is_final(void) { locked = 1; }

/* ---- what it can do, knows and uses ---- */

static int limit_files(const confine_config *config, error *err)
{
    if (landlock_version() == 0) return OK;
    const int rules = landlock_begin(true, err);
    int rc = rules < 0 ? ERR_UNSUPPORTED : OK;
    for (const char *const *path = config->readable; config->opens && rc == OK && path && *path; path++)
        rc = landlock_allow(rules, *path, LANDLOCK_READ, err);
    if (rc == OK) return landlock_enter(rules, err);
    if (rules >= 0) close(rules);
    return rc;
}

/* To root, files of others in folders that Landlock lets it read stay readable. */
static int drop_capabilities(const confine_config *config, error *err)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct sets[2];
    const uint32_t kept = config->opens && landlock_version() > 0 ? 1U << CAP_DAC_READ_SEARCH : 0;
    if (syscall(SYS_capget, &head, sets) != 0) return error_sys(err, errno, "sandbox: capget");
    sets[0].effective &= kept;
    sets[0].permitted &= kept;
    sets[1].effective = sets[1].permitted = sets[0].inheritable = sets[1].inheritable = 0;
    return syscall(SYS_capset, &head, sets) == 0 ? OK : error_sys(err, errno, "sandbox: capset");
}

static bool is_kept(const char *variable)
{
    static const char *const KEPT[] = { "PATH=", "LANG=", "LC_",   "TZ=",   "LD_LIBRARY_PATH=",
                                        "OMP_",  "ASAN_", "LSAN_", "TSAN_", "UBSAN_" };
    for (size_t i = 0; i < sizeof KEPT / sizeof *KEPT; i++)
        if (strncmp(variable, KEPT[i], strlen(KEPT[i])) == 0) return true;
    return false;
}

/* Tokens of registries and services: wiped where they lie, not only out of the list. */
static void forget_environment(void)
{
    int n = 0;
    for (char **variable = environ; variable && *variable; variable++) {
        if (is_kept(*variable))
            environ[n++] = *variable;
        else
            explicit_bzero(*variable, strlen(*variable));
    }
    if (environ) environ[n] = NULL;
}

static void limit(__rlimit_resource_t what, rlim_t most)
{
    struct rlimit now;
    if (getrlimit(what, &now) != 0) return;
    if (now.rlim_max < most) most = now.rlim_max; /* of a job, say: it can't be raised, and need not be */
    setrlimit(what, &(struct rlimit){ most, most });
}

/* Addresses that it has. */
static rlim_t addresses(void)
{
    enum { UNKNOWN = 64 << 20, TEXT = 256 };
    size_t len;
    char *text = file_read("/proc/self/statm", TEXT, &len, NULL);
    const rlim_t bytes = text ? strtoull(text, NULL, 10) * (rlim_t)sysconf(_SC_PAGESIZE) : UNKNOWN;
    free(text);
    return bytes;
}

static void limit_resources(const confine_config *config)
{
    enum { DESCRIPTORS = 256, SIGNALS = 64 };
    if (config->memory_mb > 0 && !SANITIZED) limit(RLIMIT_AS, addresses() + ((rlim_t)config->memory_mb << 20));
    limit(RLIMIT_NOFILE, DESCRIPTORS);
    limit(RLIMIT_SIGPENDING, SIGNALS);
    limit(RLIMIT_MEMLOCK, 0);
    limit(RLIMIT_CORE, 0);
}

static void be_first_to_go(void)
{
    const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    const ssize_t said = write(fd, "1000", 4);
    (void)said; /* a machine that does not let us is one where this process goes as others do */
    close(fd);
}

/* Another thread would stay outside, and the two share their memory. */
static int check_alone(error *err)
{
    struct stat tasks; /* a folder for each thread, and two names */
    if (SANITIZED || stat("/proc/self/task", &tasks) != 0 || tasks.st_nlink == 3) return OK;
    return error_set(err, ERR_STATE, "sandbox: this process has %d threads, one is allowed", (int)tasks.st_nlink - 2);
}

int confine(const confine_config *config, error *err)
{
    int rc = check_alone(err);
    if (rc != OK) return rc;
    forget_environment();
    be_first_to_go();
    limit_resources(config);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) rc = error_sys(err, errno, "sandbox: no_new_privs");
    if (rc == OK) rc = limit_files(config, err);
    if (rc == OK) rc = drop_capabilities(config, err);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* a crash starts no program of this machine's */
    if (rc == OK) rc = filter_install(config->opens ? FILTER_READER : FILTER_SEALED, err);
    locked = rc == OK;
    return rc;
}

/* ---- the proof ---- */

enum { HELD = 0, NOT_LOCKED, FILE_READ, FILE_WRITTEN, SOCKET, PROCESS, SIGNAL, N_PROOFS };

static int opened(const char *path, int flags)
{
    const int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

static int try_all(void)
{
    const char *const readable[] = { "/dev/null", NULL };
    if (confine(&(confine_config){ .opens = true, .readable = readable, .memory_mb = 64 }, NULL) != OK)
        return NOT_LOCKED;
    if (landlock_version() > 0 && opened("/etc/passwd", O_RDONLY)) return FILE_READ;
    if (opened("/dev/null", O_WRONLY)) return FILE_WRITTEN;
    if (socket(AF_INET, SOCK_STREAM, 0) >= 0 || socket(AF_UNIX, SOCK_STREAM, 0) >= 0) return SOCKET;
    if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) >= 0) return PROCESS;
    return kill(getppid(), 0) == 0 ? SIGNAL : HELD;
}

int confine_prove(error *err)
{
    static const char *const WORDS[N_PROOFS] = { NULL,
                                                 "it cannot lock itself in",
                                                 "it read a file",
                                                 "it wrote one",
                                                 "it made a socket",
                                                 "it made a process",
                                                 "it could signal another process" };
    int status;
    const pid_t pid = fork();
    if (pid == 0) _exit(try_all());
    if (pid < 0) return error_sys(err, errno, "fork");
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    const int found = WIFEXITED(status) && WEXITSTATUS(status) < N_PROOFS ? WEXITSTATUS(status) : NOT_LOCKED;
    return found == HELD ? OK : error_set(err, ERR_UNSUPPORTED, "%s", WORDS[found]);
}
