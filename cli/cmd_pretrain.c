/* SPDX-License-Identifier: MIT */
/* troupe pretrain: next-token training of a base model from documents that a Lua function writes. */
#include <inttypes.h>
#include <lauxlib.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/vec.h"
#include "base/str.h"
#include "cli/verbs.h"
#include "learner/pretrain.h"
#include "lua/config.h"
#include "model/hf_folder.h"
#include "model/model_folder.h"
#include "model/tokenizer/tokenizer.h"

enum { PATH_BYTES = 1024 };

typedef struct pretrain_keys {
    char model[PATH_BYTES], out[PATH_BYTES];
    int64_t steps, tokens_per_step, max_sequence, warmup, seed, threads, report_every, micro_tokens;
    double lr, beta1, beta2, clip_norm, weight_decay, init_std;
} pretrain_keys;

#define AT(member) OPTION_AT(pretrain_keys, member)

/* Other keys may be there for programs that read the file, too (words, question): but no number, which would be one of
 * these, mistyped. */
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
static const option_table TABLE = { .rows = ROWS };

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

static void print_usage(FILE *to)
{
    fprintf(
        to,
        "usage: troupe pretrain PRETRAIN.lua [key=value ...]\n\n"
        "The file returns { model = DIR, document = function(rng, progress) return TEXT end, steps=, ... }: DIR holds\n"
        "config.json and tokenizer.json, rng(n) gives an integer in 1..n, progress goes from 0 to 1.\n\nkeys:\n");
    for (const option *r = ROWS; r->key; r++)
        fprintf(to, "  %-16s %-9s %s\n", r->key, r->fallback ? r->fallback : "required", r->help);
    fprintf(to, "\nexample: troupe pretrain recipes/calculator/pretrain.lua steps=400 out=/tmp/base\n");
}

/* ---- the file ---- */

static int keep_document(lua_State *L)
{
    session *s = lua_touserdata(L, 1);
    config_push(L, "document");
    s->document = lua_isfunction(L, -1) ? luaL_ref(L, LUA_REGISTRYINDEX) : LUA_NOREF;
    return 0;
}

/* A path on the command line is relative to where one is. The caller frees. */
static char *placed(const char *word)
{
    char here[PATH_BYTES];
    str out = { 0 };
    const size_t n = strcspn(word, "=");
    const bool path = (n == 5 && strncmp(word, "model", n) == 0) || (n == 3 && strncmp(word, "out", n) == 0);
    if (!path || !word[n + 1] || word[n + 1] == '/' || !getcwd(here, sizeof here)) return xstrdup(word);
    str_printf(&out, "%.*s=%s/%s", (int)n, word, here, word + n + 1);
    return str_take(&out);
}

static int read_file(session *s, config *c, const char *const *words, int n, const char *path, error *err)
{
    char out[PATH_BYTES], dir[PATH_BYTES];
    if (config_open(c, s->vm, path, words, n, err) != OK) return err->code;
    c->others = true;
    c->keys_in = "troupe pretrain --help";
    const config_part parts[] = { { &TABLE, &s->keys }, { 0 } };
    if (config_read(c, parts, err) != OK || config_file(c, "model", s->keys.model, err) != OK) return err->code;
    if (vm_protect(s->vm, keep_document, s, err) != OK) return err->code;
    if (s->document == LUA_NOREF)
        return config_error(c, "document", err, "expected a function(rng, progress) that returns a text");

    /* `model` has been read as a path from the file's folder already; `out` is a text that may be absent. */
    if (s->keys.out[0]) {
        snprintf(out, sizeof out, "%s", s->keys.out);
        path_join(s->keys.out, PATH_BYTES, path_dirname(dir, sizeof dir, path), out);
    } else {
        snprintf(s->keys.out, PATH_BYTES, "%s", s->keys.model);
    }
    return OK;
}

