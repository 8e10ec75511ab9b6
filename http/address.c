/* SPDX-License-Identifier: MIT */
#include "http/address.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "http/client.h"
#include "http/library.h"

/* What is not known to be there is asked for by the two that others call: http_shown, http_check_url. */
static const curl_library *curl(void) { return curl_library_get(NULL); }

/* NULL: it is none. */
static CURLU *parsed(const char *url)
{
    CURLU *u = curl()->url();
    if (u && curl()->url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK) return u;
    curl()->url_cleanup(u);
    return NULL;
}

/* The caller frees it with curl_free; NULL: it has no such part. */
static char *part_of(CURLU *u, CURLUPart part)
{
    char *text = NULL;
    const unsigned flags = part == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0;
    return curl()->url_get(u, part, &text, flags) == CURLUE_OK ? text : NULL;
}

char *http_shown(const char *url)
{
    static const CURLUPart SECRET[] = { CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_OPTIONS, CURLUPART_QUERY,
                                        CURLUPART_FRAGMENT };
    if (!curl()) return xstrdup("an address");
    CURLU *u = parsed(url);
    for (size_t i = 0; u && i < sizeof SECRET / sizeof *SECRET; i++) curl()->url_set(u, SECRET[i], NULL, 0);
    char *whole = u ? part_of(u, CURLUPART_URL) : NULL;
    char *shown = xstrdup(whole ? whole : "an address");
    curl()->free(whole);
    curl()->url_cleanup(u);
    return shown;
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart part)
{
    char *one = part_of(a, part), *other = part_of(b, part);
    const bool same = one && other && strcasecmp(one, other) == 0;
    curl()->free(one);
    curl()->free(other);
    return same;
}

bool address_same_server(const char *a, const char *b)
{
    CURLU *one = parsed(a), *other = parsed(b);
    const bool same = one && other && same_part(one, other, CURLUPART_SCHEME) &&
                      same_part(one, other, CURLUPART_HOST) && same_part(one, other, CURLUPART_PORT);
    curl()->url_cleanup(one);
    curl()->url_cleanup(other);
    return same;
}

bool address_is_local(const char *url)
{
    CURLU *u = parsed(url);
    char *host = u ? part_of(u, CURLUPART_HOST) : NULL;
    const bool local = host && (strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
                                (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == strlen(host)));
    curl()->free(host);
    curl()->url_cleanup(u);
    return local;
}

int http_check_url(const char *url, error *err)
{
    if (!curl_library_get(err)) return ERR_UNSUPPORTED;
    CURLU *u = parsed(url);
    char *scheme = u ? part_of(u, CURLUPART_SCHEME) : NULL, *host = u ? part_of(u, CURLUPART_HOST) : NULL;
    const bool good = host && scheme && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl()->free(scheme);
    curl()->free(host);
    curl()->url_cleanup(u);
    if (good) return OK;
    char *shown = http_shown(url);
    error_set(err, ERR_ARGUMENT, "%.200s is not an address of http or https, such as http://127.0.0.1:8000/mcp", shown);
    free(shown);
    return ERR_ARGUMENT;
}
