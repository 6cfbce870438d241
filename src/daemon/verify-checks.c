/* SPDX-License-Identifier: Apache-2.0 */
/* What of a card and its workers is compared: a row of the answer each. */
#include "base/units.h"
#include "daemon/masks.h"
#include "daemon/status-json.h"
#include "daemon/verify-internal.h"
#include "gpu/gpu.h"
#include <errno.h>
#include <string.h>

struct checks {
	json_t *array;
	bool ok;
};

/* Takes both values over. */
static void add(struct checks *c, const char *what, json_t *wanted, json_t *found, bool ok)
{
	(void)json_array_append_new(c->array,
				    json_pack("{s:s, s:o, s:o, s:b}", "what", what, "wanted",
					      wanted, "found", found, "ok", (int)ok));
	c->ok &= ok;
}

static const char *level_name(uint32_t level)
{
	static const char *const names[] = {
		[GPU_PERF_AUTO] = "auto",     [GPU_PERF_LOW] = "low",	  [GPU_PERF_HIGH] = "high",
		[GPU_PERF_MANUAL] = "manual", [GPU_PERF_OTHER] = "other",
	};

	return level < ARRAY_SIZE(names) ? names[level] : NULL;
}

static json_t *level_json(const struct actuator_state *s)
{
	return status_text(s->fields & GPU_HAS_PERF ? level_name(s->perf_level) : NULL);
}

static json_t *watts_json(bool known, uint64_t uw)
{
	return status_number_if(known, (double)uw / (double)UW_PER_W);
}

/* Of requests that were served in their order, so what was confirmed before this reading's answer
 * is what the reading is of. */
static void check_setting(const struct unit *u, const struct actuator_state *s, struct checks *c)
{
	struct sequence_clock wanted = sequence_clock_confirmed(u->sequence);
	uint64_t cap_uw = wanted.power_cap_uw;
	bool has_cap = s->fields & GPU_HAS_CAP;

	if (wanted.max_mhz > 0) {
		bool manual = s->fields & GPU_HAS_PERF && s->perf_level == GPU_PERF_MANUAL;

		add(c, "perf_level", json_string("manual"), level_json(s), manual);
		add(c, "max_mhz", json_integer(wanted.max_mhz), json_integer(s->max_mhz),
		    s->max_mhz == wanted.max_mhz);
		/* The actuator judges it, over several samples while the card is busy. */
		add(c, "sclk_mhz", json_integer(wanted.max_mhz),
		    status_integer_if(s->fields & GPU_HAS_SCLK, s->sclk_mhz),
		    s->verified != ACTUATOR_DRIFT);
	}
	/* Drivers keep caps in whole watts. */
	if (cap_uw > 0)
		add(c, "power_cap_w", watts_json(true, cap_uw),
		    watts_json(has_cap, s->power_cap_uw),
		    has_cap && s->power_cap_uw + UW_PER_W > cap_uw &&
			    s->power_cap_uw < cap_uw + UW_PER_W);
}

/* A card that is to be governed and cannot be taken. */
static void check_claim(const struct unit *u, struct checks *c)
{
	bool wanted = u->stepped && u->decision.action == GOVERNOR_SET && !unit_left_alone(u);
	bool claimed = u->claim == UNIT_CLAIMED;
	const char *found = claimed ? "claimed" : u->claim_error < 0 ? "refused" : "free";

	add(c, "claim", json_string(wanted ? "claimed" : "free"), json_string(found),
	    claimed || !wanted);
}

/* What could not be set is not what is compared above. */
static void check_write(const struct unit *u, uint64_t now_ns, struct checks *c)
{
	if (now_ns < u->readback_until_ns)
		add(c, "write", json_string("holds"), json_string("did not hold"), false);
}

static bool mask_equal(const struct cu_mask *a, const struct cu_mask *b)
{
	return a->n_bits == b->n_bits && memcmp(a->words, b->words, sizeof(a->words)) == 0;
}

static void check_masks(const struct unit *u, uint64_t now_ns, struct checks *c)
{
	struct session *s;

	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	{
		const struct session_directive *wanted, *found;
		json_t *row;
		bool ok;

		if (!session_on(s, u) || masks_reason(u, s) != MASKS_FOLLOWED ||
		    masks_of_another(u, s))
			continue;
		session_sample(s, now_ns);
		wanted = session_wanted(s);
		found = session_acknowledged(s);
		if (!wanted)
			continue;
		ok = found && mask_equal(&wanted->mask, &found->mask);
		add(c, "mask", status_mask(&wanted->mask),
		    found ? status_mask(&found->mask) : json_null(), ok);
		row = json_array_get(c->array, json_array_size(c->array) - 1);
		(void)json_object_set_new(row, "model", json_string(s->model));
		(void)json_object_set_new(row, "instance", status_text(s->instance));
		(void)json_object_set_new(row, "pid",
					  json_integer(
						  channel_connection_peer(s->connection)->pid));
	}
}

/* Takes the checks over. */
static json_t *card_json(const char *bdf, bool simulated, int error, const struct checks *c)
{
	return json_pack("{s:s, s:b, s:b, s:o, s:o}", "bdf", bdf, "simulated", (int)simulated, "ok",
			 (int)c->ok, "error", status_text(error < 0 ? strerror(-error) : NULL),
			 "checks", c->array);
}

json_t *verify_card(const struct unit *u, int error, const struct actuator_state *state)
{
	struct checks c = {.array = json_array(), .ok = error == 0};
	uint64_t now_ns = manager_now_ns(u->manager);

	if (error == 0) {
		check_claim(u, &c);
		if (u->claim == UNIT_CLAIMED)
			check_setting(u, state, &c);
		check_write(u, now_ns, &c);
		check_masks(u, now_ns, &c);
	}
	return card_json(u->bdf, unit_simulated(u), error, &c);
}

json_t *verify_no_card(const char *bdf)
{
	struct checks c = {.array = json_array()};

	return card_json(bdf, /* simulated= */ false, -ENODEV, &c);
}
