/* SPDX-License-Identifier: MIT */
#include "http/client.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/vec.h"
#include "http/address.h"
#include "http/library.h"

enum { DEFAULT_TIMEOUT_MS = 30000, CONNECT_MS = 10000, DEFAULT_MAX_BYTES = 16 << 20, MAX_REDIRECTS = 5, EVENTS = 64 };

typedef struct transfer {
    uint64_t id;
    http *client;
    CURL *easy;
    struct curl_slist *headers;
    char *url, *shown; /* shown: fit for a sentence */
    str fresh, body;   /* fresh: for the sink, at the end of this turn */
    size_t got, max_bytes;
    int64_t deadline_ms;
    int redirects;
    bool too_long;
    bool over; /* libcurl has let go of it with this: */
    CURLcode code;
    char why[CURL_ERROR_SIZE];
    http_sink *sink;
    http_done *done;
    void *ctx;
} transfer;

struct http {
    CURLM *multi;
    int epoll; /* of libcurl's sockets */
    int64_t due_ms;
    uint64_t last;
    vec(transfer *) all;
    CURL *answered; /* whose sink or done is running */
};

/* There is one: http_new has seen to it. */
static const curl_library *curl(void) { return curl_library_get(NULL); }

/* ---- libcurl's questions ---- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known)
{
    http *h = ctx;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(h->epoll, EPOLL_CTL_DEL, fd, NULL); /* it may be closed already, and has left by that */
        return 0;
    }

    struct epoll_event e = { .data.fd = fd };
    if (what & CURL_POLL_IN) e.events |= EPOLLIN;
    if (what & CURL_POLL_OUT) e.events |= EPOLLOUT;
    if (!known || epoll_ctl(h->epoll, EPOLL_CTL_MOD, fd, &e) != 0) epoll_ctl(h->epoll, EPOLL_CTL_ADD, fd, &e);
    curl()->multi_assign(h->multi, fd, h); /* known, from now on */
    return 0;
}

static int on_timer(CURLM *multi, long wait_ms, void *ctx)
{
    (void)multi;
    ((http *)ctx)->due_ms = wait_ms < 0 ? INT64_MAX : clock_ms() + wait_ms;
    return 0;
}

static int status_of(const transfer *t)
{
    long status = 0;
    curl()->easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

/* libcurl may not be called from here, as a sink might: it is given its bytes at the end of the turn. */
static size_t on_bytes(char *bytes, size_t one, size_t n, void *ctx)
{
    transfer *t = ctx;
    const int status = status_of(t);
    t->got += n * one;
    t->too_long = t->got > t->max_bytes;
    if (t->too_long) return 0;
    str_add(t->sink && status / 100 == 2 ? &t->fresh : &t->body, bytes, n * one);
    return n * one;
}

/* ---- a request's life ---- */

/* The program ends at the first write to a connection that its peer has closed, were it not for this: libcurl is told
 * to leave signals alone, and OpenSSL writes with write(2). */
static void without_sigpipe(void (*act)(void *ctx), void *ctx)
{
    sigset_t pipe, before, waiting;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    sigpending(&waiting);
    act(ctx);
    if (!sigismember(&waiting, SIGPIPE))
        while (sigtimedwait(&pipe, NULL, &(struct timespec){ 0 }) < 0 && errno == EINTR) continue;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void transfer_free(void *ctx)
{
    transfer *t = ctx;
    if (t->easy && !t->over) curl()->multi_remove_handle(t->client->multi, t->easy);
    curl()->easy_cleanup(t->easy);
    curl()->slist_free_all(t->headers);
    free(t->url);
    free(t->shown);
    str_free(&t->fresh);
    str_free(&t->body);
    free(t);
}

static void add_header(transfer *t, const char *line)
{
    struct curl_slist *longer = curl()->slist_append(t->headers, line);
    if (longer) t->headers = longer;
}

static void set_address(transfer *t)
{
    curl()->easy_setopt(t->easy, CURLOPT_URL, t->url);
    if (address_is_local(t->url)) curl()->easy_setopt(t->easy, CURLOPT_PROXY, "");
}

static void set_options(transfer *t, const http_request *r)
{
    CURL *e = t->easy;
    set_address(t);
    if (r->body) curl()->easy_setopt(e, CURLOPT_COPYPOSTFIELDS, r->body);
    curl()->easy_setopt(e, CURLOPT_CUSTOMREQUEST, r->method);
    curl()->easy_setopt(e, CURLOPT_HTTPHEADER, t->headers);
    curl()->easy_setopt(e, CURLOPT_USERAGENT, "troupe/" TROUPE_VERSION);
    curl()->easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl()->easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl()->easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl()->easy_setopt(e, CURLOPT_ERRORBUFFER, t->why);
    curl()->easy_setopt(e, CURLOPT_WRITEFUNCTION, on_bytes);
    curl()->easy_setopt(e, CURLOPT_WRITEDATA, t);
    curl()->easy_setopt(e, CURLOPT_PRIVATE, t);
}

/* Begins, or begins again at another address. */
static int launch(transfer *t, error *err)
{
    const int64_t left = t->deadline_ms - clock_ms();
    t->over = false;
    t->got = 0;
    str_clear(&t->body);
    curl()->easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)(left > 0 ? left : 1));
    const CURLMcode code = curl()->multi_add_handle(t->client->multi, t->easy);
    if (code == CURLM_OK) return OK;
    t->over = true;
    return error_set(err, ERR_MEMORY, "%s: %s", t->shown, curl()->multi_strerror(code));
}

