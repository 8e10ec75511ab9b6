/* SPDX-License-Identifier: MIT */
#include "run/machine.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zmq.h>

#include "base/file.h"
#include "base/held_folder.h"
#include "env/repeat.h"
#include "env/sandbox/confine.h"
#include "env/sandbox/filter.h"
#include "env/sandbox/landlock.h"
#include "env/sandbox/proof.h"
#include "env/tools/python.h"
#include "kernels/device.h"

enum {
    CALLS = 20,       /* enough for a median; a call takes milliseconds */
    MIN_FILES = 1024, /* Linux's own default: sockets, logs, pidfds and shared weights of a large fleet need hundreds */
    MIN_SHM_MB = 64   /* what docker gives a container that asks for nothing: too little for most models */
};

typedef struct listener {
    void (*say)(void *ctx, const finding *f);
    void *ctx;
} listener;

static void say(const listener *l, finding_kind kind, const char *what, const char *detail, const char *advice)
{
    const finding f = { .kind = kind, .what = what, .detail = detail, .advice = advice };
    l->say(l->ctx, &f);
}

static finding_kind good_if(bool good) { return good ? FINDING_GOOD : FINDING_BAD; }

/* ---- what computes ---- */

static void examine_device(const listener *l, const char *name, const char *what, finding_kind without)
{
    error err = { 0 };
    device *dev = device_open(name, 0, &err);
    if (dev)
        say(l, FINDING_GOOD, what, device_name(dev), NULL);
    else
        say(l, without, what, err.text, NULL);
    device_close(dev);
}

static void examine_memory(const listener *l)
{
    char detail[64];
    const double gb = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / 1e9;
    snprintf(detail, sizeof detail, "%.1f GB", gb);
    say(l, good_if(gb > 1), "memory", detail, "small models need 1 GB");
}

static void examine_shared_memory(const listener *l)
{
    char detail[64] = "there is no /dev/shm";
    struct statvfs fs;
    double mb = 0;
    if (statvfs("/dev/shm", &fs) == 0) {
        mb = (double)fs.f_bavail * (double)fs.f_frsize / 1e6;
        snprintf(detail, sizeof detail, "/dev/shm, %.0f MB free", mb);
    }
    say(l, good_if(mb > MIN_SHM_MB), "shared mem", detail,
        "weights go to actors through it; three versions of the model must fit (docker: --shm-size=1g)");
}

/* ---- what the system lets us do ---- */

static void examine_files(const listener *l)
{
    char detail[64];
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    snprintf(detail, sizeof detail, "%llu open files", (unsigned long long)limit.rlim_cur);
    say(l, good_if(limit.rlim_cur >= MIN_FILES), "limits", detail, "raise it: ulimit -n 4096");
}

/* Sockets of a run, and weights where there is no shared memory. */
static void examine_temporary(const listener *l)
{
    error err = { 0 };
    held_folder folder;
    const bool made = held_folder_open(&folder, temporary_root(), "troupe-doctor", &err) == OK;
    say(l, good_if(made), "temporary", made ? temporary_root() : err.text,
        "set TMPDIR to a folder that can be written, by an absolute path of at most 64 characters");
    held_folder_close(&folder);
}

/* Runs go without it, with less to go by. */
static void examine_proc(const listener *l)
{
    static const char ADVICE[] =
        "mount it (mount -t proc proc /proc): without it a process that is stopped or waits for a disk looks like one "
        "that hangs, memory limits cannot be read, and the sandbox has no namespaces";
    if (file_exists("/proc/self/stat"))
        say(l, FINDING_GOOD, "proc", "/proc is mounted", NULL);
    else
        say(l, FINDING_BAD, "proc", "/proc is not mounted", ADVICE);
}

static void examine_libraries(const listener *l)
{
    char detail[96];
    int major, minor, patch;
    zmq_version(&major, &minor, &patch);
    snprintf(detail, sizeof detail, "SQLite %s, ZeroMQ %d.%d.%d", sqlite3_libversion(), major, minor, patch);
    say(l, FINDING_GOOD, "libraries", detail, NULL);
}

/* ---- the sandbox ---- */

static int call_python(router *tools, double *ms, error *err)
{
    tool_result result = { 0 };
    if (router_call(tools, PYTHON_NAME, "{\"code\": \"print(2+2)\"}", &result, err) != OK) return err->code;

    int rc = OK;
    if (result.failed != FAIL_NONE || strncmp(result.text, "4", 1) != 0)
        rc = error_set(err, ERR_PEER, "print(2+2) gave: %.200s", result.text);
    *ms = result.ms;
    free(result.text);
    return rc;
}

