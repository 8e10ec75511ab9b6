/* SPDX-License-Identifier: MIT */
/* Ranks that are processes of one machine, without MPI: a Unix socket between every two. They find each other in a
 * folder, and whoever is the last to come is waited for. A rank whose peer is gone ends with RANK_AGAIN: there is none
 * that could continue alone, and who watches them starts them again from the last checkpoint.
 *
 * A rank that fails and lives sends REGROUP to all, after what it was sending. Whoever reads that in place of what it
 * waits for leaves its call, sends REGROUP too, and drops what comes until it has received it from every rank. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/frame.h"
#include "base/str.h"
#include "learner/comm.h"

/* The type of a frame is the operation that its numbers are of. */
typedef enum operation { MEET = 1, GATHER, GATHER_PIECES, EXCHANGE, BROADCAST, REGROUP } operation;

/* What is still to go to a peer, and to come from it. */
typedef struct lane {
    int fd; /* -1: the rank itself */
    bool sends, receives;
    frame_out out;
    frame_in in;
    bool regroup_sent; /* REGROUP is on its way, or there */
    uint64_t skip;     /* bytes of a dropped frame that are still to come */
} lane;

typedef struct local {
    lane *lanes; /* [size] */
    int rank, size;
    comm *self;                /* whose table this is */
    void *mine;                /* what is gathered: its sender may leave the call before all of it is sent */
    size_t room;               /* of mine */
    const void *regroup_words; /* what REGROUP carries; borrowed while ranks regroup */
} local;

/* ---- moving bytes ---- */

static void peer_lost(int rank)
{
    fprintf(stderr,
            "troupe: learner: learner %d has closed its connection: all learners start again from the last checkpoint "
            "('troupe train' does it; those started by hand: each once more, with --resume)\n",
            rank + 1); /* people count from 1, as the logs do */
    fflush(NULL);
    _exit(RANK_AGAIN);
}

/* Two ranks that are not in the same operation have lost each other: what comes is not what is waited for. */
static void out_of_step(int rank, const lane *l)
{
    fprintf(stderr,
            "troupe: learner: learner %d sent operation %d with %" PRIu64 " bytes, expected %d with %" PRIu64
            ": it is not in the same step\n",
            rank + 1, frame_type(l->in.head), frame_length(l->in.head), frame_type(l->in.expected),
            frame_length(l->in.expected));
    fflush(NULL);
    _exit(RANK_AGAIN);
}

/* Another rank has failed: this one is called out of what it does. */
static void leave(const local *c, int rank)
{
    if (c->self && c->self->leave) c->self->leave(c->self->leave_ctx);
    peer_lost(rank);
}

static void move_lane(const local *c, lane *l, int rank)
{
    const frame_state out = l->sends ? frame_out_move(&l->out, l->fd) : FRAME_DONE;
    const frame_state in = l->receives ? frame_in_move(&l->in, l->fd) : FRAME_DONE;
    if (out == FRAME_GONE || in == FRAME_GONE) peer_lost(rank);
    if (in == FRAME_FOREIGN && frame_type(l->in.head) == REGROUP) leave(c, rank);
    if (in == FRAME_FOREIGN) out_of_step(rank, l);
    l->sends = out == FRAME_WAITS;
    l->receives = in == FRAME_WAITS;
}

/* Until all lanes are empty, or nothing moves. True: they are empty. */
static bool move(local *c, void (*move_one)(const local *c, lane *l, int rank), bool wait)
{
    struct pollfd *fds = xcalloc((size_t)c->size, sizeof *fds);
    bool over;

    do {
        over = true;
        for (int r = 0; r < c->size; r++) {
            lane *l = &c->lanes[r];
            move_one(c, l, r);
            const int events = (l->sends ? POLLOUT : 0) | (l->receives ? POLLIN : 0);
            fds[r] = (struct pollfd){ .fd = events ? l->fd : -1, .events = (short)events };
            over &= !events;
        }
    } while (!over && wait && (poll(fds, (nfds_t)c->size, -1) > 0 || errno == EINTR));

    free(fds);
    return over;
}

