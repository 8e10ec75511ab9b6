-- SPDX-License-Identifier: MIT
return function(task, episode) return { accuracy = episode.text:match("^%s*(%l)") == task.answer and 1 or 0 } end
