/* SPDX-License-Identifier: MIT */
/* Linear products in both precisions: float64 references, and the promise that a row's bits are its own. */
#include "tests/unit/kernels/bench.h"

static const precision BOTH[] = { PRECISION_F32, PRECISION_BF16 };

static bench open_with(int threads, precision p)
{
    bench b = bench_open(threads);
    device_set_precision(b.dev, p);
    return b;
}

/* What a product sees of a number. */
static double seen(float f, precision p)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if (p == PRECISION_BF16) u = (u + 0x7fff + ((u >> 16) & 1)) & 0xffff0000;
    memcpy(&f, &u, sizeof f);
    return (double)f;
}

static float *packed(bench *b, const float *w, int N, int K)
{
    void *p = on_device(b, NULL, b->ops->linear_packed_bytes(b->dev, N, K));
    b->ops->linear_pack(b->dev, put(b, w, (size_t)N * (size_t)K), N, K, p);
    return p;
}

static float *product(bench *b, const float *x, int M, const float *w, const float *bias, int N, int K)
{
    float *y = zeros(b, (size_t)M * (size_t)N);
    b->ops->linear(b->dev, put(b, x, (size_t)M * (size_t)K), M, packed(b, w, N, K),
                   bias ? put(b, bias, (size_t)N) : NULL, N, K, y);
    return get(b, y, (size_t)M * (size_t)N);
}

static const int SHAPES[][3] = { { 1, 1, 1 },     { 1, 701, 128 },  { 2, 96, 40 },  { 3, 17, 5 },    { 4, 160, 70 },
                                 { 33, 64, 128 }, { 70, 100, 352 }, { 5, 16, 300 }, { 140, 33, 513 } };
enum { N_SHAPES = sizeof SHAPES / sizeof *SHAPES };

static void check_product(precision p, int M, int N, int K)
{
    bench b = open_with(2, p);
    const float *x = random_host(&b, (size_t)(M * K), 1), *w = random_host(&b, (size_t)(N * K), 1),
                *bias = random_host(&b, (size_t)N, 1);
    double *want = zeros64(&b, (size_t)(M * N));
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++)
            for (int k = 0; k < K; k++) want[m * N + n] += seen(x[m * K + k], p) * seen(w[n * K + k], p);
    near_all(product(&b, x, M, w, NULL, N, K), want, (size_t)(M * N), 1e-4, "y");
    for (int i = 0; i < M * N; i++) want[i] += (double)bias[i % N];
    near_all(product(&b, x, M, w, bias, N, K), want, (size_t)(M * N), 1e-4, "y with a bias");
    bench_close(&b);
}

static void a_product_agrees_with_float64(void **state)
{
    (void)state;
    for (int s = 0; s < N_SHAPES; s++)
        for (int p = 0; p < 2; p++) check_product(BOTH[p], SHAPES[s][0], SHAPES[s][1], SHAPES[s][2]);
}

