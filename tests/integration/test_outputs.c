/* SPDX-License-Identifier: MIT */
/* Where results go: what could not be written is a failure with its reason,
 * and nothing of the user's is written over. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "exchange/store.h"
#include "tests/integration/fleet.h"
#include "tests/support/support.h"

/* A run of one step with one scored episode. */
static void write_run(void)
{
    error err = { 0 };
    task t = {
        .id = 7, .group = 7, .group_size = 1, .max_tokens = 8, .step = 1, .row = xstrdup("{\"prompt\": \"1\"}")
    };
    episode *e = episode_new(&t);
    e->text = xstrdup("<answer>2</answer>");
    e->transcript = xstrdup("<answer>2</answer>");
    assert_int_equal(mkdir("run", 0700), 0);
    store *s = store_open("run/rollouts.db", &err);
    if (!s) fail_msg("%s", err.text);
    test_ok(store_put_episode(s, &t, e, &err), &err);
    store_close(s);
    episode_free(e);
    task_reset(&t);
}

static void write_curves(const char *run, const char *event, const char *name)
{
    char text[200];
    snprintf(text, sizeof text, "{\"event\": \"%s\", \"step\": 1, \"%s\": 0.5}\n", event, name);
    assert_int_equal(mkdir(run, 0700), 0);
    test_file_write(run, "metrics.jsonl", text);
}

/* Every verb whose result is what it prints (a training's is its folder: its terminal may go). The reason is the
 * device's, and so is the status. */
static void what_could_not_be_printed_is_a_failure(void **state)
{
    (void)state;
    static const char *const VERBS[] = {
        "rollouts run",
        "rollouts run --json",
        "rollouts run --text",
        "score $REWARD rows.jsonl",
        "score $REWARD rows.jsonl --json",
        "score $REWARD run/rollouts.db --json",
        "tokenize --model $MODEL '1+1'",
        "probe --model $MODEL --text '1+1'",
        "probe --model $MODEL --text '1+1' --json",
        "render --model $MODEL --template messages.json messages.json",
        "moo --method mgda < gradients.jsonl",
        "env list",
        "env call --tool nothing '{}'",
        "eval $RECIPE eval_prompts=2",
        "eval $RECIPE eval_prompts=2 --json",
        "chat $RECIPE < question",
        "pretrain $CALCULATOR/pretrain.lua out=made steps=1 threads=1 tokens_per_step=64",
        "export --model $MODEL exported",
        "bench decode --length 4 --seconds 0.1",
        "bench decode --model $MODEL --length 4 --seconds 0.1",
        "plot /dev/stdout curves",
        "plot /dev/fd/1 curves",
        "eval $RECIPE eval_prompts=2 --out /dev/stdout",
        "forgetting groups",
        "doctor",
        "tokenize --model $MODEL --decode 1",
        "train --keys",
        "train --help",
        "actor --help",
        "score --help",
        "plot OUT.svg run --help",
        "--help",
        "--version",
    };
    write_run();
    test_file_write(".", "rows.jsonl",
                    "{\"prompt\": \"1+1\", \"answer\": \"2\", \"response\": \"<answer>2</answer>\"}\n");
    test_file_write(".", "messages.json", "[{\"role\": \"user\", \"content\": \"1+1\"}]");
    test_file_write(".", "gradients.jsonl", "{\"J\": [[1, 0], [0, 1]]}\n");
    test_file_write(".", "question", "what is 1 plus 2?\n");
    write_curves("curves", "step", "reward/accuracy/mean");
    write_curves("groups", "eval", "eval/group/de/accuracy");
    for (size_t i = 0; i < sizeof VERBS / sizeof *VERBS; i++) {
        char command[300];
        snprintf(command, sizeof command, "$TROUPE %s >/dev/full", VERBS[i]);
        SHELL(1, command, "troupe: ", "cannot write to ", ": No space left on device");
        snprintf(command, sizeof command, "$TROUPE %s >&-", VERBS[i]);
        SHELL(1, command, "troupe: ", "cannot write to ", ": Bad file descriptor");
    }
}

