/* SPDX-License-Identifier: MIT */
/* An environment that is a shared object: env/troupe_env.h. */
#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "base/vec.h"
#include "env/plugin/plugin.h"
#include "env/troupe_env.h"

static const char SYMBOL[] = "troupe_environment_v1";

enum { SAID_BYTES = 400 };

typedef struct seat {
    char *name;
    void *episode; /* the plugin's */
} seat;

typedef struct native_plugin {
    char *path;
    void *library;
    const troupe_env_v1 *api;
    void *env; /* the plugin's; NULL: not open */
    vec(seat) seats;
} native_plugin;

/* ---- what it says ---- */

/* A text of the plugin's as JSON. `kind`: JSON_OBJECT, JSON_ARRAY. */
static json_t *read_json(const native_plugin *p, const char *what, const char *text, json_type kind, error *err)
{
    error why = { 0 };
    json_t *v = json_parse(text, strlen(text), what, &why);
    if (v && json_typeof(v) == kind) return v;
    error_set(err, ERR_PEER, "%s: %s", p->path, v ? "" : why.text);
    if (v) error_set(err, ERR_PEER, "%s: %s is no JSON %s", p->path, what, kind == JSON_OBJECT ? "object" : "list");
    json_decref(v);
    return NULL;
}

static int add_json(const native_plugin *p, json_t *answer, const char *key, const char *text, error *err)
{
    json_t *v = text ? read_json(p, key, text, JSON_OBJECT, err) : NULL;
    if (v) json_object_set_new(answer, key, v);
    return !text || v ? OK : ERR_PEER;
}

static json_t *failed(const native_plugin *p, const char *why, error *err)
{
    error_set(err, ERR_PEER, "%s: %.*s", p->path, SAID_BYTES, why);
    return NULL;
}

static json_t *answer_of(const native_plugin *p, const troupe_env_reply *r, error *err)
{
    if (r->error) return failed(p, r->error, err);
    json_t *answer = json_object();
    if (r->observation) json_object_set_new(answer, "observation", json_bytes(r->observation));
    json_object_set_new(answer, "done", json_boolean(r->done));
    json_object_set_new(answer, "ok", json_boolean(r->ok));
    if (isinf(r->reward)) { /* JSON has no word for it */
        json_decref(answer);
        return failed(p, "the reward of a step is infinite", err);
    }
    if (!isnan(r->reward)) json_object_set_new(answer, "reward", json_real(r->reward));
    int rc = add_json(p, answer, "rewards", r->rewards, err);
    if (rc == OK) rc = add_json(p, answer, "info", r->info, err);
    if (rc == OK) return answer;
    json_decref(answer);
    return NULL;
}

static troupe_env_reply no_reply(void)
{
    return (troupe_env_reply){ .size = sizeof(troupe_env_reply), .ok = 1, .reward = NAN };
}

/* ---- as a plugin ---- */

static json_t *open_plugin(void *self, json_t *config, error *err)
{
    native_plugin *p = self;
    char why[SAID_BYTES] = "it says no reason";
    char *text = config ? json_text(config, true) : xstrdup("{}");
    p->env = p->api->open(text, why, sizeof why);
    free(text);
    if (!p->env) {
        why[sizeof why - 1] = 0;
        return failed(p, why, err);
    }
    const char *tools = p->api->tools ? p->api->tools(p->env) : NULL;
    json_t *list = tools ? read_json(p, "tools", tools, JSON_ARRAY, err) : json_array();
    return list ? json_pack("{s:o}", "tools", list) : NULL;
}

static seat *seat_of(native_plugin *p, const char *name)
{
    for (size_t i = 0; i < p->seats.len; i++)
        if (strcmp(p->seats.data[i].name, name) == 0) return &p->seats.data[i];
    return NULL;
}

static void close_episode(void *self, const char *name)
{
    native_plugin *p = self;
    seat *s = seat_of(p, name);
    if (!s) return;
    if (p->api->end) p->api->end(p->env, s->episode);
    free(s->name);
    *s = p->seats.data[--p->seats.len];
}

