/* SPDX-License-Identifier: MIT */
/* peer - another program that measures the same: it is run with our words after it,
 *
 *     COMMAND train --size small --precision f32 --batch 16 --length 256 --seconds 5 --threads 2
 *
 * and prints one line of JSON: {"name": "torch 2.1", "tokens_per_second": 9800, "peak_mib": 410}, or, for ops, {"name":
 * ..., "seconds": {"linear gate M=1": 1e-5}}. What it leaves out counts as 0. bench/torch_peer.py is PyTorch's. */
#pragma once

#include "base/json.h"
#include "bench/bench.h"

/* The peer's line; the caller frees it (json_decref). NULL: it failed, or printed something else. */
json_t *bench_peer_ask(const char *command, bench_kind kind, const bench_request *r, error *err);
