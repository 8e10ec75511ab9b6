/* SPDX-License-Identifier: MIT */
#include "bench/peer.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

/* One word to a shell, whatever is in it. Between single quotes only a quote means something: it closes them, stands
 * escaped, and they open again. */
static void add_quoted(str *command, const char *word)
{
    str_puts(command, "'");
    for (const char *c = word; *c; c++) str_printf(command, *c == '\'' ? "'\\''" : "%c", *c);
    str_puts(command, "'");
}

static void add_words(str *command, bench_kind kind, const bench_request *r)
{
    str_printf(command, " %s --size %s --precision %s --batch %d --length %d --seconds %g",
               words_of(BENCH_KIND_WORDS, (int)kind), r->size, words_of(PRECISION_WORDS, (int)r->precision), r->batch,
               r->length, r->seconds);
    if (r->threads > 0) str_printf(command, " --threads %d", r->threads);
    if (!r->model) return;
    str_puts(command, " --model ");
    add_quoted(command, r->model);
}

/* Whether the command ended well and its first line is in `line`. */
static bool run_command(const char *command, char *line, int size)
{
    FILE *out = popen(command, "r"); // NOLINT(cert-env33-c): the user's own command, as typed
    if (!out) return false;
    const bool said = fgets(line, size, out) != NULL;
    return pclose(out) == 0 && said;
}

json_t *bench_peer_ask(const char *command, bench_kind kind, const bench_request *r, error *err)
{
    char line[8192];
    str whole = { 0 };
    json_t *answer = NULL;
    str_puts(&whole, command);
    add_words(&whole, kind, r);

    if (run_command(whole.data, line, sizeof line))
        answer = json_parse(line, strlen(line), "the peer's line", err);
    else
        error_set(err, ERR_IO, "the peer '%s' printed no result", whole.data);
    str_free(&whole);
    return answer;
}
