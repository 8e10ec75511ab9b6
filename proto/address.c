/* SPDX-License-Identifier: MIT */
#include "proto/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { LONGEST_PATH = (int)sizeof(((struct sockaddr_un *)0)->sun_path) - 1 };

static int leaves(const char *address, const char *why, error *err)
{
    return error_set(err, ERR_UNSUPPORTED,
                     "%s %s, and this build has no keys to protect it (use ipc:///path or tcp://127.0.0.1:PORT)",
                     address, why);
}

static int local_socket(const char *address, const char *path, char out[ADDRESS_BYTES], error *err)
{
    if (*path == '@') return leaves(address, "is an abstract socket, which any user of this machine can open", err);
    if (*path == 0 || *path == '*')
        return error_set(err, ERR_ARGUMENT, "%s names no socket file (use ipc:///path)", address);
    if (strlen(path) > (size_t)LONGEST_PATH)
        return error_set(err, ERR_ARGUMENT, "%s: the path of a socket has %d characters at most, this one has %zu",
                         address, LONGEST_PATH, strlen(path));
    snprintf(out, ADDRESS_BYTES, "ipc://%s", path);
    return OK;
}

static bool is_number(const char *host)
{
    struct in_addr four;
    return inet_pton(AF_INET, host, &four) == 1 && ntohl(four.s_addr) >> 24 == 127;
}

static int check_port(const char *address, const char *port, bool binds, error *err)
{
    const bool digits = *port && strlen(port) <= 5 && port[strspn(port, "0123456789")] == 0;
    if (binds && strcmp(port, "*") == 0) return OK;
    if (digits && atoi(port) >= 1 && atoi(port) <= 65535) return OK;
    return error_set(err, ERR_ARGUMENT, "%s: port '%s' is not 1 to 65535%s", address, port,
                     binds ? " (or * for a free one)" : "");
}

static int loopback(const char *address, const char *rest, bool binds, char out[ADDRESS_BYTES], error *err)
{
    char host[64] = "";
    const char *colon = strrchr(rest, ':');
    const size_t len = colon ? (size_t)(colon - rest) : 0;
    if (len > 0 && len < sizeof host) { /* else it stays "", which is no host of this machine */
        memcpy(host, rest, len);
        host[len] = 0;
    }

    if (strcmp(host, "localhost") == 0) snprintf(host, sizeof host, "127.0.0.1");
    if (!is_number(host) && strcmp(host, "[::1]") != 0) return leaves(address, "leaves this machine", err);
    const int rc = check_port(address, colon + 1, binds, err);
    if (rc == OK) snprintf(out, ADDRESS_BYTES, "tcp://%s:%s", host, colon + 1);
    return rc;
}

int address_local(const char *address, bool binds, char out[ADDRESS_BYTES], error *err)
{
    if (strncmp(address, "ipc://", 6) == 0) return local_socket(address, address + 6, out, err);
    if (strncmp(address, "tcp://", 6) == 0) return loopback(address, address + 6, binds, out, err);
    return leaves(address, "is neither ipc:// nor tcp:// on loopback", err);
}

int address_vacant(const char *local, error *err)
{
    struct stat st;
    if (strncmp(local, "ipc://", 6) != 0 || lstat(local + 6, &st) != 0 || S_ISSOCK(st.st_mode)) return OK;
    return error_set(err, ERR_ARGUMENT, "%s exists and is not a socket: it is not replaced (name another path)",
                     local + 6);
}
