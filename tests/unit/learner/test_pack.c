/* SPDX-License-Identifier: MIT */
#include "learner/pack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "episodes.h"

/* A table with one row an episode and the given scalars, as advantage_compute would have made it. */
static advantage_table *table_of(arena *a, episode **episodes, const double *scalar, int S)
{
    advantage_table *t = arena_zalloc(a, sizeof *t);
    t->S = S;
    t->episodes = arena_array(a, const episode *, S);
    t->scalar = arena_array(a, double, S);
    t->counts = arena_array(a, bool, S);
    for (int s = 0; s < S; s++) t->episodes[s] = episodes[s], t->scalar[s] = scalar[s], t->counts[s] = true;
    return t;
}

static void every_sampled_token_is_a_target_once_and_no_other_is(void **state)
{
    (void)state;
    arena *a = arena_new(1 << 16);
    episode *e = made_episode(0, 3, 4, 2, -1);
    trajectory_append_sampled(&e->tokens, 8, -0.5f, 0, 42); /* prompt 3, policy 4, observation 2, policy 1 */
    const pack_plan *plan =
        pack_groups(a, table_of(a, &e, (double[]){ 1.5 }, 1), &(pack_options){ .max_tokens = 100, .check = 2 });
    assert_int_equal(plan->n, 1);
    const packed_batch *b = &plan->batches[0];
    assert_int_equal(b->tokens.T, 9); /* the last of 10 tokens is only ever a target */
    assert_int_equal(b->tokens.n_out, 5);
    const int rows[5] = { 2, 3, 4, 5, 8 };
    for (int i = 0; i < 5; i++) {
        assert_int_equal(b->tokens.out_rows[i], rows[i]);
        assert_int_equal(b->tokens.targets[i], e->tokens.ids[rows[i] + 1]);
        assert_int_equal(b->episode[i], 0);
        assert_true(b->behaviour[i] == (double)e->tokens.logprob[rows[i] + 1]);
    }
    episode_free(e);
    arena_free(a);
}

static void what_follows_the_last_sampled_token_is_not_computed(void **state)
{
    (void)state;
    arena *a = arena_new(1 << 16);
    episode *e = made_episode(0, 3, 4, 50, -1);
    const pack_plan *plan =
        pack_groups(a, table_of(a, &e, (double[]){ 1 }, 1), &(pack_options){ .max_tokens = 1000, .check = 2 });
    assert_int_equal(plan->batches[0].tokens.T, 6);
    episode_free(e);
    arena_free(a);
}

static void episodes_without_advantage_count_but_are_not_computed(void **state)
{
    (void)state;
    arena *a = arena_new(1 << 16);
    episode *e[3];
    for (uint32_t i = 0; i < 3; i++) e[i] = made_episode(i, 3, 4, 0, -1);
    const pack_plan *plan =
        pack_groups(a, table_of(a, e, (double[]){ 0, 1, 0 }, 3), &(pack_options){ .max_tokens = 100, .check = 2 });
    assert_int_equal(plan->episodes, 1);
    assert_true(plan->tokens == 12 && plan->counted == 3);
    const pack_plan *silent =
        pack_groups(a, table_of(a, e, (double[]){ 0, 0, 0 }, 3), &(pack_options){ .max_tokens = 100, .check = 2 });
    assert_int_equal(silent->episodes, 2); /* packed to be compared, not to be trained on */
    for (uint32_t i = 0; i < 3; i++) episode_free(e[i]);
    arena_free(a);
}

static void micro_batches_hold_whole_episodes_in_order(void **state)
{
    (void)state;
    arena *a = arena_new(1 << 16);
    episode *e[5];
    for (uint32_t i = 0; i < 5; i++) e[i] = made_episode(i, 6, 4, 0, -1);
    const pack_plan *plan =
        pack_groups(a, table_of(a, e, (double[]){ 1, 2, 3, 4, 5 }, 5), &(pack_options){ .max_tokens = 20, .check = 2 });
    assert_int_equal(plan->n, 3);
    double next = 1;
    for (int m = 0; m < plan->n; m++)
        for (int s = 0; s < plan->batches[m].tokens.S; s++, next++)
            assert_int_equal(plan->batches[m].episode[s * 4], (int)next - 1);
    for (uint32_t i = 0; i < 5; i++) episode_free(e[i]);
    arena_free(a);
}

