/* SPDX-License-Identifier: MIT */
/* What math_equal takes for the same: every kind of other value is refused, every harmless spelling accepted. The cases
 * are built from templates, by a seed: {a} {b} {c} are different whole numbers from 2 to 99, {x} {y} different letters,
 * {w} {v} different words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "lua/formula.h"
#include "tests/support/support.h"

enum { CASES = 80 };

typedef struct pair {
    const char *a, *b;
} pair;

/* Each row is a kind of mistake: b is another value than a, whatever stands in the braces. */
static const pair DIFFERENT[] = {
    /* signs */
    { "{a}", "-{a}" },
    { "-{a}", "{a}" },
    { "{a}", "--{a}" },
    { "-{a}", "--{a}" },
    { "{a}", "{a}-" },
    { "{a}", "+-{a}" },
    { "{a}", "\\pm {a}" },
    { "\\pm {a}", "\\mp {a}" },
    { "\\frac{{a}}{{b}}", "-\\frac{{a}}{{b}}" },
    { "{a}{x}", "-{a}{x}" },
    { "\\infty", "-\\infty" },
    { "{a}+{b}i", "{a}-{b}i" },
    { "\\frac{-{a}}{{b}}", "\\frac{{a}}{{b}}" },
    { "-{a}.{b}", "{a}.{b}" },
    /* the point, digits, separators */
    { "{a}{b}", "{a}.{b}" },
    { "0.{a}", "0.0{a}" },
    { "{a},{b}", "{a}.{b}" },
    { "{a},{b}", "{a}{b}" },
    { "{a}", "{a}0" },
    { "{a}", "0.{a}" },
    { "{a}.5", "{a}5" },
    { "0,{a}3", "0{a}3" },
    { "{a} {b}", "{a}{b}" },
    { "{a}.{b}.{c}", "{a}{b}{c}" },
    { "{a}\\%", "{a}" },
    { "{a}%", "0.{a}%" },
    { "{a}:{b}", "{a}{b}" },
    { "{a}:{b}", "{b}:{a}" },
    { "3:05", "3:5" },
    { "{a}", "{a}{b}" },
    /* fractions and mixed numbers */
    { "{a}/{b}", "{b}/{a}" },
    { "{a}/{b}", "{a}{b}" },
    { "\\frac{{a}}{{b}}", "\\frac{{b}}{{a}}" },
    { "{a} 1/2", "{a}1/2" },
    { "{a}\\frac{1}{2}", "\\frac{{a}1}{2}" },
    { "{a}/{b}/{c}", "{a}/{b}" },
    { "1/{a}{x}", "{x}/{a}" },
    /* exponents, roots, indices, factorials */
    { "{a}e{b}", "{a}e-{b}" },
    { "{a}e3", "{a}3" },
    { "{a} \\times 10^{{b}}", "{a} \\times 10^{-{b}}" },
    { "10^{b}", "10^-{b}" },
    { "{a}^{{b}}", "{a}^{-{b}}" },
    { "{a}^{b}", "{a}{b}" },
    { "{x}^{a}", "{x}_{a}" },
    { "{x}^{a}", "{x}^{b}" },
    { "{x}^{{a}}", "{a}{x}" },
    { "({x}+{a})^2", "{x}+{a}^2" },
    { "({x}{y})^2", "{x}{y}^2" }, /* a run of letters may be a product */
    { "({x}{y})_{a}", "{x}{y}_{a}" },
    { "({v}{w})!", "{v}{w}!" },
    { "\\sqrt{{a}}", "{a}" },
    { "\\sqrt[{b}]{{a}}", "\\sqrt{{a}}" },
    { "{b}\\sqrt{{a}}", "\\sqrt{{b}}" },
    { "{x}_{a}", "{x}{a}" },
    { "{x}_{{a}}", "{x}_{{b}}" },
    { "{a}!", "{a}" },
    { "{a}!!", "{a}!" },
    { "101_2", "101" },
    { "{x}'", "{x}" },
    /* brackets, order, shape */
    { "({a},{b})", "({b},{a})" },
    { "({a},{b})", "\\{{a},{b}\\}" },
    { "({a},{b})", "[{a},{b}]" },
    { "[{a},{b})", "({a},{b}]" },
    { "[{a},{b})", "[{a},{b}]" },
    { "{a}", "[{a}]" },
    { "{a}", "({a})" },
    { "{a}", "\\{{a}\\}" },
    { "{a}", "|{a}|" },
    { "{a}, {b}", "{b}, {a}" },
    { "({a},{b}{b}{b})", "({a}{b}{b}{b})" },
    { "({a},{b},{c})", "({a},{b})" },
    { "\\{{a},{b}\\}", "\\{{a},{c}\\}" },
    { "(({a},{b}),{c})", "({a},({b},{c}))" },
    { "\\begin{pmatrix}{a} & {b}\\end{pmatrix}", "\\begin{pmatrix}{a} \\\\ {b}\\end{pmatrix}" },
    { "\\begin{pmatrix}{a} & {b} \\\\ {c} & 1\\end{pmatrix}", "\\begin{pmatrix}{a} & {c} \\\\ {b} & 1\\end{pmatrix}" },
    { "\\begin{pmatrix}{a} & {b} \\\\ {c} & 1\\end{pmatrix}", "\\begin{vmatrix}{a} & {b} \\\\ {c} & 1\\end{vmatrix}" },
    { "({a},{b}) \\cup ({c},\\infty)", "({a},{b}) \\cap ({c},\\infty)" },
    { "({a},{b}) \\cup [{c},\\infty)", "({a},{b}) \\cup ({c},\\infty)" },
    /* relations */
    { "{x}<{a}", "{x}>{a}" },
    { "{x}<{a}", "{x}\\le {a}" },
    { "{x}\\ge {a}", "{x}\\le {a}" },
    { "{x}={a}", "{x}\\ne {a}" },
    { "{a}<{x}<{b}", "{a}>{x}>{b}" },
    { "{a}<{x}\\le {b}", "{a}\\le {x}<{b}" },
    { "{x}={a}", "{x}=-{a}" },
    { "{x}={a}", "-{a}" },
    { "{x}={a}", "{y}={a}" },
    { "{x}+{y}={a}", "{a}" },
    { "{y}={a}{x}", "{a}{x}" },
    { "{y}={a}{x}", "{x}={a}{y}" },
    { "\\log_{{a}} {b}", "\\log_{{b}} {a}" },
    { "\\sin^{-1} {x}", "\\sin {x}" },
    { "p \\implies q", "q \\implies p" },
    { "\\sum_{i=1}^{{a}} i", "\\sum_{i=0}^{{a}} i" },
    { "0.\\overline{{a}}", "0.{a}" },
    { "\\lfloor {a}.5 \\rfloor", "\\lceil {a}.5 \\rceil" },
    { "{x}\\approx {a}", "{x}={a}" },
    /* letters, functions, expressions */
    { "{x}", "{y}" },
    { "f({x})", "f({y})" },
    { "f({a})", "{a}f" },
    { "\\sin {x}", "\\cos {x}" },
    { "\\overline{{x}}", "{x}" },
    { "{x}-{y}", "{y}-{x}" },
    { "{x}/{y}", "{y}/{x}" },
    { "{a}{x}+{b}", "{b}{x}+{a}" },
    { "({x}+{a})({y}+{b})", "({x}+{b})({y}+{a})" },
    { "{x}-({y}-{a})", "{x}-{y}-{a}" },
    { "\\binom{{a}}{{b}}", "\\binom{{b}}{{a}}" },
    { "{a}\\pi", "{a}" },
    { "{a}i", "-{a}i" },
    { "{a} \\times {b}", "{b} \\times {a}" },
    { "2020-{a}-{b}", "2020-{b}-{a}" },
    { "{a}-{b}", "{b}-{a}" },
    /* units, words, money */
    { "{a} cm", "{a} m" },
    { "{a} cm", "{a}" },
    { "{a} cm^2", "{a} cm" },
    { "{a} {w}", "{a} {v}" },
    { "{a} {w}", "{b} {w}" },
    { "1 {w}", "{w}" },
    { "{a} {w} {v}", "{a} {v} {w}" },
    { "{a}^\\circ", "{a}" },
    { "$ {a} $", "\u20ac{a}" },
    { "{a} MW", "{a} mW" },
    { "A", "B" },
    { "A", "a" },
    { "(A)", "(B)" },
    { "{w}", "{v}" },
    { "{w} {v}", "{v} {w}" },
    { "{w}", "" },
    { "not {w}", "{w}" },
    { "{w} {a}", "{w}" },
    { "x{a}", "{a}x" },
    { "0x1F", "0" },
    /* what can't be read is nothing else */
    { "{a}", "{a}\xff" },
    { "{a}", "{a}\u200b" },
    { "{a}", "{a}?" },
    { "{a}", "\"{a}\"" },
    { "{a}", "{a}{b}{b}{b}{b}{b}{b}e400" },
    { "{a}e400", "{a}e401" },
    { "{a}", "{a}\\frac{{b}" },
    { "{a}+{b}", "9{a}{b}" },
    /* what a function is of */
    { "\\sin({a}){x}", "\\sin {a}{x}" },
    { "\\cos({x}) {y}", "\\cos {x} {y}" },
    { "\\sin({x})^2", "\\sin {x}^2" },
    { "\\sin{{x}}^2", "(\\sin {x})^2" },
    { "\\sin^2({x}) {y}", "\\sin^2 {x} {y}" },
    { "\\operatorname{sin}({x}) {y}", "\\operatorname{sin} {x} {y}" },
    { "\\ln({x})/{a}", "\\ln {x}/{a}" },
    { "\\log({a})\\cdot {b}", "\\log {a}\\cdot {b}" },
    { "f'({x}) {y}", "f' {x} {y}" },
    /* mixed numbers that are no product */
    { "{a}\\cdot {b}\\frac12", "{a}\\cdot {b}\\cdot\\frac12" },
    { "{x}\\times {b}\\frac{1}{2}", "{x}\\times {b}\\times\\frac{1}{2}" },
    { "9,0{a}\\frac12", "90{a}\\cdot\\frac12" },
    { "{a}.5\\frac12", "{a}.5\\cdot\\frac12" },
    { "\\sin {a}\\frac12", "\\sin {a}\\cdot\\frac12" },
    /* commands that hold together what stands beside them */
    { "\\lfloor {x}+{y}\\rfloor+\\frac12", "\\lfloor {x}+\\frac12+{y}\\rfloor" },
    { "\\lceil {x}-{y}\\rceil-{a}u", "\\lceil {x}-{a}u-{y}\\rceil" },
    { "{x}+{y}\\implies {w}", "{y}\\implies {w}+{x}" },
    { "{x}+{y}\\equiv {a}", "{y}\\equiv {a}+{x}" },
    { "{x}+{a}\\to {y}", "{a}\\to {y}+{x}" },
    { "{x}+{y}\\in S", "{y}\\in S+{x}" },
    { "\\{\\langle {a},{b}\\rangle,\\langle {c},1\\rangle\\}",
      "\\{\\langle {a},1\\rangle,\\langle {c},{b}\\rangle\\}" },
    { "A\\setminus B\\cup C", "C\\cup A\\setminus B" },
    { "{a}({x}\\bmod {y})", "{a}{x}\\bmod {y}" },
    { "-({x}\\bmod {a})", "-{x}\\bmod {a}" },
    { "({x}\\bmod {y})/{a}", "{x}\\bmod {y}/{a}" },
    { "~{a}", "{a}" },
    { "{x}~{a}", "{x} {a}" },
    { "({a}!)!", "{a}!!" },
    { "\\ln {a}\\cdot {x}", "\\ln {a}{x}" },
    { "\\sin {x}\\cdot {y}", "\\sin {x} {y}" },
    { "\\sin({a})\\pi", "\\sin {a}\\pi" },
    { "\\sin {x}\\cdot\\pi", "\\sin {x}\\pi" },
    { "{x}>{y} \\land {a}>{b}", "{b}<{y}\\land {a}<{x}" },
    { "{x}>{y} and {a}<{b}", "{y}<{x} and {b}>{a}" },
    { "{x} = {y} or {a}{x}", "{y} or {a}{x} = {x}" },
    /* signs and letters outside of ASCII */
    { "{a}\u00bd", "{a}*\u00bd" },
    { "{a}\u0665", "{a}*\u0665" },
    { "{x}\u2082", "{x}*\u2082" },
    { "{x} + {y} \u2208 S", "{y} \u2208 S + {x}" },
    { "\u230a {x} + {y} \u230b + {a}u", "\u230a {x} + {a}u + {y} \u230b" },
    { "{x} > {y} \u2227 {a} > {b}", "{b} < {y} \u2227 {a} < {x}" },
    { "{a}\u00b3\u221a{b}", "{a}^3\\sqrt{{b}}" },
    /* \text{} shows no brackets */
    { "{a}\\text{-{b}}", "{a}*-{b}" },
    { "{a}\\text{{b}}", "{a}*{b}" },
    { "{a}\\text{{x}+1}", "{a}({x}+1)" },
    { "\\text{{x}+1}^2", "({x}+1)^2" },
    { "-\\text{{a}+{x}}", "-({a}+{x})" },
    { "\\text{1/{a}}{x}", "\\frac{1}{{a}}{x}" },
    /* zeros and points that may be others */
    { "\\left.{a}\\right.", "0.{a}" },
    { "{a},05", "{a},5" },
    { "{a},000,0", "{a},0,0" },
    { "{a}\u20ac05", "{a}\u20ac5" },
    { "{x}_{0{a}}", "{x}_{a}" },
    { "1_000", "1_0" },
    { "1.234,{a}", "1.234, {a}" },
    /* what stands below a stroke, and how many digits TeX raises */
    { "1/{x}{y}", "1/({x}{y})" },
    { "{a}/{x}{y}", "{a}/({x}{y})" },
    { "{x}/{y}{w}", "{x}/({y}{w})" },
    { "1/{x}{y}^2", "1/({x}{y}^2)" },
    { "1/{x}{y}", "\\frac{1}{{x}{y}}" },
    { "{x}^1{a}", "{x}^{1{a}}" },
    { "({x}+{y})^1{a}", "({x}+{y})^{1{a}}" },
    { "{x}_1{a}", "{x}_{1{a}}" },
    { "{x}^-1{a}", "{x}^{-1{a}}" },
    { "{a} 1/2{x}", "{a}.5{x}" },
    /* what does not commute */
    { "A-B-C", "A-C-B" },
    { "{x} % {y}", "{x}%*{y}" },
    { "\\begin{pmatrix}{a}&{b}\\end{pmatrix}*\\begin{pmatrix}1\\\\{c}\\end{pmatrix}",
      "\\begin{pmatrix}1\\\\{c}\\end{pmatrix}*\\begin{pmatrix}{a}&{b}\\end{pmatrix}" },
};

