/* SPDX-License-Identifier: MIT */
#include "learner/finite.h"

#include <math.h>
#include <stdio.h>

#include "kernels/ops.h"

int finite_refuse(const param_table *table, int which, const char *what, error *err)
{
    const struct param *p = &table->items[which];
    char bucket[32] = "top";
    if (p->kind == PARAM_EMBED) snprintf(bucket, sizeof bucket, "embed");
    if (p->layer >= 0) snprintf(bucket, sizeof bucket, "layer.%d", p->layer);
    return error_set(err, ERR_STATE, "%s of %s (%s): not finite", what, bucket, p->name);
}

int finite_check(device *dev, const param_table *table, const float *data, const char *what, error *err)
{
    const struct ops *ops = device_ops(dev);
    if (isfinite(ops->sum_squares(dev, data, table->total))) return OK;
    for (int i = 0; i < table->n; i++)
        if (!isfinite(ops->sum_squares(dev, data + table->items[i].offset, table->items[i].count)))
            return finite_refuse(table, i, what, err);
    return OK; /* the sum of finite squares: 1e308 is far away */
}
