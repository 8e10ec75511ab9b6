/* SPDX-License-Identifier: MIT */
/* last_line - which line of its script a process was at when it crashed, or was asked before it is killed.
 *
 *     host:  last_line_tell     a handler writes "reward.lua:12" into a pipe: on SIGSEGV and its like, and on SIGXCPU
 *     scorer: last_line_read    what came by the pipe
 *
 * A function in C that does not end can't be stopped, but who called it can be told. The handler only reads Lua's
 * stack; if that is what is broken, the process ends a little sooner. */
#pragma once

#include <stddef.h>

#include "lua/vm.h"

enum { LAST_LINE_SIGNAL = 24 /* SIGXCPU: its time is up */, LAST_LINE_MS = 300 };

/* From now on, in this process, of this VM: it is the only one that runs scripts. */
void last_line_tell(const vm *v, int fd);
/* Waits for at most `wait_ms`. "": nothing came. */
void last_line_read(int fd, int wait_ms, char *out, size_t size);
