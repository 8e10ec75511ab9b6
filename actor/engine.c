/* SPDX-License-Identifier: MIT */
/* The engine's one step, top to bottom: see engine_step at the end.
 *
 * A stream's tokens are ids[0..n); the first `cached` of them have their keys and values in pages. A step takes rows
 * from streams that have tokens beyond `cached`: the last row of a stream that catches up yields logits and a sampled
 * token. */
#include "actor/engine.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "actor/kv_pages.h"
#include "actor/prefix_tree.h"
#include "base/map.h"
#include "base/vec.h"
#include "model/decode.h"

typedef struct stream {
    uint64_t id; /* 0: the slot is free */
    stream_options options;
    int32_t *ids;  /* [max_context] */
    int n, cached; /* tokens known, tokens with keys and values */
    int scheduled; /* rows of the step under way */
    int n_pages;
    prefix_entry **entries; /* [max_pages]: the shared page's entry, or NULL for a page of its own */
    bool waiting;
} stream;

struct engine {
    engine_config config;
    const weights *w;         /* NULL: of a record */
    const trajectory *record; /* what is "sampled" then */
    kv_cache *kv;
    kv_pages *pages;
    prefix_tree *tree;
    stream *streams; /* [max_streams] */
    int32_t *table;  /* [max_streams, max_pages] page numbers: what model_decode reads */
    idmap *by_id;
    int max_pages, next_slot;
    uint64_t next_id;
    engine_stats stats;
    /* the step's rows */
    int32_t *ids, *positions, *row_seq, *out_rows, *out_slots;
    rng_key *keys;
    uint64_t *samples, *out_positions;
    int32_t *tokens;
    float *logprobs;
    int T, n_out;
};

/* ---- life ---- */

static void allocate_step(engine *en)
{
    const size_t rows = (size_t)en->config.tokens_per_step, outs = (size_t)en->config.max_streams;

    en->ids = xcalloc(rows, sizeof *en->ids);
    en->positions = xcalloc(rows, sizeof *en->positions);
    en->row_seq = xcalloc(rows, sizeof *en->row_seq);

    en->out_rows = xcalloc(outs, sizeof *en->out_rows);
    en->out_slots = xcalloc(outs, sizeof *en->out_slots);
    en->keys = xcalloc(outs, sizeof *en->keys);
    en->samples = xcalloc(outs, sizeof *en->samples);
    en->out_positions = xcalloc(outs, sizeof *en->out_positions);
    en->tokens = xcalloc(outs, sizeof *en->tokens);
    en->logprobs = xcalloc(outs, sizeof *en->logprobs);
}

static int check_config(const engine_config *c, const model_config *model, int64_t n_pages, error *err)
{
    if (c->max_streams < 1 || c->max_context < 2)
        return error_set(err, ERR_ARGUMENT, "an engine needs room for at least one stream of two tokens");
    if (c->max_context > model->max_position)
        return error_set(err, ERR_ARGUMENT, "max_context %d is beyond the model's max_position_embeddings %d",
                         c->max_context, model->max_position);
    if (n_pages > INT32_MAX)
        return error_set(err, ERR_LIMIT,
                         "%d streams of %d tokens are %" PRId64 " pages of keys and values (%d at most)",
                         c->max_streams, c->max_context, n_pages, INT32_MAX);

    if (c->kv_bytes && c->kv_bytes < kv_page_bytes(model) * (size_t)n_pages)
        return error_set(err, ERR_LIMIT,
                         "%d streams of %d tokens need %zu bytes of key and value pages, kv_bytes allows %zu",
                         c->max_streams, c->max_context, kv_page_bytes(model) * (size_t)n_pages, c->kv_bytes);
    return OK;
}

static int64_t pages_of(const engine_config *c)
{
    return (int64_t)((c->max_context + KV_PAGE - 1) / KV_PAGE) * c->max_streams;
}

