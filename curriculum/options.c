/* SPDX-License-Identifier: MIT */
#include "curriculum/options.h"

#include <math.h>
#include <string.h>

#include "base/file.h"

/* ---- data.stages ---- */

static const char STAGE[] = "data.stages";

/* The number `name` of a stage, `absent` without one. */
static int stage_number(const json_t *stage, const char *name, double absent, double *out, option_reading *r)
{
    const json_t *value = json_object_get(stage, name);
    *out = value ? json_number_value(value) : absent;
    if (!value || json_is_number(value)) return OK;
    return option_expected(r, STAGE, "numbers for gate and steps");
}

/* { groups = {...}, gate = 0.8, steps = 100 } */
static int read_stage(const json_t *value, sampler_stage *stage, bool last, option_reading *r)
{
    static const char *const FIELDS[] = { "groups", "gate", "steps", NULL };
    const json_t *groups = json_object_get(value, "groups");
    double steps;

    if (!json_is_object(value)) return option_expected(r, STAGE, "stages like { groups = { \"easy\" }, gate = 0.8 }");
    if (option_fields(r, STAGE, value, FIELDS) != OK) return ERR_ARGUMENT;
    if (groups &&
        option_names(r, STAGE, groups, 1, SAMPLER_GROUPS, stage->groups[0], SAMPLER_NAME, &stage->n_groups) != OK)
        return ERR_ARGUMENT;
    if (stage_number(value, "steps", 0, &steps, r) != OK) return ERR_ARGUMENT;
    if (stage_number(value, "gate", INFINITY, &stage->gate, r) != OK) return ERR_ARGUMENT;

    if (!(steps >= 0 && steps <= 1e9) || steps != floor(steps))
        return option_expected(r, STAGE, "a whole number of steps from 0 to 1e9");
    stage->steps = (int64_t)steps;
    if (!last && !isfinite(stage->gate) && stage->steps < 1)
        return option_expected(r, STAGE, "a gate or a number of steps in every stage but the last");
    return OK;
}

static int read_stages(void *config, const json_t *value, option_reading *r)
{
    sampler_config *s = &((curriculum_options *)config)->sampler;
    const size_t n = json_array_size(value);
    int rc = OK;

    if (n < 1 || n > SAMPLER_STAGES) return option_expected(r, STAGE, "a list of 1 to %d stages", SAMPLER_STAGES);
    for (size_t i = 0; i < n && rc == OK; i++)
        rc = read_stage(json_array_get(value, i), &s->stages[s->n_stages++], i + 1 == n, r);
    return rc;
}

/* ---- prompt.shots ---- */

static const char SHOTS[] = "prompt.shots";

/* Steps and numbers that the recipe names, in each of its mixtures prompt by prompt or sample by sample. */
static int read_schedule(curriculum_options *o, const json_t *value, option_reading *r)
{
    error why = { 0 };
    const char *mixture = json_string_value(json_object_get(value, "mixture"));
    const bool in_group = mixture && strcmp(mixture, "group") == 0;

    if (mixture && !in_group && strcmp(mixture, "prompts") != 0)
        return option_expected(r, SHOTS, "mixture = \"prompts\" or \"group\"");
    o->shots = shot_schedule_new(json_object_get(value, "schedule"), in_group, &why);
    return o->shots ? OK : option_wrong(r, SHOTS, "%s", why.text);
}

/* levels = { 3, 1, 0 }: falling */
static int read_levels(ladder_config *l, const json_t *levels, option_reading *r)
{
    const size_t n = json_array_size(levels);
    if (n < 2 || n > LADDER_RUNGS)
        return option_expected(r, SHOTS, "levels = { 3, 1, 0 }, 2 to %d of them, with schedule = \"success\"",
                               LADDER_RUNGS);

    for (size_t i = 0; i < n; i++) {
        const json_t *level = json_array_get(levels, i);
        const json_int_t shots = json_integer_value(level);
        if (!json_is_integer(level) || shots < 0 || shots > MAX_SHOTS || (i > 0 && shots >= l->levels[i - 1]))
            return option_expected(r, SHOTS, "levels that fall, from %d shots at most down to 0 at least", MAX_SHOTS);
        l->levels[i] = (int32_t)shots;
    }
    l->n = (int)n;
    return OK;
}

