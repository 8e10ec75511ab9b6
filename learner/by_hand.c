/* SPDX-License-Identifier: MIT */
#include "learner/by_hand.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* ---- settings ---- */

static const char SECTION[] = "algorithm.";

static const option *row_named(const char *name, size_t len)
{
    for (const option *o = ALGORITHM_OPTIONS.rows; o->key; o++) {
        const char *key = o->key + sizeof SECTION - 1;
        if (strlen(key) == len && strncmp(key, name, len) == 0) return o;
    }
    return NULL;
}

static int no_setting(const char *word, size_t len, error *err)
{
    enum { MAX_NAMES = 64 };
    const char *names[MAX_NAMES + 1] = { NULL };
    int n = 0;
    for (const option *o = ALGORITHM_OPTIONS.rows; o->key && n < MAX_NAMES; o++)
        names[n++] = o->key + sizeof SECTION - 1;
    char *name = xstrndup(word, len);
    const char *near = str_nearest(name, names);
    const int rc =
        near ? error_set(err, ERR_ARGUMENT, "no setting '%.60s' (did you mean '%s'?)", name, near)
             : error_set(err, ERR_ARGUMENT, "no setting '%.60s': they are the algorithm.* keys of docs/keys.md", name);
    free(name);
    return rc;
}

static int no_algorithm(const option_preset *presets, const char *name, error *err)
{
    enum { MAX_NAMES = 64 };
    const char *names[MAX_NAMES + 1] = { NULL };
    for (int n = 0; presets[n].name && n < MAX_NAMES; n++) names[n] = presets[n].name;
    const char *near = str_nearest(name, names);
    if (near) return error_set(err, ERR_ARGUMENT, "no algorithm '%.60s' (did you mean '%s'?)", name, near);
    return error_set(err, ERR_ARGUMENT, "no algorithm '%.60s' (docs/keys.md lists them)", name);
}

/* A paper's choices: those of its keys whose rows are here. */
static int take_preset(trainer_config *c, const option *presets, const char *name, error *err)
{
    const option_preset *p = presets->presets;
    while (p->name && strcmp(p->name, name) != 0) p++;
    if (!p->name) return no_algorithm(presets->presets, name, err);
    for (const option *o = ALGORITHM_OPTIONS.rows; o->key; o++) {
        char *text = option_preset_text(p, SECTION, o->key);
        const int rc = text ? option_set_text(o, c, text, err) : OK;
        free(text);
        if (rc != OK) return rc;
    }
    return OK;
}

static int take_word(trainer_config *c, const char *word, bool presets, error *err)
{
    const size_t len = strcspn(word, "=");
    const option *o = row_named(word, len);
    if (!o) return no_setting(word, len, err);
    if (presets != (o->kind == OPTION_PRESETS)) return OK;
    const char *value = word + len + (word[len] == '=');
    if (presets) return take_preset(c, o, value, err);
    if (option_set_text(o, c, value, err) == OK) return OK;
    return error_set(err, ERR_ARGUMENT, "'%.80s' is no value of %s: %s", word, o->key, o->help);
}

int by_hand_settings(trainer_config *c, const char *const *words, int n, error *err)
{
    int rc = option_defaults(&ALGORITHM_OPTIONS, c, err);
    for (int presets = 1; presets >= 0; presets--) /* what is set wins over what a name stands for */
        for (int i = 0; rc == OK && i < n; i++) rc = take_word(c, words[i], presets, err);
    return rc;
}

/* ---- numbers ---- */

static void print_number(FILE *out, double x)
{
    if (isfinite(x))
        fprintf(out, "%.17g", x);
    else
        fputs("null", out);
}

static int number_at(const json_t *list, size_t i, const char *what, double *x, error *err)
{
    const json_t *value = json_array_get(list, i);
    *x = json_number_value(value);
    if (json_is_number(value)) return OK;
    return error_set(err, ERR_PARSE, "\"%s\": item %zu is no number", what, i + 1);
}

/* ---- advantages ---- */

typedef struct rewards {
    objective_set objectives;
    group **groups; /* [n] */
    size_t n;
} rewards;

static void rewards_reset(rewards *r)
{
    for (size_t i = 0; i < r->n; i++) group_free(r->groups[i]);
    free(r->groups);
}

/* The objectives: of "weights", else each that is named, with weight 1; of plain numbers one. */
static int read_objectives(rewards *r, const json_t *line, error *err)
{
    const char *name;
    json_t *weight, *given = json_object_get(line, "weights");
    const json_t *first = json_array_get(json_array_get(json_object_get(line, "groups"), 0), 0);
    if (!given && !json_is_object(first)) return objective_add(&r->objectives, "reward", 1, err);
    json_object_foreach(given ? given : (json_t *)(uintptr_t)first, name, weight)
    {
        const double w = given ? json_number_value(weight) : 1;
        if (objective_add(&r->objectives, name, w, err) != OK) return err->code;
    }
    return OK;
}

