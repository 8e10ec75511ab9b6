/* SPDX-License-Identifier: MIT */
#include "env/sandbox/filter.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* From 424 on (pidfd_send_signal, Linux 5.1 of 2019) a call has one number on all processors. */
enum { MAX_PROGRAM = 1024, FIRST_YOUNG_CALL = 424, X32_BIT = 0x40000000, CLOCKS = 16 };

#if defined __x86_64__
#define OWN_ARCH AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define OWN_ARCH AUDIT_ARCH_AARCH64
#endif

/* Harmless whatever the arguments: memory of its own, descriptors it has, time, its own signals and numbers. */
static const int ALWAYS[] = {
    __NR_munmap,
    __NR_mremap,
    __NR_mprotect,
    __NR_brk,
    __NR_read,
    __NR_write,
    __NR_readv,
    __NR_writev,
    __NR_pread64,
    __NR_pwrite64,
    __NR_preadv,
    __NR_pwritev,
    __NR_lseek,
    __NR_close,
    __NR_close_range,
    __NR_dup,
    __NR_dup3,
    __NR_fstat,
    __NR_ftruncate,
    __NR_fallocate,
    __NR_copy_file_range,
    __NR_sendfile,
    __NR_getdents64,
    __NR_getcwd,
    __NR_umask,
    __NR_ppoll,
    __NR_pselect6,
    __NR_nanosleep,
    __NR_gettimeofday,
    __NR_times,
    __NR_getrusage,
    __NR_setitimer,
    __NR_getitimer,
    __NR_rt_sigaction,
    __NR_rt_sigprocmask,
    __NR_rt_sigreturn,
    __NR_rt_sigpending,
    __NR_rt_sigsuspend,
    __NR_rt_sigtimedwait,
    __NR_sigaltstack,
    __NR_restart_syscall,
    __NR_getpid,
    __NR_gettid,
    __NR_getppid,
    __NR_getuid,
    __NR_geteuid,
    __NR_getgid,
    __NR_getegid,
    __NR_getresuid,
    __NR_getresgid,
    __NR_exit,
    __NR_exit_group,
    __NR_wait4,
    __NR_sched_yield,
    __NR_getcpu,
    __NR_getrandom,
#if defined __x86_64__
    __NR_dup2,
    __NR_poll,
    __NR_select,
    __NR_time,
    __NR_alarm,
    __NR_pause,
    __NR_getrlimit,
#endif
};

/* Calls that name a path: where all paths are the child's own. Nothing here changes a file's owner, mode, times or
 * attributes, makes a link or a device, or watches. */
static const int PATHS[] = {
    __NR_openat,   __NR_newfstatat, __NR_statx,    __NR_faccessat, __NR_readlinkat,
    __NR_mkdirat,  __NR_unlinkat,   __NR_renameat, __NR_renameat2, __NR_truncate,
    __NR_chdir,    __NR_fchdir,     __NR_statfs,   __NR_fstatfs,   __NR_uname,
#if defined __x86_64__
    __NR_open,     __NR_creat,      __NR_stat,     __NR_lstat,     __NR_access,
    __NR_readlink, __NR_mkdir,      __NR_rmdir,    __NR_unlink,    __NR_rename,
#endif
};

/* A call whose argument number `argument` must be one of `values` (IN), below the first of them (BELOW), or have none
 * of its bits (WITHOUT). `high`: the upper half of the argument must be 0, too, as the kernel reads all of it. */
typedef enum test { IN, BELOW, WITHOUT } test;
typedef struct condition {
    int argument;
    test test;
    bool high;
    const uint32_t *values;
    int n;
} condition;

#define VALUES(...) (const uint32_t[]){ __VA_ARGS__ }, (int)(sizeof((uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))

/* Conditions of one call are all to hold; several rules of one call are alternatives. */
typedef struct rule {
    int call;
    bool landlock_only; /* with a root of one's own, the call is among PATHS */
    condition conditions[2];
    int n;
} rule;

