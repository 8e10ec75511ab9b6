/* troupe pretrain: next-token training of a base model from documents that a Lua function writes. */
#include <inttypes.h>
#include <lauxlib.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/vec.h"
#include "cli/arguments.h"
#include "cli/verbs.h"
#include "learner/pretrain.h"
#include "lua/vm.h"
#include "model/hf_folder.h"
#include "model/tokenizer/tokenizer.h"

enum { PATH_BYTES = 1024 };

typedef struct pretrain_keys {
    char model[PATH_BYTES], out[PATH_BYTES];
    double steps, tokens_per_step, max_sequence, lr, warmup, weight_decay, init_std, seed, threads, report_every,
        micro_tokens;
} pretrain_keys;

typedef struct session {
    pretrain_keys keys;
    vm *vm;
    int document; /* reference to the generator */
    uint64_t documents;
    tokenizer *tokenizer;
    int32_t eos;
    token_ids ids;
    double progress;
} session;

static volatile sig_atomic_t stop_asked;
static void on_signal(int signal) { (void)signal, stop_asked = 1; }

static int usage(FILE *to)
{
    fprintf(
        to,
        "usage: troupe pretrain PRETRAIN.lua [key=value ...]\n\n"
        "The file returns { model = DIR, document = function(rng, progress) return TEXT end, steps=, ... }: DIR holds\n"
        "config.json and tokenizer.json, rng(n) gives an integer in 1..n, progress goes from 0 to 1.\n\n"
        "keys (and defaults): model, out (= model), steps (1600), tokens_per_step (2048), max_sequence (512), lr "
        "(0.002),\n"
        "  warmup (100), weight_decay (0.01), init_std (1/sqrt(width)), seed (1), threads (0: all cores), report_every "
        "(50),\n  micro_tokens (0: 16384, or what fits half the machine's memory)\n\n"
        "example: troupe pretrain recipes/calculator/pretrain.lua steps=400 out=/tmp/base\n");
    return to == stdout ? 0 : 2;
}

/* ---- the file ---- */

typedef struct number_key {
    const char *name;
    size_t offset;
    double otherwise;
} number_key;

static const number_key NUMBERS[] = {
    { "steps", offsetof(pretrain_keys, steps), 1600 },
    { "tokens_per_step", offsetof(pretrain_keys, tokens_per_step), 2048 },
    { "max_sequence", offsetof(pretrain_keys, max_sequence), 512 },
    { "lr", offsetof(pretrain_keys, lr), 2e-3 },
    { "warmup", offsetof(pretrain_keys, warmup), 100 },
    { "weight_decay", offsetof(pretrain_keys, weight_decay), 0.01 },
    { "init_std", offsetof(pretrain_keys, init_std), 0 },
    { "seed", offsetof(pretrain_keys, seed), 1 },
    { "threads", offsetof(pretrain_keys, threads), 0 },
    { "report_every", offsetof(pretrain_keys, report_every), 50 },
    { "micro_tokens", offsetof(pretrain_keys, micro_tokens), 0 },
};
enum { N_NUMBERS = sizeof NUMBERS / sizeof *NUMBERS };

static double *number_at(pretrain_keys *k, const number_key *key)
{
    return (double *)(void *)((char *)k + key->offset);
}

