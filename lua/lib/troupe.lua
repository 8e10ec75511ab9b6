-- What a recipe is written with: T.python{...}, T.tool{...}, T.shots{...}. Each checks its fields and returns a plain table
-- that says what kind of thing it is; nothing is started here.

local T = {}

local function checked(what, fields, t)
    if type(t) ~= "table" then error("T." .. what .. " wants a table", 3) end
    for key, value in pairs(t) do
        local want = fields[key]
        if not want then
            local known = {}
            for name in pairs(fields) do known[#known + 1] = name end
            table.sort(known)
            error("T." .. what .. " has no field '" .. tostring(key) .. "' (it has " .. table.concat(known, ", ") .. ")", 3)
        end
        if type(value) ~= want then
            error("T." .. what .. ": " .. key .. " should be a " .. want .. ", not a " .. type(value), 3)
        end
    end
    local copy = { kind = what }
    for key, value in pairs(t) do copy[key] = value end
    return copy
end

-- A real python3 in the sandbox: timeout in seconds, memory_mb, output_kb; at_once: calls an actor runs at the same time (the
-- others wait; default: half of the cores); sandbox "auto" (namespaces, or else Landlock), "landlock" or "none".
function T.python(t)
    local python = checked("python", { timeout = "number", memory_mb = "number", output_kb = "number", at_once = "number", sandbox = "string" }, t or {}) -- no tail call: its errors name the caller's line
    return python
end

-- A tool written here: call(arguments, context) returns text, a number or a table (which becomes JSON).
function T.tool(t)
    local tool = checked("tool", { name = "string", description = "string", parameters = "table", call = "function" }, t)
    for _, key in ipairs{ "name", "call" } do
        if not tool[key] then error("T.tool needs " .. key, 2) end
    end
    return tool
end

-- Worked examples: schedule { {0, 3}, {50, 2}, {80, {0, 1}}, {120, 0} } says how many from which step on; a list is a mixture.
function T.shots(t)
    local shots = checked("shots", { file = "string", schedule = "table" }, t)
    if not shots.file or not shots.schedule then error("T.shots needs file and schedule", 2) end
    return shots
end

-- T.search{...}: "attempt to call a nil value" tells nobody what there is.
return setmetatable(T, { __index = function(t, name)
    local known = {}
    for key in next, t do known[#known + 1] = "T." .. key end
    table.sort(known)
    error("there is no T." .. tostring(name) .. " (there are " .. table.concat(known, ", ") .. ")", 2)
end })
