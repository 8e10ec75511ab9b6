/* SPDX-License-Identifier: MIT */
/* words - an enum's values and how users spell them, written down once: the parser, the messages, the help and the docs
 * all read the same list. */
#pragma once

#include "base/str.h"

/* A spelling of an enum's value. A list ends without a word. Without `help` it is an older spelling: still read, and
 * neither listed nor suggested. */
typedef struct word_row {
    const char *word;
    int value;
    const char *help;
} word_row;

/* An enum and its spellings from one list, so that neither can be without the other:
 *
 *     #define LOSS_KINDS(X)
 *         X(LOSS_PPO, "ppo", "the clipped ratio")
 *         X(LOSS_GSPO, "gspo", "the same of whole episodes")
 *     typedef enum loss_kind { LOSS_KINDS(WORDS_MEMBER) } loss_kind;
 *     static const word_row LOSS_WORDS[] = { LOSS_KINDS(WORDS_ROW){ 0 } }; */
#define WORDS_MEMBER(id, word, help) id,
#define WORDS_ROW(id, word, help) { word, id, help },
#define WORDS_SPELLING(id, word, help) word, /* { LOSS_KINDS(WORDS_SPELLING) NULL }, by value */

const word_row *words_named(const word_row *words, const char *word); /* NULL: none */
const char *words_of(const word_row *words, int value);               /* "?": none */
const char *words_near(const word_row *words, const char *word);      /* "did you mean"; NULL: none */
void words_list(const word_row *words, str *out);                     /* "ppo, gspo, cispo" */
