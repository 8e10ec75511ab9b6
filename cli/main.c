/* SPDX-License-Identifier: MIT */
/* troupe - one binary with verbs. This file is the table of them; each verb is a file.
 *
 * What a verb prints is its result: one that could not be written is a failure, whatever the verb says of itself. Not
 * so for a training and its roles, whose results are in the run folder: a terminal that goes away must not end them. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* A descriptor 0, 1 or 2 that is closed would be the number of the next file we open, and what is printed would go into
 * it. Each is held by a /dev/null that can't be used the way the descriptor is: printing fails as it did before. */
static void hold_standard_streams(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

/* `--help` and `--keys` are results also where a verb's other words begin a training. */
static bool asks_for_text(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--keys") == 0) return true;
    return false;
}

/* Why standard output did not take all of what was printed: an errno; 0 when it did. stdio keeps no reason of a write
 * that failed in the middle, so one more line asks for it: the output is spoilt anyway. */
static int output_failure(void)
{
    const bool failed = ferror(stdout) != 0;
    if (fflush(stdout) != 0) return errno;
    if (failed) return putchar('\n') == EOF || fflush(stdout) != 0 ? errno : EIO;
    return close(STDOUT_FILENO) != 0 ? errno : 0; /* where a network file system says what was lost */
}

/* The status of a verb that has ended with `status`, once all it printed has reached standard output. */
static int finish_output(const char *name, int status)
{
    const int why = output_failure();
    if (status != 0 || why == 0) return status;
    fprintf(stderr, "troupe: %s%scannot write to standard output: %s\n", name, *name ? ": " : "", strerror(why));
    return 1;
}

/* What it prints is a report on work that is safe elsewhere. */
static bool only_reports(const verb *v)
{
    return v->run == cmd_train || v->run == cmd_learner || v->run == cmd_actor || v->run == cmd_reward ||
           v->run == cmd_reward_host || v->run == cmd_tool_host;
}

static int run_verb(const verb *v, int argc, char **argv)
{
    const int status = v->run(argc, argv);
    return only_reports(v) && !asks_for_text(argc, argv) ? status : finish_output(v->name, status);
}

int main(int argc, char **argv)
{
    json_set_alloc_funcs(xmalloc, free); /* out of memory it ends like we do: its NULLs are for what is malformed */
    hold_standard_streams();
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return finish_output("", 0);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("troupe %s\n", TROUPE_VERSION);
        return finish_output("", 0);
    }
    for (int i = 0; i < N_VERBS; i++)
        if (strcmp(argv[1], VERBS[i].name) == 0) return run_verb(&VERBS[i], argc - 1, argv + 1);
    return unknown_verb(argv[1]);
}