/* A closed descriptor is not the next file's: what is printed never lands in one that was opened for something else. */
static void a_closed_stream_is_nobody_elses_file(void **state)
{
    (void)state;
    write_run();
    test_file_write(".", "rows.jsonl",
                    "{\"prompt\": \"1+1\", \"answer\": \"2\", \"response\": \"<answer>2</answer>\"}\n");
    SHELL(1, "$TROUPE score $REWARD rows.jsonl <&- >&- 2>err.txt; s=$?; cat err.txt; exit $s", "Bad file descriptor");
    SHELL(0, "$TROUPE rollouts run <&- 2>&-", "trained: 0 steps");
}

/* The content of a file of the user's is the same after a verb was told to write there. */
static void expect_kept(const char *command, const char *says)
{
    test_file_write(".", "mine", "{\"prompt\": \"a year of work\", \"answer\": 1}\n");
    SHELL(1, command, says);
    char *text = test_file_read(".", "mine");
    assert_string_equal(text, "{\"prompt\": \"a year of work\", \"answer\": 1}\n");
    free(text);
}

static void files_of_the_user_are_not_written_over(void **state)
{
    (void)state;
    assert_int_equal(mkdir("r", 0700), 0);
    test_file_write("r", "metrics.jsonl",
                    "{\"event\": \"step\", \"step\": 1, \"reward/accuracy/mean\": 0.5}\n"
                    "{\"event\": \"step\", \"step\": 2, \"reward/accuracy/mean\": 0.6}\n");
    expect_kept("$TROUPE plot mine r", "mine exists and holds something else");
    expect_kept("ln -s mine link; $TROUPE plot link r", "exists and holds something else");
    expect_kept("$TROUPE eval $RECIPE eval_prompts=1 --out mine", "mine exists and holds something else");
    SHELL(1, "$TROUPE plot r r", "r is a folder");
    SHELL(1, "ln -s nowhere dangling; $TROUPE plot dangling r", "symbolic link: No such file");
    SHELL(1, "$TROUPE plot mine/x.svg r", "Not a directory");
    SHELL(1, "$TROUPE plot /dev/full r", "cannot write to /dev/full: No space left on device");
    SHELL(0, "$TROUPE plot /dev/stdout r", "<svg", "</svg>");
    /* What it wrote itself is: through a link too, which stays. */
    SHELL(0, "$TROUPE plot a.svg r && ln -s a.svg b.svg && $TROUPE plot b.svg r && test -L b.svg && ls", "a.svg");
    SHELL(0, "ls | grep -c part; true", "0");
}

/* Every verb that writes a file or a folder. */
static void what_could_not_be_written_is_a_failure(void **state)
{
    (void)state;
    static const char *const VERBS[] = {
        "plot %s curves",
        "eval $RECIPE eval_prompts=2 --out %s",
        "export --model $MODEL %s",
        "pretrain $CALCULATOR/pretrain.lua out=%s steps=1 threads=1 tokens_per_step=64",
        "train $RECIPE --run-dir %s steps=1",
        "learner $RECIPE --run %s --bind ipc://s",
    };
    static const char *const PLACES[] = { "/proc", "/dev/null" };
    write_curves("curves", "step", "reward/accuracy/mean");
    for (size_t i = 0; i < sizeof VERBS / sizeof *VERBS; i++)
        for (size_t k = 0; k < sizeof PLACES / sizeof *PLACES; k++) {
            char where[40], words[200], command[300];
            snprintf(where, sizeof where, "%s/x", PLACES[k]);
            snprintf(words, sizeof words, VERBS[i], where); /* NOLINT: the table above */
            snprintf(command, sizeof command, "timeout 60 $TROUPE %s >/dev/null", words);
            SHELL(1, command, "troupe: ", PLACES[k]);
        }
}

/* A root may write anywhere: these hold for all other users. */
static void a_place_that_cannot_be_written_is_named_with_the_reason(void **state)
{
    (void)state;
    if (geteuid() == 0) skip();
    SHELL(1, "mkdir -m 0500 locked; $TROUPE export --model $MODEL locked/out", "Permission denied");
    SHELL(1, "$TROUPE eval $RECIPE eval_prompts=1 --out locked/out.jsonl", "Permission denied");
}