/* Partitions' episodes lie side by side in every micro-batch, each partition's in the order they came. */
static void episodes_are_packed_partition_by_partition(void **state)
{
    (void)state;
    arena *a = arena_new(1 << 12);
    episode *e[5];
    for (uint32_t i = 0; i < 5; i++) e[i] = made_episode(i, 2, (int)i + 1, 0, -1);
    const int partition[5] = { 2, 0, 2, 0, 2 };
    const pack_options o = { .max_tokens = 1000, .partition = partition, .n_partitions = 3 };
    const pack_plan *plan = pack_groups(a, table_of(a, e, (double[]){ 1, 2, 3, 4, 5 }, 5), &o);
    assert_int_equal(plan->n, 1);
    const packed_batch *b = &plan->batches[0];
    static const int cuts[4] = { 0, 2, 2, 5 }, order[5] = { 1, 3, 0, 2, 4 };
    for (int k = 0; k < 4; k++) assert_int_equal(b->sequences[k], cuts[k]);
    for (int s = 0, out = 0; s < 5; s++)
        for (int n = 0; n <= order[s]; n++) assert_int_equal(b->episode[out++], order[s]);
    for (int i = 0; i < 5; i++) episode_free(e[i]);
    arena_free(a);
}

/* A hint of two tokens, two sampled by version 3 and two by version 5. */
static episode *mixed_episode(void)
{
    episode *e = made_episode(0, 3, 0, 0, -1);
    trajectory_append(&e->tokens, TOKEN_HINT, (const int32_t[]){ 5, 6 }, 2);
    e->hint_len = 2;
    for (int i = 0; i < 4; i++) trajectory_append_sampled(&e->tokens, 7 + i, -0.1f * (float)i, i < 2 ? 3 : 5, 42);
    return e;
}

static void hints_are_targets_only_where_they_are_trained_on(void **state)
{
    (void)state;
    arena *a = arena_new(1 << 16);
    episode *e = mixed_episode();
    for (int imitation = 0; imitation <= 1; imitation++) {
        const pack_plan *plan = pack_groups(a, table_of(a, &e, (double[]){ 1 }, 1),
                                            &(pack_options){ .max_tokens = 100, .imitation = imitation });
        const packed_batch *b = &plan->batches[0];
        assert_int_equal(b->tokens.n_out, imitation ? 6 : 4);
        assert_int_equal((int)plan->tokens, 4); /* the denominator counts what was sampled */
        for (int i = 0; i < b->tokens.n_out; i++) assert_true(b->imitated[i] == (imitation && i < 2));
        assert_int_equal(b->tokens.targets[0], imitation ? 5 : 7);
    }
    episode_free(e);
    arena_free(a);
}

/* Fine-tuning: all rows are given, so the loss is a mean over given tokens; a row's first follows nothing. */
static void without_anything_sampled_the_denominator_counts_given_tokens(void **state)
{
    (void)state;
    arena *a = arena_new(1 << 16);
    episode *e[2] = { made_episode(0, 3, 0, 0, -1), made_episode(1, 0, 0, 0, -1) };
    for (int i = 0; i < 2; i++) {
        trajectory_append(&e[i]->tokens, TOKEN_HINT, (const int32_t[]){ 5, 6, 7 }, 3);
        e[i]->hint_len = 3;
    }
    const pack_options o = { .max_tokens = 100, .imitation = true, .supervised = true };
    const pack_plan *plan = pack_groups(a, table_of(a, e, (double[]){ 0, 0 }, 2), &o);
    assert_true(plan->signal && plan->learns);
    assert_int_equal(plan->batches[0].tokens.n_out, 5);
    assert_int_equal((int)plan->tokens, 5);
    for (int i = 0; i < 2; i++) episode_free(e[i]);
    arena_free(a);
}

