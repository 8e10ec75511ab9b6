/* SPDX-License-Identifier: MIT */
/* Fine-tuning from end to end: what it learns, what it leaves, how it stops and continues, what it refuses. */
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "tests/integration/fleet.h"
#include "tests/support/support.h"

enum { SECONDS = 120, LOOK_MS = 5 };

static const char RECIPE[] =
    "return { name = 't', model = os_model, data = { train = 'rows.jsonl', test = 'rows.jsonl' },\n"
    "  sft = { rows_per_step = 4 }, prompt = { dialect = 'xml', instruction = 'Be brief.' },\n"
    "  optim = { lr = 1e-3, warmup = 1 }, steps = 8, checkpoint_every = 100, seed = 3 }\n";

/* Words and numbers of two languages; a policy that has never seen them has everything to learn. */
static void write_rows(void)
{
    str rows = { 0 };
    for (int i = 0; i < 24; i++) {
        const bool de = i % 2;
        str_printf(&rows, "{\"group\": \"%s\", \"prompt\": \"%s %d\", \"answer\": \"%s %d\"}\n", de ? "de" : "en",
                   de ? "sage" : "say", i, de ? "ja" : "yes", i);
    }
    test_file_write(".", "rows.jsonl", rows.data);
    str_free(&rows);
}

static void write_recipe(const char *name, const char *more)
{
    str text = { 0 };
    str_printf(&text, "local os_model = '%s/models/stagehand'\nlocal r = (function() %s end)()\n%s\nreturn r\n",
               getenv("TROUPE_SOURCE"), RECIPE, more);
    test_file_write(".", name, text.data);
    str_free(&text);
}

static int enter(void **state)
{
    enter_folder(state);
    write_recipe("r.lua", "");
    write_recipe("groups.lua", "r.moo = { method = 'cagrad', groups = { 'en', 'de' } }");
    write_recipe("one_group.lua", "r.moo = { method = 'cagrad', groups = { 'en', 'fr' } }");
    write_rows();
    return 0;
}

static void assert_same_weights(const char *a, const char *b)
{
    size_t n, m;
    char x[300], y[300];
    snprintf(x, sizeof x, "%s/checkpoints/step-8/model.safetensors", a);
    snprintf(y, sizeof y, "%s/checkpoints/step-8/model.safetensors", b);
    char *p = bytes_of(x, &n), *q = bytes_of(y, &m);
    assert_int_equal(n, m);
    assert_memory_equal(p, q, n);
    free(p);
    free(q);
}

static void rows_are_learned_and_foretold(void **state)
{
    (void)state;
    double loss[8], bits[2], en[2];
    SHELL(0, "$TROUPE sft r.lua", "24 rows; 24 to test", "step 8/8  loss ", "test at step 8: ", "; test ", " -> ",
          "bits a byte", "runs/t-sft/checkpoints/step-8");
    assert_int_equal(metric_values("runs/t-sft", "step", "actor/given_nll", loss, 8), 8);
    assert_int_equal(metric_values("runs/t-sft", "eval", "eval/bits_per_byte", bits, 2), 2);
    assert_int_equal(metric_values("runs/t-sft", "eval", "eval/bits_per_byte/en", en, 2), 2);
    assert_true(loss[7] < 0.7 * loss[0]);
    assert_true(bits[1] < 0.7 * bits[0]);
    SHELL(0, "$TROUPE probe --model runs/t-sft/checkpoints/step-8 --text 'say 3' --greedy 3", "");
    SHELL(0, "$TROUPE plot curve.svg runs/t-sft && cat curve.svg", "logprob");
    SHELL(1, "$TROUPE sft r.lua", "runs/t-sft", "--resume", NULL); /* it is there: nothing of it is replaced */
    SHELL(0, "$TROUPE sft --resume runs/t-sft", "finished: all 8 steps of this run are done");
}

static void wait_for_line(const char *path, const char *words)
{
    for (const int64_t until_ms = clock_ms() + SECONDS * 1000; clock_ms() < until_ms; poll(NULL, 0, LOOK_MS)) {
        size_t len;
        char *said = file_read(path, 1 << 20, &len, NULL);
        const bool found = said && strstr(said, words);
        free(said);
        if (found) return;
    }
    fail_msg("'%s' was not said", words);
}

static void stopped_and_continued_it_is_the_same_to_the_bit(void **state)
{
    (void)state;
    SHELL(0, "$TROUPE sft r.lua --run-dir whole", "");

    process p =
        troupe_start("out", (const char *const[]){ "sft", "r.lua", "--run-dir", "parts", "--every", "1", NULL });
    wait_for_line("out", "step 1/8");
    process_signal(&p, SIGINT);
    assert_int_equal(troupe_wait(&p, SECONDS), 130);
    wait_for_line("out", "continue with: troupe sft --resume");
    SHELL(0, "$TROUPE sft --resume parts", "  from  step ");
    assert_same_weights("whole", "parts");
    SHELL(1, "$TROUPE train --resume parts", "parts is a run of 'troupe sft': continue it with 'troupe sft --resume'");
}

