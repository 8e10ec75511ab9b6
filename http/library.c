/* SPDX-License-Identifier: MIT */
#include "http/library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static curl_library loaded;
static const char *problem = "libcurl4 is not installed"; /* NULL: there is none */

static void find_functions(void *library)
{
#define CURL_FIND(name)                                                                                                \
    void *const found_##name = dlsym(library, "curl_" #name);                                                          \
    memcpy(&loaded.name, &found_##name, sizeof loaded.name); /* C has no cast from an object to a function */          \
    if (!found_##name) problem = "libcurl has no curl_" #name ": it is too old";
    CURL_FUNCTIONS(CURL_FIND)
#undef CURL_FIND
}

/* Debian has it with OpenSSL, and as another library with GnuTLS. */
static void load(void)
{
    static const char *const NAMES[] = { "libcurl.so.4", "libcurl-gnutls.so.4" };
    void *library = NULL;
    for (size_t i = 0; !library && i < sizeof NAMES / sizeof *NAMES; i++)
        library = dlopen(NAMES[i], RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    problem = NULL;
    find_functions(library);
    if (!problem && loaded.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) problem = "libcurl cannot be initialised";
}

const curl_library *curl_library_get(error *err)
{
    pthread_once(&once, load);
    if (!problem) return &loaded;
    error_set(err, ERR_UNSUPPORTED, "there is no HTTP: %s", problem);
    return NULL;
}
