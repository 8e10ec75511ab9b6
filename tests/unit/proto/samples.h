/* SPDX-License-Identifier: MIT */
/* samples - one message of each type with every field set to something that is not its zero, made by hand. The tests
 * compare with it what went over the wire, and the fuzzer's corpus is its encoding. */
#pragma once

#include <math.h>
#include <string.h>

#include "proto/messages.h"
#include "tests/support/support.h"

static inline task *sample_task(void)
{
    task *t = xcalloc(1, sizeof *t);
    *t = (task){ .id = task_id(true, 3, 5),
                 .group = task_id(true, 3, 4),
                 .sample = 1,
                 .group_size = 4,
                 .step = 3,
                 .eval = true,
                 .prompt_id = UINT64_MAX,
                 .seed = 0x8000000000000001u,
                 .n_shots = 2,
                 .hint = 0.25f,
                 .template_id = 3,
                 .min_version = -1,
                 .max_version = INT64_MAX,
                 .temperature = 0.7f,
                 .max_tokens = INT32_MAX,
                 .attempt = 6,
                 .row = xstrdup("{\"prompt\": \"1+1=\"}") };
    return t;
}

static inline void sample_tokens(trajectory *t)
{
    trajectory_append(t, TOKEN_INSTRUCTION, (const int32_t[]){ 1, 2 }, 2);
    trajectory_append(t, TOKEN_SHOT, (const int32_t[]){ 3 }, 1);
    trajectory_append(t, TOKEN_QUESTION, (const int32_t[]){ 4, INT32_MAX }, 2);
    t->n_prompt = t->n;
    for (int i = 0; i < 3; i++) trajectory_append_sampled(t, 6 + i, -0.1f * (float)(i + 1), 7, 0xfedcba9876543210u);
    trajectory_append(t, TOKEN_OBSERVATION, (const int32_t[]){ 9 }, 1);
    for (int i = 0; i < 2; i++) trajectory_append_sampled(t, 10 + i, -2, 8, 9), trajectory_wrote(t, 300000 + (size_t)i);
}

static inline episode *sample_episode(void)
{
    const task t = { .id = 51, .group = 50, .sample = 1, .step = 9, .eval = true, .prompt_id = 33, .attempt = 4 };
    episode *e = episode_new(&t);
    sample_tokens(&e->tokens);
    char **const texts[] = { &e->environment, &e->data_group, &e->template_name, &e->text,
                             &e->transcript,  &e->answer,     &e->failure_text,  &e->opening };
    static const char *const values[] = { "tools",      "math", "llama3",   "t\xc3\xa4xt",
                                          "transcript", "42",   "it broke", "{\"prompt\": \"2+2\"}" };
    for (int i = 0; i < 8; i++) {
        free(*texts[i]);
        *texts[i] = xstrdup(values[i]);
    }
    *episode_add_turn(e) = (turn){ .text = xstrdup("call"), .start = 5, .end = 8, .call = 1 };
    *episode_add_turn(e) = (turn){ .text = xstrdup(""), .start = 9, .end = 11, .call = -1 };
    for (int i = 0; i < 2; i++)
        *episode_add_call(e) = (tool_call){ .name = xstrdup(i ? "python" : "calculator"),
                                            .arguments = xstrdup("{\"code\": \"1\"}"),
                                            .observation = i ? xstrdup("1") : NULL,
                                            .outcome = i ? xstrdup("{\"done\": true}") : NULL,
                                            .ok = i == 1,
                                            .ms = 1.5 + i };
    e->n_shots = 2, e->hint_len = 3, e->template_id = 2;
    e->stop = STOP_ERROR, e->failed = FAIL_TOOL_LOST;
    e->wall_ms = 12.25, e->tool_ms = 3.5;
    return e;
}

