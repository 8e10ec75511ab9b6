-- SPDX-License-Identifier: MIT
-- Which of the six letters are right, each said in its place: a list of { where it ends, what it is worth }. What is missing at the
-- end is a last span that is worth nothing. `share` and `accuracy` are for the metrics alone.
return function(task, episode)
    local spans, right, at = {}, 0, 0
    for wanted in task.answer:gmatch("%l") do
        local _, to, got = episode.text:find("(%l)", at + 1)
        if not to then break end
        local good = got == wanted
        right = right + (good and 1 or 0)
        spans[#spans + 1] = { to, good and 1 or 0 }
        at = to
    end
    if #spans < 6 and at < #episode.text then spans[#spans + 1] = { #episode.text, 0 } end
    return { letters = spans, share = right / 6, accuracy = right == 6 and 1 or 0 }
end
