/* SPDX-License-Identifier: MIT */
#include "cli/makeshift.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "cli/adapter.h"

static const char MCP[] = "mcp:", ROWS[] = "rows.jsonl";

/* ---- what PLUGIN is ---- */

static bool ends_in(const char *word, const char *ending)
{
    const size_t n = strlen(word), len = strlen(ending);
    return n > len && strcmp(word + n - len, ending) == 0;
}

static bool is_plugin_file(const char *word) { return ends_in(word, ".lua") || ends_in(word, ".so"); }
/* A file with a colon in its name is a file. */
static bool is_named(const char *word) { return strchr(word, ':') && !strchr(word, ' ') && !file_exists(word); }
static bool is_mcp(const makeshift_words *w) { return w->plugin && strncmp(w->plugin, MCP, sizeof MCP - 1) == 0; }
static bool is_python(const makeshift_words *w) { return w->plugin && !is_mcp(w) && is_named(w->plugin); }

static int check_program(const char *word, error *err)
{
    char *found = process_find(word);
    const bool runs = found && access(found, X_OK) == 0 && !dir_exists(found);
    free(found);
    if (runs) return OK;
    if (!file_exists(word))
        return error_set(err, ERR_ARGUMENT,
                         "there is no %.300s: expected a .lua or .so, KIND:NAME, or a program (-- COMMAND ...)", word);
    return error_set(err, ERR_ARGUMENT, "%.300s is not a program: -- COMMAND ... plays one, such as: -- python3 %.300s",
                     word, word);
}

static int check_plugin(const makeshift_words *w, error *err)
{
    if (!w->plugin || is_mcp(w)) return OK;
    if (is_python(w)) return adapter_check_name(w->plugin, err);
    if (!is_plugin_file(w->plugin)) return check_program(w->plugin, err);
    return file_exists(w->plugin) ? OK : error_set(err, ERR_IO, "there is no file %.300s", w->plugin);
}

/* ---- the recipe ---- */

/* A text as Lua quotes it. */
static void add_quoted(str *out, const char *text)
{
    str_putc(out, '"');
    for (const char *c = text; *c; c++) {
        const bool plain = (unsigned char)*c >= ' ' && *c != '"' && *c != '\\';
        str_printf(out, plain ? "%c" : "\\%03d", (unsigned char)*c);
    }
    str_putc(out, '"');
}

static void add_command(str *out, const char *const *words, int n)
{
    str_puts(out, "command = { ");
    for (int i = 0; i < n; i++) {
        add_quoted(out, words[i]);
        str_puts(out, ", ");
    }
    str_puts(out, "}, ");
}

/* mcp:http://... or mcp:COMMAND, whose words are apart by blanks. */
static void add_server(str *out, const char *server)
{
    if (strncmp(server, "http://", 7) == 0 || strncmp(server, "https://", 8) == 0) {
        str_puts(out, "url = ");
        add_quoted(out, server);
        return;
    }
    str_puts(out, "command = { ");
    char *text = xstrdup(server), *rest = text;
    for (char *word; (word = strsep(&rest, " "));)
        if (*word) {
            add_quoted(out, word);
            str_puts(out, ", ");
        }
    str_puts(out, "}");
    free(text);
}

/* As many beside each other as the recipe has that `troupe env import` writes. */
static void add_python(str *out, const makeshift_words *w, const adapter *a)
{
    add_command(out, (const char *[]){ a->python, a->program, w->plugin }, 3);
    str_puts(out, "instances = 4, start = 300, ");
}

/* The keys that a recipe has to have are there, and name nothing: no run is made of this one. */
static void add_recipe(str *out, const makeshift_words *w, const adapter *a)
{
    char real[PATH_MAX] = "";
    const bool file = w->plugin && is_plugin_file(w->plugin) && realpath(w->plugin, real);
    str_printf(out,
               "local T = require \"troupe\"\nreturn { model = \"none\", data = { train = \"%s\" },\n"
               "reward = { script = \"none\", objectives = { none = 1 } }, env = { ",
               ROWS);
    if (file) {
        str_puts(out, "plugin = ");
        add_quoted(out, real);
        str_puts(out, ", ");
    }

    str_puts(out, is_mcp(w) ? "tools = { T.mcp{ " : "tools = { T.env{ ");
    if (is_mcp(w))
        add_server(out, w->plugin + sizeof MCP - 1);
    else if (is_python(w))
        add_python(out, w, a);
    else if (!file)
        add_command(out, w->plugin ? &w->plugin : w->command, w->plugin ? 1 : w->n_command);
    if (!is_mcp(w)) {
        str_puts(out, "config = require \"troupe.json\".decode(");
        add_quoted(out, w->config ? w->config : "{}");
        str_puts(out, ")");
    }
    str_puts(out, " } } } }\n");
}

/* ---- its rows ---- */

static int make_rows(const makeshift_words *w, const adapter *a, const char *path, int *status, error *err)
{
    char rows[24];
    const int out = file_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600, err);
    if (out < 0) return err->code;
    snprintf(rows, sizeof rows, "%" PRId64, w->rows);
    const char *words[] = { w->plugin, "--rows", rows, "--config", w->config ? w->config : "{}", NULL };
    const int rc = adapter_run(a, words, out, status, err);
    close(out);
    return rc;
}

static int write_row(const makeshift_words *w, const char *path, error *err)
{
    str line = { 0 };
    if (!w->row && w->rows > 0) fprintf(stderr, "no --row was given: each episode's row is {}\n");
    str_puts(&line, w->row ? w->row : "{}");
    for (char *c = line.data; *c; c++)
        if (*c == '\n' || *c == '\r') *c = ' '; /* between the parts of JSON; within a text it has none */
    str_putc(&line, '\n');
    const int rc = file_write_atomic(path, line.data, line.len, err);
    str_free(&line);
    return rc;
}

/* ---- both ---- */

static int write_files(makeshift *m, const makeshift_words *w, const adapter *a, int *status, error *err)
{
    char path[256];
    str text = { 0 };
    add_recipe(&text, w, a);
    path_join(m->recipe, sizeof m->recipe, m->folder.path, "recipe.lua");
    int rc = file_write_atomic(m->recipe, text.data, text.len, err);
    str_free(&text);

    path_join(path, sizeof path, m->folder.path, ROWS);
    if (rc != OK) return rc;
    return is_python(w) && !w->row && w->rows > 0 ? make_rows(w, a, path, status, err) : write_row(w, path, err);
}

int makeshift_open(makeshift *m, const makeshift_words *w, int *status, error *err)
{
    adapter a = { 0 };
    *m = (makeshift){ 0 };
    if (check_plugin(w, err) != OK) return err->code;
    if (is_python(w) && adapter_find(&a, w->python, err) != OK) return err->code;
    if (held_folder_open(&m->folder, temporary_root(), "troupe-env", err) != OK) return err->code;
    const int rc = write_files(m, w, &a, status, err);
    if (rc != OK || *status != 0) makeshift_close(m);
    return rc;
}

void makeshift_unname(const makeshift *m, error *err)
{
    const size_t len = strlen(m->recipe);
    const char *rest = strncmp(err->text, m->recipe, len) == 0 ? strstr(err->text + len, ": ") : NULL;
    if (rest) memmove(err->text, rest + 2, strlen(rest + 2) + 1);
}

void makeshift_close(makeshift *m) { held_folder_close(&m->folder); }
