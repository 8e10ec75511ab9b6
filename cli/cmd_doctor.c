/* SPDX-License-Identifier: MIT */
/* troupe doctor: what this machine can and can't do for a run, each with what to do about it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <sqlite3.h>
#include <zmq.h>

#include "base/file.h"
#include "base/held_folder.h"
#include "base/process.h"
#include "cli/verbs.h"
#include "env/sandbox/filter.h"
#include "env/sandbox/proof.h"
#include "env/tools/python.h"
#include "kernels/device.h"

enum { CALLS = 20, MIN_FILES = 1024, MIN_SHM_MB = 64 };

typedef struct report {
    int problems;
} report;

static void say(report *r, bool good, const char *what, const char *detail, const char *advice)
{
    printf("%-4s %-12s %s%s%s\n", good ? "ok" : "BAD", what, detail, good || !advice ? "" : "\n     -> ",
           good || !advice ? "" : advice);
    r->problems += !good;
}

static void check_device(report *r)
{
    error err = { 0 };
    char text[128];
    device *dev = device_open("cpu", 0, &err);
    say(r, dev != NULL, "cpu", dev ? device_name(dev) : err.text, NULL);
    device_close(dev);
    dev = device_open("cuda:0", 0, &err);
    snprintf(text, sizeof text, "%.120s", dev ? device_name(dev) : err.text);
    printf("%-4s %-12s %s\n", dev ? "ok" : "-", "cuda", text); /* not a problem: everything runs without */
    device_close(dev);
}

static void check_memory(report *r)
{
    char text[128];
    const double gb = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / 1e9;
    snprintf(text, sizeof text, "%.1f GB", gb);
    say(r, gb > 1, "memory", text, "small models need 1 GB");
    struct statvfs fs;
    const bool found = statvfs("/dev/shm", &fs) == 0;
    const double mb = found ? (double)fs.f_bavail * (double)fs.f_frsize / 1e6 : 0;
    snprintf(text, sizeof text, found ? "/dev/shm, %.0f MB free" : "there is no /dev/shm", mb);
    say(r, mb > MIN_SHM_MB, "shared mem", text,
        "weights go to actors through it; three versions of the model must fit (docker: --shm-size=1g)");
}

static void check_files(report *r)
{
    char text[128];
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    snprintf(text, sizeof text, "%llu open files", (unsigned long long)limit.rlim_cur);
    say(r, limit.rlim_cur >= MIN_FILES, "limits", text, "raise it: ulimit -n 4096");
}

/* Sockets of a run, and weights where there is no shared memory. */
static void check_temporary(report *r)
{
    error err = { 0 };
    held_folder folder;
    const bool made = held_folder_open(&folder, temporary_root(), "troupe-doctor", &err) == OK;
    say(r, made, "temporary", made ? temporary_root() : err.text,
        "set TMPDIR to a folder that can be written, by an absolute path of at most 64 characters");
    held_folder_close(&folder);
}

