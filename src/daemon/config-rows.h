/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the configuration's keys: a row names the section, the key, its parser, the limits,
 * what to say when they are not kept, the field and the default (as text, read by the same parser).
 */
#pragma once

#include "daemon/config.h"
#include <stddef.h>

enum config_section { SECTION_DAEMON, SECTION_GPU, SECTION_MODEL, SECTION_KIND_MAX };

struct config_row;
/* Returns 0, -EINVAL for text that is not such a value, -ERANGE for one outside the limits. An
 * empty text arrives only where the default is empty, too, and means "unset". */
typedef int (*config_parse_fn)(const struct config_row *row, const char *value, void *field);

struct config_row {
	enum config_section section;
	const char *key;
	config_parse_fn parse;
	size_t offset, size; /* of the field in the section's struct */
	const char *fallback;
	double min, max;	    /* in the field's own unit */
	const char *const *choices; /* ends with NULL; the index is the value */
	const char *expected;
};

extern const char *const config_section_names[SECTION_KIND_MAX];
/* Ends with a row without a key; at most 64, as a section remembers them in 64 bits. */
extern const struct config_row config_rows[];

/* What to say of a refused value that is not simply unknown, or NULL. */
const char *config_why_refused(const struct config_row *row, const char *value);
/* The known value nearest to one that was refused, or NULL. */
const char *config_nearest_value(const struct config_row *row, const char *value);
