/* SPDX-License-Identifier: MIT */
#include "model/decode.h"

#include <stdio.h>

#include "tests/unit/model/reference.h"

enum { SEQUENCES = 7, LONGEST = 70, PAGES_A_SEQUENCE = (LONGEST + KV_PAGE - 1) / KV_PAGE, MAX_CHUNK = 23 };
static const float TEMPERATURE = 0.9f;

/* One sequence's life: tokens known so far, of which the first `done` lie in the cache. */
typedef struct story {
    int known, done, end;
    int32_t ids[LONGEST + 8];
    bool sampled[LONGEST + 8];
    float logprob[LONGEST + 8]; /* of sampled tokens, as decode gave it */
} story;

typedef struct walker {
    const small_model *m;
    kv_cache *kv;
    test_random rnd;
    int S;
    story stories[SEQUENCES];
    int32_t table[SEQUENCES * PAGES_A_SEQUENCE];
} walker;

static int32_t random_id(walker *p) { return (int32_t)test_random_below(&p->rnd, (uint64_t)p->m->table->config.vocab); }

/* What lay in the pages before is not a number: whoever reads a key that no token wrote is found out. */
static kv_cache *poisoned_cache(const small_model *m, int pages)
{
    error err = { 0 };
    kv_cache *kv = kv_cache_new(m->dev, &m->table->config, pages, &err);
    if (!kv) fail_msg("%s", err.text);
    const size_t n = (size_t)(kv->layers * pages * KV_PAGE * kv->kv_heads * kv->head_dim);
    for (size_t i = 0; i < n; i++) kv->k[i] = kv->v[i] = NAN;
    return kv;
}

static walker *walker_new(const small_model *m, int S, uint64_t seed)
{
    walker *p = xcalloc(1, sizeof *p);
    const int pages = S * PAGES_A_SEQUENCE;
    p->m = m, p->S = S, p->rnd = test_random_seed(seed);
    p->kv = poisoned_cache(m, pages);
    for (int i = 0; i < pages; i++) { /* a shuffle: a sequence's pages lie anywhere */
        const int j = (int)test_random_below(&p->rnd, (uint64_t)i + 1);
        p->table[i] = p->table[j];
        p->table[j] = i;
    }
    for (int s = 0; s < S; s++) {
        story *y = &p->stories[s];
        y->known = 1 + (int)test_random_below(&p->rnd, 45);
        y->end = y->known + 2 + (int)test_random_below(&p->rnd, (uint64_t)(LONGEST - y->known - 2));
        for (int i = 0; i < y->known; i++) y->ids[i] = random_id(p);
    }
    return p;
}

static void walker_free(walker *p)
{
    kv_cache_free(p->kv);
    free(p);
}

typedef struct step {
    decode_batch b;
    int32_t ids[SEQUENCES * MAX_CHUNK], positions[SEQUENCES * MAX_CHUNK], row_seq[SEQUENCES * MAX_CHUNK];
    int32_t out_rows[SEQUENCES], out_story[SEQUENCES];
} step;

/* A random part of what is known of the story; its last row asks for logits when nothing more is known. */
static void add_rows(walker *p, step *st, int s)
{
    story *y = &p->stories[s];
    int n = 1 + (int)test_random_below(&p->rnd, MAX_CHUNK);
    if (n > y->known - y->done) n = y->known - y->done;
    for (int i = 0; i < n; i++) {
        const int row = st->b.T++;
        st->ids[row] = y->ids[y->done];
        st->positions[row] = y->done++;
        st->row_seq[row] = s;
    }
    if (y->done < y->known || y->known >= y->end) return;
    st->out_story[st->b.n_out] = s;
    st->out_rows[st->b.n_out++] = st->b.T - 1;
}

static void choose_rows(walker *p, step *st)
{
    *st = (step){ .b = { .max_pages = PAGES_A_SEQUENCE } };
    const int first = (int)test_random_below(&p->rnd, (uint64_t)p->S);
    for (int i = 0; i < p->S; i++) {
        const int s = (first + i) % p->S;
        if (p->stories[s].done < p->stories[s].known && test_random_below(&p->rnd, 4) != 0) add_rows(p, st, s);
    }
    st->b.ids = st->ids, st->b.positions = st->positions, st->b.row_seq = st->row_seq;
    st->b.out_rows = st->out_rows, st->b.table = p->table;
}

