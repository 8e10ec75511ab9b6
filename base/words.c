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
    for (int i = 0; words[i].word && i < MAX_WORDS; i++) names[i] = words[i].word;
    return str_nearest(word, names);
}

void words_list(const word_row *words, str *out)
{
    for (int i = 0; words[i].word; i++) str_printf(out, "%s%s", i > 0 ? ", " : "", words[i].word);
}
