/* SPDX-License-Identifier: Apache-2.0 */
/* The whole daemon but main(): what it says of a profile that does not describe the card. */
#include "daemon/status.h"
#include "governor/governor-internal.h"
#include "test-manager-fixture.h"

#include <jansson.h>

/* As if so many minutes had been of that ratio. */
static void feed(struct fixture *f, double service, uint32_t minutes)
{
	struct self_check *c = &unit(f)->plan->governor->models[0].check.check;

	for (uint32_t i = 0; i < minutes; i++)
		self_check_feed(c, &(struct self_check_sample){
					   .now_ns = unit(f)->decision.now_ns,
					   .service_s = 60,
					   .services = 1000,
					   .observed_ns = 1000 * service * (i % 2 ? 1.01 : 0.99),
					   .expected_ns = 1000,
				   });
}

static json_t *get_model(struct fixture *f)
{
	_cleanup_(freep) char *text = status_json(f->manager);
	json_t *root = json_loads(text, 0, NULL), *model;

	assert_non_null(root);
	model = json_array_get(json_object_get(json_array_get(json_object_get(root, "gpus"), 0),
					       "models"),
			       0);
	assert_non_null(model);
	json_incref(model);
	json_decref(root);
	return model;
}

static void assert_stale(struct fixture *f, bool stale)
{
	json_t *model = get_model(f), *names = json_object_get(model, "stale");
	json_t *check = json_object_get(model, "self_check");

	assert_int_equal(json_array_size(names), stale);
	if (stale)
		assert_string_equal(json_string_value(json_array_get(names, 0)), "service-time");
	assert_int_equal(json_array_size(check), SELF_CHECK_SUBJECTS);
	for (uint32_t i = 0; i < SELF_CHECK_SUBJECTS; i++) {
		const json_t *s = json_array_get(check, i);
		bool wanted = stale && i == SELF_CHECK_SERVICE;

		assert_string_equal(json_string_value(json_object_get(s, "subject")),
				    self_check_subject_name(i));
		assert_int_equal(json_is_true(json_object_get(s, "stale")), wanted);
		assert_int_equal(json_is_null(json_object_get(s, "stale_for_s")), !wanted);
	}
	json_decref(model);
}

/* What explain says of it. */
static void assert_explained(struct fixture *f, size_t n)
{
	_cleanup_(freep) char *text = status_explain_json(f->manager, NULL, UINT32_MAX, NAN);
	json_t *root = json_loads(text, 0, NULL), *stale;

	assert_non_null(root);
	stale = json_object_get(root, "gpus");
	stale = json_object_get(json_array_get(stale, 0), "models");
	stale = json_object_get(json_array_get(stale, 0), "stale");
	assert_true(json_is_array(stale));
	assert_int_equal(json_array_size(stale), n);
	if (n > 0)
		assert_string_equal(json_string_value(json_array_get(stale, 0)), "service-time");
	json_decref(root);
}

static void test_a_stale_profile_is_shown_until_it_holds_again(void **state)
{
	struct fixture *f = *state;
	json_t *model;

	start_governed(f, STANDARD PROMPT);
	assert_stale(f, false);
	assert_explained(f, 0);
	model = get_model(f);
	assert_true(json_is_null(
		json_object_get(json_array_get(json_object_get(model, "self_check"), 1), "ratio")));
	json_decref(model);

	feed(f, 1.2, 10);
	RUN_UNTIL(f, unit(f)->decision.models[0].stale == GOVERNOR_STALE_SERVICE);
	run_decisions(f, 1);
	assert_stale(f, true);
	assert_explained(f, 1);
	assert_int_equal(unit(f)->logged_stale[0], GOVERNOR_STALE_SERVICE);
	model = get_model(f);
	assert_true(json_real_value(
			    json_object_get(json_array_get(json_object_get(model, "self_check"), 1),
					    "ratio")) > 1.19);
	json_decref(model);

	feed(f, 1, 20);
	RUN_UNTIL(f, unit(f)->decision.models[0].stale == 0);
	run_decisions(f, 1);
	assert_stale(f, false);
	assert_int_equal(unit(f)->logged_stale[0], 0);
}

static void test_a_reload_keeps_what_is_known_of_the_profile(void **state)
{
	struct fixture *f = *state;

	start_governed(f, STANDARD PROMPT);
	feed(f, 1.2, 10);
	RUN_UNTIL(f, unit(f)->decision.models[0].stale == GOVERNOR_STALE_SERVICE);
	reload(f, STANDARD PROMPT);
	RUN_UNTIL(f, unit(f)->decided);
	assert_int_equal(unit(f)->decision.models[0].stale, GOVERNOR_STALE_SERVICE);
	run_decisions(f, 1);
	assert_stale(f, true);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(test_a_stale_profile_is_shown_until_it_holds_again),
		CASE(test_a_reload_keeps_what_is_known_of_the_profile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
