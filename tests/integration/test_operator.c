/* SPDX-License-Identifier: MIT */
/* What an operator does to a run's files: fills the disk, damages checkpoints, edits what it was begun with, copies it
 * while it lives. It ends with the bytes of an undisturbed run, every difference is said, and no file of the operator's
 * is touched. What is done to its processes: test_signals.c. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "tests/integration/calm.h"
#include "tests/integration/fleet.h"
#include "tests/support/support.h"

enum { LOOK_MS = 5, FILLER_BYTES = 1 << 16 };

/* ---- helpers ---- */

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char command[4000];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (system(command) != 0) fail_msg("%s", command);
}

static bool is_there(const place *p, const char *name)
{
    char path[700];
    struct stat st;
    return lstat(path_join(path, sizeof path, p->run, name), &st) == 0;
}

static void refused(const place *p, const char *word, const char *why)
{
    assert_int_equal(resume(p, word), 1);
    assert_said(p, why);
}

/* Small disks are mounted where no other process sees them, and go with us, however we end. */
static void leave_the_machines_mounts(void)
{
    if (unshare(CLONE_NEWNS) == 0) mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static int set_up(void **state)
{
    leave_the_machines_mounts();
    return play_calm(state);
}

/* The calm run once more, as its own: copied, with checkpoints up to the last. */
static place another_calm(void)
{
    need_sandbox();
    place p = place_new();
    shell("cp -r %s %s", calm.run, p.run);
    return p;
}

/* ---- damage ---- */

typedef enum { CUT, FLIPPED, GONE, EMPTY } harm;

static void damage(const place *p, const char *name, harm how)
{
    char path[800];
    struct stat st;
    char byte;
    path_join(path, sizeof path, p->run, name);
    assert_int_equal(stat(path, &st), 0);
    if (how == GONE) assert_int_equal(unlink(path), 0);
    if (how == CUT) assert_int_equal(truncate(path, st.st_size / 2), 0);
    if (how == EMPTY) assert_int_equal(truncate(path, 0), 0);
    if (how != FLIPPED) return;
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &byte, 1, st.st_size / 2), 1);
    byte = (char)(byte ^ 1);
    assert_int_equal(pwrite(fd, &byte, 1, st.st_size / 2), 1);
    close(fd);
}

static void a_damaged_checkpoint_is_named_and_the_one_before_used(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        harm how;
    } ALL[] = { { "model.safetensors", CUT }, { "optimizer.safetensors", FLIPPED },
                { "memory.state", GONE },     { "state.json", FLIPPED },
                { "state.json", GONE },       { "tokenizer.json", EMPTY },
                { "config.json", GONE },      { "tokenizer_config.json", FLIPPED },
                { "state.json", CUT } };
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        char name[100];
        place p = another_calm();
        snprintf(name, sizeof name, "checkpoints/step-%d/%s", LAST, ALL[i].file);
        damage(&p, name, ALL[i].how);
        resumed_to_the_same_end(&p);
        assert_said(&p, "checkpoints/step-8 is damaged");
        assert_said(&p, ALL[i].file);
        assert_said(&p, "from  step 6");
        test_folder_remove(p.dir);
    }
}

/* A damaged one counts for nothing: what is whole is not pruned for it. */
static void pruning_keeps_what_is_whole(void **state)
{
    (void)state;
    place p = another_calm();
    damage(&p, "checkpoints/step-6/model.safetensors", CUT);
    damage(&p, "checkpoints/step-8/model.safetensors", CUT);
    process t = troupe_start(
        p.out, (const char *const[]){ "train", "--resume", p.run, "keep_checkpoints=1", "checkpoint_every=1", NULL });
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    assert_same_model(&calm, &p, LAST);
    assert_true(is_there(&p, "checkpoints/step-8/state.json"));
    assert_true(is_there(&p, "checkpoints/step-8.old"));
    assert_false(is_there(&p, "checkpoints/step-4"));
    test_folder_remove(p.dir);
}

/* ---- what it was begun with ---- */

/* A recipe, its script, data and model that are the operator's own, in DIR/desk. */
static process begun_at_a_desk(place *p)
{
    char model[500];
    const char *const source = getenv("TROUPE_SOURCE");
    need_sandbox();
    *p = place_new();
    shell("cp -r %s/recipes/calculator %s/desk && cp -r %s/models/stagehand %s/model", source, p->dir, source, p->dir);
    snprintf(p->recipe, sizeof p->recipe, "%s/desk/recipe.lua", p->dir);
    snprintf(model, sizeof model, "model=%s/model", p->dir);
    process t = place_start(p, (const char *const[]){ "actors=1", "steps=8", model, NULL });
    wait_for_step(p->run, 1, SECONDS);
    return t;
}

