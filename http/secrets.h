/* SPDX-License-Identifier: MIT */
/* secrets - headers whose values name variables of the environment, so that a recipe holds no password.
 *
 *     Authorization = "Bearer $TOKEN"       $NAME or ${NAME}; $$ is a dollar */
#pragma once

#include "base/error.h"

/* "Name: value" with the variables' values; the caller frees. NULL: ERR_NOT_FOUND for a variable that is not set or is
 * empty, ERR_ARGUMENT for what is no header (RFC 9110, section 5.1). No sentence shows a value. */
char *secrets_header(const char *name, const char *value, error *err);