static int open_file(session *s, const arguments *a, error *err)
{
    char dir[PATH_BYTES], *words[MAX_OVERRIDES];
    config c = { 0 };
    const vm_limits limits = { .memory_bytes = (size_t)1 << 30, .cpu_ms = 10000 };
    for (int i = 0; i < a->n_overrides; i++) words[i] = placed(a->overrides[i]);
    s->vm = vm_new(VM_RECIPE, &limits, path_dirname(dir, sizeof dir, a->positional[0]), err);
    const int rc =
        s->vm ? read_file(s, &c, (const char *const *)words, a->n_overrides, a->positional[0], err) : ERR_MEMORY;
    config_close(&c);
    for (int i = 0; i < a->n_overrides; i++) free(words[i]);
    return rc;
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
    lua_pushinteger(L, s->keys.seed);
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
    pretrain_config c = { .steps = k->steps,
                          .tokens_per_step = (int)k->tokens_per_step,
                          .max_sequence = (int)k->max_sequence,
                          .micro_tokens = (int)k->micro_tokens,
                          .optim = optim_default(),
                          .next = next_document,
                          .ctx = s };
    c.optim.lr = k->lr, c.optim.warmup = k->warmup, c.optim.weight_decay = k->weight_decay;
    c.optim.beta1 = k->beta1, c.optim.beta2 = k->beta2, c.optim.clip_norm = k->clip_norm;
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
        if (rc != OK || i % k->report_every) continue;
        const double seconds = (double)(clock_ms() - began_ms + 1) * 1e-3;
        printf("step %" PRId64 "/%" PRId64 "  loss %.3f  %.2fM tokens  %.0fk tok/s  %.0f s left\n", i, c.steps,
               loss / (double)k->report_every, tokens * 1e-6, tokens / seconds * 1e-3,
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

static int run_verb(call *c, error *err)
{
    session s = { .eos = -1 };
    device *dev = NULL;
    hf_folder *f = NULL;
    model_folder out = { 0 };
    const int opened = call_open(c, NULL, err);
    if (opened != OK) return opened;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);

    int rc = open_file(&s, &c->arguments, err);
    if (rc == OK) rc = model_folder_begin(&out, s.keys.out, s.keys.model, err); /* now: at the end hours are lost */
    if (rc == OK) rc = (dev = device_open("cpu", (int)s.keys.threads, err)) ? OK : err->code;
    if (rc == OK) rc = (f = hf_folder_open_config(s.keys.model, dev, err)) ? OK : err->code;
    if (rc == OK) rc = (s.tokenizer = tokenizer_open(s.keys.model, err)) ? OK : err->code;
    if (rc == OK && tokenizer_vocab(s.tokenizer) > f->config.vocab)
        rc = error_set(err, ERR_PARSE, "%s: the tokenizer has %d tokens, config.json a vocab_size of %d", s.keys.model,
                       tokenizer_vocab(s.tokenizer), f->config.vocab);
    if (rc == OK) rc = (f->weights = weights_new(dev, f->table, err)) ? OK : err->code;
    if (rc == OK) {
        if (f->config.n_eos > 0) s.eos = f->config.eos[0];
        weights_init(f->weights, (uint64_t)s.keys.seed,
                     s.keys.init_std > 0 ? (float)s.keys.init_std : 1.0f / sqrtf((float)f->config.width));
        weights_seal(f->weights, 0);
        printf("%s: %" PRId64 " parameters on %s\n", s.keys.model, f->table->total, device_name(dev));
        rc = train(&s, f, err);
    }
    if (rc == OK) rc = hf_folder_fill(out.part, s.keys.model, f->weights, DTYPE_F32, err);
    const int ended = model_folder_end(&out, rc == OK, rc == OK ? err : NULL);
    if (rc == OK) rc = ended;
    if (rc == OK) printf("wrote %s\n", s.keys.out);
    hf_folder_close(f);
    tokenizer_free(s.tokenizer);
    vec_free(&s.ids);
    device_close(dev);
    vm_free(s.vm);
    return rc;
}

const verb VERB_PRETRAIN = { .name = "pretrain",
                             .synopsis = "PRETRAIN.lua [key=value ...]",
                             .help = "train a base model from a document generator",
                             .print_usage = print_usage,
                             .words = "PRETRAIN.lua",
                             .min_words = 1,
                             .max_words = 1,
                             .keys = true,
                             .run = run_verb };
