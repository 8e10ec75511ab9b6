/* SPDX-License-Identifier: MIT */
/* The process of a plugin (plugin.h): lines in, lines out. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "env/plugin/plugin.h"

typedef struct hosting {
    plugin plugin;
    error broken; /* why the file can't be used; OK: it can */
    FILE *answers;
} hosting;

/* ---- answers ---- */

static json_t *answer_to(hosting *h, const char *method, const json_t *message, error *err)
{
    plugin *p = &h->plugin;
    const char *episode = json_string_value(json_object_get(message, "episode"));
    if (strcmp(method, "open") == 0) return p->open(p->self, json_object_get(message, "config"), err);
    if (episode && strcmp(method, "reset") == 0) {
        const json_int_t seed = json_integer_value(json_object_get(message, "seed"));
        return p->reset(p->self, episode, json_object_get(message, "row"), seed, err);
    }
    if (episode && strcmp(method, "step") == 0) return p->step(p->self, episode, (json_t *)(uintptr_t)message, err);
    error_set(err, ERR_PARSE, "a request of the method '%.40s' is not known", method);
    return NULL;
}

static void say(hosting *h, json_t *answer, const json_t *id)
{
    json_object_set(answer, "id", (json_t *)(uintptr_t)id);
    char *line = json_text(answer, true); /* a table of Lua's has another order in each process */
    fprintf(h->answers, "%s\n", line);
    fflush(h->answers); /* who has asked waits for it */
    free(line);
    json_decref(answer);
}

static void hear(hosting *h, const char *line, size_t len)
{
    error err = h->broken;
    json_t *message = json_parse(line, len, "a line of stdin", NULL);
    const char *method = json_string_value(json_object_get(message, "method"));
    const json_t *id = json_object_get(message, "id");
    if (method && strcmp(method, "close") == 0) {
        const char *episode = json_string_value(json_object_get(message, "episode"));
        if (episode && err.code == OK) h->plugin.close(h->plugin.self, episode);
    } else if (method && id) {
        json_t *answer = err.code == OK ? answer_to(h, method, message, &err) : NULL;
        say(h, answer ? answer : json_pack("{s:o}", "error", json_bytes(err.text)), id);
    } /* anything else is none of the protocol's messages */
    json_decref(message);
}

/* ---- the process ---- */

/* A plugin's printf must not stand among the answers. */
static int keep_stdout(hosting *h, error *err)
{
    const int own = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (own < 0) return error_sys(err, errno, "stdout");
    dup2(STDERR_FILENO, STDOUT_FILENO);
    h->answers = fdopen(own, "w");
    return h->answers ? OK : error_sys(err, errno, "stdout");
}

static bool ends_with(const char *path, const char *end)
{
    const size_t n = strlen(path), k = strlen(end);
    return n > k && strcmp(path + n - k, end) == 0;
}

static int open_file(hosting *h, const char *path, error *err)
{
    if (ends_with(path, ".lua")) return plugin_open_lua(path, &h->plugin, err);
    if (ends_with(path, ".so")) return plugin_open_native(path, &h->plugin, err);
    return error_set(err, ERR_UNSUPPORTED, "%s is neither .lua nor .so", path);
}

int plugin_serve(const char *path, error *err)
{
    hosting h = { 0 };
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len;
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    const int rc = keep_stdout(&h, err);
    if (rc != OK) return rc;

    open_file(&h, path, &h.broken);
    while ((len = getline(&line, &capacity, stdin)) > 0) hear(&h, line, (size_t)len);

    if (h.broken.code == OK) h.plugin.free(h.plugin.self);
    free(line);
    fclose(h.answers);
    return OK;
}
