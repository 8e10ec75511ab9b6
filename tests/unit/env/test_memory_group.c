/* SPDX-License-Identifier: MIT */
/* Groups that limit memory: where they are looked for on machines of all kinds, and, on a machine where they are
 * permitted (by root, or `systemd-run --user --scope -p Delegate=yes`), that they hold and that none is left. */
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "env/router.h"
#include "env/sandbox/box.h"
#include "env/sandbox/group_place.h"
#include "env/sandbox/memory_group.h"
#include "env/sandbox/verdict.h"
#include "env/tools/python.h"
#include "tests/support/support.h"

enum { PATIENCE_MS = 60000, MAX_PATH = 1200 };

/* ---- where it is ---- */

typedef struct machine {
    const char *name, *mountinfo, *cgroup;
    const char *folder; /* NULL: refused */
    const char *why;
} machine;

#define PROC "22 29 0:21 / /proc rw,nosuid - proc proc rw\n"
#define UNIFIED "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"

static const machine MACHINES[] = {
    { "systemd", PROC UNIFIED, "0::/user.slice/user-0.slice/session-3.scope\n",
      "/sys/fs/cgroup/user.slice/user-0.slice/session-3.scope", NULL },
    { "a delegated scope", PROC UNIFIED, "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-u7.scope\n",
      "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/run-u7.scope", NULL },
    { "hybrid",
      PROC "32 31 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
           "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
      "4:memory:/user.slice\n1:name=systemd:/user.slice/session-3.scope\n0::/user.slice/session-3.scope\n",
      "/sys/fs/cgroup/unified/user.slice/session-3.scope", NULL },
    { "version 1 alone", PROC "32 31 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
      "4:memory:/\n1:name=systemd:/\n", NULL, "no cgroup v2 hierarchy" },
    { "not mounted", PROC, "0::/\n", NULL, "no cgroup v2 hierarchy is mounted" },
    { "docker, a namespace of its own", PROC "1 2 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n", "0::/\n",
      "/sys/fs/cgroup", NULL },
    { "docker, the host's namespace", "1 2 0:26 /docker/0a1b /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n",
      "0::/docker/0a1b\n", "/sys/fs/cgroup", NULL },
    { "docker, a group below its own", "1 2 0:26 /docker/0a1b /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
      "0::/docker/0a1b/work\n", "/sys/fs/cgroup/work", NULL },
    { "another container's mount", "1 2 0:26 /docker/0a /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/docker/0a1b\n",
      NULL, "outside of what is mounted" },
    { "the second mount shows it",
      "1 2 0:26 /docker/0a /mnt rw - cgroup2 cgroup rw\n2 2 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
      "0::/docker/0a1b\n", "/sys/fs/cgroup/docker/0a1b", NULL },
    { "outside of the namespace", UNIFIED, "0::/../session-3.scope\n", NULL, "outside of this cgroup namespace" },
    { "a blank in the path", "1 2 0:26 / /my\\040groups rw - cgroup2 cgroup rw\n", "0::/a b\n", "/my groups/a b",
      NULL },
    { "a folder of that name", "1 2 0:26 / /x rw - ext4 /cgroup2 rw\n", "0::/\n", NULL, "is mounted" },
    { "cut off", "1 2 0:26", "0::", NULL, "is mounted" },
    { "nothing", "", "", NULL, "no cgroup v2 hierarchy" },
};

static void the_group_is_found_on_machines_of_all_kinds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof MACHINES / sizeof *MACHINES; i++) {
        const machine *m = &MACHINES[i];
        char folder[MAX_PATH] = "";
        error err = { 0 };
        const int rc = group_place_find(m->mountinfo, m->cgroup, folder, sizeof folder, &err);
        if (rc != (m->folder ? OK : ERR_UNSUPPORTED)) fail_msg("%s: %d: %s%s", m->name, rc, folder, err.text);
        if (m->folder && strcmp(folder, m->folder) != 0) fail_msg("%s: found %s", m->name, folder);
        if (!m->folder && !strstr(err.text, m->why)) fail_msg("%s: %s", m->name, err.text);
    }
}

/* ---- that it holds ---- */

static const char PIECES[] = "print('before', flush=True)\nx = []\n"
                             "while len(x) < 1 << 14: x.append(bytearray(1 << 16))\nprint('all of it')";

