/* SPDX-License-Identifier: MIT */
/* calm - one undisturbed run of the calculator, played before a program's tests, and runs that are held against it. */
#pragma once

#include "tests/integration/fleet.h"

enum { SECONDS = 240, LAST = 8 }; /* the longest that a run may take; its last step */

extern const char *const KEYS[]; /* what such a run is started with */
extern place calm;               /* the undisturbed run; empty where there is no sandbox */

/* cmocka's set-up and tear-down of a group. */
int play_calm(void **state);
int forget_calm(void **state);

/* A run in the background that has done its first step. */
process begun(place *p, const char *const *keys);
/* `troupe train --resume RUN WORD`: its status; what it says goes into RUN's out. */
int resume(const place *p, const char *word);
void resumed_to_the_same_end(const place *p);
void assert_said(const place *p, const char *words);
/* Until the process is in that state, as ps writes it: 'T' is stopped. */
void wait_for_state(pid_t pid, char state);
