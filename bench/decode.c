/* SPDX-License-Identifier: MIT */
/* Decoding through the engine that actors use. */
#include <stdlib.h>

#include "actor/engine.h"
#include "base/clock.h"
#include "base/str.h"
#include "bench/bench.h"
#include "bench/best.h"
#include "model/hf_folder.h"

enum { PROMPT = 16 };

typedef struct run {
    const bench_request *request;
    device *dev;
    hf_folder *folder;  /* NULL: a random model, which is ours */
    param_table *table; /* NULL: the folder's */
    const weights *w;
    weights *random;
    engine *en;
    sampled_token *out;
} run;

static void run_close(run *t)
{
    engine_free(t->en);
    weights_free(t->random);
    param_table_free(t->table);
    hf_folder_close(t->folder);
    device_close(t->dev);
    free(t->out);
}

static int open_random(run *t, const char *size, error *err)
{
    if (!(t->table = param_table_new(bench_config(size), err))) return err->code;
    if (!(t->random = weights_new(t->dev, t->table, err))) return err->code;
    weights_init(t->random, 1, 0.02f);
    weights_seal(t->random, 0);
    t->w = t->random;
    return OK;
}

static int open_folder(run *t, const char *dir, error *err)
{
    if (!(t->folder = hf_folder_open(dir, t->dev, err))) return err->code;
    t->w = t->folder->weights;
    return OK;
}

static int run_open(run *t, const bench_request *r, error *err)
{
    const engine_config config = { .max_streams = r->batch,
                                   .max_context = PROMPT + r->length + 1,
                                   .tokens_per_step = r->batch * (PROMPT + 1) + KV_PAGE };
    if (!(t->dev = device_open("auto", r->threads, err))) return err->code;
    device_set_precision(t->dev, r->precision);
    if ((r->model ? open_folder(t, r->model, err) : open_random(t, r->size, err)) != OK) return err->code;

    t->out = xcalloc((size_t)r->batch, sizeof *t->out);
    return (t->en = engine_new(&config, t->w, err)) ? OK : err->code;
}

static int submit_all(run *t, const bench_request *r, error *err)
{
    const int vocab = t->w->table->config.vocab;
    int32_t prompt[PROMPT];
    for (int i = 0; i < PROMPT; i++) prompt[i] = i % vocab;
    for (int s = 0; s < r->batch; s++) {
        prompt[0] = s % vocab; /* distinct prompts: no shared pages */
        const stream_options o = { .seed = 1, .group = 1, .sample = (uint64_t)s, .temperature = 1, .top_p = 1 };
        if (!engine_submit(t->en, prompt, PROMPT, &o, err)) return err->code;
    }
    return OK;
}

/* `length` tokens of each stream; *us from the first step that only decodes. */
static int play(void *ctx, int64_t *us, error *err)
{
    run *t = ctx;
    const bench_request *r = t->request;
    int64_t began = 0;
    bool busy;
    if (submit_all(t, r, err) != OK) return err->code;

    for (int i = 0; i <= r->length; i++) {
        const int n = engine_step(t->en, t->out, &busy, err);
        if (n < 0) return -n;
        if (i == 0) began = clock_us(); /* the prompts are read */
        for (int s = 0; s < n && i < r->length; s++) engine_resume(t->en, t->out[s].stream);
    }
    *us = clock_us() - began;
    for (int s = 0; s < r->batch; s++) engine_end(t->en, t->out[s].stream);
    return OK;
}

int bench_decode(const bench_request *r, double *tokens_per_second, error *err)
{
    run t = { .request = r };
    int64_t us = 0;
    *tokens_per_second = 0;

    int rc = run_open(&t, r, err);
    if (rc == OK) rc = bench_best(play, &t, r->seconds, &us, err);
    if (rc == OK) *tokens_per_second = (double)r->batch * r->length / ((double)us / 1e6);
    run_close(&t);
    return rc;
}
