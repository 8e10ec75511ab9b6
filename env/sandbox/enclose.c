/* SPDX-License-Identifier: MIT */
#include "env/sandbox/enclose.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "base/str.h"
#include "env/sandbox/confine.h"
#include "env/sandbox/filter.h"
#include "env/sandbox/landlock.h"

enum { CANNOT_RUN = 126, NO_SUCH_PROGRAM = 127, BY_SIGNAL = 128, MAX_DESCRIPTORS = 4096, MAX_PROCESSES = 4096 };

static const char SHARED_MEMORY[] = "/dev/shm";

/* ---- the folder to write in ---- */

static bool is_below(const char *path, const char *folder)
{
    const size_t n = strlen(folder);
    return path && strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == 0);
}

static bool list_is_below(const char *list, const char *folder)
{
    for (const char *at = list; at && *at; at = strchr(at, ':'), at = at ? at + 1 : NULL)
        if (is_below(at, folder)) return true;
    return false;
}

/* What lies in the folder would be hidden. */
static bool is_needed(const char *folder, char *const *argv)
{
    char here[4096];
    char *program = process_find(argv[0]), *target = program ? realpath(program, NULL) : NULL;
    bool needed = is_below(program, folder) || is_below(target, folder) || is_below(getcwd(here, sizeof here), folder);
    needed |= list_is_below(getenv("PYTHONPATH"), folder) || list_is_below(getenv("LD_LIBRARY_PATH"), folder);
    needed |= is_below(getenv("VIRTUAL_ENV"), folder);
    for (int i = 1; argv[i]; i++) needed |= is_below(argv[i], folder);
    free(target);
    free(program);
    return needed;
}

static const char *scratch_for(char *const *argv)
{
    static const char *const FOLDERS[] = { "/tmp", "/var/tmp" };
    struct stat st;
    for (size_t i = 0; i < sizeof FOLDERS / sizeof *FOLDERS; i++)
        if (stat(FOLDERS[i], &st) == 0 && S_ISDIR(st.st_mode) && !is_needed(FOLDERS[i], argv)) return FOLDERS[i];
    return SHARED_MEMORY;
}

/* ---- layers ---- */

static int write_file(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    const ssize_t n = write(fd, text, strlen(text));
    close(fd);
    return n == (ssize_t)strlen(text) ? 0 : -1;
}

/* Inside, users are who they are outside, without its powers. */
static int map_ids(uid_t uid, gid_t gid, error *err)
{
    char user[64], group[64];
    snprintf(user, sizeof user, "%u %u 1", uid, uid);
    snprintf(group, sizeof group, "%u %u 1", gid, gid);
    write_file("/proc/self/setgroups", "deny");
    if (write_file("/proc/self/uid_map", user) == 0 && write_file("/proc/self/gid_map", group) == 0) return OK;
    return error_sys(err, errno, "sandbox: cannot map user and group");
}

/* With all that is mounted below it. */
static int make_read_only(const char *path, error *err)
{
    enum { MOUNT_SETATTR = 442, RECURSIVE = 0x8000 };
    const struct {
        uint64_t set, clear, propagation, user;
    } attributes = { .set = 1 | 2 }; /* read-only, no set-user-id programs */
    if (syscall(MOUNT_SETATTR, AT_FDCWD, path, RECURSIVE, &attributes, sizeof attributes) == 0) return OK;
    return error_sys(err, errno, "sandbox: cannot make %s read-only", path);
}

static int mount_memory(const char *folder, int mb, error *err)
{
    char options[64];
    snprintf(options, sizeof options, "size=%dm,mode=1777", mb);
    if (mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, options) == 0) return OK;
    return error_sys(err, errno, "sandbox: cannot mount memory at %s", folder);
}

/* From Linux 6.14 on a process namespace has a number of its own. Before, it was the machine's; there RLIMIT_NPROC
 * stands alone, which does not hold for root. */
static void limit_process_numbers(void)
{
    enum { SINCE_MAJOR = 6, SINCE_MINOR = 14 };
    struct utsname u;
    int major = 0, minor = 0;
    char most[16];
    if (uname(&u) != 0 || sscanf(u.release, "%d.%d", &major, &minor) != 2) return;
    if (major < SINCE_MAJOR || (major == SINCE_MAJOR && minor < SINCE_MINOR)) return;
    snprintf(most, sizeof most, "%d", MAX_PROCESSES);
    write_file("/proc/sys/kernel/pid_max", most);
}

/* Of its own processes. In a container that covers parts of /proc there can be no other: then there is none. */
static int mount_proc(error *err)
{
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (access("/proc", F_OK) != 0) return OK;
    if (mount("proc", "/proc", "proc", flags, NULL) != 0 && mount("tmpfs", "/proc", "tmpfs", flags, "size=0") != 0)
        return error_sys(err, errno, "sandbox: cannot mount /proc");
    limit_process_numbers();
    return make_read_only("/proc", err);
}

static int change_root(const enclose_config *config, const char *scratch, error *err)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return error_sys(err, errno, "sandbox: mount");
    int rc = make_read_only("/", err);
    if (rc == OK && access(SHARED_MEMORY, F_OK) == 0) rc = mount_memory(SHARED_MEMORY, config->scratch_mb, err);
    if (rc == OK && strcmp(scratch, SHARED_MEMORY) != 0) rc = mount_memory(scratch, config->scratch_mb, err);
    if (rc == OK) rc = mount_proc(err);
    setenv("TMPDIR", scratch, 1);
    return rc;
}

/* It speaks to itself over it. */
static void raise_loopback(void)
{
    struct ifreq lo = { .ifr_name = "lo" };
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    if (ioctl(fd, SIOCGIFFLAGS, &lo) == 0) {
        lo.ifr_flags = (short)(lo.ifr_flags | IFF_UP);
        ioctl(fd, SIOCSIFFLAGS, &lo);
    }
    close(fd);
}