/* Room for a row of every stream and a page of prefill besides: less would starve whoever is being prefilled. */
static int rows_a_step(const engine_config *c)
{
    const int min = c->max_streams + KV_PAGE;
    return c->tokens_per_step < min ? min : c->tokens_per_step;
}

void engine_need(const engine_config *config, const device *dev, const param_table *shapes, memory_need *need)
{
    need->bytes[MEMORY_PAGES] += kv_page_bytes(&shapes->config) * (size_t)pages_of(config);
    need->bytes[MEMORY_ACTIVATIONS] += model_decode_bytes(dev, shapes, rows_a_step(config), config->max_streams);
}

engine *engine_new(const engine_config *config, const weights *w, error *err)
{
    const model_config *model = &w->table->config;
    const int64_t pages = pages_of(config);
    if (check_config(config, model, pages, err) != OK) return NULL;

    const int n_pages = (int)pages, max_pages = n_pages / config->max_streams;
    kv_cache *kv = kv_cache_new(w->dev, model, n_pages, err); /* first: all else is small beside it */
    if (!kv) return NULL;

    engine *en = xcalloc(1, sizeof *en);
    en->config = *config;
    en->config.tokens_per_step = rows_a_step(config);
    en->w = w;
    en->max_pages = max_pages;
    en->next_id = 1;
    en->kv = kv;
    en->pages = kv_pages_new(n_pages);
    en->tree = prefix_tree_new(en->pages);
    en->by_id = idmap_new();
    en->streams = xcalloc((size_t)config->max_streams, sizeof *en->streams);
    en->table = xcalloc((size_t)n_pages, sizeof *en->table);

    allocate_step(en);

    for (int s = 0; s < config->max_streams; s++) {
        en->streams[s].ids = xcalloc((size_t)config->max_context, sizeof(int32_t));
        en->streams[s].entries = xcalloc((size_t)max_pages, sizeof(prefix_entry *));
    }
    return en;
}

engine *engine_of_record(const trajectory *record, int max_context)
{
    engine *en = xcalloc(1, sizeof *en);
    en->config = (engine_config){ .max_streams = 1, .max_context = max_context };
    en->record = record;
    en->next_id = 1;
    en->by_id = idmap_new();
    en->streams = xcalloc(1, sizeof *en->streams);
    en->streams[0].ids = xcalloc((size_t)max_context, sizeof(int32_t));
    return en;
}

static int slot_of(const engine *en, const stream *s) { return (int)(s - en->streams); }

static int32_t *table_of(const engine *en, const stream *s)
{
    return en->table + (size_t)slot_of(en, s) * (size_t)en->max_pages;
}

static void release_pages(engine *en, stream *s)
{
    for (int p = s->n_pages - 1; p >= 0; p--) { /* last first: a page is cached no longer than what it builds on */
        if (s->entries[p])
            prefix_entry_leave(en->tree, s->entries[p]);
        else
            kv_pages_give(en->pages, table_of(en, s)[p]);
        s->entries[p] = NULL;
    }
    s->n_pages = s->cached = s->scheduled = 0;
}

void engine_free(engine *en)
{
    if (!en) return;

    for (int i = 0; i < en->config.max_streams; i++) {
        if (en->streams[i].id) release_pages(en, &en->streams[i]);
        free(en->streams[i].ids);
        free(en->streams[i].entries);
    }

    prefix_tree_free(en->tree);
    kv_pages_free(en->pages);
    kv_cache_free(en->kv);
    idmap_free(en->by_id);

    void *const owned[] = { en->streams,  en->table,     en->ids,  en->positions, en->row_seq,
                            en->out_rows, en->out_slots, en->keys, en->samples,   en->out_positions,
                            en->tokens,   en->logprobs,  en };
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
}

int engine_context(const engine *en) { return en->config.max_context; }

int engine_capacity(const engine *en) { return en->config.max_streams; }

/* ---- streams ---- */

