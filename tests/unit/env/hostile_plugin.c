/* SPDX-License-Identifier: MIT */
/* An environment as a shared object that tries to get out of the process that plays it. A step "attack N" makes attempt
 * N of ATTACKS and says "NAME: held", or "NAME: ESCAPED". Its config says where: a secret file, a folder
 * to write in, processes and a port to reach. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "env/troupe_env.h"

enum { PATH = 1200 };

static char secret[PATH], scratch[PATH], own[PATH], words[600];
static int victim, port, n_constructed;

/* ---- files ---- */

static bool can_open(const char *path, int flags)
{
    char byte;
    const int fd = open(path, flags, 0600);
    if (fd < 0) return false;
    const bool works = (flags & O_ACCMODE) != O_RDONLY || (flags & O_DIRECTORY) || read(fd, &byte, 1) >= 0;
    close(fd);
    return works;
}

static bool can_read(const char *path) { return can_open(path, O_RDONLY); }

static const char *in(const char *folder, const char *name)
{
    static char path[2 * PATH];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const char *of_process(int pid, const char *name)
{
    static char path[100];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return path;
}

static bool reads_the_shadow(void) { return can_read("/etc/shadow"); }
static bool reads_the_users(void) { return can_read("/etc/passwd"); }
static bool reads_a_secret(void) { return can_read(secret); }
static bool lists_the_root(void) { return can_open("/", O_RDONLY | O_DIRECTORY); }
static bool lists_the_folder_above(void) { return can_open(in(own, ".."), O_RDONLY | O_DIRECTORY); }
static bool reads_by_a_root_of_proc(void)
{
    char path[PATH + 20];
    snprintf(path, sizeof path, "/proc/self/root%s", secret);
    return can_read(path);
}
static bool reads_by_the_parents_root(void)
{
    return can_open(of_process(getppid(), "root/etc/passwd"), O_RDONLY) || can_read("/proc/1/root/etc/passwd");
}
static bool traverses_from_its_folder(void) { return can_read(in(own, "../secret.txt")); }
static bool follows_a_link_in_its_folder(void) { return can_read(in(own, "link")); }
static bool reads_by_a_working_folder(void) { return chdir("/etc") == 0 && can_read("passwd"); }
static bool holds_a_path(void) { return can_open(secret, O_PATH); }
static bool opens_the_new_way(void)
{
    const uint64_t how[3] = { O_RDONLY, 0, 0 };
    return syscall(437, AT_FDCWD, secret, how, sizeof how) >= 0;
}
static bool opens_by_handle(void)
{
    struct {
        struct file_handle head;
        char bytes[128];
    } handle = { .head = { .handle_bytes = 128 } };
    int mount_id;
    return name_to_handle_at(AT_FDCWD, secret, &handle.head, &mount_id, 0) == 0;
}
static bool reads_devices(void)
{
    return can_read("/dev/mem") || can_read("/dev/kmsg") || can_read("/dev/vda") || can_open("/dev/tty", O_RDWR);
}
static bool reads_the_kernel(void) { return can_read("/proc/version") || can_read("/proc/kallsyms"); }
static bool writes_to_the_kernel(void)
{
    return can_open("/proc/self/oom_score_adj", O_WRONLY) || can_open("/proc/sys/kernel/core_pattern", O_WRONLY);
}

static bool writes_outside(void) { return can_open(in(scratch, "troupe_escape"), O_WRONLY | O_CREAT); }
static bool writes_in_its_folder(void) { return can_open(in(own, "troupe_escape"), O_WRONLY | O_CREAT); }
static bool writes_itself(void) { return can_open(in(own, "hostile_plugin.so"), O_RDWR); }
static bool writes_to_the_temporary(void) { return can_open("/tmp/troupe_escape", O_WRONLY | O_CREAT); }
static bool leaves_shared_memory(void) { return can_open("/dev/shm/troupe_escape", O_RDWR | O_CREAT); }
static bool makes_a_file_without_a_name(void) { return can_open(scratch, O_TMPFILE | O_RDWR); }
static bool truncates(void) { return truncate(secret, 0) == 0; }
static bool makes_a_folder(void) { return mkdir(in(scratch, "troupe_folder"), 0700) == 0; }
static bool removes(void) { return unlink(in(scratch, "kept.txt")) == 0; }
static bool renames(void)
{
    char from[2 * PATH];
    snprintf(from, sizeof from, "%s", in(scratch, "kept.txt"));
    return rename(from, in(scratch, "renamed.txt")) == 0;
}
static bool links(void) { return link(secret, in(scratch, "hard")) == 0; }
static bool makes_a_symbolic_link(void) { return symlink(secret, in(scratch, "soft")) == 0; }
static bool makes_a_device(void) { return mknod(in(scratch, "pipe"), S_IFIFO | 0600, 0) == 0; }
static bool changes_a_mode(void) { return chmod(secret, 0600) == 0; }
static bool changes_an_owner(void) { return chown(secret, (uid_t)-1, (gid_t)-1) == 0; }
static bool changes_times(void) { return utimensat(AT_FDCWD, secret, NULL, 0) == 0; }
static bool sets_an_attribute(void) { return setxattr(secret, "user.troupe", "x", 1, 0) == 0 || errno == ENOTSUP; }
static bool watches_files(void) { return syscall(SYS_inotify_init1, 0) >= 0 || syscall(SYS_fanotify_init, 0, 0) >= 0; }

/* ---- network ---- */

static bool connects(void)
{
    const struct sockaddr_in to = { .sin_family = AF_INET,
                                    .sin_port = htons((uint16_t)port),
                                    .sin_addr = { htonl(INADDR_LOOPBACK) } };
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    return fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) == 0;
}
static bool makes_sockets(void)
{
    for (int family = 0; family < 46; family++)
        if (socket(family, SOCK_STREAM, 0) >= 0 || socket(family, SOCK_DGRAM, 0) >= 0 ||
            socket(family, SOCK_RAW, 0) >= 0)
            return true;
    return false;
}
static bool makes_a_pair(void)
{
    int pair[2];
    return socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0;
}
static bool listens_to_an_abstract_name(void)
{
    const struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "\0troupe_escape" };
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return fd >= 0 && bind(fd, (const struct sockaddr *)&name, sizeof name) == 0;
}

