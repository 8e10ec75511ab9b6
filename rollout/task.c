/* SPDX-License-Identifier: MIT */
#include "rollout/task.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"

static const uint64_t EVAL_BIT = (uint64_t)1 << 63;

uint64_t task_id(bool eval, int64_t step, uint32_t index)
{
    const uint64_t id = ((uint64_t)step & 0x7fffffff) << 32 | index;
    return eval ? id | EVAL_BIT : id;
}

bool task_id_eval(uint64_t id) { return (id & EVAL_BIT) != 0; }
int64_t task_id_step(uint64_t id) { return (int64_t)(id >> 32 & 0x7fffffff); }
uint32_t task_id_index(uint64_t id) { return (uint32_t)id; }

task *task_copy(const task *t)
{
    task *copy = xmalloc(sizeof *copy);
    *copy = *t;
    copy->row = xstrdup(t->row);
    return copy;
}

void task_reset(task *t)
{
    free(t->row);
    *t = (task){ 0 };
}

void task_free(task *t)
{
    if (!t) return;
    task_reset(t);
    free(t);
}

char *task_data_group(const task *t)
{
    const char *group = "";
    json_t *row = t->row ? json_parse(t->row, strlen(t->row), "row", NULL) : NULL;
    if (row) json_opt_string(row, "group", "row", "", &group, NULL);
    char *copy = xstrdup(group ? group : "");
    json_decref(row);
    return copy;
}

int task_check(const task *t, error *err)
{
    if (t->group_size == 0 || t->sample >= t->group_size)
        return error_set(err, ERR_PARSE, "task %016" PRIx64 ": sample %" PRIu32 " of a group of %" PRIu32, t->id,
                         t->sample, t->group_size);

    if (t->min_version > t->max_version || t->max_tokens < 1 || !(t->temperature >= 0) || isinf(t->temperature) ||
        t->n_shots < 0 || t->template_id < 0 || !(t->hint >= 0 && t->hint <= 1))
        return error_set(err, ERR_PARSE,
                         "task %016" PRIx64 ": impossible versions, max_tokens, temperature, shots or hint", t->id);

    json_t *row = t->row ? json_parse(t->row, strlen(t->row), "row", NULL) : NULL;
    const bool object = json_is_object(row);
    json_decref(row);
    if (object) return OK;
    return error_set(err, ERR_PARSE, "task %016" PRIx64 ": its row is not a JSON object", t->id);
}
