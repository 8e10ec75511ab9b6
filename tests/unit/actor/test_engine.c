/* SPDX-License-Identifier: MIT */
/* The engine's promise: the same stream has the same tokens and logprobs, to the bit, in whatever company. */
#include "actor/engine.h"

#include <stdlib.h>

#include "base/str.h"
#include "model/transformer.h"
#include "tests/unit/learner/tiny.h"

enum { LONGEST = 96, STREAMS = 6, PROMPT = 21, NEW = 24 };
static const float TEMPERATURE = 0.8f;

typedef struct stream {
    int32_t ids[LONGEST];
    int n, prompt, sampled;
    bool is_sampled[LONGEST];
    float logprob[LONGEST];
    int64_t version[LONGEST];
    uint64_t id;
} stream;

typedef struct play {
    tiny *t;
    engine *en;
    stream *streams;
    int n;
} play;

static engine *new_engine(const tiny *t, int max_streams, int tokens_per_step, size_t kv_bytes)
{
    error err = { 0 };
    const engine_config c = {
        .max_streams = max_streams, .max_context = LONGEST, .tokens_per_step = tokens_per_step, .kv_bytes = kv_bytes
    };
    engine *en = engine_new(&c, t->w, &err);
    if (!en) fail_msg("%s", err.text);
    return en;
}

/* Streams 2k and 2k + 1 begin with the same PROMPT - 2 tokens: their full pages can be shared. */
static void write_prompt(stream *s, int index)
{
    *s = (stream){ .prompt = PROMPT + index % 3, .n = PROMPT + index % 3 };
    for (int i = 0; i < s->n; i++)
        s->ids[i] = (int32_t)(1 + (i * 7 + index / 2 * 5 + (i >= PROMPT - 2 ? index : 0)) % 31);
}

static void submit(engine *en, stream *s, int index)
{
    error err = { 0 };
    const stream_options o = { .seed = 11,
                               .group = (uint64_t)(index / 2),
                               .sample = (uint64_t)(index % 2),
                               .temperature = TEMPERATURE,
                               .top_p = 1,
                               .owner = s };
    s->id = engine_submit(en, s->ids, (size_t)s->n, &o, &err);
    if (!s->id) fail_msg("%s", err.text);
}

/* An observation after the tenth sampled token, so that splicing is always part of it. */
static void go_on(engine *en, stream *s)
{
    error err = { 0 };
    if (s->sampled == NEW) {
        engine_end(en, s->id);
        s->id = 0;
    } else if (s->sampled == 10) {
        const int32_t seen[5] = { 3, 1, 4, 1, 5 };
        memcpy(s->ids + s->n, seen, sizeof seen);
        s->n += 5;
        test_ok(engine_append(en, s->id, seen, 5, &err), &err);
    } else {
        engine_resume(en, s->id);
    }
}

static void take(engine *en, const sampled_token *t)
{
    stream *s = t->owner;
    s->is_sampled[s->n] = true;
    s->logprob[s->n] = t->logprob;
    s->version[s->n] = t->version;
    s->ids[s->n++] = t->id;
    s->sampled++;
    go_on(en, s);
}

static void run(engine *en)
{
    sampled_token out[64];
    error err = { 0 };
    for (bool busy = true; busy;) {
        const int n = engine_step(en, out, &busy, &err);
        if (n < 0) fail_msg("%s", err.text);
        for (int i = 0; i < n; i++) take(en, &out[i]);
        busy = busy || n > 0;
    }
}

/* Streams from..to play together. */
static void play_together(const tiny *t, stream *s, int from, int to, int tokens_per_step)
{
    engine *en = new_engine(t, STREAMS, tokens_per_step, 0);
    for (int i = from; i < to; i++) write_prompt(&s[i], i), submit(en, &s[i], i);
    run(en);
    const engine_stats stats = engine_statistics(en);
    assert_int_equal(stats.streams, 0);
    engine_free(en);
}

static void assert_same(const stream *a, const stream *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->ids, b->ids, sizeof(int32_t) * (size_t)a->n);
    assert_memory_equal(a->logprob, b->logprob, sizeof(float) * (size_t)a->n);
}

