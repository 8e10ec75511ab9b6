/* SPDX-License-Identifier: MIT */
#include "learner/checkpoint.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "learner/pretrain.h"
#include "defaults.h"
#include "tiny.h"

static int counting(void *ctx, double progress, int32_t *out, int max, int *n, error *err)
{
    (void)progress, (void)err;
    uint64_t *next = ctx;
    *n = max < 12 ? max : 12;
    for (int i = 0; i < *n; i++) out[i] = (int32_t)((*next + (uint64_t)i) % 31 + 1);
    (*next)++;
    return OK;
}

static optimizer *trained(tiny *t, int steps)
{
    error err = { 0 };
    optim_config c = optim_default();
    c.lr = 1e-3;
    optimizer *o = optimizer_new(&c, t->w, NULL, NULL);
    float *g = malloc(sizeof(float) * (size_t)t->table->total);
    for (int s = 0; s < steps; s++) {
        optim_report report;
        for (int64_t i = 0; i < t->table->total; i++) g[i] = (float)((i * 7 + s * 13) % 23 - 11) * 0.01f;
        test_ok(optimizer_step(o, t->w, g, 1, &report, &err), &err);
        weights_seal(t->w, t->w->version + 1);
    }
    free(g);
    return o;
}

static char *model_folder(void)
{
    char *dir = test_folder_new();
    test_file_write(dir, "config.json", TINY_CONFIG);
    return dir;
}

static void what_was_saved_comes_back_to_the_bit(void **state)
{
    (void)state;
    error err = { 0 };
    char *run = test_folder_new(), *model = model_folder(), dir[1024];
    tiny t = tiny_open(5), u = tiny_open(6);
    optimizer *o = trained(&t, 3), *p = trained(&u, 1);
    test_ok(checkpoint_save(run, model, &(checkpoint_parts){ .w = t.w, .adapter = NULL, .o = o }, 77, &err), &err);
    checkpoint_state found;
    test_ok(checkpoint_latest(run, dir, sizeof dir, &found, NULL, NULL, &err), &err);
    test_ok(checkpoint_load(dir, &(checkpoint_parts){ .w = u.w, .adapter = NULL, .o = p }, &found, &err), &err);
    assert_int_equal(found.step, 3);
    assert_true(found.seed == 77 && u.w->version == 3 && u.w->hash == t.w->hash && p->step == 3);
    assert_memory_equal(p->m, o->m, sizeof(float) * (size_t)t.table->total);
    assert_memory_equal(p->v, o->v, sizeof(float) * (size_t)t.table->total);
    optimizer_free(o, t.dev);
    optimizer_free(p, u.dev);
    tiny_close(&t);
    tiny_close(&u);
    test_folder_remove(run);
    test_folder_remove(model);
}

static lora *adapter_of(const tiny *t, error *err)
{
    const lora_config config = { .rank = 2, .alpha = 4, .targets = lora_target("q_proj") | lora_target("up_proj") };
    lora *l = lora_new(&config, t->w, 9, err);
    if (!l) fail_msg("%s", err->text);
    return l;
}

/* What is optimized then is A and B: they come back, with their moments, and W0 stays what it was. */
static void an_adapter_comes_back_to_the_bit(void **state)
{
    (void)state;
    error err = { 0 };
    char *run = test_folder_new(), *model = model_folder(), dir[1024];
    tiny t = tiny_open(5), u = tiny_open(5); /* the same base */
    lora *l = adapter_of(&t, &err), *k = adapter_of(&u, &err);
    const optim_config config = { .lr = 1e-2, .beta1 = 0.9, .beta2 = 0.95 };
    optimizer *o = optimizer_new(&config, l->w, NULL, NULL), *p = optimizer_new(&config, k->w, NULL, NULL);
    float *g = calloc((size_t)l->table->total, sizeof *g);
    for (int64_t i = 0; i < l->table->total; i++) g[i] = (float)(i % 11 - 5) * 0.01f;
    optim_report report;
    checkpoint_state found;
    test_ok(optimizer_step(o, l->w, g, 1, &report, &err), &err);
    lora_merge(l, t.w);
    weights_seal(t.w, 1);
    test_ok(checkpoint_save(run, model, &(checkpoint_parts){ .w = t.w, .adapter = l, .o = o }, 3, &err), &err);
    test_ok(checkpoint_latest(run, dir, sizeof dir, &found, NULL, NULL, &err), &err);
    test_ok(checkpoint_load(dir, &(checkpoint_parts){ .w = u.w, .adapter = k, .o = p }, &found, &err), &err);
    const size_t bytes = sizeof(float) * (size_t)l->table->total;
    assert_true(u.w->hash == t.w->hash && p->step == 1);
    assert_memory_equal(k->w->data, l->w->data, bytes);
    assert_memory_equal(p->m, o->m, bytes);
    assert_memory_equal(p->v, o->v, bytes);
    lora_merge(k, u.w);
    assert_true(weights_hash(u.w) == t.w->hash);
    free(g);
    optimizer_free(o, t.dev);
    optimizer_free(p, u.dev);
    lora_free(l);
    lora_free(k);
    tiny_close(&t);
    tiny_close(&u);
    test_folder_remove(run);
    test_folder_remove(model);
}

