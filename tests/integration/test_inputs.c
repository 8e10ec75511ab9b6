/* SPDX-License-Identifier: MIT */
/* What a user may give where a file is expected: it is read, or refused by a sentence that names it; nothing waits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/fleet.h"
#include "tests/support/support.h"

/* Each way in which a verb reads a file, with a pipe without a writer, a folder, a device, a socket. */
static void what_is_no_regular_file_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const READS[] = {
        "train %s --run-dir r",
        "train $RECIPE --run-dir r reward.script=$PWD/%s",
        "train $RECIPE --run-dir r data.train=$PWD/%s",
        "train $RECIPE --run-dir r data.test=$PWD/%s",
        "train $RECIPE --run-dir r prompt.dialect=$PWD/%s",
        "train shots.%s.lua --run-dir r",
        "train $RECIPE --run-dir r model=$PWD/config.%s",
        "train $RECIPE --run-dir r model=$PWD/tokenizer.%s",
        "train $RECIPE --run-dir r model=$PWD/weights.%s",
        "train --resume run.%s",
        "eval %s",
        "eval $RECIPE data.test=$PWD/%s",
        "chat $RECIPE prompt.dialect=$PWD/%s",
        "pretrain %s",
        "score %s rows.jsonl",
        "score $REWARD %s",
        "score $REWARD db.%s/rollouts.db",
        "rollouts db.%s",
        "plot out.svg metrics.%s",
        "forgetting metrics.%s",
        "env list --recipe %s",
        "render --template template %s",
        "render --template %s messages.json",
        "tokenize --model tokenizer.%s x",
        "probe --model config.%s --text x",
        "probe --model weights.%s --text x",
        "export --model weights.%s out",
        "import --from llama2.c %s $MODEL/tokenizer.json out",
        "learner %s --run r --bind ipc://s",
        "learner $RECIPE --run metrics.%s --bind ipc://s --resume",
        "actor %s --connect ipc://s",
        "reward %s --connect ipc://s",
    };
    static const char *const KINDS[] = { "pipe", "folder", "device", "socket" };
    SHELL(0,
          "mkfifo pipe; mkdir folder; echo x > template; ln -s /dev/zero device; echo '{}' > rows.jsonl; echo "
          "'[{\"role\": \"user\", "
          "\"content\": \"x\"}]' > messages.json;"
          "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'",
          "");
    for (size_t k = 0; k < sizeof KINDS / sizeof *KINDS; k++) {
        char command[600];
        snprintf(command, sizeof command,
                 "k=%s; mkdir run.$k db.$k metrics.$k; for f in config tokenizer weights; do cp -r $MODEL $f.$k; done;"
                 "rm */config.json.$k 2>/dev/null; put() { rm -f $1; ln -s $PWD/$k $1; };"
                 "put config.$k/config.json; put tokenizer.$k/tokenizer.json; put weights.$k/model.safetensors;"
                 "put run.$k/run.json; put db.$k/rollouts.db; put metrics.$k/metrics.jsonl;"
                 "sed \"s|shots.jsonl|$PWD/$k|; s|\\.\\./\\.\\./models|$MODEL/..|; s|data/|$CALCULATOR/data/|g;"
                 " s|reward.lua|$REWARD|\" $RECIPE > shots.$k.lua",
                 KINDS[k]);
        SHELL(0, command, "");
        for (size_t i = 0; i < sizeof READS / sizeof *READS; i++) {
            char words[300], says[60];
            snprintf(words, sizeof words, READS[i], KINDS[k]); /* NOLINT: the table above */
            snprintf(command, sizeof command, "timeout 20 $TROUPE %s", words);
            snprintf(says, sizeof says, " is a %s", KINDS[k]);
            SHELL(1, command, "troupe: ", says);
        }
    }
}

