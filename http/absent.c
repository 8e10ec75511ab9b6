/* SPDX-License-Identifier: MIT */
/* The client of a build without libcurl (http/CMakeLists.txt): there is none, and it says what to install. */
#include "http/client.h"

#include "base/str.h"

http *http_new(error *err)
{
    error_set(err, ERR_UNSUPPORTED,
              "this build has no HTTP: install libcurl4-openssl-dev (scripts/install-deps.sh) and build again");
    return NULL;
}

/* Without a client the rest is called by no one. */

void http_free(http *h) { (void)h; }

void http_turn(http *h) { (void)h; }

void http_abort(http *h, uint64_t id)
{
    (void)h;
    (void)id;
}

const char *http_header(http *h, const char *name)
{
    (void)h;
    (void)name;
    return NULL;
}

uint64_t http_send(http *h, const http_request *r, error *err)
{
    (void)h;
    (void)r;
    http_new(err);
    return 0;
}

int http_fds(const http *h, struct pollfd *out, int max)
{
    (void)h;
    (void)out;
    (void)max;
    return 0;
}

int64_t http_deadline_ms(const http *h)
{
    (void)h;
    return INT64_MAX;
}

int http_check_url(const char *url, error *err)
{
    (void)url;
    http_new(err);
    return ERR_UNSUPPORTED;
}

char *http_shown(const char *url)
{
    (void)url;
    return xstrdup("an address");
}
