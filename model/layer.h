/* SPDX-License-Identifier: MIT */
/* layer - one layer over T rows, and what stands above the last one. Forward, backward and decode share these
 * functions, so that they agree to the bit by construction: what differs is only where keys and values lie. Internal to
 * model/.
 *
 *      x [T, D] --norm--> q, k, v --rope--> attention --> att [T, H hd]                                  the lower half
 *      x + O att = mid --norm--> gate, up --> act = gate(gate) up;  mid + Down act = the next x          the upper half
 *
 * In a layer with experts the upper half is that of the experts that its router chooses for a row (experts.c).
 *
 * A model may leave out the norms before the branches, norm what they add (O att, Down act) and multiply it by
 * residual_scale; config.h says which one does what.
 *
 * Attention is the only place where rows meet. So in the last layer only the wanted rows (n of T) enter the upper half,
 * and only they are normed for the head. */
#pragma once

#include "model/transformer.h"

/* Rows of a parameter that one product reads: all of them, or one of the matrices that lie in it. */
typedef struct matrix {
    const param *of;
    int part, first, rows;
} matrix;
matrix matrix_whole(const param *p);
static inline size_t matrix_offset(const matrix *m) { return (size_t)m->first * (size_t)m->of->cols; }

typedef struct layer_weights {
    matrix q, k, v, o, gate, up, down;
    const param *q_bias, *k_bias, *v_bias, *o_bias, *gate_bias, *up_bias, *down_bias; /* NULL: the model has none */
    const param *attn_norm, *q_norm, *k_norm, *attn_post_norm, *mlp_norm, *mlp_post_norm;
    const param *router; /* NULL: gate, up and down are the layer's; else those of its experts */
    const param *experts;
    layer_attention attention;
} layer_weights;
layer_weights layer_weights_of(const weights *w, int layer);

static inline const float *param_data(const weights *w, const param *p)
{
    return w->data + w->places[p - w->table->items];
}
static inline const void *param_packed(const weights *w, const param *p) { return w->packed[p - w->table->items][0]; }
const param *embed_param(const weights *w);
const param *head_param(const weights *w); /* what makes logits: the head, or the tied embedding */
/* y = add + x W^T + bias; bias and add may be NULL. */
linear_part linear_part_of(const weights *w, const matrix *m, const param *bias, const float *add, float *y);

/* Device scratch: [rows, columns] floats, and a copy of n integers of the host. */
float *scratch_floats(device *dev, int rows, int columns);
const int32_t *scratch_ints(device *dev, const int32_t *from, size_t n);

/* Which rows go to which expert. The k choices of n rows are numbered row by row, and lie expert by expert, each
 * expert's in the order of their rows. */
typedef struct expert_groups {
    int *begin;                              /* [E + 1] where each expert's begin */
    int32_t *chosen;                         /* [n k] the expert of each choice */
    int32_t *rows, *choices;                 /* [n k] whose they are, and their numbers */
    int32_t *rows_on_device, *choices_there; /* the same on the device */
} expert_groups;

/* What goes to one expert and what comes back, [n, D] each: lent. */
typedef struct expert_room {
    float *in, *out;
} expert_room;

/* What a layer's router and experts leave for backward. */
typedef struct expert_acts {
    float *p;              /* [n, E] the router's softmax */
    int32_t *chosen;       /* [n, k] on the device */
    float *weight;         /* [n, k] */
    float *grouped_weight; /* [n k] in the groups' order, as gate, up and act are then: [n k, F of an expert] */
    expert_groups *groups;
    expert_room room;
} expert_acts;

/* Activations of one layer, in the order in which forward makes them. */
typedef struct layer_acts {
    float *x;               /* [T, D] the layer's input; the caller's memory */
    float *attn_in;         /* [T, D] normed; x itself, where no norm stands before attention */
    float *attn_rstd;       /* [T] */
    float *q, *k, *v;       /* [T, H hd], [T, Hkv hd] twice; q and k after the rotary embedding */
    float *q_raw, *k_raw;   /* before their norm, where there is one */
    float *q_rstd, *k_rstd; /* [T, H], [T, Hkv]; [T] where all heads are normed together */
    float *att;             /* [T, H hd] */
    float *lse;             /* [T, H] */
    /* the upper half, n rows */
    const int32_t *rows; /* [n] which of T, on the device; NULL: all, n = T */
    int n;
    float *x_rows;    /* [n, D] of x */
    float *att_rows;  /* [n, H hd] of att */
    float *mid;       /* [n, D] after attention's residual */
    float *mlp_in;    /* [n, D] normed; mid itself, where no norm stands before the feed-forward part */
    float *mlp_rstd;  /* [n] */
    float *gate, *up; /* [n, F] */
    float *act;       /* [n, F] */
    expert_acts experts;
    /* where what a branch adds is normed or scaled */
    float *att_out, *mlp_out;           /* [n, D] of the branch, before its norm */
    float *att_out_rstd, *mlp_out_rstd; /* [n] */
    float *added;                       /* [n, D] normed and scaled; forgotten once it is added */
} layer_acts;

/* Memory for everything but x; layer_acts_take then says which x and which rows. Buffers made for n = T and for
 * ANY_LAYER can be taken again by layer after layer when nothing is kept.
 *
 * The norms' outputs and act are a third of a layer's memory and made again from the rest in a hundredth of its time:
 * they can lie where those of `lender` (another layer's; NULL: none) do, and layer_remake makes them anew for
 * backward. */
enum { ANY_LAYER = -1 };
layer_acts layer_acts_new(const weights *w, int layer, int T, int n, const layer_acts *lender);
void layer_remake(const weights *w, int T, const layer_weights *p, const layer_acts *a);
void layer_acts_take(const weights *w, layer_acts *a, float *x, int n, const int32_t *rows);
/* Floats that layer_acts_new takes with a lender, and those beside them without; those of chosen rows that
 * layer_acts_take does. */
