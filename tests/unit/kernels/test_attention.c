/* SPDX-License-Identifier: MIT */
/* Causal attention over packed sequences, in float64 and by differences; and the paged one, bit for bit. */
#include "tests/unit/kernels/bench.h"

enum { H = 4, HKV = 2, HD = 8, S = 4, T = 45, NQ = T * H * HD, NK = T * HKV * HD };
static const int32_t STARTS[S + 1] = { 0, 1, 20, 37, T };
static const int32_t PREFIX[S] = { -1, -1, 1, 1 }; /* sequence 1 stands before 2 and 3 */
static const int WINDOWS[] = { 0, 1, 5, 18, 0, 5 };
static const float CAPS[] = { 0, 0, 0, 0, 1.5f, 0.7f }; /* of the scores */
enum { N_FORMS = 6 };

typedef struct problem {
    const double *q, *k, *v, *dout;
    const int32_t *prefix; /* [S], or NULL */
    int window;
    double cap;
} problem;

/* The rows of the keys that row t of sequence s sees; returns how many. */
static int keys_of(const problem *p, int s, int t, int *rows)
{
    int n = 0;
    const int before = p->prefix ? p->prefix[s] : -1;
    for (int j = before < 0 ? 0 : STARTS[before]; before >= 0 && j < STARTS[before + 1]; j++) rows[n++] = j;
    for (int j = STARTS[s]; j <= t; j++) rows[n++] = j;

    const int unseen = p->window > 0 && n > p->window ? n - p->window : 0;
    memmove(rows, rows + unseen, sizeof *rows * (size_t)(n - unseen));
    return n - unseen;
}

/* o [T, H, HD]; returns sum(dout * o). */
static double attend64(const problem *p, const double *q, const double *k, const double *v, double *o)
{
    double sum = 0;
    for (int s = 0; s < S; s++)
        for (int t = STARTS[s]; t < STARTS[s + 1]; t++)
            for (int h = 0; h < H; h++) {
                const int kv = h / (H / HKV);
                double z[T], top = -1e300, total = 0;
                int rows[T];
                const int n = keys_of(p, s, t, rows);
                for (int j = 0; j < n; j++) {
                    z[j] = 0;
                    for (int i = 0; i < HD; i++) z[j] += q[(t * H + h) * HD + i] * k[(rows[j] * HKV + kv) * HD + i];
                    z[j] /= sqrt(HD);
                    if (p->cap > 0) z[j] = p->cap * tanh(z[j] / p->cap);
                    top = fmax(top, z[j]);
                }
                for (int j = 0; j < n; j++) total += exp(z[j] - top);
                for (int i = 0; i < HD; i++) {
                    double y = 0;
                    for (int j = 0; j < n; j++) y += exp(z[j] - top) / total * v[(rows[j] * HKV + kv) * HD + i];
                    if (o) o[(t * H + h) * HD + i] = y;
                    sum += y * p->dout[(t * H + h) * HD + i];
                }
            }
    return sum;
}
static double of_q(void *ctx, const double *x)
{
    const problem *p = ctx;
    return attend64(p, x, p->k, p->v, NULL);
}
static double of_k(void *ctx, const double *x)
{
    const problem *p = ctx;
    return attend64(p, p->q, x, p->v, NULL);
}
static double of_v(void *ctx, const double *x)
{
    const problem *p = ctx;
    return attend64(p, p->q, p->k, x, NULL);
}

static double *wide(bench *b, const float *x, size_t n)
{
    double *y = zeros64(b, n);
    for (size_t i = 0; i < n; i++) y[i] = (double)x[i];
    return y;
}

static void check_window(int window, float cap, const int32_t *prefix)
{
    bench b = bench_open(2);
    const float *q = random_host(&b, NQ, 1), *k = random_host(&b, NK, 1), *v = random_host(&b, NK, 1),
                *dout = random_host(&b, NQ, 1);
    float *dq = put(&b, q, NQ), *dk = put(&b, k, NK), *dv = put(&b, v, NK), *o = zeros(&b, NQ), *lse = zeros(&b, T * H);
    float *gq = zeros(&b, NQ), *gk = zeros(&b, NK), *gv = zeros(&b, NK);
    int32_t *starts = put_ints(&b, STARTS, S + 1), *before = prefix ? put_ints(&b, prefix, S) : NULL;
    problem p = { wide(&b, q, NQ), wide(&b, k, NK), wide(&b, v, NK), wide(&b, dout, NQ), prefix, window, (double)cap };
    double *want = zeros64(&b, NQ);
    b.ops->attention(b.dev, dq, dk, dv, starts, before, S, H, HKV, HD, window, cap, o, lse);
    b.ops->attention_backward(b.dev, put(&b, dout, NQ), dq, dk, dv, o, lse, starts, before, S, H, HKV, HD, window, cap,
                              gq, gk, gv);
    attend64(&p, p.q, p.k, p.v, want);
    near_all(get(&b, o, NQ), want, NQ, 1e-5, "o");
    near_derivatives(get(&b, gq, NQ), of_q, &p, q, NQ, "dq");
    near_derivatives(get(&b, gk, NK), of_k, &p, k, NK, "dk");
    near_derivatives(get(&b, gv, NK), of_v, &p, v, NK, "dv");
    bench_close(&b);
}

