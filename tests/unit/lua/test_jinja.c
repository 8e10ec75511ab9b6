/* SPDX-License-Identifier: MIT */
/* Templates, read: what Jinja2 makes of ours (tests/golden/jinja.json: white space, scopes, loops, macros, every
 * filter, test, method and operator) and of public ones (hashes in chat_templates.json), to the byte, errors included;
 * and hostile ones, which end with a sentence. tests/golden/make_jinja.py wrote both files with Jinja2 itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "lua/chat_model.h"
#include "tests/support/support.h"

static json_t *golden(const char *name)
{
    char path[1200];
    error err = { 0 };
    snprintf(path, sizeof path, "%s/tests/golden/%s", getenv("TROUPE_SOURCE"), name);
    json_t *j = json_parse_file(path, &err);
    if (!j) fail_msg("%s", err.text);
    return j;
}

/* "" for a text; else the kind of error, as the goldens name it. */
static const char *render(const char *text, const json_t *conversation, str *out, error *err)
{
    chat_template *t = chat_template_new(text, strlen(text), "test", err);
    const int rc = t ? chat_render(t, conversation, out, err) : err->code;
    chat_template_free(t);
    if (rc == OK) return "";
    if (rc == ERR_ARGUMENT) return "refused";
    if (rc == ERR_PARSE) return t ? "fault" : "syntax";
    return error_name(rc);
}

/* Jinja tells unknown filters while it compiles, and names of Python's own while it renders: both are errors. */
static bool same_kind(const char *want, const char *got)
{
    return strcmp(want, got) == 0 || (strcmp(want, "refused") != 0 && *got && strcmp(got, "refused") != 0);
}

/* ---- templates of ours ---- */

/* One case: [template, text], or [template, { error: kind }]. Prints what differs. */
static bool is_as_jinja_has_it(const json_t *one, const json_t *c)
{
    error err = { 0 };
    str got = { 0 };
    const char *text = json_string_value(json_array_get(one, 0)), *want = json_string_value(json_array_get(one, 1));
    const char *failure = want ? "" : json_string_value(json_object_get(json_array_get(one, 1), "error"));
    const char *kind = render(text, c, &got, &err), *made = got.data ? got.data : "";
    const bool right = want ? !*kind && strcmp(made, want) == 0 : same_kind(failure, kind);
    if (!right)
        fprintf(stderr, "%s\n  want %s'%s'\n  got %s'%s' %s\n", text, failure, want ? want : "", kind, made, err.text);
    str_free(&got);
    return right;
}

typedef struct batch {
    str text, want;
    const json_t *cases[64];
    size_t n;
} batch;

/* How many of a batch differ. Rendered at once, since a template costs a VM; singly where that comes out otherwise. */
static size_t judge(batch *b, const json_t *c)
{
    error err = { 0 };
    str got = { 0 };
    size_t wrong = 0;
    const bool right = b->n == 0 || (!*render(b->text.data, c, &got, &err) && strcmp(got.data, b->want.data) == 0);
    for (size_t i = 0; !right && i < b->n; i++) wrong += !is_as_jinja_has_it(b->cases[i], c);
    if (!right && wrong == 0)
        fail_msg("templates differ only side by side: %s\n%s\n-- want\n%s\n-- got\n%s", err.text, b->text.data,
                 b->want.data, got.data ? got.data : "");
    str_cut(&b->text, 0);
    str_cut(&b->want, 0);
    b->n = 0;
    str_free(&got);
    return wrong;
}

/* Expressions have no effects on each other and stand side by side. */
static bool joins_a_batch(const json_t *one)
{
    return json_is_string(json_array_get(one, 1)) && strncmp(json_string_value(json_array_get(one, 0)), "{{ ", 3) == 0;
}

static void what_jinja_makes_of_a_template_is_made_of_it(void **state)
{
    (void)state;
    json_t *file = golden("jinja.json"), *c = json_object_get(file, "variables"), *one;
    size_t i, wrong = 0;
    batch b = { 0 };
    json_object_set(c, "date", json_object_get(file, "date"));
    json_object_set_new(c, "messages", json_pack("[{s:s}]", "role", "user"));

    json_array_foreach(json_object_get(file, "cases"), i, one)
    {
        if (!joins_a_batch(one)) {
            wrong += !is_as_jinja_has_it(one, c);
            continue;
        }
        str_printf(&b.text, "%s;", json_string_value(json_array_get(one, 0)));
        str_printf(&b.want, "%s;", json_string_value(json_array_get(one, 1)));
        b.cases[b.n++] = one;
        if (b.n == sizeof b.cases / sizeof *b.cases) wrong += judge(&b, c);
    }
    wrong += judge(&b, c);

    if (wrong > 0) fail_msg("%zu of %zu templates differ", wrong, i);
    assert_true(i > 3000);
    str_free(&b.text);
    str_free(&b.want);
    json_decref(file);
}

/* ---- public templates ---- */

