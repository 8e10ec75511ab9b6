/* SPDX-License-Identifier: MIT */
/* lines - a test's program that is talked to in JSON, a line a message: an MCP server, an environment. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"

/* Says it. Takes `message`. */
static inline void lines_put(json_t *message)
{
    char *line = json_text(message, false);
    printf("%s\n", line);
    fflush(stdout);
    free(line);
    json_decref(message);
}

/* Hears each line of stdin until its end; `on` borrows the message. Returns an exit status: 8 for what is no JSON. */
static inline int lines_serve(void (*on)(void *ctx, json_t *message), void *ctx)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    int status = 0;
    while (status == 0 && (n = getline(&line, &room, stdin)) >= 0) {
        json_t *message = json_parse(line, (size_t)n, "line", NULL);
        if (message)
            on(ctx, message);
        else
            status = 8;
        json_decref(message);
    }
    free(line);
    return status;
}
