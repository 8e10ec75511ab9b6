/* SPDX-License-Identifier: MIT */
/* client - requests over HTTP and HTTPS, many at a time, beside everything else (libcurl's multi interface).
 *
 *     http_send -> http_fds, http_deadline_ms, http_turn ... -> sink (as bytes come) ... -> done, once
 *
 * Nothing waits: the owner polls the one descriptor of http_fds, and calls http_turn when it is readable or the
 * deadline is due. Sinks and done are called in http_turn alone; they may send and abort. A request that fails says so
 * with one sentence and its address, in which no password and no query is shown. A redirect is followed within its own
 * host, port and scheme alone, since the headers may hold a secret. Certificates are checked. Hosts of this machine are
 * asked without a proxy, whatever the environment's http_proxy says. */
#pragma once

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct http http;

/* What came back. The texts live until done returns. */
typedef struct http_answer {
    int status;       /* of the last response: 200, 404, ...; 0: none came */
    error failed;     /* code OK: a whole response came, of whatever status */
    const char *type; /* of its body, as in "application/json; charset=utf-8"; "": not said */
    const char *body; /* terminated; where there is a sink what it was not given: all of it unless the status is 2xx */
    size_t len;
} http_answer;

typedef void http_done(void *ctx, const http_answer *a);
/* Some bytes of the body of a response of status 2xx; type: as http_answer's. */
typedef void http_sink(void *ctx, const char *type, const char *bytes, size_t len);

/* What is asked. http_send copies all of it. */
typedef struct http_request {
    const char *method; /* "GET", "POST", "DELETE" */
    const char *url;
    const char *const *headers; /* "Name: value", NULL-terminated; NULL: none */
    const char *body;           /* terminated; NULL: none */
    int64_t timeout_ms;         /* until its answer is whole; 0: 30,000 */
    size_t max_bytes;           /* of its answer's body; 0: 16 MB */
    http_sink *sink;            /* NULL: the body is done's */
    http_done *done;            /* NULL: whatever comes of it */
    void *ctx;
} http_request;

http *http_new(error *err);
void http_free(http *h); /* gives up what is under way: no done is called */
/* Its number, from 1 on; 0: the address can't be used (ERR_ARGUMENT), or there is no memory. */
uint64_t http_send(http *h, const http_request *r, error *err);
/* Forgets the request, if it is under way: its done is not called. */
void http_abort(http *h, uint64_t id);
/* A header of the answer whose sink or done is running, whatever its case; NULL: it has none of it. */
const char *http_header(http *h, const char *name);

int http_fds(const http *h, struct pollfd *out, int max);
int64_t http_deadline_ms(const http *h); /* when http_turn must be called at the latest; INT64_MAX: nothing to do */
void http_turn(http *h);

/* What of an address may be said: scheme, host, port and path, no user, no password, no query; "an address" for what is
 * none. The caller frees. */
char *http_shown(const char *url);
/* Checks what a user wrote: ERR_ARGUMENT, with a sentence, unless it is an address of http or https with a host. */
int http_check_url(const char *url, error *err);