/* Each row is one value, said in two ways. */
static const pair SAME[] = {
    { "{a}", "{a}.0" },
    { "{a}", "{a}." },
    { "{a}", "${a}$" },
    { "{a}", "\\boxed{{a}}" },
    { "{a}", "+{a}" },
    { "{a}", "{x} = {a}" },
    { "-{a}", "\u2212{a}" },
    { "{a},{b}0.5", "{a},{b}0.50" },
    { "{a},345.50", "{a}345.5" },
    { "{a} 345", "{a}345" },
    { "{a}/{b}", "\\frac{{a}}{{b}}" },
    { "-\\frac{{a}}{{b}}", "\\frac{-{a}}{{b}}" },
    { "1/2", "0.5" },
    { "{a}%", "{a}\\%" },
    { "{a}%", "{a}/100" },
    { "{a} 1/2", "{a}.5" },
    { "{a}\\frac12", "{a}.5" },
    { "{a} \\times 10^{3}", "{a}000" },
    { "{a}e-2", "{a}/100" },
    { "{x}^{2}", "{x}\u00b2" },
    { "\\sqrt{{a}}", "sqrt({a})" },
    { "\\left({a}, {b}\\right)", "({a},{b})" },
    { "\\{{a},{b}\\}", "\\{{b}, {a}\\}" },
    { "({a},{b}) \\cup ({c},\\infty)", "({c},\\infty)\\cup({a},{b})" },
    { "{a}<{x}", "{x} > {a}" },
    { "{a}\\le {x}<{b}", "{b} > {x} \\ge {a}" },
    { "{x}+{a}", "{a}+{x}" },
    { "{a}{x}", "{a}*{x}" },
    { "{a} {w}", "{a}  {w}" },
    { "{a}^\\circ", "{a}\u00b0" },
    { "{a}\\pi", "{a}\u03c0" },
    { "\\text{{w}}", "{w}" },
    { "yes", "Yes." },
    { "\\text{(C)}", "C" },
    { "{a}:{b}", "{a}:{b}" },
    { "\\dfrac{{a}}{{b}}", "\\tfrac{{a}}{{b}}" },
    { "\\sin({x})", "\\sin {x}" },
    { "{a}\\sin{{x}}", "{a}\\sin {x}" },
    { "\\sin({x})\\cos({y})", "\\sin {x}\\cos {y}" },
    { "\\sin {x}\\cos {y}", "\\sin {x} \\cdot \\cos {y}" },
    { "{a}\\sin {x}", "{a}\\cdot\\sin {x}" },
    { "{a}\\text{ cm}^2", "{a} cm^2" },
    { "{a}\\text{ m^2}", "{a} m^2" },
    { "\\text{-{a}}", "-{a}" },
    { "\u20ac{a}.50", "\u20ac{a}.5" },
    { "({a},\\text{{b}})", "({a},{b})" },
    { "\\ln({a})/{b}", "\\frac{\\ln {a}}{{b}}" },
    { "\\sin {x}+\\cos {x}", "\\cos {x}+\\sin {x}" },
    { "\\{\\pi,{a}\\}", "\\{{a},\\pi\\}" },
    { "\\pi {x}/{a}", "\\frac{\\pi {x}}{{a}}" },
    { "\\lfloor {x}\\rfloor", "\\left\\lfloor {x} \\right\\rfloor" },
    { "{a}~cm", "{a} cm" },
    { "\\begin{pmatrix}{a}&{b}\\end{pmatrix}", "\\begin{bmatrix}{a} & {b}\\end{bmatrix}" },
};