/* What a child may send itself: signals that its own faults and timers send it anyway, and the mark of a raised
 * exception. SIGKILL and SIGSTOP are not among them, so they always came from somewhere else. */
#define OWN_SIGNALS                                                                                                    \
    VALUES(0, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGXCPU, SIGXFSZ, SIGALRM, SIGVTALRM,         \
           SIGPROF, SIGPIPE, FILTER_RAISED)
#define TO_ITSELF 0, IN, false, VALUES(FILTER_SELF)

static const rule RULES[] = {
    { __NR_mmap, false, { { 3, WITHOUT, false, VALUES(MAP_HUGETLB | MAP_LOCKED) } }, 1 },
    { __NR_madvise,
      false,
      { { 2, IN, false,
          VALUES(MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, MADV_FREE, MADV_HUGEPAGE,
                 MADV_NOHUGEPAGE) } },
      1 },
    /* No owner of signals, no leases or watches, no larger pipes, no seals. */
    { __NR_fcntl, false, { { 1, IN, false, VALUES(F_GETFD, F_SETFD, F_GETFL, F_DUPFD, F_DUPFD_CLOEXEC) } }, 1 },
    { __NR_fcntl, false, { { 1, IN, false, VALUES(F_SETFL) }, { 2, WITHOUT, false, VALUES(O_ASYNC) } }, 2 },
    { __NR_ioctl, false, { { 1, IN, false, VALUES(TCGETS, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, TIOCGWINSZ) } }, 1 },
    { __NR_pipe2, false, { { 1, WITHOUT, false, VALUES(~(uint32_t)(O_CLOEXEC | O_NONBLOCK)) } }, 1 },
#if defined __x86_64__
    { __NR_getpgrp, false, { { 0 } }, 0 },
    { __NR_pipe, false, { { 0 } }, 0 },
#endif
    /* Clocks of this machine and of oneself; negative numbers are other processes' and descriptors'. */
    { __NR_clock_gettime, false, { { 0, BELOW, false, VALUES(CLOCKS) } }, 1 },
    { __NR_clock_getres, false, { { 0, BELOW, false, VALUES(CLOCKS) } }, 1 },
    { __NR_clock_nanosleep, false, { { 0, BELOW, false, VALUES(CLOCKS) } }, 1 },
    /* Its own locks; not those in pages of a library, by which two calls could speak to each other. */
    { __NR_futex,
      false,
      { { 1, IN, false,
          VALUES(FUTEX_WAIT_PRIVATE, FUTEX_WAKE_PRIVATE, FUTEX_WAIT_BITSET_PRIVATE, FUTEX_WAKE_BITSET_PRIVATE,
                 FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME) } },
      1 },
    { __NR_kill, false, { { TO_ITSELF }, { 1, IN, false, OWN_SIGNALS } }, 2 },
    { __NR_tkill, false, { { TO_ITSELF }, { 1, IN, false, OWN_SIGNALS } }, 2 },
    { __NR_tgkill, false, { { TO_ITSELF }, { 2, IN, false, OWN_SIGNALS } }, 2 },
    { __NR_sched_getaffinity, false, { { 0, IN, false, VALUES(0, FILTER_SELF) } }, 1 },
    /* Limits can be read; setting even a lower one would let a child call the kernel's SIGKILL upon itself. */
    { __NR_prlimit64, false, { { 0, IN, false, VALUES(0, FILTER_SELF) }, { 2, IN, true, VALUES(0) } }, 2 },
    { __NR_getpgid, false, { { 0, IN, false, VALUES(0) } }, 1 },
    { __NR_prctl, false, { { 0, IN, false, VALUES(PR_GET_NAME) } }, 1 },
    /* Without a root of one's own: Landlock judges what is opened, and how, but for O_PATH, which it does not see. */
    { __NR_openat, true, { { 2, WITHOUT, false, VALUES(O_PATH) } }, 1 },
#if defined __x86_64__
    { __NR_open, true, { { 1, WITHOUT, false, VALUES(O_PATH) } }, 1 },
#endif
};

