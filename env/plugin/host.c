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
#include "env/program.h"
#include "env/world/words.h"

typedef struct hosting {
    plugin plugin;
    error broken; /* why the file can't be used; OK: it can */
    FILE *asked, *answers;
} hosting;

/* ---- answers ---- */

static json_t *answer_to(hosting *h, const char *method, const json_t *message, error *err)
{
    plugin *p = &h->plugin;
    const char *name = json_string_value(json_object_get(message, "episode"));
    if (strcmp(method, "open") == 0) return p->open(p->self, json_object_get(message, "config"), err);
    if (name && strcmp(method, "reset") == 0) {
        const json_int_t seed = json_integer_value(json_object_get(message, "seed"));
        return p->reset(p->self, name, json_object_get(message, "row"), seed, err);
    }
    if (name && strcmp(method, "step") == 0) return p->step(p->self, name, (json_t *)(uintptr_t)message, err);
    error_set(err, ERR_PARSE, "a request of the method '%.40s' is not known", method);
    return NULL;
}

/* Read as the actor will read it: said to the actor, an answer that is none would end this process, and with it all the
 * episodes that it plays. NULL: it is none. Takes `answer`. */
static json_t *checked(const char *method, json_t *answer, error *err)
{
    tool_result outcome = { 0 };
    char *opening = NULL;
    int rc = OK;
    if (!answer) return NULL;
    if (strcmp(method, "step") == 0) rc = world_hear_step(answer, &outcome, err);
    if (strcmp(method, "reset") == 0) rc = (opening = world_hear_opening(answer, err)) ? OK : ERR_PEER;
    tool_result_reset(&outcome);
    free(opening);
    if (rc == OK) return answer;
    json_decref(answer);
    return NULL;
}

/* Takes `answer`. */
static char *line_of(json_t *answer, const json_t *id)
{
    json_object_set(answer, "id", (json_t *)(uintptr_t)id);
    char *line = json_text(answer, true); /* a table of Lua's has another order in each process */
    json_decref(answer);
    return line;
}

static void say(hosting *h, json_t *answer, const json_t *id)
{
    char *line = line_of(answer, id);
    if (strlen(line) > PROGRAM_MAX_LINE) {
        free(line);
        line = line_of(
            json_pack("{s:o}", "error", json_sprintf("an answer of more than %d MB", PROGRAM_MAX_LINE >> 20)), id);
    }
    fprintf(h->answers, "%s\n", line);
    fflush(h->answers); /* who has asked waits for it */
    free(line);
}

static void hear(hosting *h, const char *line, size_t len)
{
    error err = h->broken;
    json_t *message = json_parse(line, len, "a line of stdin", NULL);
    const char *method = json_string_value(json_object_get(message, "method"));
    const json_t *id = json_object_get(message, "id");
    if (method && strcmp(method, "close") == 0) {
        const char *name = json_string_value(json_object_get(message, "episode"));
        if (name && err.code == OK) h->plugin.close(h->plugin.self, name);
    } else if (method && id) {
        json_t *answer = err.code == OK ? checked(method, answer_to(h, method, message, &err), &err) : NULL;
        say(h, answer ? answer : json_pack("{s:o}", "error", json_bytes(err.text)), id);
    } /* anything else is none of the protocol's messages */
    json_decref(message);
}

/* ---- the process ---- */

/* A plugin's printf must not stand among the answers, and its scanf, or a program that it starts, takes no requests. */
static int keep_streams(hosting *h, error *err)
{
    const int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3), out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (in < 0 || out < 0 || nothing < 0) return error_sys(err, errno, "stdin and stdout");
    dup2(nothing, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    close(nothing);
    setvbuf(stdout, NULL, _IOLBF, 0); /* what it prints is in the log before what it does next */
    h->asked = fdopen(in, "r");
    h->answers = fdopen(out, "w");
    return h->asked && h->answers ? OK : error_sys(err, errno, "stdin and stdout");
}

static bool ends_with(const char *path, const char *end)
{
    const size_t n = strlen(path), k = strlen(end);
    return n > k && strcmp(path + n - k, end) == 0;
}

static int open_file(hosting *h, const char *path, const plugin_limits *limits, error *err)
{
    if (ends_with(path, ".lua")) return plugin_open_lua(path, limits, &h->plugin, err);
    if (ends_with(path, ".so")) return plugin_open_native(path, limits, &h->plugin, err);
    return error_set(err, ERR_UNSUPPORTED, "%s is neither .lua nor .so", path);
}

int plugin_serve(const char *path, const plugin_limits *limits, error *err)
{
    hosting h = { 0 };
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len;
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    int rc = keep_streams(&h, err);
    if (rc != OK) return rc;

    open_file(&h, path, limits, &h.broken);
    while (!ferror(h.answers) && (len = getline(&line, &capacity, h.asked)) > 0) hear(&h, line, (size_t)len);
    if (ferror(h.answers)) rc = error_set(err, ERR_PEER, "%s: it has closed what its answers go to", path);

    if (h.broken.code == OK) h.plugin.free(h.plugin.self);
    free(line);
    fclose(h.asked);
    fclose(h.answers);
    return rc;
}