/* It has a socket: its requests come from there. */
static bool sends_a_descriptor(void)
{
    char control[CMSG_SPACE(sizeof(int))] = { 0 };
    struct iovec iov = { .iov_base = control, .iov_len = 1 };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    *c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
    for (int fd = 3; fd < 16; fd++)
        if (sendmsg(fd, &m, MSG_DONTWAIT) >= 0) return true;
    return false;
}

/* ---- processes ---- */

static bool forked(long pid)
{
    if (pid == 0) _exit(0);
    if (pid > 0) waitpid((pid_t)pid, NULL, 0);
    return pid > 0;
}
static bool forks(void) { return forked(fork()); }
static bool clones(void) { return forked(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); }
static bool clones_the_new_way(void)
{
    const uint64_t arguments[11] = { [4] = SIGCHLD };
    return forked(syscall(SYS_clone3, arguments, sizeof arguments));
}
static bool spawns(void)
{
    static char sh[] = "sh", c[] = "-c", nothing[] = "exit 0";
    char *const argv[] = { sh, c, nothing, NULL };
    pid_t pid;
    return posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, NULL) == 0;
}
static bool runs_a_command(void) { return system("exit 0") == 0; }
static bool opens_a_pipe_to_a_command(void)
{
    FILE *f = popen("true", "r");
    return f && pclose(f) == 0;
}
static void *wait_for_nothing(void *p) { return p; }
static bool makes_a_thread(void)
{
    pthread_t t;
    return pthread_create(&t, NULL, wait_for_nothing, NULL) == 0 && pthread_join(t, NULL) == 0;
}
static bool executes(void)
{
    static char sh[] = "/bin/sh";
    char *const argv[] = { sh, NULL };
    execve(sh, argv, NULL);
    return errno != EPERM;
}
static bool kills(void) { return kill(victim, SIGTERM) == 0; }
static bool signals_its_parent(void) { return kill(getppid(), 0) == 0; }
static bool signals_all(void) { return kill(-1, 0) == 0; }
static bool signals_its_group(void) { return kill(0, 0) == 0 || kill(-getpgrp(), 0) == 0; }
static bool signals_a_thread(void)
{
    return syscall(SYS_tkill, victim, 0) == 0 || syscall(SYS_tgkill, victim, victim, 0) == 0;
}
static bool queues_a_signal(void) { return sigqueue(victim, 0, (union sigval){ 0 }) == 0; }
static bool holds_a_process(void) { return syscall(434, victim, 0) >= 0; }
static bool traces(void) { return ptrace(PTRACE_SEIZE, victim, NULL, NULL) == 0; }
static bool reads_anothers_memory(void)
{
    char byte;
    struct iovec here = { &byte, 1 }, there = { words, 1 };
    return process_vm_readv(getppid(), &here, 1, &there, 1, 0) >= 0 || errno != EPERM;
}
static bool reads_anothers_links(void)
{
    char target[PATH];
    return readlink(of_process(getppid(), "exe"), target, sizeof target) >= 0 ||
           readlink(of_process(getppid(), "fd/0"), target, sizeof target) >= 0;
}
static bool opens_anothers_memory(void)
{
    return can_open(of_process(getppid(), "mem"), O_RDWR) || can_open(of_process(victim, "mem"), O_RDWR) ||
           can_open("/proc/self/mem", O_RDWR);
}
static bool reads_anothers_environment(void) { return can_read(of_process(getppid(), "environ")); }
static bool lists_anothers_descriptors(void) { return can_open(of_process(getppid(), "fd"), O_RDONLY | O_DIRECTORY); }
static bool compares_processes(void) { return syscall(SYS_kcmp, getppid(), victim, 0, 0, 0) >= 0 || errno != EPERM; }
static bool limits_its_parent(void)
{
    struct rlimit r;
    return syscall(SYS_prlimit64, getppid(), RLIMIT_NOFILE, NULL, &r) == 0;
}
static bool slows_its_parent(void) { return setpriority(PRIO_PROCESS, (id_t)getppid(), 1) == 0; }
static bool leaves_its_group(void) { return setpgid(0, 0) == 0 && setsid() >= 0; }
static bool outlives_its_parent(void) { return prctl(PR_SET_PDEATHSIG, 0) == 0; }
static bool types_into_the_terminal(void) { return ioctl(2, TIOCSTI, "x") == 0 || errno != EPERM; }

