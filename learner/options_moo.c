/* SPDX-License-Identifier: MIT */
/* The keys of gradients that are reconciled instead of summed. */
#include <stdlib.h>
#include <string.h>

#include "learner/trainer_config.h"

static const word_row OVERS[] = { MOO_OVERS(WORDS_ROW){ 0 } };

/* "token" is no run of parameters: weights come from the gradients by logprobs. */
static const word_row BUCKETS[] = { BUCKET_SCOPES(WORDS_ROW){ "token", -1, "no bucket" }, { 0 } };
static const char BUCKET_EXPECTED[] = "layer, tensor, global, token, or bytes:N with N > 0";

static int read_bucket(void *config, const json_t *value, option_reading *r)
{
    moo_plan *m = &((trainer_config *)config)->moo;
    const char *word = json_is_string(value) ? json_string_value(value) : "";

    if (strncmp(word, "bytes:", 6) == 0) {
        char *end;
        const char *digits = word + 6;
        m->bucket.scope = BUCKET_BYTES;
        m->bucket.bytes = strtoll(digits, &end, 10);
        const bool whole = *digits >= '0' && *digits <= '9' && !*end;
        return whole && m->bucket.bytes > 0 ? OK : option_expected(r, "moo.bucket", "bytes:N with N > 0");
    }

    const word_row *scope = words_named(BUCKETS, word);
    if (!scope) return option_expected(r, "moo.bucket", BUCKET_EXPECTED);
    m->by_token = scope->value < 0;
    m->bucket.scope = m->by_token ? BUCKET_LAYER : (bucket_scope)scope->value;
    return OK;
}

static int read_groups(void *config, const json_t *value, option_reading *r)
{
    moo_plan *m = &((trainer_config *)config)->moo;
    return option_names(r, "moo.groups", value, 2, MOO_MAX, m->groups[0], GROUP_NAME, &m->n_groups);
}

#define AT(member) OPTION_AT(trainer_config, moo.member)