/* Segments of an episode that was played on over several versions: the old ones are read, but not trained on. */
static void tokens_of_versions_too_old_are_not_trained_on(void **state)
{
    (void)state;
    arena *a = arena_new(1 << 16);
    episode *e = mixed_episode();
    const pack_plan *plan =
        pack_groups(a, table_of(a, &e, (double[]){ 1 }, 1), &(pack_options){ .max_tokens = 100, .oldest = 4 });
    const packed_batch *b = &plan->batches[0];
    assert_int_equal(b->tokens.n_out, 2);
    assert_int_equal((int)plan->tokens, 2);
    assert_int_equal(b->tokens.targets[0], 9);
    assert_int_equal(b->tokens.T, (int)e->tokens.n - 1); /* the policy reads all of it */
    plan = pack_groups(a, table_of(a, &e, (double[]){ 1 }, 1), &(pack_options){ .max_tokens = 100, .oldest = 6 });
    assert_int_equal(plan->n, 0);
    assert_false(plan->learns);
    episode_free(e);
    arena_free(a);
}

/* Shares of several learners: whole episodes, each once, about as many tokens. */
static void learners_share_the_episodes(void **state)
{
    (void)state;
    enum { S = 13 };
    arena *a = arena_new(1 << 16);
    episode *episodes[S];
    double scalar[S];
    for (int s = 0; s < S; s++) episodes[s] = made_episode((uint32_t)s, 3, 1 + s % 5, 0, -1), scalar[s] = 1;
    for (int ranks = 1; ranks <= 5; ranks++) {
        int seen[S] = { 0 }, max = 0, all = 0;
        for (int r = 0; r < ranks; r++) {
            const pack_plan *plan = pack_groups(a, table_of(a, episodes, scalar, S),
                                                &(pack_options){ .max_tokens = 20, .rank = r, .ranks = ranks });
            int tokens = 0;
            assert_int_equal(plan->trained, S);
            for (int n = 0; n < plan->n; n++)
                for (int i = 0; i < plan->batches[n].tokens.n_out; i++) seen[plan->batches[n].episode[i]]++, tokens++;
            max = tokens > max ? tokens : max, all += tokens;
            assert_true(plan->has_rows[r] == (plan->n > 0));
        }
        for (int s = 0; s < S; s++) assert_int_equal(seen[s], 1 + s % 5);
        assert_true(max <= all / ranks + 5);
    }
    for (int s = 0; s < S; s++) episode_free(episodes[s]);
    arena_free(a);
}

/* The tokens of an episode's prompt, policy and so on, as a row for row reading of the batch gives them. */
static void check_rows(const packed_batch *b, episode **e)
{
    const token_batch *t = &b->tokens;
    int computed = 0, first = 0;
    for (int s = 0; s < t->S; s++) {
        const int before = t->prefix ? t->prefix[s] : -1,
                  from = before < 0 ? 0 : t->starts[before + 1] - t->starts[before];
        computed += t->starts[s + 1] - t->starts[s];
        for (int row = t->starts[s]; row < t->starts[s + 1]; row++)
            assert_int_equal(t->positions[row], from + row - t->starts[s]);
        if (before >= 0) assert_true(before == s - 1 || t->prefix[s - 1] == before);

        /* The outputs that lie in this sequence: the row, those before it and its prefix are the episode's tokens. */
        for (int i = first; i < t->n_out && t->out_rows[i] < t->starts[s + 1]; i++, first++) {
            const int row = t->out_rows[i], position = t->positions[row];
            const trajectory *of = &e[b->episode[i]]->tokens;
            assert_int_equal(b->token[i], position + 1);
            assert_int_equal(t->targets[i], of->ids[position + 1]);
            for (int j = 0; j <= position; j++) {
                const int at = j < from ? t->starts[before] + j : t->starts[s] + j - from;
                assert_int_equal(t->ids[at], of->ids[j]);
            }
        }
    }
    assert_int_equal(first, t->n_out);
    assert_int_equal(computed, t->T);
}