static void a_stream_is_the_same_alone_and_in_company(void **state)
{
    (void)state;
    tiny t = tiny_open(5);
    stream all[STREAMS], alone[STREAMS], narrow[STREAMS];
    play_together(&t, all, 0, STREAMS, 512);
    play_together(&t, narrow, 0, STREAMS, 7); /* prompts cut into small pieces */
    for (int i = 0; i < STREAMS; i++) {
        play_together(&t, alone, i, i + 1, 512);
        assert_int_equal(all[i].sampled, NEW);
        assert_same(&all[i], &alone[i]);
        assert_same(&all[i], &narrow[i]);
    }
    tiny_close(&t);
}

static void an_engine_survives_the_refusal_of_any_request(void **state)
{
    (void)state;
    sampled_token out[64];
    bool done = false;
    int n = 0;
    for (; !done; n++) {
        tiny t = tiny_open(5);
        error err = { 0 };
        bool busy = false;
        stream s = { 0 };
        const engine_config c = { .max_streams = 2, .max_context = LONGEST, .tokens_per_step = 64 };
        device_starve(t.dev, n);
        engine *en = engine_new(&c, t.w, &err);
        if (en) write_prompt(&s, 0), submit(en, &s, 0);
        const int rc = en ? engine_step(en, out, &busy, &err) : -err.code;
        if (rc < 0 && (rc != -ERR_MEMORY || !strstr(err.text, "out of memory: ")))
            fail_msg("request %d: %s", n, err.text);
        done = rc >= 0;
        device_starve(t.dev, -1);
        engine_free(en);
        tiny_close(&t);
    }
    assert_true(n > 20);
}

static void samples_of_a_group_differ(void **state)
{
    (void)state;
    tiny t = tiny_open(5);
    stream a = { 0 }, b = { 0 };
    engine *en = new_engine(&t, STREAMS, 64, 0);
    write_prompt(&a, 0);
    b = a;
    submit(en, &a, 0);
    submit(en, &b, 1); /* another sample of the same prompt */
    run(en);
    assert_memory_not_equal(a.ids, b.ids, sizeof a.ids);
    engine_free(en);
    tiny_close(&t);
}

/* What the learner will compute over the whole trajectory. */
static void the_recorded_logprobs_are_those_of_a_forward_in_every_bit(void **state)
{
    (void)state;
    tiny t = tiny_open(5);
    stream all[STREAMS];
    play_together(&t, all, 0, STREAMS, 512);
    for (int k = 0; k < STREAMS; k++) {
        const stream *s = &all[k];
        int32_t positions[LONGEST], rows[LONGEST], targets[LONGEST], n_out = 0;
        const int32_t starts[2] = { 0, s->n };
        for (int i = 0; i < s->n; i++) positions[i] = i;
        for (int i = 1; i < s->n; i++)
            if (s->is_sampled[i]) rows[n_out] = i - 1, targets[n_out++] = s->ids[i];
        const token_batch b = { .T = s->n,
                                .S = 1,
                                .ids = s->ids,
                                .positions = positions,
                                .starts = starts,
                                .n_out = n_out,
                                .out_rows = rows,
                                .targets = targets };
        const forward_options o = { .temperature = TEMPERATURE };
        float logprob[LONGEST];
        device_scratch_reset(t.dev);
        const activations *acts = model_forward(t.w, &b, &o);
        device_copy_out(t.dev, logprob, acts->logprob, sizeof(float) * (size_t)n_out);
        for (int i = 0; i < n_out; i++) assert_memory_equal(&logprob[i], &s->logprob[rows[i] + 1], sizeof(float));
    }
    tiny_close(&t);
}

static void full_pages_of_equal_prompts_are_computed_once(void **state)
{
    (void)state;
    tiny t = tiny_open(5);
    stream s[2];
    engine *en = new_engine(&t, STREAMS, 512, 0);
    for (int i = 0; i < 2; i++) write_prompt(&s[i], 0), submit(en, &s[i], i);
    run(en);
    const engine_stats stats = engine_statistics(en);
    assert_true(stats.tokens_reused >= KV_PAGE);
    assert_true(stats.tokens_prefilled + stats.tokens_reused >= 2 * PROMPT);
    engine_free(en);
    tiny_close(&t);
}

/* Every stream's worst case is reserved, so that none can be stuck half-way. */
static void too_little_memory_is_refused_with_figures(void **state)
{
    (void)state;
    tiny t = tiny_open(5);
    error err = { 0 };
    const engine_config c = { .max_streams = 6, .max_context = LONGEST, .tokens_per_step = 64, .kv_bytes = 1000 };
    assert_null(engine_new(&c, t.w, &err));
    assert_non_null(strstr(err.text, "6 streams of 96 tokens"));
    assert_non_null(strstr(err.text, "1000"));
    tiny_close(&t);
}

