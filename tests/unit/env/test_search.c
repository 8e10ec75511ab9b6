/* SPDX-License-Identifier: MIT */
/* An index: what becomes one, what it finds and in which order; the tool that searches it; files that are none. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "env/search/passages.h"
#include "env/tools/search.h"
#include "tests/support/support.h"

static const char CORPUS[] =
    "{\"title\": \"Lungs\", \"text\": \"Lungs take in oxygen and give off carbon dioxide.\"}\n"
    "\n"
    "{\"id\": 7, \"contents\": \"Caf\xc3\xa9s in Vienna serve coffee with a glass of water.\"}\n"
    "{\"title\": null, \"text\": \"The river Vienna is called Wien.\"}\n"
    "{\"title\": \"Zwiebel\", \"passage\": \"An onion. The the the the.\"}\n"
    "{\"text\": \"same words here\"}\n"
    "{\"text\": \"same words here\"}\n";

typedef struct scene {
    char *folder, corpus[TEST_PATH], index[TEST_PATH];
} scene;

static scene scene_new(const char *corpus)
{
    scene s = { .folder = test_folder_new() };
    test_file_at(s.folder, "corpus.jsonl", corpus, s.corpus);
    path_join(s.index, sizeof s.index, s.folder, "corpus.index");
    return s;
}

static void scene_free(scene *s) { test_folder_remove(s->folder); }

static passages *built(scene *s)
{
    error err = { 0 };
    int64_t count = 0;
    test_ok(passages_build(s->corpus, s->index, NULL, &count, &err), &err);
    passages *p = passages_open(s->index, &err);
    if (!p) fail_msg("%s", err.text);
    assert_int_equal(passages_count(p), count);
    return p;
}

static char *found(passages *p, const char *query, int k, int expected)
{
    error err = { 0 };
    str out = { 0 };
    int n = -1;
    test_ok(passages_search(p, query, k, NULL, NULL, &out, &n, &err), &err);
    if (n != expected) fail_msg("'%s': %d passages, expected %d: %s", query, n, expected, out.data);
    return str_take(&out);
}

static void check_first(passages *p, const char *query, int expected, const char *begins)
{
    char *text = found(p, query, 3, expected);
    if (strncmp(text, begins, strlen(begins)) != 0) fail_msg("'%s': %s", query, text);
    free(text);
}

static void the_best_passages_come_first(void **state)
{
    (void)state;
    scene s = scene_new(CORPUS);
    passages *p = built(&s);
    assert_int_equal(passages_count(p), 6);
    check_first(p, "What do lungs give off?", 1, "[1] Lungs\nLungs take in oxygen and give off carbon dioxide.");
    check_first(p, "cafe", 1, "[1] Caf\xc3\xa9s in Vienna");          /* accents, and the stem */
    check_first(p, "CAFES, vienna", 2, "[1] Caf\xc3\xa9s in Vienna"); /* two words before one */
    check_first(p, "wien", 1, "[1] The river");
    check_first(p, "zwiebel", 1, "[1] Zwiebel\nAn onion"); /* a title counts */

    char *both = found(p, "same", 3, 2); /* a tie: in the order of the corpus */
    assert_string_equal(both, "[1] same words here\n\n[2] same words here");
    free(both);
    free(found(p, "vienna same onion", 1, 1));
    passages_free(p);
    scene_free(&s);
}

/* FTS5 has a language of its own; a policy's words are never taken for it. */
static void a_query_is_words_and_no_language(void **state)
{
    (void)state;
    scene s = scene_new(CORPUS);
    passages *p = built(&s);
    const char *const none[] = { "",    "   ",          "\"",       "*",     "NOT", "title:",
                                 "(((", "\xe2\x80\x94", "\xff\xfe", "NEAR(", "-",   "zzz" };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        char *text = found(p, none[i], 3, 0);
        assert_string_equal(text, "No passage has any of these words.");
        free(text);
    }
    check_first(p, "\"lungs\" NOT oxygen", 1, "[1] Lungs");
    check_first(p, "lungs* AND title:wien2 OR (", 1, "[1] Lungs");
    check_first(p, "'; DROP TABLE passages; -- lungs", 1, "[1] Lungs");

    char *longest = xmalloc(200001);
    for (int i = 0; i < 200000; i++) longest[i] = i % 70 ? 'a' : ' ';
    longest[200000] = 0;
    free(found(p, longest, 3, 0));
    free(longest);
    passages_free(p);
    scene_free(&s);
}

/* Its passages would cost more than those of all others, and it tells nothing of them. */
static void a_word_of_all_passages_counts_only_alone(void **state)
{
    (void)state;
    str corpus = { 0 };
    for (int i = 0; i < 20000; i++) str_printf(&corpus, "{\"text\": \"the passage number n%d\"}\n", i);
    scene s = scene_new(corpus.data);
    passages *p = built(&s);
    check_first(p, "the passage n777", 1, "[1] the passage number n777");
    check_first(p, "the", 3, "[1] the passage number n0");
    passages_free(p);
    scene_free(&s);
    str_free(&corpus);
}

