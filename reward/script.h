/* script - a reward script in a VM of this process: load it, call it. Used by the host process alone. */
#pragma once

#include "reward/scorer.h"

typedef struct script script;
script *script_new(const scorer_config *config, error *err);
void script_free(script *s);
void script_score(script *s, const task *t, const episode *e, score *out);
