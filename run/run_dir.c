/* SPDX-License-Identifier: MIT */
#include "run/run_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "run/run_files.h"

enum { LONGEST_NAME = 63, LONGEST_PATH = 480 }; /* SQLite opens no file whose path has more than 511 bytes */

static bool is_utf8(const char *text) { return utf8_run(text, text + strlen(text)) == strlen(text); }

/* Why a run can't have the name; NULL: it can. */
static const char *what_is_wrong(const char *name)
{
    if (!*name) return "it is empty";
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/')) return "it would lead out of runs/";
    if (strlen(name) > LONGEST_NAME) return "it is longer than 63 bytes";
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        if (*c < ' ' || *c == 0x7f) return "it holds control characters";
    if (!is_utf8(name)) return "it is not UTF-8";
    return NULL;
}

int run_name_check(const char *name, error *err)
{
    const char *why = what_is_wrong(name);
    if (!why) return OK;
    return error_set(err, ERR_ARGUMENT, "name '%.80s': %s (a run lives in runs/NAME; --run-dir names any folder)", name,
                     why);
}

/* ---- the folder ---- */

static int take_lock(run_dir *r, error *err)
{
    char path[1100];
    r->lock_fd = open(path_join(path, sizeof path, r->path, "lock"), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (r->lock_fd < 0) return error_sys(err, errno, "cannot open %s", path);
    if (flock(r->lock_fd, LOCK_EX | LOCK_NB) == 0) return OK;

    close(r->lock_fd);
    r->lock_fd = -1;
    return error_set(err, ERR_STATE, "%s is running: another troupe holds its lock", r->path);
}

static int absolute(char out[1024], const char *path, error *err)
{
    char *real = realpath(path, NULL);
    if (!real) return error_sys(err, errno, "%s", path);
    const int n = snprintf(out, 1024, "%s", real); /* the whole length, also where it doesn't fit */
    free(real);
    if (n <= LONGEST_PATH) return OK;
    return error_set(err, ERR_LIMIT, "%s: the whole path has %d bytes, a run's may have %d", path, n, LONGEST_PATH);
}

/* A folder that only this user can enter: whoever reaches the socket may send episodes. It goes with this process. */
static int make_sockets(run_dir *r, error *err)
{
    if (held_folder_open(&r->sockets, temporary_root(), "troupe-run", err) != OK) return err->code;
    return held_folder_watch(&r->sockets, err);
}

/* The whole path has to be text: run.json is, and what scripts are told. */
static int check_text(const char *path, error *err)
{
    str whole = { 0 };
    if (path[0] != '/') {
        char *here = getcwd(NULL, 0);
        if (here) str_printf(&whole, "%s/", here);
        free(here);
    }
    str_puts(&whole, path);

    int rc = OK;
    if (!is_utf8(str_text(&whole)))
        rc = error_set(err, ERR_ARGUMENT, "%s is not UTF-8: the paths of a run's folder and recipe have to be",
                       whole.data);
    str_free(&whole);
    return rc;
}

/* OK where `path` is a folder, or nothing is there yet. */
static int check_folder(const char *path, error *err)
{
    struct stat st;
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode)) return OK;
        return error_set(err, ERR_STATE, "%s is not a folder", path);
    }
    if (errno != ENOENT) return error_sys(err, errno, "%s cannot be a run's folder", path);
    if (lstat(path, &st) != 0) return OK;
    return error_set(err, ERR_STATE, "%s is a symbolic link to a folder that is not there", path);
}

/* May a run be begun here? */
static int check_place(const char *path, bool fresh, error *err)
{
    if (check_text(path, err) != OK || check_folder(path, err) != OK) return err->code;
    if (run_files_is_run(path)) {
        if (fresh || !run_files_has_work(path)) return run_files_check(path, err);
        return error_set(err, ERR_STATE, "%s exists (continue it: --resume %s; start over: --fresh; or give name=...)",
                         path, path);
    }
    if (run_files_is_empty(path)) return OK;
    return error_set(err, ERR_STATE,
                     "%s is not a run of Troupe's and not empty: nothing is written there or removed from it (give "
                     "another --run-dir or name=)",
                     path);
}

/* ---- run.json ---- */

static json_t *word_list(char *const *words, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_bytes(words[i]));
    return list;
}