static int read_score(const rewards *r, const json_t *value, score *s, error *err)
{
    const bool named = json_is_object(value);
    if (!named && !json_is_number(value) && !json_is_null(value))
        return error_set(err, ERR_PARSE, "a reward is a number, null, or an object of them");
    for (int k = 0; k < r->objectives.n; k++) {
        const char *name = r->objectives.items[k].name;
        const json_t *one = named ? json_object_get(value, name) : value;
        if (json_is_number(one) && score_set(s, name, json_number_value(one), err) != OK) return err->code;
    }
    return OK;
}

/* An episode of so many tokens, each sampled. */
static episode *episode_of(uint32_t sample, size_t tokens)
{
    const task t = { .sample = sample };
    episode *e = episode_new(&t);
    for (size_t i = 0; i < tokens; i++) trajectory_append_sampled(&e->tokens, 0, 0, 0, 0);
    return e;
}

static int read_sample(const rewards *r, group *g, const json_t *value, const json_t *lengths, size_t i, error *err)
{
    enum { MAX_LENGTH = 1 << 20 };
    double length = 1;
    if (lengths && number_at(lengths, i, "lengths", &length, err) != OK) return err->code;
    if (!(length >= 0 && length <= MAX_LENGTH))
        return error_set(err, ERR_PARSE, "\"lengths\": item %zu is no number of tokens up to %d", i + 1, MAX_LENGTH);
    score *s = xcalloc(1, sizeof *s);
    const int rc = read_score(r, value, s, err);
    if (rc == OK) return group_add(g, episode_of((uint32_t)i, (size_t)length), s, err);
    score_free(s);
    return rc;
}

static int read_group(rewards *r, const json_t *list, const json_t *lengths, size_t g, error *err)
{
    const size_t n = json_array_size(list);
    if (n == 0) return error_set(err, ERR_PARSE, "group %zu is no list of rewards", g + 1);
    r->groups[r->n++] = group_new(g, g, 0, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        const int rc = read_sample(r, r->groups[g], json_array_get(list, i), lengths, i, err);
        if (rc != OK) return error_within(err, "group %zu, sample %zu", g + 1, i + 1);
    }
    return OK;
}

static int read_rewards(rewards *r, const json_t *line, error *err)
{
    const json_t *groups = json_object_get(line, "groups"), *lengths = json_object_get(line, "lengths");
    const size_t n = json_array_size(groups);
    if (n == 0) return error_set(err, ERR_PARSE, "\"groups\" is missing: a list of groups of rewards");
    int rc = read_objectives(r, line, err);
    r->groups = xcalloc(n, sizeof *r->groups);
    for (size_t g = 0; rc == OK && g < n; g++)
        rc = read_group(r, json_array_get(groups, g), lengths ? json_array_get(lengths, g) : NULL, g, err);
    return rc;
}

/* [S] by group. */
static void print_groups(FILE *out, const rewards *r, const double *values)
{
    putc('[', out);
    for (size_t g = 0, s = 0; g < r->n; g++) {
        fputs(g ? ",[" : "[", out);
        for (uint32_t i = 0; i < r->groups[g]->n; i++, s++) {
            if (i) putc(',', out);
            print_number(out, values[s]);
        }
        putc(']', out);
    }
    putc(']', out);
}

static void print_advantages(FILE *out, const rewards *r, const advantage_table *t)
{
    fputs("{\"advantages\":", out);
    print_groups(out, r, t->scalar);
    fputs(",\"by_objective\":{", out);
    for (int k = 0; k < t->K; k++) {
        str name = { 0 };
        str_json(&name, r->objectives.items[k].name, strlen(r->objectives.items[k].name));
        fprintf(out, "%s%s:", k ? "," : "", name.data);
        print_groups(out, r, t->by_objective + (size_t)k * (size_t)t->S);
        str_free(&name);
    }
    fputs("}}\n", out);
}

int by_hand_advantage(const trainer_config *c, const json_t *line, FILE *out, error *err)
{
    rewards r = { 0 };
    const int rc = read_rewards(&r, line, err);
    if (rc == OK) {
        advantage_config how = c->advantage;
        arena *a = arena_new(1 << 16);
        how.whiten = objective_weighing(&r.objectives) > 1; /* as options_algorithm.c */
        print_advantages(out, &r,
                         advantage_compute(a, &how, &r.objectives, (const group *const *)r.groups, (int)r.n, NULL));
        arena_free(a);
    }
    rewards_reset(&r);
    return rc;
}

/* ---- losses ---- */

