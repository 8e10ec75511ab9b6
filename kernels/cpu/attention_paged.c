/* Decode attention over pages. Keys lie transposed in their page, [Hkv][hd][KV_PAGE], values as they come,
 * [KV_PAGE][Hkv][hd]: nobody but kv_write and attention_paged looks inside. */
#include <math.h>
#include <omp.h>

#include "kernels/cpu/attend.h"
#include "kernels/cpu/cpu.h"

void cpu_kv_write(device *dev, const float *k, const float *v, const int32_t *row_seq, const int32_t *positions,
                  const int32_t *table, int max_pages, int T, int Hkv, int hd, float *k_pages, float *v_pages)
{
    (void)dev;
    const size_t width = (size_t)Hkv * (size_t)hd, page_floats = width * KV_PAGE;
    for (int t = 0; t < T; t++) {
        const int slot = positions[t] % KV_PAGE;
        const size_t page = (size_t)table[(size_t)row_seq[t] * (size_t)max_pages + (size_t)(positions[t] / KV_PAGE)];
        float *keys = k_pages + page * page_floats;
        for (size_t c = 0; c < width; c++) keys[c * KV_PAGE + (size_t)slot] = k[(size_t)t * width + c];
        memcpy(v_pages + page * page_floats + (size_t)slot * width, v + (size_t)t * width, sizeof(float) * width);
    }
}

void cpu_attention_paged(device *dev, const float *q, const float *k_pages, const float *v_pages,
                         const int32_t *row_seq, const int32_t *positions, const int32_t *table, int max_pages, int T,
                         int H, int Hkv, int hd, float *o)
{
    const size_t width = (size_t)Hkv * (size_t)hd, page_floats = width * KV_PAGE, room = (size_t)max_pages * KV_PAGE;
    const int group = H / Hkv;
    const float scale = 1.0f / sqrtf((float)hd);
    double flops = 0;
    for (int t = 0; t < T; t++) flops += 4.0 * (positions[t] + 1) * H * hd;
    const int threads = threads_for(dev, flops);
    float *buffers = device_scratch(dev, sizeof(float) * room * (size_t)threads);
#pragma omp parallel for schedule(dynamic, 4) num_threads(threads)
    for (int t = 0; t < T; t++) {
        float *scores = buffers + room * (size_t)omp_get_thread_num();
        for (int h = 0; h < H; h++) {
            const size_t g = (size_t)(h / group), at = ((size_t)t * (size_t)H + (size_t)h) * (size_t)hd;
            const key_blocks kb = { .keys = k_pages + g * (size_t)hd * KV_PAGE,
                                    .values = v_pages + g * (size_t)hd,
                                    .table = table + (size_t)row_seq[t] * (size_t)max_pages,
                                    .key_block = page_floats,
                                    .value_block = page_floats,
                                    .value_stride = width };
            attend_row(q + at, &kb, positions[t] + 1, hd, scale, scores, o + at);
        }
    }
}
