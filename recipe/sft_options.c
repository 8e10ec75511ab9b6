/* SPDX-License-Identifier: MIT */
#include "recipe/sft_options.h"

static const word_row LOSSES[] = { SFT_LOSSES(WORDS_ROW){ 0 } };

#define AT(member) OPTION_AT(sft_options, member)

static const option ROWS[] = {
    { "sft.loss", OPTION_WORD, AT(loss), 0, 0, "answers", .words = LOSSES, .help = "which tokens of a row are learned",
      .more = "Of a row of plain text all are, whatever is said here.",
      .elsewhere = "completion_only_loss assistant_only_loss train_on_inputs" },
    { "sft.rows_per_step", OPTION_WHOLE, AT(rows_per_step), 1, 65536, "16", .help = "rows of data.train in an update",
      .more = "They are packed end to end, without padding, in passes of `learner.micro_tokens` tokens; how they are "
              "cut into passes changes nothing but memory and time. The loss is a mean over all learned tokens of "
              "the step." },
    { "sft.max_tokens", OPTION_WHOLE, AT(max_tokens), 2, 1 << 20, "2048", .help = "tokens of a row at most",
      .more = "What a longer row has beyond them is left out, and how many rows that befalls is said.",
      .elsewhere = "max_length seq_len cutoff_len" },
    { 0 },
};

static int note(void *config, option_reading *r)
{
    ((sft_options *)config)->given = option_given(r, "sft");
    return OK;
}

const option_table SFT_OPTIONS = {
    .title = "Fine-tuning",
    .about =
        "What `troupe sft` does beside the keys that it shares with `troupe train`: model, data, prompt, moo, optim, "
        "lora, steps, seed, checkpoints (docs/sft.md). A recipe with one of these keys needs no reward.",
    .rows = ROWS,
    .check = note,
};