/* The table on top of the stack; unknown keys may be there for other programs that read the file. */
static int read_table(lua_State *L)
{
    session *s = lua_touserdata(L, 1);
    lua_settop(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, "pretrain");
    luaL_checktype(L, -1, LUA_TTABLE);
    for (int i = 0; i < N_NUMBERS; i++) {
        if (lua_getfield(L, -1, NUMBERS[i].name) != LUA_TNIL)
            *number_at(&s->keys, &NUMBERS[i]) = luaL_checknumber(L, -1);
        lua_pop(L, 1);
    }
    if (lua_getfield(L, -1, "model") == LUA_TNIL) return luaL_error(L, "the table has no model");
    snprintf(s->keys.model, PATH_BYTES, "%s", luaL_checkstring(L, -1));
    lua_pop(L, 1);
    if (lua_getfield(L, -1, "document") != LUA_TFUNCTION) return luaL_error(L, "the table has no function document");
    s->document = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static int apply_override(pretrain_keys *k, const char *text, error *err)
{
    const char *names[N_NUMBERS + 3] = { "model", "out" }, *value = strchr(text, '=') + 1;
    const size_t len = (size_t)(value - text) - 1;
    char key[64];
    snprintf(key, sizeof key, "%.*s", (int)len, text);
    if (strcmp(key, "out") == 0) return snprintf(k->out, PATH_BYTES, "%s", value), OK;
    if (strcmp(key, "model") == 0) return snprintf(k->model, PATH_BYTES, "%s", value), OK;
    for (int i = 0; i < N_NUMBERS; i++) {
        names[i + 2] = NUMBERS[i].name;
        if (strcmp(key, NUMBERS[i].name) != 0) continue;
        return value_number(key, value, 0, 1e15, number_at(k, &NUMBERS[i]), err);
    }
    const char *nearest = str_nearest(key, names);
    return error_set(err, ERR_ARGUMENT, "no key '%s'%s%s%s", key, nearest ? " (did you mean '" : "",
                     nearest ? nearest : "", nearest ? "'?)" : "");
}

static int open_file(session *s, const arguments *a, error *err)
{
    char dir[PATH_BYTES], model[PATH_BYTES];
    const char *path = a->positional[0];
    for (int i = 0; i < N_NUMBERS; i++) *number_at(&s->keys, &NUMBERS[i]) = NUMBERS[i].otherwise;
    path_dirname(dir, sizeof dir, path);
    const vm_limits limits = { .memory_bytes = (size_t)1 << 30, .wall_ms = 10000 };
    s->vm = vm_new(VM_RECIPE, &limits, dir, err);
    if (!s->vm || vm_run_file(s->vm, path, 1, err) != OK) return err->code;
    lua_setfield(vm_state(s->vm), LUA_REGISTRYINDEX, "pretrain");
    if (vm_protect(s->vm, read_table, s, err) != OK) return error_within(err, "%s", path);
    snprintf(model, sizeof model, "%s", s->keys.model);
    path_join(s->keys.model, PATH_BYTES, dir, model);
    for (int i = 0; i < a->n_overrides; i++)
        if (apply_override(&s->keys, a->overrides[i], err) != OK) return err->code;
    if (!s->keys.out[0]) snprintf(s->keys.out, PATH_BYTES, "%s", s->keys.model);
    const pretrain_keys *k = &s->keys;
    if (k->steps < 1 || k->tokens_per_step < 2 || k->max_sequence < 2 || k->max_sequence > 1 << 20 ||
        k->tokens_per_step > 1 << 24 || k->report_every < 1 || k->micro_tokens < 0 || k->micro_tokens > 1 << 24)
        return error_set(err, ERR_ARGUMENT,
                         "steps, tokens_per_step, max_sequence, report_every or micro_tokens is out of range");
    return OK;
}

/* ---- documents ---- */

/* rng(n): the i-th call for document d is a function of (seed, d, i) alone. */
static int draw(lua_State *L)
{
    const lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n > 0, 1, "rng(n) wants a positive n");
    const lua_Integer i = lua_tointeger(L, lua_upvalueindex(3));
    const rng_key key = { .seed = (uint64_t)lua_tointeger(L, lua_upvalueindex(1)),
                          .stream = (uint64_t)lua_tointeger(L, lua_upvalueindex(2)) };
    lua_pushinteger(L, i + 1);
    lua_replace(L, lua_upvalueindex(3));
    lua_pushinteger(L, 1 + (lua_Integer)rng_below(key, 2, (uint64_t)i, (uint64_t)n));
    return 1;
}

static int write_document(lua_State *L)
{
    session *s = lua_touserdata(L, 1);
    error err = { 0 };
    size_t len;
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->document);
    lua_pushinteger(L, (lua_Integer)s->keys.seed);
    lua_pushinteger(L, (lua_Integer)++s->documents);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, draw, 3);
    lua_pushnumber(L, s->progress);
    lua_call(L, 2, 1);
    const char *text = luaL_checklstring(L, -1, &len);
    s->ids.len = 0;
    if (tokenizer_encode(s->tokenizer, text, len, false, &s->ids, &err) != OK) return luaL_error(L, "%s", err.text);
    return 0;
}

static int next_document(void *ctx, double progress, int32_t *out, int max, int *n, error *err)
{
    session *s = ctx;
    s->progress = progress;
    if (vm_protect(s->vm, write_document, s, err) != OK) return err->code;
    const int whole = (int)s->ids.len < max - 1 ? (int)s->ids.len : max - 1;
    memcpy(out, s->ids.data, sizeof *out * (size_t)whole);
    *n = whole;
    if (s->eos >= 0) out[(*n)++] = s->eos;
    return OK;
}

