/* SPDX-License-Identifier: MIT */
/* The box with a layer taken away, as an older kernel or a container takes it: what is left holds by itself, or the
 * machine is refused before the first call, with the name of what it lacks. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "env/sandbox/box.h"
#include "env/sandbox/proof.h"
#include "tests/support/support.h"

enum { LANDLOCK_CREATE = 444, NO_SUCH_CALL = 38, NOT_PERMITTED = 1, INVALID = 22, MAX_MISSING = 2 };

typedef struct lack {
    const char *name;
    int calls[MAX_MISSING], answer; /* system calls that this machine refuses; 0: none */
    const char *layers;             /* what the box is then made of; NULL: refused */
    const char *word;               /* in its report, or in the refusal */
} lack;

static const lack LACKS[] = {
    { "nothing", { 0 }, 0, "namespaces", "landlock" },
    { "user namespaces", { __NR_unshare }, NOT_PERMITTED, "landlock", "user namespaces are not available here" },
    { "mounts", { __NR_mount }, NOT_PERMITTED, "landlock", "mount" },
    { "Landlock", { LANDLOCK_CREATE }, NO_SUCH_CALL, "namespaces", "landlock 0" },
    { "both", { __NR_unshare, LANDLOCK_CREATE }, NO_SUCH_CALL, NULL, "no Landlock" },
    { "seccomp", { __NR_prctl }, INVALID, NULL, "seccomp" },
};

/* This process and what it starts can't make these calls any more; of prctl it is the one that installs a filter. */
static void take_away(const lack *l)
{
    struct sock_filter code[24];
    unsigned short n = 0;
    const uint32_t refusal = SECCOMP_RET_ERRNO | (uint32_t)l->answer;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < MAX_MISSING && l->calls[i]; i++) {
        const bool prctls = l->calls[i] == __NR_prctl;
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)l->calls[i], 0, prctls ? 4 : 1);
        if (prctls) {
            code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args));
            code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_SET_SECCOMP, 0, 1);
        }
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, refusal);
        if (prctls)
            code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_fprog program = { n, code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(99);
}

static bool all_proven(box *b)
{
    box_proof proofs[BOX_PROOFS];
    const int n = box_prove(b, proofs);
    bool held = n > 5;
    for (int i = 0; i < n; i++) {
        if (!proofs[i].held) print_message("%s: %s\n", proofs[i].what, proofs[i].found);
        held &= proofs[i].held;
        free(proofs[i].found);
    }
    return held;
}

static bool as_expected(const lack *l)
{
    const box_config limits = { .timeout_ms = 300, .memory_mb = 64 };
    error err = { 0 };
    box *b = box_new(&limits, &err);
    if (!b) {
        print_message("without %s: %s\n", l->name, err.text);
        return !l->layers && err.code == ERR_UNSUPPORTED && strstr(err.text, l->word);
    }
    print_message("without %s: %s\n", l->name, box_report(b));
    const bool right =
        l->layers && strcmp(box_layers(b), l->layers) == 0 && strstr(box_report(b), l->word) && all_proven(b);
    box_free(b);
    return right;
}

/* In a process of its own, as what is taken away stays away. */
static void what_is_left_holds_or_the_machine_is_refused(void **state)
{
    (void)state;
    const box_config limits = { 0 };
    box *whole = box_new(&limits, NULL);
    const bool all = whole && strcmp(box_layers(whole), "namespaces") == 0 && !strstr(box_report(whole), "landlock 0");
    box_free(whole);
    if (!all) print_message("this machine lacks a layer itself\n"), skip();

    for (size_t i = 0; i < sizeof LACKS / sizeof *LACKS; i++) {
        int status = 0;
        fflush(NULL);
        const pid_t pid = fork();
        if (pid == 0) {
            take_away(&LACKS[i]);
            const bool right = as_expected(&LACKS[i]);
            fflush(NULL);
            _exit(right ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (status != 0) fail_msg("without %s: not as expected (status %#x)", LACKS[i].name, (unsigned)status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(what_is_left_holds_or_the_machine_is_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
