/* SPDX-License-Identifier: MIT */
/* fuzz_dataset - any bytes are rows of a data set, each a JSON object within its limit, or an error that names the
 * line. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/json.h"
#include "rollout/dataset.h"
#include "rollout/task.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_rows(dataset *d)
{
    const uint64_t n = dataset_size(d);
    if (n == 0) abort();
    for (uint64_t i = 0; i < n; i++) {
        const char *row = dataset_row(d, i);
        if (strlen(row) > MAX_ROW_BYTES) abort();
        json_t *json = json_parse(row, strlen(row), "row", NULL);
        if (!json_is_object(json)) abort();
        json_decref(json);
        if (dataset_visit(d, 7, i) >= n) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    error err = { 0 };
    const int fd = memfd_create("rows", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    dataset *d = dataset_open(path, 0, &err);
    if (d)
        must_be_rows(d);
    else if (err.code == OK || !strstr(err.text, path))
        abort();
    dataset_free(d);
    close(fd);
    return 0;
}