static void a_run_goes_on_with_its_own_copy(void **state)
{
    (void)state;
    int status;
    place p;
    process t = begun_at_a_desk(&p);
    shell(
        "cd %s/desk && echo 'error(1)' > recipe.lua && echo 'return function() return {accuracy = 1} end' > reward.lua",
        p.dir);
    shell("cd %s/desk && rm data/train.jsonl && echo '{}' > shots.jsonl", p.dir);
    process_signal(&t, SIGKILL);
    process_wait(&t, SECONDS * 1000, &status);
    resumed_to_the_same_end(&p);
    assert_said(&p, "desk/recipe.lua has changed since the run began; the run's own copy is used");
    assert_said(&p, "desk/reward.lua has changed since");
    assert_said(&p, "desk/data/train.jsonl is gone since");
    assert_said(&p, "desk/shots.jsonl has changed since");
    test_folder_remove(p.dir);
}

/* What a run has no copy of is proven by its hash, wherever it is. */
static void a_model_that_was_moved_is_named_and_taken_from_its_new_place(void **state)
{
    (void)state;
    char moved[500], other[500];
    place p;
    process t = begun_at_a_desk(&p);
    process_signal(&t, SIGINT);
    assert_int_equal(troupe_wait(&t, SECONDS), 130);
    shell("mv %s/model %s/elsewhere && rm -r %s/desk", p.dir, p.dir, p.dir);
    refused(&p, NULL, "model=PATH");
    shell("cp -r %s/elsewhere %s/other && sed -i 's/\"eos_token\"/\"eos_tokem\"/' %s/other/tokenizer_config.json",
          p.dir, p.dir, p.dir);
    snprintf(other, sizeof other, "model=%s/other", p.dir);
    refused(&p, other, "not the one that the run was begun with");
    snprintf(moved, sizeof moved, "model=%s/elsewhere", p.dir);
    assert_int_equal(resume(&p, moved), 0);
    assert_same_model(&calm, &p, LAST);
    assert_int_equal(resume(&p, NULL), 0); /* recorded */
    test_folder_remove(p.dir);
}

/* A build or an installation beside a run: who is started again is of the same build as the others. */
static void a_program_that_is_replaced_meanwhile_goes_on_as_it_was(void **state)
{
    (void)state;
    char own[500], *const before = strdup(getenv("TROUPE_BUILD"));
    int pid;
    need_sandbox();
    place p = place_new();
    snprintf(own, sizeof own, "%s/troupe", p.dir);
    shell("cp %s/troupe %s", before, own);
    setenv("TROUPE_BUILD", p.dir, 1);
    process t = place_start(&p, KEYS);
    setenv("TROUPE_BUILD", before, 1);
    wait_for_step(p.run, 1, SECONDS);
    process_signal(&t, SIGTSTP);
    wait_for_state(t.pid, 'T');
    shell("rm %s && printf '#!/bin/sh\nexit 3\n' > %s && chmod +x %s", own, own, own);
    assert_int_equal(find_processes("troupe actor", p.run, &pid, 1), 1);
    kill(pid, SIGKILL);
    process_signal(&t, SIGCONT);
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    assert_said(&p, "starting it again");
    assert_same_model(&calm, &p, LAST);
    assert_nobody_left(&p);
    free(before);
    test_folder_remove(p.dir);
}

static void a_run_without_its_checkpoints_says_that_it_begins_again(void **state)
{
    (void)state;
    place p = another_calm();
    shell("rm -r %s/checkpoints/step-*", p.run);
    resumed_to_the_same_end(&p);
    assert_said(&p, "8 steps of this run were done, but there is no checkpoint of it: it begins again at step 1");
    test_folder_remove(p.dir);
}

static void a_run_is_extended_when_asked_and_that_is_recorded(void **state)
{
    (void)state;
    char path[400];
    error err = { 0 };
    need_sandbox();
    place p = place_new();
    process t = place_start(&p, (const char *const[]){ "actors=1", "steps=4", NULL });
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    refused(&p, "seed=5", "seed=5: a run keeps its seed");
    refused(&p, "stepz=8", "did you mean 'steps'?");
    refused(&p, "steps=2", "steps = 2, but 4 steps of this run are done");
    refused(&p, "device=tpu", "no device 'tpu'");
    refused(&p, "actors=0", "actors: expected 1 to 64, found 0");
    assert_int_equal(resume(&p, "steps=8"), 0);
    assert_same_model(&calm, &p, LAST);
    json_t *json = json_parse_file(path_join(path, sizeof path, p.run, "run.json"), &err);
    const json_t *history = json_object_get(json, "history");
    assert_int_equal(json_array_size(history), 1); /* nothing of what was refused */
    const json_t *words = json_object_get(json_array_get(history, 0), "words");
    assert_string_equal(json_string_value(json_array_get(words, 0)), "steps=8");
    json_decref(json);
    assert_int_equal(resume(&p, NULL), 0);
    assert_said(&p, "finished: all 8 steps");
    test_folder_remove(p.dir);
}

