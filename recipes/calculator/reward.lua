-- SPDX-License-Identifier: MIT
-- What an answer is worth. Called once an episode: `task` is the data row, `episode` what the policy did.
local verify = require "troupe.verify"

return function(task, episode)
    local computed = verify.tool_calls(episode, "python") > 0
    local right = verify.math_equal(episode.answer or nil, task.answer)
    return { accuracy = right and computed and 1 or 0 }
end
