/* SPDX-License-Identifier: MIT */
/* Hostile environments (hostile_plugin.c, tests/attacks/hostile.lua) against the process that plays them, as root and
 * as a plain user: nothing gets out, what is left of them is nothing, and those who play beside them play on. The same
 * without a sandbox shows that the attempts are real. This program is the process: "env-host FILE SANDBOX". */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "env/plugin/plugin.h"
#include "env/sandbox/landlock.h"
#include "env/tools/environment.h"
#include "tests/support/played.h"
#include "tests/support/support.h"

enum { PLAIN_USER = 12345, MEMORY_MB = 256, MIN_ATTACKS = 90, MIN_REAL = 40, MIN_LUA = 40, LONG_PATH = 1200 };

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
static const bool SANITIZED = true; /* addresses can't be limited */
#else
static const bool SANITIZED = false;
#endif

/* ---- where it happens ---- */

typedef struct scene {
    char *folder, *options;
    char plugin[LONG_PATH];
    pid_t victim;
    int listening;
} scene;

static int listen_here(int *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof at;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static pid_t start_victim(void)
{
    const pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (true) pause();
    }
    assert_true(pid > 0);
    return pid;
}

static void copy_plugin(const char *folder, char path[LONG_PATH])
{
    error err = { 0 };
    char built[LONG_PATH];
    size_t len;
    snprintf(built, sizeof built, "%.600s/env/hostile_plugin.so", getenv("TROUPE_BUILD"));
    char *bytes = file_read(built, 1 << 24, &len, &err);
    if (!bytes) fail_msg("%s", err.text);
    snprintf(path, LONG_PATH, "%.600s/hostile_plugin.so", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    fclose(f);
    free(bytes);
}

static void clear_traces(void)
{
    unlink("/tmp/troupe_escape");
    unlink("/dev/shm/troupe_escape");
}

static scene set_scene(void)
{
    int port;
    char own[LONG_PATH], path[LONG_PATH];
    scene s = { .folder = test_folder_new(), .victim = start_victim(), .listening = listen_here(&port) };
    str options = { 0 };
    clear_traces();
    snprintf(own, sizeof own, "%.500s/own", s.folder);
    mkdir(own, 0755);
    copy_plugin(own, s.plugin);
    test_file_write(own, "own.txt", "mine");
    test_file_write(s.folder, "secret.txt", "a secret");
    snprintf(path, sizeof path, "%.600s/link", own);
    assert_int_equal(symlink("../secret.txt", path), 0);
    snprintf(path, sizeof path, "%.500s/scratch", s.folder);
    mkdir(path, 0777);
    test_file_write(path, "kept.txt", "kept");
    str_printf(&options,
               "{\"own\": \"%s\", \"secret\": \"%s/secret.txt\", \"scratch\": \"%s\", \"victim\": \"%d\", "
               "\"port\": \"%d\"}",
               own, s.folder, path, (int)s.victim, port);
    s.options = str_take(&options);
    return s;
}

static void expect_file(const char *folder, const char *name, const char *text)
{
    char *found = test_file_read(folder, name);
    assert_string_equal(found, text);
    free(found);
}

/* Everything is as it was. */
static void check_scene(const scene *s)
{
    static const char *const TRACES[] = { "/tmp/troupe_escape", "/dev/shm/troupe_escape" };
    char path[LONG_PATH];
    expect_file(s->folder, "secret.txt", "a secret");
    expect_file(s->folder, "scratch/kept.txt", "kept");
    snprintf(path, sizeof path, "%.500s/scratch", s->folder);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_nlink, 2); /* no folder in it */
    for (size_t i = 0; i < sizeof TRACES / sizeof *TRACES; i++)
        if (access(TRACES[i], F_OK) == 0) fail_msg("%s was written", TRACES[i]);
    assert_true(accept(s->listening, NULL, NULL) < 0);
    assert_int_equal(waitpid(s->victim, NULL, WNOHANG), 0);
}

static void clear_scene(scene *s)
{
    clear_traces();
    kill(s->victim, SIGKILL);
    waitpid(s->victim, NULL, 0);
    close(s->listening);
    free(s->options);
    test_folder_remove(s->folder);
}

/* ---- playing ---- */

static router *played(const char *file, const char *options, const char *sandbox, int timeout_ms)
{
    error err = { 0 };
    char self[1024];
    test_ok(process_self_path(self, sizeof self, &err), &err);
    const char *const command[] = { self, "env-host", file, sandbox, NULL };
    const world_config config = { .command = command,
                                  .name = "the game",
                                  .options = options,
                                  .instances = 2,
                                  .at_once = 1,
                                  .timeout_ms = timeout_ms,
                                  .start_ms = 10000 };
    router *r = router_new(NULL);
    test_ok(environment_add(r, &config, false, &err), &err);
    return r;
}

/* How many of the attempts got out, up to the first whose name begins with `until`. */
static int attack_all(router *r, const char *format, int first, int n, const char *until)
{
    int escaped = 0;
    free(begun(r, 1));
    for (int i = first; i < first + n; i++) {
        char text[40];
        snprintf(text, sizeof text, format, i);
        tool_result t = result_of(r, begin_say(r, 1, text));
        const bool out = strstr(t.text, "ESCAPED") != NULL, over = until && strncmp(t.text, until, strlen(until)) == 0;
        if (!out && (t.failed || !strstr(t.text, ": held"))) fail_msg("%s: %s", text, t.text);
        if (out && !until) print_message("%s\n", t.text);
        tool_result_reset(&t);
        escaped += out;
        if (over) break;
    }
    router_leave(r, 1);
    return escaped;
}