/* A learner finds out that a word is not for this run: the run is what it was. */
static void words_that_a_run_can_not_go_on_with_are_forgotten(void **state)
{
    (void)state;
    place p = another_calm();
    process t = troupe_start(
        p.out, (const char *const[]){ "train", "--resume", p.run, "steps=10", "data.sampling=failure", NULL });
    assert_int_equal(troupe_wait(&t, SECONDS), 1);
    assert_said(&p, "memory.state");
    char *now = test_file_read(p.run, "run.json");
    if (strstr(now, "sampling") || strstr(now, "steps=10")) fail_msg("%s", now);
    free(now);
    assert_int_equal(resume(&p, "steps=9"), 0);
    assert_same_model(&calm, &p, LAST);
    test_folder_remove(p.dir);
}

/* Taken anew, a recipe may say what a run can't continue with. */
static void what_a_run_keeps_is_not_taken_from_an_edited_recipe(void **state)
{
    (void)state;
    char *was, *now;
    place p;
    process t = begun_at_a_desk(&p);
    process_signal(&t, SIGINT);
    assert_int_equal(troupe_wait(&t, SECONDS), 130);
    was = test_file_read(p.run, "run.json");
    shell("sed -i 's/seed = 1/seed = 2/' %s", p.recipe);
    refused(&p, "--take-changes", "desk/recipe.lua: seed = 2, but the run was begun with 1");
    now = test_file_read(p.run, "run.json");
    assert_string_equal(was, now); /* nothing of it is written down */
    free(now), free(was);
    shell("sed -i 's/seed = 2/seed = 1/; s/steps = 120/steps = 121/' %s", p.recipe);
    assert_int_equal(resume(&p, "--take-changes"), 0);
    assert_said(&p, "recipe: read again");
    assert_same_model(&calm, &p, LAST);
    test_folder_remove(p.dir);
}

/* ---- the disk ---- */

/* A file of the operator's that leaves `left` bytes free. */
static void fill(const char *dir, size_t left)
{
    char path[500];
    static const char bytes[FILLER_BYTES];
    const int fd = open(path_join(path, sizeof path, dir, "ballast"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, bytes, sizeof bytes) > 0) continue;
    assert_int_equal(errno, ENOSPC);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(ftruncate(fd, st.st_size > (off_t)left ? st.st_size - (off_t)left : 0), 0);
    close(fd);
}

/* A new folder that is a disk of its own. */
static void mount_disk(const char *path, const char *size)
{
    assert_int_equal(mkdir(path, 0700), 0);
    if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, size) == 0) return;
    print_message("no small disk can be had here: mount: %s\n", strerror(errno));
    skip();
}

/* A disk for the logs alone on which they can't be written, or not even be made: it is said once, and the run is as any
 * other. */
static void full_logs_are_said_once_and_hold_nobody_up(void **state)
{
    (void)state;
    static const char *const SIZES[] = { "size=64k", "size=64k,nr_inodes=2" };
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        place p;
        char logs[400];
        size_t len;
        process t = begun(&p, KEYS);
        process_signal(&t, SIGINT);
        assert_int_equal(troupe_wait(&t, SECONDS), 130);
        snprintf(logs, sizeof logs, "%s/logs", p.run);
        shell("rm -r %s", logs);
        mount_disk(logs, SIZES[i]);
        fill(logs, 0);
        assert_int_equal(resume(&p, NULL), 0);
        char *said = bytes_of(p.out, &len), *first = strstr(said, "No space left on device");
        if (!first || strstr(first + 1, "No space left on device")) fail_msg("%s", said);
        free(said);
        assert_same_model(&calm, &p, LAST);
        assert_nobody_left(&p);
        assert_int_equal(umount2(logs, MNT_DETACH), 0);
        test_folder_remove(p.dir);
    }
}