/* dx += dy W, dW += dy^T x and db += the rows' sum are linear: the float64 sums are exact gradients. */
static void check_gradients(precision p, int M, int N, int K)
{
    bench b = open_with(2, p);
    const float *x = random_host(&b, (size_t)(M * K), 1), *w = random_host(&b, (size_t)(N * K), 1);
    const float *dy = random_host(&b, (size_t)(M * N), 1), *db0 = random_host(&b, (size_t)N, 1);
    const float *dx0 = random_host(&b, (size_t)(M * K), 1), *dw0 = random_host(&b, (size_t)(N * K), 1);
    float *dx = put(&b, dx0, (size_t)(M * K)), *dw = put(&b, dw0, (size_t)(N * K)), *db = put(&b, db0, (size_t)N),
          *ddy = put(&b, dy, (size_t)(M * N));
    double *want_x = zeros64(&b, (size_t)(M * K)), *want_w = zeros64(&b, (size_t)(N * K)),
           *want_b = zeros64(&b, (size_t)N);
    for (int i = 0; i < M * K; i++) want_x[i] = (double)dx0[i];
    for (int i = 0; i < N * K; i++) want_w[i] = (double)dw0[i];
    for (int n = 0; n < N; n++) want_b[n] = (double)db0[n];
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) {
            want_b[n] += (double)dy[m * N + n];
            for (int k = 0; k < K; k++) {
                want_x[m * K + k] += seen(dy[m * N + n], p) * seen(w[n * K + k], p);
                want_w[n * K + k] += seen(dy[m * N + n], p) * seen(x[m * K + k], p);
            }
        }
    float *dev_w = put(&b, w, (size_t)(N * K));
    void *transposed = on_device(&b, NULL, b.ops->linear_transposed_bytes(b.dev, N, K) + 1);
    float *again = put(&b, dx0, (size_t)(M * K));
    b.ops->linear_transpose(b.dev, dev_w, N, K, transposed);
    b.ops->linear_dx(b.dev, ddy, M, dev_w, transposed, N, K, again);
    b.ops->linear_dx(b.dev, ddy, M, dev_w, NULL, N, K, dx);
    assert_memory_equal(get(&b, again, (size_t)(M * K)), get(&b, dx, (size_t)(M * K)), sizeof(float) * (size_t)(M * K));
    b.ops->linear_dw(b.dev, ddy, put(&b, x, (size_t)(M * K)), M, N, K, dw);
    b.ops->bias_backward(b.dev, ddy, M, N, db);
    near_all(get(&b, dx, (size_t)(M * K)), want_x, (size_t)(M * K), 1e-4, "dx");
    near_all(get(&b, dw, (size_t)(N * K)), want_w, (size_t)(N * K), 1e-4, "dw");
    near_all(get(&b, db, (size_t)N), want_b, (size_t)N, 1e-4, "db");
    bench_close(&b);
}

static void gradients_are_added_and_agree_with_float64(void **state)
{
    (void)state;
    for (int s = 0; s < N_SHAPES; s++)
        for (int p = 0; p < 2; p++) check_gradients(BOTH[p], SHAPES[s][0], SHAPES[s][1], SHAPES[s][2]);
}

/* What makes an actor's logprob the learner's: a row's bits know nothing of the rows beside it, nor of threads. */
static void check_bits(precision p)
{
    enum { M = 97, N = 130, K = 557 };
    bench one = open_with(1, p), two = open_with(2, p);
    const float *x = random_host(&one, M * K, 1), *w = random_host(&one, N * K, 1), *bias = random_host(&one, N, 1);
    const float *all = product(&one, x, M, w, bias, N, K);
    same_row(&two, product(&two, x, M, w, bias, N, K), all, M * N, "two threads");
    for (int rows = 1; rows <= 40; rows += rows < 6 ? 1 : 13)
        for (int from = 0; from + rows <= M; from += 19) {
            bench b = open_with(2, p);
            same_row(&b, product(&b, x + from * K, rows, w, bias, N, K), all + from * N, (size_t)(rows * N), "a row");
            bench_close(&b);
        }
    bench_close(&one);
    bench_close(&two);
}

static void a_row_has_the_same_bits_in_any_batch_and_on_any_number_of_threads(void **state)
{
    (void)state;
    for (int p = 0; p < 2; p++) check_bits(BOTH[p]);
}

/* Query, key and value share one call: each as if it were alone, with a residual added or not, in place or not. */
static void check_parts(precision p, int M)
{
    enum { K = 200, N0 = 70, N1 = 33, N2 = 64 };
    bench b = open_with(2, p);
    const int N[3] = { N0, N1, N2 };
    const float *x = random_host(&b, (size_t)(M * K), 1), *residual = random_host(&b, (size_t)(M * N1), 1);
    float *dx = put(&b, x, (size_t)(M * K)), *alone[3];
    linear_part parts[3];
    for (int i = 0; i < 3; i++) {
        const float *w = random_host(&b, (size_t)(N[i] * K), 1), *bias = random_host(&b, (size_t)N[i], 1);
        alone[i] = product(&b, x, M, w, bias, N[i], K);
        parts[i] = (linear_part){ .packed = packed(&b, w, N[i], K),
                                  .bias = put(&b, bias, (size_t)N[i]),
                                  .N = N[i],
                                  .y = zeros(&b, (size_t)(M * N[i])) };
    }
    parts[1].y = put(&b, residual, (size_t)(M * N1));
    parts[1].add = parts[1].y;
    b.ops->linears(b.dev, dx, M, K, parts, 3);
    same_row(&b, get(&b, parts[0].y, (size_t)(M * N0)), alone[0], (size_t)(M * N0), "the first");
    same_row(&b, get(&b, parts[2].y, (size_t)(M * N2)), alone[2], (size_t)(M * N2), "the last");
    const float *sum = get(&b, parts[1].y, (size_t)(M * N1));
    for (int i = 0; i < M * N1; i++)
        test_near((double)sum[i], (double)alone[1][i] + (double)residual[i], 1e-4, "residual + product");
    bench_close(&b);
}

