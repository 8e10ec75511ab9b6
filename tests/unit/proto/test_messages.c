/* SPDX-License-Identifier: MIT */
#include "proto/messages.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "tests/unit/proto/samples.h"

/* ---- what comes out is what went in ---- */

static void same_text(const char *got, const char *want, const char *what)
{
    if (!want != !got || (want && strcmp(got, want) != 0))
        fail_msg("%s: found '%s', not '%s'", what, got ? got : "(none)", want ? want : "(none)");
    if (want) assert_ptr_not_equal(got, want);
}

static void same_task(const task *got, const task *want)
{
    task a = *got;
    same_text(got->row, want->row, "row");
    a.row = want->row;
    assert_memory_equal(&a, want, sizeof a); /* a field that the wire forgets would be zero here */
}

static void same_tokens(const trajectory *got, const trajectory *want)
{
    assert_true(got->n == want->n && got->n_segments == want->n_segments && got->n_prompt == want->n_prompt);
    assert_memory_equal(got->ids, want->ids, want->n * sizeof *want->ids);
    assert_memory_equal(got->logprob, want->logprob, want->n * sizeof *want->logprob);
    assert_memory_equal(got->mask, want->mask, want->n);
    assert_memory_equal(got->role, want->role, want->n);
    assert_memory_equal(got->wrote, want->wrote, want->n * sizeof *want->wrote);
    for (uint32_t i = 0; i < want->n_segments; i++)
        assert_memory_equal(&got->segments[i], &want->segments[i], sizeof *want->segments);
}

static void same_turns_and_calls(const episode *got, const episode *want)
{
    assert_true(got->n_turns == want->n_turns && got->n_calls == want->n_calls);
    for (uint32_t i = 0; i < want->n_turns; i++) {
        const turn *a = &got->turns[i], *b = &want->turns[i];
        same_text(a->text, b->text, "turn's text");
        assert_true(a->start == b->start && a->end == b->end && a->call == b->call);
    }
    for (uint32_t i = 0; i < want->n_calls; i++) {
        const tool_call *a = &got->calls[i], *b = &want->calls[i];
        same_text(a->name, b->name, "call's name");
        same_text(a->arguments, b->arguments, "call's arguments");
        same_text(a->observation, b->observation, "call's observation");
        same_text(a->outcome, b->outcome, "call's outcome");
        assert_true(a->ok == b->ok && a->ms == b->ms);
    }
}

static void same_episode(const episode *got, const episode *want)
{
    assert_true(got->id == want->id && got->group == want->group && got->prompt_id == want->prompt_id);
    assert_true(got->sample == want->sample && got->step == want->step && got->eval == want->eval);
    assert_true(got->attempt == want->attempt && got->n_shots == want->n_shots && got->hint_len == want->hint_len);
    assert_int_equal(got->template_id, want->template_id);
    assert_true(got->stop == want->stop && got->failed == want->failed);
    assert_true(got->wall_ms == want->wall_ms && got->tool_ms == want->tool_ms);
    same_text(got->environment, want->environment, "environment");
    same_text(got->data_group, want->data_group, "objective");
    same_text(got->template_name, want->template_name, "template_name");
    same_text(got->text, want->text, "text");
    same_text(got->transcript, want->transcript, "transcript");
    same_text(got->answer, want->answer, "answer");
    same_text(got->failure_text, want->failure_text, "failure_text");
    same_text(got->opening, want->opening, "opening");
    same_turns_and_calls(got, want);
    same_tokens(&got->tokens, &want->tokens);
}

