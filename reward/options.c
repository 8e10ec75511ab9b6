/* SPDX-License-Identifier: MIT */
#include "reward/options.h"

#define AT(member) OPTION_AT(reward_options, member)

static const option ROWS[] = {
    { "reward.script", OPTION_PATH, AT(script), 0, 0, NULL, .unless = "sft",
      .help = "reward.lua: function(task, episode) -> objectives",
      .more = "Returns a number, or a table of the objectives' values; how to write one: [rewards.md](rewards.md). "
              "Try it with `troupe score` on a file or an old run before you train.",
      .elsewhere = "reward_funcs" },
    { "reward.timeout_ms", OPTION_NUMBER, AT(timeout_ms), 1, 600000, "1000",
      .help = "milliseconds of CPU time that one call of the script may take",
      .more = "Long texts get a millisecond more for each KB. A call beyond it has no score, which is masked and "
              "never 0; raise it when `reward/NAME/missing` is above 0 for that reason." },
    { "reward.memory_mb", OPTION_NUMBER, AT(memory_mb), 1, 65536, "64", .help = "MB of memory that the script may use",
      .more = "A call that needs more raises an error in the script, and its episode has no score. Scripts that "
              "load tables of their own need more." },
    { "reward.rehearse", OPTION_BOOL, AT(rehearse), 0, 0, "true",
      .help = "play the script before the run on episodes that any policy can write, and refuse one that raises",
      .more = "Episodes without an answer, without a word, with bytes that are not UTF-8, as long as they may be, and "
              "with a tool call that failed, on the first, the middle and the last row. An error there would hide a "
              "0: such an episode has no score and leaves its group. `false` starts the run all the same." },
    { 0 },
};

const option_table REWARD_OPTIONS = {
    .title = "Reward script",
    .about = "How episodes get their scores. The script runs in a process of its own.",
    .rows = ROWS,
};

scorer_config reward_scorer(const reward_options *o)
{
    return (scorer_config){ .script = o->script, .cpu_ms = (int64_t)o->timeout_ms, .memory_mb = (int64_t)o->memory_mb };
}
