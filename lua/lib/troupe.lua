-- SPDX-License-Identifier: MIT
-- What a recipe is written with: T.python{...}, T.calculator{}, T.search{...}, T.sql{...}, T.mcp{...}, T.env{...}, T.submit{}, T.tool{...}, T.shots{...}.
-- Each checks its fields and returns a plain table that says what kind of thing it is; nothing is started here.

local T = {}

local function checked(what, fields, t)
    if type(t) ~= "table" then error("T." .. what .. " expects a table", 3) end
    for key, value in pairs(t) do
        local want = fields[key]
        if not want then
            local known = {}
            for name in pairs(fields) do known[#known + 1] = name end
            table.sort(known)
            error("T." .. what .. " has no field '" .. tostring(key) .. "' (it has " .. table.concat(known, ", ") .. ")", 3)
        end
        if not (" " .. want .. " "):find(" " .. type(value) .. " ", 1, true) then
            error("T." .. what .. ": " .. key .. " should be a " .. want:gsub(" ", " or a ") .. ", not a " .. type(value), 3)
        end
    end

    local copy = { kind = what }
    for key, value in pairs(t) do copy[key] = value end
    return copy
end

-- A number between two others, or absent.
local function within(what, key, v, min, max, whole)
    if v == nil or v >= min and v <= max and (not whole or v % 1 == 0) then return end
    error(("T.%s: %s is %s; it should be %s from %s to %s"):format(what, key, v, whole and "a whole number" or "a number", min, max), 3)
end

-- A real python3 in the sandbox: timeout in seconds (of computing and sleeping), memory_mb beyond what python itself takes,
-- tmp_mb of scratch files, output_kb; at_once: calls an actor runs at the same time (the others wait); packages: names of
-- installed ones that are imported beforehand; session = true: what a call defines, the next calls of its episode find; sandbox "auto" (namespaces, or else Landlock), "landlock" or "none".
function T.python(t)
    local p = checked("python", { timeout = "number", memory_mb = "number", tmp_mb = "number", output_kb = "number", at_once = "number",
        sandbox = "string", packages = "table", session = "boolean" }, t or {})
    within("python", "timeout", p.timeout, 0.01, 3600)
    within("python", "memory_mb", p.memory_mb, 16, 1 << 20, true)
    within("python", "tmp_mb", p.tmp_mb, 1, 1 << 16, true)
    within("python", "output_kb", p.output_kb, 0.1, 1 << 14)
    within("python", "at_once", p.at_once, 1, 256, true)

    if p.sandbox and not ({ auto = 1, landlock = 1, none = 1 })[p.sandbox] then
        error('T.python: sandbox is "' .. p.sandbox .. '"; it should be "auto", "landlock" or "none"', 2)
    end

    for i, name in pairs(p.packages or {}) do
        if math.type(i) ~= "integer" or type(name) ~= "string" or not name:find("^[%a_][%w_.]*$") then
            error("T.python: packages should be a list of module names, such as { \"numpy\" }", 2)
        end
    end
    return p
end

-- Arithmetic without an error of rounding: calculator(expression). Needs no sandbox.
function T.calculator(t) return checked("calculator", {}, t or {}) end

-- submit(answer) ends the episode: what is handed in is its answer, as one that the dialect has read.
function T.submit(t) return checked("submit", {}, t or {}) end

-- Words that dialects have a meaning for.
local TAKEN = { answer = 1, think = 1, result = 1, tool_call = 1, tool_response = 1 }

local function named(what, name)
    if not name:find("^[%a_][%w_-]*$") or #name > 64 then
        error("T." .. what .. ": the name '" .. name .. "' should be a word of letters, digits, _ and -, of at most 64", 3)
    end
    if TAKEN[name] then error("T." .. what .. ": '" .. name .. "' is a word of the dialects'; call it something else", 3) end
end

-- An address, and texts by the names of headers; http/secrets.h expands the variables that they name.
local function address(what, url, headers)
    if not url:find("^https?://[^/]") or url:find("[%c%s]") then
        error("T." .. what .. ": url should be an address such as http://127.0.0.1:8000/" .. what, 3)
    end
    for name, value in pairs(headers or {}) do
        if type(name) ~= "string" or type(value) ~= "string" or (name .. value):find("%c") then
            error("T." .. what .. ': headers should be texts by their names, such as { Authorization = "Bearer $TOKEN" }', 3)
        end
    end
end

-- search(query): the k best passages of the recipe's env.index, or of the retrieval server at url. name and description are
-- what the policy is told. headers, timeout (seconds of a search, 30): of a server.
function T.search(t)
    if type(t) == "table" and t.index ~= nil then
        error("T.search has no field 'index': the index is the recipe's key env.index, so that a run can keep it", 2)
    end
    local search = checked("search", {
        k = "number", name = "string", description = "string", url = "string", headers = "table", timeout = "number",
    }, t or {})
    within("search", "k", search.k, 1, 50, true)
    within("search", "timeout", search.timeout, 0.01, 3600)
    if search.name then named("search", search.name) end
    if search.url then
        address("search", search.url, search.headers)
    elseif search.headers or search.timeout then
        error("T.search: headers and timeout are of a retrieval server, which needs url", 2)
    end
    return search
end

-- sql(query): an SQLite database of each episode's own, made from the recipe's env.database; without that key it is empty at
-- first. rows: of a result that are shown, 50; output_kb of a call's text, 8; timeout: seconds of computing of a call and the
-- earlier ones, which it runs again, 2; memory_mb of a call beyond the database, 64; at_once as of T.python.
function T.sql(t)
    if type(t) == "table" and (t.database ~= nil or t.schema ~= nil) then
        error("T.sql has no field '" .. (t.database ~= nil and "database" or "schema") .. "': the file, of SQLite's or of SQL, is the recipe's key env.database, so that a run can keep it", 2)
    end
    local sql = checked("sql", {
        rows = "number", output_kb = "number", timeout = "number", memory_mb = "number", at_once = "number",
        name = "string", description = "string",
    }, t or {})
    within("sql", "rows", sql.rows, 1, 10000, true)
    within("sql", "output_kb", sql.output_kb, 0.1, 1 << 10)
    within("sql", "timeout", sql.timeout, 0.01, 3600)
    within("sql", "memory_mb", sql.memory_mb, 1, 1 << 14, true)
    within("sql", "at_once", sql.at_once, 1, 256, true)
    if sql.name then named("sql", sql.name) end
    return sql
end

-- A tool written here: call(arguments, context) returns text, a number or a table (which becomes JSON). Each call begins with
-- what the recipe has set up, whatever others did; context has seed, episode and row. timeout: seconds of computing, 2.
function T.tool(t)
    local tool = checked("tool", { name = "string", description = "string", parameters = "table", call = "function", timeout = "number" }, t)
    within("tool", "timeout", tool.timeout, 0.01, 3600)

    for _, key in ipairs{ "name", "call" } do
        if not tool[key] then error("T.tool needs " .. key, 2) end
    end
    named("tool", tool.name)
    return tool
end

local function list_of_texts(what, key, list)
    local n = 0
    for _ in pairs(list) do n = n + 1 end
    for i = 1, n do
        if type(list[i]) ~= "string" or list[i] == "" or list[i]:find("\0", 1, true) then
            error("T." .. what .. ": " .. key .. " should be a list of texts, such as { \"python3\", \"server.py\" }", 3)
        end
    end
    if n == 0 then error("T." .. what .. ": " .. key .. " is empty", 3) end
end

-- sandbox = true: the program sees files and changes none, has a folder in memory to write in (TMPDIR), and no network but
-- its own, unless network = true.
local function sandboxed(what, program)
    if program.sandbox and not program.command then
        error("T." .. what .. ": sandbox is of a program that is started with command", 3)
    end
    if program.network ~= nil and not program.sandbox then
        error("T." .. what .. ": network is said with sandbox = true; without it a program has the network", 3)
    end
end

-- The tools of an MCP server: one that is started with command and talked to on its stdin and stdout, or one that runs and is
-- asked over HTTP at url, with headers. tools: these alone of its tools; timeout: seconds of a call, 30; start: seconds until it
-- has told its tools, 60.
function T.mcp(t)
    local server = checked("mcp", {
        command = "table", url = "string", headers = "table", tools = "table", timeout = "number", start = "number",
        sandbox = "boolean", network = "boolean",
    }, t)
    if not server.command == not server.url then
        error('T.mcp needs command, such as { "python3", "server.py" }, or url, such as "http://127.0.0.1:8000/mcp"', 2)
    end
    if server.command then list_of_texts("mcp", "command", server.command) end
    if server.url then address("mcp", server.url, server.headers) end
    if server.headers and not server.url then error("T.mcp: headers are of a server that has url", 2) end
    sandboxed("mcp", server)
    if server.tools then list_of_texts("mcp", "tools", server.tools) end
    within("mcp", "timeout", server.timeout, 0.01, 3600)
    within("mcp", "start", server.start, 0.1, 3600)
    return server
end

-- An environment that episodes are played in: the file env.plugin, or a program that is started with command and talked to in
-- JSON lines (docs/env.md). config: a table that it is given; instances: processes of it, 8; at_once: episodes that each plays at
-- a time, 1 (16 of a plugin in Lua); timeout: seconds of a reset or a step, 30; start: seconds until it is open, 60.
function T.env(t)
    local env = checked("env", {
        command = "table", config = "table", instances = "number", at_once = "number", timeout = "number", start = "number",
        sandbox = "boolean", network = "boolean",
    }, t or {})
    if env.command then list_of_texts("env", "command", env.command) end
    sandboxed("env", env)
    within("env", "instances", env.instances, 1, 256, true)
    within("env", "at_once", env.at_once, 1, 4096, true)
    within("env", "timeout", env.timeout, 0.01, 3600)
    within("env", "start", env.start, 0.1, 3600)
    return env
end

-- Worked examples: schedule { {0, 3}, {50, 2}, {80, {0, 1}}, {120, 0} } says how many from which step on; a list is a mixture.
-- schedule = "success" takes the next of `levels` when the policy succeeds with it.
function T.shots(t)
    local shots = checked("shots", {
        file = "string", schedule = "table string", mixture = "string",
        levels = "table", enough = "number", lost = "number", probe = "number",
    }, t)
    if not shots.file or not shots.schedule then error("T.shots needs file and schedule", 2) end
    return shots
end

-- For environments: random(m, n), a whole number from m to n; random(n), from 1 to n; random(), a number in [0, 1). What it gives
-- follows from the seed alone (splitmix64: Steele, Lea and Flood, OOPSLA 2014).
function T.random(seed)
    local state = math.tointeger(seed) or error("T.random: the seed should be a whole number", 2)
    local function bits()
        state = state + 0x9E3779B97F4A7C15
        local z = (state ~ (state >> 30)) * 0xBF58476D1CE4E5B9
        z = (z ~ (z >> 27)) * 0x94D049BB133111EB
        return z ~ (z >> 31)
    end
    return function(m, n)
        if m == nil and n == nil then return (bits() >> 11) * 2.0 ^ -53 end
        if n == nil then m, n = 1, m end
        m, n = math.tointeger(m), math.tointeger(n)
        if not m or not n or m > n then error("random: expected whole numbers m <= n", 2) end
        if n - m < 0 or n - m == math.maxinteger then error("random: m and n are 2^63 or more apart", 2) end
        return m + ((bits() >> 1) % (n - m + 1)) -- the bias is below 2^-40 for what games ask
    end
end

-- T.browser{...}: "attempt to call a nil value" does not say what exists.
return setmetatable(T, { __index = function(t, name)
    local known = {}
    for key in next, t do known[#known + 1] = "T." .. key end
    table.sort(known)
    error("there is no T." .. tostring(name) .. " (there are " .. table.concat(known, ", ") .. ")", 2)
end })