static void new_weights_take_over_between_two_tokens(void **state)
{
    (void)state;
    tiny t = tiny_open(5), other = tiny_open(6);
    sampled_token out[8];
    error err = { 0 };
    stream s;
    weights_seal(other.w, 1);
    engine *en = new_engine(&t, STREAMS, 512, 0);
    write_prompt(&s, 0);
    submit(en, &s, 0);
    for (bool busy; s.sampled < 5;) {
        const int n = engine_step(en, out, &busy, &err);
        for (int i = 0; i < n; i++) take(en, &out[i]);
    }
    engine_set_weights(en, other.w);
    run(en);
    for (int i = 0, seen = 0; i < s.n; i++)
        if (s.is_sampled[i]) assert_int_equal(s.version[i], seen++ < 5 ? 0 : 1);
    /* From the switch on it is what the new weights would have gone on with. */
    stream again = s;
    again.n = s.prompt + 5;
    again.sampled = 5;
    engine *fresh = new_engine(&other, STREAMS, 512, 0);
    submit(fresh, &again, 0);
    run(fresh);
    assert_memory_equal(again.ids, s.ids, sizeof(int32_t) * (size_t)s.n);
    assert_memory_equal(again.logprob + s.prompt + 5, s.logprob + s.prompt + 5,
                        sizeof(float) * (size_t)(s.n - s.prompt - 5));
    engine_free(fresh);
    engine_free(en);
    tiny_close(&t);
    tiny_close(&other);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    tiny t = tiny_open(5);
    error err = { 0 };
    int32_t ids[LONGEST + 1] = { 0 };
    stream s[2];
    const stream_options o = { .temperature = 1, .top_p = 1 };
    engine *en = new_engine(&t, 1, 512, 0);
    assert_int_equal(engine_submit(en, ids, LONGEST + 1, &o, &err), 0);
    assert_int_equal(err.code, ERR_LIMIT);
    write_prompt(&s[0], 0);
    submit(en, &s[0], 0);
    write_prompt(&s[1], 1);
    assert_int_equal(engine_submit(en, s[1].ids, (size_t)s[1].n, &o, &err), 0);
    assert_int_equal(err.code, ERR_FULL);
    assert_int_equal(engine_append(en, s[0].id, ids, LONGEST, &err), ERR_LIMIT);
    engine_end(en, s[0].id);
    submit(en, &s[1], 1); /* its place is free again */
    run(en);
    engine_free(en);
    tiny_close(&t);
}

/* Finite weights, and logits that are not: sampled and greedy tokens of it follow no policy. */
static void logits_that_are_not_finite_end_the_step(void **state)
{
    (void)state;
    for (int greedy = 0; greedy < 2; greedy++) {
        tiny t = tiny_open(5);
        error err = { 0 };
        sampled_token out[1];
        bool busy;
        stream s;
        const param *norm = param_find(t.table, PARAM_FINAL_NORM, -1);
        for (int64_t i = 0; i < norm->count; i++) t.w->data[norm->offset + i] = 3e38f;
        weights_seal(t.w, 7);
        engine *en = new_engine(&t, 1, 512, 0);
        write_prompt(&s, 0);
        const stream_options o = { .temperature = greedy ? 0 : 1, .top_p = 1 };
        assert_true(engine_submit(en, s.ids, (size_t)s.n, &o, &err) > 0);
        assert_int_equal(engine_step(en, out, &busy, &err), -ERR_STATE);
        if (!strstr(err.text, "logits of policy version 7 are not finite")) fail_msg("%s", err.text);
        engine_free(en);
        tiny_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_is_the_same_alone_and_in_company),
        cmocka_unit_test(an_engine_survives_the_refusal_of_any_request),
        cmocka_unit_test(samples_of_a_group_differ),
        cmocka_unit_test(the_recorded_logprobs_are_those_of_a_forward_in_every_bit),
        cmocka_unit_test(full_pages_of_equal_prompts_are_computed_once),
        cmocka_unit_test(too_little_memory_is_refused_with_figures),
        cmocka_unit_test(new_weights_take_over_between_two_tokens),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(logits_that_are_not_finite_end_the_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
