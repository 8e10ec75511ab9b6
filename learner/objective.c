/* SPDX-License-Identifier: MIT */
#include "learner/objective.h"

#include <math.h>
#include <string.h>

int objective_add(objective_set *set, const char *name, double weight, error *err)
{
    const size_t len = strlen(name);
    if (len == 0 || len >= OBJECTIVE_NAME)
        return error_set(err, ERR_ARGUMENT, "objective '%.40s': a name has 1 to %d characters", name,
                         OBJECTIVE_NAME - 1);

    /* Written so that NaN is refused, too. */
    if (!(weight >= 0 && weight <= OBJECTIVE_MAX_WEIGHT))
        return error_set(err, ERR_ARGUMENT,
                         "objective '%s': weight %g (a number from 0 to %g; for less of something let the script "
                         "return its negative)",
                         name, weight, OBJECTIVE_MAX_WEIGHT);
    for (int k = 0; k < set->n; k++)
        if (strcmp(set->items[k].name, name) == 0)
            return error_set(err, ERR_ARGUMENT, "objective '%s' is named twice", name);
    if (set->n == MAX_OBJECTIVES)
        return error_set(err, ERR_FULL, "objective '%s': at most %d objectives are allowed", name, MAX_OBJECTIVES);

    objective *o = &set->items[set->n++];
    memcpy(o->name, name, len + 1);
    o->weight = weight;
    o->min = -INFINITY;
    return OK;
}

bool objective_weighs(const objective *o) { return o->weight > 0; }

int objective_weighing(const objective_set *set)
{
    int n = 0;
    for (int k = 0; k < set->n; k++) n += objective_weighs(&set->items[k]);
    return n;
}
