/* SPDX-License-Identifier: MIT */
/* fuzz_recipe - any text as a recipe: it is read, or one sentence says what is wrong and where. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/held_folder.h"
#include "lua/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct settings {
    char name[16];
    int64_t group;
    double lr;
    bool loud;
} settings;

#define AT(m) offsetof(settings, m), sizeof(((settings *)0)->m)
static const config_row ROWS[] = {
    { "name", CONFIG_TEXT, AT(name), 0, 0, "run", "" },      { "rollout.group", CONFIG_INT, AT(group), 2, 64, "8", "" },
    { "optim.lr", CONFIG_NUMBER, AT(lr), 0, 10, "0.1", "" }, { "loud", CONFIG_BOOL, AT(loud), 0, 0, "false", "" },
    { "env.tools", CONFIG_VALUE, 0, 0, 0, 0, NULL, "" },     { NULL, CONFIG_VALUE, 0, 0, 0, 0, NULL, NULL },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const vm_limits limits = { .memory_bytes = 8 << 20, .instructions = 1000000, .cpu_ms = 1000 };
    char path[120];
    error err = { 0 };
    config c = { 0 };
    settings s = { 0 };
    snprintf(path, sizeof path, "%s/fuzz-recipe-%d.lua", temporary_root(), (int)getpid());
    FILE *f = fopen(path, "we");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0) abort();
    vm *v = vm_new(VM_RECIPE, &limits, "/nowhere", &err);
    if (!v) abort();
    int rc = config_open(&c, v, path, NULL, 0, &err);
    if (rc == OK) rc = config_read(&c, ROWS, &s, &err);
    if (rc != OK && (!err.text[0] || err.code != rc)) abort();
    if (rc == OK && (s.group < 2 || s.group > 64 || !(s.lr >= 0 && s.lr <= 10) || !memchr(s.name, 0, sizeof s.name)))
        abort();
    config_close(&c);
    vm_free(v);
    unlink(path);
    return 0;
}
