/* SPDX-License-Identifier: MIT */
#include "run/last_words.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

/* Of a log's end: a sentence of ours is short, but a library may say much after it. */
enum { TEXT_BYTES = 8192 };

int last_words_begin(last_words *w, int log, int *child_end, error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return error_sys(err, errno, "cannot create a pipe for its last words");
    w->fd = ends[0];
    w->log_from = lseek(log, 0, SEEK_END);
    *child_end = ends[1];
    return OK;
}

static bool starts(const char *line, const char *word) { return strncmp(line, word, strlen(word)) == 0; }

bool last_words_poll(last_words *w, char *why, size_t size)
{
    char text[TEXT_BYTES + 1];
    if (w->fd < 0) return false;
    const ssize_t n = read(w->fd, text, sizeof text - 1);
    if (n <= 0) return false; /* nothing yet (EAGAIN), or the child's end is closed */
    text[n] = '\0';

    char *rest = text;
    bool lost = false;
    for (char *line; (line = strsep(&rest, "\n"));) {
        if (starts(line, LOG_IS_LOST)) {
            snprintf(why, size, "%s", line + strlen(LOG_IS_LOST));
            lost = true;
        } else {
            str_printf(&w->heard, "%s\n", line);
        }
    }
    return lost;
}

/* "troupe: actor: what": what. */
static const char *sentence_in(const char *line)
{
    static const char *const OURS[] = { "troupe: ", "learner: ", "actor: ", "reward: " };
    for (size_t i = 0; i < sizeof OURS / sizeof *OURS; i++)
        if (starts(line, OURS[i])) line += strlen(OURS[i]);
    return line;
}

/* The last sentence of our own in `text`; where there is none, the last line that is not of the log's everyday. */
static void last_line(char *text, char *out, size_t size)
{
    bool own = false; /* a sentence of ours was found: lines of libraries after it (exit handlers) count no more */
    out[0] = '\0';
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        const bool ours = starts(line, "troupe: ");
        if (!line[strspn(line, " \t\r")] || (own && !ours)) continue;
        if (starts(line, "info") || starts(line, "debug") || starts(line, "warn")) continue;
        snprintf(out, size, "%s", sentence_in(line));
        own = ours;
    }
}

/* The end of its log, as far as it is of this life. */
static void read_log(const last_words *w, const char *log_path, char text[TEXT_BYTES + 1])
{
    text[0] = '\0';
    const int log = file_open(log_path, O_RDONLY, 0, NULL);
    if (log < 0) return;

    const off_t end = lseek(log, 0, SEEK_END);
    off_t from = w->log_from;
    if (end - from > TEXT_BYTES) from = end - TEXT_BYTES;
    const ssize_t n = pread(log, text, TEXT_BYTES, from);
    text[n > 0 ? n : 0] = '\0';
    close(log);
}

static void close_pipe(last_words *w)
{
    if (w->fd >= 0) close(w->fd);
    w->fd = -1;
}

void last_words_end(last_words *w, const char *log_path, char *out, size_t size)
{
    char text[TEXT_BYTES + 1];
    snprintf(text, sizeof text, "%s", str_text(&w->heard));
    str_clear(&w->heard);
    close_pipe(w);

    if (!text[strspn(text, "\n")]) read_log(w, log_path, text);
    last_line(text, out, size);
}

void last_words_free(last_words *w)
{
    close_pipe(w);
    str_free(&w->heard);
}