/* Of a process that loads a shared object and may look at files: Landlock says which are opened. To the dynamic linker
 * a folder that it can't ask about has no libraries. */
#define NOT_FOR_READING ((uint32_t)(O_ACCMODE | O_CREAT | O_TRUNC | O_PATH | O_ASYNC))
static const rule READERS[] = {
    { __NR_openat, false, { { 2, WITHOUT, false, VALUES(NOT_FOR_READING) } }, 1 },
    { __NR_newfstatat, false, { { 0 } }, 0 },
    { __NR_statx, false, { { 0 } }, 0 },
    { __NR_faccessat, false, { { 0 } }, 0 },
    { __NR_readlinkat, false, { { 0 } }, 0 },
#if defined __x86_64__
    { __NR_open, false, { { 1, WITHOUT, false, VALUES(NOT_FOR_READING) } }, 1 },
    { __NR_stat, false, { { 0 } }, 0 },
    { __NR_lstat, false, { { 0 } }, 0 },
    { __NR_access, false, { { 0 } }, 0 },
    { __NR_readlink, false, { { 0 } }, 0 },
#endif
};

/* Of a program that may do the rest: calls that change what it is confined by, reach into other processes, or offer
 * much of the kernel to be attacked. */
static const int REFUSED[] = {
    __NR_mount,
    __NR_umount2,
    __NR_pivot_root,
    __NR_chroot,
    __NR_unshare,
    __NR_setns,
    __NR_ptrace,
    __NR_process_vm_readv,
    __NR_process_vm_writev,
    __NR_kcmp,
    __NR_bpf,
    __NR_perf_event_open,
    __NR_userfaultfd,
    __NR_keyctl,
    __NR_add_key,
    __NR_request_key,
    __NR_open_by_handle_at,
    __NR_kexec_load,
    __NR_kexec_file_load,
    __NR_init_module,
    __NR_finit_module,
    __NR_delete_module,
    __NR_reboot,
    __NR_swapon,
    __NR_swapoff,
    __NR_acct,
    __NR_quotactl,
    __NR_syslog,
    __NR_settimeofday,
    __NR_clock_settime,
    __NR_adjtimex,
    __NR_clock_adjtime,
    __NR_fanotify_init,
    __NR_vhangup,
    __NR_move_pages,
    __NR_migrate_pages,
    __NR_lookup_dcookie,
    __NR_nfsservctl,
    __NR_socket,
    __NR_clone,
    __NR_sethostname,
    __NR_setdomainname,
    __NR_mknodat,
#if defined __x86_64__
    __NR_iopl,
    __NR_ioperm,
    __NR_modify_ldt,
    __NR_mknod,
#endif
};

/* Younger ones that do the same; as clone3 does, whose flags a filter can't read: the C library takes the older one. */
static const int REFUSED_YOUNG[] = {
    424, 425, 426, 427, 428, 429, 430, 431, 432, 433, 435, 438, 440, 442, 443, 447, 467
};

/* Of one that is confined by Landlock alone. */
static const int CHANGES[] = {
    __NR_fchmod,    __NR_fchmodat,  __NR_fchown,      __NR_fchownat,     __NR_utimensat,    __NR_setxattr,
    __NR_lsetxattr, __NR_fsetxattr, __NR_removexattr, __NR_lremovexattr, __NR_fremovexattr,
#if defined __x86_64__
    __NR_chmod,     __NR_chown,     __NR_lchown,      __NR_utime,        __NR_utimes,       __NR_futimesat,
#endif
};
static const int CHANGES_YOUNG[] = { 452, 463, 466, 469 }; /* fchmodat2, setxattrat, removexattrat, file_setattr */

#define NEW_NAMESPACES 0x7e020080u
static const rule OWN_PROCESSES = { __NR_clone, false, { { 0, WITHOUT, false, VALUES(NEW_NAMESPACES) } }, 1 };

