-- SPDX-License-Identifier: MIT
-- Right is the number that the tool can find, told by a policy that asked it.
local verify = require "troupe.verify"

return function(task, episode)
    local computed = verify.tool_calls(episode, "python") > 0
    local right = verify.math_equal(episode.answer or nil, task.answer)
    return { accuracy = right and computed and 1 or 0 }
end
