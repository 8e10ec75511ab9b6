/* SPDX-License-Identifier: MIT */
/* troupe bench: training, decoding and single operations on a model of a known size; beside a peer in the same run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/json.h"
#include "base/str.h"
#include "bench/bench.h"
#include "cli/verbs.h"

typedef struct request {
    const char *what, *peer;
    int size, precision;            /* places in SIZES and PRECISION_CHOICES */
    int64_t threads, batch, length; /* 0: the size's own */
    bool json;
    bench_request bench;
} request;

static const char *const SIZES[] = { "small", "large", NULL };
static const char *const PRECISION_CHOICES[] = { PRECISIONS(WORDS_SPELLING) NULL };

static const char USAGE[] =
    "usage: troupe bench train|decode|moo|ops [--size small|large] [--precision f32|bf16] [--threads N]\n"
    "                    [--batch N] [--length N] [--seconds S] [--json] [--peer COMMAND]\n\n"
    "Measures this machine on a random Llama: small has 6.84 M parameters (width 256, 6 layers, vocabulary\n"
    "4096), large 134 M (width 768, 12 layers, vocabulary 32000).\n\n"
    "  train   tokens a second of whole steps: forward, backward, clipping, AdamW (batch 16 of 256; large: 2 "
    "of 512)\n"
    "  decode  tokens a second of --batch streams (1), each --length tokens (128)\n"
    "  moo     a plain step, one of 3 data groups and one of 3 reward dimensions, by turns (batch 16 of 256; "
    "large: 4\n"
    "          of 256)\n"
    "  ops     microseconds of single operations at the model's shapes\n"
    "  --peer  another program to measure in the same run; it gets the same words and prints one JSON line.\n"
    "          bench/torch_peer.py is PyTorch's\n\n"
    "example: troupe bench train --precision bf16 --peer 'python3 bench/torch_peer.py'\n";

/* ---- what is asked for ---- */

static void take_sizes(request *r)
{
    bench_request *b = &r->bench;
    const bool moo = strcmp(r->what, "moo") == 0, train = moo || strcmp(r->what, "train") == 0, large = r->size == 1;
    const int sequences = !train ? 1 : !large ? 16 : moo ? 8 : 2, tokens = !train ? 128 : large && !moo ? 512 : 256;
    b->size = SIZES[r->size];
    b->precision = (precision)r->precision;
    b->threads = (int)r->threads;
    b->batch = r->batch > 0 ? (int)r->batch : sequences;
    b->length = r->length > 0 ? (int)r->length : tokens;
}

static int check(request *r, error *err)
{
    static const char *const KINDS[] = { "train", "decode", "moo", "ops", NULL };
    int kind = 0;
    while (KINDS[kind] && strcmp(KINDS[kind], r->what) != 0) kind++;
    if (!KINDS[kind])
        return error_set(err, ERR_ARGUMENT, "expected one of train, decode, moo, ops, found '%.80s'", r->what);
    if (kind == 2 && r->peer) return error_set(err, ERR_ARGUMENT, "--peer: moo is measured beside a plain step");
    take_sizes(r);
    return OK;
}

/* ---- the peer ---- */

/* Runs COMMAND with our words behind it; its one line of JSON, or NULL. */
static json_t *ask_peer(const request *r, error *err)
{
    const bench_request *b = &r->bench;
    char line[8192];
    str command = { 0 };
    str_printf(&command, "%s %s --size %s --precision %s --batch %d --length %d --seconds %g", r->peer, r->what,
               b->size, words_of(PRECISION_WORDS, (int)b->precision), b->batch, b->length, b->seconds);
    if (b->threads > 0) str_printf(&command, " --threads %d", b->threads);
    FILE *out = popen(command.data, "r"); // NOLINT(cert-env33-c): the user's own command, as typed
    const bool said = out && fgets(line, sizeof line, out);
    const int status = out ? pclose(out) : -1;
    json_t *j = NULL;
    if (!said || status != 0)
        error_set(err, ERR_IO, "the peer '%s' printed no result", command.data);
    else
        j = json_parse(line, strlen(line), "the peer's line", err);
    str_free(&command);
    return j;
}

static double peak_mib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_maxrss / 1024;
}

/* ---- results ---- */

static void print_rate(const request *r, const char *on, double rate, const json_t *peer)
{
    const double theirs = json_number_value(json_object_get(peer, "tokens_per_second")),
                 memory = json_number_value(json_object_get(peer, "peak_mib"));
    const char *name = json_string_value(json_object_get(peer, "name"));
    if (r->json) {
        printf("{\"what\":\"%s\",\"size\":\"%s\",\"precision\":\"%s\",\"device\":\"%s\",\"batch\":%d,\"length\":%d,"
               "\"tokens_per_second\":%.1f,\"peak_mib\":%.0f",
               r->what, r->bench.size, words_of(PRECISION_WORDS, (int)r->bench.precision), on, r->bench.batch,
               r->bench.length, rate, peak_mib());
        if (peer)
            printf(",\"peer\":\"%s\",\"peer_tokens_per_second\":%.1f,\"peer_peak_mib\":%.0f,\"ratio\":%.3f",
                   name ? name : "peer", theirs, memory, rate / theirs);
        puts("}");
        return;
    }
    printf("%-28s %12.0f tokens/s  %8.0f MiB\n", on, rate, peak_mib());
    if (peer)
        printf("%-28s %12.0f tokens/s  %8.0f MiB\nratio %.2f, memory %.2f\n", name ? name : "peer", theirs, memory,
               rate / theirs, memory > 0 ? peak_mib() / memory : 0);
}