/* Sockets of this machine (AF_UNIX) are not among them: they lead to its services. */
static const rule INTERNET = { __NR_socket, false, { { 0, IN, false, VALUES(AF_INET, AF_INET6, AF_NETLINK) } }, 1 };

/* What is typed so is read by the shell behind a terminal. */
static const rule TYPED = { __NR_ioctl, false, { { 1, IN, false, VALUES(TIOCSTI, TIOCLINUX) } }, 1 };

/* After the rules: these are answered with yes, and nothing is done. A descriptor's owner and signals, as no signal is
 * to be sent that way to any process. Flushes, as scratch files are memory, and a flush of a library that the host
 * shares would delay every process's disk, some 80 times a second. */
static const rule SWALLOWED[] = {
    { __NR_fsync, false, { { 0 } }, 0 },
    { __NR_fdatasync, false, { { 0 } }, 0 },
    { __NR_msync, false, { { 0 } }, 0 },
    { __NR_fcntl, false, { { 1, IN, false, VALUES(F_SETFL, F_SETOWN, F_SETSIG, F_SETOWN_EX) } }, 1 },
    { __NR_ioctl, false, { { 1, IN, false, VALUES(FIOASYNC, FIOSETOWN, SIOCSPGRP) } }, 1 },
};

#define N_OF(list) (sizeof(list) / sizeof *(list))
enum { MAX_ALLOWED = N_OF(ALWAYS) + N_OF(PATHS) };

typedef struct program {
    struct sock_filter code[MAX_PROGRAM];
    int n;
} program;

static void emit(program *p, unsigned code, uint32_t k, int jump_true, int jump_false)
{
    assert(p->n < MAX_PROGRAM && jump_true < 256 && jump_false < 256);
    p->code[p->n++] = (struct sock_filter){ (uint16_t)code, (uint8_t)jump_true, (uint8_t)jump_false, k };
}

static void load(program *p, size_t offset) { emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0); }
static void answer(program *p, uint32_t action) { emit(p, BPF_RET | BPF_K, action, 0, 0); }

/* ---- the calls that are allowed whatever their arguments ----
 *
 * As a tree: the kernel tries a filter on each number of a call when it is installed, which each call of a tool does. A
 * list of all numbers took 0.36 ms there, the tree 0.22. */

/* Numbers from `first` up to the next range's. */
typedef struct range {
    uint32_t first;
    bool allowed;
} range;

typedef struct ranges {
    range all[2 * MAX_ALLOWED + 1];
    int n;
} ranges;