/* Three numbers of a module; NULL: of none. */
static void walk_numbers(saved_state *s, double *numbers, int64_t n)
{
    state_section(s, "module", 1);
    state_numbers(s, "numbers", numbers, n, -1, 1);
}

/* What methods and buckets remember comes back too; that of another run is refused, by file, section and field. */
static void memory_comes_back_to_the_bit(void **state)
{
    (void)state;
    error err = { 0 };
    char *run = test_folder_new(), *model = model_folder(), dir[1024];
    tiny t = tiny_open(5);
    const optim_config config = optim_default();
    optimizer *o = optimizer_new(&config, t.w, NULL, NULL);
    double saved[3] = { 1.0 / 3, -0.0, 1e-300 }, loaded[4] = { 0 };
    checkpoint_state found;
    saved_state *memory = state_new();
    walk_numbers(memory, saved, 3);
    const checkpoint_parts parts = { .w = t.w, .o = o, .memory = memory };
    test_ok(checkpoint_save(run, model, &parts, 1, &err), &err);
    test_ok(checkpoint_latest(run, dir, sizeof dir, &found, NULL, NULL, &err), &err);
    for (int64_t n = 3; n <= 4; n++) {
        saved_state *in = checkpoint_memory(dir, &err);
        assert_non_null(in);
        walk_numbers(in, loaded, n);
        assert_int_equal(state_end(in, &err), n == 3 ? OK : ERR_PARSE);
        state_free(in);
    }
    assert_memory_equal(saved, loaded, sizeof saved);
    assert_non_null(strstr(err.text, "step-0/memory.state: section 'module': 'numbers' has 3 numbers, expected 4"));
    state_free(memory);
    optimizer_free(o, t.dev);
    tiny_close(&t);
    test_folder_remove(run);
    test_folder_remove(model);
}

/* A crash between the folder and its state.json leaves no checkpoint, only rubbish that resume doesn't look at. */
static void a_half_written_checkpoint_is_not_one(void **state)
{
    (void)state;
    error err = { 0 };
    char *run = test_folder_new(), *model = model_folder(), dir[1024], path[1200];
    tiny t = tiny_open(5);
    checkpoint_state found;
    assert_int_equal(checkpoint_latest(run, dir, sizeof dir, &found, NULL, NULL, &err), ERR_NOT_FOUND);
    optimizer *o = trained(&t, 2);
    test_ok(checkpoint_save(run, model, &(checkpoint_parts){ .w = t.w, .adapter = NULL, .o = o }, 1, &err), &err);
    weights_seal(t.w, 9);
    test_ok(checkpoint_save(run, model, &(checkpoint_parts){ .w = t.w, .adapter = NULL, .o = o }, 1, &err), &err);
    snprintf(path, sizeof path, "%s/checkpoints/step-9/state.json", run);
    assert_int_equal(unlink(path), 0);
    test_ok(checkpoint_latest(run, dir, sizeof dir, &found, NULL, NULL, &err), &err);
    assert_int_equal(found.step, 2);
    optimizer_free(o, t.dev);
    tiny_close(&t);
    test_folder_remove(run);
    test_folder_remove(model);
}

