/* SPDX-License-Identifier: MIT */
#include "run/pretraining_file.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "lua/config.h"

/* Of reading the file, and of writing each document: a loop that never ends stops with its line. */
enum { MEMORY_BYTES = 1 << 30, CPU_MS = 10000 };

enum { DOCUMENT_DRAWS = 2 }; /* apart from the draws for the weights, which have the same seed */

#define AT(member) OPTION_AT(pretraining_keys, member)

static const option ROWS[] = {
    { "model", OPTION_PATH, AT(model), 0, 0, NULL, .help = "folder with config.json and tokenizer.json" },
    { "out", OPTION_TEXT, AT(out), 0, 0, "", .help = "folder to write; the model's own when it is not given" },
    { "document", OPTION_VALUE, 0, 0, 0, 0, NULL, .help = "function(rng, progress) -> text" },
    { "steps", OPTION_WHOLE, AT(steps), 1, 1e9, "1600", .help = "optimizer steps" },
    { "tokens_per_step", OPTION_WHOLE, AT(tokens_per_step), 2, 1 << 24, "2048",
      .help = "tokens of a step's documents" },
    { "max_sequence", OPTION_WHOLE, AT(max_sequence), 2, 1 << 20, "512",
      .help = "tokens of a document; longer ones are cut" },
    { "lr", OPTION_NUMBER, AT(lr), 0, 10, "2e-3", .help = "learning rate; a cosine down to a tenth" },
    { "warmup", OPTION_WHOLE, AT(warmup), 0, 1e9, "100", .help = "steps until the rate is reached" },
    { "beta1", OPTION_NUMBER, AT(beta1), 0, 0.999999, "0.9", .help = "of AdamW" },
    { "beta2", OPTION_NUMBER, AT(beta2), 0, 0.999999, "0.95", .help = "of AdamW" },
    { "clip_norm", OPTION_NUMBER, AT(clip_norm), 0, 1e6, "1.0", .help = "largest norm of a gradient; 0: not clipped" },
    { "weight_decay", OPTION_NUMBER, AT(weight_decay), 0, 10, "0.01", .help = "of AdamW" },
    { "init_std", OPTION_NUMBER, AT(init_std), 0, 10, "0", .help = "of the first weights; 0: 1/sqrt(width)" },
    { "seed", OPTION_WHOLE, AT(seed), 0, 1e15, "1", .help = "of weights and documents" },
    { "threads", OPTION_WHOLE, AT(threads), 0, 1024, "0", .help = "0: all cores" },
    { "report_every", OPTION_WHOLE, AT(report_every), 1, 1e9, "50", .help = "steps between lines" },
    { "micro_tokens", OPTION_WHOLE, AT(micro_tokens), 0, 1 << 24, "0",
      .help = "tokens a pass holds in memory; 0: 16384, or what fits half the machine" },
    { 0 },
};
const option_table PRETRAINING_OPTIONS = { .rows = ROWS };

/* ---- reading ---- */

static bool is_path(const char *word, size_t key_len)
{
    const bool is_model = key_len == 5 && strncmp(word, "model", 5) == 0;
    const bool is_out = key_len == 3 && strncmp(word, "out", 3) == 0;
    return is_model || is_out;
}

/* The word with a path in it made absolute: on the command line it is relative to where one is. The caller frees. */
static char *placed(const char *word)
{
    char here[OPTION_PATH_BYTES];
    const size_t n = strcspn(word, "=");
    if (!is_path(word, n) || !word[n + 1] || word[n + 1] == '/' || !getcwd(here, sizeof here)) return xstrdup(word);

    str out = { 0 };
    str_printf(&out, "%.*s=%s/%s", (int)n, word, here, word + n + 1);
    return str_take(&out);
}

static int keep_document(lua_State *L)
{
    pretraining_file *f = lua_touserdata(L, 1);
    config_push(L, "document");
    f->document = lua_isfunction(L, -1) ? luaL_ref(L, LUA_REGISTRYINDEX) : LUA_NOREF;
    return 0;
}