/* ---- the kernel ---- */

/* The call is refused, whatever its arguments. */
static bool passes(long number)
{
    return syscall(number, 0, 0, 0, 0, 0, 0) >= 0 || (errno != EPERM && errno != ENOSYS);
}
static bool any_passes(const long *numbers)
{
    for (; *numbers; numbers++)
        if (passes(*numbers)) return true;
    return false;
}
#define CALLS(...) any_passes((const long[]){ __VA_ARGS__, 0 })

static bool mounts(void) { return mount("none", scratch, "tmpfs", 0, NULL) == 0 && umount(scratch) == 0; }
static bool mounts_the_new_way(void) { return CALLS(428, 429, 430, 431, 432, 433, 442, 457, 458, 467); }
static bool changes_the_root(void) { return CALLS(SYS_chroot, SYS_pivot_root, SYS_umount2); }
static bool unshares(void) { return syscall(SYS_unshare, 0x10000000) == 0 || syscall(SYS_unshare, 0) == 0; }
static bool enters_namespaces(void) { return CALLS(SYS_setns); }
static bool uses_keys(void) { return CALLS(SYS_keyctl, SYS_add_key, SYS_request_key); }
static bool uses_rings(void) { return CALLS(425, 426, 427, SYS_io_setup); }
static bool makes_memory_files(void) { return syscall(SYS_memfd_create, "x", 0) >= 0 || CALLS(447); }
static bool shares_memory(void) { return shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600) >= 0; }
static bool makes_queues(void) { return CALLS(SYS_msgget, SYS_semget, SYS_mq_open); }
static bool programs_the_kernel(void) { return CALLS(SYS_bpf, SYS_perf_event_open, SYS_userfaultfd); }
static bool loads_modules(void) { return CALLS(SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load); }
static bool reads_the_log(void) { return CALLS(SYS_syslog); }
static bool stops_the_machine(void) { return CALLS(SYS_swapon, SYS_swapoff, SYS_acct, SYS_quotactl); }
static bool sets_the_clock(void) { return CALLS(SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime); }
static bool names_the_machine(void) { return CALLS(SYS_sethostname, SYS_setdomainname); }
static bool becomes_another(void) { return CALLS(SYS_setuid, SYS_setgid, SYS_setresuid, SYS_setgroups, SYS_setfsuid); }
static bool takes_capabilities(void) { return CALLS(SYS_capset) || prctl(PR_CAP_AMBIENT, 2, 1, 0, 0) == 0; }
static bool takes_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0; }
static bool filters_again(void) { return CALLS(SYS_seccomp, 444, 446); }
static bool makes_itself_readable(void) { return prctl(PR_SET_DUMPABLE, 1) == 0; }
static bool raises_limits(void)
{
    return setrlimit(RLIMIT_CORE, &(struct rlimit){ 1 << 20, 1 << 20 }) == 0 ||
           syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &(struct rlimit){ 9, 9 }, NULL) == 0;
}
static bool has_timers_that_signal(void) { return CALLS(SYS_timer_create); }
static bool schedules(void) { return CALLS(SYS_sched_setscheduler, SYS_sched_setattr, SYS_sched_setaffinity); }
static bool moves_pages(void) { return CALLS(SYS_migrate_pages, SYS_move_pages, SYS_mbind, SYS_mlockall); }
static bool changes_its_personality(void) { return CALLS(SYS_personality); }
static bool splices(void) { return CALLS(SYS_vmsplice, SYS_tee, SYS_splice); }