static void a_checkpoint_of_other_weights_is_refused(void **state)
{
    (void)state;
    error err = { 0 };
    char *run = test_folder_new(), *model = model_folder(), dir[1024];
    tiny t = tiny_open(5), other = tiny_open(6);
    optimizer *o = trained(&t, 1);
    test_ok(checkpoint_save(run, model, &(checkpoint_parts){ .w = t.w, .adapter = NULL, .o = o }, 1, &err), &err);
    checkpoint_state found;
    test_ok(checkpoint_latest(run, dir, sizeof dir, &found, NULL, NULL, &err), &err);
    char path[1200];
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    test_ok(weights_save(other.w, path, DTYPE_F32, &err), &err);
    assert_int_equal(checkpoint_load(dir, &(checkpoint_parts){ .w = t.w, .adapter = NULL, .o = o }, &found, &err),
                     ERR_PARSE);
    assert_non_null(strstr(err.text, "state.json"));
    optimizer_free(o, t.dev);
    tiny_close(&t);
    tiny_close(&other);
    test_folder_remove(run);
    test_folder_remove(model);
}

/* Pre-training learns to count: the loss of a sequence that can be known falls far below chance. */
static void pretraining_learns_a_sequence(void **state)
{
    (void)state;
    error err = { 0 };
    tiny t = tiny_open(5);
    uint64_t next = 0;
    pretrain_config c = { .steps = 60,
                          .tokens_per_step = 480,
                          .max_sequence = 12,
                          .optim = optim_default(),
                          .next = counting,
                          .ctx = &next };
    c.optim.lr = 1e-2, c.optim.warmup = 5;
    pretrainer *p = pretrainer_new(&c, t.w, &err);
    pretrain_report first, last;
    test_ok(pretrainer_step(p, &first, &err), &err);
    for (int i = 1; i < 60; i++) test_ok(pretrainer_step(p, &last, &err), &err);
    assert_true(first.loss > 2.5 && last.loss < 0.5);
    assert_int_equal(t.w->version, 60);
    pretrainer_free(p);
    tiny_close(&t);
}

/* ---- what happens to files ---- */

typedef struct told {
    int n;
    char dir[1200], why[512];
} told;

static void tell(void *ctx, const char *dir, const char *why)
{
    told *t = ctx;
    t->n++;
    snprintf(t->dir, sizeof t->dir, "%s", dir);
    snprintf(t->why, sizeof t->why, "%s", why);
}

/* A run with checkpoints of steps 1 and 2. */
typedef struct saved {
    char *run, *model;
    tiny t;
    optimizer *o;
} saved;

static saved open_saved(void)
{
    error err = { 0 };
    saved s = { .run = test_folder_new(), .model = model_folder(), .t = tiny_open(5) };
    double numbers[2] = { 1, -1 };
    saved_state *memory = state_new();
    walk_numbers(memory, numbers, 2);
    s.o = trained(&s.t, 1);
    for (int64_t step = 1; step <= 2; step++) {
        weights_seal(s.t.w, step);
        const checkpoint_parts parts = { .w = s.t.w, .o = s.o, .memory = memory };
        test_ok(checkpoint_save(s.run, s.model, &parts, 1, &err), &err);
    }
    state_free(memory);
    return s;
}

static void close_saved(saved *s)
{
    optimizer_free(s->o, s->t.dev);
    tiny_close(&s->t);
    test_folder_remove(s->run);
    test_folder_remove(s->model);
}

static void change_byte(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, at, at < 0 ? SEEK_END : SEEK_SET);
    const int c = fgetc(f);
    fseek(f, -1, SEEK_CUR);
    fputc(c ^ 0x10, f);
    assert_int_equal(fclose(f), 0);
}

static void cut_short(const char *path, long bytes)
{
    (void)bytes;
    assert_int_equal(truncate(path, 3), 0);
}

/* Whatever is changed in whichever file of the newest checkpoint: it is named, and the one before is used. */
static void of_a_damaged_checkpoint_the_one_before_is_used(void **state)
{
    (void)state;
    static const char *const FILES[] = { "model.safetensors", "optimizer.safetensors", "memory.state", "config.json",
                                         "state.json" };
    static void (*const HARM[])(const char *path, long at) = { change_byte, cut_short };
    for (size_t f = 0; f < sizeof FILES / sizeof *FILES; f++)
        for (size_t h = 0; h < 2; h++) {
            error err = { 0 };
            checkpoint_state found;
            char dir[1100], path[1300];
            told t = { 0 };
            saved s = open_saved();
            snprintf(path, sizeof path, "%s/checkpoints/step-2/%s", s.run, FILES[f]);
            HARM[h](path, -2);
            test_ok(checkpoint_latest(s.run, dir, sizeof dir, &found, tell, &t, &err), &err);
            assert_int_equal(found.step, 1);
            assert_int_equal(t.n, 1);
            if (!strstr(t.why, FILES[f])) fail_msg("expected %s in: %s", FILES[f], t.why);
            snprintf(path, sizeof path, "%s/checkpoints/step-1/%s", s.run, FILES[f]);
            HARM[h](path, -2);
            assert_int_equal(checkpoint_latest(s.run, dir, sizeof dir, &found, tell, &t, &err), ERR_PARSE);
            close_saved(&s);
        }
}

