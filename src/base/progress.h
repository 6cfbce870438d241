/* SPDX-License-Identifier: Apache-2.0 */
/* How far a sweep or an evaluation is: a bar with the time left on a terminal, plain lines
 * elsewhere. */
#pragma once

#include "base/macros.h"
#include <stdbool.h>
#include <stdint.h>

/* Clears the bar, and the line that it is on. */
#define PROGRESS_CLEAR "\r\033[K"

struct progress {
	FILE *out; /* not buffered */
	uint64_t start_ns;
	uint32_t done, total; /* units of about equal time */
	bool terminal;
};

struct progress progress_start(FILE *out, uint32_t total, uint64_t now_ns);
/* One more unit is done, which the text tells about. */
void progress_step(struct progress *p, uint64_t now_ns, const char *format, ...) _printf_(3, 4);
/* A line that stays, between units. */
void progress_note(struct progress *p, const char *format, ...) _printf_(2, 3);
/* Clears the bar. */
void progress_end(struct progress *p);
