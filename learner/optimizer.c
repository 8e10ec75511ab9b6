#include "learner/optimizer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/str.h"

optim_config optim_default(void)
{
    return (optim_config){ .lr = 1e-6, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .clip_norm = 1.0, .warmup = 10 };
}

optimizer *optimizer_new(const optim_config *config, const weights *w, error *err)
{
    (void)err;
    optimizer *o = xcalloc(1, sizeof *o);
    const size_t bytes = sizeof(float) * (size_t)w->table->total;
    o->config = *config;
    o->m = device_alloc(w->dev, bytes);
    o->v = device_alloc(w->dev, bytes);
    device_ops(w->dev)->zero(w->dev, o->m, w->table->total);
    device_ops(w->dev)->zero(w->dev, o->v, w->table->total);
    return o;
}

void optimizer_free(optimizer *o, device *dev)
{
    if (!o) return;
    device_free(dev, o->m);
    device_free(dev, o->v);
    free(o);
}

double optimizer_lr(const optim_config *c, int64_t step)
{
    if (step <= c->warmup) return c->lr * (double)step / (double)c->warmup;
    if (c->schedule == LR_CONSTANT || c->total_steps <= c->warmup) return c->lr;
    const double done = (double)(step - c->warmup) / (double)(c->total_steps - c->warmup);
    return c->lr * (0.1 + 0.9 * 0.5 * (1 + cos(M_PI * fmin(1, done))));
}

int optimizer_step(optimizer *o, weights *w, const float *grads, optim_report *report, error *err)
{
    const struct ops *ops = device_ops(w->dev);
    const optim_config *c = &o->config;
    const int64_t step = o->step + 1;
    const double norm = sqrt(ops->sum_squares(w->dev, grads, w->table->total));
    const double lr = optimizer_lr(c, step);
    *report = (optim_report){ .grad_norm = norm, .lr = lr };
    /* One bad number here would be in every weight for ever: look before, not after. */
    if (!isfinite(norm))
        return error_set(err, ERR_STATE, "update %" PRId64 ": the gradient's norm is not finite; nothing was changed",
                         step);
    const double scale = c->clip_norm > 0 && norm > c->clip_norm ? c->clip_norm / norm : 1;
    for (int i = 0; i < w->table->n; i++) {
        const param *p = &w->table->items[i];
        const double decay = p->rank >= 2 ? c->weight_decay : 0;
        ops->adamw(w->dev, w->data + p->offset, grads + p->offset, o->m + p->offset, o->v + p->offset, p->count,
                   (float)lr, (float)c->beta1, (float)c->beta2, (float)c->eps, (float)decay, (float)scale, step);
    }
    o->step = step;
    return OK;
}
