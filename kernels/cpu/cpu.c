#include "kernels/cpu/cpu.h"

#include "kernels/cpu/table.h"

#if defined __AVX512F__
const char *const CPU_ISA = "avx512";
#elif defined __AVX2__
const char *const CPU_ISA = "avx2";
#else
const char *const CPU_ISA = "sse";
#endif

const struct ops CPU_OPS = {
    .zero = cpu_zero,
    .add = cpu_add,
    .scale = cpu_scale,
    .linear_packed_bytes = cpu_linear_packed_bytes,
    .linear_pack = cpu_linear_pack,
    .linear = cpu_linear,
    .linear_dx = cpu_linear_dx,
    .linear_dw = cpu_linear_dw,
    .embed = cpu_embed,
    .embed_backward = cpu_embed_backward,
    .rmsnorm = cpu_rmsnorm,
    .rmsnorm_backward = cpu_rmsnorm_backward,
    .rope = cpu_rope,
    .rope_backward = cpu_rope_backward,
    .attention = cpu_attention,
    .attention_backward = cpu_attention_backward,
    .kv_write = cpu_kv_write,
    .attention_paged = cpu_attention_paged,
    .swiglu = cpu_swiglu,
    .swiglu_backward = cpu_swiglu_backward,
    .head = cpu_head,
    .head_backward = cpu_head_backward,
    .sample = cpu_sample,
    .token_logprob = cpu_token_logprob,
    .adamw = cpu_adamw,
    .sum_squares = cpu_sum_squares,
    .gram = cpu_gram,
    .combine = cpu_combine,
};
