/* SPDX-License-Identifier: MIT */
#include "lua/vm.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "lua/bind.h"

static const char REQUIRED[] = "troupe.required"; /* in the registry, by libraries.c */

enum { HOOK_EVERY = 1000, MAX_SCRIPT_BYTES = 16 << 20, LOOK_BYTES = 1 << 20, MAX_PRINTED = 4096, MAX_WARNING = 400 };
enum { COLLECT_STEP = 1 << 20 }; /* that much is always allocated before the collector runs again */
enum { HEADER = 16 };            /* in front of a block; keeps the alignment of malloc */

struct vm {
    lua_State *L;
    vm_kind kind;
    vm_limits limits;
    size_t used;
    int64_t left, deadline_us; /* of the call under way; the deadline is in CPU time of this thread */
    size_t looked, printed;    /* memory when the hook last ran; bytes that print has said in this call */
    size_t said;               /* by print, in all calls before this one */
    uint64_t blocks;           /* that Lua was ever given */
    size_t worked;             /* bytes that functions in C have looked at since the hook last ran */
    size_t collect_at;         /* memory in use when the collector runs next */
    lua_State *aside;          /* where weak tables are kept from working, bind_weak.c's */
    bool armed, expired;
    bool collecting, hidden; /* a collection is under way; the next one is Lua's own, and modes are hidden for it */
    char where[96];          /* the line that ran when the hook last ran: where memory ran out, nearly */
    char module_dir[1024];
};

static vm *vm_of(lua_State *L) { return *(vm **)lua_getextraspace(L); }

/* ---- caps ---- */

static void watch(lua_State *L, lua_Debug *ar);

static bool over(const vm *v, size_t more) { return v->limits.memory_bytes && v->used + more > v->limits.memory_bytes; }

/* A script that makes long strings in few instructions is looked at after each of them: Lua allows a hook to be set
 * from anywhere, a signal or here. */
static void grown(vm *v)
{
    if (!v->armed || v->expired || v->used < v->looked + LOOK_BYTES) return;
    v->looked = v->used;
    lua_sethook(v->L, watch, LUA_MASKCOUNT, 1);
}

/* ---- the collector ----
 *
 * It runs as a whole or not at all: when memory has doubled, at a call's beginning, in the hook, or where a function in
 * C finds no room; and by itself where an allocation fails, for the only time without being asked. In a VM without caps
 * there is no hook, and it runs as Lua wants. */

static void collect(vm *v, lua_State *L)
{
    if (!v->aside) return; /* the state is being opened */
    v->collecting = true;
    if (!v->hidden) bind_weak_hide(v->aside);
    lua_gc(L, LUA_GCCOLLECT);
    bind_weak_show(v->aside);
    v->hidden = v->collecting = false;
    v->looked = v->used;
    v->collect_at = v->used + (v->used > COLLECT_STEP ? v->used : COLLECT_STEP);
}

void bind_collect(lua_State *L) { collect(vm_of(L), L); }
void vm_collect(vm *v) { collect(v, v->L); }

/* An allocation fails: Lua collects and asks again, or gives up; either way we are called before the script continues
 * and can look. */
static void *no_room(vm *v)
{
    if (!v->aside || v->collecting) return NULL;
    if (v->hidden)
        bind_weak_show(v->aside);
    else
        bind_weak_hide(v->aside);
    v->hidden = !v->hidden;
    return NULL;
}

/* In front of each of Lua's blocks stands which of this VM's it was. */
static void *allocate(void *ud, void *p, size_t old, size_t new)
{
    vm *v = ud;
    char *block = p ? (char *)p - HEADER : NULL;
    if (!p) old = 0; /* then it is a type, not a size */
    if (new == 0) {
        free(block);
        v->used -= old;
        return NULL;
    }
    if (new > old && over(v, new - old)) return no_room(v);

    char *to = realloc(block, new + HEADER);
    if (!to) return no_room(v);
    if (new > old && v->hidden && !v->collecting) {
        bind_weak_show(v->aside);
        v->hidden = false;
    }
    if (!p) memcpy(to, &(uint64_t){ ++v->blocks }, sizeof v->blocks);
    v->used += new - old;
    grown(v);
    return to + HEADER;
}

