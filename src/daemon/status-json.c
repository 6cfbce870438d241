/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/status-json.h"
#include <math.h>
#include <string.h>

json_t *status_number(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

json_t *status_number_if(bool known, double value)
{
	return known ? status_number(value) : json_null();
}

/* Workers choose some of these. */
json_t *status_integer(uint64_t value)
{
	return json_integer((json_int_t)MIN(value, (uint64_t)INT64_MAX));
}

json_t *status_integer_if(bool known, uint64_t value)
{
	return known ? status_integer(value) : json_null();
}

json_t *status_text(const char *s)
{
	json_t *value;

	if (!s)
		return json_null();
	value = json_string(s);
	if (!value) {
		_cleanup_(freep) char *copy = strdup(s);

		for (char *p = copy; p && *p; p++)
			if ((unsigned char)*p >= 0x80)
				*p = '?';
		value = copy ? json_string(copy) : NULL;
	}
	return value ? value : json_null();
}