/* Whatever stands in the way stays: a folder, a file, a link that leads nowhere. The last free name is the hundredth;
 * then the folder keeps its own, and a sentence says so. */
static void what_is_set_aside_takes_the_first_free_name(void **state)
{
    (void)state;
    char *dir = test_folder_new(), path[400], moved[500], want[500];
    error err = { 0 };
    struct stat st;
    snprintf(path, sizeof path, "%s/step-4", dir);
    for (int i = 1; i <= 100; i++) {
        snprintf(want, sizeof want, i == 1 ? "%s.old" : "%s.old-%d", path, i);
        if (i == 3) assert_int_equal(symlink("/nowhere", want), 0);
        if (i == 4) test_file_write(dir, "step-4.old-4", "a person's");
        if (i == 3 || i == 4) continue;
        assert_int_equal(mkdir(path, 0700), 0);
        test_ok(checkpoint_set_aside(path, "old", moved, sizeof moved, &err), &err);
        assert_string_equal(moved, want);
        assert_true(lstat(path, &st) != 0 && lstat(moved, &st) == 0 && S_ISDIR(st.st_mode));
    }

    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(checkpoint_set_aside(path, "old", moved, sizeof moved, &err), ERR_FULL);
    snprintf(want, sizeof want, "%s.old, .old-2, ... are all taken", path);
    assert_string_equal(err.text, want);
    assert_int_equal(lstat(path, &st), 0);
    test_ok(checkpoint_set_aside(path, "damaged", moved, sizeof moved, &err), &err); /* each word has its own row */
    snprintf(want, sizeof want, "%s.damaged", path);
    assert_string_equal(moved, want);
    assert_int_equal(checkpoint_set_aside(path, "damaged", moved, sizeof moved, &err), ERR_IO);
    test_folder_remove(dir);
}

/* state.json says which files the others are: it vouches for itself first. */
static void no_byte_of_the_state_can_be_changed(void **state)
{
    (void)state;
    checkpoint_state found;
    error err = { 0 };
    char dir[1100];
    size_t len;
    saved s = open_saved();
    snprintf(dir, sizeof dir, "%s/checkpoints/step-2", s.run);
    char *text = test_file_read(dir, "state.json");
    len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        text[i] ^= 1; /* a digit stays a digit, a letter a letter */
        test_file_write(dir, "state.json", text);
        if (checkpoint_verify(dir, &found, &err) == OK) fail_msg("byte %zu was changed: %s", i, text);
        text[i] ^= 1;
    }
    test_file_write(dir, "state.json", text);
    test_ok(checkpoint_verify(dir, &found, &err), &err);
    free(text);
    close_saved(&s);
}

/* A whole file of another step is as wrong as a damaged one. */
static void a_file_of_another_step_is_refused(void **state)
{
    (void)state;
    error err = { 0 };
    checkpoint_state found;
    char dir[1100], from[1300], to[1300];
    told t = { 0 };
    saved s = open_saved();
    s.o->m[0] += 1;
    weights_seal(s.t.w, 3);
    test_ok(checkpoint_save(s.run, s.model, &(checkpoint_parts){ .w = s.t.w, .o = s.o }, 1, &err), &err);
    snprintf(from, sizeof from, "%s/checkpoints/step-1/optimizer.safetensors", s.run);
    snprintf(to, sizeof to, "%s/checkpoints/step-3/optimizer.safetensors", s.run);
    test_ok(file_copy(from, to, &err), &err);
    test_ok(checkpoint_latest(s.run, dir, sizeof dir, &found, tell, &t, &err), &err);
    assert_int_equal(found.step, 2);
    assert_non_null(strstr(t.why, "optimizer.safetensors"));
    snprintf(from, sizeof from, "%s/checkpoints/step-2", s.run); /* a folder by another step's name */
    snprintf(to, sizeof to, "%s/checkpoints/step-7", s.run);
    assert_int_equal(rename(from, to), 0);
    test_ok(checkpoint_latest(s.run, dir, sizeof dir, &found, tell, &t, &err), &err);
    assert_int_equal(found.step, 1);
    close_saved(&s);
}

