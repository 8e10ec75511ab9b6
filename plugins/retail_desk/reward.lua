-- SPDX-License-Identifier: MIT
-- What the desk has said of the episode is the reward: the last step knows.
return function(_, episode)
    local last = episode.env_rewards[#episode.env_rewards] or {}
    return { solved = last.solved or 0, handled = last.handled or 0, looked_up = last.looked_up or 0 }
end
