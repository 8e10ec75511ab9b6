/* run_dir - runs/NAME: what a run leaves behind, and what resuming it needs.
 *
 *     recipe.lua   as run         run.json    where the recipe lies, overrides, socket folder
 *     logs/        one a process  lock        held by the process that supervises the run
 */
#pragma once

#include "base/error.h"
#include "cli/arguments.h"

typedef struct run_dir {
    char path[1024];   /* absolute */
    char recipe[1024]; /* absolute path of the original */
    char sockets[64];  /* private folder of the sockets; exists between run_dir_begin and run_dir_end */
    char *overrides[MAX_OVERRIDES];
    int n_overrides;
    int lock_fd;
} run_dir;

/* Makes a new run. ERR_STATE when there is one already (and !fresh): the sentence says how to resume it. */
int run_dir_begin(run_dir *r, const char *path, const char *recipe, const char *const *overrides, int n_overrides,
                  bool fresh, error *err);
/* Takes up a run that stopped or was killed. ERR_STATE while another process supervises it. */
int run_dir_resume(run_dir *r, const char *path, error *err);
void run_dir_end(run_dir *r); /* removes the sockets, lets go of the lock */
