/* SPDX-License-Identifier: MIT */
#include "tests/integration/fleet.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "tests/support/support.h"

enum { MAX_WORDS = 64, LOOK_MS = 20, MAX_FILE = 1 << 28 };

static const char *program(void)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/troupe", getenv("TROUPE_BUILD"));
    return path;
}

static const char **argv_of(const char **argv, const char *const *words)
{
    int n = 0;
    argv[n++] = program();
    while (*words && n < MAX_WORDS - 1) argv[n++] = *words++;
    argv[n] = NULL;
    return argv;
}

static int code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

static void read_all(int fd, str *to, int64_t deadline_ms)
{
    char bytes[4096];
    for (;;) {
        struct pollfd pf = { .fd = fd, .events = POLLIN };
        const int64_t left = deadline_ms - clock_ms();
        if (left <= 0 || poll(&pf, 1, (int)left) <= 0) return;
        const ssize_t n = read(fd, bytes, sizeof bytes);
        if (n <= 0) return;
        str_add(to, bytes, (size_t)n);
    }
}

outcome troupe_run(const char *input, int seconds, const char *const *words)
{
    const char *argv[MAX_WORDS];
    process p;
    error err = { 0 };
    str text = { 0 };
    int out[2], in[2], status = -1;
    const int64_t deadline_ms = clock_ms() + seconds * 1000;
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    if (input) assert_true(write(in[1], input, strlen(input)) == (ssize_t)strlen(input)); /* short: fits the pipe */
    close(in[1]);
    const process_options options = { .fd_in = in[0], .fd_out = out[1], .fd_err = out[1], .die_with_parent = true };
    test_ok(process_spawn(&p, argv_of(argv, words), &options, &err), &err);
    close(out[1]);
    close(in[0]);
    read_all(out[0], &text, deadline_ms);
    close(out[0]);
    if (!process_wait(&p, (int)(deadline_ms - clock_ms() + 1000), &status)) {
        process_signal(&p, SIGKILL);
        fail_msg("troupe %s did not end within %d s; it said: %s", words[0], seconds, text.data ? text.data : "");
    }
    return (outcome){ code_of(status), str_take(&text) };
}

void outcome_free(outcome *o)
{
    free(o->text);
    *o = (outcome){ 0 };
}

static char *folder; /* of one test */

int enter_folder(void **state)
{
    (void)state;
    folder = test_folder_new();
    return chdir(folder);
}

int leave_folder(void **state)
{
    (void)state;
    if (chdir("/") != 0) return 1;
    test_folder_remove(folder);
    return 0;
}

outcome shell_run(const char *command)
{
    FILE *f;
    outcome o = { 0 };
    str text = { 0 }, whole = { 0 };
    char block[4096];
    size_t n;
    const char *build = getenv("TROUPE_BUILD"), *source = getenv("TROUPE_SOURCE");
    str_printf(&whole,
               "TROUPE=%s/troupe CALCULATOR=%s/recipes/calculator MODEL=%s/models/stagehand; "
               "RECIPE=$CALCULATOR/recipe.lua REWARD=$CALCULATOR/reward.lua; exec 2>&1 </dev/null; %s",
               build, source, source, command);
    f = popen(whole.data, "r");
    assert_non_null(f);
    while ((n = fread(block, 1, sizeof block, f)) > 0) str_add(&text, block, n);
    const int status = pclose(f);
    o.status = status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
    o.text = str_take(&text);
    str_free(&whole);
    return o;
}

void shell_expect(const char *command, int status, const char *const *says)
{
    outcome o = shell_run(command);
    for (; *says; says++)
        if (!strstr(o.text, *says)) fail_msg("%s: expected '%s' in: %s", command, *says, o.text);
    if (o.status != status) fail_msg("%s: expected status %d, found %d: %s", command, status, o.status, o.text);
    outcome_free(&o);
}

void need_sandbox(void)
{
    outcome o = TROUPE("env", "call", "--tool", "python", "{\"code\": \"print(1)\"}");
    const bool works = o.status == 0;
    if (!works && getenv("TROUPE_NEEDS_SANDBOX")) fail_msg("no sandbox on this machine: %s", o.text);
    if (!works) print_message("no sandbox on this machine: %s\n", o.text);
    outcome_free(&o);
    if (!works) skip();
}

