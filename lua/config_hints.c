/* SPDX-License-Identifier: MIT */
/* Which key was meant: one of another trainer, one of another section, or one with a letter too many. */
#include <stdio.h>
#include <string.h>

#include "lua/config.h"

enum { MAX_NAMES = 400 };

const option *config_option(const config *c, int i)
{
    for (const config_part *p = c->parts; p && p->table; p++)
        for (const option *o = p->table->rows; o->key; o++)
            if (i-- == 0) return o;
    return NULL;
}

const option *config_option_of(const config *c, const char *key)
{
    const option *o;
    for (int i = 0; (o = config_option(c, i)); i++)
        if (strcmp(o->key, key) == 0) return o;
    return NULL;
}

static const char *last_name(const char *key)
{
    const char *dot = strrchr(key, '.');
    return dot ? dot + 1 : key;
}

/* Whether `word` is one of the words of `list`, between blanks. */
static bool has_word(const char *list, const char *word)
{
    const size_t n = strlen(word);
    while (list && *list) {
        const size_t k = strcspn(list, " ");
        if (k == n && strncmp(list, word, n) == 0) return true;
        list += k + strspn(list + k, " ");
    }
    return false;
}

/* The key that has `name` among its names elsewhere; or what there is instead of such a one: a sentence. */
static const char *called_elsewhere(const config *c, const char *name)
{
    const option *o;
    for (int i = 0; (o = config_option(c, i)); i++)
        if (has_word(o->elsewhere, name)) return o->key;
    for (const config_alias *a = c->aliases; a && a->name; a++)
        if (strcmp(a->name, name) == 0) return a->instead;
    return NULL;
}

/* Of another trainer's key its whole name says most, then its last part, then its section. */
static const char *foreign_key(const config *c, const char *key)
{
    char section[64];
    snprintf(section, sizeof section, "%.*s", (int)strcspn(key, "."), key);

    const char *found = called_elsewhere(c, key);
    if (!found) found = called_elsewhere(c, last_name(key));
    return found ? found : called_elsewhere(c, section);
}

/* The row that has the key's name in another section: rollout.lr -> optim.lr. */
static const char *in_other_section(const config *c, const char *key)
{
    const option *o;
    for (int i = 0; (o = config_option(c, i)); i++)
        if (strcmp(last_name(o->key), last_name(key)) == 0) return o->key;
    return NULL;
}

/* The key of the same section that is written alike, and how far it is off; NULL: none is. */
static const char *nearest_in_section(const config *c, const char *key, size_t *off)
{
    const char *lasts[MAX_NAMES + 1] = { NULL }, *whole[MAX_NAMES + 1] = { NULL };
    const size_t section = (size_t)(last_name(key) - key);
    const option *o;
    int n = 0;

    for (int i = 0; (o = config_option(c, i)) && n < MAX_NAMES; i++) {
        if (strncmp(o->key, key, section) != 0 || strchr(o->key + section, '.')) continue;
        lasts[n] = o->key + section;
        whole[n++] = o->key;
    }

    const char *last = str_nearest(last_name(key), lasts);
    for (int i = 0; last && i < n; i++) {
        if (lasts[i] != last) continue;
        *off = str_distance(last, last_name(key));
        return whole[i];
    }
    return NULL;
}

/* Of all keys; the name itself has to be near, too: that two are of one section is no likeness. */
static const char *nearest_of_all(const config *c, const char *key)
{
    const char *names[MAX_NAMES + 1] = { NULL };
    const option *o;
    int n = 0;
    for (int i = 0; (o = config_option(c, i)) && n < MAX_NAMES; i++)
        if (str_nearest(last_name(key), (const char *const[]){ last_name(o->key), NULL })) names[n++] = o->key;
    return str_nearest(key, names);
}

/* A name that is near, as a question. */
static void near_word(const char *key, const char *word, const char *const *names, str *hint)
{
    const char *near = str_nearest(word, names);
    (void)key;
    if (near) str_printf(hint, " (did you mean '%s'?)", near);
}

void config_hint(const config *c, const option *o, const char *word, str *hint)
{
    const char *names[MAX_NAMES + 1] = { NULL };
    for (int i = 0; o->words[i].word && i < MAX_NAMES; i++) names[i] = o->words[i].word;
    (c->hint ? c->hint : near_word)(o->key, word, names, hint);
}

const char *config_near(const config *c, const char *key)
{
    size_t off = 0;
    const char *called = foreign_key(c, key), *beside = nearest_in_section(c, key, &off);
    const char *elsewhere = in_other_section(c, key);

    if (called) return called;
    if (beside && (off == 1 || !elsewhere)) return beside;
    return elsewhere ? elsewhere : nearest_of_all(c, key);
}
