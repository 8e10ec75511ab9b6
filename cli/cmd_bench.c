/* troupe bench: training, decoding and single operations on a model of a known size; beside a peer in the same run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/arguments.h"
#include "cli/bench.h"
#include "cli/verbs.h"

typedef struct request {
    const char *what, *size, *precision, *threads, *batch, *length, *seconds, *peer;
    bool json;
    bench_request bench;
} request;

static int usage(FILE *to)
{
    fprintf(to,
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
            "example: troupe bench train --precision bf16 --peer 'python3 bench/torch_peer.py'\n");
    return to == stdout ? 0 : 2;
}

static const model_config SMALL = { .architecture = "LlamaForCausalLM",
                                    .vocab = 4096,
                                    .width = 256,
                                    .layers = 6,
                                    .heads = 8,
                                    .kv_heads = 8,
                                    .head_dim = 32,
                                    .ffn = 688,
                                    .max_position = 4096,
                                    .rope_theta = 10000,
                                    .norm_eps = 1e-5f,
                                    .bos = -1 };
static const model_config LARGE = { .architecture = "LlamaForCausalLM",
                                    .vocab = 32000,
                                    .width = 768,
                                    .layers = 12,
                                    .heads = 12,
                                    .kv_heads = 12,
                                    .head_dim = 64,
                                    .ffn = 2048,
                                    .max_position = 4096,
                                    .rope_theta = 10000,
                                    .norm_eps = 1e-5f,
                                    .bos = -1 };

const model_config *bench_config(const char *size)
{
    return strcmp(size, "small") == 0 ? &SMALL : strcmp(size, "large") == 0 ? &LARGE : NULL;
}

/* ---- what is asked for ---- */

static int read_number(const char *text, const char *what, int otherwise, int most, int *out, error *err)
{
    char *end;
    const long n = text ? strtol(text, &end, 10) : otherwise;
    if (text && (*end || n < 1 || n > most))
        return error_set(err, ERR_ARGUMENT, "%s: expected 1 to %d, found '%s'", what, most, text);
    *out = (int)n;
    return OK;
}

static int read_sizes(request *r, error *err)
{
    bench_request *b = &r->bench;
    const bool moo = strcmp(r->what, "moo") == 0, train = moo || strcmp(r->what, "train") == 0;
    const bool large = strcmp(b->size, "large") == 0;
    if (read_number(r->threads, "--threads", 0, 1024, &b->threads, err) != OK ||
        read_number(r->batch, "--batch",
                    !train  ? 1
                    : large ? moo ? 8 : 2
                            : 16,
                    4096, &b->batch, err) != OK ||
        read_number(r->length, "--length",
                    !train          ? 128
                    : large && !moo ? 512
                                    : 256,
                    2048, &b->length, err) != OK)
        return err->code;
    b->seconds = r->seconds ? atof(r->seconds) : 5;
    if (!(b->seconds > 0 && b->seconds < 3600))
        return error_set(err, ERR_ARGUMENT, "--seconds: expected up to 3600, found '%s'", r->seconds);
    return OK;
}

static int read_request(request *r, int argc, char **argv, arguments *a, error *err)
{
    const flag flags[] = {
        { "--size", &r->size, NULL },   { "--precision", &r->precision, NULL }, { "--threads", &r->threads, NULL },
        { "--batch", &r->batch, NULL }, { "--length", &r->length, NULL },       { "--seconds", &r->seconds, NULL },
        { "--peer", &r->peer, NULL },   { "--json", NULL, &r->json },           { 0 }
    };
    if (arguments_parse(a, argc, argv, flags, err) != OK || a->help) return err->code;
    if (a->n_positional != 1 || a->n_overrides > 0)
        return error_set(err, ERR_ARGUMENT, "expected one of train, decode, moo, ops");
    r->what = a->positional[0];
    r->bench.size = r->size ? r->size : "small";
    if (strcmp(r->what, "train") != 0 && strcmp(r->what, "decode") != 0 && strcmp(r->what, "ops") != 0 &&
        strcmp(r->what, "moo") != 0)
        return error_set(err, ERR_ARGUMENT, "'%s': expected one of train, decode, moo, ops", r->what);
    if (strcmp(r->what, "moo") == 0 && r->peer)
        return error_set(err, ERR_ARGUMENT, "--peer: moo is measured beside a plain step");
    if (!bench_config(r->bench.size))
        return error_set(err, ERR_ARGUMENT, "--size '%s': expected small or large", r->bench.size);
    if (r->precision && strcmp(r->precision, "f32") != 0 && strcmp(r->precision, "bf16") != 0)
        return error_set(err, ERR_ARGUMENT, "--precision '%s': expected f32 or bf16", r->precision);
    r->bench.precision = r->precision && strcmp(r->precision, "bf16") == 0 ? PRECISION_BF16 : PRECISION_F32;
    return read_sizes(r, err);
}

/* ---- the peer ---- */

/* Runs COMMAND with our words behind it; its one line of JSON, or NULL. */
static json_t *ask_peer(const request *r, error *err)
{
    const bench_request *b = &r->bench;
    char line[8192];
    str command = { 0 };
    str_printf(&command, "%s %s --size %s --precision %s --batch %d --length %d --seconds %g", r->peer, r->what,
               b->size, b->precision == PRECISION_BF16 ? "bf16" : "f32", b->batch, b->length, b->seconds);
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
               r->what, r->bench.size, r->bench.precision == PRECISION_BF16 ? "bf16" : "f32", on, r->bench.batch,
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

int cmd_bench(int argc, char **argv)
{
    request r = { 0 };
    arguments a;
    error err = { 0 };
    int rc = read_request(&r, argc, argv, &a, &err);
    if (rc == OK && a.help) return usage(stdout);
    json_t *peer = NULL;
    if (rc == OK && r.peer && !(peer = ask_peer(&r, &err))) rc = err.code;
    const bool ops = rc == OK && strcmp(r.what, "ops") == 0, moo = rc == OK && strcmp(r.what, "moo") == 0;
    if (rc == OK) rc = ops ? run_ops(&r, peer, &err) : moo ? run_moo(&r, &err) : run_rate(&r, peer, &err);
    json_decref(peer);
    if (rc != OK) fprintf(stderr, "troupe: bench: %s\n", err.text);
    return rc == OK ? 0 : rc == ERR_ARGUMENT ? 2 : 1;
}
