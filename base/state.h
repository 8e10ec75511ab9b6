/* SPDX-License-Identifier: MIT */
/* state - what a program remembers, as named numbers: how a checkpoint keeps the memory of many modules in one file.
 *
 *     "troupe state 2\n", then sections          name, version, fields
 *         "trainer"    1    micro_tokens
 *         "mixture"    1    mu
 *         "buckets"    1    objectives = "accuracy brevity", layer.0/steps [2], layer.0/mean [2 x 64], ...
 *
 * One function of a module walks its fields, in both directions: saving it writes them, loading it reads them, so the
 * two can't come apart:
 *
 *     void mixture_state(mixture *m, saved_state *s)
 *     {
 *         state_section(s, "mixture", 1);
 *         state_numbers(s, "mu", &m->mu, 1, 0, 1);
 *     }
 *
 * Sections and fields are found by name: their order in the file says nothing. What is missing, of another version, of
 * another length, out of its range or left over is refused, with a sentence that names section, field and file. The
 * first failure stays and all later calls do nothing, so a walk needs no check of its own; state_end tells of it.
 *
 * Numbers are doubles as this machine writes them: a checkpoint is resumed where it was made. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct saved_state saved_state;

saved_state *state_new(void); /* empty, to save into */
/* A state to load from; all of it is copied. `path` is for error messages. ERR_PARSE: the bytes are not a state, or
 * were cut short. */
saved_state *state_parse(const char *bytes, size_t len, const char *path, error *err);
void state_free(saved_state *s); /* NULL is allowed */

/* What was saved, `len` bytes; the caller frees. */
char *state_bytes(const saved_state *s, size_t *len);
/* Turns a state that was saved into one to load from, or begins loading once more. */
void state_rewind(saved_state *s);
bool state_loading(const saved_state *s);

/* ---- the walk ---- */

/* Begins a section: the fields after it belong to it. */
void state_section(saved_state *s, const char *name, uint32_t version);
/* `n` numbers. When they are loaded each has to lie in [min, max] (from -INFINITY to INFINITY any number is taken, NaN
 * too); `values` changes only when all of them do. */
void state_numbers(saved_state *s, const char *field, double *values, int64_t n, double min, double max);
/* The same for numbers that lie `stride` bytes apart: one member of an array of structs. */
void state_column(saved_state *s, const char *field, double *first, int64_t n, size_t stride, double min, double max);
/* What the section's numbers are of, such as the names of objectives: loading, it must be the same text. */
void state_same(saved_state *s, const char *field, const char *text);

/* Ends the walk, after the last section. Returns OK, or ERR_PARSE and why loading failed. */
int state_end(saved_state *s, error *err);
