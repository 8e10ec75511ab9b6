/* SPDX-License-Identifier: MIT */
/* The promises of a whole run, kept by real processes: the same bytes whoever played,
 * and whoever was killed meanwhile. */
#include <dirent.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "base/file.h"
#include "tests/integration/fleet.h"
#include "tests/support/support.h"

enum { SECONDS = 240, LAST = 4 };

static void assert_trained(const place *p, const char *counts)
{
    outcome o = TROUPE("rollouts", p->run, "--limit", "1");
    if (!strstr(o.text, counts)) fail_msg("expected '%s' in: %s", counts, o.text);
    outcome_free(&o);
}

/* The undisturbed run; what all the others are compared with. */
static place calm;

static int play_calm(void **state)
{
    (void)state;
    outcome o = TROUPE("env", "call", "--tool", "python", "{\"code\": \"print(1)\"}");
    const bool works = o.status == 0;
    outcome_free(&o);
    if (!works) return 0; /* each test will say so */
    calm = place_new();
    process p = place_start(&calm, (const char *const[]){ "actors=1", NULL });
    return troupe_wait(&p, SECONDS);
}

static int forget_calm(void **state)
{
    (void)state;
    test_folder_remove(calm.dir);
    return 0;
}

static void three_actors_end_with_the_bytes_of_one(void **state)
{
    (void)state;
    need_sandbox();
    place p = place_new();
    process t = place_start(&p, (const char *const[]){ "actors=3", NULL });
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    assert_same_model(&calm, &p, LAST);
    test_folder_remove(p.dir);
}

static void the_learner_computes_the_logprobs_that_were_sampled_with(void **state)
{
    (void)state;
    need_sandbox();
    double differing[LAST], ratio[LAST], tokens[LAST];
    assert_int_equal(metric_values(calm.run, "step", "training/rollout_logprobs_differing", differing, LAST), LAST);
    assert_int_equal(metric_values(calm.run, "step", "actor/ratio/max", ratio, LAST), LAST);
    assert_int_equal(metric_values(calm.run, "step", "training/tokens_trained", tokens, LAST), LAST);
    for (int i = 0; i < LAST; i++) {
        assert_true(tokens[i] > 0);
        assert_true(differing[i] == 0);
        assert_true(ratio[i] == 1.0);
    }
}

static void kill_one(const char *name, const char *second)
{
    int pid;
    assert_int_equal(find_processes(name, second, &pid, 1), 1);
    kill(pid, SIGKILL);
}

static void a_killed_worker_costs_nothing(const char *name)
{
    char sockets[256];
    place p = place_new();
    process t = place_start(&p, (const char *const[]){ "actors=2", NULL });
    wait_for_step(p.run, 1, SECONDS);
    sockets_of(p.run, sockets);
    kill_one(name, sockets);
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    assert_same_model(&calm, &p, LAST);
    assert_trained(&p, "trained: 4 steps, 8 groups, 32 episodes");
    assert_nobody_left(&p);
    test_folder_remove(p.dir);
}

static void a_killed_actor_costs_nothing(void **state)
{
    (void)state;
    need_sandbox();
    a_killed_worker_costs_nothing("actor-1");
}

static void a_killed_reward_worker_costs_nothing(void **state)
{
    (void)state;
    need_sandbox();
    a_killed_worker_costs_nothing("reward-1");
}

/* A run with one actor whose processes get `signal` after the first step: it says `sentence` of each, and ends as if
 * nothing had been. */
