/* SPDX-License-Identifier: MIT */
/* address - whether two URLs are of one server, and one of this machine. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* The same scheme, host and port. */
bool address_same_server(const char *a, const char *b);
/* Of this machine: localhost, 127.x.y.z, [::1]. */
bool address_is_local(const char *url);
