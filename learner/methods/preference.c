/* SPDX-License-Identifier: MIT */
#include "learner/methods/preference.h"

#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "learner/method.h"

static int place_of(const objective_set *objectives, const char *name)
{
    int k = 0;
    while (k < objectives->n && strcmp(objectives->items[k].name, name) != 0) k++;
    return k;
}

/* One objective's weight as a row gives it. */
static int read_weight(const objective_set *objectives, const char *name, const json_t *value, const char *field,
                       double *own, error *err)
{
    const int k = place_of(objectives, name);
    if (k == objectives->n || !objective_weighs(&objectives->items[k]) || !json_is_number(value))
        return error_set(
            err, ERR_PARSE,
            "%s: '%.40s' is not an objective with a weight in reward.objectives, or its value is not a number", field,
            name);

    const double weight = json_number_value(value);
    if (!(weight >= 0 && weight <= OBJECTIVE_MAX_WEIGHT))
        return error_set(err, ERR_PARSE, "%s: '%.40s' weighs %g (expected a number from 0 to %g)", field, name, weight,
                         OBJECTIVE_MAX_WEIGHT);
    own[k] = weight;
    return OK;
}

/* One row's weights [K]: the recipe's, where it says nothing. */
static int read_row(const char *text, const char *field, const objective_set *objectives, double *own, error *err)
{
    const char *name;
    json_t *value, *row = json_parse(text, strlen(text), "row", err);
    if (!row) return err ? err->code : ERR_PARSE;

    int rc = OK;
    for (int k = 0; k < objectives->n; k++) own[k] = objectives->items[k].weight;
    json_t *table = json_object_get(row, field);
    if (table && !json_is_object(table)) rc = error_set(err, ERR_PARSE, "%s: expected objectives with numbers", field);
    json_object_foreach(table, name, value)
    {
        if (rc == OK) rc = read_weight(objectives, name, value, field, own, err);
    }
    json_decref(row);
    return rc;
}

static int read_row_of(const dataset *rows, uint64_t row, const char *field, const objective_set *objectives,
                       double *own, error *err)
{
    int rc;
    if (row < dataset_size(rows))
        rc = read_row(dataset_row(rows, row), field, objectives, own, err);
    else
        rc = error_set(err, ERR_STATE, "there is no such row");
    return rc == OK ? OK : error_within(err, "row %" PRIu64 " of data.train", row + 1);
}

int preference_check(const dataset *rows, uint64_t max, const char *field, const objective_set *objectives, error *err)
{
    double own[MAX_OBJECTIVES];
    int rc = OK;
    for (uint64_t i = 0; rc == OK && i < dataset_size(rows) && i < max; i++)
        rc = read_row_of(rows, i, field, objectives, own, err);
    return rc;
}

const double *preference_weights(arena *a, const dataset *rows, const char *field, const objective_set *objectives,
                                 const group *const *groups, int n_groups, error *err)
{
    const int K = objectives->n;
    int S = 0, s = 0;
    for (int g = 0; g < n_groups; g++) S += (int)groups[g]->n;
    double *all = arena_array(a, double, (size_t)S *(size_t)K + 1);
    for (int g = 0; g < n_groups; g++) {
        double own[MAX_OBJECTIVES];
        if (read_row_of(rows, groups[g]->prompt_id, field, objectives, own, err) != OK) return NULL;
        for (uint32_t i = 0; i < groups[g]->n; i++, s++)
            memcpy(all + (size_t)s * (size_t)K, own, sizeof(double) * (size_t)K);
    }
    return all;
}

/* ---- its keys ---- */

#define AT(member) OPTION_AT(trainer_config, member)

static const option ROWS[] = {
    { "reward.preference", OPTION_TEXT, AT(preference), 0, 0, "",
      .help = "field of a data row with the row's own weights of the objectives",
      .more = "A row then says `\"preference\": {\"accuracy\": 0.7, \"brevity\": 0.3}` (the field's name is this "
              "key's value): one policy learns the whole front of trade-offs, if its prompt says which one is "
              "wanted (preference-conditioned training, e.g. MOC, arXiv 2604.04497). Use it with `algorithm.std = "
              "\"none\"`." },
    { 0 },
};

static const option_table OPTIONS = { .after = "reward.objectives", .rows = ROWS };

/* ---- in the trainer's step ---- */

static bool wanted(const trainer_config *c) { return c->preference[0] && c->rows; }

static int weigh(void *self, train_step *s, error *err)
{
    (void)self;
    const trainer_config *c = s->parts->config;
    s->extra.weights =
        preference_weights(s->parts->arena, c->rows, c->preference, &c->objectives, s->groups, s->n_groups, err);
    if (s->extra.weights) return OK;
    return err ? err->code : ERR_DEVICE;
}

const method METHOD_PREFERENCE = {
    .name = "preference",
    .options = &OPTIONS,
    .wanted = wanted,
    .at = { [AT_WEIGH] = weigh },
};
