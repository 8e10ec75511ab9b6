/* SPDX-License-Identifier: MIT */
/* messages - what the processes say to each other. Names, types and limits are in messages.def; the records that travel
 * are rollout/'s, every field of them. A message owns what it points to. */
#pragma once

#include <stdbool.h>

#include "base/str.h"
#include "rollout/episode.h"
#include "rollout/score.h"
#include "rollout/task.h"

enum { PROTOCOL_VERSION = 5, PARCEL_NAME = 80 };

typedef enum message_type {
    MSG_NONE,
#define MESSAGE(NAME, member, senders) MSG_##NAME,
#define FIELD(...)
#define RECORD(...)
#define BYTES(...)
#define INSIDE(...)
#include "proto/messages.def"
#undef MESSAGE
#undef FIELD
#undef RECORD
#undef BYTES
#undef INSIDE
    N_MESSAGES
} message_type;

typedef struct hello_body {
    char role[16], name[64], host[80];
    uint32_t protocol, slots;
    int64_t pid;
    uint64_t life;
    bool for_recipe; /* it comes for the recipe alone, and neither plays nor scores on this connection */
} hello_body;

/* What a worker needs of the recipe, by names, sizes and hashes (proto/parcel.h). */
typedef struct parcel_file {
    char name[PARCEL_NAME];
    uint64_t bytes, hash;
} parcel_file;
typedef struct parcel_word {
    char *text; /* "key=value" */
} parcel_word;
typedef struct parcel_list {
    parcel_file *files;
    parcel_word *words;
    uint32_t n_files, n_words;
} parcel_list;

typedef struct welcome_body {
    char run[80];
    uint64_t seed;
    int64_t version;
    parcel_list recipe;
} welcome_body;
typedef struct heartbeat_body {
    uint32_t in_flight;
    int64_t version;
    uint64_t tokens; /* an actor's: prefilled and sampled since it began */
    uint64_t ping;
} heartbeat_body;
typedef struct want_body {
    uint32_t slots;
} want_body;
typedef struct task_body {
    task *task;
} task_body;
typedef struct episode_body {
    episode *episode;
} episode_body;
typedef struct ack_body {
    uint64_t task;
} ack_body;
typedef struct score_request_body {
    task *task;
    episode *episode;
} score_request_body;
typedef struct score_body {
    score *score;
} score_body;
typedef struct weights_body {
    int64_t version;
    uint64_t hash, bytes;
    char path[256], host[80];
} weights_body;
typedef struct weights_get_body {
    int64_t version;
    uint64_t offset;
} weights_get_body;
typedef struct weights_chunk_body {
    int64_t version;
    uint64_t offset, total;
    void *data;
    size_t len;
} weights_chunk_body;
typedef struct recipe_get_body {
    uint32_t file; /* its place in the list */
    uint64_t offset;
} recipe_get_body;
typedef struct recipe_chunk_body {
    uint32_t file;
    uint64_t offset;
    void *data;
    size_t len;
} recipe_chunk_body;
typedef struct group_body {
    uint64_t id, prompt_id;
    int64_t step;
    uint32_t size, n;
} group_body;
/* A reason that begins so is no farewell: the exchange wants no more of this worker, who ends as one that failed. */
#define BYE_DISMISSED "dismissed: "
typedef struct bye_body {
    char reason[256];
} bye_body;

typedef struct message {
    message_type type;
    union {
        hello_body hello;
        welcome_body welcome;
        heartbeat_body heartbeat;
        want_body want;
        task_body task;
        episode_body episode;
        ack_body ack;
        score_request_body score_request;
        score_body score;
        weights_body weights;
        weights_get_body weights_get;
        weights_chunk_body weights_chunk;
        group_body group;
        bye_body bye;
        recipe_get_body recipe_get;
        recipe_chunk_body recipe_chunk;
    };
} message;

/* Which role sends messages of a type: from others they are refused. BY_LEARNER: to other learners alone, never to an
 * endpoint. BY_RECIPELESS: who came for the recipe. */
enum {
    BY_ACTOR = 1,
    BY_REWARD = 2,
    BY_EXCHANGE = 4,
    BY_LEARNER = 8,
    BY_RECIPELESS = 16,
    BY_ANYBODY = BY_ACTOR | BY_REWARD | BY_EXCHANGE | BY_RECIPELESS
};

const char *message_name(message_type type);
unsigned message_senders(message_type type); /* of BY_... */
/* The type of a message's bytes: MSG_NONE when they begin none. */
message_type message_type_of(const void *data, size_t len);
/* The task that an EPISODE's or SCORE's bytes speak of, though they may be refused as a whole. 0: can't be told. Reads
 * in place, whatever the length. */
uint64_t message_peek_task(const void *data, size_t len);
/* The protocol of a HELLO's bytes, though it may be one of another version. 0: can't be told. */
uint64_t message_peek_protocol(const void *data, size_t len);
/* One byte of type, then the msgpack map. */
void message_encode(const message *m, str *out);
/* ERR_PARSE names message and field; *m is then empty. Records are checked as far as they can be without a model, but
 * for an EPISODE's: who takes those calls episode_check. */
int message_decode(message *m, const void *data, size_t len, error *err);
void message_reset(message *m);

/* The records alone, as the store keeps them. NULL and ERR_PARSE for bytes that are none. */
void episode_encode(const episode *e, str *out);
episode *episode_decode(const void *data, size_t len, error *err);
void score_encode(const score *s, str *out);
score *score_decode(const void *data, size_t len, error *err);
