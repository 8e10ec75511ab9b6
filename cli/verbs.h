/* SPDX-License-Identifier: MIT */
/* verbs - one line a verb. A verb gets argv with argv[0] its own name, prints errors as
 * `troupe: VERB: what (hint)` on stderr, and returns 0 (done), 1 (failed) or 2 (called wrongly). */
#pragma once

int cmd_train(int argc, char **argv);
int cmd_learner(int argc, char **argv);
int cmd_actor(int argc, char **argv);
int cmd_reward(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_chat(int argc, char **argv);
int cmd_pretrain(int argc, char **argv);
int cmd_score(int argc, char **argv);
int cmd_rollouts(int argc, char **argv);
int cmd_env(int argc, char **argv);
int cmd_probe(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_moo(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_render(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_forgetting(int argc, char **argv);
int cmd_plot(int argc, char **argv);        /* metrics.jsonl of one or two runs -> an SVG line plot */
int cmd_tool_host(int argc, char **argv);   /* hidden: the killable process a recipe's own tool runs in */
int cmd_reward_host(int argc, char **argv); /* hidden: the killable process a reward script runs in */
