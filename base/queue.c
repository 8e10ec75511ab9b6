/* SPDX-License-Identifier: MIT */
#include "base/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/str.h"

/* The eventfd holds 1 while there is something to pop (or the queue is closed), 0 otherwise; both only change under the
 * lock, so the descriptor never lies to a loop. */
struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int fd;
    bool closed, signalled;
    size_t capacity, head, n;
    void *ring[];
};

queue *queue_new(size_t capacity)
{
    if (capacity == 0) capacity = 1;
    queue *q = xcalloc(1, sizeof *q + capacity * sizeof q->ring[0]);

    q->capacity = capacity;
    q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->fd < 0) {
        free(q);
        return NULL;
    }

    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC); /* a deadline survives a set of the wall clock */
    pthread_cond_init(&q->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&q->lock, NULL);
    return q;
}

void queue_free(queue *q)
{
    if (!q) return;
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    close(q->fd);
    free(q);
}

static void update_fd(queue *q)
{
    bool want = q->n > 0 || q->closed;
    uint64_t count = 1;
    if (want == q->signalled) return;
    /* Neither can block or fail: the counter is 0 before the write and 1 before the read. */
    ssize_t moved = want ? write(q->fd, &count, sizeof count) : read(q->fd, &count, sizeof count);
    if (moved == sizeof count) q->signalled = want;
}

static struct timespec deadline_after(int timeout_ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += timeout_ms / 1000;
    t.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

static bool has_room(const queue *q) { return q->n < q->capacity || q->closed; }

static bool has_item(const queue *q) { return q->n > 0 || q->closed; }

/* Under the lock: until `ready`, or false when the deadline has passed. */
static bool wait_until(queue *q, bool (*ready)(const queue *), int timeout_ms)
{
    if (timeout_ms <= 0) return ready(q);
    struct timespec deadline = deadline_after(timeout_ms);
    while (!ready(q))
        if (pthread_cond_timedwait(&q->changed, &q->lock, &deadline) == ETIMEDOUT) return ready(q);
    return true;
}

int queue_push(queue *q, void *item, int timeout_ms)
{
    int code = OK;

    pthread_mutex_lock(&q->lock);
    if (!wait_until(q, has_room, timeout_ms)) {
        code = ERR_TIMEOUT;
    } else if (q->closed) {
        code = ERR_STATE;
    } else {
        q->ring[(q->head + q->n++) % q->capacity] = item;
        update_fd(q);
        pthread_cond_broadcast(&q->changed);
    }

    pthread_mutex_unlock(&q->lock);
    return code;
}

int queue_pop(queue *q, void **item, int timeout_ms)
{
    int code = OK;

    pthread_mutex_lock(&q->lock);
    if (!wait_until(q, has_item, timeout_ms)) {
        code = ERR_TIMEOUT;
    } else if (q->n == 0) {
        code = ERR_STATE; /* closed, and nothing is left */
    } else {
        *item = q->ring[q->head];
        q->head = (q->head + 1) % q->capacity;
        q->n--;
        update_fd(q);
        pthread_cond_broadcast(&q->changed);
    }

    pthread_mutex_unlock(&q->lock);
    return code;
}

void queue_close(queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    update_fd(q);
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

int queue_fd(const queue *q) { return q->fd; }