static int count(router *r, uint64_t play)
{
    free(begun(r, play));
    tool_result t = result_of(r, begin_say(r, play, "count"));
    const int n = atoi(t.text);
    tool_result_reset(&t);
    router_leave(r, play);
    return n;
}

/* ---- the shared object ---- */

static void a_shared_object_stays_inside(void **state)
{
    (void)state;
    if (landlock_version() == 0) skip();
    scene s = set_scene();
    router *r = played(s.plugin, s.options, "auto", 20000);
    const int n = count(r, 9);
    assert_true(n >= MIN_ATTACKS);
    const int escaped = attack_all(r, "attack %d", 0, n, NULL);
    assert_int_equal(escaped, SANITIZED ? 1 : 0); /* hoards_memory */
    free(begun(r, 2));
    expect_said(r, 2, "own file", FAIL_NONE, "heard");
    expect_said(r, 2, "threads", FAIL_NONE, "1 of OpenMP");
    expect_said(r, 2, "stop", FAIL_NONE, "went on");
    router_free(r);
    check_scene(&s);
    clear_scene(&s);
}

/* What is refused above is refused by the sandbox. */
static void without_a_sandbox_it_gets_out(void **state)
{
    (void)state;
    scene s = set_scene();
    router *r = played(s.plugin, s.options, "none", 20000);
    const int n = count(r, 9), escaped = attack_all(r, "attack %d", 0, n, "kills");
    if (escaped < MIN_REAL) fail_msg("%d attempts are real", escaped);
    router_free(r);
    clear_scene(&s);
}

/* One that can't be refused a step ends, and costs its own episode. */
static void what_does_not_end_is_ended(void **state)
{
    (void)state;
    static const struct {
        const char *says, *why;
    } CASES[] = {
        { "hang", "no answer to a step within" },
        { "flood 1", "no answer to a step within" },
        { "flood 4", "says a line of more than" },
        { "other processor", "has ended (killed by signal" },
    };
    scene s = set_scene();
    router *r = played(s.plugin, s.options, "auto", 3000);
    free(begun(r, 1));
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        free(begun(r, 2 + i));
        expect_said(r, 2 + i, CASES[i].says, FAIL_TOOL_LOST, CASES[i].why);
        router_leave(r, 2 + i);
        expect_said(r, 1, "hello", FAIL_NONE, "heard");
    }
    router_free(r);
    check_scene(&s);
    clear_scene(&s);
}

/* ---- Lua ---- */

static void lua_stays_inside(void **state)
{
    (void)state;
    static const char *const LAST[] = { "loop", "hoard", "flood" };
    char path[LONG_PATH];
    scene s = set_scene();
    snprintf(path, sizeof path, "%.600s/tests/attacks/hostile.lua", getenv("TROUPE_SOURCE"));
    router *r = played(path, "{}", "auto", 40000);
    const int n = count(r, 8);
    assert_true(n >= MIN_LUA);
    free(begun(r, 9));
    for (int i = 1; i <= n; i++) /* each in a state of its own: some end it */
        assert_int_equal(attack_all(r, "%d", i, 1, NULL), 0);
    for (size_t i = 0; i < sizeof LAST / sizeof *LAST; i++) {
        free(begun(r, 2 + i));
        tool_result t = result_of(r, begin_say(r, 2 + i, LAST[i]));
        assert_int_equal(t.failed, FAIL_TOOL_LOST);
        tool_result_reset(&t);
        router_leave(r, 2 + i);
        expect_said(r, 9, "hello", FAIL_NONE, "fine");
    }
    router_free(r);
    check_scene(&s);
    clear_scene(&s);
}

/* ---- as whom ---- */

static const struct CMUnitTest TESTS[] = {
    cmocka_unit_test(a_shared_object_stays_inside),
    cmocka_unit_test(without_a_sandbox_it_gets_out),
    cmocka_unit_test(what_does_not_end_is_ended),
    cmocka_unit_test(lua_stays_inside),
};

/* In a process of its own, as there is no way back. */
static int run_as_plain_user(void)
{
    int status = 0;
    if (geteuid() != 0) return 0;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        if (setgid(PLAIN_USER) != 0 || setuid(PLAIN_USER) != 0) _exit(99);
        const int failed = cmocka_run_group_tests_name("plain user", TESTS, NULL, NULL);
        fflush(NULL);
        _exit(failed);
    }
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    error err = { 0 };
    if (argc == 4 && strcmp(argv[1], "env-host") == 0) {
        const bool locked = strcmp(argv[3], "auto") == 0;
        const plugin_limits limits = { locked ? PLUGIN_AUTO : PLUGIN_NONE, MEMORY_MB };
        return plugin_serve(argv[2], &limits, &err) == OK ? 0 : 1;
    }
    setenv("TROUPE_TEST_TOKEN", "a secret", 1); /* as those of registries that a user exports */
    const int failed = cmocka_run_group_tests_name("as we are", TESTS, NULL, NULL);
    return failed + run_as_plain_user();
}