/* 0 bytes: nothing goes, or comes, that way. */
static void set_lane(local *c, int r, operation o, const void *out, size_t out_bytes, void *in, size_t in_bytes)
{
    lane *l = &c->lanes[r];
    assert(!l->sends && !l->receives); /* one thing at a time */
    if (r == c->rank) {
        if (in_bytes > 0 && in != out) memcpy(in, out, in_bytes);
        return;
    }

    l->sends = out_bytes > 0;
    l->receives = in_bytes > 0;
    frame_out_begin(&l->out, (uint8_t)o, out, out_bytes);
    frame_in_begin(&l->in, (uint8_t)o, in, in_bytes);
}

/* A copy that lives as long as we do. */
static const void *keep(local *c, const void *mine, size_t bytes)
{
    if (bytes > c->room) {
        free(c->mine);
        c->mine = xmalloc(c->room = bytes);
    }
    if (bytes > 0) memcpy(c->mine, mine, bytes);
    return c->mine;
}

/* ---- comm's operations ---- */

static void local_gather(void *ctx, const void *mine, size_t bytes, void *all)
{
    local *c = ctx;
    const void *kept = keep(c, mine, bytes);
    for (int r = 0; r < c->size; r++) set_lane(c, r, GATHER, kept, bytes, (char *)all + (size_t)r * bytes, bytes);
    move(c, move_lane, true);
}

static void local_gather_pieces(void *ctx, float *whole, const int64_t *begins)
{
    local *c = ctx;
    const size_t own = sizeof *whole * (size_t)(begins[c->rank + 1] - begins[c->rank]);
    for (int r = 0; r < c->size; r++)
        set_lane(c, r, GATHER_PIECES, whole + begins[c->rank], own, whole + begins[r],
                 sizeof *whole * (size_t)(begins[r + 1] - begins[r]));
    move(c, move_lane, true);
}

static void local_broadcast(void *ctx, void *bytes, size_t n)
{
    local *c = ctx;
    for (int r = 0; r < c->size; r++)
        set_lane(c, r, BROADCAST, bytes, c->rank == 0 ? n : 0, bytes, c->rank != 0 && r == 0 ? n : 0);
    move(c, move_lane, true);
}

static void *local_exchange(void *ctx, const comm_exchange *x)
{
    local *c = ctx;
    const float *out = x->out;
    float *in = x->in;
    for (int r = 0; r < c->size; r++) {
        set_lane(c, r, EXCHANGE, out, sizeof *out * (size_t)x->n_out[r], in, sizeof *in * (size_t)x->n_in[r]);
        out += x->n_out[r];
        in += x->n_in[r];
    }
    move(c, move_lane, false);
    return c;
}

static bool local_exchanged(void *ctx, void *pending, bool wait)
{
    (void)pending;
    return move(ctx, move_lane, wait);
}

/* What a peer has sent is left for the call that it is of: its hanging up shows beside that. */
static void local_watch(void *ctx)
{
    const local *c = ctx;
    for (int r = 0; r < c->size; r++) {
        struct pollfd p = { .fd = c->lanes[r].fd, .events = POLLRDHUP }; /* -1, the rank itself: nothing */
        if (poll(&p, 1, 0) > 0) peer_lost(r);
    }
}

/* ---- after a failure ---- */

/* Sends the rest of a frame that was begun, then REGROUP. */
static frame_state send_regroup(const local *c, lane *l, size_t bytes)
{
    frame_state state = l->sends ? frame_out_move(&l->out, l->fd) : FRAME_DONE;
    if (state != FRAME_DONE || l->regroup_sent) return state;
    l->regroup_sent = true;
    frame_out_begin(&l->out, REGROUP, c->regroup_words, bytes);
    return frame_out_move(&l->out, l->fd);
}

/* Drops frames until one is REGROUP. */
static frame_state receive_regroup(lane *l)
{
    for (;;) {
        frame_state state = frame_skip(l->fd, &l->skip);
        if (state != FRAME_DONE) return state;
        char *const to = l->in.payload;
        const size_t bytes = (size_t)frame_length(l->in.expected);
        state = frame_in_move(&l->in, l->fd);
        if (state != FRAME_FOREIGN || frame_type(l->in.head) == REGROUP) return state;
        l->skip = frame_length(l->in.head);
        frame_in_begin(&l->in, REGROUP, to, bytes);
    }
}

