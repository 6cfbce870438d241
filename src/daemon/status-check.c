/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"
#include "daemon/status-json.h"
#include "governor/self-check.h"

static json_t *series_json(const struct unit *u, const char *subject,
			   const struct self_check_series *s)
{
	uint64_t now_ns = u->decision.now_ns;
	bool since = s->stale && now_ns >= s->since_ns;
	json_t *json = json_object();

	(void)json_object_set_new(json, "subject", json_string(subject));
	(void)json_object_set_new(json, "ratio", status_number_if(s->known, s->ratio));
	(void)json_object_set_new(json, "low", status_number_if(s->known, s->low));
	(void)json_object_set_new(json, "high", status_number_if(s->known, s->high));
	(void)json_object_set_new(json, "blocks", json_integer(s->n));
	(void)json_object_set_new(json, "stale", json_boolean(s->stale));
	(void)json_object_set_new(json, "stale_for_s",
				  status_integer_if(since, (now_ns - s->since_ns) / NSEC_PER_SEC));
	return json;
}

json_t *status_stale(uint32_t stale)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < SELF_CHECK_SUBJECTS; i++)
		if (stale & 1u << i)
			(void)json_array_append_new(array, json_string(self_check_subject_name(i)));
	return array;
}

void status_add_check(const struct unit *u, uint32_t model, json_t *json)
{
	const struct self_check *check = governor_self_check(u->plan->governor, model);
	json_t *series = json_array();

	for (uint32_t i = 0; check && i < SELF_CHECK_SUBJECTS; i++)
		(void)json_array_append_new(series, series_json(u, self_check_subject_name(i),
								&check->series[i]));
	(void)json_object_set_new(json, "stale", status_stale(check ? self_check_stale(check) : 0));
	(void)json_object_set_new(json, "self_check", series);
}
