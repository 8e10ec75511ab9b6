/* SPDX-License-Identifier: MIT */
/* parcel - the files of a recipe on their way from a learner to a worker that has none.
 *
 *     learner   parcel         names, sizes, hashes (the list, in every WELCOME), and the bytes, in memory
 *     wire      RECIPE_GET     file number and offset   ->   RECIPE_CHUNK   1 MiB of it, or what is left
 *     worker    delivery       asks for one chunk after the other, holds each file against its hash, writes it into a
 *                              folder of the worker's own
 *
 * A name is NAME or FOLDER/NAME, of [A-Za-z0-9._-], none beginning with a dot, FOLDER one of prompt, reward, model. So
 * a name from anywhere can lead nowhere but into the worker's folder; files are made there, never replaced or followed.
 *
 * Independent of what is in the files, of sockets and of time: run/pack says what belongs in, run/fetch asks. */
#pragma once

#include <stdbool.h>

#include "proto/messages.h"

enum {
    PARCEL_FILES = 64,
    PARCEL_WORDS = 128,
    PARCEL_WORD_BYTES = 16 << 10,
    PARCEL_BYTES = 64 << 20,      /* of all files together */
    PARCEL_CHUNK_BYTES = 1 << 20, /* of one RECIPE_CHUNK */
    PARCEL_LIST_BYTES = 1 << 20,  /* of a WELCOME with the list in it */
};

/* ---- the list ---- */

/* Whether a list can be one of ours: names, no name twice, numbers, sizes, words like "key=value". ERR_PARSE names the
 * first thing that can't be. */
int parcel_check_list(const parcel_list *list, error *err);
/* Whether who has the files `mine` plays what `theirs` plays. Files that are only in `mine` count for nothing, nor does
 * an empty `theirs` or `mine` (NULL, too). ERR_STATE names the first file that is another. */
int parcel_compare(const parcel_list *theirs, const parcel_list *mine, error *err);
void parcel_list_copy(parcel_list *to, const parcel_list *from);
void parcel_list_reset(parcel_list *list);

/* ---- the learner's ---- */

typedef struct parcel {
    parcel_list list;
    char **data; /* [list.n_files] the bytes of each */
    uint64_t bytes;
} parcel;

parcel *parcel_new(void);
void parcel_free(parcel *p); /* NULL is allowed */
/* Copies what the file at `path` holds. ERR_LIMIT when it is one file, or one byte, too many; ERR_ARGUMENT for a name
 * that can't travel. */
int parcel_add(parcel *p, const char *name, const char *path, error *err);
int parcel_add_word(parcel *p, const char *word, error *err); /* "key=value", copied. ERR_LIMIT */
/* What was asked for. False: there is no such place. `out->data` is the caller's. */
bool parcel_chunk_of(const parcel *p, const recipe_get_body *get, recipe_chunk_body *out);

/* ---- the worker's ---- */

typedef struct delivery delivery;

/* Of what `list` (checked and copied) says, into `folder`, which is there and empty. */
delivery *delivery_new(const parcel_list *list, const char *folder, error *err);
void delivery_free(delivery *d);
/* What is to be asked for now. False: all files are there, whole. */
bool delivery_next(const delivery *d, recipe_get_body *get);
/* A chunk came; an unexpected one changes nothing. ERR_PEER: it does not fit the list, or a file's hash is not
 * the one that was said. ERR_IO. */
int delivery_take(delivery *d, const recipe_chunk_body *chunk, error *err);