/* Runs go without it, with less to go by. */
static void check_proc(report *r)
{
    const bool found = file_exists("/proc/self/stat");
    say(r, found, "proc", found ? "/proc is mounted" : "/proc is not mounted",
        "mount it (mount -t proc proc /proc): without it a role that is stopped, or waits for a disk, is not told from "
        "one that is frozen, memory limits are not seen, and the sandbox has no namespaces");
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The tool as an episode uses it, sandbox and all. */
static void check_python(report *r)
{
    error err = { 0 };
    char text[560];
    double ms[CALLS];
    tool python;
    const box_config limits = { 0 };
    router *tools = router_new(NULL);
    int rc = python_tool(&limits, 0, &python, &err);
    if (rc == OK) rc = router_add(tools, &python, &err);
    for (int i = 0; rc == OK && i < CALLS; i++) {
        tool_result result = { 0 };
        rc = router_call(tools, "python", "{\"code\": \"print(2+2)\"}", &result, &err);
        if (rc == OK && (result.failed != FAIL_NONE || strncmp(result.text, "4", 1) != 0))
            rc = error_set(&err, ERR_PEER, "print(2+2) gave: %.200s", result.text);
        ms[i] = result.ms;
        free(result.text);
    }
    qsort(ms, CALLS, sizeof *ms, ascending);
    snprintf(text, sizeof text, "print(2+2) in its sandbox, p50 %.1f ms", rc == OK ? ms[CALLS / 2] : 0.0);
    say(r, rc == OK, "python tool", rc == OK ? text : err.text,
        "the sandbox needs python3, seccomp, and user namespaces or Landlock (Linux 5.13); without: T.python{ sandbox "
        "= "
        "\"none\" } (no isolation)");
    router_free(tools);
}

/* Value of a line "key value" of the box's report, into `out`. */
static const char *reported(const box *b, const char *key, char *out, size_t size)
{
    const char *line = strstr(box_report(b), key);
    const char *value = line ? line + strlen(key) : "";
    snprintf(out, size, "%.*s", (int)strcspn(value, "\n"), value);
    return out;
}

/* What the sandbox is made of here. That there are no namespaces is no problem, but worth a line with the reason. */
static void print_layers(const box *b)
{
    char why[512], landlock[16];
    const bool namespaces = strcmp(box_layers(b), "namespaces") == 0;
    if (!namespaces)
        printf("-    %-12s none (%s): Landlock stands alone, code has no folder to write in\n", "namespaces",
               reported(b, "\nwhy ", why, sizeof why));
    const bool none = strcmp(reported(b, "\nlandlock ", landlock, sizeof landlock), "0") == 0;
    printf("ok   %-12s %s%s%s, %d system calls allowed\n", "sandbox",
           namespaces ? "user, mount, process, network, ipc, uts, cgroup namespaces; " : "",
           none ? "no Landlock in this kernel" : "Landlock version ", none ? "" : landlock, filter_calls());
}

/* Each layer, tried by breaking it. */
static void check_sandbox(report *r)
{
    const box_config limits = { .timeout_ms = 1500 };
    box_proof proofs[BOX_PROOFS];
    box *b = box_new(&limits, NULL);
    if (!b) return; /* check_python has said why */
    print_layers(b);
    const int n = box_prove(b, proofs);
    for (int i = 0; i < n; i++) {
        char text[400];
        snprintf(text, sizeof text, "%s: %s%.200s", proofs[i].what,
                 proofs[i].held ? "held" : "did not hold: ", proofs[i].held ? "" : proofs[i].found);
        say(r, proofs[i].held, proofs[i].layer, text,
            "please report this, with `uname -r`; until then run no model's code here");
        free(proofs[i].found);
    }
    box_free(b);
}

static void check_libraries(void)
{
    int major, minor, patch;
    zmq_version(&major, &minor, &patch);
    printf("ok   %-12s SQLite %s, ZeroMQ %d.%d.%d\n", "libraries", sqlite3_libversion(), major, minor, patch);
}

static const char USAGE[] = "usage: troupe doctor\n\nChecks processor, memory, limits and the sandbox; "
                            "status 1 when a run would suffer.\n";

static int run_verb(call *c, error *err)
{
    report r = { 0 };
    const int opened = call_open(c, NULL, err);
    if (opened != OK) return opened;
    printf("troupe %s\n", TROUPE_VERSION);
    check_device(&r);
    check_memory(&r);
    check_files(&r);
    check_temporary(&r);
    check_proc(&r);
    check_libraries();
    check_python(&r);
    check_sandbox(&r);
    if (r.problems)
        printf("%d thing%s to look at\n", r.problems, r.problems > 1 ? "s" : "");
    else
        printf("this machine is fit for: make demo\n");
    c->status = r.problems ? 1 : 0;
    return OK;
}

const verb VERB_DOCTOR = {
    .name = "doctor", .help = "what this machine can and can't do", .usage = USAGE, .run = run_verb
};