static void signalled_roles_are_replaced(int signal, const char *const *names, const char *sentence)
{
    char sockets[256], expected[200];
    size_t len;
    place p = place_new();
    process t = place_start(&p, (const char *const[]){ "actors=1", NULL });
    wait_for_step(p.run, 1, SECONDS);
    sockets_of(p.run, sockets);
    for (int i = 0; names[i]; i++) {
        int pid;
        const bool learner = strcmp(names[i], "learner") == 0;
        assert_int_equal(find_processes(learner ? "troupe learner" : names[i], learner ? p.run : sockets, &pid, 1), 1);
        kill(pid, signal);
    }
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    char *said = bytes_of(p.out, &len);
    for (int i = 0; names[i]; i++) {
        snprintf(expected, sizeof expected, "%s %s", names[i], sentence);
        if (!strstr(said, expected)) fail_msg("expected '%s' in: %s", expected, said);
    }
    free(said);
    assert_same_model(&calm, &p, LAST);
    assert_trained(&p, "trained: 4 steps, 8 groups, 32 episodes");
    assert_nobody_left(&p);
    test_folder_remove(p.dir);
}

static void workers_that_leave_are_started_again(void **state)
{
    (void)state;
    need_sandbox();
    signalled_roles_are_replaced(SIGTERM, (const char *const[]){ "actor-1", "reward-1", NULL },
                                 "ended (exit status 0); starting it again");
}

static void a_stopped_worker_is_replaced(void **state)
{
    (void)state;
    need_sandbox();
    signalled_roles_are_replaced(SIGSTOP, (const char *const[]){ "actor-1", "reward-1", NULL },
                                 "has been stopped for 1") /* 15 s, or a little more */;
}

static void wait_for_words(const char *path, const char *words, int seconds)
{
    enum { LOOK_MS = 20 };
    for (int ms = 0; ms < seconds * 1000; ms += LOOK_MS) {
        size_t len;
        char *text = bytes_of(path, &len);
        const bool there = strstr(text, words) != NULL;
        free(text);
        if (there) return;
        poll(NULL, 0, LOOK_MS);
    }
    fail_msg("%s never says '%s'", path, words);
}

/* Silent for so long that the learner has given it up, and not so long that it is replaced: it comes back by itself. */
static void an_actor_that_was_silent_comes_back(void **state)
{
    (void)state;
    need_sandbox();
    char sockets[256], log[400];
    size_t len;
    int pid;
    place p = place_new();
    process t = place_start(&p, (const char *const[]){ "actors=1", NULL });
    wait_for_step(p.run, 1, SECONDS);
    sockets_of(p.run, sockets);
    assert_int_equal(find_processes("actor-1", sockets, &pid, 1), 1);
    kill(pid, SIGSTOP);
    snprintf(log, sizeof log, "%s/logs/learner.log", p.run);
    wait_for_words(log, "actor-1 is gone: it has been silent for too long", SECONDS);
    kill(pid, SIGCONT);
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    char *said = bytes_of(p.out, &len);
    if (strstr(said, "starting it again")) fail_msg("%s", said);
    free(said);
    assert_same_model(&calm, &p, LAST);
    assert_trained(&p, "trained: 4 steps, 8 groups, 32 episodes");
    assert_nobody_left(&p);
    test_folder_remove(p.dir);
}

static void so_is_a_stopped_learner(void **state)
{
    (void)state;
    need_sandbox();
    signalled_roles_are_replaced(SIGSTOP, (const char *const[]){ "learner", NULL },
                                 "has been stopped for 1") /* 15 s, or a little more */;
}

/* The id of a learner's training thread, or 0. */
static pid_t training_thread(int learner)
{
    char path[100], word[32];
    pid_t found = 0;
    snprintf(path, sizeof path, "/proc/%d/task", learner);
    DIR *d = opendir(path);
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        const int tid = atoi(e->d_name);
        snprintf(path, sizeof path, "/proc/%d/task/%d/comm", learner, tid);
        FILE *f = tid > 0 ? fopen(path, "re") : NULL;
        if (!f) continue;
        if (fscanf(f, "%31s", word) == 1 && strcmp(word, "training") == 0) found = tid;
        fclose(f);
    }
    if (d) closedir(d);
    return found;
}