static int write_json(const run_dir *r, error *err)
{
    char path[1100];
    json_t *json = json_pack("{s:s, s:s, s:o, s:o, s:O}", "sockets", r->sockets.path, "format", RUN_FORMAT, "files",
                             ingredients_to_json(&r->parts), "overrides", word_list(r->overrides, r->n_overrides),
                             "history", r->history);
    json_seal(json);

    char *text = json_text(json, false);
    /* Whole or not at all: a resume reads it, and so does whoever asks whether the folder may be deleted. */
    const int rc = file_write_atomic(path_join(path, sizeof path, r->path, "run.json"), text, strlen(text), err);
    free(text);
    json_decref(json);
    return rc;
}

static int read_words(run_dir *r, const json_t *list, error *err)
{
    size_t i;
    json_t *word;
    json_array_foreach((json_t *)(uintptr_t)list, i, word)
    {
        const char *text = json_string_value(word);
        if (!text || !strchr(text, '=') || r->n_overrides == RUN_OVERRIDES)
            return error_set(err, ERR_PARSE, "run.json: overrides: expected at most %d texts key=value", RUN_OVERRIDES);
        r->overrides[r->n_overrides++] = xstrdup(text);
    }
    return OK;
}

static int read_json(run_dir *r, error *err)
{
    char path[1100];
    json_t *json = json_parse_file(path_join(path, sizeof path, r->path, "run.json"), err);
    if (!json) return err->code;

    int rc = json_check_seal(json, "run.json", err);
    if (rc != OK) error_within(err, "damaged, or edited (--resume RUN key=value changes a run)");
    const char *format = json_string_value(json_object_get(json, "format"));
    if (rc == OK && (!format || strcmp(format, RUN_FORMAT) != 0))
        rc = error_set(err, ERR_STATE,
                       "run.json: '%s' is of another build (this one reads '%s'): finish the run with that "
                       "one",
                       format ? format : "", RUN_FORMAT);
    if (rc == OK) rc = ingredients_from_json(&r->parts, json_object_get(json, "files"), err);
    if (rc == OK) rc = read_words(r, json_object_get(json, "overrides"), err);

    json_t *history = json_object_get(json, "history");
    r->history = json_is_array(history) ? json_incref(history) : json_array();
    json_decref(json);
    return rc == OK ? OK : error_within(err, "%s", r->path);
}

/* ---- words ---- */

static bool same_key(const char *a, const char *b)
{
    const size_t n = strcspn(a, "=");
    return n == strcspn(b, "=") && strncmp(a, b, n) == 0;
}

/* The place in `words` of the one that sets the same key as `word`; -1: none does. */
static int word_of_key(char *const *words, int n, const char *word)
{
    for (int i = 0; i < n; i++)
        if (same_key(words[i], word)) return i;
    return -1;
}

/* A person's words, but where a copy of ours stands for what they name. */
static void make_words(run_dir *r)
{
    char *copies[RUN_COPIES];
    const int n = ingredients_words(&r->parts, r->path, copies, RUN_COPIES);
    for (int i = 0; i < r->n_words; i++) free(r->words[i]);
    r->n_words = 0;

    for (int i = 0; i < r->n_overrides; i++)
        if (word_of_key(copies, n, r->overrides[i]) < 0) r->words[r->n_words++] = xstrdup(r->overrides[i]);
    for (int k = 0; k < n; k++) r->words[r->n_words++] = copies[k];
    ingredients_recipe(&r->parts, r->path, r->recipe, sizeof r->recipe);
}

static int add_override(run_dir *r, const char *word, error *err)
{
    const int before = word_of_key(r->overrides, r->n_overrides, word);
    if (before < 0 && r->n_overrides == RUN_OVERRIDES)
        return error_set(err, ERR_LIMIT, "more than %d key=value words", RUN_OVERRIDES);

    char *whole = recipe_override(word);
    if (before >= 0) {
        free(r->overrides[before]);
        r->overrides[before] = whole;
    } else {
        r->overrides[r->n_overrides++] = whole;
    }
    return OK;
}

/* ---- begin ---- */

/* What an earlier run has made goes. Under the lock. */
static int remove_old(const char *path, error *err)
{
    run_dir old = { .lock_fd = -1, .n_before = -1 };
    snprintf(old.path, sizeof old.path, "%s", path);
    if (read_json(&old, NULL) == OK) ingredients_remove(&old.parts, path);
    run_dir_end(&old);
    return run_files_remove(path, err);
}