/* The i-th conversation: messages and options, in the order of make_jinja.py. */
static json_t *conversation(const json_t *file, size_t i)
{
    const json_t *options = json_object_get(file, "options");
    size_t name = i / json_array_size(options);
    void *at = json_object_iter(json_object_get(file, "messages"));
    json_t *c = json_deep_copy(json_object_get(file, "always"));
    for (; name > 0; name--) at = json_object_iter_next(json_object_get(file, "messages"), at);
    json_object_set(c, "messages", json_object_iter_value(at));
    json_object_update(c, json_array_get(options, i % json_array_size(options)));
    return c;
}

static void check_template(const char *path, const json_t *file, const json_t *hashes)
{
    error err = { 0 };
    size_t i;
    json_t *want;
    chat_template *t = chat_file_template(path, &err);
    if (!t) fail_msg("%s", err.text);
    json_array_foreach((json_t *)(uintptr_t)hashes, i, want)
    {
        str got = { 0 };
        char hash[17];
        json_t *c = conversation(file, i);
        const int rc = chat_render(t, c, &got, &err);
        hash_hex(hash_bytes(got.data ? got.data : "", got.len, 0), hash);
        const char *made = rc == OK ? hash : rc == ERR_ARGUMENT ? "refused" : "fault";
        if (strcmp(made, json_string_value(want)) != 0)
            fail_msg("%s, conversation %zu: %s, want %s\n%s%s", path, i, made, json_string_value(want),
                     rc == OK ? "" : err.text, got.data ? got.data : "");
        str_free(&got);
        json_decref(c);
    }
    chat_template_free(t);
}

static void public_templates_render_as_jinja_renders_them(void **state)
{
    (void)state;
    char *dir = test_data("faults/templates"), path[1200];
    if (!dir) skip();
    json_t *file = golden("chat_templates.json"), *hashes;
    const char *name;
    json_object_foreach(json_object_get(file, "hashes"), name, hashes)
    {
        snprintf(path, sizeof path, "%s/%s", dir, name);
        check_template(path, file, hashes);
    }
    json_decref(file);
    free(dir);
}

/* ---- what a template may not do ---- */

static const char MINIMAL[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"l\": [3, 1, 2]}";

static char *repeated(const char *open, const char *middle, const char *close, int n)
{
    str text = { 0 };
    for (int i = 0; i < n; i++) str_puts(&text, open);
    str_puts(&text, middle);
    for (int i = 0; i < n; i++) str_puts(&text, close);
    return str_take(&text);
}

/* Ends with a sentence that holds `word`, in bounded time. */
static void check_end(const char *text, int code, const char *word)
{
    error err = { 0 };
    str out = { 0 };
    json_t *c = json_parse(MINIMAL, strlen(MINIMAL), "test", &err);
    const int64_t before_us = clock_cpu_us();
    chat_template *t = chat_template_new(text, strlen(text), "test", &err);
    const int rc = t ? chat_render(t, c, &out, &err) : err.code;
    if (rc != code || !strstr(err.text, word))
        fail_msg("%.80s: %s '%s', want %s with '%s'", text, error_name(rc), err.text, error_name(code), word);
    assert_true(clock_cpu_us() - before_us < 60000000);
    chat_template_free(t);
    str_free(&out);
    json_decref(c);
}

static void a_hostile_template_ends_with_a_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *word;
    } HOSTILE[] = {
#define LOOP "{% for i in range(99999) %}"
#define END "{% endfor %}"
        { "\n" LOOP LOOP LOOP "x" END END END, ERR_TIMEOUT, "line 2: stopped" },
        { "{% for i in range(100001) %}" END, ERR_PARSE, "Range too big" },
        { "{{ range(0, 9223372036854775807, 1) }}", ERR_PARSE, "Range too big" },
        { "{{ 'x' * 100000000 }}", ERR_LIMIT, "line 1: more than" },
        { "{{ [1] * 9223372036854775807 }}", ERR_LIMIT, "more than" },
        { "{{ 'x'.center(9223372036854775807) }}", ERR_LIMIT, "more than" },
        { "{{ 'x'|indent(100000000, true) }}", ERR_LIMIT, "more than" },
        { "{{ 'x'.zfill(100000000) }}{{ l|tojson(indent=100000000) }}", ERR_LIMIT, "more than" },
        { "{% set n = namespace(s='xxxxxxxx') %}" LOOP "{% set n.s = n.s ~ n.s %}" END, ERR_LIMIT, "256 MB" },
        { "{% set n = namespace(s=[1]) %}" LOOP "{% set n.s = n.s + n.s %}" END, ERR_LIMIT, "256 MB" },
        { "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", ERR_PARSE, "deeper than" },
        { "{% for i in [l] recursive %}{{ loop([l]) }}" END, ERR_PARSE, "deeper than" },
        { "{% macro m(f) %}{{ f(f) }}{% endmacro %}{{ m(m) }}", ERR_PARSE, "deeper than" },
        { "{{ 2 ** 9999999999 }}", ERR_UNSUPPORTED, "64 bits" },
        { "{{ 9223372036854775807 + 1 }}", ERR_UNSUPPORTED, "64 bits" },
        { "a\n\xff", ERR_PARSE, "line 2: byte 0xff is not UTF-8" },
    };
    for (size_t i = 0; i < sizeof HOSTILE / sizeof *HOSTILE; i++)
        check_end(HOSTILE[i].text, HOSTILE[i].code, HOSTILE[i].word);
}