/* The tool as an episode uses it, sandbox and all. */
static void examine_python(const listener *l)
{
    error err = { 0 };
    char detail[80];
    double ms[CALLS] = { 0 };
    const box_config limits = { 0 };
    router *tools = python_router(&limits, &err);
    int rc = tools ? OK : err.code;
    for (int i = 0; rc == OK && i < CALLS; i++) rc = call_python(tools, &ms[i], &err); /* the first starts python */
    router_free(tools);

    snprintf(detail, sizeof detail, "print(2+2) in its sandbox, p50 %.1f ms", latency_of(ms, CALLS).p50);
    say(l, good_if(rc == OK), "python tool", rc == OK ? detail : err.text,
        "the sandbox needs python3, seccomp, and user namespaces or Landlock (Linux 5.13); without: T.python{ sandbox "
        "= \"none\" } (no isolation)");
}

/* Value of a line "key value" of the box's report, into `out`. */
static const char *reported(const box *b, const char *key, char *out, size_t size)
{
    const char *line = strstr(box_report(b), key);
    const char *value = line ? line + strlen(key) : "";
    snprintf(out, size, "%.*s", (int)strcspn(value, "\n"), value);
    return out;
}

/* That there are none is no problem, but worth a line with the reason. */
static void tell_of_namespaces(const listener *l, const box *b)
{
    char why[512], detail[640];
    reported(b, "\nwhy ", why, sizeof why);
    snprintf(detail, sizeof detail, "none (%s): Landlock is the only layer, code has no folder to write in", why);
    say(l, FINDING_ABSENT, "namespaces", detail, NULL);
}

/* What the sandbox is made of here. */
static void tell_of_layers(const listener *l, const box *b)
{
    char version[16], landlock[64] = "no Landlock in this kernel", detail[256];
    const char *namespaces = "user, mount, process, network, ipc, uts, cgroup namespaces; ";
    if (strcmp(box_layers(b), "namespaces") != 0) {
        tell_of_namespaces(l, b);
        namespaces = "";
    }

    if (strcmp(reported(b, "\nlandlock ", version, sizeof version), "0") != 0)
        snprintf(landlock, sizeof landlock, "Landlock version %s", version);
    snprintf(detail, sizeof detail, "%s%s, %d system calls allowed", namespaces, landlock,
             filter_calls(FILTER_OWN_ROOT));
    say(l, FINDING_GOOD, "sandbox", detail, NULL);
}

/* What limits the memory of a call. */
static void tell_of_memory(const listener *l, const box *b)
{
    say(l, box_grouped(b) ? FINDING_GOOD : FINDING_ABSENT, "call memory", box_memory(b), NULL);
}

static void tell_of_proof(const listener *l, const box_proof *p)
{
    char detail[400];
    if (p->held)
        snprintf(detail, sizeof detail, "%s: held", p->what);
    else
        snprintf(detail, sizeof detail, "%s: did not hold: %.200s", p->what, p->found);
    say(l, good_if(p->held), p->layer, detail,
        "please report this, with `uname -r`; until then run no model's code here");
}

/* Each layer, tried by breaking it. */
static void examine_sandbox(const listener *l)
{
    const box_config limits = { .timeout_ms = 1500, .memory_mb = 64 }; /* little, so that filling it takes no time */
    box_proof proofs[BOX_PROOFS];
    box *b = box_new(&limits, NULL);
    if (!b) return; /* examine_python has said why */

    tell_of_layers(l, b);
    tell_of_memory(l, b);
    const int n = box_prove(b, proofs);
    for (int i = 0; i < n; i++) {
        tell_of_proof(l, &proofs[i]);
        free(proofs[i].found);
    }
    box_free(b);
}

/* What the process of an env.plugin is locked in with. */
static void examine_plugins(const listener *l)
{
    error err = { 0 };
    char landlock[96] = "no Landlock in this kernel: a shared object may read what you may", detail[512];
    const int version = landlock_version(), rc = confine_prove(&err);
    if (version > 0) snprintf(landlock, sizeof landlock, "Landlock version %d", version);
    snprintf(detail, sizeof detail, "%s, %d system calls allowed; files, network, processes, signals: %.300s", landlock,
             filter_calls(FILTER_READER), rc == OK ? "held" : err.text);
    say(l, good_if(rc == OK), "plugins", detail,
        "a plugin's sandbox needs seccomp (Linux 3.17), and Landlock (5.13) for a shared object's files; without: "
        "env.plugin_sandbox = \"none\" (no isolation)");
}

void machine_examine(void (*on_finding)(void *ctx, const finding *f), void *ctx)
{
    const listener l = { .say = on_finding, .ctx = ctx };
    examine_device(&l, "cpu", "cpu", FINDING_BAD);
    examine_device(&l, "cuda:0", "cuda", FINDING_ABSENT); /* everything runs without */
    examine_memory(&l);
    examine_shared_memory(&l);
    examine_files(&l);
    examine_temporary(&l);
    examine_proc(&l);
    examine_libraries(&l);
    examine_python(&l);
    examine_sandbox(&l);
    examine_plugins(&l);
}