static bool equal(const char *a, size_t na, const char *b, size_t nb)
{
    formula x, y;
    formula_read(&x, a, na);
    formula_read(&y, b, nb);
    const bool same = formula_equal(&x, &y);
    assert_true(formula_equal(&y, &x) == same);
    assert_false(x.name && !formula_equal(&x, &x));
    formula_free(&x);
    formula_free(&y);
    return same;
}

static bool says_the_same(const char *a, const char *b) { return equal(a, strlen(a), b, strlen(b)); }

typedef struct values {
    int number[3];
    char letter[2];
    const char *word[2];
} values;

static values draw(test_random *rnd)
{
    static const char *const WORDS[] = { "apples", "pears", "metres", "red", "blue", "dogs", "Paris", "north" };
    static const char LETTERS[] = "abcdghjkmnpqrstuvwxyz";
    values v;
    for (int i = 0; i < 3; i++) { /* far apart, and none a multiple of ten */
        v.number[i] = 2 + (int)test_random_below(rnd, 98);
        const bool taken = (i > 0 && v.number[i] == v.number[0]) || (i > 1 && v.number[i] == v.number[1]);
        if (taken || v.number[i] % 10 == 0) i--;
    }
    v.letter[0] = LETTERS[test_random_below(rnd, 10)];
    v.letter[1] = LETTERS[10 + test_random_below(rnd, 11)];
    v.word[0] = WORDS[test_random_below(rnd, 4)];
    v.word[1] = WORDS[4 + test_random_below(rnd, 4)];
    return v;
}