/* ---- what it knows, takes and began with ---- */

static const char *arguments; /* of the process: its environment lies behind them, and its name behind that */

static bool finds_a_token(void)
{
    static const char *const NAME[] = { "TROUPE_TEST", "_TOKEN" };
    char name[40];
    snprintf(name, sizeof name, "%s%s", NAME[0], NAME[1]);
    const char *end = (const char *)getauxval(AT_EXECFN);
    return getenv(name) || can_read("/proc/self/environ") ||
           memmem(arguments, (size_t)(end - arguments), name, strlen(name));
}
static bool hoards_memory(void)
{
    enum { PIECE = 16 << 20, PIECES = 64 }; /* 1 GB, four times what it may have */
    static void *all[PIECES];
    int n = 0;
    while (n < PIECES && (all[n] = malloc(PIECE))) n++;
    for (int i = 0; i < n; i++) free(all[i]);
    return n == PIECES;
}
static bool hoards_descriptors(void)
{
    enum { MANY = 300 };
    int all[MANY], n = 0;
    while (n < MANY && (all[n] = dup(1)) >= 0) n++;
    for (int i = 0; i < n; i++) close(all[i]);
    return n == MANY;
}
static bool constructed_outside(void) { return n_constructed > 0; }

__attribute__((constructor)) static void before_it_is_asked(int argc, char **argv)
{
    (void)argc;
    arguments = argv[0];
    n_constructed += can_read("/etc/passwd") + can_open("/tmp/troupe_escape", O_WRONLY | O_CREAT);
    n_constructed += socket(AF_INET, SOCK_STREAM, 0) >= 0;
    n_constructed += forks();
}

