/* SPDX-License-Identifier: MIT */
#include "actor/options.h"

#define AT(member) OPTION_AT(actor_options, member)

static const option ROWS[] = {
    { "rollout.max_context", OPTION_WHOLE, AT(max_context), 16, 1e6, "1024",
      .help = "tokens of an episode, prompt, answer and observations together",
      .more = "At most what the model allows. A prompt that does not fit is not played; `troupe train` counts them "
              "before it starts. Sets the memory of an actor's KV pages.",
      .elsewhere = "max_prompt_length max_seq_length max_model_len context_length" },
    { "rollout.top_p", OPTION_NUMBER, AT(top_p), 0.01, 1, "1.0",
      .help = "nucleus sampling: the likeliest tokens up to this probability; 1: all",
      .more = "Below 1 the learner sees other probabilities than were sampled, and its ratios are off from the "
              "start: keep it at 1 for training unless you know why." },
    { 0 },
};

const option_table ACTOR_OPTIONS = {
    .title = "Playing",
    .about = "What bounds an episode in an actor.",
    .rows = ROWS,
};
