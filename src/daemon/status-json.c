/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/status-json.h"
#include <math.h>
#include <string.h>

#define STATUS_DUMP_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(9))

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

json_t *status_shape(struct cu_shape shape)
{
	return json_sprintf("%ux%u", shape.n_se, shape.cus_per_se);
}

json_t *status_flags(uint32_t flags)
{
	static const struct {
		uint32_t flag;
		const char *name;
	} names[] = {
		{GOVERNOR_CARD_SENSORS_LOST, "sensors-lost"},
		{GOVERNOR_CARD_READBACK_FAILED, "readback-failed"},
		{GOVERNOR_CARD_FOREIGN_LOAD, "foreign-load"},
		{GOVERNOR_CARD_THROTTLED, "throttled"},
		{GOVERNOR_CARD_HOLD_FULL, "hold-full"},
		{GOVERNOR_CARD_PAUSED, "paused"},
		{GOVERNOR_CARD_ADOPTED, "adopted"},
		{GOVERNOR_CARD_FOREIGN_TABLE, "foreign-table"},
	};
	json_t *array = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (flags & names[i].flag)
			(void)json_array_append_new(array, json_string(names[i].name));
	return array;
}

const char *status_input_name(enum governor_input_state state)
{
	static const char *const names[] = {
		[GOVERNOR_NO_WORKER] = "no-worker",
		[GOVERNOR_INPUT_OK] = "ok",
		[GOVERNOR_INPUT_MISSING] = "missing-input",
	};

	return names[state];
}

const char *status_action_name(enum governor_action action)
{
	static const char *const names[] = {
		[GOVERNOR_RELEASE] = "release",
		[GOVERNOR_SET] = "set",
		[GOVERNOR_HOLD] = "hold",
	};

	return names[action];
}

char *status_dump(json_t *root)
{
	char *s = json_dumps(root, STATUS_DUMP_FLAGS);

	json_decref(root);
	return s;
}