uint64_t http_send(http *h, const http_request *r, error *err)
{
    if (http_check_url(r->url, err) != OK) return 0;
    transfer *t = xcalloc(1, sizeof *t);
    *t = (transfer){ .id = ++h->last,
                     .client = h,
                     .easy = curl()->easy_init(),
                     .url = xstrdup(r->url),
                     .shown = http_shown(r->url),
                     .max_bytes = r->max_bytes > 0 ? r->max_bytes : DEFAULT_MAX_BYTES,
                     .deadline_ms = clock_ms() + (r->timeout_ms > 0 ? r->timeout_ms : DEFAULT_TIMEOUT_MS),
                     .over = true,
                     .sink = r->sink,
                     .done = r->done,
                     .ctx = r->ctx };
    for (const char *const *line = r->headers; line && *line; line++) add_header(t, *line);
    add_header(t, "Expect:"); /* else libcurl waits a second for a server's "100 Continue" */

    int rc = t->easy ? OK : error_set(err, ERR_MEMORY, "cannot create a request of libcurl");
    if (rc == OK) set_options(t, r);
    if (rc == OK) rc = launch(t, err);
    if (rc == OK) vec_push(&h->all, t);
    const uint64_t id = rc == OK ? t->id : 0;
    if (rc != OK) transfer_free(t);
    return id;
}

static transfer *transfer_of(const http *h, uint64_t id)
{
    for (size_t i = 0; i < h->all.len; i++)
        if (h->all.data[i]->id == id) return h->all.data[i];
    return NULL;
}

/* Out of the list: the caller's. */
static transfer *taken(http *h, uint64_t id)
{
    for (size_t i = 0; i < h->all.len; i++) {
        transfer *t = h->all.data[i];
        if (t->id != id) continue;
        memmove(h->all.data + i, h->all.data + i + 1, (h->all.len - i - 1) * sizeof *h->all.data);
        h->all.len--;
        return t;
    }
    return NULL;
}

void http_abort(http *h, uint64_t id)
{
    transfer *t = taken(h, id);
    if (t) without_sigpipe(transfer_free, t); /* it may close a connection, and TLS says so to the peer */
}

/* ---- its end ---- */

/* A status that asks for the same request at another place. 303 asks for another request, and is an answer here. */
static bool is_redirect(int status) { return status == 301 || status == 302 || status == 307 || status == 308; }

/* OK: it has begun again, or there is nothing to follow (t->over is still set). */
static int follow(transfer *t, error *err)
{
    char *to = NULL;
    if (t->code != CURLE_OK || !is_redirect(status_of(t))) return OK;
    curl()->easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &to);
    if (!to) return OK;

    char *shown = http_shown(to);
    int rc = OK;
    if (!address_same_server(t->url, to))
        rc = error_set(err, ERR_PEER, "%.150s sends us to another server, %.150s: name that one", t->shown, shown);
    else if (++t->redirects > MAX_REDIRECTS)
        rc = error_set(err, ERR_PEER, "%.200s: more than %d redirects", t->shown, MAX_REDIRECTS);
    free(shown);
    if (rc != OK) return rc;

    char *next = xstrdup(to);
    free(t->url);
    t->url = next;
    set_address(t);
    return launch(t, err);
}

static int code_of(CURLcode code)
{
    if (code == CURLE_OPERATION_TIMEDOUT) return ERR_TIMEOUT;
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST) return ERR_NOT_FOUND;
    return ERR_PEER;
}

static void say_why(const transfer *t, error *err)
{
    if (t->too_long)
        error_set(err, ERR_LIMIT, "%.300s: its answer has more than %zu bytes", t->shown, t->max_bytes);
    else if (t->code != CURLE_OK)
        error_set(err, code_of(t->code), "%.300s: %s", t->shown, *t->why ? t->why : curl()->easy_strerror(t->code));
}