/* Prompts of 9 tokens (x), of 9 others (y), and one of 3. */
static void made_prompts(episode **e, const char *which)
{
    for (uint32_t i = 0; which[i]; i++) {
        e[i] = made_episode(i, which[i] == 's' ? 3 : 9, 4 + (int)i % 2, 0, -1);
        if (which[i] == 'y') e[i]->tokens.ids[2] = 1;
    }
}

static void a_prompt_of_several_episodes_is_packed_once(void **state)
{
    (void)state;
    arena *a = arena_new(1 << 16);
    episode *e[6];
    made_prompts(e, "xyxsyx");
    const pack_options o = { .max_tokens = 100, .shared_prompts = true };
    const pack_plan *plan = pack_groups(a, table_of(a, e, (double[]){ 1, 2, 3, 4, 5, 6 }, 6), &o);
    assert_int_equal(plan->n, 1);
    const packed_batch *b = &plan->batches[0];
    check_rows(b, e);

    /* Prefixes of 8 tokens, and after each the prompt's last token with what the policy wrote: the last is a
     * target. */
    static const int prefix[8] = { -1, 0, 0, 0, -1, 4, 4, -1 }, tokens[8] = { 8, 4, 4, 5, 8, 5, 4, 7 };
    static const int order[6] = { 0, 2, 5, 1, 4, 3 };
    assert_int_equal(b->tokens.S, 8);
    for (int s = 0; s < 8; s++) {
        assert_int_equal(b->tokens.prefix[s], prefix[s]);
        assert_int_equal(b->tokens.starts[s + 1] - b->tokens.starts[s], tokens[s]);
    }
    for (int i = 0, n = 0; i < b->tokens.n_out; i++) {
        n += i > 0 && b->episode[i] != b->episode[i - 1];
        assert_int_equal(b->episode[i], order[n]);
    }
    assert_int_equal(b->unshared, 12 + 13 + 12 + 7 + 12 + 13);
    for (int i = 0; i < 6; i++) episode_free(e[i]);
    arena_free(a);
}

/* What is equal counts, not who belongs to which group; what the policy or a hint wrote is never shared. */
static void only_what_stands_before_the_first_sampled_or_given_token_is_shared(void **state)
{
    (void)state;
    arena *a = arena_new(1 << 16);
    episode *e[3];
    for (uint32_t i = 0; i < 3; i++) {
        e[i] = made_episode(i, 6, 0, 0, -1);
        if (i < 2) trajectory_append(&e[i]->tokens, TOKEN_HINT, (const int32_t[]){ 5, 6 }, 2);
        for (int n = 0; n < 4; n++) trajectory_append_sampled(&e[i]->tokens, 7, -1, 0, 42);
    }
    for (int imitation = 0; imitation <= 1; imitation++) {
        const pack_options o = { .max_tokens = 100, .shared_prompts = true, .imitation = imitation };
        const pack_plan *plan = pack_groups(a, table_of(a, e, (double[]){ 1, 2, 3 }, 3), &o);
        const packed_batch *b = &plan->batches[0];
        check_rows(b, e);
        assert_int_equal(b->tokens.S, 4);
        assert_int_equal(b->tokens.starts[1], 5);
    }
    for (int i = 0; i < 3; i++) episode_free(e[i]);
    arena_free(a);
}