/* ---- the list ---- */

#define ATTACK(name)                                                                                                   \
    {                                                                                                                  \
#name, name                                                                                                    \
    }
static const struct {
    const char *name;
    bool (*escapes)(void);
} ATTACKS[] = {
    ATTACK(reads_the_shadow),
    ATTACK(reads_the_users),
    ATTACK(reads_a_secret),
    ATTACK(lists_the_root),
    ATTACK(lists_the_folder_above),
    ATTACK(reads_by_a_root_of_proc),
    ATTACK(reads_by_the_parents_root),
    ATTACK(traverses_from_its_folder),
    ATTACK(follows_a_link_in_its_folder),
    ATTACK(reads_by_a_working_folder),
    ATTACK(holds_a_path),
    ATTACK(opens_the_new_way),
    ATTACK(opens_by_handle),
    ATTACK(reads_devices),
    ATTACK(reads_the_kernel),
    ATTACK(writes_to_the_kernel),
    ATTACK(writes_outside),
    ATTACK(writes_in_its_folder),
    ATTACK(writes_itself),
    ATTACK(writes_to_the_temporary),
    ATTACK(leaves_shared_memory),
    ATTACK(makes_a_file_without_a_name),
    ATTACK(truncates),
    ATTACK(makes_a_folder),
    ATTACK(renames),
    ATTACK(removes),
    ATTACK(links),
    ATTACK(makes_a_symbolic_link),
    ATTACK(makes_a_device),
    ATTACK(changes_a_mode),
    ATTACK(changes_an_owner),
    ATTACK(changes_times),
    ATTACK(sets_an_attribute),
    ATTACK(watches_files),
    ATTACK(connects),
    ATTACK(makes_sockets),
    ATTACK(makes_a_pair),
    ATTACK(listens_to_an_abstract_name),
    ATTACK(sends_a_descriptor),
    ATTACK(forks),
    ATTACK(clones),
    ATTACK(clones_the_new_way),
    ATTACK(spawns),
    ATTACK(runs_a_command),
    ATTACK(opens_a_pipe_to_a_command),
    ATTACK(makes_a_thread),
    ATTACK(signals_its_parent),
    ATTACK(signals_all),
    ATTACK(signals_its_group),
    ATTACK(signals_a_thread),
    ATTACK(queues_a_signal),
    ATTACK(holds_a_process),
    ATTACK(traces),
    ATTACK(reads_anothers_memory),
    ATTACK(reads_anothers_links),
    ATTACK(opens_anothers_memory),
    ATTACK(reads_anothers_environment),
    ATTACK(lists_anothers_descriptors),
    ATTACK(compares_processes),
    ATTACK(limits_its_parent),
    ATTACK(finds_a_token),
    ATTACK(hoards_memory),
    ATTACK(hoards_descriptors),
    ATTACK(constructed_outside),
    ATTACK(kills), /* from here on only in the sandbox: without it they do what they say */
    ATTACK(executes),
    ATTACK(slows_its_parent),
    ATTACK(leaves_its_group),
    ATTACK(outlives_its_parent),
    ATTACK(types_into_the_terminal),
    ATTACK(mounts),
    ATTACK(mounts_the_new_way),
    ATTACK(changes_the_root),
    ATTACK(unshares),
    ATTACK(enters_namespaces),
    ATTACK(uses_keys),
    ATTACK(uses_rings),
    ATTACK(makes_memory_files),
    ATTACK(shares_memory),
    ATTACK(makes_queues),
    ATTACK(programs_the_kernel),
    ATTACK(loads_modules),
    ATTACK(reads_the_log),
    ATTACK(stops_the_machine),
    ATTACK(sets_the_clock),
    ATTACK(names_the_machine),
    ATTACK(becomes_another),
    ATTACK(takes_capabilities),
    ATTACK(takes_privileges),
    ATTACK(filters_again),
    ATTACK(makes_itself_readable),
    ATTACK(raises_limits),
    ATTACK(has_timers_that_signal),
    ATTACK(schedules),
    ATTACK(moves_pages),
    ATTACK(changes_its_personality),
    ATTACK(splices),
};
enum { N_ATTACKS = sizeof ATTACKS / sizeof *ATTACKS };