/* Lua's objects begin where their blocks do; a coroutine's block begins with the space before it. */
uint64_t bind_born(lua_State *L, int index)
{
    const char *object = NULL;
    uint64_t born = 0;
    if (lua_iscfunction(L, index)) { /* one without upvalues is no object */
        if (!lua_getupvalue(L, index, 1)) return 0;
        lua_pop(L, 1);
    }

    if (lua_istable(L, index) || lua_isfunction(L, index))
        object = lua_topointer(L, index);
    else if (lua_isthread(L, index))
        object = lua_getextraspace(lua_tothread(L, index));
    if (object) memcpy(&born, object - HEADER, sizeof born);
    return born;
}

void bind_worked(lua_State *L, size_t bytes)
{
    vm *v = vm_of(L);
    v->worked += bytes;
    if (!v->armed || v->expired || v->worked < LOOK_BYTES) return;
    v->worked = 0;
    lua_sethook(L, watch, LUA_MASKCOUNT, 1);
}

bool bind_fits(lua_State *L, size_t bytes)
{
    vm *v = vm_of(L);
    if (!over(v, bytes)) return true;
    collect(v, L);
    bind_worked(L, v->used);
    return !over(v, bytes);
}

void *bind_owner(lua_State *L) { return vm_of(L); }
const char *bind_module_dir(lua_State *L) { return vm_of(L)->module_dir; }

static size_t print_room(vm *v, size_t bytes)
{
    size_t max = MAX_PRINTED;
    const size_t all = v->limits.print_bytes;
    if (all > 0 && all < v->said + max) max = all > v->said ? all - v->said : 0;

    const size_t left = v->printed < max ? max - v->printed : 0;
    v->printed = bytes < left ? v->printed + bytes : max;
    return left;
}

size_t bind_print_room(lua_State *L, size_t bytes) { return print_room(vm_of(L), bytes); }

/* What our libraries have to say that is no error: a line on stderr, within what print may say. */
static void warned(void *ud, const char *text, int more)
{
    str line = { 0 };
    (void)more;
    str_visible(&line, text, strnlen(text, MAX_WARNING));
    if (print_room(ud, line.len + 1) > line.len) fprintf(stderr, "%s\n", line.data);
    str_free(&line);
}

void *bind_outside(size_t bytes, void *owner)
{
    vm *v = owner;
    if (over(v, bytes + HEADER)) return NULL;
    size_t *p = malloc(bytes + HEADER);
    if (!p) return NULL;
    *p = bytes + HEADER;
    v->used += *p;
    return (char *)p + HEADER;
}

void bind_outside_free(void *p, void *owner)
{
    if (!p) return;
    size_t *header = (size_t *)(void *)((char *)p - HEADER);
    ((vm *)owner)->used -= *header;
    free(header);
}

static void expire(lua_State *L, lua_Debug *ar);

/* Raises with the line that was running: luaL_error would name the caller's. */
static void stop(lua_State *L, lua_Debug *ar, const char *why)
{
    lua_getinfo(L, "Sl", ar);
    lua_pushfstring(L, "%s:%d: %s", ar->short_src, ar->currentline, why);
    lua_error(L);
}

static void watch(lua_State *L, lua_Debug *ar)
{
    vm *v = vm_of(L);
    char why[64];
    const int count = lua_gethookcount(L);

    v->left -= count;
    v->looked = v->used;
    v->worked = 0;

    lua_getinfo(L, "Sl", ar);
    if (ar->source[0] == '@') snprintf(v->where, sizeof v->where, "%.60s:%d", ar->short_src, ar->currentline);

    if (v->used > v->collect_at) collect(v, L);
    const bool steps = v->limits.instructions && v->left <= 0;
    const bool time = v->limits.cpu_ms && clock_cpu_us() > v->deadline_us;
    if (!steps && !time) {
        if (count != HOOK_EVERY) lua_sethook(L, watch, LUA_MASKCOUNT, HOOK_EVERY);
        return;
    }

    v->expired = true;
    lua_sethook(L, expire, LUA_MASKCOUNT, 1);
    if (steps)
        snprintf(why, sizeof why, "stopped after %d million instructions", (int)(v->limits.instructions / 1000000));
    else
        snprintf(why, sizeof why, "stopped after %lld ms of CPU time", (long long)v->limits.cpu_ms);
    stop(L, ar, why);
}

/* From now on every instruction raises: pcall in a loop only wins one instruction a turn. */
static void expire(lua_State *L, lua_Debug *ar) { stop(L, ar, "stopped: a cap of this script was reached"); }

