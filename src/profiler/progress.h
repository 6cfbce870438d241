/* SPDX-License-Identifier: Apache-2.0 */
/* How far a sweep is: a bar with the time left on a terminal, plain lines elsewhere (stderr). */
#pragma once

#include "base/macros.h"
#include <stdbool.h>
#include <stdint.h>

struct progress {
	uint64_t start_ns;
	uint32_t done, total; /* units of about equal time */
	bool terminal;
};

struct progress progress_start(uint32_t total, uint64_t now_ns);
/* One more unit is done, which the text tells about. */
void progress_step(struct progress *p, uint64_t now_ns, const char *format, ...) _printf_(3, 4);
/* A line that stays, between units. */
void progress_note(struct progress *p, const char *format, ...) _printf_(2, 3);
/* Clears the bar. */
void progress_end(struct progress *p);