static int find_document(pretraining_file *f, const config *c, error *err)
{
    if (vm_protect(f->vm, keep_document, f, err) != OK) return err->code;
    if (f->document != LUA_NOREF) return OK;
    return config_error(c, "document", err, "expected a function(rng, progress) that returns a text");
}

/* `model` has been read as a path from the file's folder already; `out` is a text that may be absent. */
static void place_out(pretraining_keys *k, const char *dir)
{
    char out[OPTION_PATH_BYTES];
    snprintf(out, sizeof out, "%s", k->out);
    if (out[0])
        path_join(k->out, sizeof k->out, dir, out);
    else
        snprintf(k->out, sizeof k->out, "%s", k->model);
}

static int read_keys(pretraining_file *f, config *c, error *err)
{
    c->others = true; /* the author's own functions and lists stand in the same table */
    c->keys_in = "troupe pretrain --help";
    const config_part parts[] = { { &PRETRAINING_OPTIONS, &f->keys }, { 0 } };
    if (config_read(c, parts, err) != OK || config_file(c, "model", f->keys.model, err) != OK) return err->code;
    return find_document(f, c, err);
}

int pretraining_file_open(pretraining_file *f, const char *path, const char *const *words, int n, error *err)
{
    const vm_limits limits = { .memory_bytes = MEMORY_BYTES, .cpu_ms = CPU_MS };
    char dir[OPTION_PATH_BYTES];
    char **absolute = xcalloc((size_t)n + 1, sizeof *absolute);
    config c = { 0 };
    *f = (pretraining_file){ 0 };

    path_dirname(dir, sizeof dir, path);
    for (int i = 0; i < n; i++) absolute[i] = placed(words[i]);
    f->vm = vm_new(VM_RECIPE, &limits, dir, err);
    int rc = f->vm ? config_open(&c, f->vm, path, (const char *const *)absolute, n, err) : ERR_MEMORY;
    if (rc == OK) rc = read_keys(f, &c, err);
    if (rc == OK) place_out(&f->keys, dir);

    config_close(&c);
    for (int i = 0; i < n; i++) free(absolute[i]);
    free(absolute);
    return rc;
}

void pretraining_file_close(pretraining_file *f)
{
    str_free(&f->text);
    vm_free(f->vm);
}

/* ---- documents ---- */

/* rng(n), a closure over seed, the document's number, and how many it has drawn. */
static int draw(lua_State *L)
{
    const lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n > 0, 1, "rng(n): n must be positive");

    const rng_key key = { .seed = (uint64_t)lua_tointeger(L, lua_upvalueindex(1)),
                          .stream = (uint64_t)lua_tointeger(L, lua_upvalueindex(2)) };
    const lua_Integer i = lua_tointeger(L, lua_upvalueindex(3));
    lua_pushinteger(L, i + 1);
    lua_replace(L, lua_upvalueindex(3));

    lua_pushinteger(L, 1 + (lua_Integer)rng_below(key, DOCUMENT_DRAWS, (uint64_t)i, (uint64_t)n));
    return 1;
}

static int write_document(lua_State *L)
{
    /* A generator of its own for each document: what one draws does not move the next, so that a change of one kind of
     * document leaves the others as they were. */
    pretraining_file *f = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, f->document);
    lua_pushinteger(L, f->keys.seed);
    lua_pushinteger(L, (lua_Integer)++f->documents);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, draw, 3);
    lua_pushnumber(L, f->progress);
    lua_call(L, 2, 1);

    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    if (!text) return luaL_error(L, "document: expected a text, found a %s", luaL_typename(L, -1));
    str_clear(&f->text);
    str_add(&f->text, text, len);
    return 0;
}

int pretraining_file_next(pretraining_file *f, double progress, const str **text, error *err)
{
    f->progress = progress;
    *text = &f->text;
    return vm_protect(f->vm, write_document, f, err);
}