static int drop_capabilities(error *err)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    const struct __user_cap_data_struct none[2] = { 0 };
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int i = 0; prctl(PR_CAPBSET_DROP, i, 0, 0, 0) == 0; i++) continue;
    return syscall(SYS_capset, &head, none) == 0 ? OK : error_sys(err, errno, "sandbox: capset");
}

/* scratch NULL: it has none. */
static int limit_files(const char *scratch, bool tcp_too, error *err)
{
    static const char *const DEVICES[] = { "/dev/null",   "/dev/zero",    "/dev/full",
                                           "/dev/random", "/dev/urandom", "/dev/tty" };
    const int rules = landlock_begin(tcp_too, err);
    int rc = rules < 0 ? ERR_UNSUPPORTED : landlock_allow(rules, "/", LANDLOCK_RUN, err);
    for (size_t i = 0; rc == OK && i < sizeof DEVICES / sizeof *DEVICES; i++)
        rc = landlock_allow(rules, DEVICES[i], LANDLOCK_ALL, err);
    if (rc == OK && scratch) rc = landlock_allow(rules, scratch, LANDLOCK_ALL, err);
    if (rc == OK && scratch) rc = landlock_allow(rules, SHARED_MEMORY, LANDLOCK_ALL, err);
    if (rc == OK) return landlock_enter(rules, err);
    if (rules >= 0) close(rules);
    return rc;
}

static void limit(__rlimit_resource_t what, rlim_t most)
{
    struct rlimit now;
    if (getrlimit(what, &now) != 0 || now.rlim_max < most) return;
    setrlimit(what, &(struct rlimit){ most, most });
}

/* What holds with namespaces and without. */
static int lock_in(const char *scratch, filter_kind calls, bool tcp_too, error *err)
{
    write_file("/proc/self/oom_score_adj", "1000"); /* it goes before the training does */
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_NOFILE, MAX_DESCRIPTORS);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return error_sys(err, errno, "sandbox: no_new_privs");
    int rc = drop_capabilities(err);
    if (rc == OK && landlock_version() > 0) rc = limit_files(scratch, tcp_too, err);
    return rc == OK ? filter_install(calls, err) : rc;
}

/* ---- the processes ---- */

static _Noreturn void become(char *const *argv)
{
    signal(SIGPIPE, SIG_DFL);
    execvp(argv[0], argv);
    fprintf(stderr, "%s could not be executed: %s\n", argv[0], strerror(errno));
    _exit(errno == ENOENT ? NO_SUCH_PROGRAM : CANNOT_RUN);
}

static int exit_status(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : BY_SIGNAL + WTERMSIG(status); }

/* Its descriptors are the program's alone, so that whoever reads from it sees its end. */
static void let_go_of_streams(void)
{
    for (int fd = 0; fd < 3; fd++) close(fd);
}

/* All processes without a parent are its children. */
static _Noreturn void be_process_one(const enclose_config *config, const char *scratch, char *const *argv)
{
    error err = { 0 };
    int status;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int rc = change_root(config, scratch, &err);
    if (!config->network) raise_loopback();
    if (rc == OK) rc = lock_in(scratch, FILTER_PROGRAM, false, &err);
    if (rc != OK) fprintf(stderr, "%s\n", err.text);
    if (rc != OK) _exit(CANNOT_RUN);

    limit(RLIMIT_NPROC, MAX_PROCESSES);
    const pid_t program = fork();
    if (program == 0) become(argv);
    let_go_of_streams();
    for (pid_t pid; program > 0 && (pid = wait(&status)) != program;)
        if (pid < 0 && errno != EINTR) break;
    _exit(program > 0 ? exit_status(status) : CANNOT_RUN);
}

/* Without namespaces. */
static int run_under_landlock(const enclose_config *config, char *const *argv, int why_not, error *err)
{
    if (landlock_version() == 0)
        return error_set(err, ERR_UNSUPPORTED,
                         "sandbox: no namespaces here (%s), and this kernel has no Landlock: sandbox = false runs the "
                         "program without",
                         strerror(why_not));
    fprintf(stderr, "sandbox: no namespaces here (%s): Landlock stands alone, there is no folder to write in\n",
            strerror(why_not));
    const int rc = lock_in(NULL, config->network ? FILTER_ONLINE : FILTER_OFFLINE, !config->network, err);
    if (rc == OK) become(argv);
    return rc;
}

static int enter_namespaces(const enclose_config *config)
{
    const int kinds = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
    return unshare(kinds | (config->network ? 0 : CLONE_NEWNET)) == 0 ? 0 : errno;
}

int enclose_run(const enclose_config *config, char *const *argv, int *status, error *err)
{
    const char *scratch = scratch_for(argv);
    const uid_t uid = getuid();
    const gid_t gid = getgid();
    const pid_t parent = getppid();
    const int why_not = enter_namespaces(config);
    if (why_not) return run_under_landlock(config, argv, why_not, err);

    confine_is_final();               /* once the first process of the namespace has ended, nobody can start one here */
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* another user namespace has taken it away */
    if (getppid() != parent) _exit(CANNOT_RUN);
    const int rc = map_ids(uid, gid, err);
    if (rc != OK) return rc;
    const pid_t first = fork();
    if (first == 0) be_process_one(config, scratch, argv);
    if (first < 0) return error_sys(err, errno, "sandbox: fork");
    let_go_of_streams();
    while (waitpid(first, status, 0) < 0 && errno == EINTR) continue;
    *status = exit_status(*status);
    return OK;
}
