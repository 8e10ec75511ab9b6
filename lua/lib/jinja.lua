-- SPDX-License-Identifier: MIT
-- troupe.jinja: chat templates, read as Hugging Face's renders them: Jinja 2 with trim_blocks and lstrip_blocks, in its
-- sandbox, with loop controls, {% generation %}, tojson of Python's json.dumps, raise_exception and strftime_now.
--
--   local template = jinja.compile(TEXT)              raises { jinja = "syntax" | "lacks", message = "line N: ..." }
--   jinja.render(template, variables, run, strftime)  raises { jinja = "refused" | "fault" | "lacks" | "limit", message = }; run.line
--                                                     says where; `run` is an empty table of the caller's
--
-- "refused" is the template's own raise_exception. Nothing of Lua's or the host's is reachable from a template; its work is
-- bounded by the VM's limits. Values are those of troupe.jinja_value.

local lex = require "troupe.jinja_lexer"
local parse = require "troupe.jinja_parser"
local run = require "troupe.jinja_run"
local value = require "troupe.jinja_value"
local methods = require "troupe.jinja_methods"

local M = {}

function M.compile(text) return run.compile(parse(lex(text))) end

-- strftime(FORMAT) -> text or nil: the host's, of the day that templates call today.
function M.render(template, variables, run_state, strftime)
    variables.strftime_now = value.callable("strftime_now", function(args, named)
        local text = strftime(methods.text("strftime_now()", (methods.bind("strftime_now()", { "format" }, args, named))))
        return text or value.fail("fault", "strftime_now(): the format gives no date, or one that is too long")
    end)
    return run.render(template, variables, run_state)
end

return M
