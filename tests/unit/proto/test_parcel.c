/* SPDX-License-Identifier: MIT */
#include "proto/parcel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "tests/support/support.h"

/* ---- names ---- */

static parcel_list list_of(parcel_file *files, uint32_t n) { return (parcel_list){ .files = files, .n_files = n }; }

static void must_be_refused(const char *name, const char *about)
{
    error err = { 0 };
    parcel_file files[2] = { { .name = "recipe.lua", .bytes = 1 }, { .bytes = 1 } };
    snprintf(files[1].name, sizeof files[1].name, "%s", name);
    const parcel_list list = list_of(files, 2);
    if (parcel_check_list(&list, &err) != ERR_PARSE) fail_msg("'%s' was taken", name);
    if (!strstr(err.text, about)) fail_msg("'%s' does not name '%s'", err.text, about);
}

static void names_that_lead_anywhere_else_are_refused(void **state)
{
    (void)state;
    static const char *const BAD[] = { "",
                                       ".",
                                       "..",
                                       "../recipe.lua",
                                       "/etc/passwd",
                                       "model/../../x",
                                       "model/..",
                                       "model/.hidden",
                                       "model/",
                                       "model//config.json",
                                       "model/a/b",
                                       "other/config.json",
                                       ".troupe",
                                       "a b",
                                       "a\nb",
                                       "a\\b",
                                       "\xc3\xa4.lua",
                                       "~",
                                       "$HOME" };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) must_be_refused(BAD[i], "are allowed");
    must_be_refused("recipe.lua", "'recipe.lua' occurs twice");
}

/* A file where a folder has to be. */
static void a_file_and_a_folder_of_one_name_are_refused(void **state)
{
    (void)state;
    error err = { 0 };
    parcel_file files[] = { { .name = "model" }, { .name = "model/config.json" } };
    parcel_list list = list_of(files, 2);
    assert_int_equal(parcel_check_list(&list, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "'model' occurs twice"));
}

static void more_than_there_may_be_is_refused_with_the_number(void **state)
{
    (void)state;
    error err = { 0 };
    parcel_file files[PARCEL_FILES + 1] = { 0 };
    for (int i = 0; i <= PARCEL_FILES; i++) snprintf(files[i].name, PARCEL_NAME, "m%d.lua", i);
    parcel_list list = list_of(files, PARCEL_FILES);
    test_ok(parcel_check_list(&list, &err), &err);
    list.n_files++;
    assert_int_equal(parcel_check_list(&list, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "65 files (at most 64 are allowed)"));

    list.n_files = 2;
    files[0].bytes = PARCEL_BYTES, files[1].bytes = 0;
    test_ok(parcel_check_list(&list, &err), &err);
    files[1].bytes = 1;
    assert_int_equal(parcel_check_list(&list, &err), ERR_PARSE);
    assert_non_null(strstr(err.text, "at most 64 MB are allowed in all"));
    files[0].bytes = 1, files[1].bytes = UINT64_MAX; /* their sum is 0 */
    assert_int_equal(parcel_check_list(&list, &err), ERR_PARSE);
}

static void words_are_keys_with_values(void **state)
{
    (void)state;
    static const char *const BAD[] = { "", "=", "=x", "key", "a b=c", "--connect=x", "a-b=c", NULL };
    error err = { 0 };
    parcel_word word = { "rollout.group=8 or so" };
    parcel_list list = { .words = &word, .n_words = 1 };
    test_ok(parcel_check_list(&list, &err), &err);
    for (int i = 0; i < 8; i++) {
        word.text = (char *)(uintptr_t)BAD[i];
        assert_int_equal(parcel_check_list(&list, &err), ERR_PARSE);
        assert_non_null(strstr(err.text, "word 1"));
    }
    list.n_words = PARCEL_WORDS + 1;
    assert_int_equal(parcel_check_list(&list, &err), ERR_PARSE);
}

/* ---- whether two play the same ---- */