static inline score *sample_score(void)
{
    score *s = xcalloc(1, sizeof *s);
    error err = { 0 };
    *s = (score){ .task = 51, .status = SCORE_SCRIPT, .error = xstrdup("line 3"), .info = xstrdup("{}"), .ms = 0.5 };
    test_ok(score_set(s, "accuracy", 0.1, &err), &err);
    test_ok(score_set(s, "1234567890123456789012345678901", NAN, &err), &err);
    test_ok(score_add_span(s, "accuracy", 3, -0.5, &err), &err);
    test_ok(score_add_span(s, "accuracy", 5, 0.7, &err), &err);
    test_ok(score_add_span(s, "1234567890123456789012345678901", 2, 1, &err), &err);
    return s;
}

static inline void *sample_bytes(size_t len)
{
    unsigned char *bytes = xmalloc(len);
    for (size_t i = 0; i < len; i++) bytes[i] = (unsigned char)(i * 7);
    return bytes;
}

static inline parcel_list sample_parcel_list(void)
{
    parcel_list list = {
        .files = xcalloc(2, sizeof(parcel_file)), .words = xcalloc(1, sizeof(parcel_word)), .n_files = 2, .n_words = 1
    };
    list.files[0] = (parcel_file){ "recipe.lua", 1600, 0xfedcba9876543210u };
    list.files[1] = (parcel_file){ "model/tokenizer.json", (uint64_t)10 << 20, 7 };
    list.words[0].text = xstrdup("rollout.group=8");
    return list;
}

/* A message of `type`; message_reset frees it. */
static inline message sample(message_type type)
{
    message m;
    memset(&m, 0, sizeof m);
    m.type = type;
    switch (type) {
    case MSG_HELLO:
        m.hello = (hello_body){ "actor", "actor-1", "boot-id", PROTOCOL_VERSION, 16, 4711, UINT64_MAX - 1, true };
        break;
    case MSG_WELCOME:
        m.welcome = (welcome_body){ .run = "a run", .seed = UINT64_MAX, .version = 12, .recipe = sample_parcel_list() };
        break;
    case MSG_HEARTBEAT:
        m.heartbeat = (heartbeat_body){ .in_flight = 3, .version = 12, .tokens = (uint64_t)1 << 40, .ping = 77 };
        break;
    case MSG_WANT:
        m.want.slots = UINT32_MAX;
        break;
    case MSG_TASK:
        m.task.task = sample_task();
        break;
    case MSG_EPISODE:
        m.episode.episode = sample_episode();
        break;
    case MSG_EPISODE_ACK:
        m.ack.task = task_id(false, 4, 2);
        break;
    case MSG_SCORE_REQUEST:
        m.score_request = (score_request_body){ .task = sample_task(), .episode = sample_episode() };
        break;
    case MSG_SCORE:
        m.score.score = sample_score();
        break;
    case MSG_WEIGHTS:
        m.weights = (weights_body){
            .version = 12, .hash = 0x123456789abcdefu, .bytes = 4096, .path = "/dev/shm/v12", .host = "boot-id"
        };
        break;
    case MSG_WEIGHTS_GET:
        m.weights_get = (weights_get_body){ .version = 12, .offset = (uint64_t)1 << 33 };
        break;
    case MSG_WEIGHTS_CHUNK:
        m.weights_chunk =
            (weights_chunk_body){ .version = 12, .offset = 100, .total = 164, .data = sample_bytes(64), .len = 64 };
        break;
    case MSG_BYE:
        m.bye = (bye_body){ .reason = "the run is over" };
        break;
    case MSG_GROUP:
        m.group = (group_body){ .id = 9, .prompt_id = UINT64_MAX, .step = -1, .size = 8, .n = 7 };
        break;
    case MSG_RECIPE_GET:
        m.recipe_get = (recipe_get_body){ .file = 3, .offset = (uint64_t)1 << 20 };
        break;
    case MSG_RECIPE_CHUNK:
        m.recipe_chunk = (recipe_chunk_body){ .file = 3, .offset = 100, .data = sample_bytes(64), .len = 64 };
        break;
    case MSG_NONE:
    case N_MESSAGES:
        fail_msg("no message has type %d", (int)type);
    }
    return m;
}
