/* SPDX-License-Identifier: MIT */
/* method - what every method of moo/ is given, and what it must fill. Internal to learner/moo. */
#pragma once

#include "learner/moo/moo.h"

/* G [K, K] finite, every diagonal element > 0, p [K] > 0 or 0 with sum 1. `index` [K]: the objectives' numbers among
 * all, for what is kept in `state`. */
typedef struct moo_problem {
    const moo_config *config;
    int K;
    const double *G, *p;
    const int *index;
    rng_key order;
    moo_state *state; /* never NULL */
} moo_problem;

typedef void (*moo_fn)(const moo_problem *p, double *w);

void moo_mgda(const moo_problem *p, double *w);
void moo_mgda_norm(const moo_problem *p, double *w);
void moo_pcgrad(const moo_problem *p, double *w);
void moo_gradvac(const moo_problem *p, double *w);
void moo_cagrad(const moo_problem *p, double *w);
void moo_imtl_g(const moo_problem *p, double *w);
void moo_nash(const moo_problem *p, double *w);
void moo_fairgrad(const moo_problem *p, double *w);
void moo_aligned(const moo_problem *p, double *w);
void moo_upgrad(const moo_problem *p, double *w);
void moo_dualproj(const moo_problem *p, double *w);

/* The projection of sum u_i g_i / ||g_i|| on the cone that opposes no gradient -> v [K], in the same terms; C:
 * cosines. */
void moo_project(const double *C, int K, const double *u, double *v);

/* others [K - 1]: every objective but i, in the order in which i's gradient meets them. */
void moo_order(const moo_problem *p, int i, int *others);