/* Samples a token, and now and then splices tokens in after it, as a tool's observation is. */
static void go_on(walker *p, const step *st, const float *logits)
{
    const int V = p->m->table->config.vocab, n = st->b.n_out;
    const struct ops *ops = device_ops(p->m->dev);
    rng_key keys[SEQUENCES];
    uint64_t hi[SEQUENCES] = { 0 }, position[SEQUENCES];
    int32_t token[SEQUENCES];
    float logprob[SEQUENCES], again[SEQUENCES];
    for (int i = 0; i < n; i++) {
        keys[i] = (rng_key){ 77, (uint64_t)st->out_story[i] };
        position[i] = (uint64_t)p->stories[st->out_story[i]].known;
    }
    ops->sample(p->m->dev, logits, n, V, TEMPERATURE, 0.95f, keys, hi, position, token, logprob);
    ops->token_logprob(p->m->dev, logits, n, V, TEMPERATURE, token, again);
    test_same_bits(again, logprob, n, "token_logprob");
    for (int i = 0; i < n; i++) {
        story *y = &p->stories[st->out_story[i]];
        y->sampled[y->known] = true;
        y->logprob[y->known] = logprob[i];
        y->ids[y->known++] = token[i];
        for (int more = (int)test_random_below(&p->rnd, 12) - 6; more > 0 && y->known < y->end; more--)
            y->ids[y->known++] = random_id(p);
    }
}

static void play(walker *p)
{
    step st;
    for (bool open = true; open;) {
        choose_rows(p, &st);
        if (st.b.T > 0) {
            device_scratch_reset(p->m->dev);
            const float *logits = model_decode(p->m->w, p->kv, &st.b);
            assert_int_equal(logits == NULL, st.b.n_out == 0);
            if (logits) go_on(p, &st, logits);
        }
        open = false;
        for (int s = 0; s < p->S; s++) open |= p->stories[s].done < p->stories[s].known;
    }
}

/* All stories packed, last one first; targets are the sampled tokens. want [n_out]. */
static test_batch *packed(const walker *p, float *want)
{
    test_batch *t = xcalloc(1, sizeof *t);
    token_batch *b = &t->b;
    *b = (token_batch){
        .ids = t->ids, .positions = t->positions, .starts = t->starts, .out_rows = t->out_rows, .targets = t->targets
    };
    for (int s = p->S - 1; s >= 0; s--) {
        const story *y = &p->stories[s];
        for (int i = 0; i < y->known; i++) {
            t->ids[b->T] = y->ids[i];
            t->positions[b->T++] = i;
            if (i + 1 == y->known || !y->sampled[i + 1]) continue;
            want[b->n_out] = y->logprob[i + 1];
            t->out_rows[b->n_out] = b->T - 1;
            t->targets[b->n_out++] = y->ids[i + 1];
        }
        t->starts[++b->S] = b->T;
    }
    return t;
}

static void check_history(bool tied, int S, int threads, uint64_t seed)
{
    small_model actor = small_model_open(small_config(tied), threads, 13),
                learner = small_model_open(small_config(tied), 1, 13);
    walker *p = walker_new(&actor, S, seed);
    float want[MAX_ROWS];
    play(p);
    test_batch *t = packed(p, want);
    const forward_options options = { .temperature = TEMPERATURE, .keep = true };
    const activations *acts = model_forward(learner.w, &t->b, &options);
    char what[96];
    snprintf(what, sizeof what, "seed %llu, %d sequences, logprob", (unsigned long long)seed, S);
    assert_true(t->b.n_out >= S);
    test_same_bits(acts->logprob, want, t->b.n_out, what);
    free(t);
    walker_free(p);
    small_model_close(&actor);
    small_model_close(&learner);
}

/* The promise of the whole house: what the actor recorded is to the bit what the learner finds. */
static void decoded_logprobs_are_forwards_to_the_bit(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) check_history(seed & 1, SEQUENCES, 1 + (int)(seed & 2) / 2, seed);
    for (uint64_t seed = 1; seed <= 4; seed++) check_history(true, 1, 1, seed);
}