static int entries(const char *run)
{
    char path[1100];
    int n = 0;
    DIR *d = opendir(path_join(path, sizeof path, run, "checkpoints"));
    for (const struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}

/* A disk that is full at any byte leaves no checkpoint, no part of one, and those before as they were. */
static void a_full_disk_leaves_nothing_half_written(void **state)
{
    (void)state;
    saved s = open_saved();
    struct rlimit old, small;
    checkpoint_state found;
    char dir[1100];
    error err = { 0 };
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    weights_seal(s.t.w, 3);
    for (rlim_t bytes = 0; bytes < 4000; bytes += 500) {
        small = (struct rlimit){ bytes, old.rlim_max };
        setrlimit(RLIMIT_FSIZE, &small);
        const int rc = checkpoint_save(s.run, s.model, &(checkpoint_parts){ .w = s.t.w, .o = s.o }, 1, &err);
        setrlimit(RLIMIT_FSIZE, &old);
        assert_int_equal(rc, ERR_SPACE);
        assert_non_null(strstr(err.text, "checkpoint step-3 was not written (it needs"));
        assert_int_equal(entries(s.run), 2);
    }
    test_ok(checkpoint_latest(s.run, dir, sizeof dir, &found, NULL, NULL, &err), &err);
    assert_int_equal(found.step, 2);
    test_ok(checkpoint_save(s.run, s.model, &(checkpoint_parts){ .w = s.t.w, .o = s.o }, 1, &err), &err);
    test_ok(checkpoint_latest(s.run, dir, sizeof dir, &found, NULL, NULL, &err), &err);
    assert_int_equal(found.step, 3);
    close_saved(&s);
}

/* A run that went back past a damaged checkpoint writes older ones than that: they are what is kept. Without
 * state.json it is damaged like any. */
static void a_damaged_checkpoint_is_not_kept_in_place_of_a_new_one(void **state)
{
    (void)state;
    error err = { 0 };
    checkpoint_state found;
    char dir[1100], path[1300];
    saved s = open_saved();
    weights_seal(s.t.w, 9);
    test_ok(checkpoint_save(s.run, s.model, &(checkpoint_parts){ .w = s.t.w, .o = s.o }, 1, &err), &err);
    snprintf(path, sizeof path, "%s/checkpoints/step-9/state.json", s.run);
    assert_int_equal(unlink(path), 0);
    test_ok(checkpoint_latest(s.run, dir, sizeof dir, &found, NULL, NULL, &err), &err);
    assert_int_equal(found.step, 2);
    char command[3000]; /* a person's copy under another number */
    snprintf(command, sizeof command, "cp -r %s/checkpoints/step-1 %s/checkpoints/step-0", s.run, s.run);
    assert_int_equal(system(command), 0);
    weights_seal(s.t.w, 3);
    test_ok(checkpoint_save(s.run, s.model, &(checkpoint_parts){ .w = s.t.w, .o = s.o }, 1, &err), &err);
    test_ok(checkpoint_prune(s.run, 1, 3, &err), &err);
    test_ok(checkpoint_latest(s.run, dir, sizeof dir, &found, NULL, NULL, &err), &err);
    assert_int_equal(found.step, 3);
    static const char *const STAY[] = { "step-9", "step-0" };
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/checkpoints/%s/model.safetensors", s.run, STAY[i]);
        assert_true(file_exists(path));
    }
    close_saved(&s);
}

/* Only what state.json lists goes; what a person put beside it stays, and so does what a link points to. */
static void pruning_takes_its_own_files_only(void **state)
{
    (void)state;
    error err = { 0 };
    char path[1400], outside[1200];
    saved s = open_saved();
    snprintf(path, sizeof path, "%s/checkpoints/step-1", s.run);
    test_file_write(path, "notes.txt", "mine");
    snprintf(outside, sizeof outside, "%.1000s/precious", s.model);
    assert_int_equal(mkdir(outside, 0700), 0);
    test_file_write(outside, "state.json", "{}");
    snprintf(path, sizeof path, "%s/checkpoints/step-0", s.run);
    assert_int_equal(symlink(outside, path), 0);
    test_ok(checkpoint_prune(s.run, 1, 2, &err), &err);
    snprintf(path, sizeof path, "%s/checkpoints/step-1/notes.txt", s.run);
    assert_true(file_exists(path));
    snprintf(path, sizeof path, "%s/checkpoints/step-1/model.safetensors", s.run);
    assert_false(file_exists(path));
    snprintf(path, sizeof path, "%s/checkpoints/step-2/model.safetensors", s.run);
    assert_true(file_exists(path));
    snprintf(path, sizeof path, "%s/state.json", outside);
    assert_true(file_exists(path));
    test_ok(checkpoint_remove_all(s.run, &err), &err);
    snprintf(path, sizeof path, "%s/checkpoints/step-2", s.run);
    assert_false(dir_exists(path));
    snprintf(path, sizeof path, "%s/checkpoints/step-1/notes.txt", s.run);
    assert_true(file_exists(path));
    assert_true(file_exists(outside) || dir_exists(outside));
    close_saved(&s);
}