/* With room for two checkpoints of 8.3 MB and no third. */
static void a_full_disk_stops_the_run_with_what_it_needs(void **state)
{
    (void)state;
    need_sandbox();
    place p = place_new();
    char disk[200], ballast[300];
    snprintf(disk, sizeof disk, "%s/disk", p.dir);
    mount_disk(disk, "size=64m");
    snprintf(p.run, sizeof p.run, "%s/run", disk);
    fill(disk, 22 << 20);
    process t = place_start(&p, KEYS);
    assert_int_equal(troupe_wait(&t, SECONDS), 1);
    assert_said(&p, "checkpoint step-6 was not written (it needs 8.3 MB, ");
    assert_said(&p, "MB are free)");
    assert_said(&p, "; make room, and continue with: troupe train --resume ");
    assert_nobody_left(&p);
    assert_true(is_there(&p, "checkpoints/step-4/state.json"));
    assert_false(is_there(&p, "checkpoints/step-6"));
    assert_int_equal(unlink(path_join(ballast, sizeof ballast, disk, "ballast")), 0);
    resumed_to_the_same_end(&p);
    assert_int_equal(umount2(disk, MNT_DETACH), 0);
    test_folder_remove(p.dir);
}

/* The store is what grows first. Who makes room has to know where, how much, and how to go on. */
static void a_disk_that_is_full_for_episodes_says_how_to_go_on(void **state)
{
    (void)state;
    static const char *const LATE[] = { "actors=1", "steps=8", "checkpoint_every=100", NULL };
    need_sandbox();
    place p = place_new();
    char disk[200], words[700];
    snprintf(disk, sizeof disk, "%s/disk", p.dir);
    mount_disk(disk, "size=64m");
    snprintf(p.run, sizeof p.run, "%s/run", disk);
    fill(disk, 900000);
    process t = place_start(&p, LATE);
    assert_int_equal(troupe_wait(&t, SECONDS), 1);
    snprintf(words, sizeof words, "%s/rollouts.db could not be written (it needs at least ", p.run);
    assert_said(&p, words);
    assert_said(&p, " bytes more, ");
    assert_said(&p, " are free): No space left on device; make room, and continue with: troupe train --resume ");
    assert_nobody_left(&p);
    assert_int_equal(unlink(path_join(words, sizeof words, disk, "ballast")), 0);
    resumed_to_the_same_end(&p);
    assert_int_equal(umount2(disk, MNT_DETACH), 0);
    test_folder_remove(p.dir);
}

/* ---- a person's files ---- */

static const char *const MINE[] = { "notes.txt",
                                    "logs/mine.log",
                                    "logs/learner.log.1",
                                    "recipe/mine.lua",
                                    "checkpoints/notes.txt",
                                    "checkpoints/best/model.safetensors",
                                    "checkpoints/step-2/notes.txt",
                                    "checkpoints/step-2/plots/a.svg",
                                    "checkpoints/step-4/notes.txt",
                                    "summary.json",
                                    "recipe.lua",
                                    "checkpoints/step-4.part-1/x",
                                    "checkpoints/step-99/model.safetensors",
                                    "checkpoints/step-x/state.json",
                                    "metrics.jsonl.bak" };

static void write_mine(const place *p)
{
    for (size_t i = 0; i < sizeof MINE / sizeof *MINE; i++) {
        char path[800];
        error err = { 0 };
        path_join(path, sizeof path, p->run, MINE[i]);
        *strrchr(path, '/') = 0;
        test_ok(dir_make_all(path, &err), &err);
        test_file_write(p->run, MINE[i], "mine");
    }
}

static void assert_mine(const place *p)
{
    for (size_t i = 0; i < sizeof MINE / sizeof *MINE; i++) {
        if (!is_there(p, MINE[i])) fail_msg("%s is gone", MINE[i]);
        char *text = test_file_read(p->run, MINE[i]);
        assert_string_equal(text, "mine");
        free(text);
    }
}

static void a_persons_files_survive_pruning_and_starting_over(void **state)
{
    (void)state;
    place p;
    process t =
        begun(&p, (const char *const[]){ "actors=1", "steps=8", "checkpoint_every=1", "keep_checkpoints=1", NULL });
    write_mine(&p);
    shell("cp -r %s/checkpoints/step-[0-9] %s/checkpoints/step-77 2>/dev/null || true", p.run, p.run);
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    assert_mine(&p);
    assert_true(is_there(&p, "checkpoints/step-8/state.json"));
    assert_false(is_there(&p, "checkpoints/step-7"));
    t = place_start(&p, (const char *const[]){ "actors=1", "steps=8", "--fresh", NULL });
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    assert_mine(&p);
    assert_true(is_there(&p, "checkpoints/step-2/state.json"));
    assert_same_model(&calm, &p, LAST);
    test_folder_remove(p.dir);
}

