/* SPDX-License-Identifier: MIT */
/* era - entropy regularising activation (arXiv 2510.08549): good answers of a policy that has become too sure are
 * scored under a sharper policy, so that they push less; those of one too unsure under a flatter one.
 *
 *     H  = mean entropy of the most uncertain fifth of the episode's tokens
 *     A > 0 and H < low:   logits k z, advantage A / k          A > 0 and H > high:  logits z / k, advantage k A
 *
 * Sampling always uses z; the ratio compares the scaled policy with itself at the step's first update. */
#pragma once

typedef struct era_config {
    double k;         /* 0: off; the authors use 2 */
    double low, high; /* nats; 0.45 and 3 */
} era_config;

/* What an episode's logits are multiplied by: 1, k or 1 / k. entropy [n] in nats, of its tokens. */
float era_scale(const era_config *config, double advantage, int n, const float *entropy);