/* Lists one more file in a state.json, which then vouches for itself. */
static void list_too(const char *dir, const char *name)
{
    char *text = test_file_read(dir, "state.json");
    json_t *state = json_loads(text, 0, NULL);
    free(text);
    json_object_set_new(json_object_get(state, "files"), name, json_pack("{s:i, s:s}", "bytes", 0, "hash", "0"));
    json_seal(state);
    text = json_text(state, true);
    test_file_write(dir, "state.json", text);
    free(text);
    json_decref(state);
}

/* What a state.json lists is removed with its checkpoint, and nothing outside it, whatever is written there. */
static void a_list_that_names_files_elsewhere_removes_none_of_them(void **state)
{
    (void)state;
    static const char *const NAMES[] = { "../precious",    "adapter/../../precious", "link/precious",
                                         "../../precious", "./../precious",          ".precious" };
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        error err = { 0 };
        saved s = open_saved();
        char parent[1100], dir[1100], link[1200];
        snprintf(parent, sizeof parent, "%s/checkpoints", s.run);
        snprintf(dir, sizeof dir, "%.1000s/step-1", parent);
        snprintf(link, sizeof link, "%s/link", dir);
        test_file_write(parent, "precious", "mine");
        test_file_write(s.run, "precious", "mine");
        test_file_write(dir, ".precious", "mine");
        assert_int_equal(symlink("..", link), 0);
        list_too(dir, NAMES[i]);
        test_ok(checkpoint_prune(s.run, 1, 2, &err), &err);
        char *kept = test_file_read(parent, "precious"), *above = test_file_read(s.run, "precious"),
             *inside = test_file_read(dir, ".precious");
        snprintf(link, sizeof link, "%s/model.safetensors", dir);
        assert_false(file_exists(link)); /* it was pruned */
        free(kept);
        free(above);
        free(inside);
        close_saved(&s);
    }
}

/* After the step that was just saved lie checkpoints of another life: they are neither counted nor removed. */
static void pruning_looks_no_further_than_the_latest(void **state)
{
    (void)state;
    error err = { 0 };
    checkpoint_state found;
    char dir[1100];
    saved s = open_saved();
    test_ok(checkpoint_prune(s.run, 1, 1, &err), &err);
    for (int step = 1; step <= 2; step++) {
        snprintf(dir, sizeof dir, "%s/checkpoints/step-%d", s.run, step);
        test_ok(checkpoint_verify(dir, &found, &err), &err);
    }
    close_saved(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_a_damaged_checkpoint_the_one_before_is_used),
        cmocka_unit_test(no_byte_of_the_state_can_be_changed),
        cmocka_unit_test(what_is_set_aside_takes_the_first_free_name),
        cmocka_unit_test(a_file_of_another_step_is_refused),
        cmocka_unit_test(a_full_disk_leaves_nothing_half_written),
        cmocka_unit_test(a_damaged_checkpoint_is_not_kept_in_place_of_a_new_one),
        cmocka_unit_test(pruning_takes_its_own_files_only),
        cmocka_unit_test(what_was_saved_comes_back_to_the_bit),
        cmocka_unit_test(an_adapter_comes_back_to_the_bit),
        cmocka_unit_test(memory_comes_back_to_the_bit),
        cmocka_unit_test(a_half_written_checkpoint_is_not_one),
        cmocka_unit_test(a_checkpoint_of_other_weights_is_refused),
        cmocka_unit_test(pretraining_learns_a_sequence),
        cmocka_unit_test(a_list_that_names_files_elsewhere_removes_none_of_them),
        cmocka_unit_test(pruning_looks_no_further_than_the_latest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
