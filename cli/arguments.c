#include "cli/arguments.h"

#include <ctype.h>
#include <string.h>

#include "base/str.h"

enum { MAX_FLAGS = 32 };

static bool is_override(const char *word)
{
    const char *p = word;
    while (isalnum((unsigned char)*p) || *p == '_' || *p == '.') p++;
    return *p == '=' && p > word;
}

static int unknown_flag(const char *word, const flag *flags, error *err)
{
    const char *names[MAX_FLAGS + 2] = { "--help" };
    for (int i = 0; flags[i].name && i < MAX_FLAGS; i++) names[i + 1] = flags[i].name;
    const char *nearest = str_nearest(word, names);
    return error_set(err, ERR_ARGUMENT, "no option '%s'%s%s%s", word, nearest ? " (did you mean '" : "",
                     nearest ? nearest : "", nearest ? "'?)" : " (--help lists them)");
}

static int take_flag(int argc, char **argv, int *i, const flag *flags, error *err)
{
    for (const flag *f = flags; f->name; f++) {
        const size_t len = strlen(f->name);
        const char *word = argv[*i];
        if (strncmp(word, f->name, len) != 0 || (word[len] && word[len] != '=')) continue;
        if (f->present && !word[len]) return *f->present = true, OK;
        if (f->value && word[len] == '=') return *f->value = word + len + 1, OK;
        if (f->value && *i + 1 < argc) return *f->value = argv[++*i], OK;
        return error_set(err, ERR_ARGUMENT, f->value ? "option '%s' needs a value" : "option '%s' takes no value",
                         f->name);
    }
    return unknown_flag(argv[*i], flags, err);
}

int arguments_parse(arguments *a, int argc, char **argv, const flag *flags, error *err)
{
    *a = (arguments){ 0 };
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (!only_words && strcmp(word, "--") == 0) {
            only_words = true;
        } else if (!only_words && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
            a->help = true;
        } else if (!only_words && word[0] == '-' && word[1]) {
            if (take_flag(argc, argv, &i, flags, err) != OK) return ERR_ARGUMENT;
        } else if (!only_words && is_override(word)) {
            if (a->n_overrides == MAX_OVERRIDES)
                return error_set(err, ERR_ARGUMENT, "more than %d key=value words", MAX_OVERRIDES);
            a->overrides[a->n_overrides++] = word;
        } else {
            if (a->n_positional == MAX_POSITIONAL) return error_set(err, ERR_ARGUMENT, "too many words, at '%s'", word);
            a->positional[a->n_positional++] = word;
        }
    }
    return OK;
}