uint64_t engine_submit(engine *en, const int32_t *ids, size_t n, const stream_options *options, error *err)
{
    if (n == 0 || n >= (size_t)en->config.max_context) { /* a place is kept for one token that is sampled */
        error_set(err, ERR_LIMIT, "a prompt of %zu tokens does not fit a context of %d", n, en->config.max_context);
        return 0;
    }
    for (int i = 0; i < en->config.max_streams; i++) {
        stream *s = &en->streams[i];
        if (s->id) continue;

        s->id = en->next_id++;
        s->options = *options;
        s->n = (int)n;
        s->waiting = false;
        memcpy(s->ids, ids, n * sizeof *ids);
        idmap_set(en->by_id, s->id, s);
        return s->id;
    }
    error_set(err, ERR_FULL, "all %d streams are taken", en->config.max_streams);
    return 0;
}

static stream *stream_of(const engine *en, uint64_t id)
{
    stream *s = idmap_get(en->by_id, id);
    assert(s && "the stream has ended");
    return s;
}

int engine_append(engine *en, uint64_t id, const int32_t *ids, size_t n, error *err)
{
    stream *s = stream_of(en, id);

    if ((size_t)s->n + n >= (size_t)en->config.max_context)
        return error_set(err, ERR_LIMIT, "%d tokens and %zu more do not fit a context of %d", s->n, n,
                         en->config.max_context);
    memcpy(s->ids + s->n, ids, n * sizeof *ids);
    s->n += (int)n;
    s->waiting = false;
    return OK;
}

void engine_resume(engine *en, uint64_t id) { stream_of(en, id)->waiting = false; }

int engine_room(const engine *en, uint64_t id) { return en->config.max_context - stream_of(en, id)->n; }

void engine_end(engine *en, uint64_t id)
{
    stream *s = stream_of(en, id);
    release_pages(en, s);
    idmap_remove(en->by_id, id);
    s->id = 0;
}

void engine_set_weights(engine *en, const weights *w)
{
    for (int i = 0; i < en->config.max_streams; i++)
        if (en->streams[i].id) release_pages(en, &en->streams[i]);

    /* After the streams have let go of their pages: the tree frees only pages without a user. */
    prefix_tree_clear(en->tree);
    en->w = w;
}

/* ---- one step ---- */

/* The id of the page that page p builds on, which names its whole prefix; 0: it is the first. UINT64_MAX: that page is
 * the stream's own, so what follows it is not shared. */
static uint64_t parent_of(const stream *s, int p)
{
    if (p == 0) return 0;
    return s->entries[p - 1] ? s->entries[p - 1]->id : UINT64_MAX;
}

/* Takes shared pages for as long as there are any. False: the next page is being computed by another stream in this
 * step; one step of patience saves computing it twice. */
static bool share_prefix(engine *en, stream *s)
{
    while (s->cached % KV_PAGE == 0 && s->cached + KV_PAGE < s->n) {
        const int p = s->cached / KV_PAGE;
        const uint64_t parent = parent_of(s, p);
        if (parent == UINT64_MAX) return true;

        prefix_entry *e = prefix_tree_find(en->tree, en->w->hash, parent, s->ids + s->cached);
        if (!e) return true;
        if (!e->ready) return false;

        prefix_entry_use(en->tree, e);
        s->entries[p] = e;
        table_of(en, s)[p] = e->page;
        s->n_pages = p + 1;
        s->cached += KV_PAGE;
        en->stats.tokens_reused += KV_PAGE;
    }
    return true;
}

static int32_t take_page(engine *en)
{
    int32_t page = kv_pages_take(en->pages);
    if (page < 0 && prefix_tree_evict(en->tree)) page = kv_pages_take(en->pages);
    assert(page >= 0 && "every stream's worst case was reserved at start");
    return page;
}

/* The pages under rows [cached, cached + rows). A page that this step fills from its start, and whose prefix is shared,
 * is promised to the tree: others find it there once it is computed. The page with the stream's last token stays its
 * own: that row has to be computed by every stream, for its logits. */