static void fill(const char *template, const values *v, char out[200])
{
    for (const char *p = template; *p; p++) {
        const bool slot = p[0] == '{' && p[1] && p[2] == '}' && strchr("abcxywv", p[1]);
        if (!slot) {
            *out++ = *p;
            continue;
        }
        const char c = p[1];
        p += 2;
        if (c <= 'c')
            out += sprintf(out, "%d", v->number[c - 'a']);
        else if (c == 'x' || c == 'y')
            *out++ = v->letter[c - 'x'];
        else
            out = stpcpy(out, v->word[c == 'v']);
    }
    *out = 0;
}

static void try_all(const pair *rows, size_t n, bool same)
{
    char a[200], b[200];
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        test_random rnd = test_random_seed(seed);
        for (size_t i = 0; i < n; i++) {
            const values v = draw(&rnd);
            fill(rows[i].a, &v, a);
            fill(rows[i].b, &v, b);
            if (says_the_same(a, b) != same)
                fail_msg("seed %ju: %s and %s were %s", (uintmax_t)seed, a, b, same ? "told apart" : "taken for one");
            if (!says_the_same(a, a)) fail_msg("seed %ju: %s is not itself", (uintmax_t)seed, a);
        }
    }
}

static void another_value_is_never_taken_for_the_right_one(void **state)
{
    (void)state;
    assert_true(sizeof DIFFERENT / sizeof *DIFFERENT >= 100);
    try_all(DIFFERENT, sizeof DIFFERENT / sizeof *DIFFERENT, false);
}

