/* SPDX-License-Identifier: Apache-2.0 */
/* The whole daemon but main(): what a reading of a card is compared with. */
#include "test-manager-fixture.h"

#include "daemon/verify-internal.h"
#include "gpu/gpu.h"
#include <errno.h>

#define CALM DAEMON GPU "power_cap = 200W\n" MODEL PROMPT

/* A card that is as it is wanted. */
static struct actuator_state as_wanted(struct fixture *f)
{
	struct sequence_clock clock = sequence_clock_confirmed(unit(f)->sequence);

	return (struct actuator_state){
		.perf_level = GPU_PERF_MANUAL,
		.max_mhz = clock.max_mhz,
		.power_cap_uw = clock.power_cap_uw,
		.sclk_mhz = 925,
		.fields = GPU_HAS_PERF | GPU_HAS_SCLK | GPU_HAS_CAP,
	};
}

static void start_settled(struct fixture *f, const char *config)
{
	start_governed(f, config);
	RUN_UNTIL(f, sequence_settled(unit(f)->sequence) && !unit(f)->in_flight);
}

/* Exactly these are not ok, by name with a comma after each. */
static void check_bad(struct fixture *f, int error, const struct actuator_state *s,
		      const char *names)
{
	json_t *card = verify_card(unit(f), error, s), *row;
	char bad[256] = "";
	size_t i;

	assert_non_null(card);
	json_array_foreach(json_object_get(card, "checks"), i, row)
	{
		const char *what = json_string_value(json_object_get(row, "what"));

		assert_non_null(what);
		assert_non_null(json_object_get(row, "wanted"));
		assert_non_null(json_object_get(row, "found"));
		if (!json_is_true(json_object_get(row, "ok")))
			(void)snprintf(bad + strlen(bad), sizeof(bad) - strlen(bad), "%s,", what);
	}
	assert_string_equal(bad, names);
	assert_int_equal(json_is_true(json_object_get(card, "ok")), !*names && error == 0);
	json_decref(card);
}

static void test_each_difference_is_named(void **state)
{
	struct fixture *f = *state;
	struct actuator_state good, s;

	start_settled(f, CALM);
	good = as_wanted(f);
	assert_int_equal(good.max_mhz, 925);
	assert_int_equal(good.power_cap_uw, 200 * UW_PER_W);
	check_bad(f, 0, &good, "");
	s = good;
	s.perf_level = GPU_PERF_AUTO;
	check_bad(f, 0, &s, "perf_level,");
	s.perf_level = UINT32_MAX;
	check_bad(f, 0, &s, "perf_level,");
	s = good;
	s.fields &= ~(uint32_t)GPU_HAS_PERF;
	check_bad(f, 0, &s, "perf_level,");
	s = good;
	s.max_mhz = 1725;
	check_bad(f, 0, &s, "max_mhz,");
	s = good;
	s.verified = ACTUATOR_DRIFT;
	check_bad(f, 0, &s, "sclk_mhz,");
	s = good;
	s.power_cap_uw -= UW_PER_W - 1;
	check_bad(f, 0, &s, "");
	s.power_cap_uw--;
	check_bad(f, 0, &s, "power_cap_w,");
	s.power_cap_uw = good.power_cap_uw + UW_PER_W;
	check_bad(f, 0, &s, "power_cap_w,");
	s = good;
	s.fields = GPU_HAS_PERF;
	check_bad(f, 0, &s, "power_cap_w,");
}

static void test_a_card_that_cannot_be_read_is_not_as_wanted(void **state)
{
	struct fixture *f = *state;
	json_t *card;

	start_settled(f, CALM);
	card = verify_card(unit(f), -ETIMEDOUT, NULL);
	assert_string_equal(json_string_value(json_object_get(card, "error")), strerror(ETIMEDOUT));
	assert_true(json_is_false(json_object_get(card, "ok")));
	assert_int_equal(json_array_size(json_object_get(card, "checks")), 0);
	json_decref(card);
	/* Nor is one that has gone meanwhile. */
	card = verify_no_card(BDF);
	assert_string_equal(json_string_value(json_object_get(card, "bdf")), BDF);
	assert_string_equal(json_string_value(json_object_get(card, "error")), strerror(ENODEV));
	assert_true(json_is_false(json_object_get(card, "ok")));
	json_decref(card);
}

