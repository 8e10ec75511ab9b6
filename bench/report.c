/* SPDX-License-Identifier: MIT */
#include "bench/report.h"

#include <string.h>
#include <sys/resource.h>

#include "base/str.h"
#include "bench/peer.h"

static double peak_mib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_maxrss / 1024; /* KiB, on Linux */
}

/* ---- train and decode ---- */

/* A program's figures. */
typedef struct rate {
    const char *name;
    double tokens_per_second, mib;
} rate;

static rate rate_of_peer(const json_t *peer)
{
    const char *name = json_string_value(json_object_get(peer, "name"));
    return (rate){ .name = name ? name : "peer",
                   .tokens_per_second = json_number_value(json_object_get(peer, "tokens_per_second")),
                   .mib = json_number_value(json_object_get(peer, "peak_mib")) };
}

static void print_rate_json(FILE *out, const bench_call *c, const rate *ours, const rate *theirs)
{
    const bench_request *r = &c->request;
    const char *name = r->model ? r->model : r->size;
    str quoted = { 0 };
    str_json(&quoted, name, strlen(name));
    fprintf(out,
            "{\"what\":\"%s\",\"%s\":%s,\"precision\":\"%s\",\"device\":\"%s\",\"batch\":%d,\"length\":%d,\"tokens_per_"
            "second\":%.1f,"
            "\"peak_mib\":%.0f",
            words_of(BENCH_KIND_WORDS, (int)c->kind), r->model ? "model" : "size", quoted.data,
            words_of(PRECISION_WORDS, (int)r->precision), ours->name, r->batch, r->length, ours->tokens_per_second,
            ours->mib);
    str_free(&quoted);
    if (theirs)
        fprintf(out, ",\"peer\":\"%s\",\"peer_tokens_per_second\":%.1f,\"peer_peak_mib\":%.0f,\"ratio\":%.3f",
                theirs->name, theirs->tokens_per_second, theirs->mib,
                ours->tokens_per_second / theirs->tokens_per_second);
    fputs("}\n", out);
}

static void print_rate_line(FILE *out, const rate *r)
{
    fprintf(out, "%-28s %12.0f tokens/s  %8.0f MiB\n", r->name, r->tokens_per_second, r->mib);
}

static void print_rate(FILE *out, const bench_call *c, const rate *ours, const rate *theirs)
{
    if (c->json) {
        print_rate_json(out, c, ours, theirs);
        return;
    }
    print_rate_line(out, ours);
    if (!theirs) return;

    print_rate_line(out, theirs);
    fprintf(out, "ratio %.2f, memory %.2f\n", ours->tokens_per_second / theirs->tokens_per_second,
            theirs->mib > 0 ? ours->mib / theirs->mib : 0);
}

static int name_device(const bench_request *r, char *name, size_t size, error *err)
{
    device *dev = device_open("auto", r->threads, err);
    if (!dev) return err->code;
    snprintf(name, size, "%s", device_name(dev));
    device_close(dev);
    return OK;
}

static int report_rate(FILE *out, const bench_call *c, const json_t *peer, error *err)
{
    char name[128];
    rate ours = { .name = name };
    const rate theirs = rate_of_peer(peer);

    int rc = name_device(&c->request, name, sizeof name, err);
    if (rc == OK && c->kind == BENCH_TRAIN) rc = bench_train(&c->request, &ours.tokens_per_second, err);
    if (rc == OK && c->kind == BENCH_DECODE) rc = bench_decode(&c->request, &ours.tokens_per_second, err);
    if (rc != OK) return rc;

    ours.mib = peak_mib();
    print_rate(out, c, &ours, peer ? &theirs : NULL);
    return OK;
}

/* ---- train, a group ---- */

static void print_update_json(FILE *out, const char *name, const bench_update *u)
{
    fprintf(out, ",\"%s\":{\"seconds\":%.4f,\"tokens\":%d,\"micro_batches\":%d}", name, u->seconds, u->tokens,
            u->micro_batches);
}

static void print_update_line(FILE *out, const char *name, const bench_update *u)
{
    fprintf(out, "%-24s %10.1f ms  %7d tokens in %d micro-batch%s\n", name, u->seconds * 1e3, u->tokens,
            u->micro_batches, u->micro_batches == 1 ? "" : "es");
}

static int report_group(FILE *out, const bench_call *c, error *err)
{
    const bench_request *r = &c->request;
    bench_group_result g;
    if (bench_group(r, &g, err) != OK) return err->code;

    const double ratio = g.unshared.seconds / g.shared.seconds;
    if (!c->json) {
        print_update_line(out, "prompt shared", &g.shared);
        print_update_line(out, "prompt of each its own", &g.unshared);
        fprintf(out, "ratio %.2f\n", ratio);
        return OK;
    }
    fprintf(out, "{\"what\":\"train\",\"size\":\"%s\",\"precision\":\"%s\",\"group\":%d,\"prompt\":%d,\"reply\":%d",
            r->size, words_of(PRECISION_WORDS, (int)r->precision), r->group, r->prompt, r->reply);
    print_update_json(out, "shared", &g.shared);
    print_update_json(out, "unshared", &g.unshared);
    fprintf(out, ",\"ratio\":%.3f}\n", ratio);
    return OK;
}

