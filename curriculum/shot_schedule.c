/* SPDX-License-Identifier: MIT */
#include "curriculum/shot_schedule.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/rng.h"
#include "base/str.h"

enum { MAX_STAGES = 64, MAX_MIXTURE = 16 };

typedef struct stage {
    int64_t first_step;
    int32_t shots[MAX_MIXTURE];
    int n;
} stage;

struct shot_schedule {
    stage stages[MAX_STAGES];
    int n;
    bool in_group;
};

static int add_shots(stage *s, const json_t *v, error *err)
{
    const json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < 0 || n > MAX_SHOTS || s->n == MAX_MIXTURE)
        return error_set(err, ERR_ARGUMENT, "a stage shows 0 to %d shots, or a list of at most %d such numbers",
                         MAX_SHOTS, MAX_MIXTURE);
    s->shots[s->n++] = (int32_t)n;
    return OK;
}

static int add_stage(shot_schedule *c, const json_t *pair, error *err)
{
    const json_t *step = json_array_get(pair, 0), *shots = json_array_get(pair, 1);
    if (json_array_size(pair) != 2 || !json_is_integer(step))
        return error_set(err, ERR_ARGUMENT, "each stage is {first step, shots}");
    if (c->n == MAX_STAGES) return error_set(err, ERR_ARGUMENT, "at most %d stages are allowed", MAX_STAGES);

    stage *s = &c->stages[c->n];
    s->first_step = json_integer_value(step);
    if (c->n > 0 && s->first_step <= c->stages[c->n - 1].first_step)
        return error_set(err, ERR_ARGUMENT, "stage %d begins at step %" PRId64 ", not after the one before", c->n + 1,
                         s->first_step);

    int rc = json_is_array(shots) ? OK : add_shots(s, shots, err);
    for (size_t i = 0; rc == OK && i < json_array_size(shots); i++) rc = add_shots(s, json_array_get(shots, i), err);
    c->n++;
    if (rc == OK && s->n == 0) return error_set(err, ERR_ARGUMENT, "stage %d has no number of shots", c->n);
    return rc;
}

shot_schedule *shot_schedule_new(const json_t *schedule, bool in_group, error *err)
{
    shot_schedule *c = xcalloc(1, sizeof *c);
    int rc = OK;

    c->in_group = in_group;
    if (json_array_size(schedule) == 0)
        rc = error_set(err, ERR_ARGUMENT, "a schedule needs at least one stage { {0, shots} }");
    for (size_t i = 0; rc == OK && i < json_array_size(schedule); i++)
        rc = add_stage(c, json_array_get(schedule, i), err);
    if (rc == OK) return c;

    error_within(err, "prompt.shots.schedule");
    free(c);
    return NULL;
}

void shot_schedule_free(shot_schedule *c) { free(c); }

bool shot_schedule_stage(const shot_schedule *c, int i, int64_t *first_step, const int32_t **shots, int *n)
{
    if (i >= c->n) return false;
    *first_step = c->stages[i].first_step;
    *shots = c->stages[i].shots;
    *n = c->stages[i].n;
    return true;
}

int32_t shot_schedule_at(const shot_schedule *c, int64_t step, uint64_t prompt, uint32_t sample)
{
    const stage *now = NULL;
    for (int i = 0; i < c->n && c->stages[i].first_step <= step; i++) now = &c->stages[i];
    if (!now) return 0;
    return now->shots[(c->in_group ? sample : prompt) % (uint64_t)now->n];
}

int shot_pick(uint64_t seed, uint64_t group, int n, uint64_t pool, uint64_t *out)
{
    const rng_key key = { .seed = seed, .stream = group ^ 0x73686f7473u };
    int picked = 0;
    for (uint64_t draw = 0; picked < n && (uint64_t)picked < pool; draw++) {
        const uint64_t i = rng_below(key, 1, draw, pool);
        bool new = true;
        for (int k = 0; k < picked; k++)
            if (out[k] == i) new = false;
        if (new) out[picked++] = i;
    }
    return picked;
}
