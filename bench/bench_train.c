/* bench_train - tokens a second of forward and backward, for the model size of the calculator recipe.
 *
 *   build/bench_train [seconds per line]
 *
 * 3 layers, width 128, 4 heads, ffn 352, vocabulary 512; 96 sequences of 200 tokens, a target at every row but the
 * last. One line a setting: threads, what is run, milliseconds a step (best of the repeats) and tokens a second. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/str.h"
#include "model/transformer.h"

enum { SEQUENCES = 96, LENGTH = 200, TOKENS = SEQUENCES * LENGTH, OUT = SEQUENCES * (LENGTH - 1) };

static const model_config CONFIG = { .architecture = "LlamaForCausalLM",
                                     .vocab = 512,
                                     .width = 128,
                                     .layers = 3,
                                     .heads = 4,
                                     .kv_heads = 4,
                                     .head_dim = 32,
                                     .ffn = 352,
                                     .max_position = 1024,
                                     .rope_theta = 10000,
                                     .norm_eps = 1e-5f,
                                     .tied = true,
                                     .bos = -1 };

typedef struct rows {
    int32_t ids[TOKENS], positions[TOKENS], starts[SEQUENCES + 1], out_rows[OUT], targets[OUT];
} rows;

static token_batch random_batch(rows *r)
{
    int n = 0;
    for (int t = 0; t < TOKENS; t++) {
        r->ids[t] = (int32_t)rng_below((rng_key){ 1, 1 }, 0, (uint64_t)t, (uint64_t)CONFIG.vocab);
        r->positions[t] = t % LENGTH;
    }
    for (int s = 0; s <= SEQUENCES; s++) r->starts[s] = s * LENGTH;
    for (int t = 0; t < TOKENS; t++) {
        if (r->positions[t] == LENGTH - 1) continue;
        r->out_rows[n] = t;
        r->targets[n++] = r->ids[t + 1];
    }
    return (token_batch){ .T = TOKENS,
                          .S = SEQUENCES,
                          .ids = r->ids,
                          .positions = r->positions,
                          .starts = r->starts,
                          .n_out = OUT,
                          .out_rows = r->out_rows,
                          .targets = r->targets };
}

static int64_t step_us(const weights *w, const token_batch *b, const forward_options *o, const float *slope,
                       float *grads)
{
    const int64_t began = clock_us();
    device_scratch_reset(w->dev);
    const activations *acts = model_forward(w, b, o);
    if (o->keep) model_backward(w, b, acts, slope, 1, grads, NULL);
    return clock_us() - began;
}

static void measure(const weights *w, const token_batch *b, const char *what, const forward_options *o, double seconds)
{
    float *grads = device_alloc(w->dev, sizeof(float) * (size_t)w->table->total);
    float *slope = device_alloc(w->dev, sizeof(float) * OUT);
    device_ops(w->dev)->zero(w->dev, grads, w->table->total);
    for (int i = 0; i < OUT; i++) slope[i] = -1.0f / OUT;
    step_us(w, b, o, slope, grads); /* touches the scratch memory */
    int64_t best = INT64_MAX;
    const int64_t until = clock_us() + (int64_t)(seconds * 1e6);
    do {
        const int64_t us = step_us(w, b, o, slope, grads);
        best = us < best ? us : best;
    } while (clock_us() < until);
    printf("%-26s %-22s %8.1f ms %10.0f tokens/s %7.1f MiB scratch\n", device_name(w->dev), what, (double)best / 1e3,
           TOKENS / ((double)best / 1e6), (double)device_scratch_peak(w->dev) / (1 << 20));
    device_free(w->dev, slope);
    device_free(w->dev, grads);
}

static int bench(int threads, double seconds, error *err)
{
    static const forward_options FORWARD = { 0 }, TRAIN = { .keep = true },
                                 FRUGAL = { .keep = true, .recompute = true };
    rows *r = xmalloc(sizeof *r);
    const token_batch b = random_batch(r);
    weights *w = NULL;
    param_table *table = param_table_new(&CONFIG, err);
    device *dev = device_open("cpu", threads, err);
    if (table && dev && (w = weights_new(dev, table, err))) {
        weights_init(w, 1, 0.02f);
        weights_seal(w, 0);
        measure(w, &b, "forward", &FORWARD, seconds);
        measure(w, &b, "recompute, backward", &FRUGAL, seconds);
        measure(w, &b, "forward, backward", &TRAIN, seconds);
    }
    const int rc = w ? OK : ERR_DEVICE;
    weights_free(w);
    device_close(dev);
    param_table_free(table);
    free(r);
    return rc;
}

int main(int argc, char **argv)
{
    const double seconds = argc > 1 ? atof(argv[1]) : 2;
    error err;
    for (int threads = 1; threads <= 2; threads++) {
        if (bench(threads, seconds, &err) == OK) continue;
        fprintf(stderr, "bench_train: %s\n", err.text);
        return 1;
    }
    return 0;
}