static void attention_and_its_gradients(void **state)
{
    (void)state;
    for (int i = 0; i < N_FORMS; i++) check_window(WINDOWS[i], CAPS[i], NULL);
}

static void attention_over_a_shared_prefix_and_its_gradients(void **state)
{
    (void)state;
    check_window(0, 0, PREFIX);
    check_window(18, 0, PREFIX);
    check_window(0, 1.5f, PREFIX);
}

/* [T + 2 prefixes]: the rows of x of the same sequences with the prefix written out in front of each. */
enum { SHARED = 19, APART = T + 2 * SHARED };
static const int32_t APART_STARTS[S + 1] = { 0, 1, 20, 20 + SHARED + 17, APART };
static float *written_out(bench *b, const float *x, int width)
{
    float *to = host(b, sizeof *x * (size_t)(APART * width)), *at = to;
    for (int s = 0; s < S; s++) {
        const int p = PREFIX[s];
        const int32_t parts[2][2] = { { p < 0 ? 0 : STARTS[p], p < 0 ? 0 : STARTS[p + 1] },
                                      { STARTS[s], STARTS[s + 1] } };
        for (int i = 0; i < 2; i++) {
            const int n = (parts[i][1] - parts[i][0]) * width;
            memcpy(at, x + parts[i][0] * width, sizeof *x * (size_t)n);
            at += n;
        }
    }
    return put(b, to, (size_t)(APART * width));
}

/* Forward bits of a sequence's own rows, and those of their queries' gradients, which no other row has a part in. */
static void check_sharing(int window, float cap)
{
    bench b = bench_open(2);
    const float *q = random_host(&b, NQ, 1), *k = random_host(&b, NK, 1), *v = random_host(&b, NK, 1),
                *dout = random_host(&b, NQ, 1);
    float *dq = put(&b, q, NQ), *dk = put(&b, k, NK), *dv = put(&b, v, NK), *o = zeros(&b, NQ), *lse = zeros(&b, T * H);
    float *gq = zeros(&b, NQ), *gk = zeros(&b, NK), *gv = zeros(&b, NK);
    int32_t *starts = put_ints(&b, STARTS, S + 1), *prefix = put_ints(&b, PREFIX, S);
    b.ops->attention(b.dev, dq, dk, dv, starts, prefix, S, H, HKV, HD, window, cap, o, lse);
    b.ops->attention_backward(b.dev, put(&b, dout, NQ), dq, dk, dv, o, lse, starts, prefix, S, H, HKV, HD, window, cap,
                              gq, gk, gv);

    enum { MQ = APART * H * HD, MK = APART * HKV * HD };
    float *aq = written_out(&b, q, H * HD), *ak = written_out(&b, k, HKV * HD), *av = written_out(&b, v, HKV * HD),
          *adout = written_out(&b, dout, H * HD), *ao = zeros(&b, MQ), *alse = zeros(&b, APART * H);
    float *agq = zeros(&b, MQ), *agk = zeros(&b, MK), *agv = zeros(&b, MK);
    int32_t *at = put_ints(&b, APART_STARTS, S + 1);
    b.ops->attention(b.dev, aq, ak, av, at, NULL, S, H, HKV, HD, window, cap, ao, alse);
    b.ops->attention_backward(b.dev, adout, aq, ak, av, ao, alse, at, NULL, S, H, HKV, HD, window, cap, agq, agk, agv);

    const float *got_o = get(&b, o, NQ), *got_lse = get(&b, lse, T * H), *got_dq = get(&b, gq, NQ);
    const float *want_o = get(&b, ao, MQ), *want_lse = get(&b, alse, APART * H), *want_dq = get(&b, agq, MQ);
    for (int s = 0; s < S; s++) {
        const int n = STARTS[s + 1] - STARTS[s], from = STARTS[s], to = APART_STARTS[s + 1] - n;
        same_row(&b, got_o + from * H * HD, want_o + to * H * HD, (size_t)(n * H * HD), "o");
        same_row(&b, got_lse + from * H, want_lse + to * H, (size_t)(n * H), "lse");
        same_row(&b, got_dq + from * H * HD, want_dq + to * H * HD, (size_t)(n * H * HD), "dq");
    }
    bench_close(&b);
}