/* Whether the thread is in no system call, looked at a few times: it computes, and not only between two waits. */
static bool computes(pid_t pid, pid_t tid)
{
    enum { LOOKS = 5, LOOK_MS = 10 };
    char path[100], word[32] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", pid, tid);
    for (int i = 0; i < LOOKS; i++) {
        FILE *f = fopen(path, "re");
        if (!f || fscanf(f, "%31s", word) != 1) word[0] = 0;
        if (f) fclose(f);
        if (strcmp(word, "running") != 0) return false;
        poll(NULL, 0, LOOK_MS);
    }
    return true;
}

/* Stops one thread of another process where it computes, as a lock that never comes would. False: it waited for work;
 * it continues. */
static bool stop_thread(pid_t tid)
{
    struct user_regs_struct at;
    int status;
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0) return false;
    ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
    waitpid(tid, &status, __WALL);
#ifdef __x86_64__
    if (ptrace(PTRACE_GETREGS, tid, NULL, &at) == 0 && (int64_t)at.orig_rax < 0) return true; /* in no system call */
#endif
    ptrace(PTRACE_DETACH, tid, NULL, NULL);
    return false;
}

/* One whose steps are long is left alone; one that stands still in a step is named and replaced. */
static void a_training_thread_that_hangs_is_named_and_replaced(void **state)
{
    (void)state;
    need_sandbox();
#if !defined __x86_64__ || defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    skip(); /* registers are read; sanitizers make more threads and calls */
#endif
    int pid, status;
    size_t len;
    double seconds[LAST];
    place p = place_new();
    static const char *const WORDS[] = { "actors=1",
                                         "stall_seconds=2",
                                         "steps=3",
                                         "learner_threads=1",
                                         "rollout.prompts_per_step=4",
                                         "rollout.group=8",
                                         "algorithm.epochs=16", /* steps are to be long, not what is played for them */
                                         "learner.shared_prompts=false",
                                         NULL };
    process t = place_start(&p, WORDS);
    wait_for_step(p.run, 1, SECONDS);
    assert_int_equal(find_processes("troupe learner", p.run, &pid, 1), 1);
    const pid_t tid = training_thread(pid);
    assert_true(tid > 0);
    while (!computes(pid, tid) || !stop_thread(tid)) assert_int_equal(kill(pid, 0), 0);
    assert_int_equal(waitpid(tid, &status, __WALL), tid); /* its process has ended: it is not over before we know */
    assert_true(process_wait(&t, SECONDS * 1000, &status));
    assert_int_equal(WEXITSTATUS(status), 0);

    char *said = bytes_of(p.out, &len), *once = strstr(said, "the training thread has had no CPU time in step ");
    if (!once || !strstr(once, "it hangs); starting it again")) fail_msg("%s", said);
    if (strstr(once + 1, "the training thread")) fail_msg("%s", said); /* not of the steps that only took their time */
    free(said);
    assert_int_equal(metric_values(p.run, "step", "timing_s/update_actor", seconds, LAST), 3);
    assert_true(seconds[2] > 1);
    assert_nobody_left(&p);
    test_folder_remove(p.dir);
}

/* In `p`, with less address space than a step needs: the run ends saying each of `says` (NULL-terminated) and has saved
 * its first weights; it continues, to its end, with more. What was said is the caller's. */
static char *learn_without_memory(const place *p, const char *const *words, const char *const *says)
{
    char path[400];
    size_t len;
    struct rlimit before;
    getrlimit(RLIMIT_AS, &before);
    setrlimit(RLIMIT_AS, &(struct rlimit){ (rlim_t)380 << 20, before.rlim_max });
    process t = place_start(p, words);
    setrlimit(RLIMIT_AS, &before);
    assert_int_equal(troupe_wait(&t, SECONDS), 1);

    char *said = bytes_of(p->out, &len);
    for (; *says; says++)
        if (!strstr(said, *says)) fail_msg("expected '%s' in: %s", *says, said);
    snprintf(path, sizeof path, "%s/checkpoints/step-0/model.safetensors", p->run);
    assert_true(file_exists(path));

    t = troupe_start(p->out, (const char *const[]){ "train", "--resume", p->run, NULL });
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    assert_nobody_left(p);
    return said;
}

