/* SPDX-License-Identifier: MIT */
#include "run/fetch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "proto/endpoint.h"
#include "proto/weights.h"

enum {
    TURN_MS = 200,
    ASK_AGAIN_MS = 3000,              /* a question or its answer may be lost on the way */
    SMALL_BYTES = 64 << 10,           /* of a message that is no part of the recipe */
    MAX_WORDS = PARCEL_WORDS + 4 + 96 /* the learner's, one for each file that a key names, the worker's own */
};

typedef struct fetching {
    const fetch_config *config;
    fetched *out;
    loop *lp;
    logger *log;
    endpoint *exchange;
    delivery *delivery; /* NULL: no list yet */
    char run[80];
    int64_t moved_ms, asked_ms; /* moved: something new has come */
    bool stop, done;
    int failed;
    error why;
} fetching;

static void fail(fetching *f, const error *err)
{
    if (f->failed) return;
    f->failed = err->code;
    f->why = *err;
}

/* ---- what is said ---- */

static void ask(fetching *f)
{
    message m = { .type = MSG_RECIPE_GET };
    f->asked_ms = loop_now_ms(f->lp);
    f->done = !delivery_next(f->delivery, &m.recipe_get);
    if (!f->done) endpoint_send(f->exchange, 0, &m, NULL);
}

static bool is_same(const parcel_list *a, const parcel_list *b)
{
    return a->n_files == b->n_files && parcel_compare(a, b, NULL) == OK;
}

static int begin_delivery(fetching *f, const welcome_body *w, error *err)
{
    snprintf(f->run, sizeof f->run, "%s", w->run);
    f->delivery = delivery_new(&w->recipe, f->out->folder.path, err);
    if (!f->delivery) return err->code;
    parcel_list_copy(&f->out->list, &w->recipe);
    return OK;
}

/* It comes again when the learner was started anew: then what is here is of use if the files are the same. */
static void on_welcome(fetching *f, const welcome_body *w)
{
    error err = { 0 };
    if (f->delivery && !is_same(&w->recipe, &f->out->list)) {
        error_set(&err, ERR_STATE, "the learner was restarted with a different recipe: restart this worker");
        fail(f, &err);
        return;
    }

    if (!f->delivery) f->moved_ms = loop_now_ms(f->lp); /* to be welcomed again brings nothing */
    if (!f->delivery && begin_delivery(f, w, &err) != OK) {
        error_within(&err, "refused what the learner sent");
        fail(f, &err);
        return;
    }
    ask(f);
}

static void on_chunk(fetching *f, const recipe_chunk_body *chunk)
{
    recipe_get_body before, after;
    error err = { 0 };
    if (!f->delivery) return;

    /* What is asked for next tells whether the piece was the one that was missing. */
    delivery_next(f->delivery, &before);
    if (delivery_take(f->delivery, chunk, &err) != OK) {
        fail(f, &err);
        return;
    }

    delivery_next(f->delivery, &after);
    if (after.file == before.file && after.offset == before.offset) return; /* it was not expected */
    f->moved_ms = loop_now_ms(f->lp);
    ask(f);
}

/* What it says goes to a terminal. */
static void on_bye(fetching *f, const char *reason)
{
    str shown = { 0 };
    error err = { 0 };
    str_visible(&shown, reason, strlen(reason));
    error_set(&err, ERR_PEER, "the learner says goodbye: %s", str_text(&shown));
    str_free(&shown);
    fail(f, &err);
}

static void on_message(void *ctx, peer_id peer, message *m)
{
    fetching *f = ctx;
    (void)peer;
    if (f->failed || f->done) return;
    if (m->type == MSG_WELCOME) on_welcome(f, &m->welcome);
    if (m->type == MSG_RECIPE_CHUNK) on_chunk(f, &m->recipe_chunk);
    if (m->type == MSG_BYE) on_bye(f, m->bye.reason);
}

static void on_peer(void *ctx, peer_id peer, const hello_body *hello, bool up, const char *why)
{
    (void)ctx, (void)peer, (void)hello, (void)up, (void)why;
}

static void on_stop(void *ctx) { ((fetching *)ctx)->stop = true; }

/* ---- the loop ---- */

