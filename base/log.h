/* SPDX-License-Identifier: MIT */
/* log - one line an event, to one stream: level, role, sentence; or one JSON object a line.
 *
 * There is no global logger: who needs to speak is handed a `logger`. NULL is a logger that says nothing. Lines are
 * written with one write(2) each, so several processes may share a stream. Safe from several threads. */
#pragma once

#include <stdbool.h>

typedef enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } log_level;
typedef struct logger logger;

/* `role` ("learner", "actor-1") goes before every line and is copied. `fd` is borrowed. NULL when memory is short. */
logger *logger_new(int fd, const char *role, log_level min, bool json);
void logger_free(logger *lg);
/* A log that can't be written (a full disk) delays no caller: lines are lost. `fn` is called once, at the first. */
void logger_on_failure(logger *lg, void (*fn)(void *ctx, int errno_value), void *ctx);

void log_at(logger *lg, log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#define log_debug(lg, ...) log_at(lg, LOG_DEBUG, __VA_ARGS__)
#define log_info(lg, ...) log_at(lg, LOG_INFO, __VA_ARGS__)
#define log_warn(lg, ...) log_at(lg, LOG_WARN, __VA_ARGS__)
#define log_error(lg, ...) log_at(lg, LOG_ERROR, __VA_ARGS__)
