/* SPDX-License-Identifier: MIT */
/* troupe - one binary with verbs (verbs.h): finds the one that is asked for, or says what there is. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/verbs.h"
#include "env/sandbox/memory_group.h"

static const verb *const VERBS[] = {
#define VERB(NAME) &VERB_##NAME,
#include "cli/verbs.def"
#undef VERB
};
enum { N_VERBS = sizeof VERBS / sizeof *VERBS };

static void print_line(const verb *v, FILE *to)
{
    const char *takes = v->synopsis ? v->synopsis : "";
    fprintf(to, "  %-9s %-31s %s\n", v->name, takes, v->help);
}

static void usage(FILE *to)
{
    fprintf(to,
            "troupe %s - teaches language models to use tools by reinforcement learning\n\nusage: troupe VERB ...\n\n",
            TROUPE_VERSION);
    for (int i = 0; i < N_VERBS; i++)
        if (VERBS[i]->help) print_line(VERBS[i], to); /* the others are started by Troupe itself (reward-host) */
    fprintf(to, "\n'troupe VERB --help' shows a verb's options and an example.\n");
}

static int unknown_verb(const char *word)
{
    const char *names[N_VERBS + 1] = { NULL };
    int n = 0;
    for (int i = 0; i < N_VERBS; i++)
        if (VERBS[i]->help) names[n++] = VERBS[i]->name;

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

static const verb *verb_named(const char *name)
{
    for (int i = 0; i < N_VERBS; i++)
        if (strcmp(name, VERBS[i]->name) == 0) return VERBS[i];
    return NULL;
}

static bool asks_for_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

int main(int argc, char **argv)
{
    json_set_alloc_funcs(xmalloc, free); /* out of memory it ends like we do: its NULLs are for what is malformed */
    hold_standard_streams();
    signal(SIGXFSZ, SIG_IGN); /* ulimit -f: the write fails and says so, instead of the process being killed */

    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (asks_for_help(argv[1]) && argc == 3 && verb_named(argv[2]))
        return verb_main(verb_named(argv[2]), 2, (char *[]){ argv[2], (char[]){ "--help" }, NULL });
    if (asks_for_help(argv[1])) {
        usage(stdout);
        return verbs_finish_output("", 0);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("troupe %s\n", TROUPE_VERSION);
        return verbs_finish_output("", 0);
    }

    const verb *v = verb_named(argv[1]);
    const int status = v ? verb_main(v, argc - 1, argv + 1) : unknown_verb(argv[1]);

    /* The sandbox may have moved this process into a group below the one it was started in, and nothing new can enter
     * that one before it is back (env/sandbox/memory_group.h). */
    memory_group_step_back();
    return status;
}