static void a_template_may_be_nested_to_any_depth_and_ends_with_a_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *open, *middle, *close;
    } NESTS[] = { { "{% if true %}", "x", "{% endif %}" },
                  { "{% for i in l %}", "x", "{% endfor %}" },
                  { "{{ ", "1", " }}" },
                  { "(", "1", ")" },
                  { "[", "1", "]" },
                  { "{'a':", "1", "}" },
                  { "not ", "1", "" },
                  { "-", "1", "" },
                  { "1 if 1 else ", "1", "" },
                  { "l[", "0", "]" },
                  { "", "l", ".a" },
                  { "", "l", "|list" },
                  { "1 + ", "1", "" },
                  { "", "l", "(1)" } };
    for (size_t i = 0; i < sizeof NESTS / sizeof *NESTS; i++) {
        for (int n = 50; n <= 5000; n *= 10) {
            error err = { 0 };
            str out = { 0 }, whole = { 0 };
            char *text = repeated(NESTS[i].open, NESTS[i].middle, NESTS[i].close, n);
            json_t *c = json_parse(MINIMAL, strlen(MINIMAL), "test", &err);
            str_printf(&whole, strchr(NESTS[i].open, '%') ? "%s" : "{{ %s }}", text);
            chat_template *t = chat_template_new(whole.data, whole.len, "test", &err);
            const int rc = t ? chat_render(t, c, &out, &err) : err.code;
            if (rc == ERR_SCRIPT) fail_msg("%s x %d: %s", NESTS[i].open, n, err.text);
            chat_template_free(t);
            json_decref(c);
            free(text);
            str_free(&whole);
            str_free(&out);
        }
    }
    char *text = repeated("{{ ", "1", " }}", 20000);
    check_end(text, ERR_LIMIT, "nested too deep");
    free(text);
}

static void what_is_not_supported_is_named_with_its_line(void **state)
{
    (void)state;
    check_end("\n{% include 'x' %}", ERR_UNSUPPORTED, "line 2: 'include' is not supported");
    check_end("{% extends 'x' %}", ERR_UNSUPPORTED, "line 1: 'extends'");
    check_end("\n\n{{ l|xmlattr }}", ERR_UNSUPPORTED, "line 3: the filter 'xmlattr' is not supported");
    check_end("\n{{ l|nofilter }}", ERR_PARSE, "line 2: there is no filter 'nofilter'");
    check_end("\n{{ l is nothing }}", ERR_PARSE, "line 2: there is no test 'nothing'");
    check_end("\n{% if l %}\n", ERR_PARSE, "the template ends where");
    check_end("\n{{ raise_exception('Only users') }}", ERR_ARGUMENT, "test: Only users");
    check_end("\n\n{{ missing.x }}", ERR_PARSE, "line 3: 'missing' is undefined");
}

/* Nothing of one rendering is left for the next. */
static void a_template_is_rendered_any_number_of_times(void **state)
{
    (void)state;
    static const char TEXT[] = "{% if messages[0].content == 'bad' %}{{ raise_exception('bad') }}{% endif %}"
                               "{% macro m(i) %}{{ i }}{% if i %}{{ m(i - 1) }}{% endif %}{% endmacro %}"
                               "{{ messages[0].content }}{{ x is defined }}{% set x = 1 %}{{ m(100)|length }}";
    error err = { 0 };
    chat_template *t = chat_template_new(TEXT, strlen(TEXT), "test", &err);
    assert_non_null(t);
    for (int i = 0; i < 300; i++) {
        str out = { 0 };
        json_t *c = json_pack("[{s:s,s:s}]", "role", "user", "content", i % 3 == 1 ? "bad" : "x");
        const int rc = chat_render(t, c, &out, &err);
        assert_int_equal(rc, i % 3 == 1 ? ERR_ARGUMENT : OK);
        if (rc == OK) assert_string_equal(out.data, "xFalse193");
        str_free(&out);
        json_decref(c);
    }
    chat_template_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_jinja_makes_of_a_template_is_made_of_it),
        cmocka_unit_test(public_templates_render_as_jinja_renders_them),
        cmocka_unit_test(a_hostile_template_ends_with_a_sentence),
        cmocka_unit_test(a_template_may_be_nested_to_any_depth_and_ends_with_a_sentence),
        cmocka_unit_test(what_is_not_supported_is_named_with_its_line),
        cmocka_unit_test(a_template_is_rendered_any_number_of_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
