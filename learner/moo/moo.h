/* SPDX-License-Identifier: MIT */
/* moo - multi-objective optimisation on K x K: a Gram matrix in, weights out.
 *
 *     G[i][j] = <g_i, g_j>,  i, j < K   ->   w [K]:  the direction to descend is  d = sum_i w_i g_i
 *
 * Every method here needs the Gram matrix alone, float64, and knows neither buckets nor devices nor gradients. One file
 * a method; each says whose it is. `sum` and PCGrad add up (their d is about K gradients long), the others average.
 *
 * What they have in common, by definition:
 *   a gradient of zero      its objective has no say and no weight; the others are solved as if it were not there
 *   a preference of zero    the same, where others have one
 *   all gradients zero      all weights 0
 *   no Gram matrix          ERR_STATE, with the objectives' numbers: NaN, infinite, asymmetric, indefinite
 *   equal gradients         any split of the weight gives the same d; ours is the one the method's rule finds first
 *   opposite gradients      mgda, pcgrad, upgrad, dualproj: d = 0; nash, fairgrad: w is large (the ridge bounds it),
 *                           d ~ 0
 *   lengths far apart       mgda, cagrad, upgrad, dualproj, nash, fairgrad and gradvac work on cosines: what one
 *                           gradient beside the others is worth doesn't depend on units
 *
 * What float64 products can tell: a sum of gradients that cancels to less than about 2e-7 of its parts has no direction
 * that they know. mgda, upgrad and dualproj say 0 there, weights and all, and keep their promise; a direction of chance
 * would oppose whom it likes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/words.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/state.h"

enum { MOO_MAX = 16 }; /* objectives */

#define MOO_METHODS(X)                                                                                                 \
    X(MOO_SUM, "sum", "the sum, weighed by preference: no conflict is looked at")                                      \
    X(MOO_PREF, "pref", "the average, weighed by preference")                                                          \
    X(MOO_MGDA, "mgda", "the shortest convex combination (Desideri 2012; Sener & Koltun 2018)")                        \
    X(MOO_MGDA_NORM, "mgda_norm", "MGDA on gradients brought to one length")                                           \
    X(MOO_PCGRAD, "pcgrad", "each gradient loses what opposes another; their sum (Yu et al. 2020)")                    \
    X(MOO_GRADVAC, "gradvac", "PCGrad towards the pairs' usual cosine (Wang et al. 2021)")                             \
    X(MOO_CAGRAD, "cagrad", "the worst objective's best, near the average (Liu et al. 2021)")                          \
    X(MOO_IMTL_G, "imtl_g", "equal projections on all gradients' directions (Liu et al. 2021)")                        \
    X(MOO_NASH, "nash", "the Nash bargaining solution (Navon et al. 2022)")                                            \
    X(MOO_FAIRGRAD, "fairgrad", "alpha-fair shares of the progress (Ban & Ji 2024)")                                   \
    X(MOO_ALIGNED, "aligned", "the gradients' principal axes made equally long (Senushkin et al. 2023)")               \
    X(MOO_UPGRAD, "upgrad",                                                                                            \
      "the average of the gradients projected on the cone without conflict (Quinton & Rey 2024)")                      \
    X(MOO_DUALPROJ, "dualproj", "the average projected on that cone (Lopez-Paz & Ranzato 2017)")

typedef enum moo_method { MOO_METHODS(WORDS_MEMBER) N_MOO_METHODS } moo_method;
extern const word_row MOO_METHOD_WORDS[];

typedef struct moo_config {
    moo_method method;
    double pref[MOO_MAX]; /* preferences; all 0: equal. For pref, cagrad, aligned, upgrad and dualproj they weigh the
                              average; sum, pcgrad and gradvac get gradients scaled by them; the others don't look but
                              for zeros. None is negative */
    double c;             /* CAGrad: how far from the average, in its lengths (0.5) */
    double alpha;         /* FairGrad (2) */
    double beta;          /* GradVac: share of the new cosine in the running one (0.5) */
    double max_norm;      /* Nash: the longest d (1); 0: as it comes */
    double ridge;         /* Nash, FairGrad: added to the diagonal of the cosines, 1 each (1e-10) */
    bool natural_order;   /* PCGrad, GradVac: projections in the objectives' order instead of a drawn one */
} moo_config;

moo_config moo_default(moo_method method);
const char *moo_method_name(moo_method method);
/* Whether its direction is a sum, about K gradients long, and not an average. */
bool moo_adds_up(moo_method method);
/* One line: what it does, its paper. */
const char *moo_method_help(moo_method method);

/* What a method remembers from step to step, one a bucket. Zero-initialised: nothing yet. */
typedef struct moo_state {
    double phi[MOO_MAX * MOO_MAX]; /* GradVac: running cosine of each ordered pair */
} moo_state;

/* Section "moo": of one that is not a bucket's. */
void moo_state_walk(moo_state *m, saved_state *s);

/* Whether objective i of K is asked at all: where there are preferences, one of 0 has no say under any method. */
bool moo_has_say(const moo_config *config, int K, int i);

/* Whether G [K, K] is the products of some gradients, up to 1e-9 of their lengths;
 * ERR_STATE says what is in the way. */
int moo_check(const double *G, int K, error *err);
/* G [K, K] as moo_check wants it, K in [1, MOO_MAX]. `active` [K]: objectives that take part, NULL: all. `order` seeds
 * PCGrad's and GradVac's projections. `state` may be NULL (nothing is remembered). w [K] of the gradients as they are.
 * ERR_STATE: moo_check's, or weights that no double holds. ERR_ARGUMENT: a preference is negative or not finite. */
int moo_solve(const moo_config *config, const double *G, int K, const bool *active, rng_key order, moo_state *state,
              double *w, error *err);

/* Cosine of objectives i and j; 0 where a gradient is zero. */
double moo_cosine(const double *G, int K, int i, int j);
/* ||sum_i w_i g_i||, never NaN. */
double moo_norm(const double *G, int K, const double *w);
