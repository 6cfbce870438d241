/* SPDX-License-Identifier: Apache-2.0 */
/* What a monitor is told, judged from the status document alone. */
#pragma once

#include <jansson.h>

enum health {
	HEALTH_GOOD,
	HEALTH_WARNING,	 /* requests are served in time, but power is not saved as it could be */
	HEALTH_CRITICAL, /* a card is gone or cannot be governed, or nothing is */
};

/* {"schema":1, "verdict", "code", "summary", "reasons":[{"severity", "gpu", "model", "text"}]}, the
 * worst first. NULL without memory. */
json_t *health_document(const json_t *status);
enum health health_of(const json_t *document);