static void who_has_another_file_is_told_which(void **state)
{
    (void)state;
    error err = { 0 };
    parcel_file theirs[] = { { "recipe.lua", 10, 1 }, { "model/tokenizer.json", 20, 2 } };
    parcel_file mine[] = { { "model/tokenizer.json", 20, 2 }, { "more.lua", 5, 5 }, { "recipe.lua", 10, 1 } };
    const parcel_list a = list_of(theirs, 2), b = list_of(mine, 3), none = { 0 };
    test_ok(parcel_compare(&a, &b, &err), &err);
    test_ok(parcel_compare(&a, &none, &err), &err); /* who can't tell is believed */
    test_ok(parcel_compare(&a, NULL, &err), &err);
    test_ok(parcel_compare(&none, &b, &err), &err);
    mine[0].hash = 3;
    assert_int_equal(parcel_compare(&a, &b, &err), ERR_STATE);
    assert_non_null(strstr(err.text, "model/tokenizer.json is not the learner's"));
    mine[0].hash = 2, mine[0].bytes = 21;
    assert_int_equal(parcel_compare(&a, &b, &err), ERR_STATE);
    const parcel_list less = list_of(mine + 1, 2);
    assert_int_equal(parcel_compare(&a, &less, &err), ERR_STATE);
    assert_non_null(strstr(err.text, "is missing here"));
}

/* ---- from one end to the other ---- */

typedef struct scene {
    char *from, *to;
    parcel *parcel;
} scene;

static void add_bytes(scene *s, const char *name, const char *content, size_t len)
{
    char path[400];
    error err = { 0 };
    snprintf(path, sizeof path, "%s/file", s->from);
    test_ok(file_write_atomic(path, content, len, &err), &err);
    test_ok(parcel_add(s->parcel, name, path, &err), &err);
}

static void add(scene *s, const char *name, const char *text) { add_bytes(s, name, text, strlen(text)); }

static scene open_scene(void)
{
    scene s = { .from = test_folder_new(), .to = test_folder_new(), .parcel = parcel_new() };
    char *large = xmalloc(2 * PARCEL_CHUNK_BYTES + 5);
    for (size_t i = 0; i < 2 * PARCEL_CHUNK_BYTES + 5; i++) large[i] = (char)(i * 31 >> 3);
    add(&s, "recipe.lua", "return {}");
    add(&s, "empty.lua", "");
    add_bytes(&s, "model/tokenizer.json", large, 2 * PARCEL_CHUNK_BYTES + 5);
    add(&s, "model/config.json", "{}");
    add(&s, "prompt/none.jsonl", "");
    free(large);
    return s;
}

static void close_scene(scene *s)
{
    parcel_free(s->parcel);
    test_folder_remove(s->from);
    test_folder_remove(s->to);
}

static void must_hold(const scene *s, uint32_t file)
{
    char path[500];
    size_t len;
    struct stat st;
    error err = { 0 };
    const parcel_file *f = &s->parcel->list.files[file];
    char *got = file_read(path_join(path, sizeof path, s->to, f->name), PARCEL_BYTES, &len, &err);
    if (!got) fail_msg("%s", err.text);
    assert_int_equal(len, f->bytes);
    assert_memory_equal(got, s->parcel->data[file], len);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    free(got);
}

/* Each answer twice, and one that belongs elsewhere in between. */
static void what_is_sent_arrives_whatever_comes_twice_or_unasked(void **state)
{
    (void)state;
    scene s = open_scene();
    error err = { 0 };
    recipe_get_body get;
    int asked = 0;
    delivery *d = delivery_new(&s.parcel->list, s.to, &err);
    if (!d) fail_msg("%s", err.text);
    for (; delivery_next(d, &get); asked++) {
        recipe_chunk_body c, other;
        assert_true(asked < 20 && parcel_chunk_of(s.parcel, &get, &c));
        assert_true(parcel_chunk_of(s.parcel, &(recipe_get_body){ 2, 7 }, &other));
        test_ok(delivery_take(d, &other, &err), &err);
        test_ok(delivery_take(d, &c, &err), &err);
        test_ok(delivery_take(d, &c, &err), &err);
        free(c.data);
        free(other.data);
    }
    assert_int_equal(asked, 1 + 3 + 1);
    for (uint32_t i = 0; i < s.parcel->list.n_files; i++) must_hold(&s, i);
    delivery_free(d);
    close_scene(&s);
}

static delivery *begin(const scene *s)
{
    error err = { 0 };
    delivery *d = delivery_new(&s->parcel->list, s->to, &err);
    if (!d) fail_msg("%s", err.text);
    return d;
}