/* A step that needs more than there is: the sentence with need, use and key, a checkpoint,
 * and all continues with more. */
static void a_learner_without_memory_saves_and_says_what_it_needs(void **state)
{
    (void)state;
    need_sandbox();
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    skip(); /* they take more address space than there is */
#endif
    static const char *const WORDS[] = {
        "actors=1", "rollout.prompts_per_step=12", "rollout.group=8",
        "steps=1",  "learner.micro_tokens=16384",  "learner.shared_prompts=false", /* a step is to need much */
        NULL
    };
    static const char *const SAYS[] = { "learner: out of memory: scratch needs ", " MB in use), and ulimit -v leaves ",
                                        "lower learner.micro_tokens (16384 now) or rollout.max_context",
                                        "its checkpoint is written", NULL };
    place p = place_new();
    free(learn_without_memory(&p, WORDS, SAYS));
    test_folder_remove(p.dir);
}

/* The same of two learners: whichever it is that lacks memory, the first saves, and one sentence names the other. */
static void so_do_several_learners(void **state)
{
    (void)state;
    need_sandbox();
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    skip(); /* they take more address space than there is */
#endif
    static const char *const WORDS[] = { "actors=1",   "rollout.prompts_per_step=24", "rollout.group=8",
                                         "steps=1",    "learner.micro_tokens=16384",  "learner.shared_prompts=false",
                                         "learners=2", "learner_threads=1",           NULL };
    static const char *const SAYS[] = { "learner: learner ", ": out of memory: scratch needs ",
                                        "lower learner.micro_tokens (16384 now) or rollout.max_context",
                                        "its checkpoint is written", NULL };
    place p = place_new();
    char *said = learn_without_memory(&p, WORDS, SAYS);
    if (strstr(said, "starting it again")) fail_msg("%s", said);
    free(said);
    test_folder_remove(p.dir);
}

static void a_killed_learner_goes_on_from_its_checkpoint(void **state)
{
    (void)state;
    need_sandbox();
    place p = place_new();
    process t = place_start(&p, (const char *const[]){ "actors=2", NULL });
    wait_for_step(p.run, 3, SECONDS);
    kill_one("troupe learner", p.run);
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    assert_same_model(&calm, &p, LAST);
    assert_trained(&p, "trained: 4 steps, 8 groups, 32 episodes");
    test_folder_remove(p.dir);
}

static void a_run_that_was_killed_whole_is_resumed_to_the_same_end(void **state)
{
    (void)state;
    need_sandbox();
    char sockets[256];
    int pids[8], status;
    place p = place_new();
    process t = place_start(&p, (const char *const[]){ "actors=2", NULL });
    wait_for_step(p.run, 3, SECONDS);
    sockets_of(p.run, sockets);
    process_signal(&t, SIGKILL);
    process_wait(&t, SECONDS * 1000, &status);
    process again = troupe_start(p.out, (const char *const[]){ "train", "--resume", p.run, NULL });
    assert_int_equal(troupe_wait(&again, SECONDS), 0);
    assert_int_equal(find_processes("troupe", sockets, pids, 8), 0); /* the first fleet died with its supervisor */
    assert_same_model(&calm, &p, LAST);
    assert_trained(&p, "trained: 4 steps, 8 groups, 32 episodes");
    test_folder_remove(p.dir);
}

/* What buckets and the sampler of rows remember, trends, frozen blocks, a moving reference, refilled steps, several
 * updates a batch: all of it is in the checkpoint or follows from it. */
/* A run with these keys, and one that is killed whole after some steps and resumed: the same bytes. `recipe`: NULL, the
 * calculator's. */
