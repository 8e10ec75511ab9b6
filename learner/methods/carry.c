/* SPDX-License-Identifier: MIT */
/* carry - what succeeds with worked examples is imitated without them: algorithm.carry.
 *
 * Where the samples of one prompt are shown different numbers of shots (prompt.shots: mixture = "group", or schedule =
 * "success"), those with more succeed first, and nothing of that reaches the prompt with fewer: its samples all fail,
 * so that none is better than the others. Here each success is copied after the prompt of the sample with the fewest:
 *
 *     played     I I I S S S S S S Q Q Q P P P O O P P        reward 1      P policy, trained as sampled
 *     carried    I I I             Q Q Q H H H O O H H        H given: imitated as algorithm.given says
 *
 * which is context distillation (arXiv 2209.15189) on the policy's own successes of this step. The copy counts as a
 * demonstration: it is in no mean, and is not imitated where its advantage is negative. A group whose samples with the
 * fewest shots all succeed has nothing to be carried. Episodes after a hint or a template have other prompts and stay
 * out of it. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "learner/method.h"
#include "rollout/signal.h"

typedef struct carry_config {
    bool on;
} carry_config;

typedef struct carry {
    double carried; /* episodes of this step */
} carry;

static bool plain(const episode *e) { return e->hint_len == 0 && e->template_id == 0 && !e->failed; }

/* The sample whose prompt the others' successes are put after; NULL: there is none, or nothing to be taught. */
static const episode *pupil_of(const group *g, const char *name)
{
    const episode *pupil = NULL;
    bool failed = false;
    for (uint32_t i = 0; i < g->n; i++) {
        const episode *e = g->episodes[i];
        if (!plain(e) || (pupil && e->n_shots > pupil->n_shots)) continue;
        if (pupil && e->n_shots < pupil->n_shots) failed = false;
        pupil = e;
        failed |= !signal_right(score_get(g->scores[i], name));
    }
    return failed ? pupil : NULL;
}

/* `e`'s tokens after `pupil`'s prompt, what the policy sampled as given tokens. */
static trajectory behind_prompt(arena *a, const trajectory *prompt, const trajectory *of)
{
    const uint32_t before = prompt->n_prompt, own = of->n - of->n_prompt, n = before + own;
    trajectory t = { .n = n, .capacity = n, .n_prompt = before };
    t.ids = arena_array(a, int32_t, n);
    t.logprob = arena_zalloc(a, sizeof *t.logprob * n);
    t.mask = arena_zalloc(a, n);
    t.role = arena_array(a, uint8_t, n);
    t.wrote = arena_zalloc(a, sizeof *t.wrote * n);

    memcpy(t.ids, prompt->ids, sizeof *t.ids * before);
    memcpy(t.role, prompt->role, before);
    memcpy(t.ids + before, of->ids + of->n_prompt, sizeof *t.ids * own);
    memcpy(t.wrote + before, of->wrote + of->n_prompt, sizeof *t.wrote * own);
    for (uint32_t i = 0; i < own; i++)
        t.role[before + i] = of->mask[of->n_prompt + i] ? TOKEN_HINT : of->role[of->n_prompt + i];
    return t;
}

static episode *carried(arena *a, const episode *pupil, const episode *success)
{
    episode *e = arena_array(a, episode, 1);
    *e = *success;
    e->n_shots = pupil->n_shots;
    e->hint_len = (int32_t)trajectory_sampled(&success->tokens);
    e->tokens = behind_prompt(a, &pupil->tokens, &success->tokens);
    return e;
}

/* The group with the carried successes after its own episodes; they keep their scores. */
static const group *extended(arena *a, const group *g, const char *name, carry *c)
{
    const episode *pupil = pupil_of(g, name);
    if (!pupil) return g;

    group *more = arena_array(a, group, 1);
    *more = *g;
    more->episodes = arena_array(a, episode *, 2 * g->n);
    more->scores = arena_array(a, score *, 2 * g->n);
    memcpy(more->episodes, g->episodes, sizeof *g->episodes * g->n);
    memcpy(more->scores, g->scores, sizeof *g->scores * g->n);

    for (uint32_t i = 0; i < g->n; i++) {
        const episode *e = g->episodes[i];
        if (!plain(e) || e->n_shots <= pupil->n_shots || !signal_right(score_get(g->scores[i], name))) continue;
        more->episodes[more->n] = carried(a, pupil, e);
        more->scores[more->n++] = g->scores[i];
        c->carried++;
    }
    return more;
}

/* ---- its keys ---- */

#define AT(member) SETTINGS_AT(CARRY, carry_config, member)

static const option ROWS[] = {
    { "algorithm.carry", OPTION_BOOL, AT(on), 0, 0, "false",
      .help = "what succeeds with worked examples is imitated under the prompt with the fewest of its group",
      .more = "For groups whose samples are shown different numbers of shots (`prompt.shots`): carries a skill from "
              "the shown prompt to the unshown one, as `algorithm.given` says (context distillation, arXiv "
              "2209.15189). Metric `training/episodes_carried`." },
    { 0 },
};

static int check_keys(void *config, option_reading *r)
{
    const trainer_config *c = config;
    if (!SETTINGS(c, CARRY, carry_config).on || c->loss.imitation != IMITATION_NONE) return OK;
    return option_expected(r, "algorithm.carry",
                           "algorithm.given beside it, which says how carried tokens are trained");
}

static const option_table OPTIONS = { .after = "algorithm.given_weight", .rows = ROWS, .check = check_keys };

/* ---- in the trainer's step ---- */

static bool wanted(const trainer_config *c) { return SETTINGS(c, CARRY, carry_config).on; }

static int open(trainer_parts *p, void **self, error *err)
{
    (void)p;
    (void)err;
    *self = xcalloc(1, sizeof(carry));
    return OK;
}

static void close(trainer_parts *p, void *self)
{
    (void)p;
    free(self);
}

static int gather(void *self, train_step *s, error *err)
{
    (void)err;
    carry *c = self;
    arena *a = s->parts->arena;
    const char *heaviest = s->parts->config->objectives.items[0].name;
    const group **groups = arena_array(a, const group *, s->n_groups);

    c->carried = 0;
    for (int g = 0; g < s->n_groups; g++) groups[g] = extended(a, s->groups[g], heaviest, c);
    s->groups = groups;
    return OK;
}

static int tell(void *self, train_step *s, error *err)
{
    (void)err;
    metrics_set(s->out, "training/episodes_carried", ((carry *)self)->carried);
    return OK;
}

const method METHOD_CARRY = {
    .name = "carry",
    .options = &OPTIONS,
    .wanted = wanted,
    .open = open,
    .close = close,
    .at = { [AT_GATHER] = gather, [AT_METRICS] = tell },
};
