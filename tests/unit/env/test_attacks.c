/* SPDX-License-Identifier: MIT */
/* tests/attacks/attacks.txt against the box: all of it in each mode, as root and as a plain user, through one zygote
 * that answers harmless calls meanwhile. Nothing gets out, nothing hangs, nothing takes the sandbox with it, no
 * bystander's answer changes, and the host is as it was. */
#include <dirent.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/vec.h"
#include "env/router.h"
#include "env/tools/python.h"
#include "tests/support/support.h"

enum { MIN_ATTACKS = 240, BYSTANDER_EVERY = 5, AT_ONCE = 8, PLAIN_USER = 12345, PATIENCE_MS = 100000 };

typedef struct attack {
    char *name, *code[2]; /* the second: NULL, or a call after the first */
    int bystander;        /* not 0: no attack, but a sum of so many numbers, which must come out right */
    uint64_t call;
    int step;
} attack;

typedef struct suite {
    char *prelude;
    vec(attack) attacks;
    int escaped, lost, wrong;
} suite;

static int MODE = BOX_AUTO; /* of the group that runs */

/* ---- the file ---- */

static char *cut(const char *from, const char *to) { return xstrndup(from, (size_t)(to - from)); }

static void add_attack(suite *s, const char *head, const char *end)
{
    static const char NEXT[] = "--- next\n";
    const char *line = strchr(head, '\n') + 1;
    const char *next = strstr(line, NEXT);
    attack a = { .name = cut(head, line - 1) };
    if (next && next < end) {
        a.code[0] = cut(line, next);
        a.code[1] = cut(next + strlen(NEXT), end);
    } else {
        a.code[0] = cut(line, end);
    }
    vec_push(&s->attacks, a);
}

static void add_bystander(suite *s, int numbers)
{
    str code = { 0 };
    str_printf(&code, "print(sum(range(%d)))", numbers);
    vec_push(&s->attacks,
             (attack){ .name = xstrdup(" a bystander"), .code = { str_take(&code), NULL }, .bystander = numbers });
}

static suite read_suite(void)
{
    static const char MARK[] = "\n### ";
    suite s = { 0 };
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/tests/attacks", getenv("TROUPE_SOURCE"));
    s.prelude = test_file_read(folder, "prelude.py");
    char *text = test_file_read(folder, "attacks.txt");
    const char *first = strstr(text, "\n### call") + 1;
    for (const char *p = first; p;) {
        const char *next = strstr(p, MARK);
        add_attack(&s, p + strlen(MARK) - 1, next ? next + 1 : p + strlen(p));
        if (s.attacks.len % BYSTANDER_EVERY == 0) add_bystander(&s, 1000 + (int)s.attacks.len);
        p = next ? next + 1 : NULL;
    }
    free(text);
    assert_true(s.attacks.len >= MIN_ATTACKS);
    return s;
}

static void free_suite(suite *s)
{
    for (size_t i = 0; i < s->attacks.len; i++) {
        free(s->attacks.data[i].name);
        free(s->attacks.data[i].code[0]);
        free(s->attacks.data[i].code[1]);
    }
    vec_free(&s->attacks);
    free(s->prelude);
}

/* ---- the host ---- */

static uint64_t SEEN; /* nftw takes no argument */

static int add_file(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    const int64_t numbers[] = { (int64_t)st->st_mode, st->st_uid, st->st_size, st->st_mtim.tv_sec,
                                st->st_mtim.tv_nsec };
    (void)kind, (void)where;
    SEEN = hash_bytes(path, strlen(path), hash_bytes(numbers, sizeof numbers, SEEN));
    return 0;
}

/* What no attack may change: the shared folders of programs, python's library, the device nodes. */
static uint64_t host_state(void)
{
    static const char *const PLACES[] = { "/usr/local", "/usr/lib/python3", "/usr/lib/python3.11",
                                          "/dev/null",  "/dev/zero",        "/dev/urandom" };
    SEEN = 1;
    for (size_t i = 0; i < sizeof PLACES / sizeof *PLACES; i++) nftw(PLACES[i], add_file, 32, FTW_PHYS);
    return SEEN;
}

static void find_traces(void)
{
    static const char *const PLACES[] = { "/",        "/tmp",  "/var/tmp", "/dev", "/dev/shm", "/usr",
                                          "/usr/lib", "/root", "/home",    "/run", "." };
    for (size_t i = 0; i < sizeof PLACES / sizeof *PLACES; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/troupe_escape", PLACES[i]);
        if (access(path, F_OK) == 0) fail_msg("%s was written", path);
    }
}