/* A share `name` of the ladder, within (0, 1]; `absent` without one. */
static int read_share(const json_t *value, const char *name, double absent, double *out, option_reading *r)
{
    const json_t *share = json_object_get(value, name);
    *out = share ? json_number_value(share) : absent;
    if (!share || (json_is_number(share) && *out > 0 && *out <= 1)) return OK;
    return option_expected(r, SHOTS, "a number above 0 and up to 1 for %s", name);
}

static int read_ladder(ladder_config *l, const json_t *value, option_reading *r)
{
    int rc = read_levels(l, json_object_get(value, "levels"), r);
    if (rc == OK) rc = read_share(value, "enough", 0.8, &l->enough, r);
    if (rc == OK) rc = read_share(value, "lost", 0.3, &l->lost, r);
    if (rc == OK) rc = read_share(value, "probe", 0.5, &l->probe, r);
    if (rc == OK && l->lost >= l->enough)
        return option_expected(r, SHOTS, "lost (%g) below enough (%g)", l->lost, l->enough);
    return rc;
}

/* What belongs to the one kind of schedule says nothing to the other. */
static const char *stray_field(const json_t *value, bool by_success)
{
    static const char *const OF_SUCCESS[] = { "levels", "enough", "lost", "probe", NULL }, *const OF_STEPS[] = {
        "mixture", NULL
    };
    for (const char *const *name = by_success ? OF_STEPS : OF_SUCCESS; *name; name++)
        if (json_object_get(value, *name)) return *name;
    return NULL;
}

static int read_shots(void *config, const json_t *value, option_reading *r)
{
    static const char *const FIELDS[] = { "file", "schedule", "mixture", "levels", "enough",
                                          "lost", "probe",    "kind",    NULL }; /* kind: T.shots sets it */
    curriculum_options *o = config;
    if (option_fields(r, SHOTS, value, FIELDS) != OK) return ERR_ARGUMENT;

    const char *file = json_string_value(json_object_get(value, "file"));
    const json_t *schedule = json_object_get(value, "schedule");
    const bool by_success = json_is_string(schedule) && strcmp(json_string_value(schedule), "success") == 0;
    const char *stray = stray_field(value, by_success);

    if (!file || !schedule) return option_expected(r, SHOTS, "T.shots{ file = ..., schedule = ... }");
    if (stray && by_success) return option_expected(r, SHOTS, "no %s beside schedule = \"success\"", stray);
    if (stray) return option_expected(r, SHOTS, "no %s without schedule = \"success\"", stray);

    path_join(o->shots_file, sizeof o->shots_file, r->dir, file);
    return by_success ? read_ladder(&o->sampler.ladder, value, r) : read_schedule(o, value, r);
}

/* ---- rows ---- */

#define AT(member) OPTION_AT(curriculum_options, member)

static const word_row KINDS[] = { SAMPLINGS(WORDS_ROW){ 0 } };

static const option DATA[] = {
    { "data.train", OPTION_PATH, AT(train), 0, 0, NULL,
      .help = "rows to train on: a file of JSON lines with prompt (or messages) and answer",
      .more = "The reward script sees a row as `task`, with every field it has. \"group\", \"demonstration\" and "
              "\"complexity\" mean something to Troupe, too. The learner reads it; actors and reward workers do not.",
      .elsewhere = "dataset train_files" },
    { "data.test", OPTION_PATH, AT(test), 0, 0, "", .help = "rows held out for evaluations; none by default",
      .more = "The same format. Needed with `eval_every` and by `troupe eval`.", .elsewhere = "val_files" },
    { "data.sampling", OPTION_WORD, AT(sampler.kind), 0, 0, "in_turn", .words = KINDS,
      .help = "which rows a step shows",
      .more = "A row's success is a running share of right answers, score above 0 on the heaviest objective. A row "
              "never seen has the largest weight, so the first pass over the data is the warm-up." },
    { "data.drop_failed", OPTION_WHOLE, AT(sampler.drop_failed), 0, 1e9, "0",
      .help = "episodes, all wrong, after which a row is left out; 0: never",
      .more = "Saves rollouts on rows that the policy can't solve or that are broken (RIF-RFT, arXiv 2507.05386). A "
              "row left out does not come back, so take several groups' worth." },
    { "data.drop_solved", OPTION_WHOLE, AT(sampler.drop_solved), 0, 1e9, "0",
      .help = "episodes, all right, after which a row is left out; 0: never",
      .more = "Rows that are always solved have no signal. The metric `sampler/left_out` counts both kinds." },
    { "data.stages", OPTION_VALUE, 0, 0, 0, 0, "", .read = read_stages,
      .help = "list of { groups = {...}, gate = success, steps = n }: whose rows each stage shows, and when it ends",
      .more = "A stage ends when its moving success passes the gate, or after its steps; without `groups` it shows "
              "every row. Up to 16; the last one needs no end. Metric `sampler/stage`." },
    { 0 },
};