static void a_file_that_is_not_what_was_announced_is_refused_by_name(void **state)
{
    (void)state;
    scene s = open_scene();
    error err = { 0 };
    char path[500];
    delivery *d = begin(&s);
    recipe_chunk_body c = { .data = (char[]){ "return{ }" }, .len = 9 };
    assert_int_equal(delivery_take(d, &c, &err), ERR_PEER);
    assert_non_null(strstr(err.text, "recipe.lua: announced with hash"));
    assert_false(file_exists(path_join(path, sizeof path, s.to, "recipe.lua")));
    delivery_free(d);
    d = begin(&s);
    c.len = 0;
    assert_int_equal(delivery_take(d, &c, &err), ERR_PEER);
    c.data = (char[]){ "return {}x" }, c.len = 10;
    assert_int_equal(delivery_take(d, &c, &err), ERR_PEER);
    assert_non_null(strstr(err.text, "a chunk of 10 bytes at 0 of 9"));
    delivery_free(d);
    close_scene(&s);
}

/* Each of a drip's chunks would be progress, and its receiver would wait for ever. */
static void a_chunk_is_whole_or_it_is_refused(void **state)
{
    (void)state;
    scene s = open_scene();
    error err = { 0 };
    recipe_get_body get;
    recipe_chunk_body c;
    delivery *d = begin(&s);
    while (delivery_next(d, &get)) {
        assert_true(parcel_chunk_of(s.parcel, &get, &c));
        for (size_t len = 0; len < c.len; len = len < 3 ? len + 1 : len + c.len / 2) {
            const recipe_chunk_body part = { .file = c.file, .offset = c.offset, .data = c.data, .len = len };
            assert_int_equal(delivery_take(d, &part, &err), ERR_PEER);
            assert_non_null(strstr(err.text, "(expected "));
        }
        test_ok(delivery_take(d, &c, &err), &err);
        free(c.data);
    }
    delivery_free(d);
    close_scene(&s);
}

static void refuse_to_write(scene *s)
{
    error err = { 0 };
    delivery *d = begin(s);
    recipe_chunk_body c = { .data = (char[]){ "return {}" }, .len = 9 };
    assert_int_equal(delivery_take(d, &c, &err), ERR_IO);
    assert_non_null(strstr(err.text, "recipe.lua"));
    delivery_free(d);
}

static void assert_holds(const char *folder, const char *name, const char *text)
{
    char *kept = test_file_read(folder, name);
    assert_string_equal(kept, text);
    free(kept);
}

/* A file, or a link, that another process put into the worker's folder: it and what it points to stay as they are. */
static void nothing_that_is_there_is_written_over_or_followed(void **state)
{
    (void)state;
    scene s = open_scene();
    char link[500], target[500];
    test_file_write(s.from, "precious", "mine");
    path_join(target, sizeof target, s.from, "precious");
    assert_int_equal(symlink(target, path_join(link, sizeof link, s.to, "recipe.lua")), 0);
    refuse_to_write(&s);
    assert_holds(s.from, "precious", "mine");
    assert_int_equal(unlink(link), 0);
    test_file_write(s.to, "recipe.lua", "mine too");
    refuse_to_write(&s);
    assert_holds(s.to, "recipe.lua", "mine too");
    close_scene(&s);
}

static void a_parcel_has_room_for_so_much_and_no_more(void **state)
{
    (void)state;
    error err = { 0 };
    char path[400];
    scene s = { .from = test_folder_new(), .to = test_folder_new(), .parcel = parcel_new() };
    test_file_write(s.from, "big", "");
    snprintf(path, sizeof path, "%s/big", s.from);
    assert_int_equal(truncate(path, PARCEL_BYTES + 1), 0);
    assert_int_equal(parcel_add(s.parcel, "big.lua", path, &err), ERR_LIMIT);
    if (!strstr(err.text, "at most 64 MB") || !strstr(err.text, path)) fail_msg("%s", err.text);
    assert_int_equal(truncate(path, 10), 0);
    assert_int_equal(parcel_add(s.parcel, "two words.lua", path, &err), ERR_ARGUMENT);
    assert_non_null(strstr(err.text, "'two words.lua'"));
    for (int i = 0; i < PARCEL_FILES; i++) {
        char name[40];
        snprintf(name, sizeof name, "m%d.lua", i);
        test_ok(parcel_add(s.parcel, name, path, &err), &err);
    }
    assert_int_equal(parcel_add(s.parcel, "one.lua", path, &err), ERR_LIMIT);
    for (int i = 0; i < PARCEL_WORDS; i++) test_ok(parcel_add_word(s.parcel, "a.b=c", &err), &err);
    assert_int_equal(parcel_add_word(s.parcel, "a=b", &err), ERR_LIMIT);
    close_scene(&s);
}

