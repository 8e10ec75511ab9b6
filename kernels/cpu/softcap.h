/* SPDX-License-Identifier: MIT */
/* softcap - cap tanh(x / cap), sixteen at a time: of the same bits wherever a score or a logit lies. */
#pragma once

#include "kernels/cpu/simd.h"

/* tanh to about 2 ulp: near 0 a polynomial in x^2 (Cephes' coefficients), else from exp; no step between the two
 * shows. */
static inline reg reg_tanh(reg x)
{
    const regi sign = (regi)x & INT32_MIN;
    const reg a = (reg)((regi)x & INT32_MAX), s = x * x;

    reg p = reg_set(-5.70498872745e-3f);
    p = p * s + reg_set(2.06390887954e-2f);
    p = p * s + reg_set(-5.37397155531e-2f);
    p = p * s + reg_set(1.33314422036e-1f);
    p = p * s + reg_set(-3.33332819422e-1f);
    const reg near = p * s * a + a;
    const reg far = reg_set(1.0f) - reg_set(2.0f) / (reg_exp(a + a) + reg_set(1.0f));

    const regi close = a < reg_set(0.625f);
    return (reg)((((regi)near & close) | ((regi)far & ~close)) | sign);
}

static inline v16 v16_softcap(v16 x, float cap)
{
    v16 y = { 0 };
#pragma GCC unroll 4
    for (int i = 0; i < REGS; i++) {
        reg r;
        memcpy(&r, (const float *)&x + i * REG, sizeof r);
        r = reg_set(cap) * reg_tanh(r * reg_set(1.0f / cap));
        memcpy((float *)&y + i * REG, &r, sizeof r);
    }
    return y;
}

/* What a cotangent is multiplied by: 1 - (y / cap)^2, y the capped value. */
static inline v16 v16_softcap_derivative(v16 y, float cap)
{
    const v16 t = y * v16_set(1.0f / cap);
    return v16_set(1.0f) - t * t;
}