static void finish(http *h, transfer *t, const error *failed)
{
    char *type = NULL;
    curl()->easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
    const http_answer a = { .status = status_of(t),
                            .failed = *failed,
                            .type = type ? type : "",
                            .body = str_text(&t->body),
                            .len = t->body.len };
    h->answered = t->easy;
    if (t->done) t->done(t->ctx, &a);
    h->answered = NULL;
}

const char *http_header(http *h, const char *name)
{
    struct curl_header *header;
    if (!h->answered || curl()->easy_header(h->answered, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK) return NULL;
    return header->value;
}

static void end_transfer(http *h, transfer *t)
{
    error failed = { 0 };
    int rc = follow(t, &failed);
    if (rc == OK && !t->over) return;
    if (rc == OK) say_why(t, &failed);
    transfer *mine = taken(h, t->id); /* so that an abort in its done finds nothing */
    finish(h, mine, &failed);
    transfer_free(mine);
}

/* ---- turns ---- */

/* What libcurl can do now. */
static void perform(http *h)
{
    struct epoll_event ready[EVENTS];
    int running;
    if (h->due_ms <= clock_ms()) {
        h->due_ms = INT64_MAX; /* it names the next time, if there is one */
        curl()->multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }

    const int n = epoll_wait(h->epoll, ready, EVENTS, 0);
    for (int i = 0; i < n; i++) {
        int what = 0;
        if (ready[i].events & EPOLLIN) what |= CURL_CSELECT_IN;
        if (ready[i].events & EPOLLOUT) what |= CURL_CSELECT_OUT;
        if (ready[i].events & (EPOLLERR | EPOLLHUP)) what |= CURL_CSELECT_ERR;
        curl()->multi_socket_action(h->multi, ready[i].data.fd, what, &running);
    }
}

/* Takes from libcurl what has ended. */
static void collect(http *h)
{
    int left;
    for (CURLMsg *m; (m = curl()->multi_info_read(h->multi, &left));) {
        transfer *t;
        if (m->msg != CURLMSG_DONE) continue;
        curl()->easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
        t->code = m->data.result;
        t->over = true;
        curl()->multi_remove_handle(h->multi, t->easy);
    }
}

static void give_bytes(transfer *t)
{
    char *type = NULL;
    str fresh = t->fresh; /* the sink may abort the request */
    if (fresh.len == 0) return;
    t->fresh = (str){ 0 };
    curl()->easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
    char *kind = xstrdup(type ? type : "");
    http *const h = t->client;
    h->answered = t->easy;
    t->sink(t->ctx, kind, fresh.data, fresh.len);
    h->answered = NULL;
    free(kind);
    str_free(&fresh);
}

/* Whatever sinks and dones send and abort: those that were there at the beginning, by their numbers. */
static void tell(http *h)
{
    vec(uint64_t) ids = { 0 };
    for (size_t i = 0; i < h->all.len; i++) vec_push(&ids, h->all.data[i]->id);
    for (size_t i = 0; i < ids.len; i++) {
        transfer *t = transfer_of(h, ids.data[i]);
        if (t) give_bytes(t);
        t = transfer_of(h, ids.data[i]);
        if (t && t->over) end_transfer(h, t);
    }
    vec_free(&ids);
}

static void take_turn(void *ctx)
{
    http *h = ctx;
    perform(h);
    collect(h);
    tell(h);
}

void http_turn(http *h) { without_sigpipe(take_turn, h); }

int http_fds(const http *h, struct pollfd *out, int max)
{
    if (max < 1 || h->all.len == 0) return 0;
    out[0] = (struct pollfd){ .fd = h->epoll, .events = POLLIN };
    return 1;
}

int64_t http_deadline_ms(const http *h) { return h->all.len > 0 ? h->due_ms : INT64_MAX; }

/* ---- its own life ---- */

http *http_new(error *err)
{
    if (!curl_library_get(err)) return NULL;
    http *h = xcalloc(1, sizeof *h);
    h->due_ms = INT64_MAX;
    h->multi = curl()->multi_init();
    h->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!h->multi || h->epoll < 0) {
        error_sys(err, errno, "cannot create a client of libcurl");
        http_free(h);
        return NULL;
    }
    curl()->multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl()->multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl()->multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl()->multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    return h;
}

static void close_all(void *ctx)
{
    http *h = ctx;
    for (size_t i = 0; i < h->all.len; i++) transfer_free(h->all.data[i]);
    if (h->multi) curl()->multi_cleanup(h->multi);
}

void http_free(http *h)
{
    if (!h) return;
    without_sigpipe(close_all, h);
    if (h->epoll >= 0) close(h->epoll);
    vec_free(&h->all);
    free(h);
}
