/* SPDX-License-Identifier: MIT */
#include "learner/methods/era.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "learner/method.h"
#include "model/transformer.h"

static const double UNCERTAIN = 0.2; /* share of the tokens that are looked at */

static int descending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

static double uncertainty(int n, const float *entropy)
{
    const int max = (int)ceil(UNCERTAIN * n);
    float *sorted = memcpy(xmalloc(sizeof *sorted * (size_t)n), entropy, sizeof *sorted * (size_t)n);
    double sum = 0;
    qsort(sorted, (size_t)n, sizeof *sorted, descending);
    for (int i = 0; i < max; i++) sum += (double)sorted[i];
    free(sorted);
    return sum / max;
}

float era_scale(const era_config *c, double advantage, int n, const float *entropy)
{
    if (c->k <= 0 || advantage <= 0 || n == 0) return 1;
    const double h = uncertainty(n, entropy);
    if (h < c->low) return (float)c->k;
    return h > c->high ? (float)(1 / c->k) : 1;
}

/* ---- its keys ---- */

#define AT(member) SETTINGS_AT(ERA, era_config, member)

static const option ROWS[] = {
    { "algorithm.era_k", OPTION_NUMBER, AT(k), 0, 100, "0",
      .help = "ERA: factor on the logits of good answers that are too sure, its inverse on those too unsure; 0: off",
      .more = "Entropy-regularising activation (arXiv 2510.08549; the authors use 2): a policy that is sure already "
              "learns less from being right. Sampling is not touched." },
    { "algorithm.era_low", OPTION_NUMBER, AT(low), 0, 100, "0.45",
      .help = "ERA: nats below which an answer is too sure",
      .more = "Mean entropy of the most uncertain fifth of its tokens." },
    { "algorithm.era_high", OPTION_NUMBER, AT(high), 0, 100, "3",
      .help = "ERA: nats above which an answer is too unsure",
      .more = "The same mean; between the two bounds nothing is changed." },
    { 0 },
};

static const option_table OPTIONS = { .after = "algorithm.eliminate", .rows = ROWS };

/* ---- in the trainer's step ---- */

static bool wanted(const trainer_config *c) { return SETTINGS(c, ERA, era_config).k > 0; }

/* Each token's factor, by its episode's advantage and its uncertainty now -> [n_out] in the arena. */
static float *scales_of(const pass *p, const packed_batch *b, const advantage_table *table, const float *entropy)
{
    const era_config own = SETTINGS(p->config, ERA, era_config);
    const int n_out = b->tokens.n_out;
    float *scale = arena_array(p->step, float, n_out);
    for (int i = 0, n; i < n_out; i += n) {
        const int s = b->episode[i];
        for (n = 1; i + n < n_out && b->episode[i + n] == s; n++) {
        }
        const float by = era_scale(&own, table->scalar[s], n, entropy + i);
        for (int j = i; j < i + n; j++) scale[j] = by;
    }
    return scale;
}

/* Chosen at the step's first update, and kept: later ones compare the scaled policy with itself. */
static int activate(const pass *p, const micro_batch *m, const activations *acts, const float *entropy, float *logprob,
                    error *err)
{
    const size_t n = (size_t)m->b->tokens.n_out, bytes = sizeof(float) * n;
    if (!m->first->scale) {
        m->first->scale = scales_of(p, m->b, m->table, entropy);
        m->first->raw = memcpy(arena_array(p->step, float, n), logprob, bytes);
    }
    model_scale_logits(p->w, acts, m->first->scale);
    if (device_sync(p->w->dev, err) != OK) return err ? err->code : ERR_DEVICE;
    device_copy_out(p->w->dev, logprob, acts->logprob, bytes);
    return OK;
}

static int plan(void *self, train_step *s, error *err)
{
    (void)self, (void)err;
    s->pass.scale_logits = activate;
    return OK;
}

const method METHOD_ERA = { .name = "era", .options = &OPTIONS, .wanted = wanted, .at = { [AT_PLAN] = plan } };