/* No query is slow: of a word that most passages have the first 2,048 are ranked, whatever a later one would be. */
static void of_frequent_words_alone_the_first_passages_are_ranked(void **state)
{
    (void)state;
    str corpus = { 0 };
    for (int i = 0; i < 5000; i++)
        str_printf(&corpus, "{\"text\": \"the %s%d\"}\n", i == 2047 ? "the the " : "passage x", i);
    str_puts(&corpus, "{\"text\": \"the the the the\"}\n"); /* the best of all */
    scene s = scene_new(corpus.data);
    passages *p = built(&s);
    check_first(p, "the", 3, "[1] the the the 2047");
    check_first(p, "the x4999", 1, "[1] the passage x4999");
    passages_free(p);
    scene_free(&s);
    str_free(&corpus);
}

static void a_long_passage_is_cut_between_characters_and_says_so(void **state)
{
    (void)state;
    for (int lead = 0; lead < 2; lead++) {
        str corpus = { 0 };
        str_printf(&corpus, "{\"text\": \"%s", lead ? "x" : "");
        for (int i = 0; i < 3000; i++) str_puts(&corpus, "\xc3\xa9");
        str_puts(&corpus, " end\"}\n");
        scene s = scene_new(corpus.data);
        passages *p = built(&s);
        char *text = found(p, "end", 1, 1);
        const size_t len = strlen(text);
        assert_true(len < 2100 && strcmp(text + len - 8, "\xc3\xa9 [...]") == 0);
        assert_int_equal(utf8_run(text, text + len), len);
        free(text);
        passages_free(p);
        scene_free(&s);
        str_free(&corpus);
    }
}

static void check_not_built(const char *corpus, const char *says)
{
    error err = { 0 };
    int64_t count;
    scene s = scene_new(corpus);
    assert_int_not_equal(passages_build(s.corpus, s.index, NULL, &count, &err), OK);
    if (!strstr(err.text, says)) fail_msg("'%s' does not say '%s'", err.text, says);
    assert_false(file_exists(s.index));
    scene_free(&s);
}

static void a_corpus_that_is_none_is_refused_by_its_line(void **state)
{
    (void)state;
    check_not_built("", "no passage");
    check_not_built("\n\n", "no passage");
    check_not_built("{\"text\": \"a\"}\n{\"text\": }\n", ":2: ");
    check_not_built("{\"text\": \"a\"}\n[1]\n", ":2: expected an object");
    check_not_built("{\"title\": \"a\"}\n", ":1: it has no \"text\"");
    check_not_built("{\"text\": 3}\n", ":1: it has no \"text\"");
    check_not_built("{\"text\": \"a\", \"title\": 3}\n", ":1: its title");
    check_not_built("{\"text\": \"a\\u0000b\"}\n", ":1: ");
}

/* What is at the place of an index: another index is replaced, everything else stays as it is. */
static void only_an_index_is_replaced(void **state)
{
    (void)state;
    error err = { 0 };
    int64_t count;
    scene s = scene_new(CORPUS);
    passages_free(built(&s));
    passages_free(built(&s));

    assert_int_not_equal(passages_build("/nowhere/corpus", s.index, NULL, &count, &err), OK);
    passages *p = passages_open(s.index, &err); /* the old one is still there */
    assert_non_null(p);
    passages_free(p);

    assert_int_equal(passages_build(s.corpus, s.corpus, NULL, &count, &err), ERR_STATE);
    assert_non_null(strstr(err.text, "is no index"));
    assert_int_equal(passages_build(s.corpus, s.folder, NULL, &count, &err), ERR_STATE);
    char *text = test_file_read(s.folder, "corpus.jsonl");
    assert_string_equal(text, CORPUS);
    free(text);
    scene_free(&s);
}

static int left_to_ask;
static bool stops_later(void) { return --left_to_ask < 0; }

