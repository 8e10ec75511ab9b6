# SPDX-License-Identifier: MIT
"""Writes jinja.json: what Jinja2, set up as transformers set it up, makes of templates of ours; and chat_templates.json:
hashes (XXH64) of what it makes of public chat templates, which are not in this repository.

    python -m venv v && v/bin/pip install jinja2==3.1.6 xxhash
    v/bin/python tests/golden/make_jinja.py FOLDER-OF-TEMPLATES     (../shared/faults/templates)
"""
import json
import os
import sys

import xxhash

import jinja_reference as reference

HERE = os.path.dirname(os.path.abspath(__file__))

# ---- expressions: every filter, test, method and operator on values that it is for, and on some that it isn't ----

VARIABLES = {
    "s": "Hello, Wörld  foo", "t": " a b\tc\n", "n": 7, "f": 2.5, "neg": -3, "l": [3, 1, 2], "ls": ["b", "A", "c", "a"],
    "d": {"b": 1, "a": [1, {"x": None}], "items": 5}, "nothing": None, "yes": True, "no": False, "e": "", "el": [], "ed": {},
    "dl": [{"n": "x", "v": 2}, {"n": "y", "v": 1}, {"v": 3}], "big": 1e20, "sm": 1e-7, "q": "it's \"q\" \\ \n",
    "html": "<a href='x'>&</a>", "m": "line1\nline2\n\nline4", "cs": "ab,c,d"}
VALUES = ["s", "t", "n", "f", "l", "ls", "d", "nothing", "yes", "e", "el", "dl", "q", "html", "m", "undef"]
FILTERS = """upper|lower|title|capitalize|trim|length|first|last|list|join(',')|reverse|sort|sort(reverse=true)|unique|string|int|
float|abs|round|round(1)|default('D')|default('D',true)|tojson|tojson(indent=2)|replace('o','0')|replace('l','L',1)|indent|
indent(2,true)|indent(width=3,blank=true)|center(20)|wordcount|truncate(9)|truncate(5,true)|escape|safe|min|max|sum|items|
dictsort|dictsort(by='value')|count|tojson(separators=(',',':'))|tojson(sort_keys=true)|first"""
FILTERS = [f.replace("/", "|") for f in FILTERS.replace("\n", "").split("|")] + [
    "map('upper')|list", "map(attribute='v')|list", "select('number')|list", "reject('none')|list", "selectattr('n')|list",
    "selectattr('v','gt',1)|list", "rejectattr('n','defined')|list", "batch(2)|list", "slice(2)|list", "sum(attribute='v')",
    "sort(attribute='v')", "join(', ',attribute='v')", "map('default','z')|list", "map(attribute='n',default='zz')|list"]
