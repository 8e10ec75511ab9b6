/* SPDX-License-Identifier: MIT */
/* fuzz_verify - what reward scripts look at text with finds something or nothing, for any text, and raises no error:
 * an error would be a score that is missing, and what is in the text is the policy's to choose.
 *
 * Input: the row's answer, a line "====", what the policy wrote. */
#include "reward/script.h"
#include "tests/fuzz/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LONGEST = 4096 };

static const char SCRIPT[] =
    "local verify = require 'troupe.verify'\n"
    "local function any(value) return value and 1 or 0 end\n"
    "return function(task, episode)\n"
    "    local said, gold, no = episode.text, task.answer, false\n"
    "    local parsed = verify.json.decode(said)\n"
    "    if type(parsed) == 'table' then verify.json.encode(parsed) end\n"
    "    for _, name in ipairs{ 'answer', 'a-b', 'think' } do any(verify.tag(said, name)) end\n"
    "    local sum = any(verify.tags_in_order(said, { 'think', 'answer' })) + verify.f1(said, gold) + verify.f1(no, "
    "gold)\n"
    "    for _, text in ipairs{ said, no, verify.tag(said, 'answer') or '' } do\n"
    "        any(verify.exact(text, gold)) any(verify.math_equal(text, gold)) any(verify.number(text))\n"
    "        if #verify.normalise(text) > #(text or '') then error('longer than it was') end\n"
    "        any(verify.regex.find_all(text, [[(\\w+)\\s*=\\s*(\\d+)]])) any(verify.regex.match(text, "
    "[[^a.*?b(?=c)]]))\n"
    "    end\n"
    "    if verify.exact(gold, gold) ~= (verify.normalise(gold) ~= '') then error('not the same as itself') end\n"
    "    return { sum = sum }\n"
    "end\n";

static script *script_of_ours(void)
{
    static script *s;
    char path[256];
    error err = { 0 };
    if (s) return s;
    fuzz_put("reward.lua", (str_view){ SCRIPT, sizeof SCRIPT - 1 });
    const scorer_config config = { .script = fuzz_path(path, sizeof path, "reward.lua"), .cpu_ms = 5000 };
    if (!(s = script_new(&config, &err))) fprintf(stderr, "%s\n", err.text), abort();
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > LONGEST) return 0;
    const str_view gold = fuzz_part(&data, &size);
    task t = { .id = 1, .group_size = 1, .max_tokens = 1 };
    str row = { 0 };
    score sc;
    str_puts(&row, "{\"prompt\":\"\",\"answer\":");
    str_json(&row, gold.data, gold.len);
    str_putc(&row, '}');
    t.row = row.data;
    episode *e = episode_new(&t);
    e->text = xstrndup((const char *)data, size);
    e->transcript = xstrdup(e->text);
    script_score(script_of_ours(), &t, e, &sc);
    if (sc.status != SCORE_OK || sc.error) fprintf(stderr, "%s\n", sc.error), abort();
    score_reset(&sc);
    episode_free(e);
    str_free(&row);
    return 0;
}
