/* SPDX-License-Identifier: MIT */
/* head_rows - how the LM head's rows are cut into blocks, on every backend. Internal to kernels/. */
#pragma once

enum { HEAD_MIN_ROWS = 128 };          /* fewer would make the products slow */
enum { HEAD_BLOCK_FLOATS = 16 << 20 }; /* on a CPU: 64 MB of logits at a time */

/* Rows whose logits make up about `floats`. */
static inline int head_rows(int T, int V, int floats)
{
    const int rows = floats / V < HEAD_MIN_ROWS ? HEAD_MIN_ROWS : floats / V;
    return rows < T ? rows : T;
}

/* Rows of the block that begins at `first`: at most `rows`, and either kept ones or others. */
static inline int head_block_rows(int first, int T, int rows, int kept)
{
    const int end = first < kept && kept < T ? kept : T;
    return end - first < rows ? end - first : rows;
}