METHODS = """.upper() .strip() .split() .split(',') .split('l',1) .rsplit('o',1) .lstrip() .rstrip('o') .startswith('H')
.endswith(('x','o')) .replace('o','0') .title() .find('o') .rfind('o') .count('o') .splitlines() .partition(',') .rpartition('o')
.zfill(9) .ljust(20)+'|' .center(30)+'|' .isdigit() .isalpha() .isupper() .capitalize() .swapcase() .removeprefix('Hel')
.keys()|list .values()|list .items()|list .get('b') .get('zz','d') .get('zz') .index(1) .copy() .append(1) .b .a[1].x .zz .zz.yy
[0] [-1] ['b'] [1:3] [::-1] [:-1] [5:1:-2] [100] .islower() .isspace() .lower().upper()""".split()
TESTS = """defined undefined none string number integer float mapping sequence iterable true false boolean callable odd even
escaped""".split() + ["divisibleby 2", "in [1,7]", "eq 7", "upper", "lower", "sameas true", "equalto('x')", "not none"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", ">", "<=", ">=", "in", "not in", "and", "or"]
OPERANDS = ["s", "n", "f", "l", "d", "nothing", "yes", "e", "undef", "2", "'foo'", "[1]", "('a',)", "2.0"]

# ---- templates: white space, scopes, loops, macros, blocks ----

TEMPLATES = [
    # white space
    "  {% if true %}\n x\n  {%- endif +%}\n y {#- c -#} \n z", "{% raw %} {{ x }} {% endraw %}\n a", "a\n  {% set q=1 %}  \n b",
    "\t{{ n }}\n", "a \n {{- n -}} \n b", "{%- if true -%}  a  {%- endif -%}  b", "  {%+ if true %}a{% endif %}\n\n",
    "x\n{# c #}\ny\n\n", "{% if true %}\n\n{% endif %}.", "a\r\nb\rc\n", "{{ '{{' }}{{ '%}' }}", "{# {{ #}{{ n }}",
    "{%- for i in l %}\n  {{ i }}\n{%- endfor %}\n", "{% raw -%}\n  {% x %}\n{%- endraw %}",
    # constants and precedence
    "{{ '\\n\\t\\x41\\u00e9\\q' }}", "{{ 'a' 'b' }}", "{{ 1_000 }} {{ 0x1F }} {{ 1.5e3 }} {{ 0b11 }}", "{{ (1,2) }} {{ () }} {{ (1,) }}",
    "{{ 0.1+0.2 }} {{ 1e16 }} {{ 123456789.0*10 }} {{ 1e-5 }} {{ 100000.0 }}", "{{ -n|abs }} {{ -2**2 }} {{ 2**3**2 }} {{ 7//-2 }} {{ -7%3 }}",
    "{{ not n == 7 }} {{ 1 < n < 9 }} {{ 1 < 9 < n }}", "{{ 3 == 3.0 }} {{ true == 1 }} {{ true + 1 }} {{ 'a'*3 }} {{ [1]*2 }}",
    "{{ 1 if n > 3 }}|{{ 1 if n < 3 }}|{{ 'a' if e else 'b' if el else 'c' }}", "{{ 'x' ~ nothing ~ 1 ~ 2.0 ~ undef }}",
    "{{ {'a':1}.a }}{{ {1:2}[1] }}{{ {'a':{'b':[]}}|tojson(indent=4) }}", "{{ (l + [4])[1:] }}{{ l[-2:] }}{{ s[::2] }}{{ 'äö'[1] }}{{ s[5:-2] }}",
    "{{ 'ÄÖÜß'|lower }}{{ 'äöüß'|upper }}{{ 'äö'|length }}", "{{ 5|tojson }}{{ 'a\"b\u00e9'|tojson }}{{ nothing|tojson }}{{ 1.0|tojson }}",
    "{{ n is not none and n is number }}{{ n is divisibleby 7 }}{{ n in (1, 7) }}{{ 'b' not in d }}",
    # loops
    "{% for i in l %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a','b') }},{% else %}none{% endfor %}",
    "{% for i in l %}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.length }}{{ loop.changed(i > 1) }};{% endfor %}",
    "{% for i in el %}x{% else %}none{% endfor %}", "{% for k,v in d.items() %}{{k}}={{v}};{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}",
    "{% for i in l if i > 1 %}{{ i }}{{ loop.length }}{% endfor %}", "{% for c in 'äb' %}{{c}}.{% endfor %}", "{% for i in 5 %}{% endfor %}",
    "{% for i in range(9) %}{% if i==2 %}{% continue %}{% endif %}{% if i==5 %}{% break %}{% endif %}{{i}}{% endfor %}",
    "{% for i in [[1,[2,[3]]]] recursive %}{% if i is number %}{{i}}@{{loop.depth}}{% else %}({{loop(i)}}){% endif %}{% endfor %}",
    "{% for i in l %}{{ loop['first'] }}{{ loop['last'] }}{{ loop['index'] }},{% endfor %}",
    "{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}", "{{ loop is defined }}",
    "{% for i in range(5, 0, -2) %}{{ i }}{% endfor %}{{ range(3)|list }}{{ range(2, 4) }}", "{% for a,b in dl %}{% endfor %}",
    "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for i in undef %}x{% else %}y{% endfor %}",
    # scopes
    "{% set x=1 %}{% for i in l %}{% set x=i %}{{x}}{% endfor %}{{x}}", "{% set x=1 %}{% if true %}{% set x=2 %}{% endif %}{{x}}",
    "{% set ns=namespace(x=1) %}{% for i in l %}{% set ns.x=ns.x+i %}{% endfor %}{{ns.x}}", "{% set d.x = 1 %}", "{{ ns is defined }}",
    "{% with a=1,b=n %}{{a+b}}{% endwith %}{{a}}", "{% set a,b = 1,2 %}{{b}}{{a}}", "{% set a,b = [1] %}",
    "{% set z %}  a{{n}}  {% endset %}{{z|trim}}|{{z}}", "{% set z | upper %}abc{% endset %}{{z}}", "{% set n = 1 %}{{ n }}",
    # macros, call, filter
    "{% macro m(a,b=2) %}{{a}}-{{b}}-{{varargs}}-{{kwargs}}{% endmacro %}{{ m(1) }}{{ m(1,3,4,z=5) }}{{ m() }}",
    "{% macro m(a) %}[{{a}}{{caller('q')}}]{% endmacro %}{% call(x) m(1) %}<{{x}}>{% endcall %}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}", "{% macro m(i) %}{{ i }}{% if i %}{{ m(i - 1) }}{% endif %}{% endmacro %}{{ m(5) }}",
    "{% macro m() %}{{ n }}{% set n = 2 %}{{ n }}{% endmacro %}{{ m() }}{{ n }}", "{% filter upper|replace('A','b') %}aXa{% endfilter %}",
    "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(3) }}{{ m(*[1, 2]) }}{{ m(**{'a': 4}) }}", "{% generation %}hi{{ n }}{% endgeneration %}",
    # what every template may call
    "{% set j=joiner('; ') %}{{j()}}a{{j()}}b", "{% set c=cycler('a','b') %}{{c.next()}}{{c.next()}}{{c.current}}{{c.next()}}", "{{ dict(a=1,b=2) }}",
    "{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%Y-%m-%d %A %j') }}", "{{ raise_exception('no ' + s) }}", "{{ namespace(a=1).a }}",
    # filters and methods that want more than one value
    "{{ [nothing,1,'x',2.0,true]|join('-') }}", "{{ l|map('string')|map('upper')|join }}", "{{ '1,2;3'.split(',') | first | int }}",
    "{{ [1,2,3]|select('odd')|sum }}", "{{ dl|groupby('v')|list|length }}{% for g, items in dl|groupby('v') %}{{ g }}{{ items|length }}{% endfor %}",
    "{{ '%s and %d %r %5.2f %%' % ('x',3,'y',2.345) }}", "{{ '{} {}'.format(1,2) }}{{ '{0} {b}'.format(1,b=2) }}", "{{ 'abc'|format }}",
    "{{ ls|sort(case_sensitive=true) }}{{ ls|sort }}{{ [3, 1]|sort|first }}", "{{ ls|unique|list }}{{ ''.join(ls) }}{{ ls|max }}{{ dl|min(attribute='v') }}",
    "{{ s.startswith('He') and not s.endswith('x') }}{{ s|attr('zz') is undefined }}", "{{ 'a b'|urlencode }}{{ html|e }}{{ (html|safe) ~ '<' }}",
    "{{ x|default({})|length }}{{ nothing|default('a') }}{{ nothing|default('a', true) }}{{ d|items|list }}", "{{ true|string|lower }}{{ '7'|int + 1 }}{{ 'x'|int(3) }}",
    "{{ s is string and d is mapping and l is sequence and s is iterable }}{{ d.items is callable }}{{ d['items'] }}",
    # faults
    "{{ undef.x }}", "{{ undef.x.y }}", "{{ foo() }}", "{{ 1/0 }}", "{{ nothing.x }}", "{{ nothing + 1 }}", "{{ 'a' + 1 }}", "{{ l < 'a' }}",
    "{{ l.append(4) }}", "{{ d.update({}) }}", "{{ n() }}", "{{ s|nofilter }}", "{{ n is notest }}", "{% notag %}", "{{ n ", "{% if n %}",
    "{{ 'a }}", "{% endif %}", "{{ (1, }}", "{{ n n }}", "{% for in l %}{% endfor %}", "{% set %}", "{% macro %}{% endmacro %}", "{{ {'a' 1} }}", "{# ", "{{ 1 + }}",
    "{{ s.__class__ }}", "{{ s.__class__.__mro__ }}", "{{ [].__class__ }}", "{{ ''.join([1]) }}", "{{ [1, 'a']|sort }}", "{{ l[none] }}", "{{ l['a'] }}",
]


def templates():
    for v in VALUES:
        for f in FILTERS:
            yield "{{ %s|%s }}" % (v, f)
        for m in METHODS:
            yield "{{ %s%s }}" % (v, m)
        for t in TESTS:
            yield "{{ %s is %s }}" % (v, t)
    for a in OPERANDS:
        for i, sign in enumerate(OPERATORS):
            for b in OPERANDS[i % 3::3]:
                yield "{{ %s %s %s }}" % (a, sign, b)
    yield from TEMPLATES


# Python's own words for an object: no chat template prints them.
def is_about_python(text):
    return text is not None and any(word in text for word in (" object at 0x", "<generator", "dict_", "<built-in", "<class", "<function"))


def write(name, value):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=0, sort_keys=False)
        file.write("\n")


def main():
    env = reference.environment()
    cases = []
    for text in dict.fromkeys(templates()):
        want, kind = reference.render(reference.compile_template(env, text), VARIABLES)
        if not is_about_python(want):
            cases.append([text, want if kind is None else {"error": kind}])
    write("jinja.json", {"date": reference.DATE, "variables": VARIABLES, "cases": cases})

    hashes = {}
    for file in sorted(os.listdir(sys.argv[1])):
        if file.endswith(".jinja"):
            with open(os.path.join(sys.argv[1], file), encoding="utf-8", newline="") as opened:
                template = reference.compile_template(env, opened.read())
            outcomes = (reference.render(template, variables) for _, variables in reference.conversations())
            hashes[file] = [kind or xxhash.xxh64(text.encode()).hexdigest() for text, kind in outcomes]
    write("chat_templates.json", {"messages": reference.MESSAGES, "always": reference.ALWAYS, "options": reference.OPTIONS,
                                  "hashes": hashes})
    print(len(cases), "cases,", len(hashes), "templates")


main()