static const option CURRICULUM[] = {
    { "prompt.shots", OPTION_VALUE, 0, 0, 0, 0, "", .read = read_shots,
      .help = "T.shots{ file =, schedule = { {step, n}, ... } }: worked examples in the prompt, fewer and fewer",
      .more = "From each step of the schedule on prompts show so many examples of the file; a list of numbers is a "
              "mixture of prompts or, with mixture = \"group\", of each prompt's samples. schedule = \"success\" "
              "with levels = { 3, 1, 0 } goes by what the policy can do: `probe` (0.5) of each group's samples are "
              "shown the next level, which is taken where they succeed `enough` (0.8), and left where success falls "
              "below `lost` (0.3). Samples that were shown as much are compared with each other. In-context RL "
              "(arXiv 2603.08068) ends with 0, so that the policy can do without." },
    { "rollout.templated", OPTION_WHOLE, AT(templated), 0, 4096, "0",
      .help = "samples of a group, the first ones, whose prompt has the best of prompt.templates",
      .more = "TemplateRL (arXiv 2505.15692). Two samples at least stay without template, hint and demonstration." },
    { "rollout.hinted", OPTION_WHOLE, AT(hinted), 0, 4096, "0",
      .help = "samples of a group that begin with a part of the row's \"demonstration\"",
      .more = "ADHint (arXiv 2512.13095): hinted samples are compared with each other and count the less the more "
              "the hint helps. For rows that are too hard to begin with." },
    { "rollout.most_hint", OPTION_NUMBER, AT(sampler.max_hint), 0, 1, "0.7",
      .help = "share of the demonstration that a row which was never solved gets as its hint",
      .more = "A row with success s is given most_hint (1 - s) of its tokens." },
    { "rollout.hint_until", OPTION_NUMBER, AT(sampler.hint_until), 0, 1, "0.5",
      .help = "success of a row from which on it has no hints", .more = "Success is that of samples without help." },
    { "rollout.demonstrations", OPTION_WHOLE, AT(demonstrations), 0, 4096, "0",
      .help = "samples of a group, the last ones, that are the row's \"demonstration\" itself",
      .more = "Given up to the token that would close its first tool call. What is learned from it is up to "
              "`algorithm.given`." },
    { 0 },
};

const option_table DATA_OPTIONS = {
    .title = "Data",
    .about = "Rows, and which of them a step shows.",
    .rows = DATA,
};

const option_table CURRICULUM_OPTIONS = {
    .title = "Help on the way",
    .about = "Worked examples, templates, hints and demonstrations: what the policy is shown until it can do "
             "without.",
    .rows = CURRICULUM,
};

/* ---- joined and freed ---- */

void curriculum_options_join(curriculum_options *o, uint64_t seed, int64_t group_size, const double *complexity,
                             int n_templates)
{
    o->sampler.seed = seed;
    o->sampler.group = (uint32_t)group_size;
    o->sampler.complexity = complexity;
    o->sampler.n_templates = o->templated > 0 ? n_templates : 0;
    if (o->hinted == 0) o->sampler.max_hint = 0;
}

void curriculum_options_reset(curriculum_options *o)
{
    shot_schedule_free(o->shots);
    *o = (curriculum_options){ 0 };
}
