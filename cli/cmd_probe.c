/* SPDX-License-Identifier: MIT */
/* troupe probe: what a model computes for one text, for people and for tests (model/probe). */
#include <stdlib.h>

#include "base/vec.h"
#include "cli/verbs.h"
#include "show/probe_text.h"

static const char USAGE[] =
    "usage: troupe probe --model DIR (--text T | --ids 1,2,3) [--greedy N] [--device NAME] [--bf16] [--json]\n\n"
    "Prints token ids, the log probability of each token after the first, given those before it, the logits\n"
    "after the last one, and the N tokens that greedy decoding continues with (it does not stop at an end token).\n"
    "Added tokens that are written out in the text count as such; none is added to it.\n\n"
    "  --json         {\"ids\":[],\"token_logprobs\":[],\"last_logits\":[],\"greedy_ids\":[]}, one logprob less "
    "than ids\n"
    "  --bf16         factors of linear products rounded to bf16, as with precision = \"bf16\"\n"
    "  --device NAME  cpu (default), cuda:0, auto\n\n"
    "example: troupe probe --model models/stagehand --text 'Question: 12 * 3' --greedy 16\n";

/* As the flags take them. */
typedef struct asked {
    const char *ids;
    int64_t greedy;
    bool bf16, json;
} asked;

static int parse_ids(const char *text, token_ids *out, error *err)
{
    char *end;
    for (const char *p = text; *p; p = *end ? end + 1 : end) { /* past the comma, but not past the end */
        const long id = strtol(p, &end, 10);
        if (end == p || (*end && *end != ',' && *end != ' ') || id < 0 || id > INT32_MAX)
            return error_set(err, ERR_ARGUMENT, "--ids: no id at '%.20s' (ids are written as 1,2,3)", p);
        vec_push(out, (int32_t)id);
    }
    return OK;
}

static int take(probe_request *r, token_ids *ids, const asked *a, error *err)
{
    if (!r->model) return error_set(err, ERR_ARGUMENT, "no --model (a folder with config.json and model.safetensors)");
    if (!r->text == !a->ids) /* both or neither */
        return error_set(err, ERR_ARGUMENT, "one of --text and --ids is needed ('--help' shows an example)");

    r->greedy = (int)a->greedy;
    r->precision = a->bf16 ? PRECISION_BF16 : PRECISION_F32;
    r->ids = ids;
    return a->ids ? parse_ids(a->ids, ids, err) : OK;
}

static int print_probe(const probe_request *r, bool json, error *err)
{
    probe p = { 0 };
    const int rc = probe_run(&p, r, err);
    if (rc == OK && json) probe_print_json(stdout, &p);
    if (rc == OK && !json) probe_print_table(stdout, &p);
    probe_reset(&p);
    return rc;
}

static int run_verb(call *c, error *err)
{
    probe_request r = { .device = "cpu" };
    token_ids ids = { 0 };
    asked a = { 0 };
    const flag flags[] = {
        { .name = "--model", .text = &r.model },   { .name = "--text", .any = &r.text },
        { .name = "--ids", .any = &a.ids },        { .name = "--greedy", .whole = &a.greedy, .min = 0, .max = 1 << 20 },
        { .name = "--device", .text = &r.device }, { .name = "--bf16", .present = &a.bf16 },
        { .name = "--json", .present = &a.json },  { 0 }
    };
    int rc = call_open(c, flags, err);
    if (rc != OK) return rc;

    rc = take(&r, &ids, &a, err);
    if (rc == OK) rc = print_probe(&r, a.json, err);
    vec_free(&ids);
    return call_checked(c, rc);
}

const verb VERB_PROBE = { .name = "probe",
                          .synopsis = "--model DIR --text T",
                          .help = "token ids, logprobs and logits of a model",
                          .usage = USAGE,
                          .words = "no word: a text with spaces needs quotes",
                          .run = run_verb };