/* Four that share a prompt don't fit beside the first two, but in a micro-batch of their own; eight fit in none. */
static void who_shares_a_prompt_stays_together_where_a_micro_batch_holds_them(void **state)
{
    (void)state;
    arena *a = arena_new(1 << 16);
    episode *e[8];
    double scalar[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    made_prompts(e, "xxyyyy");
    const pack_options o = { .max_tokens = 40, .shared_prompts = true };
    const pack_plan *plan = pack_groups(a, table_of(a, e, scalar, 6), &o);
    assert_int_equal(plan->n, 2);
    assert_int_equal(plan->batches[0].tokens.S, 3);
    assert_int_equal(plan->batches[1].tokens.S, 5);
    for (int i = 0; i < 6; i++) episode_free(e[i]);

    made_prompts(e, "xxxxxxxx");
    plan = pack_groups(a, table_of(a, e, scalar, 8), &o);
    assert_int_equal(plan->n, 2);
    for (int n = 0, seen = 0; n < plan->n; n++) {
        const packed_batch *b = &plan->batches[n];
        check_rows(b, e);
        assert_true(b->tokens.T <= 40 && b->tokens.prefix[0] == -1 && b->tokens.starts[1] == 8);
        assert_int_equal(b->episode[0], seen);
        seen += b->tokens.S - 1;
    }
    for (int i = 0; i < 8; i++) episode_free(e[i]);
    arena_free(a);
}

/* A prefix has one gradient: episodes of different partitions never share one. */
static void a_prompt_is_packed_once_in_each_partition(void **state)
{
    (void)state;
    arena *a = arena_new(1 << 16);
    episode *e[5];
    made_prompts(e, "xxxxx");
    const int partition[5] = { 1, 0, 1, 0, 2 };
    const pack_options o = { .max_tokens = 100, .shared_prompts = true, .partition = partition, .n_partitions = 3 };
    const pack_plan *plan = pack_groups(a, table_of(a, e, (double[]){ 1, 2, 3, 4, 5 }, 5), &o);
    const packed_batch *b = &plan->batches[0];
    static const int cuts[4] = { 0, 3, 6, 7 };
    check_rows(b, e);
    for (int k = 0; k < 4; k++) assert_int_equal(b->sequences[k], cuts[k]);
    for (int i = 0; i < b->tokens.n_out; i++) {
        const int k = partition[b->episode[i]], row = b->tokens.out_rows[i];
        assert_true(row >= b->tokens.starts[cuts[k]] && row < b->tokens.starts[cuts[k + 1]]);
    }
    for (int i = 0; i < 5; i++) episode_free(e[i]);
    arena_free(a);
}

/* 16 samples of one prompt for 2 learners: each has the prompt and half of them. */
static void learners_share_a_prompt_evenly(void **state)
{
    (void)state;
    enum { S = 16 };
    arena *a = arena_new(1 << 16);
    episode *e[S];
    double scalar[S];
    int seen[S] = { 0 };
    for (int s = 0; s < S; s++) e[s] = made_episode((uint32_t)s, 100, 4, 0, -1), scalar[s] = 1;
    for (int r = 0; r < 2; r++) {
        const pack_options o = { .max_tokens = 1000, .shared_prompts = true, .rank = r, .ranks = 2 };
        const pack_plan *plan = pack_groups(a, table_of(a, e, scalar, S), &o);
        assert_int_equal(plan->n, 1);
        check_rows(&plan->batches[0], e);
        assert_int_equal(plan->batches[0].tokens.S, 1 + S / 2);
        for (int i = 0; i < plan->batches[0].tokens.n_out; i++) seen[plan->batches[0].episode[i]]++;
    }
    for (int s = 0; s < S; s++) assert_int_equal(seen[s], 4);
    for (int s = 0; s < S; s++) episode_free(e[s]);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hints_are_targets_only_where_they_are_trained_on),
        cmocka_unit_test(without_anything_sampled_the_denominator_counts_given_tokens),
        cmocka_unit_test(tokens_of_versions_too_old_are_not_trained_on),
        cmocka_unit_test(learners_share_the_episodes),
        cmocka_unit_test(episodes_are_packed_partition_by_partition),
        cmocka_unit_test(every_sampled_token_is_a_target_once_and_no_other_is),
        cmocka_unit_test(what_follows_the_last_sampled_token_is_not_computed),
        cmocka_unit_test(episodes_without_advantage_count_but_are_not_computed),
        cmocka_unit_test(micro_batches_hold_whole_episodes_in_order),
        cmocka_unit_test(a_prompt_of_several_episodes_is_packed_once),
        cmocka_unit_test(only_what_stands_before_the_first_sampled_or_given_token_is_shared),
        cmocka_unit_test(who_shares_a_prompt_stays_together_where_a_micro_batch_holds_them),
        cmocka_unit_test(a_prompt_is_packed_once_in_each_partition),
        cmocka_unit_test(learners_share_a_prompt_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