static const option ROWS[] = {
    { "moo.method", OPTION_WORD, AT(bucket.moo.method), 0, 0, "", .words = MOO_METHOD_WORDS,
      .help = "how gradients that conflict are reconciled; absent: one gradient of the weighted sum",
      .more = "Without a method the objectives' advantages are summed (GDPO) and none of the keys below has a "
              "meaning. With one each objective or group keeps its gradient. cagrad and pcgrad are good first "
              "choices; `troupe moo --help` describes all." },
    { "moo.over", OPTION_WORD, AT(over), 0, 0, "rewards", .words = OVERS, .needs = "moo.method",
      .help = "whose gradients are kept apart",
      .more = "`rewards` takes a backward pass for each objective, `groups` one for all. Groups are for several "
              "languages or tasks in one data set, and need `moo.groups`. In fine-tuning `groups` is the default." },
    { "moo.groups", OPTION_VALUE, 0, 0, 0, 0, "", .read = read_groups, .needs = "moo.method",
      .help = "list of the data groups, for over = \"groups\" or \"both\"",
      .more = "2 to 16 names, as rows have them in \"group\". With \"both\", objectives times groups are at most "
              "16. A row of a group that is not named is an error before the run begins." },
    { "moo.bucket", OPTION_VALUE, 0, 0, 0, 0, "layer", .read = read_bucket, .needs = "moo.method",
      .help = "parameters that are reconciled together: layer, tensor, global, bytes:N, or token",
      .more = "Smaller buckets find conflicts that cancel in the whole model, and need less memory. `token` looks "
              "at the gradients by the tokens' logprobs: one backward pass, for rewards only." },
    { "moo.gate", OPTION_NUMBER, AT(bucket.gate), 0, 1, "0.1", .needs = "moo.method",
      .help = "smallest signal-to-noise ratio with which an objective is active in a bucket; 0: no gate",
      .more = "An objective that does not depend on a bucket has only noise there, and a short noisy gradient "
              "misleads methods that look for a vector of minimal norm. Noise is at 0.05. See the metrics "
              "`moo/gated/NAME`." },
    { "moo.c", OPTION_NUMBER, AT(bucket.moo.c), 0, 100, "0.5", .needs = "moo.method",
      .help = "cagrad: how far from the average gradient, in its lengths",
      .more = "0 is the average; towards 1 the worst objective gains at the average's cost (Liu et al. 2021)." },
    { "moo.alpha", OPTION_NUMBER, AT(bucket.moo.alpha), 0, 100, "2", .needs = "moo.method",
      .help = "fairgrad: alpha of its fairness",
      .more = "0 maximises the sum, 1 is Nash's solution, large values look at the worst objective (Ban & Ji 2024)." },
    { "moo.beta", OPTION_NUMBER, AT(bucket.moo.beta), 0, 1, "0.5", .needs = "moo.method",
      .help = "gradvac: share of a step's cosine in the running one",
      .more = "Small values remember long: pairs are brought to the cosine they usually have (Wang et al. 2021)." },
    { "moo.max_norm", OPTION_NUMBER, AT(bucket.moo.max_norm), 0, 1e6, "1", .needs = "moo.method",
      .help = "nash: longest direction; 0: any",
      .more = "Nash's direction grows without bound as gradients become opposite (Navon et al. 2022)." },
    { "moo.refresh", OPTION_WHOLE, AT(bucket.refresh), 1, 1e6, "1", .needs = "moo.method",
      .help = "steps between two solutions for the weights",
      .more = "In between the last weights hold. More than 1 saves the solver's time, which matters with many small "
              "buckets; see `timing_s/moo`." },
    { "moo.only_conflicts", OPTION_BOOL, AT(bucket.only_conflicts), 0, 0, "false", .needs = "moo.method",
      .help = "the plain sum or average in a bucket where no pair of gradients conflicts",
      .more = "Conflict is a negative cosine. With it a method changes nothing as long as objectives agree." },
    { "moo.keep_norm", OPTION_BOOL, AT(bucket.keep_norm), 0, 0, "false", .needs = "moo.method",
      .help = "whether a bucket's direction is made as long as its average gradient",
      .more = "Directions of minimal norm are short, and the more buckets the shorter. This keeps `optim.lr` "
              "comparable with a run without moo; at most ten times as long as it was." },
    { "moo.by_micro_batch", OPTION_BOOL, AT(bucket.by_micro_batch), 0, 0, "false", .needs = "moo.method",
      .help = "reconcile each micro-batch by itself",
      .more = "Memory is then that of buckets, not of as many models as there are gradients; the weights come from "
              "fewer episodes and are noisier. Not with several learners." },
    { 0 },
};

static int check(void *config, option_reading *r)
{
    trainer_config *c = config;
    moo_plan *m = &c->moo;
    if (!option_given(r, "moo.method")) {
        m->over = MOO_OVER_NOTHING; /* one gradient; no other key of moo is set either */
        return OK;
    }

    const int K = c->objectives.n;
    const bool tuning = K == 0 && option_given(r, "sft"); /* only groups can conflict there */
    if (tuning && !option_given(r, "moo.over")) m->over = MOO_OVER_GROUPS;
    const bool rewards = moo_of_rewards(m), groups = moo_of_groups(m);
    m->bucket.moo.ridge = moo_default(MOO_SUM).ridge;
    if (!groups) m->n_groups = 0;

    if (groups && m->n_groups == 0)
        return option_expected(r, "moo.groups", "a list of 2 to %d names of at most %d characters", MOO_MAX,
                               GROUP_NAME - 1);
    if (rewards && groups && m->n_groups * K > MOO_MAX)
        return option_expected(r, "moo.groups", "at most %d gradients: objectives times groups", MOO_MAX);
    if (groups && m->by_token) return option_expected(r, "moo.bucket", "another bucket than token for groups");
    if (rewards && estimator_of(c->advantage.mean)->choose)
        return option_expected(r, "moo.over", "groups: what is best is so by all rewards together");
    if (rewards && tuning) return option_expected(r, "moo.over", "groups: fine-tuning has no rewards to reconcile");
    if (rewards && K < 2) return option_expected(r, "moo.method", "two objectives or more in reward.objectives");
    return OK;
}

const option_table MOO_OPTIONS = {
    .title = "Multi-objective optimisation",
    .about = "Gradients that conflict, bucket by bucket: see [moo.md](moo.md).",
    .rows = ROWS,
    .check = check,
};