static void a_value_is_known_in_its_other_spellings(void **state)
{
    (void)state;
    try_all(SAME, sizeof SAME / sizeof *SAME, true);
}

static void nothing_is_equal_to_nothing(void **state)
{
    (void)state;
    static const char *const EMPTY[] = { "", " ", ".", "$", "$$", "\\boxed{}", "-", "...", "\n", "?!", "\\(\\)" };
    for (size_t i = 0; i < sizeof EMPTY / sizeof *EMPTY; i++) {
        for (size_t k = 0; k < sizeof EMPTY / sizeof *EMPTY; k++)
            if (says_the_same(EMPTY[i], EMPTY[k])) fail_msg("'%s' and '%s'", EMPTY[i], EMPTY[k]);
        assert_false(says_the_same(EMPTY[i], "0"));
        assert_false(says_the_same(EMPTY[i], "the"));
    }
    assert_false(equal("5\0", 2, "5", 1));
    assert_true(equal("5\0", 2, "5\0", 2));
}

/* What a policy may write to make us slow: long numbers, deep brackets, long chains. */
static void nothing_makes_it_slow(void **state)
{
    (void)state;
    static const char *const PIECES[] = {
        "(", "9",       "9/",      "!",    "'", "-",    "9,",  "x^",   "\\frac",           "{",
        "|", "\\text{", "\\sqrt[", "1.5+", "x", "a b ", "[1,", "9^9^", "\\begin{pmatrix}", ","
    };
    const int64_t began_ms = clock_cpu_us() / 1000;
    for (size_t i = 0; i < sizeof PIECES / sizeof *PIECES; i++) {
        for (size_t len = 500; len <= 1 << 20; len = len == 500 ? MAX_FORMULA : len * 16) {
            char *text = xmalloc(len + 100);
            size_t n = 0;
            while (n < len) n += (size_t)sprintf(text + n, "%s", PIECES[i]);
            says_the_same(text, "5");
            assert_false(says_the_same(text, "1"));
            free(text);
        }
    }
    char fraction[1400];
    for (int i = 0; i < 1390; i++) fraction[i] = (char)('1' + i % 9);
    fraction[695] = '/';
    fraction[1390] = 0;
    for (int i = 0; i < 100; i++) assert_true(says_the_same(fraction, fraction));
    if (clock_cpu_us() / 1000 - began_ms > 5000) fail_msg("took %d ms", (int)(clock_cpu_us() / 1000 - began_ms));
}

