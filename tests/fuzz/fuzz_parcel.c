/* SPDX-License-Identifier: MIT */
/* fuzz_parcel - whatever list and chunks a learner sends, a worker's folder holds afterwards only files that the list
 * names, each of the size and hash that it says, and nothing beside the folder has changed; or there is an error with a
 * sentence.
 *
 * Input: a WELCOME's or another message's bytes (u16 length, bytes), one after the other, as they came over the wire.
 * Numbers of bytes in a list are taken modulo 64, so that files can be finished. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "proto/parcel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SMALL = 64 };

static char outside[64], inside[96];

static void make_folders(void)
{
    snprintf(outside, sizeof outside, "%s", "/tmp/troupe-fuzz-parcel-XXXXXX");
    if (!mkdtemp(outside)) abort();
    snprintf(inside, sizeof inside, "%s/in", outside);
    if (mkdir(inside, 0700) != 0) abort();
}

static int count_entries(const char *path)
{
    int n = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    if (d) closedir(d);
    return n;
}

/* The files of the list that are there are what it says. */
static void must_be_whole(const parcel_list *list, bool all)
{
    for (uint32_t i = 0; i < list->n_files; i++) {
        char path[256];
        uint64_t hash = 0, bytes = 0;
        const parcel_file *f = &list->files[i];
        path_join(path, sizeof path, inside, f->name);
        if (!file_exists(path) && !all) continue;
        if (file_hash(path, &hash, &bytes, NULL) != OK || bytes != f->bytes || hash != f->hash) abort();
    }
}

static delivery *begin(const message *m, parcel_list *list)
{
    error err = { 0 };
    for (uint32_t i = 0; i < m->welcome.recipe.n_files; i++) m->welcome.recipe.files[i].bytes %= SMALL;
    delivery *d = delivery_new(&m->welcome.recipe, inside, &err);
    if (!d && !*err.text) abort();
    if (d) parcel_list_copy(list, &m->welcome.recipe);
    return d;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    delivery *d = NULL;
    parcel_list list = { 0 };
    bool wrong = false;
    make_folders();
    while (size >= 2 && !wrong) {
        size_t len = (size_t)(data[0] | data[1] << 8);
        message m;
        error err = { 0 };
        data += 2, size -= 2;
        if (len > size) len = size;
        if (message_decode(&m, data, len, NULL) == OK) {
            if (m.type == MSG_WELCOME && !d) d = begin(&m, &list);
            if (m.type == MSG_RECIPE_CHUNK && d) wrong = delivery_take(d, &m.recipe_chunk, &err) != OK;
            if (wrong && !*err.text) abort();
        }
        message_reset(&m);
        data += len, size -= len;
    }
    recipe_get_body get;
    if (d) must_be_whole(&list, !wrong && !delivery_next(d, &get));
    if (count_entries(outside) != 1) abort();
    delivery_free(d);
    parcel_list_reset(&list);
    dir_remove_all(outside, NULL);
    return 0;
}
