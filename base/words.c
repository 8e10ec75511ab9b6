/* SPDX-License-Identifier: MIT */
#include "base/words.h"

#include <string.h>

const word_row *words_named(const word_row *words, const char *word)
{
    for (; words->word; words++)
        if (strcmp(words->word, word) == 0) return words;
    return NULL;
}

const char *words_of(const word_row *words, int value)
{
    for (; words->word; words++)
        if (words->value == value) return words->word;
    return "?";
}

const char *words_near(const word_row *words, const char *word)
{
    enum { MAX_WORDS = 64 };
    const char *names[MAX_WORDS + 1] = { NULL };
    for (int n = 0; words->word && n < MAX_WORDS; words++)
        if (words->help) names[n++] = words->word;
    return str_nearest(word, names);
}

void words_list(const word_row *words, str *out)
{
    const char *between = ""; /* what `out` held before is no part of the list */
    for (; words->word; words++) {
        if (!words->help) continue;
        str_printf(out, "%s%s", between, words->word);
        between = ", ";
    }
}
