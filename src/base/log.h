/* SPDX-License-Identifier: Apache-2.0 */
/* Logging for programs; libraries return errors and never call this. Lines go to stderr; when
 * stderr is the journal (JOURNAL_STREAM is set) they carry the "<N>" priority prefix. */
#pragma once

#include "base/macros.h"
#include <syslog.h>

/* Sets the prefix of each line (the program's name) and the most verbose level that is printed
 * (LOG_INFO by default). name must live for ever. */
void log_init(const char *name, int max_level);

void log_message(int level, const char *format, ...) _printf_(2, 3);

/* As log_message() with errno set to |r|, so that %m names it. Returns r, for
 * "return log_errno(LOG_ERR, r, ...)". */
int log_errno(int level, int r, const char *format, ...) _printf_(3, 4);

#define log_error(...)		log_message(LOG_ERR, __VA_ARGS__)
#define log_warning(...)	log_message(LOG_WARNING, __VA_ARGS__)
#define log_info(...)		log_message(LOG_INFO, __VA_ARGS__)
#define log_debug(...)		log_message(LOG_DEBUG, __VA_ARGS__)
#define log_error_errno(r, ...) log_errno(LOG_ERR, r, __VA_ARGS__)