static void same_score(const score *got, const score *want)
{
    assert_true(got->task == want->task && got->status == want->status && got->ms == want->ms);
    same_text(got->error, want->error, "error");
    same_text(got->info, want->info, "info");
    assert_int_equal(got->n_values, want->n_values);
    for (int i = 0; i < want->n_values; i++) {
        const double a = got->values[i].value, b = want->values[i].value;
        assert_string_equal(got->values[i].name, want->values[i].name);
        assert_true(a == b || (isnan(a) && isnan(b)));
    }
    assert_int_equal(got->n_spans, want->n_spans);
    for (uint32_t i = 0; i < want->n_spans; i++) {
        assert_string_equal(got->spans[i].name, want->spans[i].name);
        assert_true(got->spans[i].end == want->spans[i].end && got->spans[i].value == want->spans[i].value);
    }
}

static void same_welcome(const welcome_body *got, const welcome_body *want)
{
    const parcel_list *a = &got->recipe, *b = &want->recipe;
    assert_string_equal(got->run, want->run);
    assert_true(got->seed == want->seed && got->version == want->version);
    assert_true(a->n_files == b->n_files && a->n_words == b->n_words);
    if (b->n_files > 0) assert_memory_equal(a->files, b->files, b->n_files * sizeof *b->files);
    for (uint32_t i = 0; i < b->n_words; i++) same_text(a->words[i].text, b->words[i].text, "word");
}

static void same_message(const message *got, const message *want)
{
    assert_int_equal(got->type, want->type);
    switch (want->type) {
    case MSG_TASK:
        same_task(got->task.task, want->task.task);
        break;
    case MSG_EPISODE:
        same_episode(got->episode.episode, want->episode.episode);
        break;
    case MSG_SCORE_REQUEST:
        same_task(got->score_request.task, want->score_request.task);
        same_episode(got->score_request.episode, want->score_request.episode);
        break;
    case MSG_SCORE:
        same_score(got->score.score, want->score.score);
        break;
    case MSG_WEIGHTS_CHUNK: {
        const weights_chunk_body *a = &got->weights_chunk, *b = &want->weights_chunk;
        assert_true(a->version == b->version && a->offset == b->offset && a->total == b->total && a->len == b->len);
        assert_memory_equal(a->data, b->data, b->len);
        break;
    }
    case MSG_RECIPE_CHUNK: {
        const recipe_chunk_body *a = &got->recipe_chunk, *b = &want->recipe_chunk;
        assert_true(a->file == b->file && a->offset == b->offset && a->len == b->len);
        assert_memory_equal(a->data, b->data, b->len);
        break;
    }
    case MSG_WELCOME:
        same_welcome(&got->welcome, &want->welcome);
        break;
    default: /* nothing is owned: the body is all there is */
        assert_memory_equal(&got->hello, &want->hello, sizeof *got - offsetof(message, hello));
    }
}

static void every_message_comes_back_with_every_field(void **state)
{
    (void)state;
    for (int type = MSG_NONE + 1; type < N_MESSAGES; type++) {
        message m = sample((message_type)type), back;
        str bytes = { 0 };
        error err = { 0 };
        message_encode(&m, &bytes);
        test_ok(message_decode(&back, bytes.data, bytes.len, &err), &err);
        same_message(&back, &m);
        message_reset(&back);
        assert_int_equal(back.type, MSG_NONE);
        message_reset(&m);
        str_free(&bytes);
    }
}

static void the_records_alone_come_back_with_every_field(void **state)
{
    (void)state;
    error err = { 0 };
    str bytes = { 0 };
    episode *e = sample_episode();
    score *s = sample_score();
    episode_encode(e, &bytes);
    episode *e_back = episode_decode(bytes.data, bytes.len, &err);
    if (!e_back) fail_msg("%s", err.text);
    same_episode(e_back, e);
    str_clear(&bytes);
    score_encode(s, &bytes);
    score *s_back = score_decode(bytes.data, bytes.len, &err);
    if (!s_back) fail_msg("%s", err.text);
    same_score(s_back, s);
    assert_null(episode_decode(bytes.data, bytes.len, &err)); /* a score is no episode */
    assert_int_equal(err.code, ERR_PARSE);
    assert_null(score_decode("", 0, &err));
    str_free(&bytes);
    episode_free(e), episode_free(e_back);
    score_free(s), score_free(s_back);
}

