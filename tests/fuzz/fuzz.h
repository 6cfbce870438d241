/* SPDX-License-Identifier: Apache-2.0 */
/* What reads bytes of others, one target a file. libFuzzer looks for inputs that break it
 * (-DCOFRIS_FUZZ=ON, by clang); what it found new is in corpus/, which replay.c runs in every build
 * with some thousand changes of each. */
#pragma once

#include "base/macros.h"
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Holds in builds without assertions, too. */
#define FUZZ_CHECK(condition)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			(void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__,           \
				      #condition);                                                 \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* The bytes as a plain file of this process; the same name each time. */
const char *fuzz_file(const uint8_t *data, size_t size);
/* The bytes with a NUL behind, to be freed; NULL if one is among them. */
char *fuzz_text(const uint8_t *data, size_t size);