/* Without `out` the model goes into the folder that `model` names, from the file's own folder and from anywhere. */
static void a_pretrained_model_lies_where_its_file_says(void **state)
{
    (void)state;
    SHELL(0,
          "mkdir -p files/deep base && cp $MODEL/config.json $MODEL/tokenizer*.json base && "
          "echo 'return { model = \"../../base\", document = function() return \"a b c\" end }' > files/deep/p.lua && "
          "$TROUPE pretrain files/deep/p.lua steps=1 threads=1 tokens_per_step=64 && ls base",
          "wrote", "model.safetensors");
    SHELL(0, "find files -type f | tr '\\n' ' '", "files/deep/p.lua ");
    SHELL(1, "find files -type f | grep -q safetensors", "");
}

static void models_of_the_user_are_not_written_over(void **state)
{
    (void)state;
    SHELL(0, "$TROUPE export --model $MODEL out && $TROUPE export --model $MODEL out --dtype bf16", "in bf16");
    SHELL(2, "echo mine > out/README.md; $TROUPE export --model $MODEL out", "holds 'README.md'");
    SHELL(2, "cp -r $MODEL theirs; $TROUPE export --model $MODEL theirs", "a model that Troupe did not write");
    /* Before it trains, not after. */
    SHELL(1, "$TROUPE pretrain ${RECIPE%recipe.lua}pretrain.lua steps=100000 out=theirs", "a model that Troupe did");
    SHELL(0, "ls -d * | tr '\\n' ' '", "out theirs ");
    SHELL(1, "$TROUPE export --model $MODEL /proc/out", "/proc");
    SHELL(1, "$TROUPE import --from llama2.c $MODEL/model.safetensors $MODEL/tokenizer.json theirs", "troupe: import:");
    SHELL(0, "cmp $MODEL/model.safetensors theirs/model.safetensors; cat out/README.md", "mine");
}

/* A run's sockets and the rest go where TMPDIR says; where that can't be written, doctor knows before train does. */
static void a_temporary_folder_that_cannot_be_written_is_told_of(void **state)
{
    (void)state;
    SHELL(1, "TMPDIR=$PWD/nowhere $TROUPE doctor", "BAD  temporary", "nowhere (TMPDIR names another",
          "set TMPDIR to a folder");
    SHELL(1, "TMPDIR=$PWD/nowhere $TROUPE train $RECIPE --run-dir run steps=1",
          "troupe: train: ", "nowhere (TMPDIR names another");
    SHELL(0, "mkdir t; TMPDIR=$PWD/t $TROUPE doctor | grep temporary; ls t | wc -l", "/t\n0\n");
}

/* A job's limits are met with a sentence, and the tool's own limits stay below them. */
static void limits_of_a_job_are_kept_to(void **state)
{
    (void)state;
    SHELL(1, "ulimit -f 8; $TROUPE export --model $MODEL out", "File too large");
    SHELL(1, "ulimit -n 24; $TROUPE train $RECIPE --run-dir run steps=1", "24 files may be open", "(raise ulimit -n)");
    need_sandbox();
    SHELL(0, "ulimit -n 20; $TROUPE env call --tool python '{\"code\": \"print(6 * 7)\"}'", "42");
    SHELL(0, "ulimit -Sn 24; $TROUPE eval $RECIPE --prompts 1", "eval/accuracy");
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__ /* their shadow is terabytes of addresses */
    SHELL(1, "ulimit -v 20000; $TROUPE env call --tool python '{\"code\": \"1\"}'", "within 19 MB (raise ulimit -v)");
#endif
    SHELL(1, "ulimit -f 4; $TROUPE env call --tool python '{\"code\": \"print(6 * 7)\"}'",
          "cannot write the system call filter: File too large");
    SHELL(0, "ulimit -t 3; $TROUPE env call --tool python '{\"code\": \"print(6 * 7)\"}'", "42");
}

