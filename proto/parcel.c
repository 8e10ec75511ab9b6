/* SPDX-License-Identifier: MIT */
#include "proto/parcel.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"

/* ---- the list ---- */

static bool is_component(const char *name, size_t len)
{
    if (len == 0 || name[0] == '.') return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i])) return false;
    return true;
}

static bool is_name(const char *name)
{
    static const char *const FOLDERS[] = { "prompt/", "reward/", "model/", "env/" };
    for (size_t i = 0; i < sizeof FOLDERS / sizeof *FOLDERS; i++) {
        const size_t len = strlen(FOLDERS[i]);
        if (strncmp(name, FOLDERS[i], len) == 0) return is_component(name + len, strlen(name + len));
    }
    return is_component(name, strlen(name));
}

static int check_name(const char *name, error *err)
{
    str shown = { 0 };
    if (is_name(name)) return OK;

    str_visible(&shown, name, strlen(name));
    error_set(err, ERR_PARSE,
              "a file '%s' (letters, digits, '.', '_' and '-' are allowed, and the folders prompt, reward, model and "
              "env)",
              str_text(&shown));
    str_free(&shown);
    return ERR_PARSE;
}

/* A folder and a file can't have one name. */
static bool clashes(const char *a, const char *b)
{
    const size_t n = strlen(a);
    return strcmp(a, b) == 0 || (strncmp(a, b, n) == 0 && b[n] == '/');
}

static const parcel_file *file_named(const parcel_list *list, const char *name)
{
    for (uint32_t i = 0; i < list->n_files; i++)
        if (strcmp(list->files[i].name, name) == 0) return &list->files[i];
    return NULL;
}

static int check_files(const parcel_list *list, error *err)
{
    uint64_t bytes = 0;

    if (list->n_files > PARCEL_FILES)
        return error_set(err, ERR_PARSE, "%" PRIu32 " files (at most %d are allowed)", list->n_files, PARCEL_FILES);

    for (uint32_t i = 0; i < list->n_files; i++) {
        const parcel_file *f = &list->files[i];

        if (check_name(f->name, err) != OK) return ERR_PARSE;
        for (uint32_t k = 0; k < list->n_files; k++)
            if (k != i && clashes(f->name, list->files[k].name))
                return error_set(err, ERR_PARSE, "the name '%s' occurs twice", f->name);

        if (f->bytes > PARCEL_BYTES - bytes)
            return error_set(err, ERR_PARSE,
                             "'%s' of %" PRIu64 " bytes, %" PRIu64 " with the files before it (at most %d MB "
                             "are allowed in all)",
                             f->name, f->bytes, bytes, PARCEL_BYTES >> 20);
        bytes += f->bytes;
    }
    return OK;
}

static bool is_word(const char *text)
{
    const size_t key = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.");
    return key > 0 && text[key] == '=' && strlen(text) <= PARCEL_WORD_BYTES;
}

int parcel_check_list(const parcel_list *list, error *err)
{
    if (check_files(list, err) != OK) return ERR_PARSE;
    if (list->n_words > PARCEL_WORDS)
        return error_set(err, ERR_PARSE, "%" PRIu32 " key=value words (at most %d are allowed)", list->n_words,
                         PARCEL_WORDS);

    for (uint32_t i = 0; i < list->n_words; i++)
        if (!list->words[i].text || !is_word(list->words[i].text))
            return error_set(err, ERR_PARSE, "word %" PRIu32 ", which is not a key=value of at most %d bytes", i + 1,
                             PARCEL_WORD_BYTES);
    return OK;
}

#define REMEDY " (started without RECIPE.lua, a worker is sent the learner's)"