static void killed_and_resumed_is_the_same(int64_t after, const char *recipe, const char *const *keys)
{
    int status;
    place whole = place_new(), p = place_new();
    if (recipe) {
        snprintf(whole.recipe, sizeof whole.recipe, "%s", recipe);
        snprintf(p.recipe, sizeof p.recipe, "%s", recipe);
    }
    process t = place_start(&whole, keys);
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    t = place_start(&p, keys);
    wait_for_step(p.run, after, SECONDS);
    process_signal(&t, SIGKILL);
    process_wait(&t, SECONDS * 1000, &status);
    process again = troupe_start(p.out, (const char *const[]){ "train", "--resume", p.run, NULL });
    assert_int_equal(troupe_wait(&again, SECONDS), 0);
    assert_same_model(&whole, &p, LAST);
    test_folder_remove(whole.dir);
    test_folder_remove(p.dir);
}

/* Steps that are begun when the run dies keep the rows that they were begun with, whatever was learned of rows since:
 * few rows, so that it matters. */
static void so_is_one_that_lags_and_samples(void **state)
{
    (void)state;
    need_sandbox();
    char *dir = test_folder_new(), rows[400];
    test_file_write(dir, "rows.jsonl",
                    "{\"prompt\": \"compute 4233 minus 856.\", \"answer\": \"3377\"}\n"
                    "{\"prompt\": \"compute 9719 plus 250.\", \"answer\": \"9969\"}\n"
                    "{\"prompt\": \"find 5562 minus 173.\", \"answer\": \"5389\"}\n"
                    "{\"prompt\": \"what is 8628 plus 443?\", \"answer\": \"9071\"}\n"
                    "{\"prompt\": \"how much is 8587 minus 702?\", \"answer\": \"7885\"}\n");
    snprintf(rows, sizeof rows, "data.train=%s/rows.jsonl", dir);
    killed_and_resumed_is_the_same(2, NULL,
                                   (const char *const[]){ "actors=2", "rollout.lag=2", "data.sampling=failure",
                                                          "checkpoint_every=1", rows, NULL });
    test_folder_remove(dir);
}

static void so_is_one_with_everything_that_remembers(void **state)
{
    (void)state;
    need_sandbox();
    const char *const all[] = { "actors=2",
                                "reward.objectives.unscored=0.5",
                                "patience=0",
                                "moo.method=gradvac",
                                "moo.refresh=2",
                                "algorithm.name=dapo",
                                "algorithm.refills=2",
                                "algorithm.kl=0.01",
                                "algorithm.reference_every=2",
                                "algorithm.reward_kl=0.01",
                                "algorithm.epochs=2",
                                "optim.schedule=cosine",
                                "algorithm.pivot_steps=2",
                                "algorithm.era_k=2",
                                "data.sampling=failure",
                                "optim.freeze=0.3",
                                "optim.protect=0.1",
                                "optim.freeze_every=2",
                                NULL };
    killed_and_resumed_is_the_same(3, NULL, all);
}

