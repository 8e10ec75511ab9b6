/* SPDX-License-Identifier: MIT */
/* troupe bench: training, decoding and single operations on a model of a known size; beside a peer in the same run
 * (bench/report). */
#include "bench/report.h"
#include "cli/verbs.h"

static const char *const SIZES[] = { "small", "large", NULL };
static const char *const PRECISION_CHOICES[] = { PRECISIONS(WORDS_SPELLING) NULL };

static const char USAGE[] =
    "usage: troupe bench train|decode|moo|ops [--size small|large] [--precision f32|bf16] [--threads N]\n"
    "                    [--batch N] [--length N] [--seconds S] [--json] [--peer COMMAND]\n"
    "                    [--group N [--prompt N] [--reply N]] [--model DIR]\n\n"
    "Measures this machine on a random Llama: small has 6.84 M parameters (width 256, 6 layers, vocabulary\n"
    "4096), large 134 M (width 768, 12 layers, vocabulary 32000).\n\n"
    "  train   tokens a second of whole steps: forward, backward, clipping, AdamW (batch 16 of 256; large: 2 "
    "of 512)\n"
    "          --group N: an update by N samples of one prompt of --prompt tokens (256), each with --reply (64): the\n"
    "          prompt computed once, and once for each sample\n"
    "  decode  tokens a second of --batch streams (1), each --length tokens (128); --model DIR: of a model folder\n"
    "  moo     a plain step, one of 3 data groups and one of 3 reward dimensions, by turns (batch 16 of 256; "
    "large: 8\n"
    "          of 256)\n"
    "  ops     microseconds of single operations at the model's shapes\n"
    "  --peer  another program to measure in the same run; it gets the same words and prints one JSON line.\n"
    "          bench/torch_peer.py is PyTorch's, bench/llama_peer.py llama.cpp's (decode --model)\n\n"
    "example: troupe bench train --precision bf16 --peer 'python3 bench/torch_peer.py'\n";

/* As the flags take them. */
typedef struct asked {
    int size, precision;            /* places in SIZES (-1: not said) and PRECISION_CHOICES */
    int64_t threads, batch, length; /* 0: the usual */
    int64_t group, prompt, reply;   /* group 0: not asked for */
} asked;

/* What --group can't go with. */
static int check_group(call *c, const bench_call *b, const asked *a, error *err)
{
    if (a->group == 0 && (a->prompt > 0 || a->reply > 0))
        return call_wrong(c, err, "--prompt and --reply go with --group");
    if (a->group == 0) return OK;

    if (b->kind != BENCH_TRAIN) return call_wrong(c, err, "--group goes with train alone");
    if (b->peer) return call_wrong(c, err, "--peer: a group is measured beside the same group unshared");
    if (a->batch > 0 || a->length > 0) return call_wrong(c, err, "--group with --batch or --length: one or the other");
    return OK;
}

/* Lengths of a group's prompt and replies, as in bench/results: figures can then be compared. */
enum { USUAL_PROMPT = 256, USUAL_REPLY = 64 };

static int take(call *c, bench_call *b, const asked *a, error *err)
{
    const char *what = c->arguments.positional[0];
    const word_row *kind = words_named(BENCH_KIND_WORDS, what);
    if (!kind) return call_wrong(c, err, "expected %s, found '%.80s'", c->verb->words, what);
    b->kind = (bench_kind)kind->value;
    if (b->kind == BENCH_MOO && b->peer) return call_wrong(c, err, "--peer: moo is measured beside a plain step");
    if (b->request.model && b->kind != BENCH_DECODE) return call_wrong(c, err, "--model: only decode takes one");
    if (b->request.model && a->size >= 0) return call_wrong(c, err, "--model with --size: one or the other");
    if (check_group(c, b, a, err) != OK) return err->code;

    b->request.size = SIZES[a->size >= 0 ? a->size : 0];
    b->request.precision = (precision)a->precision;
    b->request.threads = (int)a->threads;
    b->request.batch = (int)a->batch;
    b->request.length = (int)a->length;
    b->request.group = (int)a->group;
    b->request.prompt = a->prompt > 0 ? (int)a->prompt : USUAL_PROMPT;
    b->request.reply = a->reply > 0 ? (int)a->reply : USUAL_REPLY;
    bench_fill(&b->request, b->kind);
    return OK;
}

static int run_verb(call *c, error *err)
{
    asked a = { .size = -1 };
    bench_call b = { .request = { .seconds = 5 } };
    const flag flags[] = { { .name = "--size", .choice = &a.size, .choices = SIZES },
                           { .name = "--precision", .choice = &a.precision, .choices = PRECISION_CHOICES },
                           { .name = "--threads", .whole = &a.threads, .min = 1, .max = 1024 },
                           { .name = "--batch", .whole = &a.batch, .min = 1, .max = 4096 },
                           { .name = "--length", .whole = &a.length, .min = 1, .max = 2048 },
                           { .name = "--group", .whole = &a.group, .min = 1, .max = 1024 },
                           { .name = "--prompt", .whole = &a.prompt, .min = 1, .max = 4096 },
                           { .name = "--reply", .whole = &a.reply, .min = 1, .max = 4096 },
                           { .name = "--seconds", .number = &b.request.seconds, .min = 0.01, .max = 3600 },
                           { .name = "--peer", .text = &b.peer },
                           { .name = "--model", .text = &b.request.model },
                           { .name = "--json", .present = &b.json },
                           { 0 } };
    int rc = call_open(c, flags, err);
    if (rc == OK) rc = take(c, &b, &a, err);
    if (rc == OK) rc = call_checked(c, bench_report(stdout, &b, err));
    return rc;
}

const verb VERB_BENCH = { .name = "bench",
                          .synopsis = "train | decode | moo | ops",
                          .help = "how fast this machine is, beside a peer if there is one",
                          .usage = USAGE,
                          .words = "one of train, decode, moo, ops",
                          .min_words = 1,
                          .max_words = 1,
                          .run = run_verb };
