-- SPDX-License-Identifier: MIT
-- Three opinions of one answer: is it right, is it short, is it inside its tags. "sum" is what a script returns that adds them up
-- itself, halved to lie in [-1, 1].
return function(task, episode)
    local inside = episode.text:match("^%s*<answer>(.*)</answer>%s*$")
    local number = (inside or episode.text):match("(%d+)%D*$")
    local accuracy, brevity = number == task.answer and 1 or 0, -math.min(1, episode.tokens / 12)
    local format = inside and 1 or 0
    return { accuracy = accuracy, brevity = brevity, format = format, sum = (accuracy + 0.5 * brevity + 0.5 * format) / 2 }
end