/* A disk that was full, a copy that was cut: what is left of the run is worth something, and it is said what. */
static void a_run_without_a_readable_run_json_says_what_is_left(void **state)
{
    (void)state;
    SHELL(1, "mkdir r; : > r/run.json; $TROUPE train --resume r", "r/run.json: not JSON: it is empty; nothing else",
          "models (checkpoints/)", "model=RUN/checkpoints/step-N");
    SHELL(1, "echo '{\"files\": ' > r/run.json; $TROUPE train --resume r",
          "r/run.json:2: not JSON: ", "cannot be continued");
}

#define UNTIL_IT_LISTENS "until grep -q 'listening at' said; do kill -0 $p || exit 9; sleep 0.02; done"

/* What a supervisor says of a run, a learner that was started alone says of itself; and it is a command that works. */
static void a_learner_that_is_stopped_says_how_to_go_on(void **state)
{
    (void)state;
    SHELL(0,
          "$TROUPE learner $RECIPE --run \"it's a run\" --bind ipc://$PWD/s steps=3 eval_every=0 >said 2>&1 & "
          "p=$!; " UNTIL_IT_LISTENS "; kill -TERM $p; wait $p; echo status $?; cat said; "
          "c=$(sed -n 's/.*continue with: troupe //p' said); : >said; eval \"exec $TROUPE $c\" >said 2>&1 & "
          "p=$!; " UNTIL_IT_LISTENS "; kill -HUP $p; wait $p; echo again $?; cat said",
          "status 130", "again 130", "stopped at step 0; its checkpoint is written",
          "recipe.lua --run 'it'\\''s a run' --bind ipc://", "/s --resume steps=3 eval_every=0\n");
}

/* Each of several, of its own: by these two lines alone they find each other again. Only the first can be stopped, and
 * the others say so. */
static void learners_that_are_stopped_say_how_each_continues(void **state)
{
    (void)state;
    SHELL(0,
          "mkdir 'a place'; both() { : >said; : >other; eval \"exec $TROUPE $1\" >said 2>&1 & p=$!; "
          "eval \"exec $TROUPE $2\" >other 2>&1 & q=$!; " UNTIL_IT_LISTENS "; kill -TERM $q; "
          "until grep -q 'stop that one' other; do kill -0 $q || exit 9; sleep 0.02; done; kill -TERM $p; "
          "wait $p; echo first $?; wait $q; echo second $?; cat said other; }; "
          "command() { sed -n 's/.*its own command; this one.s is: troupe //p' $1; }; "
          "l='learner \"$RECIPE\" --run r --bind ipc://$PWD/s --of 2 --meet \"a place\" steps=3 eval_every=0'; "
          "both \"$l --rank 0\" \"$l --rank 1\"; both \"$(command said)\" \"$(command other)\"",
          "first 130\nsecond 130\n", "/s --resume --rank 0 --of 2 --meet 'a place' steps=3",
          "--resume --rank 1 --of 2 --meet 'a place' steps=3 eval_every=0\n",
          "stopped with learner 1, which writes the checkpoint\nfirst 130\nsecond 130\n");
}

/* Not at its next step, which may be an hour away, and for which no actor may ever come. */
static void a_learner_that_is_killed_is_missed_at_once(void **state)
{
    (void)state;
    SHELL(0,
          "mkdir meet; l=\"$TROUPE learner $RECIPE --run r --bind ipc://$PWD/s --of 3 --meet meet\"; : >said; "
          "$l --rank 0 >said 2>&1 & p=$!; $l --rank 1 >other 2>&1 & $l --rank 2 >third 2>&1 & "
          "q=$!; " UNTIL_IT_LISTENS "; kill -KILL $q; timeout 20 tail --pid=$p -f /dev/null && wait $p; "
          "echo status $?; cat said",
          "status 75", "troupe: learner: learner 3 has closed its connection", "--resume");
}

/* The folder as it was given, and what to do about it. */
static void a_folder_where_learners_cannot_meet_is_named(void **state)
{
    (void)state;
    SHELL(1, "$TROUPE learner $RECIPE --run r --bind ipc://s --rank 0 --of 2 --meet not/there",
          "troupe: learner: --meet not/there: no such folder", "mkdir -p not/there\n");
    SHELL(2, ": >file; $TROUPE learner $RECIPE --run r --bind ipc://s --rank 1 --of 2 --meet file",
          "troupe: learner: --meet file: not a folder");
    SHELL(1, ": >file; $TROUPE learner $RECIPE --run r --bind ipc://s --rank 1 --of 2 --meet file/below",
          "troupe: learner: --meet file/below: Not a directory");
}

