/* SPDX-License-Identifier: MIT */
/* An environment as a shared object that does what the text of a step says; its config may refuse, or have wrong
 * tools. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "env/troupe_env.h"

static int n_open; /* episodes that were reset and not ended */
static char words[200];

static void *open_it(const char *config, char *error, size_t error_size)
{
    if (strstr(config, "refuse")) {
        snprintf(error, error_size, "there is no such game");
        return NULL;
    }
    printf("plugins print, on stdout, too\n");
    return strstr(config, "tools") ? (char *)"with wrong tools" : words;
}

static const char *tools(void *env)
{
    if (env != words) return "{\"name\": \"go\"}";
    return "[{\"name\": \"go\", \"parameters\": {\"type\": \"object\", \"properties\": {\"way\": {\"type\": "
           "\"string\"}}}}]";
}

static void *reset(void *env, const char *row, uint32_t seed, troupe_env_reply *reply)
{
    (void)env;
    if (strstr(row, "failing")) {
        reply->error = "this row has no game";
        return NULL;
    }
    n_open++;
    snprintf(words, sizeof words, "row %s, seed %u, size %zu", row, seed, reply->size);
    if (strstr(row, "broken")) reply->info = "{\"moves\": ";
    if (!strstr(row, "nothing")) reply->observation = words;
    return NULL;
}

/* A process that holds a file open, and outlives this one. */
static void leave_behind(const char *path)
{
    const int held = open(path, O_WRONLY);
    if (fork() == 0)
        while (true) pause();
    close(held);
}

static void step(void *env, void *episode, const char *tool, const char *arguments, const char *text, const char *turn,
                 troupe_env_reply *reply)
{
    (void)env;
    (void)episode;
    snprintf(words, sizeof words, "%s %s [%s], open %d", tool ? tool : "heard", tool ? arguments : text, turn, n_open);
    reply->observation = words;
    if (tool) return;
    if (strcmp(text, "exit") == 0) exit(3);
    if (strcmp(text, "crash") == 0) abort();
    while (strcmp(text, "hang") == 0) pause();
    if (strcmp(text, "read") == 0 && getchar() == EOF) reply->observation = "there is nothing to read";
    if (strncmp(text, "leave ", 6) == 0) leave_behind(text + 6);
    for (int fd = 3; strcmp(text, "close") == 0 && fd < 64; fd++) close(fd);
    if (strcmp(text, "fail") == 0) reply->error = "the door is stuck";
    if (strcmp(text, "endless") == 0) reply->reward = INFINITY;
    if (strcmp(text, "list") == 0) reply->rewards = "[1]";
    if (strcmp(text, "words") == 0) reply->rewards = "{\"style\": \"good\"}";
    if (strcmp(text, "broken") == 0) reply->info = "{\"moves\": ";
    if (strcmp(text, "win") != 0) return;
    reply->done = 1;
    reply->ok = 0;
    reply->reward = 1;
    reply->rewards = "{\"style\": 0.25}";
    reply->info = "{\"moves\": 3}";
}

static void end(void *env, void *episode)
{
    (void)env;
    (void)episode;
    n_open--;
}

const troupe_env_v1 troupe_environment_v1 = {
    .size = sizeof(troupe_env_v1), .open = open_it, .tools = tools, .reset = reset, .step = step, .end = end
};
