/* SPDX-License-Identifier: MIT */
/* The same sequence, alone and among others, in one pass and token by token over pages: the same bits, in either
 * precision. That is what lets a learner recompute what an actor sampled. */
#include "model/decode.h"
#include "tests/unit/model/reference.h"

enum { LENGTH = 37, MAX_BATCH = 64, PAGES_EACH = (LENGTH + KV_PAGE - 1) / KV_PAGE };

typedef struct many {
    int32_t ids[MAX_BATCH * LENGTH], positions[MAX_BATCH * LENGTH], starts[MAX_BATCH + 1], rows[MAX_BATCH * LENGTH],
        targets[MAX_BATCH * LENGTH];
    token_batch b;
} many;

/* n sequences; the one that is watched, the same in all, stands at `place`. */
static many *sequences(int n, int place, int vocab)
{
    many *m = xcalloc(1, sizeof *m);
    int out = 0;
    for (int s = 0; s < n; s++) {
        test_random rnd = test_random_seed(s == place ? 1 : 100 + (uint64_t)s);
        for (int i = 0; i < LENGTH; i++) {
            m->ids[s * LENGTH + i] = (int32_t)test_random_below(&rnd, (uint64_t)vocab);
            m->positions[s * LENGTH + i] = i;
        }
        m->starts[s + 1] = (s + 1) * LENGTH;
    }
    for (int t = 0; t < n * LENGTH; t++)
        if (m->positions[t] < LENGTH - 1) m->rows[out] = t, m->targets[out++] = m->ids[t + 1];
    m->b = (token_batch){ .T = n * LENGTH,
                          .S = n,
                          .ids = m->ids,
                          .positions = m->positions,
                          .starts = m->starts,
                          .n_out = out,
                          .out_rows = m->rows,
                          .targets = m->targets };
    return m;
}

static void logprobs_among(const small_model *m, int n, int place, float out[LENGTH - 1])
{
    many *s = sequences(n, place, m->table->config.vocab);
    device_scratch_reset(m->dev);
    const activations *acts = model_forward(m->w, &s->b, &(forward_options){ .temperature = 0.7f });
    memcpy(out, acts->logprob + place * (LENGTH - 1), sizeof(float) * (LENGTH - 1));
    free(s);
}

/* Each step decodes one token of each of n sequences. */
static void logprobs_decoded(const small_model *m, int n, int place, float out[LENGTH - 1])
{
    error err = { 0 };
    many *s = sequences(n, place, m->table->config.vocab);
    int32_t table[MAX_BATCH * PAGES_EACH], ids[MAX_BATCH], at[MAX_BATCH], seq[MAX_BATCH];
    kv_cache *kv = kv_cache_new(m->dev, &m->table->config, MAX_BATCH * PAGES_EACH, &err);
    for (int i = 0; i < MAX_BATCH * PAGES_EACH; i++) table[i] = i;
    for (int i = 0; i + 1 < LENGTH; i++) {
        for (int q = 0; q < n; q++) ids[q] = s->ids[q * LENGTH + i], at[q] = i, seq[q] = q;
        const decode_batch b = { n, ids, at, seq, table, PAGES_EACH, n, seq };
        device_scratch_reset(m->dev);
        const int V = m->table->config.vocab;
        const float *logits = model_decode(m->w, kv, &b);
        device_ops(m->dev)->token_logprob(m->dev, logits + (size_t)place * (size_t)V, 1, V, 0.7f,
                                          &s->ids[place * LENGTH + i + 1], &out[i]);
    }
    kv_cache_free(kv);
    free(s);
}

static void check(precision p, model_config config)
{
    static const int SIZES[] = { 1, 7, MAX_BATCH };
    float alone[LENGTH - 1], other[LENGTH - 1];
    for (int threads = 1; threads <= 2; threads++) {
        small_model m = small_model_open(config, threads, 3);
        device_set_precision(m.dev, p);
        for (int i = 0; i < m.table->n; i++) device_free(m.dev, m.w->packed[i][0]), m.w->packed[i][0] = NULL;
        weights_seal(m.w, 0); /* packed anew, in this precision */
        if (threads == 1) logprobs_among(&m, 1, 0, alone);
        for (int i = 0; i < 3; i++) {
            logprobs_among(&m, SIZES[i], SIZES[i] / 2, other);
            test_same_bits(other, alone, LENGTH - 1, "in one pass");
            logprobs_decoded(&m, SIZES[i], SIZES[i] / 2, other);
            test_same_bits(other, alone, LENGTH - 1, "token by token");
        }
        small_model_close(&m);
    }
}

static void batches_of_1_7_and_64_give_the_same_bits(void **state)
{
    (void)state;
    for (int p = PRECISION_F32; p <= PRECISION_BF16; p++) {
        check((precision)p, small_config(true));
        for (int v = 0; v < VARIANTS; v++) check((precision)p, variant_config(v));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(batches_of_1_7_and_64_give_the_same_bits) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
