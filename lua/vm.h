/* SPDX-License-Identifier: MIT */
/* vm - a Lua 5.4 state that can't do harm: capped memory, instructions and time; no files, no processes, no
 * bytecode.
 *
 * What a script finds: base, string, table, math (without random), utf8, coroutine, and `require` of our own modules
 * (troupe, troupe.verify); a recipe may also require files beside it. Globals, libraries and modules are read-only:
 * what a script keeps, it keeps in its own locals.
 *
 * The caps are enforced by a hook that keeps raising once it has fired, so that no pcall loop swallows it. Time is CPU
 * time of the thread: a machine that is busy or stopped is no fault of the script's. Patterns are linear (lua/pattern)
 * and every function in C ends soon for the memory that the cap allows; what still does not (table.sort of long texts)
 * is why the VM of authors who aren't trusted (rewards) lives in a process that can be killed (reward/scorer).
 * One thread uses a VM. */
#pragma once

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef enum vm_kind { VM_REWARD, VM_RECIPE } vm_kind;

typedef struct vm_limits {
    size_t memory_bytes;  /* 0: no cap, for all four */
    int64_t instructions; /* per call */
    int64_t cpu_ms;       /* of this thread, per call */
    size_t print_bytes;   /* what print may say in all calls together; a call has a cap of its own */
} vm_limits;

typedef struct vm vm;

/* `module_dir`: where a recipe's own modules are looked for; NULL: nowhere. */
vm *vm_new(vm_kind kind, const vm_limits *limits, const char *module_dir, error *err);
void vm_free(vm *v);
lua_State *vm_state(vm *v);
void vm_set_limits(vm *v, const vm_limits *limits);
size_t vm_memory(const vm *v); /* what is unreachable but not collected yet included */
void vm_collect(vm *v);        /* outside of calls: those collect by themselves */
/* "reward.lua:12", the line that runs, or that has called the function in C which does; returns its length, 0 where
 * none is known. Only reads, and calls nothing that a signal handler may not: also for a process that crashes. */
size_t vm_line(const vm *v, char *out, size_t size);

/* Runs a text chunk (bytecode is refused) and leaves `n_results` values on the stack. Errors name file and line. */
int vm_run_file(vm *v, const char *path, int n_results, error *err);
/* The same without running: leaves the chunk on the stack, a function.
 * Each call of it makes new locals and functions. */
int vm_load_file(vm *v, const char *path, error *err);
void vm_push_chunk(vm *v, int ref); /* one that was kept, with its globals as at first */
int vm_run_text(vm *v, const char *text, size_t len, const char *name, int n_results, error *err);

/* The only way into a script: calls the function below its `n_args` arguments under the caps. On an error the stack is
 * as if the call had not been prepared. */
int vm_call(vm *v, int n_args, int n_results, error *err);

/* A C function that may raise, under the same caps: for code that builds tables, calls scripts and reads what they
 * return. `arg` is its argument 1, as a light userdata. */
int vm_protect(vm *v, int (*body)(lua_State *L), void *arg, error *err);

/* The path of the i-th module beside the recipe that was required (from 0); the caller frees. NULL:
 * there are no more. */
char *vm_required(vm *v, int i);

/* References to values that C keeps (in the registry). */
int vm_keep(vm *v); /* pops the top */
void vm_drop(vm *v, int ref);