static void test_a_card_that_cannot_be_taken_is_not_as_wanted(void **state)
{
	const struct actuator_state found = {.fields = GPU_HAS_PERF, .perf_level = GPU_PERF_MANUAL};
	struct fixture *f = *state;

	f->actuator.claim_error = -EHOSTDOWN;
	start(f, CALM);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit(f)->claim_error == -EHOSTDOWN);
	check_bad(f, 0, &found, "claim,");
	/* Nobody wants it any more. */
	f->worker = cofris_close(f->worker);
	RUN_UNTIL(f, unit(f)->decision.action == GOVERNOR_RELEASE);
	check_bad(f, 0, &found, "");
}

static void test_a_write_that_did_not_hold_is_told(void **state)
{
	struct actuator_state s;
	struct fixture *f = *state;

	start_settled(f, CALM);
	f->actuator.set_reads_back_mhz = 1725;
	RUN_UNTIL(f, unit(f)->readback_until_ns > 0);
	s = as_wanted(f);
	check_bad(f, 0, &s, "write,");
}

static int apply_mask(void *userdata, const struct cofris_directive *d _unused_)
{
	const struct fixture *f = userdata;

	return f->applies;
}

/* A worker that is given half of the card. */
static void start_follower(struct fixture *f, int applies)
{
	char path[128];
	struct cofris_options options = {
		.size = sizeof(options),
		.model = "resnet50",
		.instance = "follower",
		.socket_path = path,
		.slots = 1,
		.devices = both_cards,
		.n_devices = 1,
		.follows = COFRIS_FOLLOWS_CU_MASK,
		.apply = apply_mask,
		.userdata = f,
	};

	f->mask_surface = true;
	f->applies = applies;
	start(f, DAEMON GPU "gating = cu\n" MODEL "policy = resource\n");
	(void)snprintf(path, sizeof(path), "%s/worker.sock", f->root);
	assert_int_equal(cofris_open(&options, &f->worker), 0);
}

static bool mask_is_wanted(const struct fixture *f)
{
	const struct session *s = TAILQ_FIRST(&f->manager->sessions);
	const struct session_directive *d = s && s->unit ? session_wanted(s) : NULL;

	return d && d->mask.n_bits > 0 && unit(f)->claim == UNIT_CLAIMED;
}

static void test_a_mask_that_is_not_acknowledged_is_told(void **state)
{
	struct actuator_state s;
	struct fixture *f = *state;

	start_follower(f, -EIO);
	RUN_UNTIL(f, mask_is_wanted(f));
	s = as_wanted(f);
	check_bad(f, 0, &s, "mask,");
}

static void test_a_mask_that_is_acknowledged_is_as_wanted(void **state)
{
	struct actuator_state s;
	struct fixture *f = *state;
	json_t *card, *row;

	start_follower(f, 1);
	RUN_UNTIL(f, mask_is_wanted(f) && unit_model_acknowledged(unit(f), 0));
	s = as_wanted(f);
	check_bad(f, 0, &s, "");
	card = verify_card(unit(f), 0, &s);
	row = json_object_get(card, "checks");
	row = json_array_get(row, json_array_size(row) - 1);
	assert_string_equal(json_string_value(json_object_get(row, "what")), "mask");
	assert_string_equal(json_string_value(json_object_get(row, "instance")), "follower");
	assert_true(json_array_size(json_object_get(row, "found")) > 0);
	assert_true(json_equal(json_object_get(row, "found"), json_object_get(row, "wanted")));
	json_decref(card);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_each_difference_is_named),
		CASE(test_a_card_that_cannot_be_read_is_not_as_wanted),
		CASE(test_a_card_that_cannot_be_taken_is_not_as_wanted),
		CASE(test_a_write_that_did_not_hold_is_told),
		CASE(test_a_mask_that_is_not_acknowledged_is_told),
		CASE(test_a_mask_that_is_acknowledged_is_as_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
