-- SPDX-License-Identifier: MIT
-- Two rewards that pull apart: of 0 to 16 words, each is best at its own end, and both fall the faster the farther from it.
return function(task, episode)
    local _, words = episode.text:gsub("is", "")
    local x = math.min(1, words / 16)
    return { brevity = 1 - x * x, detail = 1 - (1 - x) * (1 - x) }
end