static int files_in(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* Wherever it is stopped: the old index is there as it was, and no other file. */
static void what_is_stopped_leaves_nothing(void **state)
{
    (void)state;
    str corpus = { 0 };
    for (int i = 0; i < 3000; i++) str_printf(&corpus, "{\"text\": \"the passage number n%d\"}\n", i);
    scene s = scene_new(CORPUS);
    passages_free(built(&s));
    test_file_write(s.folder, "corpus.jsonl", corpus.data);
    int stopped = 0;
    for (int asked = 0; asked < 100000; asked = 2 * asked + 1) {
        error err = { 0 };
        int64_t count;
        left_to_ask = asked;
        if (passages_build(s.corpus, s.index, stops_later, &count, &err) == OK) break;
        assert_int_equal(err.code, ERR_INTERRUPTED);
        stopped++;
        passages *p = passages_open(s.index, &err);
        assert_int_equal(passages_count(p), 6);
        passages_free(p);
        assert_int_equal(files_in(s.folder), 2);
    }
    assert_true(stopped > 5);
    scene_free(&s);
    str_free(&corpus);
}

/* A file that is cut or changed anywhere is refused, or it answers or fails with a sentence. */
static void a_damaged_index_is_an_error_and_nothing_worse(void **state)
{
    (void)state;
    scene s = scene_new(CORPUS);
    size_t len;
    error err = { 0 };
    passages_free(built(&s));
    char *bytes = file_read(s.index, 1 << 24, &len, &err);
    assert_non_null(bytes);
    for (int i = 0; i < 400; i++) {
        char *bad = memcpy(xmalloc(len), bytes, len);
        const size_t at = (size_t)i * 7919 % len, n = i % 4 == 0 ? at : len;
        for (size_t k = at; k < len && k < at + 16; k++) bad[k] = (char)(bad[k] ^ (i * 37 + 1));
        test_ok(file_write_atomic(s.index, bad, n, &err), &err);
        free(bad);

        error why = { 0 };
        str out = { 0 };
        int found_there;
        passages *p = passages_open(s.index, &why);
        if (p && passages_search(p, "lungs the vienna", 3, NULL, NULL, &out, &found_there, &why) != OK)
            assert_true(why.text[0] != 0);
        if (!p) assert_non_null(strstr(why.text, s.index));
        passages_free(p);
        str_free(&out);
    }
    free(bytes);
    assert_null(passages_open(s.corpus, &err));
    assert_null(passages_open(s.folder, &err));
    assert_null(passages_open("/nowhere/index", &err));
    scene_free(&s);
}

/* ---- the tool ---- */

static router *router_of(const scene *s, int timeout_ms)
{
    error err = { 0 };
    tool t;
    router *r = router_new(NULL);
    const search_config config = { .index = s->index, .k = 1, .timeout_ms = timeout_ms };
    test_ok(search_tool(&config, &t, &err), &err);
    test_ok(router_add(r, &t, &err), &err);
    return r;
}

static void the_tool_answers_each_call_with_its_own_passages(void **state)
{
    (void)state;
    static const char *const QUERIES[] = { "{\"query\": \"lungs\"}", "{\"query\": \"wien\"}",
                                           "{\"query\": \"onion\"}" };
    static const char *const WORDS[] = { "Lungs", "river", "Zwiebel" };
    enum { CALLS = 300 };
    scene s = scene_new(CORPUS);
    passages_free(built(&s));
    router *r = router_of(&s, 0);
    uint64_t ids[CALLS];
    int answered = 0;
    for (int i = 0; i < CALLS; i++) ids[i] = router_begin(r, "search", QUERIES[i % 3], NULL, clock_ms());
    router_cancel(r, ids[5]);
    while (answered < CALLS - 1) {
        tool_result results[16];
        router_wait(r, 1000);
        const int n = router_poll(r, clock_ms(), results, 16);
        for (int i = 0; i < n; i++) {
            const int at = (int)(results[i].call - ids[0]);
            assert_true(at != 5 && results[i].ok && results[i].failed == FAIL_NONE);
            if (!strstr(results[i].text, WORDS[at % 3])) fail_msg("call %d: %s", at, results[i].text);
            free(results[i].text);
        }
        answered += n;
    }
    assert_true(router_deadline_ms(r) == INT64_MAX);

    tool_result t = { 0 };
    error err = { 0 };
    test_ok(router_call(r, "search", "{\"query\": 3}", &t, &err), &err);
    assert_true(!t.ok && t.failed == FAIL_NONE && strstr(t.text, "query"));
    free(t.text);
    router_begin(r, "search", QUERIES[0], NULL, clock_ms()); /* under way at the end */
    router_free(r);
    scene_free(&s);
}

static bool at_once(void *ctx)
{
    ++*(int *)ctx;
    return true;
}

static void a_search_that_takes_too_long_is_lost(void **state)
{
    (void)state;
    str corpus = { 0 }, out = { 0 };
    for (int i = 0; i < 20000; i++) str_printf(&corpus, "{\"text\": \"the passage number n%d\"}\n", i);
    scene s = scene_new(corpus.data);
    passages *p = built(&s);
    error err = { 0 };
    int n, asked = 0;
    assert_int_equal(passages_search(p, "the", 3, at_once, &asked, &out, &n, &err), ERR_TIMEOUT);
    assert_true(asked == 1 && n == 0);
    check_first(p, "the", 3, "[1] the passage number n0"); /* and the next one is as ever */
    passages_free(p);
    scene_free(&s);
    str_free(&corpus);
    str_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_passages_come_first),
        cmocka_unit_test(a_query_is_words_and_no_language),
        cmocka_unit_test(a_word_of_all_passages_counts_only_alone),
        cmocka_unit_test(of_frequent_words_alone_the_first_passages_are_ranked),
        cmocka_unit_test(a_long_passage_is_cut_between_characters_and_says_so),
        cmocka_unit_test(a_corpus_that_is_none_is_refused_by_its_line),
        cmocka_unit_test(only_an_index_is_replaced),
        cmocka_unit_test(what_is_stopped_leaves_nothing),
        cmocka_unit_test(a_damaged_index_is_an_error_and_nothing_worse),
        cmocka_unit_test(the_tool_answers_each_call_with_its_own_passages),
        cmocka_unit_test(a_search_that_takes_too_long_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
