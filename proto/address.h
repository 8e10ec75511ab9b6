/* SPDX-License-Identifier: MIT */
/* address - which addresses keep the wire on this machine.
 *
 * There are no keys yet, so whoever can connect is believed to be ours. Two kinds of address keep others out:
 *
 *     ipc:///path/of/socket     a socket file, which only its owner may open (it is made with mode 0600)
 *     tcp://127.0.0.1:5555      loopback: 127.a.b.c, localhost or [::1]; any user of this machine may connect.
 *                               To bind, the port may be *: a free one is taken, and written to the log
 *
 * Everything else is refused with a sentence: abstract sockets (ipc://@name), which no file mode protects; host names,
 * which may resolve to anything; all interfaces (0.0.0.0, *, [::]). */
#pragma once

#include <stdbool.h>

#include "base/error.h"

enum { ADDRESS_BYTES = 256 };

/* The address as libzmq is to be given it ("localhost" is written out: it binds to numbers only). ERR_UNSUPPORTED for
 * one that leaves this machine or is open to others, ERR_ARGUMENT for one that can't be an address. */
int address_local(const char *address, bool binds, char out[ADDRESS_BYTES], error *err);
/* Whether a server may bind to `local`, an address of address_local's: binding to an ipc path removes what is there, so
 * anything but a socket is refused. */
int address_vacant(const char *local, error *err);
