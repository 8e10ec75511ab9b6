/* The CUDA module as the program opens it. On a machine without a GPU only its loading is tested; that is said. */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"
#include "kernels/cuda/module.h"
#include "tests/support/support.h"

enum { ROWS = 37, WIDTH = 1000 };

typedef struct module {
    void *handle;
    int (*version)(void), (*devices)(void);
    int (*alloc)(void **, size_t), (*release)(void *);
    int (*copy_in)(void *, const void *, size_t), (*copy_out)(void *, const void *, size_t);
    int (*rmsnorm)(const float *, const float *, int, int, float, float *, float *);
} module;

static void *symbol(const module *m, const char *name)
{
    void *s = dlsym(m->handle, name);
    if (!s) fail_msg("the module lacks %s", name);
    return s;
}

static module open_module(void)
{
    char path[1100];
    module m = { 0 };
    snprintf(path, sizeof path, "%s/libtroupe_cuda.so", getenv("TROUPE_BUILD"));
    m.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!m.handle) fail_msg("%s", dlerror());
    *(void **)&m.version = symbol(&m, "troupe_cuda_version");
    *(void **)&m.devices = symbol(&m, "troupe_cuda_devices");
    *(void **)&m.alloc = symbol(&m, "troupe_cuda_alloc");
    *(void **)&m.release = symbol(&m, "troupe_cuda_free");
    *(void **)&m.copy_in = symbol(&m, "troupe_cuda_copy_in");
    *(void **)&m.copy_out = symbol(&m, "troupe_cuda_copy_out");
    *(void **)&m.rmsnorm = symbol(&m, "troupe_cuda_rmsnorm");
    return m;
}

static void the_module_loads_and_is_of_this_build(void **state)
{
    (void)state;
    const module m = open_module();
    assert_int_equal(m.version(), TROUPE_CUDA_MODULE);
    dlclose(m.handle);
}

static float *on_device(const module *m, const float *host, size_t n)
{
    void *p;
    assert_int_equal(m->alloc(&p, n * sizeof *host), 0);
    if (host) assert_int_equal(m->copy_in(p, host, n * sizeof *host), 0);
    return p;
}

/* y [rows, WIDTH] of the first `rows` rows. */
static void run(const module *m, const float *x, const float *w, int rows, float *y)
{
    const size_t n = (size_t)rows * WIDTH;
    float *dx = on_device(m, x, n), *dw = on_device(m, w, WIDTH), *dy = on_device(m, NULL, n),
          *dr = on_device(m, NULL, (size_t)rows);
    assert_int_equal(m->rmsnorm(dx, dw, rows, WIDTH, 1e-5f, dy, dr), 0);
    assert_int_equal(m->copy_out(y, dy, n * sizeof *y), 0);
    m->release(dx);
    m->release(dw);
    m->release(dy);
    m->release(dr);
}

static void rmsnorm_agrees_with_float64_and_a_row_with_itself_in_any_batch(void **state)
{
    (void)state;
    const module m = open_module();
    if (m.devices() == 0) {
        print_message("no GPU here: the CUDA module was only loaded\n");
        dlclose(m.handle);
        skip();
    }
    test_random rnd = test_random_seed(1);
    float *x = xmalloc(sizeof(float) * ROWS * WIDTH), *w = xmalloc(sizeof(float) * WIDTH);
    float *all = xmalloc(sizeof(float) * ROWS * WIDTH), *one = xmalloc(sizeof(float) * WIDTH);
    for (int i = 0; i < ROWS * WIDTH; i++) x[i] = test_random_normal(&rnd);
    for (int i = 0; i < WIDTH; i++) w[i] = test_random_normal(&rnd);
    run(&m, x, w, ROWS, all);
    run(&m, x, w, 1, one);
    assert_memory_equal(all, one, sizeof(float) * WIDTH);
    for (int t = 0; t < ROWS; t++) {
        double squares = 0;
        for (int i = 0; i < WIDTH; i++) squares += (double)x[t * WIDTH + i] * (double)x[t * WIDTH + i];
        const double r = 1 / sqrt(squares / WIDTH + 1e-5);
        for (int i = 0; i < WIDTH; i++)
            test_near((double)all[t * WIDTH + i], (double)x[t * WIDTH + i] * r * (double)w[i], 1e-5, "rmsnorm");
    }
    free(x);
    free(w);
    free(all);
    free(one);
    dlclose(m.handle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_module_loads_and_is_of_this_build),
        cmocka_unit_test(rmsnorm_agrees_with_float64_and_a_row_with_itself_in_any_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
