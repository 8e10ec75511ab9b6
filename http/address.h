/* SPDX-License-Identifier: MIT */
/* address - what of a URL may be said, and whether two are of one server. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* Scheme, host, port and path: no user, no password, no query. "an address" for what is none. The caller frees. */
char *address_shown(const char *url);
/* The same scheme, host and port. */
bool address_same_server(const char *a, const char *b);
/* Of this machine: localhost, 127.x.y.z, [::1]. */
bool address_is_local(const char *url);