/* ---- ops ---- */

/* theirs: the peer's seconds; 0: it has not measured this one. */
static void print_op_json(FILE *out, const bench_op *o, double theirs, bool last)
{
    fprintf(out, "{\"op\":\"%s\",\"us\":%.2f,\"gflops\":%.1f,\"gb_per_s\":%.1f", o->name, o->seconds * 1e6,
            o->flops / o->seconds / 1e9, o->bytes / o->seconds / 1e9);
    if (theirs > 0) fprintf(out, ",\"peer_us\":%.2f,\"ratio\":%.3f", theirs * 1e6, theirs / o->seconds);
    fprintf(out, "}%s\n", last ? "" : ",");
}

static void print_op_line(FILE *out, const bench_op *o, double theirs)
{
    fprintf(out, "%-28s %10.1f us ", o->name, o->seconds * 1e6);
    if (o->flops > 0)
        fprintf(out, "%8.1f GFLOP/s", o->flops / o->seconds / 1e9);
    else
        fprintf(out, "%8.1f GB/s   ", o->bytes / o->seconds / 1e9);
    if (theirs > 0) fprintf(out, "  peer %10.1f us  ratio %.2f", theirs * 1e6, theirs / o->seconds);
    putc('\n', out);
}

static int report_ops(FILE *out, const bench_call *c, const json_t *peer, error *err)
{
    bench_op ops[MAX_BENCH_OPS];
    const json_t *seconds = json_object_get(peer, "seconds");
    const int n = bench_ops(&c->request, ops, err);
    if (n < 0) return -n;

    if (c->json) fputs("[\n", out);
    for (int i = 0; i < n; i++) {
        const double theirs = json_number_value(json_object_get(seconds, ops[i].name));
        if (c->json)
            print_op_json(out, &ops[i], theirs, i == n - 1);
        else
            print_op_line(out, &ops[i], theirs);
    }
    if (c->json) fputs("]\n", out);
    return OK;
}

/* ---- moo ---- */

static void print_kind_json(FILE *out, const char *name, const bench_moo_kind *k)
{
    fprintf(out, ",\"%s\":{\"seconds\":%.4f,\"ratio\":%.3f,\"reconciling\":%.4f,\"slab_bytes\":%zu}", name, k->seconds,
            k->ratio, k->reconciling, k->slab_bytes);
}

static void print_moo_json(FILE *out, const bench_call *c, const bench_moo_result *m)
{
    fprintf(out, "{\"what\":\"moo\",\"size\":\"%s\",\"K\":%d", c->request.size, BENCH_OBJECTIVES);
    print_kind_json(out, "plain", &m->plain);
    print_kind_json(out, "data groups", &m->groups);
    print_kind_json(out, "reward dimensions", &m->rewards);
    fputs("}\n", out);
}

static void print_kind_line(FILE *out, const char *name, const bench_moo_kind *k)
{
    fprintf(out, "%-20s %8.1f ms  %5.2f of a plain step  reconciling %4.1f %%  K gradients in %5.1f MiB\n", name,
            k->seconds * 1e3, k->ratio, k->reconciling * 100, (double)k->slab_bytes / (1 << 20));
}

static void print_moo_lines(FILE *out, const bench_moo_result *m)
{
    fprintf(out, "K = %d, CAGrad by layer, gated; a model's gradient is %.1f MiB\n", BENCH_OBJECTIVES,
            (double)m->params * 4 / (1 << 20));
    print_kind_line(out, "plain", &m->plain);
    print_kind_line(out, "data groups", &m->groups);
    print_kind_line(out, "reward dimensions", &m->rewards);
}

static int report_moo(FILE *out, const bench_call *c, error *err)
{
    bench_moo_result m;
    const int rc = bench_moo(&c->request, &m, err);
    if (rc == OK && c->json) print_moo_json(out, c, &m);
    if (rc == OK && !c->json) print_moo_lines(out, &m);
    return rc;
}

/* ---- all ---- */

static int report_kind(FILE *out, const bench_call *c, const json_t *peer, error *err)
{
    switch (c->kind) {
    case BENCH_TRAIN:
        if (c->request.group > 0) return report_group(out, c, err);
        return report_rate(out, c, peer, err);
    case BENCH_DECODE:
        return report_rate(out, c, peer, err);
    case BENCH_MOO:
        return report_moo(out, c, err);
    case BENCH_OPS:
        return report_ops(out, c, peer, err);
    case N_BENCH_KINDS:
        break;
    }
    return error_set(err, ERR_ARGUMENT, "no such kind of measurement: %d", (int)c->kind);
}

int bench_report(FILE *out, const bench_call *c, error *err)
{
    json_t *peer = NULL;
    if (c->peer && !(peer = bench_peer_ask(c->peer, c->kind, &c->request, err))) return err->code;

    const int rc = report_kind(out, c, peer, err);
    json_decref(peer);
    return rc;
}
