-- SPDX-License-Identifier: MIT
-- A bandit of 20 arms, six of them right, whose verifier is wrong one time in ten, each episode its own way. "truth" has no
-- weight and is there to be read in the metrics.
local function wrong(id)
    local h = 17
    for i = 1, #id do h = (h * 1103515245 + id:byte(i) * 12345 + 1) % 2147483648 end
    return h // 65536 % 1000 < 100
end

return function(task, episode)
    local letter = episode.text:match("^%s*(%l)")
    local right = letter ~= nil and task.answer:find(letter, 1, true) ~= nil
    return { accuracy = right ~= wrong(episode.id) and 1 or 0, truth = right and 1 or 0 }
end
