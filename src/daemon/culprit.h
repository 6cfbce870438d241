/* SPDX-License-Identifier: Apache-2.0 */
/* Who may have changed a card's setting behind our back. The kernel does not tell who writes to its
 * files; but there are not many programs that do, and those that stay are found running. */
#pragma once

#include <stddef.h>

#define CULPRIT_MAX 64

/* "NAME (pid PID)" of the first program known to set clocks or caps of AMD cards, by the commands
 * below proc ("/proc"). 1, 0 if none is running, or a negative errno. */
int culprit_find(const char *proc, char *ret, size_t size);
