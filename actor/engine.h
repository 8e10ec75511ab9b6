/* SPDX-License-Identifier: MIT */
/* engine - continuous batching: many token streams in flight, one forward a step over all that can continue.
 *
 * A stream is prefilled in chunks, sampled token by token, told to wait (its owner has a tool call out), spliced with
 * observation tokens, and ended. Streams join and leave between steps; a waiting stream costs nothing and delays no
 * other. Full pages of equal tokens under equal weights are computed once and shared (actor/prefix_tree).
 *
 * Sampling is keyed by (seed, group, sample, position): the same stream gives the same tokens in whatever batch, engine
 * or order. The engine knows tokens only: no text, tool, lease or reward. One thread owns an engine. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory_need.h"
#include "model/weights.h"
#include "rollout/trajectory.h"

typedef struct engine engine;

typedef struct engine_config {
    int max_streams;     /* in flight, waiting ones included */
    int max_context;     /* tokens of one stream, prompt included */
    int tokens_per_step; /* rows of one forward, min max_streams + KV_PAGE; decode rows go first, prefill fills up */
    size_t kv_bytes;     /* page storage; 0: enough for max_streams x max_context */
} engine_config;

typedef struct stream_options {
    uint64_t seed, group, sample; /* sampling key */
    float temperature, top_p;     /* 0: greedy; top_p 1: whole vocabulary */
    void *owner;                  /* handed back with each token */
} stream_options;

/* `w` is borrowed until replaced. */
engine *engine_new(const engine_config *config, const weights *w, error *err);
/* An engine that computes nothing: its one stream "samples" what stands in the record at the place that it has come to,
 * and stands still where nothing was sampled. `record` is borrowed. */
engine *engine_of_record(const trajectory *record, int max_context);
void engine_free(engine *en);
/* What it takes beside the weights: pages, and the activations of its largest step. */
void engine_need(const engine_config *config, const device *dev, const param_table *shapes, memory_need *need);
int engine_context(const engine *en);  /* max_context */
int engine_capacity(const engine *en); /* max_streams: the most tokens a step can sample */

/* Starts a stream on prompt ids. Returns its id (> 0), or 0 and ERR_FULL / ERR_LIMIT (longer than max_context). */
uint64_t engine_submit(engine *en, const int32_t *ids, size_t n, const stream_options *options, error *err);
/* Puts more tokens after what was sampled (an observation) and lets the stream continue. ERR_LIMIT: no room in
 * max_context. */
int engine_append(engine *en, uint64_t stream, const int32_t *ids, size_t n, error *err);
/* Ends a stream: its pages go back (shared ones stay cached until they are needed). */
void engine_end(engine *en, uint64_t stream);

/* A token that a step sampled. The stream now waits: engine_resume lets it continue, engine_append splices first,
 * engine_end drops it. */
typedef struct sampled_token {
    uint64_t stream;
    void *owner;
    int32_t id;
    float logprob;   /* behaviour logprob, bit-equal to what model_forward gives for it */
    int64_t version; /* policy version and weight hash that sampled it */
    uint64_t weight_hash;
} sampled_token;

/* One forward over all streams that can continue. Writes up to max_streams tokens; returns how many; 0: nothing ran or
 * only prefill. *busy: more work is ready. Negative: -ERR_..., a device error, or ERR_STATE for weights whose logits
 * are not finite. */
int engine_step(engine *en, sampled_token *out, bool *busy, error *err);
void engine_resume(engine *en, uint64_t stream);
/* How many more tokens the stream's context can hold. */
int engine_room(const engine *en, uint64_t stream);

/* From now on tokens are sampled with `w`. Cached keys and values of the old weights can't be expressed under the new
 * ones: streams in flight are prefilled again before they continue. */
void engine_set_weights(engine *en, const weights *w);

typedef struct engine_stats {
    int streams, waiting, pages_used, pages_total;
    uint64_t steps, tokens_sampled, tokens_prefilled, tokens_reused; /* reused: taken from shared pages */
} engine_stats;
engine_stats engine_statistics(const engine *en);
