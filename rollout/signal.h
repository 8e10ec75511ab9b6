/* SPDX-License-Identifier: MIT */
/* signal - whether rewards differ: the one definition of a learning signal.
 *
 *     two numbers differ    |a - b| > 1e-12 max(1, |a|, |b|)         otherwise they are the same up to rounding
 *     rewards have a signal  the largest and the smallest of them differ; missing ones (NaN) are not looked at
 *
 * Equal rewards come in many spellings: 24 times 0.1 has a mean that is 3e-17 off, 0.1 + 0.2 - 0.3 is 5.6e-17 and not
 * 0. Divided by the group's standard deviation, which is then rounding too, such a residue becomes an advantage like
 * any other, and AdamW makes a full step of it. The tolerance is ten thousand roundings of a double wide: a sum of
 * thousands of terms stays inside, at any scale (of 1000: 1e-9). Its floor is that of numbers about 1, because a
 * script's addends are not known: what is left of 0.3 - 0.3 has lost its scale. So rewards 1e-9 apart differ (GRPO
 * divides by a deviation of 1e-6 and more, so they weigh a thousandth), and rewards that are all below 1e-12 are zeros.
 *
 * Who asks: the exchange (which groups to make up for), the sampler (which answers are right), the learner's advantages
 * (and so all that follows from them: what is packed, what is whitened, what is counted), its metrics. A step moves the
 * weights when an episode has an advantage, when there is a KL to the reference (over all tokens that count, whatever
 * their rewards), or when tokens of a hint or demonstration are imitated; nothing else does. */
#pragma once

#include <stdbool.h>

/* `difference`, or 0 where it is rounding of numbers that were `scale` large. */
double signal_of(double difference, double scale);
/* a - b, or 0 where the two are equal up to rounding. */
double signal_between(double a, double b);
/* The same of logprobs, which are floats: two ways of computing one (another kernel, another batch) differ by a few of
 * their roundings, 1e-6 max(1, |a|, |b|). */
double signal_between_logprobs(double a, double b);
/* Whether the rewards r [n] differ; NaN: missing. */
bool signal_among(const double *r, int n);
/* Whether a reward says that the answer is right: above 0 by more than rounding. False of NaN. */
bool signal_right(double reward);