static int in_order(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

static void open_range(ranges *r, int first, bool allowed)
{
    if (r->n > 0 && r->all[r->n - 1].first == (uint32_t)first) r->n--; /* nothing lies in it */
    if (r->n > 0 && r->all[r->n - 1].allowed == allowed) return;
    r->all[r->n++] = (range){ (uint32_t)first, allowed };
}

static void ranges_of(ranges *r, int *calls, int n)
{
    qsort(calls, (size_t)n, sizeof *calls, in_order);
    open_range(r, 0, false);
    for (int i = 0; i < n; i++) {
        open_range(r, calls[i], true);
        open_range(r, calls[i] + 1, false);
    }
}

/* Instructions of a tree: one a leaf, one a node. */
static int tree_size(int n) { return 2 * n - 1; }

/* The number is loaded. What is not allowed jumps behind the tree, to `end`. */
static void add_tree(program *p, const range *r, int n, int end)
{
    if (n == 1) {
        if (r->allowed)
            answer(p, SECCOMP_RET_ALLOW);
        else
            emit(p, BPF_JMP | BPF_JA, (uint32_t)(end - p->n - 1), 0, 0);
        return;
    }

    const int half = n / 2;
    emit(p, BPF_JMP | BPF_JGE | BPF_K, r[half].first, tree_size(half), 0);
    add_tree(p, r, half, end);
    add_tree(p, r + half, n - half, end);
}

static void allow_calls(program *p, bool own_root)
{
    int calls[MAX_ALLOWED], n = 0;
    ranges r = { .n = 0 };
    for (size_t i = 0; i < N_OF(ALWAYS); i++) calls[n++] = ALWAYS[i];
    for (size_t i = 0; own_root && i < N_OF(PATHS); i++) calls[n++] = PATHS[i];
    ranges_of(&r, calls, n);
    add_tree(p, r.all, r.n, p->n + tree_size(r.n));
}

/* Goes on after it when the condition holds; else jumps to a place known later: `open` keeps the jumps to be set. */
static void require(program *p, const condition *c, int *open, int *n_open)
{
    const size_t low = offsetof(struct seccomp_data, args) + 8 * (size_t)c->argument;
    if (c->high) {
        load(p, low + 4);
        open[(*n_open)++] = p->n;
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0);
    }
    load(p, low);

    /* Several values are alternatives: all but the last jump over what is left of the test. */
    for (int i = 0; i + 1 < c->n; i++) emit(p, BPF_JMP | BPF_JEQ | BPF_K, c->values[i], c->n - 1 - i, 0);
    open[(*n_open)++] = p->n;
    if (c->test == IN)
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, c->values[c->n - 1], 0, 0);
    else if (c->test == BELOW)
        emit(p, BPF_JMP | BPF_JGE | BPF_K, c->values[0], 1, 0);
    else
        emit(p, BPF_JMP | BPF_JSET | BPF_K, c->values[0], 1, 0);
}

/* The number of the call is loaded; afterwards it is again, as rules of the same call may follow. */
static void add_rule(program *p, const rule *r, uint32_t action)
{
    int open[4], n_open = 0;
    const int skip = p->n;
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r->call, 0, 0);
    for (int i = 0; i < r->n; i++) require(p, &r->conditions[i], open, &n_open);
    answer(p, action);

    for (int i = 0; i < n_open; i++) {
        struct sock_filter *jump = &p->code[open[i]];
        const uint8_t distance = (uint8_t)(p->n - open[i] - 1);
        if (BPF_OP(jump->code) == BPF_JEQ) {
            jump->jf = distance; /* equal falls through */
        } else {
            jump->jt = distance; /* too high, or a forbidden bit */
            jump->jf = 0;
        }
    }

    p->code[skip].jf = (uint8_t)(p->n - skip - 1);
    load(p, offsetof(struct seccomp_data, nr));
}

static void add_rules(program *p, filter_kind kind)
{
    for (size_t i = 0; i < N_OF(RULES); i++)
        if (!RULES[i].landlock_only || kind == FILTER_LANDLOCK) add_rule(p, &RULES[i], SECCOMP_RET_ALLOW);
    for (size_t i = 0; kind == FILTER_READER && i < N_OF(READERS); i++) add_rule(p, &READERS[i], SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < N_OF(SWALLOWED); i++) add_rule(p, &SWALLOWED[i], SECCOMP_RET_ERRNO); /* of 0: done */
}

static void refuse(program *p, const int *calls, size_t n, uint32_t action)
{
    for (size_t i = 0; i < n; i++) add_rule(p, &(rule){ .call = calls[i] }, action);
}

/* Allowed unless refused. */
static void add_refusals(program *p, filter_kind kind)
{
    if (kind != FILTER_OFFLINE) add_rule(p, &INTERNET, SECCOMP_RET_ALLOW);
    add_rule(p, &OWN_PROCESSES, SECCOMP_RET_ALLOW);
    add_rule(p, &TYPED, SECCOMP_RET_ERRNO | EPERM);
    refuse(p, REFUSED, N_OF(REFUSED), SECCOMP_RET_ERRNO | EPERM);
    refuse(p, REFUSED_YOUNG, N_OF(REFUSED_YOUNG), SECCOMP_RET_ERRNO | ENOSYS);
    if (kind != FILTER_PROGRAM) {
        refuse(p, CHANGES, N_OF(CHANGES), SECCOMP_RET_ERRNO | EPERM);
        refuse(p, CHANGES_YOUNG, N_OF(CHANGES_YOUNG), SECCOMP_RET_ERRNO | ENOSYS);
    }
    answer(p, SECCOMP_RET_ALLOW);
}

