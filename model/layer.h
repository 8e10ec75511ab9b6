/* layer - what transformer.c, backward.c and decode.c share: names for a layer's parameters, and the places of its
 * activations. Internal to this room. */
#pragma once

#include "model/transformer.h"

typedef struct layer_weights {
    const param *attn_norm, *q, *k, *v, *o, *mlp_norm, *gate, *up, *down;
} layer_weights;

layer_weights layer_weights_of(const weights *w, int layer);
static inline const float *param_data(const weights *w, const param *p) { return w->data + p->offset; }
static inline const void *param_packed(const weights *w, const param *p) { return w->packed[p - w->table->items]; }
/* The matrix that makes logits: the head, or the tied embedding. */
const param *head_param(const weights *w);

/* Activations of one layer over T rows; what each is, in the order in which forward makes it. */
typedef struct layer_acts {
    float *x;         /* [T, D] the layer's input */
    float *attn_in;   /* [T, D] normed */
    float *attn_rstd; /* [T] */
    float *q, *k, *v; /* [T, H hd], [T, Hkv hd] x 2: q and k after the rotary embedding */
    float *att;       /* [T, H hd] */
    float *lse;       /* [T, H] */
    float *mid;       /* [T, D] after attention's residual */
    float *mlp_in;    /* [T, D] normed */
    float *mlp_rstd;  /* [T] */
    float *gate, *up; /* [T, F] */
    float *act;       /* [T, F] silu(gate) up */
} layer_acts;

/* Allocates everything but x, in device scratch. */
layer_acts layer_acts_new(const weights *w, int T, float *x);

/* The token arrays of a batch, on the device. */
typedef struct device_batch {
    int T, S, n_out;
    int32_t *ids, *positions, *starts, *targets;
    const int32_t *out_rows; /* on the host: rows are gathered by copies */
} device_batch;
device_batch device_batch_of(device *dev, const token_batch *b);

/* The layer's forward over packed sequences; out [T, D] becomes the next layer's input. */
void layer_forward(const weights *w, int layer, const device_batch *b, const layer_acts *a, float *out);

typedef struct inner_activations {
    activations public;
    bool recompute;
    float temperature;
    device_batch batch;
    float **inputs;      /* [L] each layer's input (always kept) */
    layer_acts *layers;  /* [L] when not recomputed */
    float *last;         /* [T, D] the last layer's output */
    float *out_x;        /* [n_out, D] its rows that have targets */
    float *out_normed;   /* [n_out, D] */
    float *out_rstd, *lse, *logprob, *entropy; /* [n_out] */
} inner_activations;

/* Rows of x [T, D] that have a target -> out [n_out, D]; and back, added. Device memory is host memory on the one backend
 * that runs whole models; a second backend turns these two into operations. */
void gather_rows(const float *x, const int32_t *rows, int n, int D, float *out);
void scatter_rows_add(const float *from, const int32_t *rows, int n, int D, float *to);