int parcel_compare(const parcel_list *theirs, const parcel_list *mine, error *err)
{
    if (!mine || mine->n_files == 0) return OK;
    for (uint32_t i = 0; i < theirs->n_files; i++) {
        const parcel_file *f = &theirs->files[i], *own = file_named(mine, f->name);

        if (own && own->hash == f->hash && own->bytes == f->bytes) continue;
        if (!own)
            return error_set(err, ERR_STATE, "%.80s, which the learner's recipe has, is missing here" REMEDY, f->name);
        return error_set(err, ERR_STATE,
                         "%.80s is not the learner's: it has hash %016" PRIx64 " (%" PRIu64
                         " bytes), the one here %016" PRIx64 " (%" PRIu64 ")" REMEDY,
                         f->name, f->hash, f->bytes, own->hash, own->bytes);
    }
    return OK;
}

void parcel_list_copy(parcel_list *to, const parcel_list *from)
{
    *to = (parcel_list){ .n_files = from->n_files, .n_words = from->n_words };
    to->files = xcalloc(from->n_files + 1, sizeof *to->files);
    to->words = xcalloc(from->n_words + 1, sizeof *to->words);

    if (from->n_files > 0) memcpy(to->files, from->files, from->n_files * sizeof *to->files);
    for (uint32_t i = 0; i < from->n_words; i++) to->words[i].text = xstrdup(from->words[i].text);
}

void parcel_list_reset(parcel_list *list)
{
    for (uint32_t i = 0; i < list->n_words; i++) free(list->words[i].text);
    free(list->words);
    free(list->files);
    *list = (parcel_list){ 0 };
}

/* ---- the learner's ---- */

parcel *parcel_new(void)
{
    parcel *p = xcalloc(1, sizeof *p);
    p->list.files = xcalloc(PARCEL_FILES, sizeof *p->list.files);
    p->list.words = xcalloc(PARCEL_WORDS, sizeof *p->list.words);
    p->data = xcalloc(PARCEL_FILES, sizeof *p->data);
    return p;
}

void parcel_free(parcel *p)
{
    if (!p) return;
    for (uint32_t i = 0; i < p->list.n_files; i++) free(p->data[i]);
    free(p->data);
    parcel_list_reset(&p->list);
    free(p);
}

int parcel_add(parcel *p, const char *name, const char *path, error *err)
{
    size_t len = 0;
    parcel_file *f = &p->list.files[p->list.n_files];

    if (p->list.n_files == PARCEL_FILES) return error_set(err, ERR_LIMIT, "%s: more than %d files", path, PARCEL_FILES);
    if (!is_name(name) || strlen(name) >= sizeof f->name || file_named(&p->list, name))
        return error_set(err, ERR_ARGUMENT,
                         "%s: it cannot be sent under the name '%.100s' (letters, digits, '.', '_' and '-', each once)",
                         path, name);

    char *data = file_read(path, PARCEL_BYTES - p->bytes, &len, err);
    if (!data) {
        const int rc = err ? err->code : ERR_IO;
        if (rc != ERR_LIMIT) return rc;
        return error_within(err, "a recipe's files are at most %d MB", PARCEL_BYTES >> 20);
    }

    *f = (parcel_file){ .bytes = len, .hash = hash_bytes(data, len, 0) };
    snprintf(f->name, sizeof f->name, "%s", name);
    p->data[p->list.n_files++] = data;
    p->bytes += len;
    return OK;
}

int parcel_add_word(parcel *p, const char *word, error *err)
{
    if (p->list.n_words == PARCEL_WORDS) return error_set(err, ERR_LIMIT, "more than %d key=value words", PARCEL_WORDS);
    if (!is_word(word))
        return error_set(err, ERR_LIMIT, "'%.60s': %zu bytes (at most %d are allowed)", word, strlen(word),
                         PARCEL_WORD_BYTES);
    p->list.words[p->list.n_words++].text = xstrdup(word);
    return OK;
}

/* Of the chunk at `offset`, which lies within the file. Both ends know it: a learner that drips bytes, each of them
 * progress, would keep a worker for ever. */
static size_t chunk_length(const parcel_file *f, uint64_t offset)
{
    const uint64_t left = f->bytes - offset;
    return left < PARCEL_CHUNK_BYTES ? (size_t)left : PARCEL_CHUNK_BYTES;
}

