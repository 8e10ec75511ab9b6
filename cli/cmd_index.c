/* SPDX-License-Identifier: MIT */
/* troupe index: a corpus of passages -> what T.search{...} searches. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "cli/verbs.h"
#include "env/search/passages.h"

static const char USAGE[] =
    "usage: troupe index CORPUS.jsonl INDEX\n\n"
    "Makes the index that a recipe's T.search{...} searches, by words and ranked by BM25, from a corpus of JSON "
    "lines:\n"
    "an object a passage, with \"text\" (or \"contents\") and, if there is one, \"title\". INDEX is one file; an "
    "index\n"
    "that is there already is replaced, once the new one is whole.\n\n"
    "example: troupe index passages.jsonl passages.index\n"
    "         then, in a recipe:  env = { index = \"passages.index\", tools = { T.search{ k = 3 } } }\n";

/* What is half made goes with a Ctrl-C. */
static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

static bool stops(void) { return stopped; }

static int run_verb(call *c, error *err)
{
    int64_t count = 0;
    const int opened = call_open(c, NULL, err);
    if (opened != OK) return opened;

    const char *const *words = c->arguments.positional;
    const struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    const int rc = passages_build(words[0], words[1], stops, &count, err);
    if (rc == OK)
        printf("%s: %" PRId64 " passages; in a recipe: env = { index = \"%s\", tools = { T.search{} } }\n", words[1],
               count, words[1]);
    return rc;
}

const verb VERB_INDEX = { .name = "index",
                          .synopsis = "CORPUS.jsonl INDEX",
                          .help = "a corpus that T.search{...} can search",
                          .usage = USAGE,
                          .words = "CORPUS.jsonl INDEX",
                          .min_words = 2,
                          .max_words = 2,
                          .run = run_verb };
