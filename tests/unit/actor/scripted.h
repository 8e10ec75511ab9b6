/* SPDX-License-Identifier: MIT */
/* scripted - episodes played over real tokenizers by an engine that "samples" the ids it is told, so that any tokenizer
 * can be played without a model of its vocabulary. Includes the engine: a program that uses it doesn't link the real
 * one in. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/witness.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/vec.h"
#include "env/tools/submit.h"
#include "exchange/limits.h"
#include "tests/support/support.h"

/* ---- the scripted engine: these stand in for actor/engine.c ---- */

struct engine {
    const int32_t *script; /* what is sampled, turn after turn */
    size_t n, at;
    void *owner;
    bool ready;        /* the one stream can continue */
    size_t room, used; /* tokens of the context */
    int full;          /* so many submissions find no stream */
};

/* What is sampled is what was, one after the other. */
engine *engine_of_record(const trajectory *record, int max_context)
{
    engine *en = xcalloc(1, sizeof *en);
    int32_t *script = xcalloc(record->n + 1, sizeof *script);
    for (uint32_t i = 0; i < record->n; i++)
        if (record->mask[i]) script[en->n++] = record->ids[i];
    en->script = script;
    en->room = (size_t)max_context;
    return en;
}

void engine_free(engine *en)
{
    if (en) free((void *)(uintptr_t)en->script);
    free(en);
}

int engine_context(const engine *en) { return (int)en->room; }
int engine_capacity(const engine *en) { return (void)en, 1; }
int engine_room(const engine *en, uint64_t stream) { return (void)stream, (int)(en->room - en->used); }
void engine_resume(engine *en, uint64_t stream) { (void)stream, en->ready = true; }
void engine_end(engine *en, uint64_t stream) { (void)stream, en->ready = false; }

uint64_t engine_submit(engine *en, const int32_t *ids, size_t n, const stream_options *options, error *err)
{
    (void)ids;
    if (en->full > 0) return en->full--, error_set(err, ERR_FULL, "all streams are taken"), 0;
    if (n >= en->room) return error_set(err, ERR_LIMIT, "a prompt of %zu tokens", n), 0;
    en->owner = options->owner;
    en->ready = true;
    en->used = n;
    return 1;
}

int engine_append(engine *en, uint64_t stream, const int32_t *ids, size_t n, error *err)
{
    (void)stream, (void)ids;
    if (en->used + n >= en->room) return error_set(err, ERR_LIMIT, "%zu more tokens", n);
    en->used += n;
    en->ready = true;
    return OK;
}

int engine_step(engine *en, sampled_token *out, bool *busy, error *err)
{
    (void)err;
    *busy = false;
    if (!en->ready || en->at == en->n) return 0;
    en->ready = false;
    en->used++;
    *out = (sampled_token){ .stream = 1, .owner = en->owner, .id = en->script[en->at++], .logprob = -0.5f };
    return 1;
}

/* ---- a tool that says what it is told, and notes what it was asked ---- */

typedef struct parrot {
    const char *says;
    uint64_t pending;
    str asked; /* all arguments, a line each */
    uint64_t seeds[64];
    size_t n;
} parrot;

static inline int parrot_begin(void *self, uint64_t call, const char *arguments, const tool_context *ctx,
                               int64_t now_ms, error *err)
{
    parrot *p = self;
    (void)now_ms, (void)err;
    p->pending = call;
    p->seeds[p->n++ % 64] = ctx->seed;
    str_printf(&p->asked, "%s\n", arguments);
    return OK;
}
static inline void parrot_cancel(void *self, uint64_t call) { (void)self, (void)call; }
static inline int parrot_fds(void *self, struct pollfd *out, int max) { return (void)self, (void)out, (void)max, 0; }
static inline int64_t parrot_deadline(void *self) { return ((parrot *)self)->pending ? 0 : INT64_MAX; }
static inline void parrot_free(void *self) { (void)self; }
static inline int parrot_poll(void *self, int64_t now_ms, tool_result *out, int max)
{
    parrot *p = self;
    (void)now_ms;
    if (!p->pending || max < 1) return 0;
    *out = (tool_result){ .call = p->pending, .ok = true, .text = strdup(p->says), .ms = 1 };
    p->pending = 0;
    return 1;
}

/* ---- tokenizers ---- */

/* One character a token, control tokens of the chat dialects, and "><", "<a", "\nO" of two characters. sentencepiece: a
 * text gets a mark before it and for each space, as in Llama 2. */