/* One sequence prefilled to `n` tokens in chunks of `chunk`, then its last logits. */
static void prefill(const small_model *m, kv_cache *kv, const int32_t *table, const int32_t *ids, int from, int n,
                    int chunk, float *logits)
{
    int32_t positions[LONGEST], row_seq[LONGEST] = { 0 };
    for (int i = 0; i < n; i++) positions[i] = i;
    for (int at = from; at < n; at += chunk) {
        const int T = n - at < chunk ? n - at : chunk;
        const int32_t last = T - 1;
        const decode_batch b = { .T = T,
                                 .ids = ids + at,
                                 .positions = positions + at,
                                 .row_seq = row_seq,
                                 .table = table,
                                 .max_pages = PAGES_A_SEQUENCE,
                                 .n_out = at + T == n,
                                 .out_rows = &last };
        device_scratch_reset(m->dev);
        const float *z = model_decode(m->w, kv, &b);
        if (z) memcpy(logits, z, sizeof(float) * (size_t)m->table->config.vocab);
    }
}

static void logits_are_those_of_model_last_logits_whatever_the_chunks(void **state)
{
    (void)state;
    small_model m = small_model_open(small_config(false), 1, 2);
    const int V = m.table->config.vocab;
    test_random rnd = test_random_seed(3);
    test_batch *t = test_batch_new(&rnd, V, 1, 1, 0);
    t->b.T = t->starts[1] = 61;
    for (int i = 0; i < 61; i++) t->positions[i] = i, t->ids[i] = (int32_t)test_random_below(&rnd, (uint64_t)V);
    static const int32_t table[PAGES_A_SEQUENCE] = { 4, 2, 0, 1, 3 };
    float want[256], got[256];
    model_last_logits(m.w, &t->b, want);
    for (int chunk = 1; chunk <= 61; chunk += 12) {
        kv_cache *kv = poisoned_cache(&m, PAGES_A_SEQUENCE);
        prefill(&m, kv, table, t->ids, 0, 61, chunk, got);
        test_same_bits(got, want, V, "logits");
        kv_cache_free(kv);
    }
    free(t);
    small_model_close(&m);
}

/* Pages that hold a common prefix may stand in many tables: how the engine saves a group's prompt. */
static void a_shared_prefix_is_as_good_as_an_own_one(void **state)
{
    (void)state;
    small_model m = small_model_open(small_config(true), 1, 2);
    const int V = m.table->config.vocab, prefix = 2 * KV_PAGE, n = prefix + 9;
    test_random rnd = test_random_seed(3);
    int32_t ids[LONGEST];
    static const int32_t owner[PAGES_A_SEQUENCE] = { 5, 3, 1 }, guest[PAGES_A_SEQUENCE] = { 5, 3, 0 },
                         own[PAGES_A_SEQUENCE] = { 2, 4, 6 };
    float shared[256], alone[256], first[256];
    for (int i = 0; i < n; i++) ids[i] = (int32_t)test_random_below(&rnd, (uint64_t)V);
    kv_cache *kv = poisoned_cache(&m, 7);
    prefill(&m, kv, owner, ids, 0, n, 13, first);
    for (int i = prefix; i < n; i++) ids[i] = (int32_t)test_random_below(&rnd, (uint64_t)V); /* another continuation */
    prefill(&m, kv, guest, ids, prefix, n, 4, shared);
    prefill(&m, kv, own, ids, 0, n, 17, alone);
    test_same_bits(shared, alone, V, "logits over shared pages");
    assert_memory_not_equal(first, alone, sizeof(float) * (size_t)V);
    kv_cache_free(kv);
    small_model_close(&m);
}

static void a_cache_without_pages_or_beyond_memory_is_refused(void **state)
{
    (void)state;
    small_model m = small_model_open(tiny_config(true), 1, 2);
    error err = { 0 };
    assert_null(kv_cache_new(m.dev, &m.table->config, 0, &err));
    assert_int_equal(err.code, ERR_ARGUMENT);
    model_config huge = m.table->config;
    huge.layers = huge.kv_heads = huge.head_dim = 1 << 20;
    assert_null(kv_cache_new(m.dev, &huge, 1 << 30, &err));
    assert_int_equal(err.code, ERR_MEMORY);
    small_model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoded_logprobs_are_forwards_to_the_bit),
        cmocka_unit_test(logits_are_those_of_model_last_logits_whatever_the_chunks),
        cmocka_unit_test(a_shared_prefix_is_as_good_as_an_own_one),
        cmocka_unit_test(a_cache_without_pages_or_beyond_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
