/* SPDX-License-Identifier: MIT */
/* script - a reward script in a VM of this process: load it, call it. Used by the host process alone.
 *
 * The script runs from its first line for each episode, compiled once: its locals, tables and functions are new,
 * libraries are read-only, so that no row can change anything for another. One that returns { score = function,
 * keeps_state = true } runs once and keeps what it has. */
#pragma once

#include "lua/vm.h"
#include "reward/scorer.h"

typedef struct script script;
script *script_new(const scorer_config *config, error *err);
void script_free(script *s);
void script_score(script *s, const task *t, const episode *e, score *out);
bool script_keeps_state(const script *s);
bool script_is_full(const script *s); /* half of its memory is in use between two calls */
const vm *script_vm(const script *s);
/* What a call may take: more for long texts, a millisecond for each KB. */
int64_t script_cpu_ms(int64_t cpu_ms, const task *t, const episode *e);