/* A ladder of shots that moves at every chance, down and up, and what it lets be carried; steps ahead keep theirs. */
static void so_is_one_on_a_ladder(void **state)
{
    (void)state;
    need_sandbox();
    const char *source = getenv("TROUPE_SOURCE");
    char *dir = test_folder_new(), recipe[1100], text[3000];
    snprintf(text, sizeof text,
             "local T = require 'troupe'\n"
             "local here = '%s/recipes/calculator/'\n"
             "return { name = 'ladder', model = '%s/models/stagehand',\n"
             "  data = { train = here .. 'data/train.jsonl', test = here .. 'data/test.jsonl' },\n"
             "  env = { tools = { T.python{} }, max_turns = 2, max_observation = 24 },\n"
             "  prompt = { dialect = 'xml', instruction = 'Write <python>code</python> to run it, read "
             "<result>output</result>, then say <answer>number</answer>.',\n"
             "    shots = T.shots{ file = here .. 'shots.jsonl', schedule = 'success', levels = { 3, 2, 1, 0 },\n"
             "                     enough = 0.02, lost = 0.01 } },\n"
             "  reward = { script = here .. 'reward.lua', objectives = { accuracy = 1 } },\n"
             "  rollout = { group = 4, prompts_per_step = 2, max_tokens = 48, max_context = 448 },\n"
             "  algorithm = { given = 'sft', carry = true }, optim = { lr = 1e-4, warmup = 0 } }\n",
             source, source);
    test_file_write(dir, "ladder.lua", text);
    snprintf(recipe, sizeof recipe, "%s/ladder.lua", dir);
    killed_and_resumed_is_the_same(3, recipe,
                                   (const char *const[]){ "actors=2", "rollout.lag=1", "checkpoint_every=1", NULL });
    test_folder_remove(dir);
}

static void ctrl_c_leaves_a_checkpoint_and_nobody_behind(void **state)
{
    (void)state;
    need_sandbox();
    size_t len;
    place p = place_new();
    process t = place_start(&p, (const char *const[]){ "actors=2", "learner_threads=2", NULL });
    wait_for_step(p.run, 1, SECONDS);
    process_signal(&t, SIGINT);                 /* several threads: it must reach the one that reads it */
    assert_int_equal(troupe_wait(&t, 50), 130); /* not by patience running out */
    assert_nobody_left(&p);
    char *said = bytes_of(p.out, &len);
    assert_non_null(strstr(said, "--resume"));
    free(said);
    process again = troupe_start(p.out, (const char *const[]){ "train", "--resume", p.run, NULL });
    assert_int_equal(troupe_wait(&again, SECONDS), 0);
    assert_same_model(&calm, &p, LAST);
    test_folder_remove(p.dir);
}

/* Two learners, asked to stop, resumed, and one of them killed: the same bytes as of two undisturbed ones. */
static void learners_are_stopped_and_killed_together(void **state)
{
    (void)state;
    need_sandbox();
    place still = place_new(), p = place_new();
    const char *const two[] = { "actors=1", "learners=2", "learner_threads=1", NULL };
    process t = place_start(&still, two);
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    t = place_start(&p, two);
    wait_for_step(p.run, 1, SECONDS);
    process_signal(&t, SIGINT);
    assert_int_equal(troupe_wait(&t, 50), 130);
    assert_nobody_left(&p);
    t = troupe_start(p.out, (const char *const[]){ "train", "--resume", p.run, NULL });
    wait_for_step(p.run, 3, SECONDS);
    kill_one("--rank 1", p.run);
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    assert_nobody_left(&p);
    assert_same_model(&still, &p, LAST);
    assert_trained(&p, "trained: 4 steps, 8 groups, 32 episodes");
    test_folder_remove(still.dir);
    test_folder_remove(p.dir);
}

static void no_token_is_staler_than_asked_for(void **state)
{
    (void)state;
    need_sandbox();
    double stale[LAST];
    place p = place_new();
    process t = place_start(&p, (const char *const[]){ "rollout.max_staleness=1", NULL });
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    assert_int_equal(metric_values(p.run, "step", "training/staleness/max", stale, LAST), LAST);
    for (int i = 0; i < LAST; i++) assert_true(stale[i] <= 1);
    test_folder_remove(p.dir);
}

/* A lag makes stale data that repeats: exactly so old, and the same bytes whoever played. */
static void a_lag_is_the_same_with_one_actor_and_with_three(void **state)
{
    (void)state;
    need_sandbox();
    static const double EXPECTED[LAST] = { 0, 1, 2, 2 };
    double stale[LAST];
    place one = place_new(), three = place_new();
    process t = place_start(&one, (const char *const[]){ "rollout.lag=2", "actors=1", NULL });
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    t = place_start(&three, (const char *const[]){ "rollout.lag=2", "actors=3", NULL });
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    assert_same_model(&one, &three, LAST);
    assert_int_equal(metric_values(three.run, "step", "training/staleness/mean", stale, LAST), LAST);
    for (int i = 0; i < LAST; i++) assert_true(stale[i] == EXPECTED[i]);
    test_folder_remove(one.dir);
    test_folder_remove(three.dir);
}