static inline tokenizer *small_tokenizer(bool sentencepiece)
{
    static const char *const PAIRS[] = { "><", "<a", "\nO" };
    static const char *const CONTROL[] = { "<|im_start|>",        "<|im_end|>",        "<|eot_id|>",
                                           "<|start_header_id|>", "<|end_header_id|>", "<|endoftext|>" };
    error err = { 0 };
    json_t *vocab = json_object(), *merges = json_array(), *added = json_array();
    int id = 0;
    for (char c[2] = "\n"; *c <= '~'; *c = *c == '\n' ? ' ' : (char)(*c + 1))
        json_object_set_new(vocab, c, json_integer(id++));
    json_object_set_new(vocab, "▁", json_integer(id++));
    for (size_t i = 0; i < sizeof PAIRS / sizeof *PAIRS; i++) {
        json_object_set_new(vocab, PAIRS[i], json_integer(id++));
        json_array_append_new(merges, json_pack("[s%, s]", PAIRS[i], 1, PAIRS[i] + 1));
    }
    for (size_t i = 0; i < sizeof CONTROL / sizeof *CONTROL; i++)
        json_array_append_new(added,
                              json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", id++, "content", CONTROL[i],
                                        "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1));
    json_t *j = json_pack("{s:{s:s, s:o, s:o}, s:o, s:n}", "model", "type", "BPE", "vocab", vocab, "merges", merges,
                          "added_tokens", added, "pre_tokenizer");
    json_object_set_new(j, "decoder", json_pack("{s:s, s:[{s:s}]}", "type", "Sequence", "decoders", "type", "Fuse"));
    if (sentencepiece) {
        json_t *steps = json_loads("{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": "
                                   "\"▁\"}, {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, "
                                   "\"content\": \"▁\"}]}",
                                   0, NULL),
               *decoder = json_loads("{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": "
                                     "{\"String\": \"▁\"}, \"content\": \" \"}, {\"type\": \"Fuse\"}, "
                                     "{\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]}",
                                     0, NULL);
        json_object_set_new(j, "normalizer", steps);
        json_object_set_new(j, "decoder", decoder);
    }
    char *text = json_text(j, false);
    tokenizer *t = tokenizer_parse(text, strlen(text), "small", &err);
    if (!t) fail_msg("%s", err.text);
    free(text);
    json_decref(j);
    return t;
}

enum { N_TOKENIZERS = 5 };

/* NULL: that one is not here. */
static inline tokenizer *open_tokenizer(int i, const char **name)
{
    static const char *const NAMES[N_TOKENIZERS] = { "characters", "sentencepiece", "faults/models/smollm2_bytes",
                                                     "data/tokenizers/gpt2", "data/tokenizers/qwen2" };
    error err = { 0 };
    *name = NAMES[i];
    if (i < 2) return small_tokenizer(i == 1);
    char *dir = test_data(NAMES[i]);
    tokenizer *t = dir ? tokenizer_open(dir, &err) : NULL;
    if (dir && !t) fail_msg("%s", err.text);
    free(dir);
    return t;
}

/* ---- chat templates, as models bring them ---- */

/* Hermes' calls, taught in front of the conversation; messages are trimmed. */
static const char TEMPLATE_OF_CALLS[] =
    "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t|tojson }}\n{% endfor %}Call within "
    "<tool_call></tool_call>:\n<tool_call>\n{\"name\": <name>}\n</tool_call><|im_end|>\n{% endif %}"
    "{% for m in messages %}{% if m.role == 'tool' %}"
    "{% if loop.first or messages[loop.index0 - 1].role != 'tool' %}<|im_start|>user{% endif %}"
    "\n<tool_response>\n{{ m.content|trim }}\n</tool_response>"
    "{% if loop.last or messages[loop.index0 + 1].role != 'tool' %}<|im_end|>\n{% endif %}"
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content|trim }}{% for c in m.tool_calls or [] %}"
    "{% if not loop.first %}\n{% endif %}<tool_call>\n{\"name\": {{ c.function.name|tojson }}, \"arguments\": "
    "{{ c.function.arguments|tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/* Llama 2's: trimmed, without a word in front of a reply. */
static const char TEMPLATE_OF_TURNS[] =
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token }}[INST] {{ m.content|trim }} [/INST]"
    "{% else %} {{ m.content|trim }} {{ eos_token }}{% endif %}{% endfor %}";

/* Each reply begins with a thought. */
static const char TEMPLATE_OF_THOUGHTS[] =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}";

/* ---- playing ---- */

typedef struct scripted {
    const tokenizer *tokenizer;
    const char *dialect_name, *options, *shot;
    const char *template; /* NULL: the dialect speaks for itself */
    dialect *dialect;
    router *router;
    parrot parrot;
    int max_turns, max_observation;
    bool submits;
    size_t room, max_tokens; /* 0: enough */
} scripted;

static const char TOOL[] = "{\"type\":\"object\",\"properties\":{\"code\":{\"type\":\"string\"}}}";
static const char ROW[] = "{\"prompt\": \"what?\"}";

