/* SPDX-License-Identifier: MIT */
/* anchor - ASFT: imitated tokens are held near the reference, by KL(ref || pi) over the whole vocabulary and not only
 * at the token that was written. So its gradient is one of logits, which the loss per token (learner/loss.h) has
 * not. */
#include <stdlib.h>

#include "base/str.h"
#include "learner/method.h"

typedef struct anchor_config {
    double weight; /* of the KL (0.05) */
} anchor_config;

#define AT(member) SETTINGS_AT(ANCHOR, anchor_config, member)

static const option ROWS[] = {
    { "algorithm.anchor", OPTION_NUMBER, AT(weight), 0, 1e6, "0.05",
      .help = "of given = \"asft\": weight of the KL from the base model to the policy, over the whole vocabulary",
      .more = "Keeps imitation from drifting far from the base model. Costs a forward pass of the reference over "
              "given tokens. 0 is dft." },
    { 0 },
};

static const option_table OPTIONS = { .after = "algorithm.carry", .rows = ROWS };

static bool wanted(const trainer_config *c) { return c->loss.imitation == IMITATION_ASFT; }

/* Outputs [begin, begin + n), all imitated ones of an episode. */
static void anchor_episode(const pass *p, const micro_batch *m, const activations *acts, const activations *reference,
                           int begin, int n, double weight, step_sums *sums)
{
    const int V = p->w->table->config.vocab;
    const size_t size = (size_t)n * (size_t)V;
    float *z = xmalloc(3 * sizeof *z * size), *ref = z + size, *dz = ref + size;
    model_logits(p->w, acts, begin, n, z);
    model_logits(p->reference, reference, begin, n, ref);

    for (int i = 0; i < n; i++) {
        const size_t row = (size_t)i * (size_t)V;
        const double kl = loss_anchor(V, z + row, ref + row, p->config->temperature, weight, dz + row);
        sums->loss.imitated_kl += kl;
        sums->loss.loss += weight * kl;
    }

    if (m->learns) model_add_logit_gradients(p->w, acts, begin, n, dz);
    free(z);
}

/* Episodes with a negative advantage are not imitated, so neither are they anchored. */
static void anchor(const pass *p, const micro_batch *m, const activations *acts, const activations *reference,
                   step_sums *sums)
{
    const packed_batch *b = m->b;
    const loss_config *c = &p->config->loss;
    const double weight = c->imitation_weight * SETTINGS(p->config, ANCHOR, anchor_config).weight;
    for (int i = 0, n; i < b->tokens.n_out; i += n) {
        const int s = b->episode[i];
        int n_imitated = 0;
        for (n = 0; i + n < b->tokens.n_out && b->episode[i + n] == s; n++) n_imitated += b->imitated[i + n];
        if (n_imitated == 0 || m->table->scalar[s] < 0) continue;

        const double a_token = loss_token_weight(c, m->scale, n - n_imitated);
        anchor_episode(p, m, acts, reference, i, n_imitated, weight * a_token, sums);
    }
}

static int plan(void *self, train_step *s, error *err)
{
    (void)self, (void)err;
    s->pass.anchor = anchor;
    return OK;
}

const method METHOD_ANCHOR = { .name = "anchor", .options = &OPTIONS, .wanted = wanted, .at = { [AT_PLAN] = plan } };