typedef struct episode_numbers {
    int n;
    float *logprob, *old, *reference;
    double *behaviour, advantage, success_rate;
} episode_numbers;

static void numbers_reset(episode_numbers *e)
{
    free(e->logprob);
    free(e->old);
    free(e->reference);
    free(e->behaviour);
}

/* The list `name` [n]; logprob where it is left out. NULL and `err`. */
static double *read_list(const json_t *episode_json, const char *name, const episode_numbers *e, error *err)
{
    const json_t *list = json_object_get(episode_json, name), *logprob = json_object_get(episode_json, "logprob");
    if (!list) list = logprob;
    if (json_array_size(list) != (size_t)e->n) {
        error_set(err, ERR_PARSE, "\"%s\" has %zu numbers, \"logprob\" %d", name, json_array_size(list), e->n);
        return NULL;
    }
    double *out = xcalloc((size_t)e->n, sizeof *out);
    for (int i = 0; i < e->n; i++) {
        if (number_at(list, (size_t)i, name, &out[i], err) == OK) continue;
        free(out);
        return NULL;
    }
    return out;
}

/* As the model computes them. */
static float *read_floats(const json_t *episode_json, const char *name, const episode_numbers *e, error *err)
{
    double *list = read_list(episode_json, name, e, err);
    float *out = list ? xcalloc((size_t)e->n, sizeof *out) : NULL;
    for (int i = 0; list && i < e->n; i++) out[i] = (float)list[i];
    free(list);
    return out;
}

static int read_episode(const json_t *json, episode_numbers *e, error *err)
{
    const json_t *advantage = json_object_get(json, "advantage");
    e->n = (int)json_array_size(json_object_get(json, "logprob"));
    if (e->n == 0) return error_set(err, ERR_PARSE, "\"logprob\" is missing: a list of numbers");
    if (!json_is_number(advantage)) return error_set(err, ERR_PARSE, "\"advantage\" is missing: a number");
    e->advantage = json_number_value(advantage);
    e->success_rate = json_number_value(json_object_get(json, "success_rate"));
    if (!(e->logprob = read_floats(json, "logprob", e, err)) || !(e->old = read_floats(json, "old", e, err)) ||
        !(e->reference = read_floats(json, "reference", e, err)))
        return err->code;

    e->behaviour = read_list(json, "behaviour", e, err);
    return e->behaviour ? OK : err->code;
}

static void add_loss(const loss_config *c, const loss_scale *scale, const episode_numbers *e, FILE *out,
                     loss_sums *sums)
{
    float *gradient = xcalloc((size_t)e->n, sizeof *gradient);
    const loss_episode of = { .n = e->n,
                              .logprob = e->logprob,
                              .behaviour = e->behaviour,
                              .old = e->old,
                              .reference = e->reference,
                              .advantage = e->advantage,
                              .success_rate = e->success_rate };
    loss_gradient(c, scale, &of, gradient, sums);
    putc('[', out);
    for (int i = 0; i < e->n; i++) {
        if (i) putc(',', out);
        print_number(out, (double)gradient[i]);
    }
    putc(']', out);
    free(gradient);
}

static void print_loss(const loss_config *c, const episode_numbers *all, size_t n, FILE *out)
{
    loss_scale scale = { .episodes = (double)n };
    loss_sums sums = { 0 };
    for (size_t i = 0; i < n; i++) scale.tokens += all[i].n;
    fputs("{\"gradient\":[", out);
    for (size_t i = 0; i < n; i++) {
        if (i) putc(',', out);
        add_loss(c, &scale, &all[i], out, &sums);
    }
    fputs("],\"loss\":", out);
    print_number(out, sums.loss);
    fputs("}\n", out);
}

int by_hand_loss(const trainer_config *c, const json_t *line, FILE *out, error *err)
{
    const json_t *episodes = json_object_get(line, "episodes");
    const size_t n = json_array_size(episodes);
    if (n == 0) return error_set(err, ERR_PARSE, "\"episodes\" is missing: a list");
    episode_numbers *all = xcalloc(n, sizeof *all);
    int rc = OK;
    for (size_t i = 0; rc == OK && i < n; i++) {
        rc = read_episode(json_array_get(episodes, i), &all[i], err);
        if (rc != OK) error_within(err, "episode %zu", i + 1);
    }
    if (rc == OK) {
        loss_config how = c->loss;
        how.constant = json_number_value(json_object_get(line, "max_tokens"));
        for (size_t i = 0; !(how.constant > 0) && i < n; i++) how.constant = fmax(how.constant, all[i].n);
        print_loss(&how, all, n, out);
    }
    for (size_t i = 0; i < n; i++) numbers_reset(&all[i]);
    free(all);
    return rc;
}