bool parcel_chunk_of(const parcel *p, const recipe_get_body *get, recipe_chunk_body *out)
{
    if (get->file >= p->list.n_files || get->offset >= p->list.files[get->file].bytes) return false;
    const size_t len = chunk_length(&p->list.files[get->file], get->offset);

    *out = (recipe_chunk_body){ .file = get->file, .offset = get->offset, .data = xmalloc(len), .len = len };
    memcpy(out->data, p->data[get->file] + get->offset, len);
    return true;
}

/* ---- the worker's ---- */

struct delivery {
    parcel_list list;
    int folder;    /* descriptor */
    uint32_t file; /* the one under way; n_files: all are there */
    str bytes;     /* of it */
};

static int make_folder(int at, const char *name, error *err)
{
    char folder[PARCEL_NAME];
    const char *slash = strchr(name, '/');
    if (!slash) return OK;

    snprintf(folder, sizeof folder, "%.*s", (int)(slash - name), name);
    if (mkdirat(at, folder, 0700) == 0 || errno == EEXIST) return OK;
    return error_sys(err, errno, "cannot create %s", folder);
}

/* Made anew: what is there already, a link above all, is an error. */
static int write_file(int at, const char *name, const str *bytes, error *err)
{
    if (make_folder(at, name, err) != OK) return ERR_IO;
    const int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return error_sys(err, errno, "cannot create %s", name);

    int rc = OK;
    for (size_t done = 0; rc == OK && done < bytes->len;) {
        const ssize_t n = write(fd, bytes->data + done, bytes->len - done);
        if (n > 0) done += (size_t)n;
        if (n < 0 && errno != EINTR) rc = error_sys(err, errno, "cannot write %s", name);
    }

    if (close(fd) != 0 && rc == OK) rc = error_sys(err, errno, "cannot write %s", name);
    return rc;
}

/* Writes down the file under way, and the empty ones after it, which need no request. */
static int finish_files(delivery *d, error *err)
{
    int rc = OK;

    while (rc == OK && d->file < d->list.n_files && d->bytes.len == d->list.files[d->file].bytes) {
        const parcel_file *f = &d->list.files[d->file];
        const uint64_t hash = hash_bytes(d->bytes.data, d->bytes.len, 0);

        if (hash != f->hash)
            return error_set(err, ERR_PEER, "%s: announced with hash %016" PRIx64 ", arrived with %016" PRIx64, f->name,
                             f->hash, hash);

        rc = write_file(d->folder, f->name, &d->bytes, err);
        str_clear(&d->bytes);
        d->file++;
    }
    return rc;
}

delivery *delivery_new(const parcel_list *list, const char *folder, error *err)
{
    if (parcel_check_list(list, err) != OK) return NULL;

    delivery *d = xcalloc(1, sizeof *d);
    parcel_list_copy(&d->list, list);

    d->folder = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (d->folder >= 0 && finish_files(d, err) == OK) return d;
    if (d->folder < 0) error_sys(err, errno, "cannot open %s", folder);
    delivery_free(d);
    return NULL;
}

void delivery_free(delivery *d)
{
    if (!d) return;
    if (d->folder >= 0) close(d->folder);
    parcel_list_reset(&d->list);
    str_free(&d->bytes);
    free(d);
}

bool delivery_next(const delivery *d, recipe_get_body *get)
{
    *get = (recipe_get_body){ .file = d->file, .offset = d->bytes.len };
    return d->file < d->list.n_files;
}

int delivery_take(delivery *d, const recipe_chunk_body *c, error *err)
{
    if (d->file == d->list.n_files || c->file != d->file || c->offset != d->bytes.len) return OK;
    const parcel_file *f = &d->list.files[d->file];
    const size_t len = chunk_length(f, c->offset);

    if (c->len != len)
        return error_set(err, ERR_PEER, "%s: a chunk of %zu bytes at %" PRIu64 " of %" PRIu64 " (expected %zu)",
                         f->name, c->len, c->offset, f->bytes, len);

    str_add(&d->bytes, c->data, c->len);
    return finish_files(d, err);
}
