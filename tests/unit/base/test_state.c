/* SPDX-License-Identifier: MIT */
#include "base/state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/support.h"

/* Two modules that remember something, as a program has them. */
typedef struct modules {
    double mu, means[4];
    struct {
        double visits, success;
    } rows[3];
    const char *objectives;
} modules;

static modules some_modules(void)
{
    return (modules){ .mu = 1.0 / 3,
                      .means = { -0.0, 1e-300, -INFINITY, NAN },
                      .rows = { { 1, 0.1 }, { 2, 0.2 }, { 3, 0.3 } },
                      .objectives = "accuracy brevity" };
}

static void walk_first(modules *m, saved_state *s)
{
    state_section(s, "first", 1);
    state_numbers(s, "mu", &m->mu, 1, 0, 1);
    state_same(s, "objectives", m->objectives);
    state_numbers(s, "means", m->means, 4, -INFINITY, INFINITY);
}

static void walk_second(modules *m, saved_state *s)
{
    state_section(s, "second", 3);
    state_column(s, "visits", &m->rows->visits, 3, sizeof *m->rows, 0, 100);
    state_column(s, "success", &m->rows->success, 3, sizeof *m->rows, 0, 1);
}

static char *saved_bytes(modules m, bool second_first, size_t *len)
{
    saved_state *s = state_new();
    error err = { 0 };
    if (second_first) walk_second(&m, s);
    walk_first(&m, s);
    if (!second_first) walk_second(&m, s);
    test_ok(state_end(s, &err), &err);
    char *bytes = state_bytes(s, len);
    state_free(s);
    return bytes;
}

static int load_both(modules *m, const char *bytes, size_t len, error *err)
{
    saved_state *s = state_parse(bytes, len, "run/memory.state", err);
    if (!s) return err->code;
    walk_first(m, s);
    walk_second(m, s);
    const int rc = state_end(s, err);
    state_free(s);
    return rc;
}

static void what_was_saved_comes_back_to_the_bit_in_any_order(void **unused)
{
    (void)unused;
    for (int order = 0; order < 2; order++) {
        size_t len;
        error err = { 0 };
        const modules was = some_modules();
        modules is = { .objectives = was.objectives };
        char *bytes = saved_bytes(was, order == 1, &len);
        test_ok(load_both(&is, bytes, len, &err), &err);
        assert_memory_equal(&is, &was, sizeof is);
        free(bytes);
    }
}

/* A program that has changed in one place, and what it then says of the file. */
typedef void (*walk)(modules *m, saved_state *s);

static void another_version(modules *m, saved_state *s)
{
    (void)m;
    state_section(s, "first", 2);
}

static void another_section(modules *m, saved_state *s)
{
    (void)m;
    state_section(s, "third", 1);
}

static void one_section_less(modules *m, saved_state *s) { walk_first(m, s); }

static void another_field(modules *m, saved_state *s)
{
    state_section(s, "first", 1);
    state_numbers(s, "nu", &m->mu, 1, 0, 1);
}

static void one_field_less(modules *m, saved_state *s)
{
    walk_second(m, s);
    state_section(s, "first", 1);
    state_numbers(s, "mu", &m->mu, 1, 0, 1);
    state_numbers(s, "means", m->means, 4, -INFINITY, INFINITY);
}

static void another_length(modules *m, saved_state *s)
{
    state_section(s, "first", 1);
    state_numbers(s, "means", m->means, 3, -INFINITY, INFINITY);
}

static void another_range(modules *m, saved_state *s)
{
    state_section(s, "first", 1);
    state_numbers(s, "mu", &m->mu, 1, 0, 0.25);
}

static void another_order_of_objectives(modules *m, saved_state *s)
{
    m->objectives = "brevity accuracy";
    walk_first(m, s);
}

static void what_does_not_fit_is_refused_by_name(void **unused)
{
    (void)unused;
    static const struct {
        walk walk;
        const char *says;
    } CASES[] = {
        { another_version, "run/memory.state: section 'first' is of version 1, this troupe reads version 2" },
        { another_section, "run/memory.state: there is no section 'third' (there are: first, second)" },
        { one_section_less, "run/memory.state: section 'second' is not of this run" },
        { another_field, "run/memory.state: section 'first' has no 'nu'" },
        { one_field_less, "run/memory.state: section 'first': nothing here is called 'objectives'" },
        { another_length, "run/memory.state: section 'first': 'means' has 4 numbers, expected 3" },
        { another_range, "run/memory.state: section 'first': 'mu' is 0.333333 (allowed: 0 to 0.25)" },
        { another_order_of_objectives, "section 'first': its objectives are 'accuracy brevity', here they are 'brevity "
                                       "accuracy'" },
    };
    size_t len;
    char *bytes = saved_bytes(some_modules(), false, &len);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        error err = { 0 };
        modules m = some_modules();
        saved_state *s = state_parse(bytes, len, "run/memory.state", &err);
        CASES[i].walk(&m, s);
        assert_int_equal(state_end(s, &err), ERR_PARSE);
        if (!strstr(err.text, CASES[i].says)) fail_msg("expected: %s\nfound: %s", CASES[i].says, err.text);
        state_free(s);
    }
    free(bytes);
}

