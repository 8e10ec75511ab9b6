/* SPDX-License-Identifier: MIT */
#include "recipe/run_options.h"

#define AT(member) OPTION_AT(run_options, member)

static const option RUN[] = {
    { "name", OPTION_TEXT, AT(name), 0, 0, "run", .help = "name of the run, and of its folder: runs/NAME",
      .more = "`--run-dir` puts it elsewhere.", .elsewhere = "run_name experiment_name" },
    { "model", OPTION_PATH, AT(model), 0, 0, NULL, .help = "the model to start from: a Hugging Face folder",
      .more = "config.json, the tokenizer's files and safetensors; a checkpoint of an earlier run is such a folder, "
              "too. It is not changed: it stays the reference of a KL.",
      .elsewhere = "model_path model_name_or_path model.path pretrain" },
    { "model_from", OPTION_TEXT, AT(model_from), 0, 0, "", .help = "the command that makes or fetches the model",
      .more = "Nothing runs it: it is what a person is told where the folder of `model` is not there." },
    { "steps", OPTION_WHOLE, AT(steps), 1, 1e9, "100", .help = "optimizer steps of the run",
      .more = "Continue a finished run with `--resume RUN steps=MORE`.",
      .elsewhere = "max_steps total_steps total_training_steps num_steps total_epochs num_train_epochs" },
    { "patience", OPTION_WHOLE, AT(patience), 0, 1e9, "10",
      .help = "steps in a row with nothing to learn from that end the run; 0: never",
      .more = "When no group's rewards differ nothing is learned: the run stops with a sentence that says what it "
              "saw, instead of burning hours." },
    { "seed", OPTION_WHOLE, AT(seed), 0, 1e15, "1", .help = "seed of everything that is drawn",
      .more = "The same recipe, seed and machine give the same weights to the bit, as long as "
              "`rollout.max_staleness` is 0." },
    { "checkpoint_every", OPTION_WHOLE, AT(checkpoint_every), 0, 1e9, "50",
      .help = "steps between checkpoints; 0: one at the end",
      .more = "What a killed run loses at most. A checkpoint holds weights, moments and everything that is "
              "remembered from step to step.",
      .elsewhere = "save_freq save_steps" },
    { "keep_checkpoints", OPTION_WHOLE, AT(keep_checkpoints), 0, 1e9, "5",
      .help = "newest checkpoints that stay; 0: all",
      .more = "Older ones are removed when one is written. Each holds the weights and both moments in float32: up "
              "to 12 bytes a parameter.",
      .elsewhere = "save_total_limit" },
    { "keep_episodes", OPTION_WHOLE, AT(keep_episodes), 0, 1e9, "0",
      .help = "steps whose training episodes stay in rollouts.db; 0: all",
      .more = "Never fewer than a resume needs. Evaluations stay. For long runs on small disks." },
    { "precision", OPTION_WORD, AT(precision), 0, 0, "f32", .words = PRECISION_WORDS,
      .help = "arithmetic of linear products, in every process of the run",
      .more = "Weights and moments are float32 in either case. bf16 is faster where the hardware has it (AMX, "
              "AVX-512 BF16, GPUs); actors and learner round alike, so logprobs still agree.",
      .elsewhere = "dtype bf16 fp16" },
    { "device", OPTION_TEXT, AT(device), 0, 0, "auto", .help = "auto, cpu, or cuda:N",
      .more = "auto takes the GPU when the CUDA module and a driver are there. Several learners take GPUs in turn." },
    { 0 },
};

static const option EVAL[] = {
    { "eval_every", OPTION_WHOLE, AT(eval_every), 0, 1e9, "0",
      .help = "steps between evaluations on data.test; 0: none",
      .more = "The last step is always evaluated when there are any. An evaluation takes actors' time.",
      .elsewhere = "test_freq eval_steps" },
    { "eval_prompts", OPTION_WHOLE, AT(eval_prompts), 0, 1e9, "0",
      .help = "rows of data.test that an evaluation plays; 0: all",
      .more = "One episode each, always the same first rows. The standard error of a rate p over n rows is sqrt(p "
              "(1 - p) / n): 200 rows tell 4 points apart at best." },
    { "eval_temperature", OPTION_NUMBER, AT(eval_temperature), 0, 100, "0",
      .help = "temperature of an evaluation's sampling; 0: greedy",
      .more = "Greedy evaluations are repeatable and usually a little better than sampled ones; set "
              "`rollout.temperature` here to see the policy as training sees it." },
    { "eval_shots", OPTION_WHOLE, AT(eval_shots), 0, 64, "0", .help = "worked examples in an evaluation's prompts",
      .more = "Of `prompt.shots`' file, whatever the schedule says. 0 shows what the policy can do alone." },
    { 0 },
};

static const option FLEET[] = {
    { "learners", OPTION_WHOLE, AT(learners), 1, 64, "1",
      .help = "processes that train together, each a share of the episodes",
      .more = "Each has the whole model and steps a part of the parameters (ZeRO 1). All have the same weights "
              "after each step, which is checked." },
    { "actors", OPTION_WHOLE, AT(actors), 1, 64, "2", .help = "processes that play",
      .more = "Each loads the model, and has its share of the cores (`actor_threads`).",
      .elsewhere = "num_actors num_workers" },
    { "reward_workers", OPTION_WHOLE, AT(reward_workers), 1, 64, "1", .help = "processes that score",
      .more = "More when scripts are slow: actors wait for no score, but a step ends with its last one." },
    { "actor_slots", OPTION_WHOLE, AT(actor_slots), 0, 65536, "0",
      .help = "episodes an actor has in flight; 0: its share of a step",
      .more = "More fill an actor's batches while tools are waited for, and need more memory for KV pages." },
    { "learner_threads", OPTION_WHOLE, AT(learner_threads), 0, 1024, "0",
      .help = "threads of a learner on a CPU; 0: one a core",
      .more = "Several learners on one machine share the cores. The result does not depend on it." },
    { "actor_threads", OPTION_WHOLE, AT(actor_threads), 0, 1024, "0",
      .help = "threads of an actor on a CPU; 0: its share of the cores",
      .more =
          "The share is the machine's cores by `actors`, and half of that where `rollout.max_staleness` is above 0: "
          "then the learner trains while they play. The result does not depend on it." },
    { "lease_seconds", OPTION_NUMBER, AT(lease_seconds), 1, 1e6, "120",
      .help = "seconds after which an episode that has not come is given to another actor",
      .more = "It counts from the actor's last token, of whichever episode, for at most eight times as long: a slow "
              "machine keeps its work. Above the longest that all tools of a moment may take: else work is done "
              "twice. An actor that dies is noticed earlier." },
    { "stall_seconds", OPTION_NUMBER, AT(stall_seconds), 1, 1e6, "300",
      .help = "seconds without CPU time inside a step after which the learner is taken for hung",
      .more = "It is started again from its checkpoint, and ends the run when it happens twice without a new step. "
              "Only one learner on a CPU is watched: several wait for each other, and a GPU computes by itself." },
    { 0 },
};

const option_table RUN_OPTIONS = {
    .title = "Run",
    .about = "How long a run is and what stays of it.",
    .rows = RUN,
};

const option_table EVAL_OPTIONS = {
    .title = "Evaluation",
    .about = "Plays rows of data.test on the way.",
    .rows = EVAL,
};

const option_table FLEET_OPTIONS = {
    .title = "Processes",
    .about = "How many processes of each role, and what each may use.",
    .rows = FLEET,
};