int run_dir_begin(run_dir *r, const char *path, const recipe *of, const char *const *overrides, int n_overrides,
                  bool fresh, error *err)
{
    char logs[1100];
    *r = (run_dir){ .lock_fd = -1, .sockets.lock = -1, .n_before = -1, .history = json_array() };
    if (check_place(path, fresh, err) != OK || check_text(of->path, err) != OK || dir_make_all(path, err) != OK ||
        absolute(r->path, path, err) != OK || take_lock(r, err) != OK)
        return err->code;
    if (run_files_is_run(r->path) && remove_old(r->path, err) != OK) return err->code; /* check_place has allowed it */

    int rc = OK;
    for (int i = 0; rc == OK && i < n_overrides; i++) rc = add_override(r, overrides[i], err);
    if (rc == OK) rc = write_json(r, err); /* before anything else: what is here is a run's from now on */
    if (rc == OK) rc = ingredients_take(&r->parts, r->path, of, NULL, err);
    if (rc == OK) rc = dir_make_all(path_join(logs, sizeof logs, r->path, "logs"), err);
    if (rc == OK) rc = make_sockets(r, err);

    make_words(r);
    return rc == OK ? write_json(r, err) : rc;
}

/* ---- resume ---- */

/* What a run can't continue with: its weights, or the episodes that wait, are of another. */
static int check_word(const char *word, error *err)
{
    static const char *const FIXED[] = {
        "name", "seed", "rollout.group", "rollout.prompts_per_step", "lora.rank", NULL
    };
    for (int i = 0; FIXED[i]; i++)
        if (same_key(word, FIXED[i]))
            return error_set(err, ERR_ARGUMENT, "%s: a run keeps its %s; begin another for it (name=...)", word,
                             FIXED[i]);
    return OK;
}

static int check_same(const recipe *was, const recipe *now, error *err)
{
    const struct {
        const char *key;
        int64_t was, now;
    } fixed[] = { { "seed", was->run.seed, now->run.seed },
                  { "rollout.group", was->exchange.group, now->exchange.group },
                  { "rollout.prompts_per_step", was->exchange.prompts_per_step, now->exchange.prompts_per_step },
                  { "lora.rank", was->trainer.lora.rank, now->trainer.lora.rank } };
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (fixed[i].was != fixed[i].now)
            return error_set(err, ERR_STATE,
                             "%s: %s = %" PRId64 ", but the run was begun with %" PRId64
                             " and keeps it; begin another run for it (name=...)",
                             now->path, fixed[i].key, fixed[i].now, fixed[i].was);
    return OK;
}

/* The same as check_word for a recipe that is taken anew: its values against those of the run's own copy. */
static int check_fixed(const run_dir *r, const recipe *now, error *err)
{
    error why = { 0 };
    recipe *was = recipe_open(r->recipe, (const char *const *)r->words, r->n_words, &why);
    if (!was) return OK; /* the copy is damaged: that is why it is taken anew; the learner still holds the seed */

    const int rc = check_same(was, now, err);
    recipe_free(was);
    return rc;
}

static recipe *open_recipe(const run_dir *r, const resume_options *o, error *err)
{
    /* The run's own copies; or, when asked, the person's own recipe with their words. */
    const char *path = r->recipe;
    char *const *of_run = r->words;
    int n_of_run = r->n_words;
    if (o->take_changes) {
        path = ingredients_origin(&r->parts, "recipe");
        of_run = r->overrides;
        n_of_run = r->n_overrides;
    }

    const char *words[2 * RUN_WORDS];
    int n = 0;
    for (int i = 0; i < n_of_run; i++) words[n++] = of_run[i];
    for (int i = 0; i < o->n_words; i++) words[n++] = o->words[i];
    return recipe_open(path, words, n, err);
}

static void record(run_dir *r, const resume_options *o, json_t *taken)
{
    if (o->n_words == 0 && json_array_size(taken) == 0) return;
    json_t *words = json_array();
    for (int i = 0; i < o->n_words; i++) json_array_append_new(words, json_bytes(o->words[i]));
    json_array_append_new(r->history,
                          json_pack("{s:I, s:o, s:O}", "unix", (json_int_t)time(NULL), "words", words, "taken", taken));

    for (size_t i = 0; i < json_array_size(taken); i++) {
        char sentence[200];
        snprintf(sentence, sizeof sentence, "%s: read again: the run uses its current content",
                 json_string_value(json_array_get(taken, i)));
        o->tell(o->ctx, sentence);
    }
}

/* The model's numbers are the run's: with others its checkpoints mean nothing. */
static int check_taken(const json_t *taken, error *err)
{
    for (size_t i = 0; i < json_array_size(taken); i++)
        if (strcmp(json_string_value(json_array_get(taken, i)), "model") == 0)
            return error_set(
                err, ERR_STATE,
                "model: it is not the one that the run was begun with; begin another run for it (name=...)");
    return OK;
}

