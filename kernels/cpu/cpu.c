/* SPDX-License-Identifier: MIT */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/table.h"

static const struct ops OPS = {
    .zero = cpu_zero,
    .add = cpu_add,
    .scale = cpu_scale,
    .linear_packed_bytes = cpu_linear_packed_bytes,
    .linear_pack = cpu_linear_pack,
    .linear = cpu_linear,
    .linears = cpu_linears,
    .linear_dx = cpu_linear_dx,
    .linear_transposed_bytes = cpu_linear_transposed_bytes,
    .linear_transpose = cpu_linear_transpose,
    .linear_dw = cpu_linear_dw,
    .bias_backward = cpu_bias_backward,
    .embed = cpu_embed,
    .embed_backward = cpu_embed_backward,
    .rmsnorm = cpu_rmsnorm,
    .rmsnorm_backward = cpu_rmsnorm_backward,
    .rope_turns = cpu_rope_turns,
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
    .sketch = cpu_sketch,
    .combine = cpu_combine,
};

#define CPU_TABLE ISA_NAME(CPU_TABLE, CPU_ISA)
#define ISA_TEXT_(isa) #isa
#define ISA_TEXT(isa) ISA_TEXT_(isa)
extern const struct cpu_table CPU_TABLE;
const struct cpu_table CPU_TABLE = { .isa = ISA_TEXT(CPU_ISA), .ops = &OPS };
