-- troupe.chat: what dialects of chat models have in common: system message, worked examples, the question.

local chat = {}

-- words: message(role, text), call(name, arguments) -> an assistant's text, result(text) -> a whole message, reply (what an
-- assistant's message begins with). Gives a prompt's pieces.
function chat.pieces(words, system, spec)
    local pieces = { { "instruction", words.message("system", system) } }
    for _, shot in ipairs(spec.shots) do
        local parts = { words.message("user", shot.prompt) }
        for _, step in ipairs(shot.steps or {}) do
            parts[#parts + 1] = words.message("assistant", words.call(step.tool, step.arguments))
            parts[#parts + 1] = words.result(step.result)
        end
        parts[#parts + 1] = words.message("assistant", shot.answer)
        pieces[#pieces + 1] = { "shot", table.concat(parts) }
    end
    local asked = {}
    for _, m in ipairs(spec.row.messages or { { role = "user", content = spec.row.prompt } }) do
        asked[#asked + 1] = words.message(m.role, m.content)
    end
    pieces[#pieces + 1] = { "question", table.concat(asked) .. words.reply }
    return pieces
end

return chat
