-- SPDX-License-Identifier: MIT
-- An environment in Lua that tries to get out of the process that plays it. A step with a number makes that attempt and
-- says "NAME: held", or "NAME: ESCAPED"; "count" says how many there are. Each returns whether it got what it should not
-- have; an error is a wall that held.
local T = require "troupe"

local attacks = {
    { "os", function() return rawget(_G, "os") and (os.execute or os.getenv or os.remove or os.exit or os.tmpname) end },
    { "a command", function() return os.execute("true") end },
    { "the environment", function() return os.getenv("PATH") end },
    { "io", function() return io.open("/etc/passwd") end },
    { "a pipe", function() return io.popen("true") end },
    { "lines of a file", function() return io.lines("/etc/passwd")() end },
    { "loadfile", function() return loadfile("/etc/passwd") end },
    { "dofile", function() return dofile("/etc/passwd") end },
    { "package", function() return package.loadlib("libc.so.6", "system") end },
    { "a searcher", function() return package.searchers end },
    { "a path of require", function() return require("../../etc/passwd") end },
    { "an absolute path of require", function() return require("/etc/passwd") end },
    { "a module with a NUL", function() return require("troupe\0../x") ~= T end },
    { "require of io", function() return require("io") end },
    { "require of os", function() return require("os") end },
    { "require of debug", function() return require("debug") end },
    { "debug", function() return debug.getregistry() end },
    { "debug of a metatable", function() return debug.setmetatable end },
    { "bytecode", function() return load("\27Lua\x54", "x", "b") end },
    { "bytecode that it made", function() return load(string.dump(function() return 1 end), "x", "b")() end },
    { "a global", function() escaped = true return true end },
    { "a global by rawset", function() rawset(_G, "escaped", true) return _G.escaped end },
    { "a library", function() string.format = print return string.format == print end },
    { "a library's metatable", function() getmetatable("").__index = function() return "x" end return ("").y == "x" end },
    { "a library of ours", function() T.random = print return T.random == print end },
    { "another environment", function() return load("return io.open('/etc/passwd')", "x", "t", { io = io })() end },
    { "setmetatable of _G", function() return setmetatable(_G, { __index = function() return true end }) and _G.zzz end },
    { "the registry by a userdata", function() return debug.getmetatable(io.stdout) end },
    { "a finalizer", function()
        local ran = false
        setmetatable({}, { __gc = function() ran = true end })
        collectgarbage()
        return ran and rawget(_G, "io")
    end },
    { "a huge string", function() return #("x"):rep(1 << 40) > 0 end },
    { "a huge format", function() return #string.format("%99999999d", 1) > 99999 end },
    { "all memory in tables", function() local t = {} for i = 1, 1 << 30 do t[i] = {} end return true end },
    { "a deep recursion", function() local function f(n) return 1 + f(n + 1) end return f(1) end },
    { "a pattern without end", function() return string.find(("a"):rep(40), ("a*"):rep(40) .. "b") end },
    { "coroutines without end", function()
        local function again() return coroutine.wrap(again)() end
        return again()
    end },
    { "an error without end", function()
        local e = setmetatable({}, { __tostring = function(self) return tostring(self) end })
        return tostring(e)
    end },
    { "comparison that recurs", function()
        local mt = {}
        mt.__lt = function(a, b) return a < b end
        return setmetatable({}, mt) < setmetatable({}, mt)
    end },
    { "a sort that lies", function()
        local t = {}
        for i = 1, 1000 do t[i] = i end
        table.sort(t, function() return true end)
        return t[1001]
    end },
    { "unpack without end", function() return select("#", table.unpack({}, 1, 1 << 28)) > 0 end },
    { "a concat out of bounds", function() return table.concat({}, "", 1, 1 << 40) end },
    { "a pack of a wrong size", function() return string.unpack("s8", "\255\255\255\255\255\255\255\127") end },
    { "utf8 beyond", function() return utf8.codepoint("x", 1, 1 << 40) end },
    { "a chance of its own", function() return math.random and math.randomseed and math.random() end },
    { "the clock", function() return os.clock() or os.time() end },
}

return {
    reset = function() return "begun" end,
    step = function(_, text)
        if text == "count" then return tostring(#attacks) end
        if text == "loop" then while true do pcall(function() while true do end end) end end
        if text == "hoard" then local t = {} while true do t[#t + 1] = ("x"):rep(1000) .. #t end end
        if text == "flood" then for i = 1, 1 << 30 do print(("x"):rep(1000)) end end
        local attack = attacks[tonumber(text)]
        if not attack then return "fine" end
        local ran, got = pcall(attack[2])
        return attack[1] .. ": " .. ((ran and got) and "ESCAPED" or "held")
    end,
}