/* However few descriptors there are: what can't be done is said with what raises the limit, and without a traceback. */
static void few_open_files_are_met_with_what_raises_them(void **state)
{
    (void)state;
    need_sandbox();
    for (int n = 5; n < 24; n++) {
        char command[200];
        snprintf(command, sizeof command, "ulimit -n %d; $TROUPE env call --tool python '{\"code\": \"print(6 * 7)\"}'",
                 n);
        outcome o = shell_run(command);
        const bool done = o.status == 0 && strcmp(o.text, "42\n") == 0;
        const bool said = o.status == 1 && strstr(o.text, "Too many open files") && strstr(o.text, "(raise ulimit -n)");
        if ((!done && !said) || strstr(o.text, "Traceback"))
            fail_msg("ulimit -n %d: status %d: %s", n, o.status, o.text);
        outcome_free(&o);
    }
}

/* Ctrl-C, a closed pipe, a kill: whatever ends us in the middle of calls, the box has nothing to say about it. */
static void who_is_killed_in_a_call_leaves_no_traceback(void **state)
{
    (void)state;
    need_sandbox();
    SHELL(
        0,
        "for s in PIPE HUP TERM QUIT; do for i in 4 5 6 7 8 9; do timeout -s $s 0.$i $TROUPE env call --tool python "
        "'{\"code\": \"print(1)\"}' --repeat 100000 --callers 4 >/dev/null 2>>said; done; done; wc -c <said; cat said",
        "0\n");
}

/* As in a chroot: what starts processes of its own finds its own file, and doctor says what is missing. */
static void without_proc_it_runs_and_doctor_says_so(void **state)
{
    (void)state;
    outcome o = shell_run("unshare -rm sh -c 'mount -t tmpfs none /proc && $1 --version' sh $TROUPE");
    const bool can = o.status == 0;
    outcome_free(&o);
    if (!can) {
        fprintf(stderr, "no user namespaces here, or a sanitizer that needs /proc: not tried without it\n");
        skip();
    }
    test_file_write(".", "rows.jsonl",
                    "{\"prompt\": \"1+1\", \"answer\": \"2\", \"response\": \"<answer>2</answer>\"}\n");
    test_file_write(".", "reward.lua", REWARD_OF_A_RESPONSE);
    SHELL(0,
          "unshare -rm sh -c 'mount -t tmpfs none /proc; cd ${1%/*}; ./troupe score $2/reward.lua $2/rows.jsonl' "
          "sh $TROUPE $PWD",
          "1 episodes, 0 without a score");
    SHELL(1, "unshare -rm sh -c 'mount -t tmpfs none /proc; $1 doctor' sh $TROUPE", "BAD  proc", "mount -t proc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_could_not_be_printed_is_a_failure, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(what_could_not_be_written_is_a_failure, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(a_closed_stream_is_nobody_elses_file, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(files_of_the_user_are_not_written_over, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(a_temporary_folder_that_cannot_be_written_is_told_of, enter_folder,
                                        leave_folder),
        cmocka_unit_test_setup_teardown(limits_of_a_job_are_kept_to, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(a_run_without_a_readable_run_json_says_what_is_left, enter_folder,
                                        leave_folder),
        cmocka_unit_test_setup_teardown(a_learner_that_is_stopped_says_how_to_go_on, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(learners_that_are_stopped_say_how_each_continues, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(a_learner_that_is_killed_is_missed_at_once, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(a_folder_where_learners_cannot_meet_is_named, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(few_open_files_are_met_with_what_raises_them, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(who_is_killed_in_a_call_leaves_no_traceback, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(without_proc_it_runs_and_doctor_says_so, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(a_place_that_cannot_be_written_is_named_with_the_reason, enter_folder,
                                        leave_folder),
        cmocka_unit_test_setup_teardown(a_pretrained_model_lies_where_its_file_says, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(models_of_the_user_are_not_written_over, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