static void provide_pages(engine *en, stream *s, int rows)
{
    const int end = s->cached + rows;
    while (s->n_pages * KV_PAGE < end) {
        const int p = s->n_pages, begin = p * KV_PAGE;
        const int32_t page = take_page(en);
        table_of(en, s)[p] = page;
        s->entries[p] = NULL;
        s->n_pages++;

        const bool whole = begin >= s->cached && begin + KV_PAGE <= end && begin + KV_PAGE < s->n;
        const uint64_t parent = parent_of(s, p);
        if (whole && parent != UINT64_MAX)
            s->entries[p] = prefix_tree_promise(en->tree, en->w->hash, parent, s->ids + begin, page);
    }
}

static void schedule(engine *en, stream *s, int rows)
{
    provide_pages(en, s, rows);

    for (int i = 0; i < rows; i++) {
        en->ids[en->T] = s->ids[s->cached + i];
        en->positions[en->T] = s->cached + i;
        en->row_seq[en->T++] = slot_of(en, s);
    }
    s->scheduled = rows;
    if (s->cached + rows < s->n) return;

    /* It has caught up: its last row gives logits, and token n is sampled from them. */
    const int o = en->n_out++;
    en->out_rows[o] = en->T - 1;
    en->out_slots[o] = slot_of(en, s);
    en->keys[o] = (rng_key){ .seed = s->options.seed, .stream = s->options.group };
    en->samples[o] = s->options.sample;
    en->out_positions[o] = (uint64_t)s->n;
}

static bool can_go_on(const stream *s) { return s->id && !s->waiting && s->cached < s->n; }

/* Decode rows first: they are what episodes wait for. Then prefill, whole pages at a time, until the step is full. */
static bool choose_rows(engine *en)
{
    bool more = false;
    const int slots = en->config.max_streams, room = en->config.tokens_per_step;
    en->T = en->n_out = 0;

    for (int i = 0; i < slots; i++)
        if (can_go_on(&en->streams[i]) && en->streams[i].n - en->streams[i].cached == 1)
            schedule(en, &en->streams[i], 1);

    for (int k = 0; k < slots; k++) {
        stream *s = &en->streams[(en->next_slot + k) % slots];
        if (!can_go_on(s) || s->scheduled) continue;
        if (!share_prefix(en, s)) {
            more = true;
            continue;
        }

        /* What doesn't fit stops at the end of a page, so that the next step begins with a page that can be shared. */
        int rows = s->n - s->cached;
        if (rows > room - en->T) rows = (s->cached + room - en->T) / KV_PAGE * KV_PAGE - s->cached;
        if (rows > 0) schedule(en, s, rows);
        more |= s->cached + s->scheduled < s->n;
    }

    en->next_slot = (en->next_slot + 1) % slots; /* round-robin: no slot is always the last */
    return more;
}

/* Rows computed: promised pages are ready, tokens are cached. */
static void settle(engine *en)
{
    for (int i = 0; i < en->config.max_streams; i++) {
        stream *s = &en->streams[i];
        if (!s->scheduled) continue;

        if (s->scheduled > 1) en->stats.tokens_prefilled += (uint64_t)s->scheduled;
        for (int p = s->cached / KV_PAGE; p < s->n_pages; p++)
            if (s->entries[p]) s->entries[p]->ready = true;
        s->cached += s->scheduled;
        s->scheduled = 0;
    }
}

/* Rows that share temperature and top_p are sampled by one call. */
static void sample(engine *en, const float *logits)
{
    const struct ops *ops = device_ops(en->w->dev);
    const int V = en->w->table->config.vocab;
    for (int begin = 0, end; begin < en->n_out; begin = end) {
        const stream_options *first = &en->streams[en->out_slots[begin]].options;
        for (end = begin + 1; end < en->n_out; end++) {
            const stream_options *o = &en->streams[en->out_slots[end]].options;
            if (o->temperature != first->temperature || o->top_p != first->top_p) break;
        }

        /* Keyed by seed, group, sample and position: a token is the same whichever streams share its step. */
        ops->sample(en->w->dev, logits + (size_t)begin * (size_t)V, end - begin, V, first->temperature, first->top_p,
                    en->keys + begin, en->samples + begin, en->out_positions + begin, en->tokens + begin,
                    en->logprobs + begin);
    }
}