static void arm(vm *v)
{
    v->left = v->limits.instructions;
    v->deadline_us = v->limits.cpu_ms ? clock_cpu_us() + 1000 * v->limits.cpu_ms : 0;
    v->looked = v->used;
    v->said += v->printed;
    v->printed = 0;
    v->where[0] = 0;
    v->expired = false;
    v->armed = v->limits.instructions || v->limits.cpu_ms;
    lua_gc(v->L, v->armed ? LUA_GCSTOP : LUA_GCRESTART);
    if (v->armed && v->used > v->collect_at) collect(v, v->L);
    lua_sethook(v->L, v->armed ? watch : NULL, v->armed ? LUA_MASKCOUNT : 0, HOOK_EVERY);
}

static void disarm(vm *v)
{
    v->armed = false;
    lua_sethook(v->L, NULL, 0, 0);
}

/* ---- life ---- */

static int open_state(lua_State *L)
{
    vm_of(L)->aside = bind_weak_open(L);
    return bind_libraries(L);
}

vm *vm_new(vm_kind kind, const vm_limits *limits, const char *module_dir, error *err)
{
    vm *v = xcalloc(1, sizeof *v);
    v->kind = kind;
    if (limits) v->limits = *limits;
    if (module_dir) snprintf(v->module_dir, sizeof v->module_dir, "%s", module_dir);

    v->L = lua_newstate(allocate, v);
    if (!v->L) {
        free(v);
        error_set(err, ERR_MEMORY, "a Lua state does not fit its memory cap");
        return NULL;
    }

    *(vm **)lua_getextraspace(v->L) = v;
    lua_setwarnf(v->L, warned, v);
    if (vm_protect(v, open_state, NULL, err) == OK) return v;
    vm_free(v);
    return NULL;
}

void vm_free(vm *v)
{
    if (!v) return;
    lua_sethook(v->L, NULL, 0, 0);
    v->aside = NULL;
    lua_close(v->L);
    free(v);
}

lua_State *vm_state(vm *v) { return v->L; }
void vm_set_limits(vm *v, const vm_limits *limits) { v->limits = *limits; }
size_t vm_memory(const vm *v) { return v->used; }

/* "NAME:LINE"; of a long name only the end. Written without printf, which may take a lock and is called in a signal
 * handler here. */
static size_t place_text(const char *name, int line, char *out, size_t size)
{
    char digits[12];
    const size_t len = strlen(name), room = size - sizeof digits;
    size_t n = 0, at = 0;
    for (name += len > room ? len - room : 0; *name; name++) out[at++] = *name;
    out[at++] = ':';
    for (; line > 0; line /= 10) digits[n++] = (char)('0' + line % 10);
    while (n > 0) out[at++] = digits[--n];
    return at;
}

size_t vm_line(const vm *v, char *out, size_t size)
{
    lua_Debug ar;
    for (int level = 0; lua_getstack(v->L, level, &ar); level++) {
        lua_getinfo(v->L, "Sl", &ar);
        if (ar.source[0] == '@' && ar.currentline > 0) return place_text(ar.source + 1, ar.currentline, out, size);
    }
    return 0;
}

/* ---- calls ---- */

/* Lua cuts the beginning off a long path ("...pe/reward.lua:3: why"). With the whole of it in front, a sentence is
 * known by its file, and no caller adds that again. Pushes `text`, in which `name` is whole. */
static void push_with_whole_name(lua_State *L, const char *text, const char *name)
{
    const size_t cut = strcspn(text, ":"), end = cut > 3 ? cut - 3 : 0, whole = strlen(name);
    const bool is_end = end > 0 && end < whole && strncmp(name + whole - end, text + 3, end) == 0;

    if (is_end && strncmp(text, "...", 3) == 0)
        lua_pushfstring(L, "%s%s", name, text + cut);
    else
        lua_pushstring(L, text);
}

/* Whatever raises, the author reads a line of their own: an error from C, from a function in tail position or from our
 * libraries names none. It runs where the error was raised, with the stack still there. */
static int blame(lua_State *L)
{
    lua_Debug ar;
    char place[LUA_IDSIZE + 4];
    if (lua_type(L, 1) != LUA_TSTRING) {
        lua_pushfstring(L, "the script raised an error value that is a %s, not a string", luaL_typename(L, 1));
        lua_replace(L, 1);
    }

    const char *text = lua_tostring(L, 1);
    for (int level = 1; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.source[0] != '@' || ar.currentline <= 0) continue;
        snprintf(place, sizeof place, "%s:", ar.short_src);
        if (!strstr(text, place)) lua_pushfstring(L, "%s%d: %s", place, ar.currentline, text);
        push_with_whole_name(L, lua_tostring(L, -1), ar.source + 1);
        break;
    }
    return 1;
}