process troupe_start(const char *out_path, const char *const *words)
{
    const char *argv[MAX_WORDS];
    process p;
    error err = { 0 };
    const int fd = open(out_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    const process_options options = {
        .fd_in = -1, .fd_out = fd, .fd_err = fd, .new_group = true, .die_with_parent = true
    };
    test_ok(process_spawn(&p, argv_of(argv, words), &options, &err), &err);
    close(fd);
    return p;
}

int troupe_wait(process *p, int seconds)
{
    int status = -1;
    if (!process_wait(p, seconds * 1000, &status)) {
        process_signal(p, SIGKILL);
        fail_msg("troupe did not end within %d s", seconds);
    }
    return code_of(status);
}

const char **train_words(const char **argv, const char *recipe, const char *run, const char *const *extra)
{
    static const char *const SMALL[] = { "rollout.prompts_per_step=2", "rollout.group=4", "steps=4",
                                         "checkpoint_every=2",         "eval_every=0",    "learner_threads=1" };
    int n = 0;
    argv[n++] = "train";
    argv[n++] = recipe;
    argv[n++] = "--run-dir";
    argv[n++] = run;
    for (size_t i = 0; i < sizeof SMALL / sizeof *SMALL; i++) argv[n++] = SMALL[i];
    while (*extra && n < MAX_WORDS - 2) argv[n++] = *extra++;
    argv[n] = NULL;
    return argv;
}

int metric_values(const char *run, const char *event, const char *key, double *out, int max)
{
    char path[1100];
    size_t len;
    int n = 0;
    char *text = file_read(path_join(path, sizeof path, run, "metrics.jsonl"), MAX_FILE, &len, NULL);
    if (!text) return 0;
    for (char *line = text, *end; (end = memchr(line, '\n', len - (size_t)(line - text))); line = end + 1) {
        json_t *json = json_parse(line, (size_t)(end - line), path, NULL);
        const char *name = json_string_value(json_object_get(json, "event"));
        const json_t *value = json_object_get(json, key);
        if (name && strcmp(name, event) == 0 && json_is_number(value) && n < max) out[n++] = json_number_value(value);
        json_decref(json);
    }
    free(text);
    return n;
}

void wait_for_step(const char *run, int64_t step, int seconds)
{
    const int64_t deadline_ms = clock_ms() + seconds * 1000;
    double steps[256];
    for (;;) {
        const int n = metric_values(run, "step", "step", steps, 256);
        if (n > 0 && steps[n - 1] >= (double)step) return;
        if (clock_ms() > deadline_ms) fail_msg("%s: no step %d within %d s", run, (int)step, seconds);
        poll(NULL, 0, LOOK_MS); /* another process writes the file; there is nothing to wait on */
    }
}

static bool has_words(const char *pid, const char *word, const char *second)
{
    char path[300], text[8192];
    snprintf(path, sizeof path, "/proc/%s/cmdline", pid);
    FILE *f = fopen(path, "re");
    if (!f) return false;
    const size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    for (size_t i = 0; i < n; i++)
        if (!text[i]) text[i] = ' ';
    text[n] = 0;
    return strstr(text, word) && strstr(text, second);
}

int find_processes(const char *word, const char *second, int *pids, int max)
{
    int n = 0;
    DIR *d = opendir("/proc");
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && n < max && has_words(e->d_name, word, second))
            pids[n++] = atoi(e->d_name);
    closedir(d);
    return n;
}

void sockets_of(const char *run, char out[256])
{
    char path[1100];
    error err = { 0 };
    json_t *json = json_parse_file(path_join(path, sizeof path, run, "run.json"), &err);
    assert_non_null(json);
    snprintf(out, 256, "%s", json_string_value(json_object_get(json, "sockets")));
    json_decref(json);
}

char *bytes_of(const char *path, size_t *len)
{
    error err = { 0 };
    char *text = file_read(path, MAX_FILE, len, &err);
    if (!text) fail_msg("%s", err.text);
    return text;
}

/* ---- places ---- */

place place_new(void)
{
    place p;
    p.dir = test_folder_new();
    snprintf(p.run, sizeof p.run, "%s/run", p.dir);
    snprintf(p.out, sizeof p.out, "%s/out", p.dir);
    snprintf(p.recipe, sizeof p.recipe, "%s/recipes/calculator/recipe.lua", getenv("TROUPE_SOURCE"));
    return p;
}

process place_start(const place *p, const char *const *extra)
{
    const char *words[MAX_WORDS];
    return troupe_start(p->out, train_words(words, p->recipe, p->run, extra));
}

static char *model_of(const place *p, int step, size_t *len)
{
    char path[400];
    snprintf(path, sizeof path, "%s/checkpoints/step-%d/model.safetensors", p->run, step);
    return bytes_of(path, len);
}

void assert_same_model(const place *a, const place *b, int step)
{
    size_t n, m;
    char *x = model_of(a, step, &n), *y = model_of(b, step, &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

void assert_nobody_left(const place *p)
{
    int pids[8];
    assert_int_equal(find_processes("troupe", p->run, pids, 8), 0);
}
