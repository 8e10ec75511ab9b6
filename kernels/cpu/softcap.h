/* SPDX-License-Identifier: MIT */
/* softcap - cap tanh(x / cap), sixteen at a time: of the same bits wherever a score or a logit lies. */
#pragma once

#include "kernels/cpu/simd.h"

/* tanh to about 2 ulp: near 0 a polynomial in x^2 (Cephes' coefficients), else from exp; no step between the two shows. */
static inline v16 v16_tanh(v16 x)
{
    const v16i sign = (v16i)x & INT32_MIN;
    const v16 a = (v16)((v16i)x & INT32_MAX), s = x * x;

    v16 p = v16_set(-5.70498872745e-3f);
    p = p * s + v16_set(2.06390887954e-2f);
    p = p * s + v16_set(-5.37397155531e-2f);
    p = p * s + v16_set(1.33314422036e-1f);
    p = p * s + v16_set(-3.33332819422e-1f);
    const v16 near = p * s * a + a;
    const v16 far = v16_set(1.0f) - v16_set(2.0f) / (v16_exp(a + a) + v16_set(1.0f));

    const v16i close = a < v16_set(0.625f);
    return (v16)((((v16i)near & close) | ((v16i)far & ~close)) | sign);
}

static inline v16 v16_softcap(v16 x, float cap) { return v16_set(cap) * v16_tanh(x * v16_set(1.0f / cap)); }

/* What a cotangent is multiplied by: 1 - (y / cap)^2, y the capped value. */
static inline v16 v16_softcap_slope(v16 y, float cap)
{
    const v16 t = y * v16_set(1.0f / cap);
    return v16_set(1.0f) - t * t;
}
