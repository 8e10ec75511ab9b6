/* SPDX-License-Identifier: MIT */
/* fuzz_record - what stands in rollouts.db as an episode and its score is used again by a resumed run only if it
 * is what the run could have stored; anything else is an error with a sentence, or is played and scored anew.
 *
 * Input: a length (u16), so many bytes of an episode's record, the rest a score's. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/held_folder.h"
#include "exchange/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const limits LIMITS = { .vocab = 1000, .max_context = 64, .max_turns = 4 };

/* Rows are read from a file; one of a few lines is made once. */
static dataset *rows(void)
{
    static dataset *all;
    char path[100];
    static const char TEXT[] = "{\"prompt\":\"a\"}\n{\"prompt\":\"b\"}\n";
    if (all) return all;
    snprintf(path, sizeof path, "%s/troupe-fuzz-XXXXXX", temporary_root());
    const int fd = mkstemp(path);
    if (fd < 0 || write(fd, TEXT, sizeof TEXT - 1) != sizeof TEXT - 1) abort();
    close(fd);
    if (!(all = dataset_open(path, 0, NULL))) abort();
    unlink(path);
    return all;
}

static episode *read_episode(const uint8_t *data, size_t size)
{
    error err = { 0 };
    episode *e = episode_decode(data, size, &err);
    if (!e && (err.code != ERR_PARSE || !*err.text)) abort();
    return e;
}

static score *read_score(const uint8_t *data, size_t size)
{
    error err = { 0 };
    score *s = score_decode(data, size, &err);
    if (!s && (err.code != ERR_PARSE || !*err.text)) abort();
    return s;
}

/* Whatever becomes a step's is within the run's limits. */
static void take(core *c)
{
    action a;
    error err = { 0 };
    while (core_next_action(c, &a)) {
        for (uint32_t g = 0; g < a.n_groups; g++) {
            for (uint32_t i = 0; i < a.groups[g]->n; i++) {
                const episode *e = a.groups[g]->episodes[i];
                const task t = { .max_tokens = 8, .n_shots = e->n_shots };
                if (limits_episode(&LIMITS, &t, e, &err) != OK) abort();
                if (a.groups[g]->scores[i] && limits_score(e, a.groups[g]->scores[i], &err) != OK) abort();
            }
            group_free(a.groups[g]);
        }
        free(a.groups);
    }
}

static void resume(episode *e, score *s)
{
    const core_config config = { .schedule = { .train = rows(),
                                               .seed = 1,
                                               .prompts_per_step = 1,
                                               .group = 2,
                                               .temperature = 1,
                                               .max_tokens = 8 },
                                 .steps = 2,
                                 .limits = LIMITS,
                                 .signal = "accuracy" };
    core *c = core_new(&config);
    core_restore(c, e, s);
    for (int64_t v = 0; v < 3; v++) core_version(c, 1000 + v, v, 9), take(c);
    core_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    size_t len = (size_t)(data[0] | data[1] << 8);
    if (len > size - 2) len = size - 2;
    episode *e = read_episode(data + 2, len);
    score *s = read_score(data + 2 + len, size - 2 - len);
    if (e)
        resume(e, s);
    else
        score_free(s);
    return 0;
}
