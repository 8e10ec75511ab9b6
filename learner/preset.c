/* SPDX-License-Identifier: MIT */
#include "learner/preset.h"

/* name, mean, std, loss, aggregation, clip (low, high), filter, paper */
#define PRESETS(X)                                                                                                     \
    X("grpo", MEAN_GROUP, STD_GROUP, LOSS_PPO, AGGREGATE_TOKEN, 0.2, 0.28, false,                                      \
      "arXiv 2402.03300, with the clip and the aggregation of 2503.14476")                                             \
    X("dapo", MEAN_GROUP, STD_GROUP, LOSS_PPO, AGGREGATE_TOKEN, 0.2, 0.28, true, "arXiv 2503.14476")                   \
    X("dr_grpo", MEAN_GROUP, STD_NONE, LOSS_PPO, AGGREGATE_CONSTANT, 0.2, 0.2, false, "arXiv 2503.20783")              \
    X("rloo", MEAN_LOO, STD_NONE, LOSS_PPO, AGGREGATE_TOKEN, 0.2, 0.2, false, "arXiv 2402.14740")                      \
    X("reinforce++", MEAN_BATCH, STD_BATCH, LOSS_PPO, AGGREGATE_TOKEN, 0.2, 0.2, false, "arXiv 2501.03262")            \
    X("reinforce++_baseline", MEAN_GROUP, STD_BATCH, LOSS_PPO, AGGREGATE_TOKEN, 0.2, 0.2, false,                       \
      "arXiv 2501.03262, with a baseline by group")                                                                    \
    X("opo", MEAN_LENGTH, STD_NONE, LOSS_PPO, AGGREGATE_TOKEN, 0.2, 0.2, false, "arXiv 2505.23585")                    \
    X("gspo", MEAN_GROUP, STD_GROUP, LOSS_GSPO, AGGREGATE_SEQUENCE, 3e-4, 4e-4, false, "arXiv 2507.18071")             \
    X("cispo", MEAN_GROUP, STD_GROUP, LOSS_CISPO, AGGREGATE_TOKEN, 1.0, 0.28, false, "arXiv 2506.13585")               \
    X("kimi", MEAN_GROUP, STD_NONE, LOSS_KIMI, AGGREGATE_SEQUENCE_SUM, 0.2, 0.28, false, "arXiv 2501.12599")           \
    X("raft", MEAN_BEST, STD_NONE, LOSS_REINFORCE, AGGREGATE_TOKEN, 0.2, 0.28, false, "arXiv 2304.06767")              \
    X("nft", MEAN_GROUP, STD_NONE, LOSS_NFT, AGGREGATE_TOKEN, 0.2, 0.28, true, "arXiv 2505.18116")

#define ROW(name, mean, std, loss, sum, low, high, filter, paper)                                                      \
    { name, paper, mean, std, loss, sum, low, high, filter },
#define NAME(name, ...) name,
#define LISTED(name, ...) " " name

static const preset ROWS[] = { PRESETS(ROW) };

const char *const PRESET_NAMES[] = { PRESETS(NAME) NULL };
const char PRESET_HELP[] = "what a paper does, one of:" PRESETS(LISTED);

const preset *preset_at(int i) { return &ROWS[i]; }