static const char HOSTILE[] =
    "local calls = 0\n"
    "return function(task, episode)\n"
    "    local n = tonumber(task.id:match('%d+')) % 4\n"
    "    if n == 0 then while true do end end\n"
    "    if n == 1 then return { accuracy = #string.rep('x', 1e9) } end\n"
    "    if n == 2 then return { accuracy = (('a'):rep(60)):find(('a-'):rep(40) .. 'b') and 1 or 0 } end\n"
    "    return { accuracy = 0 / 0 }\n"
    "end\n";

/* Each costs its episode's score, said in the log; none stops the run or becomes a 0. */
static void hostile_reward_scripts_cost_scores_and_nothing_else(void **state)
{
    (void)state;
    need_sandbox();
    char script[400], log[400], override[512];
    double missing[2], scored[2];
    size_t len;
    place p = place_new();
    test_file_write(p.dir, "hostile.lua", HOSTILE);
    snprintf(script, sizeof script, "%s/hostile.lua", p.dir);
    snprintf(override, sizeof override, "reward.script=%s", script);
    process t = place_start(&p, (const char *const[]){ override, "reward.timeout_ms=200", "steps=2", "patience=0",
                                                       "reward.rehearse=false", NULL });
    assert_int_equal(troupe_wait(&t, SECONDS), 0);
    assert_int_equal(metric_values(p.run, "step", "reward/accuracy/missing", missing, 2), 2);
    assert_int_equal(metric_values(p.run, "step", "reward/accuracy/mean", scored, 2), 0);
    for (int i = 0; i < 2; i++) assert_true(missing[i] == 8);
    snprintf(log, sizeof log, "%s/logs/reward-1.log", p.run);
    char *said = bytes_of(log, &len);
    assert_non_null(strstr(said, "no score for task"));
    free(said);
    test_folder_remove(p.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_actors_end_with_the_bytes_of_one),
        cmocka_unit_test(the_learner_computes_the_logprobs_that_were_sampled_with),
        cmocka_unit_test(a_killed_actor_costs_nothing),
        cmocka_unit_test(a_killed_reward_worker_costs_nothing),
        cmocka_unit_test(workers_that_leave_are_started_again),
        cmocka_unit_test(a_stopped_worker_is_replaced),
        cmocka_unit_test(so_is_a_stopped_learner),
        cmocka_unit_test(an_actor_that_was_silent_comes_back),
        cmocka_unit_test(a_training_thread_that_hangs_is_named_and_replaced),
        cmocka_unit_test(a_learner_without_memory_saves_and_says_what_it_needs),
        cmocka_unit_test(so_do_several_learners),
        cmocka_unit_test(a_killed_learner_goes_on_from_its_checkpoint),
        cmocka_unit_test(a_run_that_was_killed_whole_is_resumed_to_the_same_end),
        cmocka_unit_test(so_is_one_with_everything_that_remembers),
        cmocka_unit_test(so_is_one_on_a_ladder),
        cmocka_unit_test(so_is_one_that_lags_and_samples),
        cmocka_unit_test(ctrl_c_leaves_a_checkpoint_and_nobody_behind),
        cmocka_unit_test(learners_are_stopped_and_killed_together),
        cmocka_unit_test(no_token_is_staler_than_asked_for),
        cmocka_unit_test(a_lag_is_the_same_with_one_actor_and_with_three),
        cmocka_unit_test(hostile_reward_scripts_cost_scores_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, play_calm, forget_calm);
}