/* What an empty episode (the machinery failed before the prompt) looks like must be known to the other side too. */
static void an_episode_of_nothing_comes_back(void **state)
{
    (void)state;
    const task t = { .id = 1 };
    episode *e = episode_new(&t);
    error err = { 0 };
    str bytes = { 0 };
    e->text = xstrdup("");
    e->transcript = xstrdup("");
    episode_encode(e, &bytes);
    episode *back = episode_decode(bytes.data, bytes.len, &err);
    if (!back) fail_msg("%s", err.text);
    same_text(back->answer, NULL, "answer");
    assert_true(back->tokens.n == 0 && back->n_turns == 0 && back->n_calls == 0);
    str_free(&bytes);
    episode_free(e), episode_free(back);
}

/* ---- the bytes of version 5 ----
 *
 * The fuzzer's corpus holds every sample as it was encoded once; TROUPE_WRITE_CORPUS=1 writes it anew, which is right
 * only together with a new field or another PROTOCOL_VERSION. */

static void the_wire_says_what_it_said_when_the_corpus_was_written(void **state)
{
    (void)state;
    const char *source = getenv("TROUPE_SOURCE");
    if (!source) skip();
    for (int type = MSG_NONE + 1; type < N_MESSAGES; type++) {
        char path[1024];
        size_t len = 0;
        message m = sample((message_type)type);
        str bytes = { 0 };
        error err = { 0 };
        message_encode(&m, &bytes);
        snprintf(path, sizeof path, "%s/tests/fuzz/corpus/message/%s.bin", source, message_name((message_type)type));
        if (getenv("TROUPE_WRITE_CORPUS")) test_ok(file_write_atomic(path, bytes.data, bytes.len, &err), &err);
        char *known = file_read(path, 1 << 20, &len, &err);
        if (!known) fail_msg("%s", err.text);
        if (len != bytes.len || memcmp(known, bytes.data, len) != 0)
            fail_msg("%s is encoded in another way than in %s", message_name((message_type)type), path);
        free(known);
        message_reset(&m);
        str_free(&bytes);
    }
}

/* ---- refusals ---- */

/* Encodes `m` (and frees it) and expects its decoding to be refused with `about` in the sentence. */
static void must_refuse(message m, const char *about)
{
    str bytes = { 0 };
    message back;
    error err = { 0 };
    message_encode(&m, &bytes);
    if (message_decode(&back, bytes.data, bytes.len, &err) != ERR_PARSE) fail_msg("was taken, in spite of %s", about);
    if (!strstr(err.text, about)) fail_msg("'%s' does not name '%s'", err.text, about);
    if (!strstr(err.text, message_name(m.type))) fail_msg("'%s' does not name the message", err.text);
    assert_int_equal(back.type, MSG_NONE);
    str_free(&bytes);
    message_reset(&m);
}

static void bytes_that_begin_no_message_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "", "\1", "\0\x80", "\x11\x80", "\xff\x80", "{}" };
    static const size_t lens[] = { 0, 1, 2, 2, 2, 2 };
    assert_int_equal(N_MESSAGES, 0x11);
    for (int i = 0; i < 6; i++) {
        message m;
        error err = { 0 };
        assert_int_equal(message_decode(&m, bad[i], lens[i], &err), ERR_PARSE);
        assert_int_equal(m.type, MSG_NONE);
        assert_int_equal(message_decode(&m, bad[i], lens[i], NULL), ERR_PARSE);
    }
}

