/* SPDX-License-Identifier: MIT */
#include "show/scores.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* ---- one ---- */

void score_print_values(FILE *out, const score *sc, const char *between, int digits)
{
    for (int i = 0; i < sc->n_values; i++) {
        const objective_value *v = &sc->values[i];
        fprintf(out, "%s%s ", i ? between : "", v->name);
        if (isfinite(v->value))
            fprintf(out, "%.*g", digits, v->value);
        else
            fputs("missing", out);
    }
}

json_t *score_objectives_json(const score *sc)
{
    json_t *values = json_object();
    for (int i = 0; sc && i < sc->n_values; i++) {
        const objective_value *v = &sc->values[i];
        json_object_set_new(values, v->name, isfinite(v->value) ? json_real(v->value) : json_null());
    }
    return values;
}

/* ---- many ---- */

static void add_reason(score_tally *t, const char *why)
{
    int i = 0;
    while (i < TALLY_REASONS && t->reasons[i] && strcmp(t->reasons[i], why) != 0) i++;
    if (i == TALLY_REASONS) return; /* the first ones show what is wrong; a thousand would hide it */

    if (!t->reasons[i]) t->reasons[i] = xstrdup(why);
    t->had_reason[i]++;
}

/* A score is a table from names to numbers already: it serves for sums and counts, too. */
static void add_to(score *totals, const char *name, double value)
{
    const double before = score_get(totals, name);
    score_set(totals, name, isfinite(before) ? before + value : value, NULL);
}

void score_tally_add(score_tally *t, const score *sc)
{
    t->episodes++;
    if (sc->status != SCORE_OK) t->missing++;
    if (sc->status == SCORE_SCRIPT && sc->error) add_reason(t, sc->error);

    for (int i = 0; i < sc->n_values; i++) {
        if (!isfinite(sc->values[i].value)) continue; /* missing is not 0: it is in no mean */
        add_to(&t->sums, sc->values[i].name, sc->values[i].value);
        add_to(&t->counts, sc->values[i].name, 1);
    }
}

void score_tally_print(FILE *out, const score_tally *t)
{
    fprintf(out, "%" PRIu64 " episodes, %" PRIu64 " without a score", t->episodes, t->missing);
    if (t->unread > 0) fprintf(out, " (%" PRIu64 " of them are lines that could not be read)", t->unread);
    putc('\n', out);

    for (int i = 0; i < TALLY_REASONS && t->reasons[i]; i++)
        fprintf(out, "  %" PRIu64 " without a score: %s\n", t->had_reason[i], t->reasons[i]);
    for (int i = 0; i < t->sums.n_values; i++) {
        const double sum = t->sums.values[i].value, n = t->counts.values[i].value;
        fprintf(out, "  %-24s mean %.4f over %.0f\n", t->sums.values[i].name, sum / n, n);
    }
}

void score_tally_reset(score_tally *t)
{
    for (int i = 0; i < TALLY_REASONS; i++) free(t->reasons[i]);
    score_reset(&t->sums);
    score_reset(&t->counts);
}
