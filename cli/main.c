/* troupe - one binary with verbs. This file is the table of them; each verb is a file. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/verbs.h"

typedef struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help; /* NULL: hidden */
} verb;

static const verb VERBS[] = {
    { "train", cmd_train, "RECIPE.lua [key=value ...]      train on this machine: learner, actors, reward workers" },
    { "eval", cmd_eval, "RECIPE.lua [--model DIR] [--shots N]   play the test questions, print the scores" },
    { "chat", cmd_chat, "RECIPE.lua [--model DIR]        talk to a model that has its tools" },
    { "pretrain", cmd_pretrain, "PRETRAIN.lua [key=value ...]   train a base model from a document generator" },
    { "score", cmd_score, "REWARD.lua FILE.jsonl|rollouts.db   run a reward script offline" },
    { "rollouts", cmd_rollouts, "RUN [--step N]                  read the episodes of a run" },
    { "forgetting", cmd_forgetting, "RUN                  what each data group has learned and lost" },
    { "plot", cmd_plot, "OUT.svg RUN [RUN ...]           draw learning curves" },
    { "env", cmd_env, "list | call --tool NAME ARGS    one tool call by hand" },
    { "probe", cmd_probe, "--model DIR --text T            token ids, logprobs and logits of a model" },
    { "tokenize", cmd_tokenize, "--model DIR TEXT                text to ids and back" },
    { "moo", cmd_moo, "--method M                      many gradients to one direction, by any method" },
    { "doctor", cmd_doctor, "                                what this machine can and can't do" },
    { "import", cmd_import, "--from llama2.c MODEL.bin TOKENIZER.bin OUT   a Hugging Face folder from another format" },
    { "render", cmd_render, "--model DIR MESSAGES.json       a conversation as the model will see it" },
    { "export", cmd_export, "--model DIR [--adapter DIR] OUT   write a Hugging Face folder, an adapter merged in" },
    { "bench", cmd_bench, "train | decode | moo | ops       how fast this machine is, beside a peer if there is one" },
    { "learner", cmd_learner, "RECIPE.lua --run DIR            one role, for fleets" },
    { "actor", cmd_actor, "RECIPE.lua --connect ADDRESS    one role, for fleets" },
    { "reward", cmd_reward, "RECIPE.lua --connect ADDRESS    one role, for fleets" },
    { "reward-host", cmd_reward_host, NULL },
    { "tool-host", cmd_tool_host, NULL },
};
enum { N_VERBS = sizeof VERBS / sizeof *VERBS };

static void usage(FILE *to)
{
    fprintf(to,
            "troupe %s - teaches language models to use tools by reinforcement learning\n\nusage: troupe VERB ...\n\n",
            TROUPE_VERSION);
    for (int i = 0; i < N_VERBS; i++)
        if (VERBS[i].help) fprintf(to, "  %-9s %s\n", VERBS[i].name, VERBS[i].help);
    fprintf(to, "\n'troupe VERB --help' shows a verb's options and an example.\n");
}

static int unknown_verb(const char *word)
{
    const char *names[N_VERBS + 1] = { NULL };
    int n = 0;
    for (int i = 0; i < N_VERBS; i++)
        if (VERBS[i].help) names[n++] = VERBS[i].name;
    const char *nearest = str_nearest(word, names);
    if (nearest)
        fprintf(stderr, "troupe: no verb '%s' (did you mean '%s'?)\n", word, nearest);
    else
        fprintf(stderr, "troupe: no verb '%s' ('troupe --help' lists them)\n", word);
    return 2;
}

int main(int argc, char **argv)
{
    json_set_alloc_funcs(xmalloc, free); /* out of memory it ends like we do: its NULLs are for what is malformed */
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("troupe %s\n", TROUPE_VERSION);
        return 0;
    }
    for (int i = 0; i < N_VERBS; i++)
        if (strcmp(argv[1], VERBS[i].name) == 0) return VERBS[i].run(argc - 1, argv + 1);
    return unknown_verb(argv[1]);
}