static int take_error(vm *v, int status, error *err)
{
    size_t len = 0;
    str shown = { 0 };
    const char *text = lua_tolstring(v->L, -1, &len);
    if (!text) len = 0; /* it says nothing that is text */
    str_visible(&shown, text, len < sizeof err->text ? len : sizeof err->text);

    int code = v->expired ? ERR_TIMEOUT : ERR_SCRIPT;
    if (status == LUA_ERRMEM) {
        code = ERR_LIMIT;
        error_set(err, code, "%s%snot enough memory (cap %zu MB)", v->where, v->where[0] ? ": about here: " : "",
                  v->limits.memory_bytes >> 20);
    } else {
        error_set(err, code, "%s", str_text(&shown));
    }
    str_free(&shown);
    lua_pop(v->L, 1);
    return code;
}

/* The function and its arguments are on top; afterwards the results, or nothing. */
static int call(vm *v, int n_args, int n_results, error *err)
{
    const int handler = lua_gettop(v->L) - n_args;
    lua_pushcfunction(v->L, blame);
    lua_insert(v->L, handler);

    arm(v);
    const int status = lua_pcall(v->L, n_args, n_results, handler);
    disarm(v);
    lua_remove(v->L, handler);
    return status == LUA_OK ? OK : take_error(v, status, err);
}

int vm_call(vm *v, int n_args, int n_results, error *err) { return call(v, n_args, n_results, err); }

int vm_protect(vm *v, int (*body)(lua_State *L), void *arg, error *err)
{
    lua_pushcfunction(v->L, body);
    lua_pushlightuserdata(v->L, arg);
    return call(v, 1, 0, err);
}

/* Gives the chunk on top of the stack our environment. Before each run, since a chunk can set its own _ENV. */
static void set_environment(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "troupe.env");
    lua_setupvalue(L, -2, 1);
}

static int load_text(vm *v, const char *text, size_t len, const char *name, error *err)
{
    char chunk[1200];
    const size_t mark = utf8_mark(text, len);
    snprintf(chunk, sizeof chunk, "@%s", name);

    const int status = luaL_loadbufferx(v->L, text + mark, len - mark, chunk, "t");
    if (status != LUA_OK) {
        if (lua_type(v->L, -1) == LUA_TSTRING) {
            push_with_whole_name(v->L, lua_tostring(v->L, -1), name);
            lua_remove(v->L, -2);
        }
        const int rc = take_error(v, status, err);
        const bool binary = len > mark && text[mark] == LUA_SIGNATURE[0]; /* the one error that names no file */
        return binary && err ? error_within(err, "%s", name) : rc;
    }

    set_environment(v->L);
    return OK;
}

void vm_push_chunk(vm *v, int ref)
{
    bind_forget_names(v->L);
    lua_rawgeti(v->L, LUA_REGISTRYINDEX, ref);
    set_environment(v->L);
}

int vm_run_text(vm *v, const char *text, size_t len, const char *name, int n_results, error *err)
{
    const int rc = load_text(v, text, len, name, err);
    return rc == OK ? vm_call(v, 0, n_results, err) : rc;
}

int vm_load_file(vm *v, const char *path, error *err)
{
    size_t len;
    char *text = file_read(path, MAX_SCRIPT_BYTES, &len, err);
    if (!text) return err ? err->code : ERR_IO;
    const int rc = load_text(v, text, len, path, err);
    free(text);
    return rc;
}

int vm_run_file(vm *v, const char *path, int n_results, error *err)
{
    const int rc = vm_load_file(v, path, err);
    return rc == OK ? vm_call(v, 0, n_results, err) : rc;
}

char *vm_required(vm *v, int i)
{
    char *path = NULL;
    lua_State *L = v->L;
    const int top = lua_gettop(L);
    if (lua_getfield(L, LUA_REGISTRYINDEX, REQUIRED) == LUA_TTABLE && lua_rawgeti(L, -1, i + 1) == LUA_TSTRING)
        path = xstrdup(lua_tostring(L, -1));
    lua_settop(L, top);
    return path;
}

int vm_keep(vm *v) { return luaL_ref(v->L, LUA_REGISTRYINDEX); }
void vm_drop(vm *v, int ref) { luaL_unref(v->L, LUA_REGISTRYINDEX, ref); }
