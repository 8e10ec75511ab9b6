-- SPDX-License-Identifier: MIT
-- troupe.jinja: chat templates, read as Hugging Face's renders them: Jinja 2 with trim_blocks and lstrip_blocks, in its
-- sandbox, with loop controls, {% generation %}, tojson of Python's json.dumps, raise_exception and strftime_now.
--
--   local template = jinja.compile(TEXT)          raises { jinja = "syntax" | "lacks", message = }
--   jinja.render(template, variables) -> text     raises { jinja = "refused" | "fault" | "lacks", message =, line = }
--
-- "refused" is the template's own raise_exception. Nothing of Lua's or the host's is reachable from a template; its work is
-- bounded by the VM's limits. Values are those of troupe.jinja_value.

local lex = require "troupe.jinja_lexer"
local parse = require "troupe.jinja_parser"
local run = require "troupe.jinja_run"

local M = {}

function M.compile(text) return run.compile(parse(lex(text))) end
M.render = run.render

return M