static void a_word_that_is_too_long_does_not_go(void **state)
{
    (void)state;
    error err = { 0 };
    parcel *p = parcel_new();
    char *word = xmalloc(PARCEL_WORD_BYTES + 2);
    memset(word, 'x', PARCEL_WORD_BYTES + 1);
    word[1] = '=', word[PARCEL_WORD_BYTES + 1] = 0;
    assert_int_equal(parcel_add_word(p, word, &err), ERR_LIMIT);
    word[PARCEL_WORD_BYTES] = 0;
    test_ok(parcel_add_word(p, word, &err), &err);
    test_ok(parcel_check_list(&p->list, &err), &err);
    free(word);
    parcel_free(p);
}

/* ---- the fuzzer's corpus ----
 *
 * A whole delivery as it comes over the wire, each message after its length (u16); TROUPE_WRITE_CORPUS=1 writes it
 * anew, as test_messages.c does with the single messages. */

static void put(str *out, const message *m)
{
    str bytes = { 0 };
    message_encode(m, &bytes);
    str_putc(out, (char)(bytes.len & 0xff));
    str_putc(out, (char)(bytes.len >> 8));
    str_add(out, bytes.data, bytes.len);
    str_free(&bytes);
}

static void the_corpus_is_a_delivery_of_this_version(void **state)
{
    (void)state;
    const char *source = getenv("TROUPE_SOURCE");
    char path[1024];
    size_t len;
    error err = { 0 };
    str bytes = { 0 };
    if (!source) skip();
    scene s = { .from = test_folder_new(), .to = test_folder_new(), .parcel = parcel_new() };
    add(&s, "recipe.lua", "return {}");
    add(&s, "empty.lua", "");
    add(&s, "model/config.json", "{ \"model_type\": \"llama\" }");
    test_ok(parcel_add_word(s.parcel, "rollout.group=8", &err), &err);
    put(&bytes, &(message){ .type = MSG_WELCOME, .welcome = { .run = "a", .recipe = s.parcel->list } });
    const recipe_get_body gets[] = { { 0, 0 }, { 0, 4 }, { 2, 0 } }; /* the second is nothing that is waited for */
    for (size_t i = 0; i < sizeof gets / sizeof *gets; i++) {
        message m = { .type = MSG_RECIPE_CHUNK };
        assert_true(parcel_chunk_of(s.parcel, &gets[i], &m.recipe_chunk));
        put(&bytes, &m);
        free(m.recipe_chunk.data);
    }
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/parcel/whole.bin", source);
    if (getenv("TROUPE_WRITE_CORPUS")) test_ok(file_write_atomic(path, bytes.data, bytes.len, &err), &err);
    char *known = file_read(path, 1 << 20, &len, &err);
    if (!known) fail_msg("%s", err.text);
    assert_int_equal(len, bytes.len);
    assert_memory_equal(known, bytes.data, len);
    free(known);
    str_free(&bytes);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_lead_anywhere_else_are_refused),
        cmocka_unit_test(a_file_and_a_folder_of_one_name_are_refused),
        cmocka_unit_test(more_than_there_may_be_is_refused_with_the_number),
        cmocka_unit_test(words_are_keys_with_values),
        cmocka_unit_test(who_has_another_file_is_told_which),
        cmocka_unit_test(what_is_sent_arrives_whatever_comes_twice_or_unasked),
        cmocka_unit_test(a_file_that_is_not_what_was_announced_is_refused_by_name),
        cmocka_unit_test(a_chunk_is_whole_or_it_is_refused),
        cmocka_unit_test(nothing_that_is_there_is_written_over_or_followed),
        cmocka_unit_test(a_parcel_has_room_for_so_much_and_no_more),
        cmocka_unit_test(a_word_that_is_too_long_does_not_go),
        cmocka_unit_test(the_corpus_is_a_delivery_of_this_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
