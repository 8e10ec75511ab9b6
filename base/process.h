/* SPDX-License-Identifier: MIT */
/* process - children that can't be lost: own process group, killed when the parent dies, reaped by pidfd. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

typedef struct process_options {
    int fd_in, fd_out, fd_err; /* become 0, 1, 2 of the child; -1: /dev/null for in, inherited for out and err */
    const int *pass_fds;       /* stay open in the child under the same number; everything else is closed */
    int n_pass_fds;
    const char *const *env; /* NULL: ours */
    bool new_group;         /* own process group, so that process_kill_group reaches its children */
    bool die_with_parent;   /* PR_SET_PDEATHSIG(SIGKILL); Linux means the thread that spawned it */
    bool same_addresses;    /* no randomized layout, where that can be had: what prints an address prints the same */
} process_options;

typedef struct process {
    pid_t pid;
    int pidfd; /* readable when the child has ended: put it into a loop */
} process;

/* The file that execvp would run for `name`; the caller frees. NULL when there is none. */
char *process_find(const char *name);
/* Starts argv[0] (searched in PATH unless it has a '/'). Fails here, with a sentence, when the program can't be
 * executed. Our own file is started as it was when we were, whoever has replaced it since. */
int process_spawn(process *p, const char *const *argv, const process_options *options, error *err);
int process_signal(const process *p, int signal);
int process_kill_group(const process *p, int signal);
/* Waits up to `timeout_ms` (-1: for ever). Returns 1 ended (status as of waitpid), 0 still running. Closes pidfd when
 * ended. */
int process_wait(process *p, int timeout_ms, int *status);
/* The same, of the head of a group: what it leaves behind there is told to end (SIGTERM). */
int process_wait_group(process *p, int timeout_ms, int *status);
/* What the kernel says of a process: its state ('R', 'S', 'D' on a disk, 'T' stopped, 't' by a debugger, 'Z') and the
 * CPU time its threads have had. Where /proc can't be read the state is '?'. */
typedef struct process_sight {
    char state;
    int64_t cpu_ms;
} process_sight;
process_sight process_look(const process *p);
/* The cores that this process may use: fewer than the machine's under a scheduler, or in a container with a cpuset. */
int process_cores(void);
/* "exit status 3", "killed by signal 9 (Killed)" */
const char *process_status_text(int status, char *out, size_t size);
/* The running executable's path. Where /proc isn't mounted: as it was started,
 * valid as long as the working folder does not change. */
int process_self_path(char *out, size_t size, error *err);
