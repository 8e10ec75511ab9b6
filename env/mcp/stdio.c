/* SPDX-License-Identifier: MIT */
/* A program as an MCP server: a message a line (env/program.h). */
#include "env/mcp/transport.h"
#include "env/program.h"

static int start(void *self, bool patient, error *err)
{
    (void)patient; /* one that can't be started now can't be started later */
    return program_start(self, err);
}

static int say(void *self, const char *message, int64_t id, error *err)
{
    (void)id;
    return program_say(self, message, err);
}

static int turn(void *self, error *err)
{
    const int rc = program_turn(self, err);
    return rc == OK ? OK : error_within(err, "MCP server");
}

static bool hear(void *self, mcp_heard *out)
{
    *out = (mcp_heard){ 0 };
    out->text = program_line(self, &out->len);
    return out->text;
}

static int fds(void *self, struct pollfd *out, int max) { return program_fds(self, out, max); }

static void kill_program(void *self) { program_kill(self); }

static void free_program(void *self) { program_free(self); }

void mcp_stdio(const char *const *command, const char *name, mcp_transport *out)
{
    program *p = program_new(command, name);
    *out = (mcp_transport){ .self = p,
                            .name = program_name(p),
                            .in_line = true,
                            .start = start,
                            .say = say,
                            .turn = turn,
                            .hear = hear,
                            .fds = fds,
                            .kill = kill_program,
                            .free = free_program };
}
