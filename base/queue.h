/* SPDX-License-Identifier: MIT */
/* queue - a bounded queue of pointers between two threads. Every wait has a deadline.
 *
 * `queue_fd` is an eventfd that is readable while the queue is not empty, so that a loop can wait for it. */
#pragma once

#include <stddef.h>

typedef struct queue queue;

queue *queue_new(size_t capacity);
void queue_free(queue *q); /* what is still inside is leaked by definition: drain first */
/* OK, ERR_TIMEOUT (full until then), or ERR_STATE (closed). timeout_ms 0: try. */
int queue_push(queue *q, void *item, int timeout_ms);
/* OK and *item, ERR_TIMEOUT, or ERR_STATE (closed and empty). */
int queue_pop(queue *q, void **item, int timeout_ms);
void queue_close(queue *q); /* pushers fail at once, poppers drain */
int queue_fd(const queue *q);
