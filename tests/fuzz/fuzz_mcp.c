/* SPDX-License-Identifier: MIT */
/* fuzz_mcp - what a server of the Model Context Protocol may say: any lines open a client or refuse it with a sentence,
 * and a call always ends, once, with a text. The program is faked here: it says the input's lines, and then ends. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "env/mcp/client.h"
#include "env/program.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *input;
static size_t left;

struct program {
    str line;
    bool runs;
    int readable;
};

program *program_new(const char *const *argv, const char *name)
{
    (void)name;
    program *p = xcalloc(1, sizeof *p);
    (void)argv;
    p->readable = open("/dev/null", O_RDONLY | O_CLOEXEC); /* always ready, so that no one waits */
    return p;
}

void program_free(program *p)
{
    if (!p) return;
    close(p->readable);
    str_free(&p->line);
    free(p);
}

const char *program_name(const program *p) { return p->runs ? "server" : "a server that has ended"; }

int program_start(program *p, error *err)
{
    if (left == 0) return error_set(err, ERR_NOT_FOUND, "there is no server any more");
    p->runs = true;
    return OK;
}

void program_end(program *p) { p->runs = false; }
void program_kill(program *p) { p->runs = false; }

int program_say(program *p, const char *line, error *err)
{
    (void)p, (void)err;
    if (strchr(line, '\n')) abort();
    return OK;
}

int program_turn(program *p, error *err)
{
    if (left > 0) return OK;
    p->runs = false;
    return error_set(err, ERR_PEER, "the server has ended");
}

const char *program_line(program *p, size_t *len)
{
    if (left == 0) return NULL;
    const char *end = memchr(input, '\n', left);
    *len = end ? (size_t)(end - input) : left;
    str_clear(&p->line);
    str_add(&p->line, input, *len);
    left -= *len + (end != NULL);
    input += *len + (end != NULL);
    return p->line.data;
}

int program_fds(const program *p, struct pollfd *out, int max)
{
    if (max < 1) return 0;
    out[0] = (struct pollfd){ .fd = p->readable, .events = POLLIN };
    return 1;
}

static void call_all(mcp_client *c)
{
    error err = { 0 };
    const tool_context context = { .seed = 1 };
    int under_way = 0;
    for (size_t i = 0; i < mcp_n_tools(c) && i < 4; i++)
        under_way += mcp_begin(c, i, i + 1, "{\"x\": 1}", &context, 0, &err) == OK;
    mcp_cancel(c, 2);
    under_way -= under_way >= 2;

    for (int64_t now_ms = 0; under_way > 0; now_ms += 1000) {
        tool_result out[2];
        const int n = mcp_poll(c, now_ms, out, 2);
        for (int i = 0; i < n; i++) {
            if (!out[i].text || out[i].call == 2) abort();
            free(out[i].text);
        }
        under_way -= n;
    }
    if (mcp_deadline_ms(c) != INT64_MAX) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const COMMAND[] = { "server", NULL };
    error err = { 0 };
    input = (const char *)data;
    left = size;
    mcp_client *c = mcp_open(&(mcp_config){ .command = COMMAND }, &err);
    if (!c && !*err.text) abort();
    if (c) call_all(c);
    mcp_free(c);
    return 0;
}