static void every_message_that_is_cut_short_or_followed_by_more_is_refused(void **state)
{
    (void)state;
    for (int type = MSG_NONE + 1; type < N_MESSAGES; type++) {
        message m = sample((message_type)type), back;
        str bytes = { 0 };
        error err = { 0 };
        message_encode(&m, &bytes);
        for (size_t len = 0; len < bytes.len; len++) {
            char *exact = xmalloc(len); /* one byte too far is found by the sanitizer */
            memcpy(exact, bytes.data, len);
            assert_int_equal(message_decode(&back, exact, len, &err), ERR_PARSE);
            assert_int_equal(back.type, MSG_NONE);
            free(exact);
        }
        str_putc(&bytes, '\xc0');
        assert_int_equal(message_decode(&back, bytes.data, bytes.len, &err), ERR_PARSE);
        assert_non_null(strstr(err.text, "after the end"));
        message_reset(&m);
        str_free(&bytes);
    }
}

static void a_body_of_another_type_is_refused_by_the_missing_field(void **state)
{
    (void)state;
    for (int type = MSG_NONE + 1; type < N_MESSAGES; type++)
        for (int claimed = MSG_NONE + 1; claimed < N_MESSAGES; claimed++) {
            message m = sample((message_type)type), back;
            str bytes = { 0 };
            error err = { 0 };
            message_encode(&m, &bytes);
            bytes.data[0] = (char)claimed;
            const int rc = message_decode(&back, bytes.data, bytes.len, &err);
            /* a body with all the fields of a smaller one (and no other meaning of them) is that one too */
            const bool within = claimed == type || (claimed == MSG_TASK && type == MSG_SCORE_REQUEST) ||
                                (claimed == MSG_EPISODE && type == MSG_SCORE_REQUEST) ||
                                (claimed == MSG_WANT && type == MSG_HELLO) ||
                                (claimed == MSG_RECIPE_GET && type == MSG_RECIPE_CHUNK) ||
                                (claimed == MSG_WEIGHTS_GET && type == MSG_WEIGHTS_CHUNK);
            if ((rc == OK) != within) fail_msg("%s as %s: %d", message_name(m.type), message_name(claimed), rc);
            if (rc != OK) assert_non_null(strstr(err.text, message_name((message_type)claimed)));
            message_reset(&back);
            message_reset(&m);
            str_free(&bytes);
        }
}

static message hello_with(const char *role, const char *name)
{
    message m = sample(MSG_HELLO);
    memset(m.hello.role, 0, sizeof m.hello.role), memset(m.hello.name, 0, sizeof m.hello.name);
    memcpy(m.hello.role, role, strlen(role)), memcpy(m.hello.name, name, strlen(name));
    return m;
}

static void a_stranger_must_have_a_known_role_and_a_name_fit_for_logs(void **state)
{
    (void)state;
    must_refuse(hello_with("learner", "a"), "'role'");
    must_refuse(hello_with("", "a"), "'role'");
    must_refuse(hello_with("Actor", "a"), "'role'");
    must_refuse(hello_with("actor", ""), "'name'");
    must_refuse(hello_with("actor", "two words"), "'name'");
    must_refuse(hello_with("actor", "line\nline"), "'name'");
    must_refuse(hello_with("actor", "\x1b[31mred"), "'name'");
    must_refuse(hello_with("reward", "\xc3\xa4"), "'name'");
    must_refuse(hello_with("reward", "\x7f"), "'name'");
}

static message request_of_broken_tokens(void)
{
    message m = sample(MSG_SCORE_REQUEST);
    m.score_request.episode->tokens.mask[0] = 1;
    return m;
}

static void records_whose_invariants_are_broken_are_refused(void **state)
{
    (void)state;
    message m;
    m = sample(MSG_TASK), m.task.task->sample = 4, must_refuse(m, "sample 4 of a group of 4");
    m = sample(MSG_TASK), m.task.task->temperature = INFINITY, must_refuse(m, "temperature");
    m = sample(MSG_TASK), m.task.task->row[0] = '[', must_refuse(m, "row is not a JSON object");
    m = sample(MSG_SCORE_REQUEST), m.score_request.task->max_tokens = 0, must_refuse(m, "max_tokens");
    m = sample(MSG_SCORE_REQUEST), m.score_request.episode->turns[0].end = 99, must_refuse(m, "turn 0");
    must_refuse(request_of_broken_tokens(), "token 0");
    m = sample(MSG_SCORE), m.score.score->status = (score_status)3, must_refuse(m, "status 3");
    m = sample(MSG_SCORE), m.score.score->status = (score_status)-1, must_refuse(m, "status -1");
    m = sample(MSG_SCORE), m.score.score->values[0].value = INFINITY, must_refuse(m, "'accuracy' is inf");
    m = sample(MSG_SCORE), m.score.score->values[0].name[0] = 0, must_refuse(m, "objective 0");
}

