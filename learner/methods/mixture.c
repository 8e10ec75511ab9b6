/* SPDX-License-Identifier: MIT */
#include "learner/methods/mixture.h"

#include <math.h>
#include <stdlib.h>

#include "base/str.h"
#include "learner/method.h"

static const double MIN_MU = 0.05, MAX_MU = 0.95;

double mixture_at(const mixture_config *c, double mu, int64_t step) { return step <= c->warmup ? 1 : mu; }

bool mixture_measures(const mixture_config *c, int64_t step)
{
    const int every = c->every > 0 ? c->every : 1;
    return c->start > 0 && step > c->warmup && (step - c->warmup) % every == 0;
}

double mixture_derivative(const double *G, double mu)
{
    enum { N = MIXTURE_ROWS, RE = MIXTURE_REWARD_EVEN, RO = MIXTURE_REWARD_ODD };
    enum { SE = MIXTURE_IMITATION_EVEN, SO = MIXTURE_IMITATION_ODD };
    const double of_reward = 1 - mu, of_imitation = mu; /* what the gradients were multiplied by */
    const double across = G[RE * N + RO] / (of_reward * of_reward);
    const double RR = (G[RE * N + RE] + 2 * G[RE * N + RO] + G[RO * N + RO]) / (of_reward * of_reward);
    const double SS = (G[SE * N + SE] + 2 * G[SE * N + SO] + G[SO * N + SO]) / (of_imitation * of_imitation);
    const double RS = (G[RE * N + SE] + G[RE * N + SO] + G[RO * N + SE] + G[RO * N + SO]) / (of_reward * of_imitation);
    const double r = sqrt(fmax(0, RR)), s = sqrt(fmax(0, SS));
    return r > 0 ? fmax(-1, fmin(1, (RS - 4 * across) / (r * (r + s)))) : 0;
}

double mixture_learn(const mixture_config *c, double mu, double derivative, double entropy)
{
    const double pull = derivative + (c->entropy > 0 ? c->entropy - entropy : 0);
    return fmax(MIN_MU, fmin(MAX_MU, mu + c->rate * pull));
}

/* ---- its keys ---- */

#define AT(member) SETTINGS_AT(MIXTURE, mixture_config, member)

static const option ROWS[] = {
    { "algorithm.mixture", OPTION_NUMBER, AT(start), 0, 0.95, "0",
      .help = "AMFT: share of imitation in the loss at first; 0: off, reward and imitation count in full",
      .more = "The loss is (1 - mu) of the reward's and mu of imitation's; mu starts here and is then learned by "
              "its effect on rollouts that the step has not seen (AMFT, arXiv 2508.06944). Needs `algorithm.given` "
              "\"sft\" or \"dft\". Metrics `actor/mixture`, `actor/mixture_slope`." },
    { "algorithm.mixture_rate", OPTION_NUMBER, AT(rate), 0, 1, "0.1",
      .help = "AMFT: step of learning mu; 0: mu stays where it started",
      .more = "A measurement moves mu by at most this much (more where entropy acts). Smaller is steadier, for "
              "small groups whose measurements are noisy." },
    { "algorithm.mixture_every", OPTION_WHOLE, AT(every), 1, 1e6, "20",
      .help = "AMFT: steps between two measurements of mu",
      .more = "A step that measures keeps four gradients apart and takes more time and memory than the others." },
    { "algorithm.mixture_warmup", OPTION_WHOLE, AT(warmup), 0, 1e6, "0",
      .help = "AMFT: first steps, of imitation alone",
      .more = "For a base model that can't solve anything yet: it begins with plain fine-tuning on demonstrations." },
    { "algorithm.mixture_entropy", OPTION_NUMBER, AT(entropy), 0, 100, "0",
      .help = "AMFT: nats a token that the policy's entropy should have; 0: entropy has no effect",
      .more = "Below it imitation gains, above it the reward does: holds off a collapse of entropy. Take the value "
              "of `actor/entropy` in a run that still explores." },
    { 0 },
};

static int check_keys(void *config, option_reading *r)
{
    const trainer_config *c = config;
    const bool mixes = SETTINGS(c, MIXTURE, mixture_config).start > 0;
    if (!mixes || c->loss.imitation == IMITATION_SFT || c->loss.imitation == IMITATION_DFT) return OK;
    return option_expected(r, "algorithm.mixture", "given = \"sft\" or \"dft\": a mixture of reward and imitation");
}