static void build(program *p, filter_kind kind)
{
    /* First of all: through the entry of another architecture (int 0x80 on x86-64) a number means another call. */
    load(p, offsetof(struct seccomp_data, arch));
#ifdef OWN_ARCH
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCH, 1, 0);
#endif
    answer(p, SECCOMP_RET_KILL_PROCESS);
    load(p, offsetof(struct seccomp_data, nr));

    /* x32 calls have this processor's architecture, and numbers of their own. */
    emit(p, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
    answer(p, SECCOMP_RET_KILL_PROCESS);

    if (kind >= FILTER_PROGRAM) {
        add_refusals(p, kind);
        return;
    }
    allow_calls(p, kind == FILTER_OWN_ROOT);
    add_rules(p, kind);

    /* A call newer than the lists does not exist: libraries then take an older one. Others are forbidden. */
    emit(p, BPF_JMP | BPF_JGE | BPF_K, FIRST_YOUNG_CALL, 0, 1);
    answer(p, SECCOMP_RET_ERRNO | ENOSYS);
    answer(p, SECCOMP_RET_ERRNO | EPERM);
}

/* What a limit cuts off (ulimit -f) is refused by the second write, with the reason. */
static bool write_whole(int fd, const void *bytes, size_t len)
{
    for (const char *at = bytes; len > 0;) {
        const ssize_t n = write(fd, at, len);
        if (n <= 0) return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static int write_program(int fd, filter_kind kind)
{
    program p = { .n = 0 };
    build(&p, kind);
    const uint32_t len = (uint32_t)((size_t)p.n * sizeof *p.code);
    return write_whole(fd, &len, sizeof len) && write_whole(fd, p.code, len) ? OK : ERR_IO;
}

/* Of the calls that `kind` allows, those that stand on a list alone or with conditions. */
int filter_calls(filter_kind kind)
{
    const size_t paths = kind == FILTER_OWN_ROOT ? N_OF(PATHS) : 0;
    const size_t readers = kind == FILTER_READER ? N_OF(READERS) : 0;
    return (int)(N_OF(ALWAYS) + N_OF(RULES) + paths + readers);
}

static int check_processor(error *err)
{
#ifndef OWN_ARCH
    return error_set(err, ERR_UNSUPPORTED,
                     "sandbox: system calls are limited on x86-64 and arm64, not on this processor");
#endif
    (void)err;
    return OK;
}

int filter_install(filter_kind kind, error *err)
{
    program p = { .n = 0 };
    if (check_processor(err) != OK) return ERR_UNSUPPORTED;
    build(&p, kind);
    for (int i = 0; i < p.n; i++)
        if (p.code[i].k == FILTER_SELF) p.code[i].k = (uint32_t)getpid();

    const struct sock_fprog code = { .len = (unsigned short)p.n, .filter = p.code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &code) == 0)
        return OK;
    error_sys(err, errno, "sandbox: cannot limit system calls (seccomp)");
    return ERR_UNSUPPORTED;
}

int filter_open(error *err)
{
    if (check_processor(err) != OK) return -1;
    const int fd = memfd_create("troupe-filter", 0);
    if (fd < 0) {
        error_sys(err, errno, "memfd_create");
        return -1;
    }

    if (write_program(fd, FILTER_OWN_ROOT) == OK && write_program(fd, FILTER_LANDLOCK) == OK &&
        lseek(fd, 0, SEEK_SET) == 0)
        return fd;
    error_sys(err, errno, "sandbox: cannot write the system call filter");
    close(fd);
    return -1;
}