/* Which of the two it should be can't be told. */
static void a_section_that_occurs_twice_is_refused(void **unused)
{
    (void)unused;
    size_t len;
    error err = { 0 };
    modules m = some_modules();
    saved_state *s = state_new();
    walk_first(&m, s);
    walk_first(&m, s);
    char *bytes = state_bytes(s, &len);
    assert_null(state_parse(bytes, len, "run/memory.state", &err));
    assert_int_equal(err.code, ERR_PARSE);
    assert_non_null(strstr(err.text, "run/memory.state: section 'first' occurs twice"));
    state_free(s);
    free(bytes);
}

/* Of numbers that are refused none is taken over. */
static void a_refused_field_changes_nothing(void **unused)
{
    (void)unused;
    size_t len;
    error err = { 0 };
    modules m = some_modules();
    m.rows[2].visits = 101;
    char *bytes = saved_bytes(m, false, &len);
    modules is = { .objectives = m.objectives };
    assert_int_equal(load_both(&is, bytes, len, &err), ERR_PARSE);
    assert_true(is.rows[0].visits == 0 && is.rows[2].visits == 0 && is.rows[0].success == 0);
    free(bytes);
}

/* Whatever byte is cut off or changed: the walk ends, and what is refused names the file. */
static void a_damaged_file_is_refused_or_read(void **unused)
{
    (void)unused;
    size_t len;
    char *bytes = saved_bytes(some_modules(), false, &len);
    for (size_t cut = 0; cut < len; cut++) {
        error err = { 0 };
        modules m = some_modules();
        if (load_both(&m, bytes, cut, &err) != ERR_PARSE || !strstr(err.text, "run/memory.state"))
            fail_msg("cut at %zu: %s", cut, err.text);
    }
    for (size_t i = 0; i < 8 * len; i++) {
        error err = { 0 };
        modules m = some_modules();
        bytes[i / 8] = (char)(bytes[i / 8] ^ 1 << i % 8);
        const int rc = load_both(&m, bytes, len, &err);
        if (rc != OK && (rc != ERR_PARSE || !strstr(err.text, "run/memory.state")))
            fail_msg("bit %zu: %s", i, err.text);
        bytes[i / 8] = (char)(bytes[i / 8] ^ 1 << i % 8);
    }
    free(bytes);
}

/* Numbers without names, as they were written once, and a file of a troupe to come. */
static void another_format_is_refused_by_what_it_is(void **unused)
{
    (void)unused;
    error err = { 0 };
    const double raw[4] = { 16384, 0.3, 1, 2 };
    assert_null(state_parse((const char *)raw, sizeof raw, "run/memory.state", &err));
    assert_non_null(strstr(err.text, "run/memory.state has no names in it"));
    assert_non_null(strstr(err.text, "resume with the build that wrote it"));
    assert_null(state_parse("troupe state 9\n\0\0\0\0", 19, "run/memory.state", &err));
    assert_non_null(strstr(err.text, "of format 9, this troupe reads format 2"));
    test_ok(state_parse("troupe state 2\n\0\0\0\0x", 20, "run/memory.state", &err) ? ERR_STATE : OK, &err);
    assert_non_null(strstr(err.text, "1 bytes after the last section"));
}

/* In memory: what a step has changed is taken back. */
static void a_rewound_state_is_loaded_as_often_as_one_likes(void **unused)
{
    (void)unused;
    error err = { 0 };
    const modules was = some_modules();
    modules m = was;
    saved_state *s = state_new();
    walk_first(&m, s);
    for (int i = 0; i < 3; i++) {
        m.mu = 0.5, m.means[2] = i;
        state_rewind(s);
        assert_true(state_loading(s));
        walk_first(&m, s);
        test_ok(state_end(s, &err), &err);
        assert_memory_equal(&m, &was, sizeof m);
    }
    state_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_saved_comes_back_to_the_bit_in_any_order),
        cmocka_unit_test(what_does_not_fit_is_refused_by_name),
        cmocka_unit_test(a_section_that_occurs_twice_is_refused),
        cmocka_unit_test(a_refused_field_changes_nothing),
        cmocka_unit_test(a_damaged_file_is_refused_or_read),
        cmocka_unit_test(another_format_is_refused_by_what_it_is),
        cmocka_unit_test(a_rewound_state_is_loaded_as_often_as_one_likes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
