/* SPDX-License-Identifier: MIT */
#include "tests/integration/calm.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/support/support.h"

enum { LOOK_MS = 5 };

const char *const KEYS[] = { "actors=1", "steps=8", NULL };
place calm;

int play_calm(void **state)
{
    (void)state;
    outcome o = TROUPE("env", "call", "--tool", "python", "{\"code\": \"print(1)\"}");
    const bool works = o.status == 0;
    outcome_free(&o);
    if (!works) return 0; /* each test will say so */
    calm = place_new();
    process p = place_start(&calm, KEYS);
    return troupe_wait(&p, SECONDS);
}

int forget_calm(void **state)
{
    (void)state;
    test_folder_remove(calm.dir);
    return 0;
}

process begun(place *p, const char *const *keys)
{
    need_sandbox();
    *p = place_new();
    process t = place_start(p, keys);
    wait_for_step(p->run, 1, SECONDS);
    return t;
}

int resume(const place *p, const char *word)
{
    process t = troupe_start(p->out, (const char *const[]){ "train", "--resume", p->run, word, NULL });
    return troupe_wait(&t, SECONDS);
}

void resumed_to_the_same_end(const place *p)
{
    assert_int_equal(resume(p, NULL), 0);
    assert_same_model(&calm, p, LAST);
    assert_nobody_left(p);
}

void assert_said(const place *p, const char *words)
{
    size_t len;
    char *said = bytes_of(p->out, &len);
    if (!strstr(said, words)) fail_msg("expected '%s' in: %s", words, said);
    free(said);
}

void wait_for_state(pid_t pid, char state)
{
    const int64_t until_ms = clock_ms() + SECONDS * 1000;
    const process it = { .pid = pid, .pidfd = 0 }; /* looked at by its id; another's child has no descriptor here */
    while (process_look(&it).state != state) {
        if (clock_ms() > until_ms) fail_msg("process %d is not in state %c", (int)pid, state);
        poll(NULL, 0, LOOK_MS); /* another's child: there is nothing to wait on */
    }
}
