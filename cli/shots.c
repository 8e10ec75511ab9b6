#include "cli/shots.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "base/vec.h"

enum { MAX_FILE = 64 << 20 };

static int need_text(const json_t *shot, const char *key, error *err)
{
    if (json_is_string(json_object_get(shot, key))) return OK;
    return error_set(err, ERR_PARSE, "a shot needs \"%s\" (text)%s", key,
                     json_object_get(shot, key) ? ", found another type" : "");
}

static int check_step(const json_t *step, size_t i, error *err)
{
    int rc = need_text(step, "tool", err);
    if (rc == OK) rc = need_text(step, "result", err);
    if (rc == OK && !json_is_object(json_object_get(step, "arguments")))
        rc = error_set(err, ERR_PARSE, "a shot's step needs \"arguments\" (an object)");
    return rc == OK ? OK : error_within(err, "step %zu", i + 1);
}

static int check_shot(const json_t *shot, error *err)
{
    const json_t *steps = json_object_get(shot, "steps");
    if (!json_is_object(shot)) return error_set(err, ERR_PARSE, "a shot is an object");
    int rc = need_text(shot, "prompt", err);
    if (rc == OK) rc = need_text(shot, "answer", err);
    if (rc == OK && steps && !json_is_array(steps)) rc = error_set(err, ERR_PARSE, "a shot's \"steps\" are a list");
    for (size_t i = 0; rc == OK && i < json_array_size(steps); i++) rc = check_step(json_array_get(steps, i), i, err);
    return rc;
}

int shots_read(shot_pool *s, const char *path, error *err)
{
    size_t len;
    int rc = OK, number = 1;
    char *text = file_read(path, MAX_FILE, &len, err);
    if (!text) return err ? err->code : ERR_IO;
    for (char *line = text + utf8_mark(text, len), *end; rc == OK && line < text + len; line = end + 1, number++) {
        end = memchr(line, '\n', len - (size_t)(line - text));
        if (!end) end = text + len;
        if (strspn(line, " \t\r") >= (size_t)(end - line)) continue;
        json_t *shot = json_parse(line, (size_t)(end - line), "shot", err);
        rc = shot ? check_shot(shot, err) : ERR_PARSE;
        if (rc == OK)
            vec_push(s, xstrndup(line, (size_t)(end - line)));
        else
            error_within(err, "%s:%d", path, number);
        json_decref(shot);
    }
    free(text);
    return rc == OK && s->len == 0 ? error_set(err, ERR_PARSE, "%s holds no shot", path) : rc;
}

void shots_free(shot_pool *s)
{
    for (size_t i = 0; i < s->len; i++) free(s->data[i]);
    vec_free(s);
}