static int connect_to(fetching *f, error *err)
{
    const fetch_config *c = f->config;
    const endpoint_callbacks cb = { .ctx = f, .on_message = on_message, .on_peer = on_peer };
    endpoint_config ec = { .address = c->address,
                           .hello = { .protocol = PROTOCOL_VERSION, .pid = getpid(), .for_recipe = true } };
    snprintf(ec.hello.role, sizeof ec.hello.role, "%s", c->role == PACK_FOR_ACTOR ? "actor" : "reward");
    snprintf(ec.hello.name, sizeof ec.hello.name, "%s", c->name);
    weights_host(ec.hello.host);

    /* Nothing is known of who answers yet: a message may be no larger than what a recipe needs. */
    for (int type = 0; type < N_MESSAGES; type++) ec.limits[type] = SMALL_BYTES;
    ec.limits[MSG_WELCOME] = PARCEL_LIST_BYTES;
    ec.limits[MSG_RECIPE_CHUNK] = PARCEL_CHUNK_BYTES + SMALL_BYTES;

    f->exchange = endpoint_connect(f->lp, &ec, &cb, f->log, err);
    return f->exchange ? loop_on_stop(f->lp, on_stop, f, err) : err->code;
}

static int check_progress(fetching *f, error *err)
{
    const int64_t now_ms = loop_now_ms(f->lp), patience_ms = f->config->patience_ms;
    if (f->failed) return error_set(err, f->failed, "%s", f->why.text);
    if (f->stop) return error_set(err, ERR_INTERRUPTED, "stopped before the recipe arrived");
    if (now_ms - f->moved_ms > patience_ms)
        return error_set(err, ERR_TIMEOUT, "%s for %" PRId64 " s",
                         f->delivery ? "no part of the recipe arrived" : "no learner has answered", patience_ms / 1000);
    if (f->delivery && now_ms - f->asked_ms > ASK_AGAIN_MS) ask(f);
    return OK;
}

static int run(fetching *f, error *err)
{
    int rc = connect_to(f, err);
    f->moved_ms = loop_now_ms(f->lp);
    if (rc == OK)
        log_info(f->log, "asking the learner at %s for its recipe, for %" PRId64 " s at most", f->config->address,
                 f->config->patience_ms / 1000);
    while (rc == OK && !f->done) {
        rc = loop_once(f->lp, TURN_MS, err);
        if (rc == OK) rc = check_progress(f, err);
    }
    return rc;
}

static void tell(const fetching *f)
{
    str names = { 0 };
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < f->out->list.n_files; i++) {
        str_item(&names, ", ", f->out->list.files[i].name);
        bytes += f->out->list.files[i].bytes;
    }
    log_info(f->log, "took the recipe of run '%s' from %s: %s (%" PRIu64 " bytes in %s)", f->run, f->config->address,
             names.data ? names.data : "nothing", bytes, f->out->folder.path);
    str_free(&names);
}

static int receive(fetched *out, const fetch_config *config, logger *lg, error *err)
{
    fetching f = { .config = config, .out = out, .log = lg };
    if (!(f.lp = loop_new(err))) return err->code;

    const int rc = run(&f, err);
    if (f.exchange) {
        const message bye = { .type = MSG_BYE, .bye = { "it has the recipe" } };
        endpoint_send(f.exchange, 0, &bye, NULL);
    }
    if (rc == OK) tell(&f);

    loop_remove(f.lp, &f);
    endpoint_free(f.exchange);
    delivery_free(f.delivery);
    loop_free(f.lp);
    return rc == OK ? OK : error_within(err, "%s", config->address);
}

/* ---- opening ---- */

static recipe *open_sent(const fetched *f, const fetch_config *c, error *err)
{
    char path[300], *sent[MAX_WORDS];
    const char *words[MAX_WORDS];
    const int n_sent = pack_words(&f->list, f->folder.path, sent, MAX_WORDS - c->n_words);
    for (int i = 0; i < n_sent; i++) words[i] = sent[i];
    for (int i = 0; i < c->n_words; i++) words[n_sent + i] = c->words[i]; /* after the learner's: the last one wins */

    recipe *r =
        recipe_open(path_join(path, sizeof path, f->folder.path, "recipe.lua"), words, n_sent + c->n_words, err);
    for (int i = 0; i < n_sent; i++) free(sent[i]);
    if (r) r->sent = true; /* before anything of it runs: a sent recipe's tools may not ask for no sandbox */
    if (r && pack_check_paths(r, c->role, f->folder.path, err) == OK) return r;
    recipe_free(r);
    error_within(err, "the recipe that %s has sent", c->address);
    return NULL;
}

recipe *fetch_recipe(fetched *f, const fetch_config *config, logger *lg, error *err)
{
    *f = (fetched){ .folder.lock = -1 };
    if (held_folder_open(&f->folder, temporary_root(), "troupe-recipe", err) != OK ||
        held_folder_watch(&f->folder, err) != OK || receive(f, config, lg, err) != OK)
        return NULL;
    return open_sent(f, config, err);
}

void fetched_reset(fetched *f)
{
    held_folder_close(&f->folder);
    parcel_list_reset(&f->list);
}