/* Skips, aloud, where groups are not permitted. */
static box *grouped_box(box_mode mode)
{
    const box_config limits = { .timeout_ms = 20000, .memory_mb = 64, .mode = mode };
    error err = { 0 };
    box *b = box_new(&limits, &err);
    if (!b || !box_grouped(b)) {
        print_message("not tried: %s\n", b ? box_memory(b) : err.text);
        box_free(b);
        skip();
    }
    return b;
}

static box_result run(box *b, const char *code)
{
    box_result result = { 0 };
    error err = { 0 };
    const int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    test_ok(box_begin(b, 1, 1, code, strlen(code), clock_ms(), &err), &err);
    while (box_poll(b, clock_ms(), &result, 1) == 0) {
        struct pollfd fds[4];
        poll(fds, (nfds_t)box_fds(b, fds, 4), 200);
        if (clock_ms() > deadline_ms) fail_msg("a call never came back");
    }
    return result;
}

static void expect(box *b, const char *code, box_outcome outcome, const char *output)
{
    box_result r = run(b, code);
    if (r.outcome != outcome || !strstr(r.output, output))
        fail_msg("%s: expected outcome %d and '%s', found %d: %s", code, (int)outcome, output, (int)r.outcome,
                 r.output);
    free(r.output);
}

static void folder_of(const box *b, char *out)
{
    assert_int_equal(sscanf(box_memory(b), "cgroup v2 (%1000[^)])", out), 1);
    assert_true(dir_exists(out));
}

static int leaves_of(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += strncmp(e->d_name, "call-", 5) == 0;
    closedir(d);
    return n;
}

static void what_exceeds_its_group_is_the_codes_own_doing(void **state)
{
    (void)state;
    for (int mode = BOX_AUTO; mode <= BOX_NONE; mode++) {
        char folder[MAX_PATH];
        box *b = grouped_box((box_mode)mode);
        folder_of(b, folder);

        box_loosen(b, true, true);
        expect(b, PIECES, BOX_MEMORY, "before\n");
        expect(b, "x = bytearray(40 << 20)\nprint(len(x))", BOX_OK, "41943040");

        box_loosen(b, false, true); /* as where there is no group: an exception, which the code can catch */
        expect(b, PIECES, BOX_RAISED, "MemoryError");
        assert_int_equal(leaves_of(folder), 0);

        box_free(b);
        assert_false(dir_exists(folder));
    }
}

/* Without isolation a call may have processes: each keeps to its own limit on addresses, all of them together do
 * not. */
static void processes_of_a_call_share_its_limit_and_its_end(void **state)
{
    (void)state;
    static const char FORKS[] =
        "import os, time\nfor i in range(16):\n    if os.fork() == 0:\n"
        "        x = bytes(range(256)) * (40 << 12)\n        time.sleep(15)\n        os._exit(0)\n"
        "time.sleep(15)\nprint('all of it')";
    static const char STAYS[] =
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    os.close(1)\n    os.close(2)\n"
        "    time.sleep(600)\nprint('done')";
    char folder[MAX_PATH];
    box *b = grouped_box(BOX_NONE);
    folder_of(b, folder);
    expect(b, FORKS, BOX_MEMORY, "");
    expect(b, STAYS, BOX_OK, "done"); /* what stays behind is killed, its leaf removed with a later one or the box */
    box_free(b);
    assert_false(dir_exists(folder));
}

/* As the policy reads it: no failure of the machinery. */
static void the_observation_names_the_limit(void **state)
{
    (void)state;
    static const char FORKS[] = "{\"code\": \"import os\\nfor i in range(4): os.fork()\\n"
                                "x = bytes(range(256)) * (40 << 12)\\nimport time\\ntime.sleep(15)\"}";
    const box_config limits = { .timeout_ms = 20000, .memory_mb = 64, .mode = BOX_NONE };
    error err = { 0 };
    tool_result result = { 0 };
    box_free(grouped_box(BOX_NONE));
    router *tools = python_router(&limits, &err);
    assert_non_null(tools);
    test_ok(router_call(tools, PYTHON_NAME, FORKS, &result, &err), &err);
    assert_string_equal(result.text, "error: memory limit of 64 MB exceeded");
    assert_false(result.ok);
    assert_int_equal(result.failed, FAIL_NONE);
    free(result.text);
    router_free(tools);
}

/* ---- that none is left ---- */