static void rows_may_come_through_a_pipe_that_is_open(void **state)
{
    (void)state;
    static const char ROW[] = "echo '{\"prompt\": \"1+1\", \"answer\": \"2\", \"response\": \"<answer>2</answer>\"}'";
    char command[300];
    test_file_write(".", "reward.lua", REWARD_OF_A_RESPONSE);
    snprintf(command, sizeof command, "%s | timeout 20 $TROUPE score reward.lua /dev/stdin", ROW);
    SHELL(0, command, "1 episodes, 0 without a score");
    snprintf(command, sizeof command, "%s > rows; timeout 20 $TROUPE score reward.lua /dev/stdin < rows", ROW);
    SHELL(0, command, "1 episodes, 0 without a score");
    SHELL(1, "timeout 20 $TROUPE score $REWARD /dev/stdin < /dev/zero", "is a device");
}

/* What is no number that can be held is refused wherever a number is read, with what stood there; none becomes 0. */
static void numbers_that_can_not_be_held_are_refused(void **state)
{
    (void)state;
    static const char *const NUMBERS[] = { "1e-400", "1e400", "0x10", "nan", "inf", "1_000", "1e-3x", "1d3" };
    static const char *const READS[] = {
        "$TROUPE train $RECIPE --run-dir r optim.lr=%s",
        "$TROUPE train $RECIPE --run-dir r steps=%s",
        "$TROUPE chat $RECIPE --temperature %s",
        "$TROUPE eval $RECIPE --prompts %s",
        "$TROUPE moo --method cagrad c=%s < /dev/null",
        "echo '{\"J\": [[%s, 0], [0, 1]]}' | $TROUPE moo --method mgda",
        "echo '{\"prompt\": \"1\", \"answer\": \"1\", \"n\": %s, \"response\": \"x\"}' > rows;"
        " $TROUPE score $REWARD rows",
        "$TROUPE env call --tool python '{\"code\": \"\", \"n\": %s}'",
    };
    for (size_t i = 0; i < sizeof READS / sizeof *READS; i++)
        for (size_t k = 0; k < sizeof NUMBERS / sizeof *NUMBERS; k++) {
            char command[400];
            snprintf(command, sizeof command, READS[i], NUMBERS[k]); /* NOLINT: the table above */
            outcome o = shell_run(command);
            if (o.status != 1 && o.status != 2) fail_msg("%s: status %d: %s", command, o.status, o.text);
            outcome_free(&o);
        }
    SHELL(1, "$TROUPE train $RECIPE --run-dir r optim.lr=1e-400", "optim.lr", "'1e-400'");
    SHELL(2, "$TROUPE chat $RECIPE --temperature 1e-400", "--temperature", "'1e-400'");
    SHELL(1, "printf '{\"response\": \"1e-400\",\\n\"n\": [1, -1e-400]}' > rows; $TROUPE render --template rows rows",
          "rows:2: 1e-400 is too small");
}

/* Weights that are finite, and so large that the sums of their squares are not: nothing is drawn from such a policy. */
static void what_a_model_cannot_compute_is_said(void **state)
{
    (void)state;
    SHELL(0,
          "cp -r $MODEL big; python3 -c \"\n"
          "import struct\n"
          "f = open('big/model.safetensors', 'r+b')\n"
          "data = f.read()\n"
          "begin = 8 + struct.unpack('<Q', data[:8])[0]\n"
          "n = (len(data) - begin) // 4\n"
          "f.seek(begin)\n"
          "f.write(struct.pack('<%df' % n, *[1e20 * x for x in struct.unpack('<%df' % n, data[begin:])]))\n\"; ls",
          "big");
    SHELL(1, "$TROUPE probe --model big --text 'Question: 12 * 3' --greedy 2",
          "troupe: probe: the logits are not finite");
    need_sandbox();
    SHELL(1, "$TROUPE train $RECIPE model=big --run-dir run steps=1",
          "the logits of policy version 0 are not finite: the model's numbers are damaged");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_no_regular_file_is_refused_by_name, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(numbers_that_can_not_be_held_are_refused, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(rows_may_come_through_a_pipe_that_is_open, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(what_a_model_cannot_compute_is_said, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