int64_t layer_acts_floats(const model_config *c, int layer, int T, int n);
int64_t layer_lent_floats(const model_config *c, int T, int n);
int64_t layer_rows_floats(const model_config *c, int n);
/* The most scratch that one operation of a layer over T rows takes for itself. */
size_t layer_op_bytes(const device *dev, const param_table *t, int T);

/* The cosines and sines of T rows, [T, rotary dims] in device scratch, of each of the model's rotary embeddings. */
typedef struct rope_tables {
    const float *cos_sin[MAX_ROPES];
} rope_tables;
rope_tables layer_ropes(const weights *w, const int32_t *positions, int T);
/* The table that a layer's queries and keys are turned by; NULL where they are not turned. */
const float *layer_rope(const rope_tables *tables, const layer_weights *p);

/* Which dimensions of a head the model's rotary embedding turns. */
rope_turn layer_turn(const model_config *c);
/* x [n] *= factor. A factor of 0 means that the model has none: x stays as it is. */
void layer_scale(const weights *w, float factor, int64_t n, float *x);
/* Attention divides q . k by sqrt(hd), whatever the model. Where the model has another scale, its queries are
 * multiplied by this factor before; 0: they are not. */
float layer_query_scale(const model_config *c);
/* Rows of D numbers that are normed one by one: the heads of a token, or the whole token. */
int layer_normed_rows(const model_config *c, int T, int heads);

/* The embedding's rows, [T, D]. */
void layer_embed(const weights *w, const int32_t *ids, int T, float *x);
/* norm, q, k, v, their norms, rope (cos_sin NULL: none). */
void layer_project(const weights *w, const layer_weights *p, const float *cos_sin, int T, const layer_acts *a);
/* From att to out [n, D], the next layer's x (it may be a->x itself). out NULL: ends where backward has all it
 * needs. */
void layer_finish(const weights *w, const layer_weights *p, const layer_acts *a, float *out);

/* ---- experts.c ---- */

/* Numbers of a row in gate, up and act each; and of one product's. */
int layer_gated_width(const model_config *c, int layer);
int layer_product_width(const model_config *c);
expert_acts expert_acts_new(const weights *w, int n);
int64_t expert_acts_floats(const model_config *c, int n);
expert_room expert_room_new(const weights *w, int n);
int64_t expert_room_floats(const model_config *c, int n);
/* An expert's matrices, by PARAM_EXPERT_GATE, _UP, _DOWN. */
matrix expert_matrix(const layer_weights *p, int expert, param_kind kind);
/* to [n, D] = what the experts make of mlp_in. to may be NULL: then only what backward needs is computed. */
void experts_forward(const weights *w, const layer_weights *p, const layer_acts *a, float *to);

/* Above the last layer: the final norm of n rows. */
typedef struct top_acts {
    int n;
    float *x;      /* [n, D] out of the last layer */
    float *normed; /* [n, D] */
    float *rstd;   /* [n] */
} top_acts;
top_acts top_acts_new(const weights *w, int n);
int64_t top_acts_floats(const model_config *c, int n);
void top_norm(const weights *w, const top_acts *top);
/* Logits [n, V] through the model's soft-cap, where it has one. */
void layer_cap_logits(const weights *w, float *logits, int n);
const float *top_logits(const weights *w, const top_acts *top); /* top_norm, then logits [n, V] in device scratch */

/* The token arrays of a batch, on the device. */
typedef struct device_batch {
    int T, S, n_out;
    const int32_t *ids, *starts, *prefix, *out_rows, *targets; /* prefix NULL: no sequence has one */
    rope_tables ropes;
} device_batch;

/* Gradients with respect to some outputs' logits, beside those of their targets' logprobs. */
typedef struct logit_gradients {
    int begin, n;
    const float *dz; /* [n, V] on the device */
    const struct logit_gradients *next;
} logit_gradients;

/* What model_forward leaves for model_backward. */
typedef struct inner_activations {
    activations outside; /* what the caller sees */
    bool keep, recompute;
    float temperature;
    device_batch batch;
    float *router_p;    /* [E] the routers' probabilities, summed over layers and rows */
    double *routed;     /* [E] on the host: how many rows each expert got, summed over layers */
    layer_acts *layers; /* [L], one lends; with recompute all in the same buffers, but for x and the last one's rows */
    top_acts top;
    float *logits; /* [kept, V] of the first rows */
    int kept;
    float *lse, *logprob, *entropy;         /* [n_out] */
    const logit_gradients *logit_gradients; /* NULL: none */
    const float *scale;                     /* [n_out] on the host: what the rows' logits were multiplied by; NULL: 1 */
} inner_activations;

/* What model_backward adds to the scratch that model_forward leaves in use, at most. */
size_t model_backward_bytes(const device *dev, const param_table *t, const pass_size *s);

/* A layer of a packed batch, from a->x on (see layer_finish for `out`). */
void layer_forward(const weights *w, int layer, const device_batch *b, const layer_acts *a, float *out);
/* Rows [n, columns] times scale[row], run by run of equal scales. */
void scale_rows(const weights *w, const float *scale, int n, int columns, float *rows);

/* Whether in->scale is multiplied into the rows before the head, as k (W x) = W (k x). Where logits are capped that
 * does not hold: then each run of rows with the same scale is a call of the head, at a temperature divided by it. */
bool rows_are_scaled(const weights *w, const inner_activations *in);
/* From `begin` to at most `end`: the end of the rows that one call takes. */
int head_run_end(const weights *w, const inner_activations *in, int begin, int end);
float head_temperature(const weights *w, const inner_activations *in, int row);