static void regroup_lane(const local *c, lane *l, int rank)
{
    if (l->fd < 0) return;
    const frame_state out = send_regroup(c, l, (size_t)frame_length(l->in.expected));
    const frame_state in = l->receives ? receive_regroup(l) : FRAME_DONE;
    if (out == FRAME_GONE || in == FRAME_GONE) peer_lost(rank);
    if (in == FRAME_FOREIGN) out_of_step(rank, l);
    l->sends = out == FRAME_WAITS;
    l->receives = in == FRAME_WAITS;
}

/* What comes by this lane is dropped up to REGROUP, with the rest of a frame whose head has been read. That head may be
 * REGROUP's own. */
static void expect_regroup(lane *l, void *to, size_t bytes)
{
    const frame_in before = l->in;
    const bool begun = l->receives && before.head_left < FRAME_HEAD;
    const bool whole = begun && before.head_left == 0, ours = whole && frame_type(before.head) != REGROUP;
    l->regroup_sent = false;
    l->receives = true;
    l->skip = ours ? before.left : 0;
    frame_in_begin(&l->in, REGROUP, to, bytes);
    if (!begun || ours) return;
    memcpy(l->in.head, before.head, sizeof before.head);
    l->in.head_left = before.head_left;
}

static void local_regroup(void *ctx, const void *mine, size_t bytes, void *all)
{
    local *c = ctx;
    for (int r = 0; r < c->size; r++)
        if (r != c->rank) expect_regroup(&c->lanes[r], (char *)all + (size_t)r * bytes, bytes);
    memcpy((char *)all + (size_t)c->rank * bytes, mine, bytes);

    c->regroup_words = mine;
    move(c, regroup_lane, true);
    c->regroup_words = NULL;
}

static void local_close(void *ctx)
{
    local *c = ctx;
    free(c->mine);
    for (int r = 0; r < c->size; r++)
        if (c->lanes[r].fd >= 0) close(c->lanes[r].fd);
    free(c->lanes);
    free(c);
}

/* ---- the rendezvous ---- */

typedef struct rendezvous {
    const char *folder;
    int64_t deadline_ms;
    error *err;
} rendezvous;

static int address_of(const rendezvous *m, int rank, const char *suffix, struct sockaddr_un *a)
{
    *a = (struct sockaddr_un){ .sun_family = AF_UNIX };
    const int n = snprintf(a->sun_path, sizeof a->sun_path, "%s/learner-%d%s", m->folder, rank, suffix);
    if (n > 0 && (size_t)n < sizeof a->sun_path) return OK;
    return error_set(m->err, ERR_ARGUMENT, "%s: the path is too long for a socket", m->folder);
}

/* Until it can be read; false when time is up. Ctrl-C ends a process that waits here: there is nothing to save yet. */
static bool readable(const rendezvous *m, int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    sigset_t none;
    int n;
    sigemptyset(&none);
    do {
        const int64_t left = m->deadline_ms - clock_ms();
        const struct timespec patience = { .tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000 };
        if (left <= 0) return false;
        n = ppoll(&p, 1, &patience, &none);
    } while (n < 0 && errno == EINTR);
    return n > 0;
}

static int timed_out(const rendezvous *m, int rank)
{
    if (rank < 0) return error_set(m->err, ERR_PEER, "not all learners connected in %s", m->folder);
    return error_set(m->err, ERR_PEER, "learner %d did not connect in %s", rank + 1, m->folder);
}

/* The socket comes to its name when it can be connected to. */
static int listen_at(const rendezvous *m, int rank, int size)
{
    struct sockaddr_un hidden, name;
    if (address_of(m, rank, ".new", &hidden) != OK || address_of(m, rank, "", &name) != OK) return -1;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(hidden.sun_path);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&hidden, sizeof hidden) == 0 && listen(fd, size) == 0 &&
        rename(hidden.sun_path, name.sun_path) == 0)
        return fd;
    error_sys(m->err, errno, "%s", name.sun_path);
    if (fd >= 0) close(fd);
    return -1;
}

static int connect_to(const rendezvous *m, const struct sockaddr_un *a)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)a, sizeof *a) == 0) return fd;
    const int why = errno;
    if (fd >= 0) close(fd);
    if (why != ENOENT && why != ECONNREFUSED) error_sys(m->err, why, "%s", a->sun_path);
    return why == ENOENT || why == ECONNREFUSED ? -1 : -2;
}