/* ---- all of them ---- */

static void begin(suite *s, router *r, attack *a)
{
    str code = { 0 }, arguments = { 0 };
    str_printf(&code, "%s%s", s->prelude, a->code[a->step]);
    str_puts(&arguments, "{\"code\": ");
    str_json(&arguments, code.data, code.len);
    str_putc(&arguments, '}');
    a->call = router_begin(r, "python", arguments.data, NULL, clock_ms());
    str_free(&code);
    str_free(&arguments);
}

/* A bystander's sum is right; what runs until it is stopped was stopped. */
static bool as_expected(const attack *a, const tool_result *t)
{
    char sum[32];
    snprintf(sum, sizeof sum, "%d", a->bystander * (a->bystander - 1) / 2);
    if (a->bystander) return t->ok && strcmp(t->text, sum) == 0;
    return !t->ok || (strncmp(a->name, " hang", 5) != 0 && strncmp(a->name, " stall", 6) != 0);
}

/* True when the attack is over. */
static bool judge(suite *s, router *r, attack *a, const tool_result *t)
{
    if (!as_expected(a, t)) print_message("WRONG %s: %s\n", a->name, t->text), s->wrong++;
    if (t->failed != FAIL_NONE) print_message("LOST %s: %s\n", a->name, t->text), s->lost++;
    if (strstr(t->text, "ESCAPED")) print_message("%s: %s\n", a->name, t->text), s->escaped++;
    if (++a->step == 2 || !a->code[a->step]) return true;
    begin(s, r, a);
    return false;
}

static void wait_turn(router *r)
{
    struct pollfd fds[AT_ONCE + 8];
    const int n = router_fds(r, fds, AT_ONCE + 8);
    const int64_t left = router_deadline_ms(r) - clock_ms();
    poll(fds, (nfds_t)n, left < 0 ? 0 : left > 200 ? 200 : (int)left);
}

static void run_all(suite *s, router *r)
{
    const int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    size_t open = s->attacks.len;
    for (size_t i = 0; i < s->attacks.len; i++) begin(s, r, &s->attacks.data[i]);
    while (open > 0) {
        tool_result t;
        while (router_poll(r, clock_ms(), &t, 1) == 1) {
            for (size_t i = 0; i < s->attacks.len; i++)
                if (s->attacks.data[i].call == t.call) {
                    open -= judge(s, r, &s->attacks.data[i], &t);
                    break;
                }
            free(t.text);
        }
        if (clock_ms() > deadline_ms) fail_msg("%zu attacks hang", open);
        wait_turn(r);
    }
}

static void attack_all(void)
{
    error err = { 0 };
    tool python;
    const box_config limits = { .timeout_ms = 600, .memory_mb = 128, .output_bytes = 4096, .mode = (box_mode)MODE };
    suite s = read_suite();
    router *r = router_new(NULL);
    const uint64_t before = host_state();
    const int rc = python_tool(&limits, AT_ONCE, &python, &err);
    if (rc == ERR_UNSUPPORTED) print_message("no sandbox on this machine: %s\n", err.text), skip();
    test_ok(rc, &err);
    test_ok(router_add(r, &python, &err), &err);
    run_all(&s, r);
    router_free(r);
    if (s.escaped || s.lost || s.wrong)
        fail_msg("%d attacks got out, %d took the sandbox with them, %d ends are wrong", s.escaped, s.lost, s.wrong);
    find_traces();
    assert_true(host_state() == before);
    print_message("%zu attacks, nothing got out\n", s.attacks.len);
    free_suite(&s);
}

static void nothing_gets_out(void **state)
{
    (void)state;
    attack_all();
}

/* The same by a user who is not root: in a process of its own, as there is no way back. */
static void nothing_gets_out_of_a_plain_users_box(void **state)
{
    (void)state;
    if (geteuid() != 0) skip();
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(nothing_gets_out) };
        if (setgid(PLAIN_USER) != 0 || setuid(PLAIN_USER) != 0) _exit(99);
        const int failed = cmocka_run_group_tests_name("plain user", tests, NULL, NULL);
        fflush(NULL);
        _exit(failed);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_gets_out),
        cmocka_unit_test(nothing_gets_out_of_a_plain_users_box),
    };
    int failed = 0;
    for (MODE = BOX_AUTO; MODE <= BOX_LANDLOCK; MODE++)
        failed += cmocka_run_group_tests_name(MODE == BOX_AUTO ? "auto" : "landlock", tests, NULL, NULL);
    return failed;
}