static void a_run_without_its_episodes_goes_on_only_when_asked(void **state)
{
    (void)state;
    place p;
    process t = begun(&p, KEYS);
    while (!is_there(&p, "checkpoints/step-4/state.json")) poll(NULL, 0, LOOK_MS);
    process_signal(&t, SIGINT);
    assert_int_equal(troupe_wait(&t, SECONDS), 130);
    shell("rm -f %s/rollouts.db*", p.run);
    refused(&p, NULL, "rollouts.db is missing or empty though step");
    assert_false(is_there(&p, "rollouts.db"));
    shell(": > %s/rollouts.db", p.run);
    refused(&p, NULL, "rollouts.db is missing or empty though step");
    shell("head -c 8192 /dev/urandom > %s/rollouts.db", p.run);
    refused(&p, NULL, "rollouts.db is damaged (");
    assert_int_equal(resume(&p, "--without-episodes"), 0);
    assert_true(is_there(&p, "rollouts.db.damaged"));
    assert_same_model(&calm, &p, LAST);
    test_folder_remove(p.dir);
}

/* Neither a second supervisor nor a learner by hand gets into a folder where a run is at work. */
static void a_run_at_work_has_its_folder_alone(void **state)
{
    (void)state;
    char address[500];
    place p;
    process t = begun(&p, KEYS);
    process_signal(&t, SIGTSTP);
    wait_for_state(t.pid, 'T');
    snprintf(address, sizeof address, "ipc://%s/sock", p.dir);
    outcome o = TROUPE("train", p.recipe, "--run-dir", p.run, "--fresh");
    if (o.status != 1 || !strstr(o.text, "is running: another troupe holds its lock")) fail_msg("%s", o.text);
    outcome_free(&o);
    o = TROUPE("train", "--resume", p.run);
    if (o.status != 1 || !strstr(o.text, "is running: another troupe holds its lock")) fail_msg("%s", o.text);
    outcome_free(&o);
    o = TROUPE("learner", p.recipe, "--run", p.run, "--bind", address, "--resume");
    if (o.status != 1 || !strstr(o.text, "another learner is running in this folder")) fail_msg("%s", o.text);
    outcome_free(&o);
    process_signal(&t, SIGCONT);
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    assert_same_model(&calm, &p, LAST);
    test_folder_remove(p.dir);
}

/* The copy is another run: both continue, and end the same. */
static void a_copy_of_a_live_run_is_a_run_of_its_own(void **state)
{
    (void)state;
    place p, copy = place_new();
    process t = begun(&p, KEYS);
    while (!is_there(&p, "checkpoints/step-2/state.json")) poll(NULL, 0, LOOK_MS);
    process_signal(&t, SIGTSTP); /* still half way when the copy is resumed beside it */
    wait_for_state(t.pid, 'T');
    shell("cp -r %s %s", p.run, copy.run);
    process_signal(&t, SIGCONT);
    resumed_to_the_same_end(&copy);
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    assert_same_model(&calm, &p, LAST);
    assert_nobody_left(&p);
    test_folder_remove(p.dir);
    test_folder_remove(copy.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_checkpoint_is_named_and_the_one_before_used),
        cmocka_unit_test(pruning_keeps_what_is_whole),
        cmocka_unit_test(a_run_goes_on_with_its_own_copy),
        cmocka_unit_test(a_model_that_was_moved_is_named_and_taken_from_its_new_place),
        cmocka_unit_test(a_program_that_is_replaced_meanwhile_goes_on_as_it_was),
        cmocka_unit_test(a_run_without_its_checkpoints_says_that_it_begins_again),
        cmocka_unit_test(a_run_is_extended_when_asked_and_that_is_recorded),
        cmocka_unit_test(words_that_a_run_can_not_go_on_with_are_forgotten),
        cmocka_unit_test(what_a_run_keeps_is_not_taken_from_an_edited_recipe),
        cmocka_unit_test(a_full_disk_stops_the_run_with_what_it_needs),
        cmocka_unit_test(a_disk_that_is_full_for_episodes_says_how_to_go_on),
        cmocka_unit_test(full_logs_are_said_once_and_hold_nobody_up),
        cmocka_unit_test(a_persons_files_survive_pruning_and_starting_over),
        cmocka_unit_test(a_run_without_its_episodes_goes_on_only_when_asked),
        cmocka_unit_test(a_run_at_work_has_its_folder_alone),
        cmocka_unit_test(a_copy_of_a_live_run_is_a_run_of_its_own),
    };
    return cmocka_run_group_tests(tests, set_up, forget_calm);
}
