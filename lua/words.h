/* SPDX-License-Identifier: MIT */
/* words - a short answer as question answering compares it: lower case, no punctuation, no articles, single spaces.
 *
 * SQuAD's normalisation, which this follows, drops all punctuation, and with it a sign or a point: -5 becomes 5 and 3.5
 * becomes 35. Here a sign stays a sign:
 *   - what stands between digits, or before or after one, as part of a number: -5, 3.5, .5, 1e-5, 1/2, 3:15, 2^3, 5%,
 *     <5, 5!. Thousands separators (1,234), money ($5), quotes, brackets and the full stop after a number go;
 *   - a lone minus before a number belongs to it: "- 5" is "-5";
 *   - + # < > = ^ / | % and a minus at a word's end or beginning: C++, C#, O-, x<y, m/s;
 *   - an article goes where a word follows: "the cat" is "cat", "vitamin A" is not "vitamin", "A" is "a".
 * Bytes outside of ASCII stay as they are. */
#pragma once

#include <stddef.h>

/* Writes the words of text [len] to `out`, which has room for len + 1 bytes; returns how many (no terminator).
 * Linear. */
size_t words_normalise(const char *text, size_t len, char *out);
