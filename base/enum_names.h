/* SPDX-License-Identifier: MIT */
/* enum_names - an enum and its words, written once: a list of X(VALUE, "word"), from which everything else is made.
 *
 *     #define COLOURS(X) X(RED, "red") X(GREEN, "green")
 *
 *     typedef enum colour { COLOURS(ENUM_VALUE) } colour;
 *     const char *const COLOUR_NAMES[] = { COLOURS(ENUM_NAME) NULL };     NAMES[value] is the value's word
 *     "one of:" COLOURS(ENUM_LISTED)                                      "one of: red green"
 *
 * So a value's place in the enum and in the list of names can't come apart, and a help text can't forget one. */
#pragma once

#define ENUM_VALUE(value, word) value,
#define ENUM_NAME(value, word) word,
#define ENUM_LISTED(value, word) " " word