static void print_op(const request *r, const bench_op *o, const json_t *peer, bool last)
{
    const double theirs = json_number_value(json_object_get(json_object_get(peer, "seconds"), o->name));
    const double rate = (o->flops > 0 ? o->flops : o->bytes) / o->seconds / 1e9;
    if (r->json) {
        printf("{\"op\":\"%s\",\"us\":%.2f,\"gflops\":%.1f,\"gb_per_s\":%.1f", o->name, o->seconds * 1e6,
               o->flops / o->seconds / 1e9, o->bytes / o->seconds / 1e9);
        if (theirs > 0) printf(",\"peer_us\":%.2f,\"ratio\":%.3f", theirs * 1e6, theirs / o->seconds);
        printf("}%s\n", last ? "" : ",");
        return;
    }
    printf("%-28s %10.1f us %8.1f %s", o->name, o->seconds * 1e6, rate, o->flops > 0 ? "GFLOP/s" : "GB/s   ");
    if (theirs > 0) printf("  peer %10.1f us  ratio %.2f", theirs * 1e6, theirs / o->seconds);
    putchar('\n');
}

static int run_ops(const request *r, const json_t *peer, error *err)
{
    bench_op ops[MAX_BENCH_OPS];
    const int n = bench_ops(&r->bench, ops, err);
    if (n < 0) return -n;
    if (r->json) puts("[");
    for (int i = 0; i < n; i++) print_op(r, &ops[i], peer, i == n - 1);
    if (r->json) puts("]");
    return OK;
}

static void print_kind(const request *r, const char *name, const bench_moo_kind *k, bool last)
{
    if (r->json)
        printf("\"%s\":{\"seconds\":%.4f,\"ratio\":%.3f,\"reconciling\":%.4f,\"slab_bytes\":%zu}%s", name, k->seconds,
               k->ratio, k->reconciling, k->slab_bytes, last ? "}\n" : ",");
    else
        printf("%-20s %8.1f ms  %5.2f of a plain step  reconciling %4.1f %%  K gradients in %5.1f MiB\n", name,
               k->seconds * 1e3, k->ratio, k->reconciling * 100, (double)k->slab_bytes / (1 << 20));
}

static int run_moo(const request *r, error *err)
{
    bench_moo_result m;
    const int rc = bench_moo(&r->bench, &m, err);
    if (rc != OK) return rc;
    if (r->json) printf("{\"what\":\"moo\",\"size\":\"%s\",\"K\":%d,", r->bench.size, BENCH_OBJECTIVES);
    if (!r->json)
        printf("K = %d, CAGrad by layer, gated; a model's gradient is %.1f MiB\n", BENCH_OBJECTIVES,
               (double)m.params * 4 / (1 << 20));
    print_kind(r, "plain", &m.plain, false);
    print_kind(r, "data groups", &m.groups, false);
    print_kind(r, "reward dimensions", &m.rewards, true);
    return OK;
}

static int run_rate(const request *r, const json_t *peer, error *err)
{
    double rate;
    device *dev = device_open("auto", r->bench.threads, err);
    if (!dev) return err->code;
    char name[128];
    snprintf(name, sizeof name, "%s", device_name(dev));
    device_close(dev);
    const int rc =
        strcmp(r->what, "train") == 0 ? bench_train(&r->bench, &rate, err) : bench_decode(&r->bench, &rate, err);
    if (rc == OK) print_rate(r, name, rate, peer);
    return rc;
}

static int run(request *r, const json_t *peer, error *err)
{
    if (strcmp(r->what, "ops") == 0) return run_ops(r, peer, err);
    if (strcmp(r->what, "moo") == 0) return run_moo(r, err);
    return run_rate(r, peer, err);
}

static int run_verb(call *c, error *err)
{
    request r = { .bench = { .seconds = 5 } };
    const flag flags[] = { { .name = "--size", .choice = &r.size, .choices = SIZES },
                           { .name = "--precision", .choice = &r.precision, .choices = PRECISION_CHOICES },
                           { .name = "--threads", .whole = &r.threads, .min = 1, .max = 1024 },
                           { .name = "--batch", .whole = &r.batch, .min = 1, .max = 4096 },
                           { .name = "--length", .whole = &r.length, .min = 1, .max = 2048 },
                           { .name = "--seconds", .number = &r.bench.seconds, .min = 0.01, .max = 3600 },
                           { .name = "--peer", .text = &r.peer },
                           { .name = "--json", .present = &r.json },
                           { 0 } };
    const int opened = call_open(c, flags, err);
    if (opened != OK) return opened;
    r.what = c->arguments.positional[0];
    int rc = check(&r, err);
    json_t *peer = NULL;
    if (rc == OK && r.peer && !(peer = ask_peer(&r, err))) rc = err->code;
    if (rc == OK) rc = run(&r, peer, err);
    json_decref(peer);
    return call_checked(c, rc);
}

const verb VERB_BENCH = { .name = "bench",
                          .synopsis = "train | decode | moo | ops",
                          .help = "how fast this machine is, beside a peer if there is one",
                          .usage = USAGE,
                          .words = "one of train, decode, moo, ops",
                          .min_words = 1,
                          .max_words = 1,
                          .run = run_verb };
