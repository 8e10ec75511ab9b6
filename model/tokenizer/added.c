/* SPDX-License-Identifier: MIT */
/* Added tokens are found in the text as they are written, before anything is split. */
#include <string.h>

#include "model/tokenizer/internal.h"

/* No letter, digit or underscore before it or after it. */
static bool stands_alone(const added_token *a, const char *begin, const char *p, const char *end)
{
    const char *before = p;
    while (before > begin && ((unsigned char)*--before & 0xc0) == 0x80) {
    }
    return (p == begin || !is_word_character(before, end)) && !is_word_character(p + a->len, end);
}

static const added_token *longest_at(const tokenizer *t, bool normalized, const char *begin, const char *p, size_t left)
{
    const added_token *best = NULL;
    if (!t->added_begins[(unsigned char)*p]) return NULL;

    for (size_t i = 0; i < t->n_added; i++) {
        const added_token *a = &t->added[i];
        if (a->normalized != normalized || a->len > left || (best && a->len <= best->len)) continue;
        if (memcmp(a->text, p, a->len) != 0) continue;
        if (!a->single_word || stands_alone(a, begin, p, p + left)) best = a;
    }
    return best;
}

static void swallow_space(added_match *found, const char *text, size_t from, size_t len)
{
    size_t n;
    while (found->token->lstrip && (n = space_before(text + from, text + found->begin)) > 0) found->begin -= n;
    while (found->token->rstrip && (n = space_at(text + found->end, text + len)) > 0) found->end += n;
}

bool added_find(const tokenizer *t, bool normalized, const char *text, size_t from, size_t len, added_match *found)
{
    for (size_t i = from; i < len; i++) {
        const added_token *a = longest_at(t, normalized, text, text + i, len - i);
        if (!a) continue;
        *found = (added_match){ .token = a, .begin = i, .end = i + a->len };
        swallow_space(found, text, from, len);
        return true;
    }
    return false;
}
