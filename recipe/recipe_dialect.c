/* SPDX-License-Identifier: MIT */
/* A recipe's dialect, and whose key a failure to make it is. */
#include <string.h>

#include "lua/dialect.h"
#include "recipe/recipe.h"

static const char TEMPLATE_KEY[] = "prompt.chat_template";
static const char TEMPLATE_FAILS[] = "chat template"; /* how each sentence of dialect_use_template begins */

dialect *recipe_dialect(const recipe *r, const char *tools_json, error *err)
{
    dialect *d = dialect_new(r->prompt.dialect, r->prompt.dialect_options, tools_json, err);
    if (!d || r->prompt.chat_template == TEMPLATE_OF_DIALECT) return d;
    if (dialect_use_template(d, r->run.model, err) == OK) return d;
    dialect_free(d);
    return NULL;
}

/* An error has a code and a sentence. Three keys can give the same code here, so the sentence decides; a wrong guess
 * shows another key's line of the recipe, and the sentence stays right. */
const char *recipe_dialect_key(const error *why)
{
    if (strncmp(why->text, TEMPLATE_FAILS, sizeof TEMPLATE_FAILS - 1) == 0) return TEMPLATE_KEY;
    return strstr(why->text, "no option") ? "prompt.options" : "prompt.dialect";
}
