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
    int voice;
    double low, high;
    char names[4][8];
    int n_names;
} settings;

#define AT(m) OPTION_AT(settings, m)
#define VOICES(X)                                                                                                      \
    X(VOICE_LOW, "low", "")                                                                                            \
    X(VOICE_HIGH, "high", "")
typedef enum voice { VOICES(WORDS_MEMBER) } voice;
static const word_row VOICE_WORDS[] = { VOICES(WORDS_ROW){ 0 } };
static const option_preset PRESETS[] = { { "plain", "", "" }, { "shrill", "voice=high clip=0.1,0.2", "" }, { 0 } };

static int read_list(void *to, const json_t *value, option_reading *r)
{
    settings *s = to;
    return option_names(r, "names", value, 1, 4, s->names[0], sizeof s->names[0], &s->n_names);
}

static const option ROWS[] = {
    { "name", OPTION_TEXT, AT(name), 0, 0, "run", .help = "" },
    { "rollout.group", OPTION_WHOLE, AT(group), 2, 64, "8", .help = "" },
    { "optim.lr", OPTION_NUMBER, AT(lr), 0, 10, "0.1", .help = "" },
    { "loud", OPTION_BOOL, AT(loud), 0, 0, "false", .help = "" },
    { "say.voice", OPTION_WORD, AT(voice), 0, 0, "low", .help = "", .words = VOICE_WORDS },
    { "say.clip", OPTION_PAIR, AT(low), 0, 1, "0.2,0.3", .help = "" },
    { "say.name", OPTION_PRESETS, 0, 0, 0, 0, "plain", .help = "", .presets = PRESETS },
    { "names", OPTION_VALUE, 0, 0, 0, 0, "", .help = "", .read = read_list },
    { "env.tools", OPTION_VALUE, 0, 0, 0, 0, "", .help = "" },
    { 0 },
};
static const option_table TABLE = { .rows = ROWS };

static bool is_right(const settings *s)
{
    return s->group >= 2 && s->group <= 64 && s->lr >= 0 && s->lr <= 10 && memchr(s->name, 0, sizeof s->name) &&
           (s->voice == VOICE_LOW || s->voice == VOICE_HIGH) && s->low >= 0 && s->low < 1 && s->high >= 0 &&
           s->high < 1 && s->n_names >= 0 && s->n_names <= 4;
}

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
    const config_part parts[] = { { &TABLE, &s }, { 0 } };
    int rc = config_open(&c, v, path, NULL, 0, &err);
    if (rc == OK) rc = config_read(&c, parts, &err);
    if (rc != OK && (!err.text[0] || err.code != rc)) abort();
    if (rc == OK && !is_right(&s)) abort();
    config_close(&c);
    vm_free(v);
    unlink(path);
    return 0;
}