static json_t *reset(void *self, const char *name, json_t *row, int64_t seed, error *err)
{
    native_plugin *p = self;
    troupe_env_reply reply = no_reply();
    char *text = row ? json_text(row, true) : xstrdup("{}");
    void *episode = p->api->reset(p->env, text, (uint32_t)seed, &reply);
    free(text);
    if (!reply.error) vec_push(&p->seats, (seat){ xstrdup(name), episode });
    json_t *answer = answer_of(p, &reply, err);
    if (!answer) close_episode(p, name);
    return answer;
}

static json_t *step(void *self, const char *name, json_t *told, error *err)
{
    native_plugin *p = self;
    const seat *s = seat_of(p, name);
    if (!s) return failed(p, "a step of an episode that was not reset", err);
    const json_t *call = json_object_get(told, "call");
    const char *text = call ? NULL : json_string_value(json_object_get(told, "text"));
    const char *turn = json_string_value(json_object_get(told, "turn"));
    char *arguments = call ? json_text(json_object_get(call, "arguments"), true) : NULL;
    troupe_env_reply reply = no_reply();
    p->api->step(p->env, s->episode, json_string_value(json_object_get(call, "name")), arguments, text,
                 turn ? turn : "", &reply);
    free(arguments);
    return answer_of(p, &reply, err);
}

static void free_plugin(void *self)
{
    native_plugin *p = self;
    while (p->seats.len > 0) close_episode(p, p->seats.data[0].name);
    if (p->env && p->api->close) p->api->close(p->env);
    if (p->library) dlclose(p->library);
    vec_free(&p->seats);
    free(p->path);
    free(p);
}

/* ---- loading ---- */

/* A file that the sandbox hides looks like one that its user may not read. */
static int not_loaded(const char *why, error *err)
{
    const bool hidden = strstr(why, strerror(EACCES)) != NULL || strstr(why, strerror(EPERM)) != NULL;
    return error_set(err, ERR_UNSUPPORTED, "%s%s", why,
                     hidden ? " (of a library beside the plugin, or of the system's, it would be loaded; or "
                              "env.plugin_sandbox = \"none\")"
                            : "");
}

/* Locked in first: a library's constructors run when it is loaded. */
static int load_locked(native_plugin *p, const char *path, const plugin_limits *limits, error *err)
{
    const int rc = plugin_lock(limits, path, err);
    if (rc != OK) return rc;
    p->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return p->library ? OK : not_loaded(dlerror(), err);
}

static int load(native_plugin *p, const plugin_limits *limits, error *err)
{
    char *path = realpath(p->path, NULL); /* a name without a slash would be looked for elsewhere */
    if (!path) return error_set(err, ERR_NOT_FOUND, "there is no %s", p->path);
    const int rc = load_locked(p, path, limits, err);
    free(path);
    if (rc != OK) return rc;
    p->api = dlsym(p->library, SYMBOL);
    if (!p->api) return error_set(err, ERR_UNSUPPORTED, "%s: it has no %s (env/troupe_env.h)", p->path, SYMBOL);
    if (p->api->size < sizeof *p->api || !p->api->open || !p->api->reset || !p->api->step)
        return error_set(err, ERR_UNSUPPORTED, "%s: %s has a wrong size, or lacks open, reset or step", p->path,
                         SYMBOL);
    return OK;
}

int plugin_open_native(const char *path, const plugin_limits *limits, plugin *out, error *err)
{
    native_plugin *p = xcalloc(1, sizeof *p);
    p->path = xstrdup(path);
    const int rc = load(p, limits, err);
    if (rc != OK) {
        free_plugin(p);
        return rc;
    }
    *out = (plugin){
        .self = p, .open = open_plugin, .reset = reset, .step = step, .close = close_episode, .free = free_plugin
    };
    return OK;
}