static void products_of_one_input_are_each_as_if_alone(void **state)
{
    (void)state;
    for (int p = 0; p < 2; p++)
        for (int M = 1; M <= 9; M += 4) check_parts(BOTH[p], M);
}

/* Real models have a few residual channels of thousands beside products of about one. A sum that starts from the
 * residual loses its terms' last bits K times (SmolLM2's logits were off by ten times what PyTorch's are). */
static void check_residual(precision p, int M)
{
    enum { N = 40, K = 1536, BLOCKS = 6 };
    const double half_ulp = 0x1p-12; /* of 4096 to 8191 */
    bench b = open_with(2, p);
    const float *x = random_host(&b, (size_t)(M * K), 1), *w = random_host(&b, N * K, 1);
    float *residual = random_host(&b, (size_t)(M * N), 1);
    for (int i = 0; i < M * N; i++) residual[i] = 6144 + 1024 * (residual[i] > 0 ? 1.0f : -1.0f) + residual[i];

    linear_part part = { .packed = packed(&b, w, N, K), .N = N, .y = put(&b, residual, (size_t)(M * N)) };
    part.add = part.y;
    b.ops->linears(b.dev, put(&b, x, (size_t)(M * K)), M, K, &part, 1);

    const float *y = get(&b, part.y, (size_t)(M * N));
    for (int i = 0; i < M * N; i++) {
        double want = (double)residual[i];
        for (int k = 0; k < K; k++) want += seen(x[i / N * K + k], p) * seen(w[i % N * K + k], p);
        const double off = fabs((double)y[i] - want);
        if (off > BLOCKS * half_ulp + 1e-4)
            fail_msg("%d rows, element %d: off by %.2g from %.9g, a few roundings of %.2g are expected", M, i, off,
                     want, half_ulp);
    }
    bench_close(&b);
}

static void a_large_residual_costs_a_product_no_bits(void **state)
{
    (void)state;
    for (int p = 0; p < 2; p++)
        for (int M = 1; M <= 9; M += 4) check_residual(BOTH[p], M);
}

static void embedding_looks_up_and_its_gradient_adds_up(void **state)
{
    (void)state;
    enum { V = 11, D = 37, T = 50 };
    bench b = bench_open(2);
    const float *e = random_host(&b, V * D, 1), *dy = random_host(&b, T * D, 1);
    int32_t ids[T];
    for (int t = 0; t < T; t++) ids[t] = (int32_t)test_random_below(&b.rnd, V);
    int32_t *dids = put_ints(&b, ids, T);
    float *y = zeros(&b, T * D), *de = zeros(&b, V * D);
    b.ops->embed(b.dev, put(&b, e, V * D), dids, T, D, y);
    const float *got = get(&b, y, T * D);
    for (int t = 0; t < T; t++) assert_memory_equal(got + t * D, e + ids[t] * D, sizeof(float) * D);
    double *want = zeros64(&b, V * D);
    for (int t = 0; t < T; t++)
        for (int i = 0; i < D; i++) want[ids[t] * D + i] += (double)dy[t * D + i];
    b.ops->embed_backward(b.dev, put(&b, dy, T * D), dids, T, D, de);
    near_all(get(&b, de, V * D), want, V * D, 1e-5, "de");
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_agrees_with_float64),
        cmocka_unit_test(gradients_are_added_and_agree_with_float64),
        cmocka_unit_test(a_row_has_the_same_bits_in_any_batch_and_on_any_number_of_threads),
        cmocka_unit_test(products_of_one_input_are_each_as_if_alone),
        cmocka_unit_test(a_large_residual_costs_a_product_no_bits),
        cmocka_unit_test(embedding_looks_up_and_its_gradient_adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