static void attack(int i)
{
    const bool escaped = i >= 0 && i < N_ATTACKS && ATTACKS[i].escapes();
    snprintf(words, sizeof words, "%s: %s", i < N_ATTACKS ? ATTACKS[i].name : "none", escaped ? "ESCAPED" : "held");
}

/* As programs look for a file that they need. */
static bool finds_its_file(void)
{
    struct stat st;
    char *path = realpath(in(own, "../own/own.txt"), NULL);
    const bool there = path && access(path, R_OK) == 0 && stat(path, &st) == 0 && can_read(path);
    free(path);
    return there && can_open(own, O_RDONLY | O_DIRECTORY);
}

static void write_for_ever(int fd)
{
    static char much[1 << 16];
    memset(much, 'x', sizeof much);
    while (write(fd, much, sizeof much) > 0) continue;
}

/* Through the entry of 32 bits: number 11 is execve there, 5 is open. */
static void call_as_another_processor(void)
{
#if defined __x86_64__
    long answer = 20;
    __asm__ volatile("int $0x80" : "+a"(answer) : : "memory", "r8", "r9", "r10", "r11");
    if (answer > 0) return;
#endif
    abort();
}

/* ---- the environment ---- */

static void field(const char *config, const char *name, char *out, size_t size)
{
    const char *at = strstr(config, name);
    if (at) at = strchr(at, ':');
    if (at) snprintf(out, size, "%.*s", (int)strcspn(at + 2, "\""), at + 2);
}

static void *open_it(const char *config, char *error, size_t error_size)
{
    char number[16] = "";
    (void)error, (void)error_size;
    field(config, "\"own\"", own, sizeof own);
    field(config, "\"secret\"", secret, sizeof secret);
    field(config, "\"scratch\"", scratch, sizeof scratch);
    field(config, "\"victim\"", number, sizeof number);
    victim = atoi(number);
    field(config, "\"port\"", number, sizeof number);
    port = atoi(number);
    return words;
}

static void *reset(void *env, const char *row, uint32_t seed, troupe_env_reply *reply)
{
    (void)env, (void)row, (void)seed;
    reply->observation = "begun";
    return NULL;
}

static void step(void *env, void *episode, const char *tool, const char *told, const char *text, const char *turn,
                 troupe_env_reply *reply)
{
    int number;
    (void)env, (void)episode, (void)tool, (void)told, (void)turn;
    reply->observation = words;
    snprintf(words, sizeof words, "heard");
    if (strcmp(text, "count") == 0) snprintf(words, sizeof words, "%d", (int)N_ATTACKS);
    if (sscanf(text, "attack %d", &number) == 1) attack(number);
    if (strcmp(text, "own file") == 0 && !finds_its_file()) snprintf(words, sizeof words, "unreadable");
    while (strcmp(text, "hang") == 0) continue;
    if (strcmp(text, "threads") == 0) snprintf(words, sizeof words, "%s of OpenMP", getenv("OMP_NUM_THREADS"));
    if (strcmp(text, "stop") == 0) kill(getpid(), SIGSTOP), snprintf(words, sizeof words, "went on");
    if (sscanf(text, "flood %d", &number) == 1) write_for_ever(number);
    if (strcmp(text, "other processor") == 0) call_as_another_processor();
}

const troupe_env_v1 troupe_environment_v1 = {
    .size = sizeof(troupe_env_v1), .open = open_it, .reset = reset, .step = step
};
