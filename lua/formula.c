/* SPDX-License-Identifier: MIT */
#include "lua/formula.h"

#include <ctype.h>
#include <string.h>

#include "lua/grammar.h"

enum { ARENA_CHUNK = 16 << 10, MAX_WRAPPERS = 8 };

static bool take(const char **text, size_t *len, const char *open, const char *close)
{
    const size_t a = strlen(open), b = strlen(close);
    if (*len < a + b || memcmp(*text, open, a) != 0 || memcmp(*text + *len - b, close, b) != 0) return false;
    *text += a;
    *len -= a + b;
    return true;
}

/* \boxed{...} around everything: its brace must be the last one. */
static bool take_box(const char **text, size_t *len)
{
    static const char *const BOXES[] = { "\\boxed{", "\\fbox{", "\\text{", "\\textbf{", "\\mathrm{", "\\mbox{" };
    for (size_t i = 0; i < sizeof BOXES / sizeof *BOXES; i++) {
        const char *t = *text;
        size_t n = *len;
        if (!take(&t, &n, BOXES[i], "}")) continue;

        int depth = 1; /* the brace that was opened must still be open where the last one stands */
        for (size_t k = 0; k < n && depth > 0; k++) {
            if (t[k] == '\\')
                k++;
            else if (t[k] == '{')
                depth++;
            else if (t[k] == '}')
                depth--;
        }
        if (depth != 1 || (n > 0 && t[n - 1] == '\\')) continue;

        *text = t;
        *len = n;
        return true;
    }
    return false;
}

static void strip_space(const char **text, size_t *len)
{
    for (; *len > 0 && strchr(" \t\r\n", **text) && **text; (*text)++) (*len)--;
    while (*len > 0 && strchr(" \t\r\n", (*text)[*len - 1]) && (*text)[*len - 1]) (*len)--;
}

/* Space, one full stop at the end, the borders of formulas, boxes. */
static void strip(const char **text, size_t *len)
{
    bool stopped = false;
    for (int i = 0; i < MAX_WRAPPERS; i++) {
        strip_space(text, len);
        const bool stop = !stopped && *len > 1 && (*text)[*len - 1] == '.' && (*text)[*len - 2] != '.';
        if (stop) {
            (*len)--;
            stopped = true;
        }

        const char *money = *len > 2 ? memchr(*text + 1, '$', *len - 2) : NULL; /* $5 and $6: not one formula */
        const bool taken = take(text, len, "\\(", "\\)") || take(text, len, "\\[", "\\]") ||
                           take(text, len, "$$", "$$") || (!money && take(text, len, "$", "$")) || take_box(text, len);
        if (!stop && !taken) break;
    }
    strip_space(text, len);
}

/* One capital at the beginning of a word is no other word; nor is YES. */
static void fold(char *words)
{
    static const char *const SHOUTED[] = { "YES", "NO", "TRUE", "FALSE", "NONE", "EVEN", "ODD" };
    for (char *w = words + 1; *w && *w != '"';) {
        const size_t n = strcspn(w, " \"");
        bool low = n > 1, shouted = false;
        for (size_t i = 1; i < n; i++) low = low && w[i] >= 'a' && w[i] <= 'z';
        for (size_t i = 0; i < sizeof SHOUTED / sizeof *SHOUTED; i++)
            shouted = shouted || (strlen(SHOUTED[i]) == n && memcmp(SHOUTED[i], w, n) == 0);

        low = low && (n > 2 || strncmp(w, "No", n) == 0);
        for (size_t i = 0; i < n && ((low && i == 0) || shouted); i++) w[i] = (char)tolower((unsigned char)w[i]);
        w += n;
        w += *w == ' ';
    }
}

static void name_text(formula *f, const char *text)
{
    f->name = text;
    f->name_len = strlen(text);
}

/* As it stands, runs of space made one; NULL when it has neither a letter nor a digit. */
static void name_as_it_stands(formula *f, const char *text, size_t len)
{
    bool says = false, gap = false;
    char *out = arena_alloc(f->memory, len + 2), *to = out;
    *to++ = '?';

    for (size_t i = 0; i < len; i++) {
        const bool blank = text[i] && strchr(" \t\r\n", text[i]);
        if (!blank) *to++ = text[i];
        if (blank && !gap) *to++ = ' ';
        gap = blank;
        says = says || isalnum((unsigned char)text[i]) || (text[i] & 0x80);
    }

    f->name = says ? out : NULL;
    f->name_len = (size_t)(to - out);
}

static bool read_structure(formula *f, const char *text, size_t len)
{
    parser p = { .memory = f->memory, .text = arena_strndup(f->memory, text, len), .len = len };
    items list = { 0 };
    char separator = 0;
    term t = { 0 };
    parser_advance(&p);
    grammar_list(&p, &list, &t, &separator);
    if (p.failed || p.token.kind != T_END) return false;

    if (list.n > 1) {
        name_text(f, items_join(&p, separator == ',' ? "L(" : "L;(", &list, ")"));
        return true;
    }

    const char *name = list.item[0];
    f->is_number = !t.rest && !t.group;
    f->number = t.n;
    if (!t.rest && t.group) name = term_node(&p, "(", name, NULL); /* (5) may be -5 in accounts */
    if (t.words && number_is_one(&t.n)) fold((char *)(uintptr_t)name);
    f->value = t.value;
    name_text(f, name);
    return true;
}

void formula_read(formula *f, const char *text, size_t len)
{
    *f = (formula){ .memory = arena_new(ARENA_CHUNK) };
    strip(&text, &len);
    if (len == 0) return;
    if (len > MAX_FORMULA || !read_structure(f, text, len)) {
        f->is_number = false;
        name_as_it_stands(f, text, len);
    }
}

void formula_free(formula *f)
{
    arena_free(f->memory);
    *f = (formula){ 0 };
}

bool formula_equal(const formula *a, const formula *b)
{
    if (!a->name || !b->name) return false;
    if (a->name_len == b->name_len && memcmp(a->name, b->name, a->name_len) == 0) return true;
    if (!a->value == !b->value) return false;
    const formula *named = a->value ? a : b, *plain = a->value ? b : a;
    return strlen(named->value) == plain->name_len && memcmp(named->value, plain->name, plain->name_len) == 0;
}