static void a_row_has_the_same_bits_whether_its_prefix_is_shared_or_its_own(void **state)
{
    (void)state;
    for (int i = 0; i < N_FORMS; i++) check_sharing(WINDOWS[i], CAPS[i]);
}

/* Pages in any order, rows in any batch, any number of threads: the bits of the packed one. */
static void check_pages(int window, float cap)
{
    enum { PAGES = 16, MAX_PAGES = 4, PAGE = KV_PAGE * HKV * HD };
    bench b = bench_open(1), two = bench_open(2);
    const float *q = random_host(&b, NQ, 1), *k = random_host(&b, NK, 1), *v = random_host(&b, NK, 1);
    float *o = zeros(&b, NQ), *lse = zeros(&b, T * H);
    b.ops->attention(b.dev, put(&b, q, NQ), put(&b, k, NK), put(&b, v, NK), put_ints(&b, STARTS, S + 1), NULL, S, H,
                     HKV, HD, window, cap, o, lse);
    const float *packed = get(&b, o, NQ);

    int32_t row_seq[T], positions[T], table[S * MAX_PAGES];
    for (int i = 0; i < S * MAX_PAGES; i++) table[i] = (int32_t)((i * 7 + 3) % PAGES);
    for (int s = 0; s < S; s++)
        for (int t = STARTS[s]; t < STARTS[s + 1]; t++) row_seq[t] = s, positions[t] = t - STARTS[s];
    float *kp = zeros(&two, PAGES * PAGE), *vp = zeros(&two, PAGES * PAGE);
    int32_t *tables = put_ints(&two, table, S * MAX_PAGES);
    for (int from = 0, rows; from < T; from += rows) { /* in pieces that cut sequences anywhere */
        rows = from + 11 < T ? 11 : T - from;
        float *out = zeros(&two, (size_t)(rows * H * HD));
        int32_t *seq = put_ints(&two, row_seq + from, (size_t)rows),
                *at = put_ints(&two, positions + from, (size_t)rows);
        two.ops->kv_write(two.dev, put(&two, k + from * HKV * HD, (size_t)(rows * HKV * HD)),
                          put(&two, v + from * HKV * HD, (size_t)(rows * HKV * HD)), seq, at, tables, MAX_PAGES, rows,
                          HKV, HD, kp, vp);
        two.ops->attention_paged(two.dev, put(&two, q + from * H * HD, (size_t)(rows * H * HD)), kp, vp, seq, at,
                                 tables, MAX_PAGES, rows, H, HKV, HD, window, cap, out);
        same_row(&two, get(&two, out, (size_t)(rows * H * HD)), packed + from * H * HD, (size_t)(rows * H * HD), "o");
    }
    bench_close(&b);
    bench_close(&two);
}

static void paged_attention_has_the_bits_of_the_packed_one(void **state)
{
    (void)state;
    for (int i = 0; i < N_FORMS; i++) check_pages(WINDOWS[i], CAPS[i]);
}

static void large_scores_do_not_overflow(void **state)
{
    (void)state;
    bench b = bench_open(1);
    float q[2 * HD], k[2 * HD], v[2 * HD];
    const int32_t starts[2] = { 0, 2 };
    for (int i = 0; i < 2 * HD; i++) q[i] = 100, k[i] = i < HD ? 100 : -100, v[i] = i < HD ? 1 : 2;
    float *o = zeros(&b, 2 * HD), *lse = zeros(&b, 2);
    b.ops->attention(b.dev, put(&b, q, 2 * HD), put(&b, k, 2 * HD), put(&b, v, 2 * HD), put_ints(&b, starts, 2), NULL,
                     1, 1, 1, HD, 0, 0, o, lse);
    const float *got = get(&b, o, 2 * HD);
    for (int i = 0; i < 2 * HD; i++) test_near((double)got[i], 1, 1e-6, "the first key has it all");
    bench_close(&b);
}

/* With bf16 a GPU attends on its tensor cores, in tiles of 64: sequences of one tile, of several, and odd ones. The CPU
 * in fp32 is the reference (checked above). */
typedef struct gradients {
    const float *o, *lse, *dq, *dk, *dv;
} gradients;

