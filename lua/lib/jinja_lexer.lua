-- SPDX-License-Identifier: MIT
-- troupe.jinja_lexer: a template's text as tokens { type =, value =, line = }.
--
--   data                    text between tags, white space taken off as the tags ask
--   block_begin, block_end  {% %}
--   print_begin, print_end  {{ }}
--   name, string, integer, float, and operators, whose type is the operator itself
--
-- White space as Hugging Face sets it up: trim_blocks (the newline after %} and #} goes) and lstrip_blocks (the blanks
-- before {% and {# go where they begin a line); "-" takes all white space, "+" leaves all.

local value = require "troupe.jinja_value"

local OPERATORS = { -- the longest first
    "//", "**", "==", "!=", ">=", "<=",
    "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
}
local CLOSES = { [")"] = "(", ["]"] = "[", ["}"] = "{" }
local OPENS = { ["("] = true, ["["] = true, ["{"] = true }
local SPACE = "[ \t\n\r\f\v]"

local Lexer = {}
Lexer.__index = Lexer

function Lexer:fail(format, ...) value.fail("syntax", "line %d: " .. format, self.line, ...) end

function Lexer:push(kind, text) self.tokens[#self.tokens + 1] = { type = kind, value = text, line = self.line } end

-- Moves on to `at`, counting lines.
function Lexer:go(at)
    for _ in self.text:sub(self.at, at - 1):gmatch("\n") do self.line = self.line + 1 end
    self.at = at
end

-- ---- text between tags ----

-- The blanks that begin the tag's own line, which lstrip_blocks takes off.
local function without_indent(text, line_starts)
    local last_line = text:match("\n([^\n]*)$")
    if not last_line and line_starts then last_line = text end
    if last_line and not last_line:find("[^ \t\r\f\v]") then return text:sub(1, #text - #last_line) end
    return text
end

-- The text up to a tag that opens with `sign` ("-", "+" or "") and is a {{ or not.
function Lexer:data(text, sign, prints)
    local kept = text
    if sign == "-" then
        kept = text:match("^(.*[^ \t\n\r\f\v])") or ""
    elseif sign ~= "+" and not prints then
        kept = without_indent(text, self.line_starts)
    end
    if kept ~= "" then self:push("data", kept) end
end

-- What follows a closing tag: "-" takes the white space, %} and #} one newline.
function Lexer:after(at, sign, trims)
    if sign == "-" then
        at = self.text:match("^" .. SPACE .. "*()", at)
    elseif sign ~= "+" and trims and self.text:sub(at, at) == "\n" then
        at = at + 1
    end
    self.line_starts = self.text:sub(at - 1, at - 1) == "\n"
    self:go(at)
end

-- ---- inside a tag ----

local SIMPLE = { n = "\n", t = "\t", r = "\r", b = "\b", f = "\f", v = "\v", a = "\a", ["\\"] = "\\", ["'"] = "'", ['"'] = '"', ["\n"] = "" }
local HEX = { x = 2, u = 4, U = 8 }

-- Python's escapes; a backslash before anything else stays.
function Lexer:unescape(text)
    local out, at = {}, 1
    while at <= #text do
        local from = text:find("\\", at, true)
        if not from then break end
        out[#out + 1] = text:sub(at, from - 1)
        local c = text:sub(from + 1, from + 1)
        local octal = text:match("^[0-7][0-7]?[0-7]?", from + 1)
        local hex = HEX[c] and text:match("^" .. ("%x"):rep(HEX[c]), from + 2)
        if SIMPLE[c] then
            out[#out + 1], at = SIMPLE[c], from + 2
        elseif octal then
            out[#out + 1], at = utf8.char(tonumber(octal, 8)), from + 1 + #octal
        elseif hex then
            out[#out + 1], at = utf8.char(tonumber(hex, 16)), from + 2 + #hex
        elseif HEX[c] or c == "N" then
            self:fail("an escape in a string is not complete")
        else
            out[#out + 1], at = "\\" .. c, from + 1 + math.max(1, #c)
        end
    end
    out[#out + 1] = text:sub(at)
    return table.concat(out)
end

function Lexer:string(quote)
    local at = self.at + 1
    while true do
        local c = self.text:sub(at, at)
        if c == "" then self:fail("a string is not closed") end
        if c == quote then break end
        at = at + (c == "\\" and 2 or 1)
    end
    self:push("string", self:unescape(self.text:sub(self.at + 1, at - 1)))
    self:go(at + 1)
end

local BASES = { x = 16, X = 16, o = 8, O = 8, b = 2, B = 2 }

function Lexer:number()
    local base, digits, next = self.text:match("^0([xXoObB])([%x_]+)()", self.at)
    if base then
        self:push("integer", tonumber((digits:gsub("_", "")), BASES[base]))
        return self:go(next)
    end
    local whole
    whole, next = self.text:match("^([%d_]+)()", self.at)
    local text = whole
    local part, after_part = self.text:match("^(%.%d[%d_]*)()", next)
    if part then text, next = text .. part, after_part end
    local exponent, after_exponent = self.text:match("^([eE][+-]?%d[%d_]*)()", next)
    if exponent then text, next = text .. exponent, after_exponent end
    local number = tonumber((text:gsub("_", "")))
    if not number then self:fail("'%s' is not a number", text) end
    self:push(math.type(number) == "integer" and "integer" or "float", number)
    self:go(next)
end

function Lexer:operator(open)
    local found
    for _, operator in ipairs(OPERATORS) do
        if self.text:sub(self.at, self.at + #operator - 1) == operator then
            found = operator
            break
        end
    end
    if not found then self:fail("unexpected character '%s'", utf8.char(utf8.codepoint(self.text, self.at))) end
    if OPENS[found] then open[#open + 1] = found end
    if CLOSES[found] then
        if open[#open] ~= CLOSES[found] then self:fail("unexpected '%s'", found) end
        open[#open] = nil
    end
    self:push(found, found)
    self:go(self.at + #found)
end

-- Tokens up to the tag's end. A bracket that is open hides what looks like an end: {{ {"a": {}} }}.
function Lexer:inside(ending, trims)
    local open = {}
    while true do
        self:go(self.text:match("^" .. SPACE .. "*()", self.at))
        if self.at > #self.text then self:fail("a tag is not closed by '%s'", ending) end
        local sign = self.text:match("^[-+]?", self.at)
        if sign == "+" and not trims then sign = "" end
        if #open == 0 and self.text:sub(self.at + #sign, self.at + #sign + 1) == ending then
            self:push(trims and "block_end" or "print_end", ending)
            return self:after(self.at + #sign + 2, sign, trims)
        end

        local c = self.text:sub(self.at, self.at)
        local name = self.text:match("^[%a_\128-\255][%w_\128-\255]*", self.at)
        if name then
            self:push("name", name)
            self:go(self.at + #name)
        elseif c:find("%d") then
            self:number()
        elseif c == "'" or c == '"' then
            self:string(c)
        else
            self:operator(open)
        end
    end
end

-- ---- the whole ----

function Lexer:comment(at)
    local from, to, sign = self.text:find("([-+]?)#}", at)
    if not from then self:fail("a comment is not closed") end
    self:after(to + 1, sign, true)
end

-- {% raw %}: text as it stands, up to {% endraw %}. Its begin leaves the newline after it, its end does not.
function Lexer:raw(sign, at)
    self:after(at, sign, false)
    local from, to, open, close = self.text:find("{%%([-+]?)" .. SPACE .. "*endraw" .. SPACE .. "*([-+]?)%%}", self.at)
    if not from then self:fail("'raw' is not closed by 'endraw'") end
    self:data(self.text:sub(self.at, from - 1), open, false)
    self:after(to + 1, close, true)
end

local RAW = "^{%%([-+]?)" .. SPACE .. "*raw" .. SPACE .. "*([-]?)%%}()"

function Lexer:run()
    while self.at <= #self.text do
        local from = self.text:find("{[%%{#]", self.at)
        if not from then break end
        local what = self.text:sub(from + 1, from + 1)
        local sign = self.text:match("^[-+]?", from + 2)
        if what == "{" and sign == "+" then sign = "" end
        self:data(self.text:sub(self.at, from - 1), sign, what == "{")
        self:go(from)
        local _, raw_sign, raw_end = self.text:match(RAW, from)
        if what == "#" then
            self:comment(from + 2)
        elseif raw_end then
            self:raw(raw_sign, raw_end)
        else
            self:push(what == "%" and "block_begin" or "print_begin")
            self:go(from + 2 + #sign)
            self:inside(what == "%" and "%}" or "}}", what == "%")
        end
    end
    if self.at <= #self.text then self:push("data", self.text:sub(self.at)) end
    self:push("end")
    return self.tokens
end

-- The tokens of a template, the last of type "end". One newline at the very end of a template goes, as Jinja has it.
return function(text)
    text = text:gsub("\r\n?", "\n"):gsub("\n$", "")
    return setmetatable({ text = text, at = 1, line = 1, tokens = {}, line_starts = true }, Lexer):run()
end
