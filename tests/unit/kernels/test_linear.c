#include "tests/unit/kernels/bench.h"

static float *packed(bench *b, const float *w, int N, int K)
{
    void *p = on_device(b, NULL, b->ops->linear_packed_bytes(N, K));
    b->ops->linear_pack(b->dev, put(b, w, (size_t)N * (size_t)K), N, K, p);
    return p;
}

static float *product(bench *b, const float *x, int M, const float *w, int N, int K)
{
    float *y = zeros(b, (size_t)M * (size_t)N);
    b->ops->linear(b->dev, put(b, x, (size_t)M * (size_t)K), M, packed(b, w, N, K), N, K, y);
    return get(b, y, (size_t)M * (size_t)N);
}

static const int SHAPES[][3] = { { 1, 1, 1 },     { 1, 701, 128 },  { 3, 17, 5 },
                                 { 33, 64, 128 }, { 70, 100, 352 }, { 5, 16, 300 } };
enum { N_SHAPES = sizeof SHAPES / sizeof *SHAPES };

static void a_product_agrees_with_float64(void **state)
{
    (void)state;
    for (int s = 0; s < N_SHAPES; s++) {
        bench b = bench_open(2);
        const int M = SHAPES[s][0], N = SHAPES[s][1], K = SHAPES[s][2];
        const float *x = random_host(&b, (size_t)(M * K), 1), *w = random_host(&b, (size_t)(N * K), 1);
        double *want = zeros64(&b, (size_t)(M * N));
        for (int m = 0; m < M; m++)
            for (int n = 0; n < N; n++)
                for (int k = 0; k < K; k++) want[m * N + n] += (double)x[m * K + k] * (double)w[n * K + k];
        near_all(product(&b, x, M, w, N, K), want, (size_t)(M * N), 1e-4, "y");
        bench_close(&b);
    }
}

/* dx += dy W and dW += dy^T x are linear: the float64 sums are exact slopes. */
static void both_gradients_are_added_and_agree_with_float64(void **state)
{
    (void)state;
    for (int s = 0; s < N_SHAPES; s++) {
        bench b = bench_open(2);
        const int M = SHAPES[s][0], N = SHAPES[s][1], K = SHAPES[s][2];
        const float *x = random_host(&b, (size_t)(M * K), 1), *w = random_host(&b, (size_t)(N * K), 1);
        const float *dy = random_host(&b, (size_t)(M * N), 1);
        const float *dx0 = random_host(&b, (size_t)(M * K), 1), *dw0 = random_host(&b, (size_t)(N * K), 1);
        float *dx = put(&b, dx0, (size_t)(M * K)), *dw = put(&b, dw0, (size_t)(N * K)),
              *ddy = put(&b, dy, (size_t)(M * N));
        double *want_x = zeros64(&b, (size_t)(M * K)), *want_w = zeros64(&b, (size_t)(N * K));
        for (int i = 0; i < M * K; i++) want_x[i] = (double)dx0[i];
        for (int i = 0; i < N * K; i++) want_w[i] = (double)dw0[i];
        for (int m = 0; m < M; m++)
            for (int n = 0; n < N; n++)
                for (int k = 0; k < K; k++) {
                    want_x[m * K + k] += (double)dy[m * N + n] * (double)w[n * K + k];
                    want_w[n * K + k] += (double)dy[m * N + n] * (double)x[m * K + k];
                }
        b.ops->linear_dx(b.dev, ddy, M, put(&b, w, (size_t)(N * K)), N, K, dx);
        b.ops->linear_dw(b.dev, ddy, put(&b, x, (size_t)(M * K)), M, N, K, dw);
        near_all(get(&b, dx, (size_t)(M * K)), want_x, (size_t)(M * K), 1e-4, "dx");
        near_all(get(&b, dw, (size_t)(N * K)), want_w, (size_t)(N * K), 1e-4, "dw");
        bench_close(&b);
    }
}

/* What makes an actor's logprob the learner's: a row's bits know nothing of the rows beside it, nor of threads. */
static void a_row_has_the_same_bits_in_any_batch_and_on_any_number_of_threads(void **state)
{
    (void)state;
    enum { M = 97, N = 130, K = 257 };
    bench one = bench_open(1), two = bench_open(2);
    const float *x = random_host(&one, M * K, 1), *w = random_host(&one, N * K, 1);
    const float *all = product(&one, x, M, w, N, K);
    assert_memory_equal(all, product(&two, x, M, w, N, K), sizeof(float) * M * N);
    for (int rows = 1; rows <= 40; rows += 13)
        for (int from = 0; from + rows <= M; from += 19) {
            bench b = bench_open(2);
            assert_memory_equal(product(&b, x + from * K, rows, w, N, K), all + from * N,
                                sizeof(float) * (size_t)(rows * N));
            bench_close(&b);
        }
    bench_close(&one);
    bench_close(&two);
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
        cmocka_unit_test(both_gradients_are_added_and_agree_with_float64),
        cmocka_unit_test(a_row_has_the_same_bits_in_any_batch_and_on_any_number_of_threads),
        cmocka_unit_test(embedding_looks_up_and_its_gradient_adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
