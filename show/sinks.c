/* SPDX-License-Identifier: MIT */
#include "show/sinks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"

enum { MAX_METRICS_FILE = 1 << 30 };

struct sinks {
    int fd, report_fd;
    char path[1024];
};

/* Whether a line is of a step that stays done. The evaluation of the last one kept is played again. */
static bool is_kept(const char *line, size_t len, int64_t keep_step)
{
    int64_t step = -1;
    const char *event = "";
    json_t *json = json_parse(line, len, "metrics.jsonl", NULL);
    if (json) json_opt_int(json, "step", "metrics.jsonl", -1, &step, NULL);
    if (json) json_opt_string(json, "event", "metrics.jsonl", "", &event, NULL);
    const bool is_eval = strcmp(event, "eval") == 0;
    json_decref(json);

    if (step < 0) return false; /* half a line, or none of ours */
    return step < keep_step || (step == keep_step && !is_eval);
}

/* A crash may have left half a line or steps that will be done again: both go. */
static int cut_behind(const char *path, int64_t keep_step, error *err)
{
    size_t len;
    if (!file_exists(path)) return OK;
    char *text = file_read(path, MAX_METRICS_FILE, &len, err);
    if (!text) return err ? err->code : ERR_IO;

    str kept = { 0 };
    for (char *line = text, *end; (end = memchr(line, '\n', len - (size_t)(line - text))); line = end + 1)
        if (is_kept(line, (size_t)(end - line), keep_step)) str_add(&kept, line, (size_t)(end - line) + 1);

    /* under its name only when whole: a crash right here must not lose the lines of all steps */
    const int rc = file_write_atomic(path, str_text(&kept), kept.len, err);
    str_free(&kept);
    free(text);
    return rc;
}

sinks *sinks_open(const char *run_dir, int report_fd, int64_t keep_step, error *err)
{
    sinks *s = xcalloc(1, sizeof *s);
    s->report_fd = report_fd;
    s->fd = -1;
    path_join(s->path, sizeof s->path, run_dir, "metrics.jsonl");

    if (cut_behind(s->path, keep_step, err) == OK) {
        s->fd = file_open(s->path, O_WRONLY | O_CREAT | O_APPEND, 0644, err);
        if (s->fd >= 0) return s;
    }
    sinks_close(s);
    return NULL;
}

void sinks_close(sinks *s)
{
    if (!s) return;
    if (s->fd >= 0) close(s->fd);
    free(s);
}

static void line_of(str *line, const char *event, int64_t step, const metrics *m)
{
    size_t n;
    const metric *all = metrics_all(m, &n);
    str_printf(line, "{\"event\": \"%s\", \"step\": %" PRId64 ", \"unix_ms\": %" PRId64, event, step, clock_unix_ms());
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(all[i].value)) continue; /* JSON has no NaN; a reader takes an absent key for one */
        str_puts(line, ", ");
        str_json(line, all[i].name, strlen(all[i].name));
        str_printf(line, ": %.9g", all[i].value);
    }
    str_putc(line, '}');
}

int sinks_write(sinks *s, const char *event, int64_t step, const metrics *m, error *err)
{
    str line = { 0 };
    line_of(&line, event, step, m);

    const int rc = file_append_line(s->fd, line.data, line.len, err);
    if (s->report_fd >= 0) file_append_line(s->report_fd, line.data, line.len, NULL); /* a supervisor may be gone */
    str_free(&line);
    return rc == OK ? OK : error_within(err, "%s", s->path);
}

void sinks_say(sinks *s, const char *sentence) { sinks_tell(s, "say", sentence); }

void sinks_tell(sinks *s, const char *event, const char *text)
{
    if (!s || s->report_fd < 0) return;

    str line = { 0 };
    str_printf(&line, "{\"event\": \"%s\", \"text\": ", event);
    str_json(&line, text, strlen(text));
    str_putc(&line, '}');
    file_append_line(s->report_fd, line.data, line.len, NULL);
    str_free(&line);
}
