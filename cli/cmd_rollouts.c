/* SPDX-License-Identifier: MIT */
/* troupe rollouts: reads the episodes of a run (show/episodes). */
#include "cli/verbs.h"
#include "show/episodes.h"

static const char USAGE[] = "usage: troupe rollouts RUN [--step N] [--eval] [--id ID] [--limit N] [--text | --json]\n\n"
                            "  --step N  of one step (default: all)\n"
                            "  --eval    evaluations instead of training\n"
                            "  --id ID   one episode, as the first column shows it\n"
                            "  --limit N at most N episodes\n"
                            "  --text    with the whole transcript\n"
                            "  --json    a line of JSON an episode\n\n"
                            "example: troupe rollouts runs/calculator --step 40 --text\n";

static void tell_damage(void *ctx, const char *sentence)
{
    (void)ctx;
    fprintf(stderr, "troupe: rollouts: %s\n", sentence);
}

/* Who asks for one episode wants to read it. */
static episode_form form_of(bool json, bool text, uint64_t id)
{
    if (json) return EPISODE_JSON;
    return text || id != 0 ? EPISODE_TRANSCRIPT : EPISODE_LINE;
}

static int run_verb(call *c, error *err)
{
    episodes_wanted w = { .step = -1, .limit = -1, .tell = tell_damage };
    bool json = false, text = false;
    const flag flags[] = { { .name = "--step", .whole = &w.step, .min = 0, .max = 1e9 },
                           { .name = "--id", .hex = &w.id },
                           { .name = "--limit", .whole = &w.limit, .min = 1, .max = 1e15 },
                           { .name = "--eval", .present = &w.eval },
                           { .name = "--json", .present = &json },
                           { .name = "--text", .present = &text },
                           { 0 } };
    const int rc = call_open(c, flags, err);
    if (rc != OK) return rc;
    if (json && text) return call_wrong(c, err, "--json or --text, not both");

    w.form = form_of(json, text, w.id);
    return episodes_print(stdout, c->arguments.positional[0], &w, err);
}

const verb VERB_ROLLOUTS = { .name = "rollouts",
                             .synopsis = "RUN [--step N]",
                             .help = "read the episodes of a run",
                             .usage = USAGE,
                             .words = "RUN",
                             .min_words = 1,
                             .max_words = 1,
                             .run = run_verb };
