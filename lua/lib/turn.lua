-- SPDX-License-Identifier: MIT
-- troupe.turn: what the policy writes in one turn, as it grows, and the searches in it. A turn of n bytes costs O(n) however it
-- is cut into tokens: the pieces are joined once, at the end, and a search looks at what is new and a little before it.

local turn = {}
turn.__index = turn

local LONGEST = 128 -- bytes of the longest mark that is looked for

local LARGE = 2048 -- bytes of a window in which it pays to remember what was found

-- Without white space at both ends. One pattern would look at every white space inside once more, to its end.
function turn.trim(text)
    local first = text:find("%S")
    return first and text:match("^.*%S", first) or ""
end

function turn.new() return setmetatable({ parts = {}, n = 0, length = 0, window = "", from = 1, seen = {} }, turn) end

function turn:add(chunk)
    local kept = self.window:sub(-LONGEST)
    self.n = self.n + 1
    self.parts[self.n] = chunk
    self.from = self.length - #kept + 1 -- the byte of the turn with which the window begins
    self.window = kept .. chunk
    self.length = self.length + #chunk
    if #self.window > LARGE then self.seen = {} end
end

-- A mark's next place is remembered until the window changes: who looks for several marks in turn would else look through the same
-- bytes for the one that isn't there, again and again.
function turn:find_mark(mark, at)
    local known = self.seen[mark]
    if not known or at < known.at or (known.begin and known.begin < at) then
        local begin = self.window:find(mark, math.max(1, at - self.from + 1), true)
        known = { at = at, begin = begin and begin + self.from - 1 }
        self.seen[mark] = known
    end
    if known.begin then return known.begin, known.begin + #mark - 1 end
end

-- Where `mark` (or a pattern) begins and ends, at byte `at` of the turn or after it; nil: not in what is new.
function turn:find(mark, at, pattern)
    if not pattern and #self.window > LARGE then return self:find_mark(mark, at) end
    local begin, finish = self.window:find(mark, math.max(1, at - self.from + 1), not pattern)
    if begin then return begin + self.from - 1, finish + self.from - 1 end
end

-- Bytes first..last of the turn. Only what is no longer in the window costs the whole turn.
function turn:sub(first, last)
    if first >= self.from then return self.window:sub(first - self.from + 1, last - self.from + 1) end
    local whole = table.concat(self.parts, "", 1, self.n)
    self.parts, self.n = { whole }, 1
    return whole:sub(first, last)
end

-- The first of several marks: where it begins, where it ends, which.
function turn:first(marks, at)
    local begin, finish, which
    for _, mark in ipairs(marks) do
        local b, f = self:find(mark, at)
        if b and (not begin or b < begin) then begin, finish, which = b, f, mark end
    end
    return begin, finish, which
end

-- From where the next search has to look when `marks` were not found: a mark may have begun in the last bytes.
function turn:unseen(marks, at)
    local longest = 1
    for _, mark in ipairs(marks) do longest = math.max(longest, #mark) end
    return math.max(at, self.length - longest + 2)
end

return turn