/* ---- training ---- */

static int train(session *s, hf_folder *f, error *err)
{
    const pretrain_keys *k = &s->keys;
    pretrain_config c = { .steps = (int64_t)k->steps,
                          .tokens_per_step = (int)k->tokens_per_step,
                          .max_sequence = (int)k->max_sequence,
                          .micro_tokens = (int)k->micro_tokens,
                          .optim = optim_default(),
                          .next = next_document,
                          .ctx = s };
    c.optim.lr = k->lr, c.optim.warmup = (int64_t)k->warmup, c.optim.weight_decay = k->weight_decay;
    c.optim.schedule = LR_COSINE, c.optim.total_steps = c.steps;
    pretrainer *p = pretrainer_new(&c, f->weights, err);
    if (!p) return err->code;
    const int64_t began_ms = clock_ms();
    double loss = 0, tokens = 0;
    int rc = OK;
    for (int64_t i = 1; rc == OK && i <= c.steps && !stop_asked; i++) {
        pretrain_report r = { 0 };
        rc = pretrainer_step(p, &r, err);
        loss += r.loss, tokens += r.tokens;
        if (rc != OK || i % (int64_t)k->report_every) continue;
        const double seconds = (double)(clock_ms() - began_ms + 1) * 1e-3;
        printf("step %" PRId64 "/%" PRId64 "  loss %.3f  %.2fM tokens  %.0fk tok/s  %.0f s left\n", i, c.steps,
               loss / k->report_every, tokens * 1e-6, tokens / seconds * 1e-3,
               seconds / (double)i * (double)(c.steps - i));
        fflush(stdout);
        loss = 0;
    }
    if (rc == ERR_MEMORY)
        error_set(err, rc, "%s; lower micro_tokens (%d now) or max_sequence (%d now)", err->text,
                  pretrainer_micro_tokens(p), c.max_sequence);
    pretrainer_free(p);
    return rc == OK && stop_asked ? error_set(err, ERR_INTERRUPTED, "stopped; nothing was written") : rc;
}

int cmd_pretrain(int argc, char **argv)
{
    session s = { .eos = -1 };
    arguments a;
    error err = { 0 };
    device *dev = NULL;
    hf_folder *f = NULL;
    const syntax words = { .words = "PRETRAIN.lua", .least = 1, .most = 1, .keys = true, .usage = usage };
    const int status = arguments_open(&a, argc, argv, &words);
    if (status >= 0) return status;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);

    int rc = open_file(&s, &a, &err);
    if (rc == OK) rc = (dev = device_open("cpu", (int)s.keys.threads, &err)) ? OK : err.code;
    if (rc == OK) rc = (f = hf_folder_open_config(s.keys.model, dev, &err)) ? OK : err.code;
    if (rc == OK) rc = (s.tokenizer = tokenizer_open(s.keys.model, &err)) ? OK : err.code;
    if (rc == OK && tokenizer_vocab(s.tokenizer) > f->config.vocab)
        rc = error_set(&err, ERR_PARSE, "%s: the tokenizer has %d tokens, config.json a vocab_size of %d", s.keys.model,
                       tokenizer_vocab(s.tokenizer), f->config.vocab);
    if (rc == OK) rc = (f->weights = weights_new(dev, f->table, &err)) ? OK : err.code;
    if (rc == OK) {
        if (f->config.n_eos > 0) s.eos = f->config.eos[0];
        weights_init(f->weights, (uint64_t)s.keys.seed,
                     s.keys.init_std > 0 ? (float)s.keys.init_std : 1.0f / sqrtf((float)f->config.width));
        weights_seal(f->weights, 0);
        printf("%s: %" PRId64 " parameters on %s\n", s.keys.model, f->table->total, device_name(dev));
        rc = train(&s, f, &err);
    }
    if (rc == OK) rc = hf_folder_write(s.keys.out, s.keys.model, f->weights, DTYPE_F32, &err);
    if (rc == OK) printf("wrote %s\n", s.keys.out);
    hf_folder_close(f);
    tokenizer_free(s.tokenizer);
    vec_free(&s.ids);
    device_close(dev);
    vm_free(s.vm);
    if (rc != OK) fprintf(stderr, "troupe: pretrain: %s\n", err.text);
    return rc == OK ? 0 : rc == ERR_INTERRUPTED ? 130 : 1;
}