static void groups_can_be_reconciled_and_an_adapter_trained(void **state)
{
    (void)state;
    double loss[8];
    SHELL(0, "$TROUPE sft groups.lua --run-dir m steps=4", "");
    assert_int_equal(metric_values("m", "step", "actor/given_nll", loss, 8), 4);
    assert_true(loss[3] < loss[0]);
    SHELL(0, "$TROUPE sft r.lua --run-dir l lora.rank=4 optim.lr=1e-2 steps=4", "");
    assert_int_equal(metric_values("l", "step", "actor/given_nll", loss, 8), 4);
    assert_true(loss[3] < loss[0]);
}

/* How rows are cut into passes changes roundings and nothing else. */
static void a_small_pass_has_the_loss_of_a_large_one(void **state)
{
    (void)state;
    double large[2], small[2];
    SHELL(0, "$TROUPE sft r.lua --run-dir a steps=2", "");
    SHELL(0, "$TROUPE sft r.lua --run-dir b steps=2 learner.micro_tokens=32", "");
    assert_int_equal(metric_values("a", "step", "actor/given_nll", large, 2), 2);
    assert_int_equal(metric_values("b", "step", "actor/given_nll", small, 2), 2);
    for (int i = 0; i < 2; i++) assert_true(fabs(large[i] - small[i]) < 1e-4);
}

/* One long row among short ones, each a step: it must not end the run, and end it again whenever it is resumed. */
static void a_step_of_which_nothing_is_left_takes_the_next_row(void **state)
{
    (void)state;
    double loss[8];
    str rows = { 0 };
    for (int i = 0; i < 4; i++) str_printf(&rows, "{\"prompt\": \"%0*d\", \"answer\": \"1\"}\n", i ? 2 : 400, i);
    test_file_write(".", "long.jsonl", rows.data);
    str_free(&rows);
    SHELL(0, "$TROUPE sft r.lua --run-dir g data.train=long.jsonl sft.rows_per_step=1 sft.max_tokens=40 steps=8",
          "  1 rows had nothing to learn within sft.max_tokens");
    assert_int_equal(metric_values("g", "step", "actor/given_nll", loss, 8), 8);
    SHELL(1, "$TROUPE sft r.lua --run-dir none data.train=long.jsonl sft.max_tokens=4",
          "no row has anything to learn within sft.max_tokens = 4");
    assert_false(file_exists("none"));
}

/* What is refused of a run that is resumed leaves it as it was. */
static void what_a_resumed_run_is_refused_changes_nothing_in_it(void **state)
{
    (void)state;
    SHELL(0, "$TROUPE sft r.lua --run-dir p steps=4", "");
    SHELL(1, "$TROUPE sft --resume p steps=2", "steps = 2, but 4 steps of this run are done");
    SHELL(1, "$TROUPE sft --resume p moo.method=cagrad moo.over=rewards", "fine-tuning has no rewards");
    SHELL(0, "$TROUPE sft --resume p", "finished: all 4 steps of this run are done");
    SHELL(1, "$TROUPE train --resume p", "is a run of 'troupe sft'");
}

static void what_cannot_be_learned_is_said_before_anything_is_written(void **state)
{
    (void)state;
    test_file_write(".", "bad.jsonl", "{\"text\": \"x\"}\n{\"prompt\": \"y\"}\n");
    SHELL(1, "$TROUPE sft r.lua data.train=bad.jsonl", "row 2: a row with a prompt needs an \"answer\"");
    SHELL(1, "$TROUPE sft r.lua data.train=none.jsonl", "none.jsonl");
    SHELL(1, "$TROUPE sft groups.lua moo.over=rewards", "moo.over", "fine-tuning has no rewards");
    SHELL(1, "$TROUPE sft one_group.lua", "row 2 of data.train is of group 'de'");
    SHELL(1, "$TROUPE sft r.lua sft.rows_per_stepp=2", "did you mean", "sft.rows_per_step");
    SHELL(1, "$TROUPE train r.lua", "reward.script", "this key is required");
    SHELL(2, "$TROUPE sft", "expected RECIPE.lua, or --resume RUN");
    SHELL(1, "$TROUPE sft --resume nowhere", "nowhere");
    assert_false(file_exists("runs"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_are_learned_and_foretold, enter, leave_folder),
        cmocka_unit_test_setup_teardown(stopped_and_continued_it_is_the_same_to_the_bit, enter, leave_folder),
        cmocka_unit_test_setup_teardown(groups_can_be_reconciled_and_an_adapter_trained, enter, leave_folder),
        cmocka_unit_test_setup_teardown(a_small_pass_has_the_loss_of_a_large_one, enter, leave_folder),
        cmocka_unit_test_setup_teardown(a_step_of_which_nothing_is_left_takes_the_next_row, enter, leave_folder),
        cmocka_unit_test_setup_teardown(what_a_resumed_run_is_refused_changes_nothing_in_it, enter, leave_folder),
        cmocka_unit_test_setup_teardown(what_cannot_be_learned_is_said_before_anything_is_written, enter, leave_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