static inline scripted open_scripted(const tokenizer *t, const char *dialect_name, const char *says)
{
    return (scripted){
        .tokenizer = t, .dialect_name = dialect_name, .parrot.says = says, .max_turns = 8, .max_observation = 64
    };
}

/* The play's one shot, if it has one. */
static inline int own_shot(void *ctx, const task *t, const char **out, int max)
{
    const scripted *p = ctx;
    if (t->n_shots == 0 || max < 1) return 0;
    out[0] = p->shot;
    return 1;
}

static inline void open_parts(scripted *p)
{
    error err = { 0 };
    const tool t = { .name = "python",
                     .description = "",
                     .parameters = TOOL,
                     .self = &p->parrot,
                     .begin = parrot_begin,
                     .cancel = parrot_cancel,
                     .fds = parrot_fds,
                     .poll = parrot_poll,
                     .deadline_ms = parrot_deadline,
                     .free = parrot_free };
    p->router = router_new(NULL);
    test_ok(router_add(p->router, &t, &err), &err);
    const tool submit = submit_tool();
    if (p->submits)
        test_ok(router_add(p->router, &submit, &err), &err);
    else
        submit.free(submit.self);
    char *tools = router_tools_json(p->router);
    p->dialect = dialect_new(p->dialect_name, p->options, tools, &err);
    if (!p->dialect) fail_msg("%s", err.text);
    free(tools);
    if (!p->template) return;

    char *dir = test_folder_new();
    test_file_write(dir, "chat_template.jinja", p->template);
    test_file_write(dir, "tokenizer_config.json", "{\"bos_token\": \"<s>\", \"eos_token\": \"<|im_end|>\"}");
    test_ok(dialect_use_template(p->dialect, dir, &err), &err);
    test_folder_remove(dir);
}

static inline void close_scripted(scripted *p)
{
    dialect_free(p->dialect);
    router_free(p->router);
    str_free(&p->parrot.asked);
}

static inline task played_task(const scripted *p, const token_ids *ids)
{
    return (task){ .id = 1,
                   .group = 1,
                   .group_size = 1,
                   .n_shots = p->shot ? 1 : 0,
                   .max_tokens = (int32_t)(p->max_tokens ? p->max_tokens : ids->len),
                   .row = (char *)(uintptr_t)ROW };
}

/* The episode in which the policy writes these ids; it stops by itself when they are out. Whatever they are, the
 * exchange takes it. */
static inline episode *run_ids(scripted *p, const token_ids *ids)
{
    error err = { 0 };
    engine en = { .script = ids->data, .n = ids->len, .room = p->room ? p->room : 100000 };
    const int32_t eos = tokenizer_id(p->tokenizer, "<|endoftext|>");
    if (!p->router) open_parts(p);
    const rollout_config config = { .engine = &en,
                                    .tokenizer = p->tokenizer,
                                    .dialect = p->dialect,
                                    .router = p->router,
                                    .submits = p->submits,
                                    .dialect_name = p->dialect_name,
                                    .environment = "tools",
                                    .instruction = "",
                                    .shots = own_shot,
                                    .shots_ctx = p,
                                    .max_turns = p->max_turns,
                                    .max_observation_tokens = p->max_observation,
                                    .top_p = 1,
                                    .eos = &eos,
                                    .n_eos = eos >= 0 };
    rollouts *s = rollouts_new(&config, &err);
    const task t = played_task(p, ids);
    episode *done = NULL;
    bool idle;
    test_ok(rollouts_begin(s, &t, clock_ms(), &err), &err);
    for (int round = 0; !done && round < 100000; round++)
        if (rollouts_step(s, clock_ms(), &done, 1, &idle, &err) < 0) fail_msg("%s", err.text);
    assert_non_null(done);
    rollouts_free(s);
    if (done->failed != FAIL_NONE) fail_msg("%s", done->failure_text);
    const limits allowed = { .vocab = tokenizer_vocab(p->tokenizer),
                             .max_context = (int64_t)en.room,
                             .max_turns = p->max_turns,
                             .submits = p->submits,
                             .eos = &eos,
                             .n_eos = eos >= 0,
                             .dialect = strpbrk(p->dialect_name, "./") ? NULL : p->dialect_name };
    test_ok(limits_episode(&allowed, &t, done, &err), &err);
    witness *w = witness_new(&config, (int)en.room);
    test_ok(witness_check(w, &t, done, &err), &err);
    witness_free(w);
    return done;
}

static inline void add_ids(const tokenizer *t, const char *text, token_ids *ids)
{
    error err = { 0 };
    test_ok(tokenizer_encode_on(t, text, strlen(text), true, ids, &err), &err);
}