static void deliver(engine *en, sampled_token *out)
{
    for (int o = 0; o < en->n_out; o++) {
        stream *s = &en->streams[en->out_slots[o]];
        out[o] = (sampled_token){ .stream = s->id,
                                  .owner = s->options.owner,
                                  .id = en->tokens[o],
                                  .logprob = en->logprobs[o],
                                  .version = en->w->version,
                                  .weight_hash = en->w->hash };

        /* Its owner decides what comes after the token; until then the stream takes no part in steps. */
        s->waiting = true;
        if (s->n < en->config.max_context) s->ids[s->n++] = en->tokens[o];
    }

    en->stats.tokens_sampled += (uint64_t)en->n_out;
}

/* Weights that are finite may still be so large that what they compute is not. A token drawn from that is no policy's:
 * whoever plays with them ends, instead of sending episodes that are refused one by one. */
static int check_logprobs(const engine *en, error *err)
{
    for (int o = 0; o < en->n_out; o++)
        if (!isfinite(en->logprobs[o]))
            return error_set(err, ERR_STATE,
                             "the logits of policy version %" PRId64
                             " are not finite: the model's numbers are damaged, or training has diverged (lower "
                             "optim.lr)",
                             en->w->version);
    return OK;
}

/* The rows chosen: logits, and a token from each. */
static int compute(void *ctx, error *err)
{
    engine *en = ctx;
    device *dev = en->w->dev;

    device_scratch_reset(dev);
    const decode_batch batch = { .T = en->T,
                                 .ids = en->ids,
                                 .positions = en->positions,
                                 .row_seq = en->row_seq,
                                 .table = en->table,
                                 .max_pages = en->max_pages,
                                 .n_out = en->n_out,
                                 .out_rows = en->out_rows };

    const float *logits = model_decode(en->w, en->kv, &batch);
    if (en->n_out > 0) sample(en, logits);
    return device_sync(dev, err);
}

/* The engine of a record: the next token of the record, where one was sampled. */
static int recall(engine *en, sampled_token *out)
{
    const trajectory *r = en->record;
    stream *s = &en->streams[0];
    uint32_t g = 0, at = (uint32_t)s->n;
    if (!s->id || s->waiting || at >= r->n || !r->mask[at]) return 0;
    while (g + 1 < r->n_segments && r->segments[g].end <= at) g++;

    *out = (sampled_token){ .stream = s->id,
                            .owner = s->options.owner,
                            .id = r->ids[at],
                            .logprob = r->logprob[at],
                            .version = r->segments[g].version,
                            .weight_hash = r->segments[g].weight_hash };
    s->waiting = true;
    if (s->n < en->config.max_context) s->ids[s->n++] = out->id;
    return 1;
}

int engine_step(engine *en, sampled_token *out, bool *busy, error *err)
{
    *busy = false;
    if (en->record) return recall(en, out);
    *busy = choose_rows(en);
    if (en->T == 0) return 0;

    int rc = device_guard(en->w->dev, compute, en, err);
    if (rc == OK) rc = check_logprobs(en, err);
    if (rc != OK) return -rc;

    en->stats.steps++;
    settle(en);
    deliver(en, out);
    return en->n_out;
}

engine_stats engine_statistics(const engine *en)
{
    engine_stats s = en->stats;
    s.pages_total = en->max_pages * en->config.max_streams;
    s.pages_used = kv_pages_used(en->pages);
    for (int i = 0; i < en->config.max_streams; i++) {
        s.streams += en->streams[i].id != 0;
        s.waiting += en->streams[i].id && en->streams[i].waiting;
    }
    return s;
}