static void groups_of_a_killed_owner_go_with_the_next_start(void **state)
{
    (void)state;
    int told[2];
    char folder[MAX_PATH] = "";
    error err = { 0 };
    box_free(grouped_box(BOX_AUTO));
    assert_int_equal(pipe(told), 0);

    const int owner = fork();
    if (owner == 0) {
        static const char CODE[] = "import time\ntime.sleep(15)";
        box *b = grouped_box(BOX_AUTO);
        folder_of(b, folder);
        if (box_begin(b, 1, 1, CODE, strlen(CODE), clock_ms(), &err) != OK) _exit(1);
        if (write(told[1], folder, sizeof folder) != sizeof folder) _exit(1);
        for (;;) pause();
    }
    assert_int_equal(read(told[0], folder, sizeof folder), sizeof folder);
    assert_true(dir_exists(folder));
    box *other = grouped_box(BOX_AUTO); /* while the owner lives, no one takes it away */
    assert_true(dir_exists(folder));

    kill(owner, SIGKILL);
    waitpid(owner, NULL, 0);
    const int64_t deadline_ms = clock_ms() + PATIENCE_MS; /* its processes end a moment later */
    while (dir_exists(folder) && clock_ms() < deadline_ms) {
        memory_group *next = memory_group_open(&err);
        assert_non_null(next);
        memory_group_close(next);
    }
    assert_false(dir_exists(folder));

    expect(other, "print(5)", BOX_OK, "5"); /* nor is a living one's taken away */
    box_free(other);
    close(told[0]);
    close(told[1]);
}

/* One that starts must not take the group of another, made a moment ago, for a dead owner's. */
static void many_that_start_at_once_have_a_group_each(void **state)
{
    (void)state;
    enum { MANY = 12, TIMES = 40 };
    int failed = 0, status;
    box_free(grouped_box(BOX_AUTO));
    for (int i = 0; i < MANY; i++) {
        if (fork() > 0) continue;
        error err = { 0 };
        for (int k = 0; k < TIMES; k++) {
            memory_group *g = memory_group_open(&err);
            if (!g) fprintf(stderr, "%s\n", err.text);
            if (!g || !dir_exists(memory_group_folder(g))) _exit(1);
            memory_group_close(g);
        }
        _exit(0);
    }
    for (int i = 0; i < MANY; i++) failed += wait(&status) < 0 || status != 0;
    assert_int_equal(failed, 0);
}

/* While a process is aside nothing can enter the group that it was started in: at its end it goes back. */
static void who_stepped_aside_steps_back(void **state)
{
    (void)state;
    size_t len;
    error err = { 0 };
    box_free(grouped_box(BOX_AUTO));
    for (int i = 0; i < 2; i++) {
        memory_group *g = memory_group_open(&err);
        if (!g) fail_msg("%s", err.text);
        memory_group_step_back(); /* not while a box is there */
        char *aside = file_read("/proc/self/cgroup", 1 << 16, &len, &err);
        memory_group_close(g);
        memory_group_step_back();
        char *back = file_read("/proc/self/cgroup", 1 << 16, &len, &err);
        const bool was_aside = strstr(aside, "troupe-main-") != NULL, is_back = !strstr(back, "troupe-main-");
        if (was_aside && !is_back) fail_msg("aside %s, back %s", aside, back);
        free(aside);
        free(back);
        if (!was_aside) skip(); /* in a group that hands memory down already */
    }
}

/* That memory was exceeded is found by the box, in the call's group: whoever speaks for the zygote can't make a kill
 * from outside the policy's doing. */
static void no_zygote_says_that_memory_was_exceeded(void **state)
{
    (void)state;
    char message[25] = "D";
    const uint32_t status = SIGKILL, flags = BOX_BEGAN | BOX_EXCEEDED_MEMORY;
    error err = { 0 };
    box_end end;
    int number;
    memcpy(message + 9, &status, 4);
    memcpy(message + 13, &flags, 4);
    test_ok(box_end_parse(message, sizeof message, &end, &err), &err);
    assert_int_equal(box_verdict(&end, false, 1000, &number), BOX_LOST);
    end.flags |= BOX_EXCEEDED_MEMORY;
    assert_int_equal(box_verdict(&end, false, 1000, &number), BOX_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_that_start_at_once_have_a_group_each),
        cmocka_unit_test(who_stepped_aside_steps_back),
        cmocka_unit_test(no_zygote_says_that_memory_was_exceeded),
        cmocka_unit_test(the_group_is_found_on_machines_of_all_kinds),
        cmocka_unit_test(what_exceeds_its_group_is_the_codes_own_doing),
        cmocka_unit_test(processes_of_a_call_share_its_limit_and_its_end),
        cmocka_unit_test(the_observation_names_the_limit),
        cmocka_unit_test(groups_of_a_killed_owner_go_with_the_next_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
