/* SPDX-License-Identifier: MIT */
/* The program of the system call filter, run by an interpreter of its own: what it answers, and how soon. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "env/sandbox/filter.h"
#include "tests/support/support.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif

enum { MAX_CODE = 1024, SOON = 24 };

typedef struct programs {
    struct sock_filter code[2][MAX_CODE]; /* with a root of its own; under Landlock alone */
} programs;

static programs *read_programs(void)
{
    error err = { 0 };
    programs *p = calloc(1, sizeof *p);
    const int fd = filter_open(&err);
    if (fd < 0) fail_msg("%s", err.text);
    for (int i = 0; i < 2; i++) {
        uint32_t len;
        assert_int_equal(read(fd, &len, sizeof len), sizeof len);
        assert_true(len <= sizeof p->code[i]);
        assert_int_equal(read(fd, p->code[i], len), len);
    }
    close(fd);
    return p;
}

/* Its answer, and the instructions that it took. */
static uint32_t ask(const struct sock_filter *code, const struct seccomp_data *of, int *steps)
{
    uint32_t a = 0;
    for (*steps = 1;; code++, ++*steps) {
        bool holds = false;
        switch (code->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            memcpy(&a, (const char *)of + code->k, sizeof a);
            continue;
        case BPF_JMP | BPF_JA:
            code += code->k;
            continue;
        case BPF_JMP | BPF_JEQ | BPF_K:
            holds = a == code->k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            holds = a >= code->k;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            holds = (a & code->k) != 0;
            break;
        default:
            return code->k; /* BPF_RET */
        }
        code += holds ? code->jt : code->jf;
    }
}

static uint32_t answer_to(const struct sock_filter *code, long call)
{
    int steps;
    return ask(code, &(struct seccomp_data){ .nr = (int)call, .arch = ARCH }, &steps);
}

static void what_is_not_listed_is_refused(void **state)
{
    (void)state;
    programs *p = read_programs();
    static const long GOOD[] = { SYS_read, SYS_write, SYS_mmap, SYS_brk, SYS_exit_group, SYS_getpid };
    static const long BAD[] = { SYS_ptrace, SYS_mount, SYS_bpf, SYS_setns, SYS_init_module, SYS_keyctl, SYS_reboot };
    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < sizeof GOOD / sizeof *GOOD; k++)
            assert_int_equal(answer_to(p->code[i], GOOD[k]), SECCOMP_RET_ALLOW);
        for (size_t k = 0; k < sizeof BAD / sizeof *BAD; k++)
            assert_int_equal(answer_to(p->code[i], BAD[k]), SECCOMP_RET_ERRNO | EPERM);
        assert_int_equal(answer_to(p->code[i], 100000), SECCOMP_RET_ERRNO | ENOSYS);
    }
    free(p);
}

/* The kernel runs it for each number there is when a call of a tool installs it. */
static void what_is_allowed_is_found_soon(void **state)
{
    (void)state;
    programs *p = read_programs();
    int soon = 0, steps;
    for (int i = 0; i < 2; i++)
        for (int nr = 0; nr < 1000; nr++) {
            const struct seccomp_data of = { .nr = nr, .arch = ARCH };
            soon += ask(p->code[i], &of, &steps) == SECCOMP_RET_ALLOW && steps <= SOON;
        }
    assert_true(soon > 100);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_listed_is_refused),
        cmocka_unit_test(what_is_allowed_is_found_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
