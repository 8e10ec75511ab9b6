-- Three opinions of one answer: is it right, is it short, is it inside its tags.
return function(task, episode)
    local inside = episode.text:match("^%s*<answer>(.*)</answer>%s*$")
    local number = (inside or episode.text):match("(%d+)%D*$")
    return {
        accuracy = number == task.answer and 1 or 0,
        brevity = -math.min(1, episode.tokens / 12),
        format = inside and 1 or 0,
    }
end