static void remember_overrides(run_dir *r)
{
    r->n_before = r->n_overrides;
    for (int i = 0; i < r->n_overrides; i++) r->before[i] = xstrdup(r->overrides[i]);
}

static void forget_before(run_dir *r)
{
    for (int i = 0; i < r->n_before; i++) free(r->before[i]);
    r->n_before = -1;
}

int run_dir_take_back(run_dir *r, error *err)
{
    if (r->n_before < 0) return OK;
    for (int i = 0; i < r->n_overrides; i++) free(r->overrides[i]);
    memcpy(r->overrides, r->before, sizeof r->before); /* the words themselves: they are `overrides`' from now on */
    r->n_overrides = r->n_before;
    r->n_before = -1;
    json_array_remove(r->history, json_array_size(r->history) - 1);
    return write_json(r, err);
}

static int take_up(run_dir *r, const resume_options *o, recipe *opened, error *err)
{
    json_t *taken = json_array();
    int rc = ingredients_take(&r->parts, r->path, opened, taken, err);
    if (rc == OK) rc = check_taken(taken, err);
    if (o->n_words > 0 && json_array_size(taken) == 0) remember_overrides(r);
    for (int i = 0; rc == OK && i < o->n_words; i++) rc = add_override(r, o->words[i], err);
    if (rc == OK) record(r, o, taken);
    json_decref(taken);

    make_words(r);
    if (rc == OK) rc = make_sockets(r, err);
    return rc == OK ? write_json(r, err) : rc;
}

/* Nothing there, or something that can't be read: whoever hears "not a run" of the latter would delete a good one. */
static int not_a_run(const run_dir *r, error *err)
{
    char file[1200];
    error why = { 0 };
    path_join(file, sizeof file, r->path, "run.json");
    if (access(file, F_OK) != 0 && errno == ENOENT)
        return error_set(err, ERR_NOT_FOUND, "%s is not a run: it has no run.json that this Troupe wrote", r->path);

    json_t *json = json_parse_file(file, &why);
    json_decref(json);
    if (!json)
        return error_set(
            err, why.code,
            "%s; nothing else says what this run is made of, so it cannot be continued, but its models "
            "(checkpoints/), recipe (recipe/) and episodes (rollouts.db) are there: begin another run with "
            "model=RUN/checkpoints/step-N",
            why.text);
    return error_set(err, ERR_NOT_FOUND, "%s is not a run: this Troupe has not written its run.json", r->path);
}

static int read_run(run_dir *r, const char *path, const resume_options *o, error *err)
{
    int rc = absolute(r->path, path, err);
    if (rc == OK && !run_files_is_run(r->path)) rc = not_a_run(r, err);
    if (rc == OK) rc = take_lock(r, err);
    if (rc == OK) rc = read_json(r, err);
    for (int i = 0; rc == OK && i < o->n_words; i++) rc = check_word(o->words[i], err);
    if (rc == OK && !o->take_changes) rc = ingredients_check(&r->parts, r->path, o->words, o->n_words, err);
    return rc;
}

recipe *run_dir_resume(run_dir *r, const char *path, const resume_options *options, error *err)
{
    *r = (run_dir){ .lock_fd = -1, .sockets.lock = -1, .n_before = -1 };
    if (read_run(r, path, options, err) != OK) return NULL;
    if (!options->take_changes) ingredients_differences(&r->parts, r->path, options->tell, options->ctx);

    make_words(r);
    recipe *opened = open_recipe(r, options, err);
    if (!opened) return NULL;

    int rc = options->take_changes ? check_fixed(r, opened, err) : OK;
    if (rc == OK && options->agree) rc = options->agree(options->ctx, opened, err);
    if (rc == OK && take_up(r, options, opened, err) == OK) return opened;
    recipe_free(opened);
    return NULL;
}

void run_dir_end(run_dir *r)
{
    if (r->sockets.path[0]) held_folder_close(&r->sockets);
    for (int i = 0; i < r->n_overrides; i++) free(r->overrides[i]);
    for (int i = 0; i < r->n_words; i++) free(r->words[i]);
    r->n_overrides = r->n_words = 0;
    forget_before(r);
    vec_free(&r->parts);
    json_decref(r->history);
    r->history = NULL;
    if (r->lock_fd >= 0) close(r->lock_fd);
    r->lock_fd = -1;
}