/* The exchange answers and counts such an episode: it has to see it. */
static void a_broken_episode_is_delivered_for_the_exchange_to_refuse(void **state)
{
    (void)state;
    message m = sample(MSG_EPISODE), back;
    str bytes = { 0 };
    error err = { 0 };
    m.episode.episode->tokens.mask[0] = 1;
    message_encode(&m, &bytes);
    test_ok(message_decode(&back, bytes.data, bytes.len, &err), &err);
    assert_int_equal(episode_check(back.episode.episode, 0, &err), ERR_PARSE);
    message_reset(&back);
    message_reset(&m);
    assert_null(episode_decode(bytes.data + 1, bytes.len - 1, &err)); /* but no store gives it out */
    str_free(&bytes);
}

static void set_text(char **at, size_t len)
{
    free(*at);
    *at = xmalloc(len + 1);
    memset(*at, 'a', len);
    (*at)[len] = 0;
}

static void texts_longer_than_their_limit_are_refused(void **state)
{
    (void)state;
    message m;
    m = sample(MSG_TASK), set_text(&m.task.task->row, MAX_ROW_BYTES + 1), must_refuse(m, "'row'");
    m = sample(MSG_EPISODE), set_text(&m.episode.episode->environment, 4097), must_refuse(m, "'environment'");
    m = sample(MSG_EPISODE), set_text(&m.episode.episode->text, MAX_ROW_BYTES + 1), must_refuse(m, "'text'");
    m = sample(MSG_EPISODE), set_text(&m.episode.episode->calls[1].name, 4097), must_refuse(m, "calls[1]");
    m = sample(MSG_SCORE), set_text(&m.score.score->error, 4097), must_refuse(m, "'error'");
    m = sample(MSG_WEIGHTS_CHUNK);
    free(m.weights_chunk.data);
    m.weights_chunk.len = (4 << 20) + 1;
    m.weights_chunk.data = sample_bytes(m.weights_chunk.len);
    must_refuse(m, "'data'");
}

static void lists_longer_than_their_limit_are_refused(void **state)
{
    (void)state;
    message m = sample(MSG_EPISODE);
    while (m.episode.episode->n_turns < 4097) episode_add_turn(m.episode.episode);
    must_refuse(m, "'turns'");
    m = sample(MSG_EPISODE);
    while (m.episode.episode->n_calls < 4097) episode_add_call(m.episode.episode);
    must_refuse(m, "'calls'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_comes_back_with_every_field),
        cmocka_unit_test(the_records_alone_come_back_with_every_field),
        cmocka_unit_test(an_episode_of_nothing_comes_back),
        cmocka_unit_test(the_wire_says_what_it_said_when_the_corpus_was_written),
        cmocka_unit_test(bytes_that_begin_no_message_are_refused),
        cmocka_unit_test(every_message_that_is_cut_short_or_followed_by_more_is_refused),
        cmocka_unit_test(a_body_of_another_type_is_refused_by_the_missing_field),
        cmocka_unit_test(a_stranger_must_have_a_known_role_and_a_name_fit_for_logs),
        cmocka_unit_test(records_whose_invariants_are_broken_are_refused),
        cmocka_unit_test(a_broken_episode_is_delivered_for_the_exchange_to_refuse),
        cmocka_unit_test(texts_longer_than_their_limit_are_refused),
        cmocka_unit_test(lists_longer_than_their_limit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
