/* SPDX-License-Identifier: MIT */
#include "cli/verbs.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- the command line ---- */

static void print_usage(const verb *v, FILE *to)
{
    if (v->usage) fputs(v->usage, to);
    if (v->print_usage) v->print_usage(to);
}

int call_misused(call *c)
{
    print_usage(c->verb, stderr);
    c->status = 2;
    return CALL_OVER;
}

int call_open(call *c, const flag *flags, error *err)
{
    const verb *v = c->verb;
    const syntax s = { .flags = flags, .words = v->words, .min = v->min_words, .max = v->max_words, .keys = v->keys };
    if (arguments_parse(&c->arguments, c->argc, c->argv, &s, err) != OK) {
        if (c->argc == 1) return call_misused(c); /* a verb alone asks how it goes */
        fprintf(stderr, "troupe: %s: %s\n'troupe %s --help' shows its usage\n", v->name, err->text, v->name);
        c->status = 2;
        return CALL_OVER;
    }
    if (!c->arguments.help) return OK;

    print_usage(v, stdout);
    c->prints_text = true;
    return CALL_OVER;
}

int call_checked(call *c, int rc)
{
    if (rc == ERR_ARGUMENT) c->status = 2;
    return rc;
}

int call_wrong(call *c, error *err, const char *format, ...)
{
    char sentence[sizeof err->text]; /* apart from err: what is said may quote the error that err holds */
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return call_checked(c, error_set(err, ERR_ARGUMENT, "%s", sentence));
}

/* ---- the end ---- */

/* Why standard output did not take all of what was printed: an errno; 0 when it did. stdio keeps no reason of a write
 * that failed in the middle, so one more line asks for it: the output is spoilt anyway. */
static int output_failure(void)
{
    const bool failed = ferror(stdout) != 0;
    if (fflush(stdout) != 0) return errno;
    if (failed) return putchar('\n') == EOF || fflush(stdout) != 0 ? errno : EIO;
    return close(STDOUT_FILENO) != 0 ? errno : 0; /* where a network file system says what was lost */
}

int verbs_finish_output(const char *name, int status)
{
    const int why = output_failure();
    if (why == 0) return status;
    fprintf(stderr, "troupe: %s%scannot write to standard output: %s\n", name, *name ? ": " : "", strerror(why));
    return status != 0 ? status : 1;
}

static int status_of(const call *c, int rc)
{
    if (c->status != 0 || rc == OK || rc == CALL_OVER) return c->status;
    return rc == ERR_INTERRUPTED ? STATUS_INTERRUPTED : 1;
}

int verb_main(const verb *v, int argc, char **argv)
{
    error err = { 0 };
    call c = { .verb = v, .argc = argc, .argv = argv };
    const int rc = v->run(&c, &err);
    if (rc != OK && rc != CALL_OVER) fprintf(stderr, "troupe: %s: %s\n", v->name, err.text);

    /* after the error: what was printed before it may be worth having, and is checked all the same */
    const int status = status_of(&c, rc);
    return v->reports && !c.prints_text ? status : verbs_finish_output(v->name, status);
}