/* Who I am: MEET and a number. */
static int send_rank(const rendezvous *m, int fd, int own)
{
    char body[1 + sizeof own] = { MEET };
    memcpy(body + 1, &own, sizeof own);
    return frame_send(fd, body, sizeof body, m->deadline_ms);
}

/* -1: it says something else, or nothing. */
static int receive_rank(const rendezvous *m, int fd)
{
    char *body = NULL;
    size_t len = 0;
    int who = -1;
    if (frame_receive(fd, 1 + sizeof who, &body, &len, m->deadline_ms) != OK) return -1;
    if (len == 1 + sizeof who && body[0] == MEET) memcpy(&who, body + 1, sizeof who);
    free(body);
    return who;
}

/* A descriptor to a lower rank, which may not be there yet: every new name in the folder is a reason to look again. */
static int connect_to_rank(const rendezvous *m, int rank, int own)
{
    struct sockaddr_un a;
    char events[4096];
    if (address_of(m, rank, "", &a) != OK) return -1;

    /* The watch comes first: a name that appears between a look and the watch would be missed. */
    const int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch < 0 || inotify_add_watch(watch, m->folder, IN_MOVED_TO) < 0) {
        error_sys(m->err, errno, "%s", m->folder);
        if (watch >= 0) close(watch);
        return -1;
    }

    int fd;
    while ((fd = connect_to(m, &a)) == -1 && readable(m, watch))
        while (read(watch, events, sizeof events) > 0) { /* what it says is not needed */
        }
    close(watch);

    if (fd == -1) timed_out(m, rank);
    if (fd < 0) return -1;
    if (send_rank(m, fd, own) != OK) peer_lost(rank);
    return fd;
}

/* Takes the next of the higher ranks in. */
static int accept_rank(const rendezvous *m, local *c, int listening)
{
    if (!readable(m, listening)) return timed_out(m, -1);
    const int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    const int who = fd >= 0 && readable(m, fd) ? receive_rank(m, fd) : -1;
    if (who > c->rank && who < c->size && c->lanes[who].fd < 0) {
        c->lanes[who].fd = fd;
        return OK;
    }
    if (fd >= 0) close(fd);
    return error_set(m->err, ERR_PEER, "%s: unexpected or duplicate learner (another run in this folder?)", m->folder);
}

static int meet_all(const rendezvous *m, local *c)
{
    struct sockaddr_un name;
    const int listening = listen_at(m, c->rank, c->size);
    int rc = listening >= 0 ? address_of(m, c->rank, "", &name) : ERR_PEER;
    for (int r = 0; rc == OK && r < c->rank; r++)
        rc = (c->lanes[r].fd = connect_to_rank(m, r, c->rank)) >= 0 ? OK : ERR_PEER;
    for (int r = c->rank + 1; rc == OK && r < c->size; r++) rc = accept_rank(m, c, listening);
    if (listening >= 0) close(listening);
    if (rc == OK) unlink(name.sun_path); /* a rank that is started again must not find this one */
    return rc;
}

comm *comm_local(const char *folder, int rank, int size, int patience_ms, error *err)
{
    static const struct comm_ops OPS = {
        .gather = local_gather,
        .gather_pieces = local_gather_pieces,
        .exchange = local_exchange,
        .exchanged = local_exchanged,
        .broadcast = local_broadcast,
        .close = local_close,
        .regroup = local_regroup,
        .watch = local_watch,
    };
    error own = { 0 };
    const rendezvous m = { .folder = folder, .deadline_ms = clock_ms() + patience_ms, .err = err ? err : &own };
    local *c = xcalloc(1, sizeof *c);
    *c = (local){ .lanes = xcalloc((size_t)size, sizeof *c->lanes), .rank = rank, .size = size };
    for (int r = 0; r < size; r++) c->lanes[r].fd = -1;
    if (meet_all(&m, c) != OK) {
        local_close(c);
        return NULL;
    }

    comm *out = xcalloc(1, sizeof *out);
    *out = (comm){ .ops = &OPS, .ctx = c, .rank = rank, .size = size };
    c->self = out;
    return out;
}
