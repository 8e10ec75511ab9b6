/* SPDX-License-Identifier: MIT */
/* held_folder - a private folder in a temporary place that goes with its process, even when that is killed.
 *
 *     held_folder_open    makes ROOT/PREFIX-XXXXXX (0700) and locks it (flock); the kernel lets go of the lock when the
 *                         process ends, however it ends
 *     held_folder_sweep   removes those of ours in ROOT that no process holds any more: the next one to start cleans up
 *
 * The lock alone says who lives: a process id may be another container's, another process's by now, or a zombie's that
 * no parent reaps. */
#pragma once

#include "base/error.h"

typedef struct held_folder {
    char path[200]; /* "": none */
    int lock;
    int watcher; /* pid; 0: none */
} held_folder;

/* In `root`; what earlier processes left there goes first. ERR_IO says why not. */
int held_folder_open(held_folder *h, const char *root, const char *prefix, error *err);
void held_folder_close(held_folder *h); /* removes it with what is in it; one that isn't open is allowed */
/* Removes it as soon as this process is gone, by kill -9 too, and not only when the next one sweeps: a child waits for
 * that, in a session of its own, and ends with held_folder_close. Before the process has threads. ERR_IO: no child. */
int held_folder_watch(held_folder *h, error *err);
void held_folder_sweep(const char *root, const char *prefix);
/* The descriptor that holds the lock of a folder, for who removes it in another way. -1: another process holds it, it
 * is another user's, or it is no longer the folder of that name. */
int held_folder_lock(const char *path);

/* Where temporary files go: $TMPDIR when it is an absolute path of at most 64 characters, else /tmp. */
const char *temporary_root(void);