static const option_table OPTIONS = { .after = "algorithm.anchor", .rows = ROWS, .check = check_keys };

/* ---- in the trainer's step ---- */

typedef struct mixture {
    double mu;       /* as learned so far */
    bucket_set *set; /* of steps that measure: MIXTURE_ROWS gradients, added up as they are; their products are read */
    shard *shard;    /* its pieces, of several learners */
} mixture;

static bool wanted(const trainer_config *c) { return SETTINGS(c, MIXTURE, mixture_config).start > 0; }

static int check(const trainer_config *c, error *err)
{
    if (c->moo.over == MOO_OVER_NOTHING) return OK;
    return error_set(err, ERR_UNSUPPORTED, "algorithm.mixture with moo.method: both would weigh gradients");
}

static int open(trainer_parts *p, void **self, error *err)
{
    (void)err;
    mixture *m = *self = xcalloc(1, sizeof *m);
    m->mu = SETTINGS(p->config, MIXTURE, mixture_config).start;
    m->set = bucket_set_new(&(bucket_config){ .moo = moo_default(MOO_SUM) }, p->w->table, p->w->dev, MIXTURE_ROWS, 0);
    if (p->shard) m->shard = bucket_set_shard(m->set, p->config->comm);
    return OK;
}

static void close(trainer_parts *p, void *self)
{
    (void)p;
    mixture *m = self;
    if (!m) return;
    bucket_set_free(m->set);
    shard_free(m->shard);
    free(m);
}

/* Even and odd samples of each group keep apart in a step that measures: each half is the other's held-out set. */
static int plan(void *self, train_step *s, error *err)
{
    (void)err;
    const mixture *m = self;
    const mixture_config c = SETTINGS(s->parts->config, MIXTURE, mixture_config);
    s->pass.mixture = mixture_at(&c, m->mu, s->version);
    if (!mixture_measures(&c, s->version)) return OK;

    int *half = arena_array(s->parts->arena, int, s->table->S);
    for (int i = 0; i < s->table->S; i++) half[i] = (int)(s->table->episodes[i]->sample % 2);
    s->options.partition = half;
    s->options.n_partitions = 2;
    s->pass.buckets = m->set;
    s->pass.by_part = true;
    return OK;
}

static int learn(void *self, train_step *s, error *err)
{
    (void)err;
    mixture *m = self;
    const mixture_config c = SETTINGS(s->parts->config, MIXTURE, mixture_config);
    double G[MIXTURE_ROWS * MIXTURE_ROWS] = { 0 };
    metrics_set(s->out, "actor/mixture", mixture_at(&c, m->mu, s->version));
    if (!s->pass.by_part) return OK;

    for (int b = 0; b < bucket_count(m->set); b++)
        for (int i = 0; i < MIXTURE_ROWS * MIXTURE_ROWS; i++) G[i] += bucket_at(m->set, b).G[i];
    const double derivative = mixture_derivative(G, m->mu);
    metrics_set(s->out, "actor/mixture_slope", derivative);
    m->mu = mixture_learn(&c, m->mu, derivative, s->sums.entropy / fmax(1, s->sums.loss.tokens));
    return OK;
}

static void remembered(void *self, trainer_parts *p, saved_state *to)
{
    (void)p;
    mixture *m = self;
    state_section(to, "mixture", 1);
    state_numbers(to, "mu", &m->mu, 1, 0, 1);
}

/* Four gradients, whole until the last micro-batch, and a second cotangent in a pass. */
static void need(const method_place *m, memory_need *to)
{
    const uint64_t rows = sizeof(float) * (uint64_t)m->table->config.width * (uint64_t)m->tokens;
    to->bytes[MEMORY_GRADIENTS] += MIXTURE_ROWS * bucket_slab_bytes(&(bucket_config){ 0 }, m->table);
    to->bytes[MEMORY_ACTIVATIONS] += 2 * rows;
}

const method METHOD_MIXTURE = {
    .name = "mixture",
    .options = &OPTIONS,
    .wanted = wanted,
    .check = check,
    .open = open,
    .close = close,
    .at = { [AT_PLAN] = plan, [AT_LEARN] = learn },
    .state = remembered,
    .need = need,
};
