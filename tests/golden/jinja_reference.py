# SPDX-License-Identifier: MIT
"""Jinja2 set up as transformers set it up for chat templates (utils/chat_template_utils.py), and conversations of every
kind that templates look at: what make_jinja.py and scripts/judge_templates.py compare Troupe's interpreter with."""
import datetime
import json

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

DATE = "2024-11-26"  # what strftime_now takes for today


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda style: datetime.datetime.fromisoformat(DATE).strftime(style)
    return env


def render(template, variables):
    """(text, None), or (None, the kind of error: "refused", "syntax" or "fault"). `template`: compiled, or what was raised."""
    if isinstance(template, Exception):
        return None, "syntax"
    try:
        return template.render(**json.loads(json.dumps(variables))), None
    except Exception as error:  # a template may raise anything of Python's
        syntax = isinstance(error, jinja2.TemplateSyntaxError)
        refused = type(error) is jinja2.exceptions.TemplateError
        return None, "syntax" if syntax else "refused" if refused else "fault"


def compile_template(env, text):
    try:
        return env.from_string(text)
    except Exception as error:
        return error


# ---- conversations ----

TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": 'Gets the "weather" – äöü <b>',
        "parameters": {"type": "object", "properties": {
            "city": {"type": "string", "description": "City & state", "enum": ["a", "b"]},
            "days": {"type": "integer", "default": 3}, "opts": {"type": "array", "items": {"type": "number"}},
            "deep": {"type": "object", "properties": {"x": {"type": ["string", "null"]}}, "required": ["x"]}},
            "required": ["city"]},
        "return": {"type": "string"}}},
    {"type": "function", "function": {
        "name": "python", "description": "Runs code",
        "parameters": {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]}}}]


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


def call(name, arguments, id="call_0001"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool(text, name, id="call_0001"):
    return {"role": "tool", "content": text, "tool_call_id": id, "name": name}


A, B = "abcdefghi", "bbbbbbbbb"
MESSAGES = {
    "one": [user("hi")],
    "system": [system("Be brief."), user(" hi \n")],
    "three": [user("a"), assistant("b"), user("c")],
    "five": [system("S"), user("a"), assistant("b"), user("c"), assistant("d")],
    "think": [user("q"), assistant("<think>\nhmm\n</think>\n\nans"), user("r"), assistant("<think>x</think>y")],
    "reasoning": [user("q"), assistant("ans", reasoning_content="why\n"), user("r"),
                  assistant("z", reasoning_content="because")],
    "call": [user("w?"), assistant("", tool_calls=[call("get_weather", {
        "city": 'Kön"ig', "days": 2, "f": 1.5, "n": None, "t": True, "l": [1, "x"], "d": {"k": 1e-7}})]),
        tool('{"t": 20}', "get_weather"), assistant("20 degrees")],
    "call_nine": [user("w?"), assistant(None, tool_calls=[call("get_weather", {"city": "X"}, A)]),
                  tool("ok", "get_weather", A), assistant("20"), user("more")],
    "calls": [system("S"), user("w?"), assistant("thinking aloud", tool_calls=[
        call("get_weather", {"city": "A"}, A), call("python", {"code": "print(1)\nx = '<&>'"}, B)]),
        tool("r1", "get_weather", A), tool("r2", "python", B), assistant("done"), user("thanks")],
    "call_text": [user("w?"), assistant("", tool_calls=[call("get_weather", '{"city": "X"}', A)]),
                  tool("ok", "get_weather", A)],
    "call_no_id": [user("w?"), assistant("", tool_calls=[
        {"type": "function", "function": {"name": "python", "arguments": {"code": "1"}}}]),
        {"role": "tool", "content": "1", "name": "python"}],
    "reasoned_call": [user("w?"), assistant("", reasoning_content="use it", tool_calls=[call("python", {"code": "2"}, A)]),
                      tool("2", "python", A), assistant("2", reasoning_content="so")],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]},
              {"role": "assistant", "content": [{"type": "text", "text": "c"}]}],
    "image": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what?"}]}],
    "two_users": [user("a"), user("b")],
    "assistant_first": [assistant("x"), user("y")],
    "two_systems": [system("a"), system("b"), user("c")],
    "system_last": [user("a"), system("b")],
    "developer": [{"role": "developer", "content": "D"}, user("a")],
    "odd_role": [{"role": "critic", "content": "D"}, user("a")],
    "empty": [user("")],
    "null": [user("a"), assistant(None)],
    "unicode": [user("日本語 🎉 ß\u00a0 "), assistant("  ÄÖ\t\n ")],
    "no_think": [system("/no_think be"), user("q"), assistant("x")],
    "many": [user("%d" % i) if i % 2 == 0 else assistant("%d" % i) for i in range(11)],
}
OPTIONS = [
    {},
    {"add_generation_prompt": False},
    {"tools": TOOLS},
    {"enable_thinking": False},
    {"enable_thinking": True, "tools": TOOLS},
    {"date_string": "26 Jul 2024", "xml_tools": ["a"], "python_tools": ["b"], "custom_tools": TOOLS,
     "builtin_tools": ["code_interpreter"], "tools_in_user_message": False, "reasoning_effort": "high"},
    {"documents": [{"title": "T", "text": "body"}, {"title": "U", "contents": "c", "text": "v"}], "tools": TOOLS,
     "continue_final_message": False},
]
ALWAYS = {"tools": None, "documents": None, "add_generation_prompt": True, "date": DATE,
          "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def conversations():
    """(name, variables) of every conversation with every set of options, as transformers hand them to a template."""
    for name, messages in MESSAGES.items():
        for i, options in enumerate(OPTIONS):
            yield "%s.%d" % (name, i), {"messages": messages, **ALWAYS, **options}
