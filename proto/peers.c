/* SPDX-License-Identifier: MIT */
#include "proto/peers.h"

#include <string.h>

void peers_free(peers *ps) { vec_free(&ps->all); }

peer *peers_find(const peers *ps, uint32_t id)
{
    for (size_t i = 0; i < ps->all.len; i++)
        if (ps->all.data[i].id == id) return &ps->all.data[i];
    return NULL;
}

peer *peers_find_identity(const peers *ps, const void *identity, size_t len)
{
    for (size_t i = 0; i < ps->all.len; i++) {
        peer *p = &ps->all.data[i];
        if (p->identity_len == len && memcmp(p->identity, identity, len) == 0) return p;
    }
    return NULL;
}

peer *peers_find_name(const peers *ps, const char *name)
{
    for (size_t i = 0; i < ps->all.len; i++) {
        peer *p = &ps->all.data[i];
        if (p->up && !p->hello.for_recipe && strcmp(p->hello.name, name) == 0) return p;
    }
    return NULL;
}

void peers_remove(peers *ps, peer *p) { *p = ps->all.data[--ps->all.len]; }

static bool make_room(peers *ps)
{
    if (ps->all.len < MAX_PEERS) return true;
    for (size_t i = 0; i < ps->all.len; i++) {
        peer *p = &ps->all.data[i];
        if (p->up || peer_owes(p) > 0) continue;
        peers_remove(ps, p);
        return true;
    }
    return false;
}

peer *peers_get(peers *ps, const void *identity, size_t len, int64_t now_ms)
{
    peer *known = peers_find_identity(ps, identity, len);
    if (known || len > MAX_IDENTITY || !make_room(ps)) return known;
    peer p = { .id = ++ps->next, .identity_len = len, .last_heard_ms = now_ms };
    memcpy(p.identity, identity, len);
    vec_push(&ps->all, p);
    return &ps->all.data[ps->all.len - 1];
}

static uint64_t all_owe(const peers *ps)
{
    uint64_t n = 0;
    for (size_t i = 0; i < ps->all.len; i++) n += peer_owes(&ps->all.data[i]);
    return n;
}

bool peers_have_room(const peers *ps, const peer *p, size_t bytes)
{
    if (bytes >= BIG_BYTES && all_owe(ps) + bytes > ALL_OWED_BYTES) return false;
    return peer_owes(p) == 0 || peer_owes(p) + bytes <= OWED_BYTES;
}

void peer_pinged(peer *p, uint64_t ping, int64_t now_ms)
{
    p->pinged_ms = now_ms;
    p->ping = ping;
    p->pinged = p->sent;
}

bool peer_answered(peer *p, uint64_t ping)
{
    if (p->ping == 0 || ping != p->ping) return false;
    p->read = p->pinged;
    p->ping = 0;
    return true;
}
