-- SPDX-License-Identifier: MIT
-- A common reward and a rare one, which is a tenth as large. "both" is what a script returns that adds them up itself.
return function(task, episode)
    local accuracy = episode.text:match("^%s*(%d+)") == task.answer and 1 or 0
    local courtesy = episode.text:find("thanks", 1, true) and 0.1 or 0
    return { accuracy = accuracy, courtesy = courtesy, both = (accuracy + courtesy) / 1.1 }
end
