/* SPDX-License-Identifier: MIT */
/* The keys of what is learned from: the reward's objectives. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "learner/trainer_config.h"

static int by_name(const void *a, const void *b)
{
    return strcmp(((const objective *)a)->name, ((const objective *)b)->name);
}

/* A number, or { weight = number, least = number }. */
static bool read_objective(const json_t *value, double *weight, double *min)
{
    const json_t *bound = json_object_get(value, "least");
    const json_t *number = json_is_object(value) ? json_object_get(value, "weight") : value;

    *weight = json_number_value(number);
    *min = bound ? json_number_value(bound) : -INFINITY;
    return json_is_number(number) && (!bound || json_is_number(bound));
}

/* By name, as a table has no order of its own; the heaviest first: it is the one that progress and plots are about. */
static void sort_objectives(objective_set *set)
{
    qsort(set->items, (size_t)set->n, sizeof *set->items, by_name);
    for (int i = 1; i < set->n; i++) {
        if (!(set->items[i].weight > set->items[0].weight)) continue;
        const objective heavy = set->items[i];
        memmove(set->items + 1, set->items, sizeof *set->items * (size_t)i);
        set->items[0] = heavy;
    }
}

static int read_objectives(void *config, const json_t *value, option_reading *r)
{
    objective_set *set = &((trainer_config *)config)->objectives;
    const char *name;
    json_t *item;

    if (!json_is_object(value)) return option_expected(r, "reward.objectives", "a table like { accuracy = 1.0 }");
    json_object_foreach((json_t *)(uintptr_t)value, name, item)
    {
        static const char *const FIELDS[] = { "weight", "least", NULL };
        char key[OPTION_KEY_BYTES];
        error why = { 0 };
        double weight, min;

        snprintf(key, sizeof key, "reward.objectives.%.80s", name);
        if (option_fields(r, key, item, FIELDS) != OK) return ERR_ARGUMENT;
        if (!read_objective(item, &weight, &min))
            return option_expected(r, key,
                                   "names with numbers, like { accuracy = 1.0 }, or { weight = 1.0, least = 0.95 }");
        if (objective_add(set, name, weight, &why) != OK) return option_wrong(r, key, "%s", why.text);
        set->items[set->n - 1].min = min;
    }

    if (objective_weighing(set) == 0)
        return option_expected(r, "reward.objectives", "at least one objective with a weight above 0");
    sort_objectives(set);
    return OK;
}

#define AT(member) OPTION_AT(trainer_config, member)

static const option ROWS[] = {
    { "reward.objectives", OPTION_VALUE, 0, 0, 0, 0, NULL, .unless = "sft", .read = read_objectives,
      .help = "table: objective -> weight, or { weight =, least = }",
      .more = "The names are those that the reward script returns. Each objective is normalised in its group by "
              "itself; the weighted sum trains (GDPO, arXiv 2601.05242). An objective of weight 0 is shown in the "
              "metrics and has no other effect. `least` makes a constraint: in a step whose mean is below it, only "
              "objectives that miss theirs train. The heaviest one is what progress, plots and `data.sampling` look "
              "at.",
      .elsewhere = "reward_weights weights" },
    { 0 },
};

const option_table OBJECTIVE_OPTIONS = {
    .title = "Objectives",
    .about = "What the reward script's numbers are worth: see [rewards.md](rewards.md) and [moo.md](moo.md).",
    .rows = ROWS,
};