/* The golds of GSM8K: each is itself in every spelling, none with a sign, a point, a power or a bracket changed. */
static void real_answers_hold(void **state)
{
    (void)state;
    static const char *const RIGHT[] = { "%s", "%s.0", "%s.", "\\boxed{%s}", "$%s$", "x = %s", "%s/1", "%s.00" };
    static const char *const WRONG[] = { "--%s",     "%s-",     "0.%s", "%s0",   "%se3", "%se-3",
                                         "%s^2",     "%s^{-1}", "%s!",  "[%s]",  "(%s)", "{%s}",
                                         "\\{%s\\}", "|%s|",    "%s%%", "1/2%s", "%s.5", "%s cm" };
    char a[200], *path = test_data("data/datasets/gsm8k/train.jsonl");
    if (!path) skip();
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    free(path);
    char *line = NULL;
    size_t room = 0, golds = 0;
    for (ssize_t n; (n = getline(&line, &room, f)) > 0;) {
        const char *mark = strstr(line, "#### ");
        assert_non_null(mark);
        char gold[64], digits[64], *to = digits;
        snprintf(gold, sizeof gold, "%.*s", (int)strspn(mark + 5, "0123456789,-"), mark + 5);
        for (const char *p = gold; *p; p++)
            if (*p != ',') *to++ = *p;
        *to = 0;
        golds++;
        for (size_t i = 0; i < sizeof RIGHT / sizeof *RIGHT; i++) {
            snprintf(a, sizeof a, RIGHT[i], i == 0 ? gold : digits);
            if (!says_the_same(a, gold)) fail_msg("%s is not %s", a, gold);
        }
        if (atoll(digits) == 0) continue;
        for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
            snprintf(a, sizeof a, WRONG[i], digits);
            if (says_the_same(a, gold)) fail_msg("%s is taken for %s", a, gold);
        }
        snprintf(a, sizeof a, "%s%s", gold[0] == '-' ? "" : "-", gold + (gold[0] == '-'));
        assert_false(says_the_same(a, gold));
    }
    free(line);
    fclose(f);
    assert_true(golds > 7000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_value_is_never_taken_for_the_right_one),
        cmocka_unit_test(a_value_is_known_in_its_other_spellings),
        cmocka_unit_test(nothing_is_equal_to_nothing),
        cmocka_unit_test(nothing_makes_it_slow),
        cmocka_unit_test(real_answers_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