static gradients attend_both_ways(bench *b, const int32_t *starts, const int32_t *prefix, int n, int hd, int window,
                                  float cap)
{
    const int rows = starts[n], nq = rows * H * hd, nk = rows * HKV * hd;
    b->rnd = test_random_seed(11); /* the same numbers on both devices */
    float *q = put(b, random_host(b, (size_t)nq, 1), (size_t)nq),
          *k = put(b, random_host(b, (size_t)nk, 1), (size_t)nk),
          *v = put(b, random_host(b, (size_t)nk, 1), (size_t)nk),
          *dout = put(b, random_host(b, (size_t)nq, 1), (size_t)nq);
    float *o = zeros(b, (size_t)nq), *lse = zeros(b, (size_t)(rows * H)), *dq = zeros(b, (size_t)nq),
          *dk = zeros(b, (size_t)nk), *dv = zeros(b, (size_t)nk);
    int32_t *at = put_ints(b, starts, (size_t)n + 1), *before = prefix ? put_ints(b, prefix, (size_t)n) : NULL;
    b->ops->attention(b->dev, q, k, v, at, before, n, H, HKV, hd, window, cap, o, lse);
    b->ops->attention_backward(b->dev, dout, q, k, v, o, lse, at, before, n, H, HKV, hd, window, cap, dq, dk, dv);
    return (gradients){ get(b, o, (size_t)nq), get(b, lse, (size_t)(rows * H)), get(b, dq, (size_t)nq),
                        get(b, dk, (size_t)nk), get(b, dv, (size_t)nk) };
}

/* Within bf16's error: 2 % of the largest. */
static void near_bf16(const float *got, const float *want, int n, const char *what)
{
    float largest = 0;
    for (int i = 0; i < n; i++) largest = fmaxf(largest, fabsf(want[i]));
    for (int i = 0; i < n; i++) test_near((double)(got[i] / largest), (double)(want[i] / largest), 2e-2, what);
}

static void check_tiles(const int32_t *starts, const int32_t *prefix, int hd, int window, float cap)
{
    const int rows = starts[4];
    bench b = bench_open(2), cpu = { .dev = device_open("cpu", 2, NULL) };
    cpu.ops = device_ops(cpu.dev);
    device_set_precision(b.dev, PRECISION_BF16);
    const gradients want = attend_both_ways(&cpu, starts, prefix, 4, hd, window, cap),
                    got = attend_both_ways(&b, starts, prefix, 4, hd, window, cap);
    near_bf16(got.o, want.o, rows * H * hd, "o");
    near_bf16(got.lse, want.lse, rows * H, "lse");
    near_bf16(got.dq, want.dq, rows * H * hd, "dq");
    near_bf16(got.dk, want.dk, rows * HKV * hd, "dk");
    near_bf16(got.dv, want.dv, rows * HKV * hd, "dv");
    bench_close(&b);
    bench_close(&cpu);
}

static const int HEADS[] = { 32, 64, 128 }, SEEN[] = { 0, 20, 70 };

static void in_bf16_tiles_agree_within_its_rounding(void **state)
{
    (void)state;
    static const int32_t starts[] = { 0, 64, 65, 150, 163 };
    for (int i = 0; i < 3; i++)
        for (int w = 0; w < (i == 1 ? 3 : 1); w++) check_tiles(starts, NULL, HEADS[i], SEEN[w], 0);
    check_tiles(starts, NULL, 64, 20, 1.5f);
}

/* A prefix of a tile and a bit, shared by a sequence of several tiles and a short one. */
static void in_bf16_tiles_a_prefix_is_shared_alike(void **state)
{
    (void)state;
    static const int32_t starts[] = { 0, 70, 140, 150, 163 }, prefix[] = { -1, 0, 0, -1 };
    for (int i = 0; i < 3; i++)
        for (int w = 0; w < (i == 1 ? 3 : 1); w++) check_tiles(starts, prefix, HEADS[i], SEEN[w], 0);
    check_tiles(starts, prefix, 64, 0, 1.5f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_and_its_gradients),
        cmocka_unit_test(attention_over_a_shared_prefix_and_its_gradients),
        cmocka_unit_test(a_row_has_the_same_bits_whether_its_prefix_is_shared_or_its_own),
        cmocka_unit_test(paged_attention_has_the_bits_of_the_packed_one),
        cmocka_unit_test(in_bf16_tiles_agree_within_its_rounding),
        cmocka_unit_test(in_bf16_tiles_a_prefix_is_shared_alike),
        cmocka_unit_test(large_scores_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
