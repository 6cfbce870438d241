/* SPDX-License-Identifier: Apache-2.0 */
/* Who may connect, and the ring of decisions. */
#include "base/macros.h"
#include "base/units.h"
#include "daemon/admission.h"
#include "daemon/ring.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <math.h>
#include <string.h>

static void test_connections_are_limited_in_all_and_per_user(void **state _unused_)
{
	const struct config_daemon d = {.max_connections = 256, .max_connections_per_uid = 64};
	static const struct {
		struct admission_counts n;
		bool stranger;
		int r;
	} cases[] = {
		{{0, 0, 0}, false, 0},		 {{255, 0, 63}, false, 0},
		{{256, 0, 0}, false, -EMFILE},	 {{255, 0, 64}, false, -EUSERS},
		{{300, 0, 300}, false, -EMFILE}, {{64, 0, 64}, false, -EUSERS},
		{{63, 63, 63}, true, 0},	 {{64, 64, 0}, true, -EMFILE},
		{{64, 64, 0}, false, 0},	 {{255, 64, 0}, false, 0},
	};
	const struct config_daemon few = {.max_connections = 3, .max_connections_per_uid = 3};
	const struct admission_counts none = {0}, one = {1, 1, 1};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(admission_limit(&d, &cases[i].n, cases[i].stranger), cases[i].r);
	/* Even then strangers are told why. */
	assert_int_equal(admission_limit(&few, &none, true), 0);
	assert_int_equal(admission_limit(&few, &one, true), -EMFILE);
}

static void test_a_stranger_may_serve_no_model(void **state _unused_)
{
	struct config *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	assert_true(admission_is_stranger(c, 0));
	c->n_models = 2;
	c->models[1].allow = (struct config_allow){.n = 1, .uids = {1000}};
	assert_false(admission_is_stranger(c, 0));
	assert_false(admission_is_stranger(c, 1000));
	assert_true(admission_is_stranger(c, 1001));
	config_free(c);
}

static void test_a_hello_is_judged_by_model_and_user(void **state _unused_)
{
	static const struct {
		const char *model;
		uid_t uid;
		int r;
		const char *part;
	} cases[] = {
		{"open", 0, 0, ""},
		{"open", 1000, 0, ""},
		{"open", 1001, -EACCES, "add 'allow = 1001' to its section [model open]"},
		{"closed", 0, 0, ""},
		{"closed", 1000, -EACCES, "add 'allow = 1000' to its section [model closed]"},
		{"unknown", 0, -ENOENT, "add a section [model unknown]"},
	};
	struct config *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->n_models = 2;
	(void)strcpy(c->models[0].name, "open");
	c->models[0].allow = (struct config_allow){.n = 1, .uids = {1000}};
	(void)strcpy(c->models[1].name, "closed");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct channel_peer peer = {.pid = 1, .uid = cases[i].uid};
		struct channel_hello hello = {0};
		char why[ADMISSION_TEXT] = "";

		(void)strcpy(hello.model, cases[i].model);
		assert_int_equal(admission_judge(c, &peer, &hello, why), cases[i].r);
		assert_non_null(strstr(why, cases[i].part));
	}
	config_free(c);
}

static void test_a_refusal_is_logged_once_per_user(void **state _unused_)
{
	struct admission_log log = {0};

	for (uid_t uid = 0; uid < ADMISSION_REMEMBER; uid++)
		assert_true(admission_log_once(&log, uid));
	for (uid_t uid = 0; uid < ADMISSION_REMEMBER; uid++)
		assert_false(admission_log_once(&log, uid));
	/* The oldest is forgotten for a new one, the others are not. */
	assert_true(admission_log_once(&log, 5000));
	assert_false(admission_log_once(&log, 5000));
	assert_false(admission_log_once(&log, 1));
	assert_true(admission_log_once(&log, 0));
}

static void push(struct ring *r, uint64_t number, uint32_t n_models)
{
	struct governor_input *in = calloc(1, sizeof(*in));
	struct governor_decision *out = calloc(1, sizeof(*out));

	assert_true(in && out);
	in->interval_ns = 500 * NSEC_PER_MSEC;
	in->power_uw = 120 * UW_PER_W;
	in->sclk_mhz = 1282;
	in->flags = GOVERNOR_CARD_FOREIGN_LOAD;
	out->number = number;
	out->now_ns = number * 1000;
	out->max_mhz = 1725;
	out->predicted_power_w = NAN;
	out->action = GOVERNOR_SET;
	out->reason = GOVERNOR_REASON_DEMAND;
	for (uint32_t i = 0; i < n_models; i++) {
		in->models[i].in_flight = 10 * number + i;
		out->models[i].row = i == 0 ? UINT32_MAX : i;
		out->models[i].rate_rps = (double)number + i;
	}
	ring_push(r, in, out);
	free(in);
	free(out);
}

static void test_the_ring_keeps_the_latest_4096(void **state _unused_)
{
	const struct ring_model *models;
	const struct ring_entry *e;
	struct ring *r;

	assert_int_equal(ring_new(2, &r), 0);
	assert_null(ring_get(r, 0, &models));
	for (uint64_t i = 1; i <= RING_DECISIONS + 100; i++)
		push(r, i, 2);
	assert_int_equal(ring_count(r), RING_DECISIONS + 100);
	e = ring_get(r, 0, &models);
	assert_non_null(e);
	assert_int_equal(e->number, RING_DECISIONS + 100);
	assert_int_equal(models[1].in_flight, 10 * (RING_DECISIONS + 100) + 1);
	e = ring_get(r, RING_DECISIONS - 1, &models);
	assert_non_null(e);
	assert_int_equal(e->number, 101);
	assert_int_equal(models[0].in_flight, 1010);
	assert_null(ring_get(r, RING_DECISIONS, &models));
	ring_free(r);
}

static void test_an_entry_says_what_it_was_made_from(void **state _unused_)
{
	const struct ring_model *models;
	const struct ring_entry *e;
	struct ring *r;

	assert_int_equal(ring_new(2, &r), 0);
	push(r, 1, 2);
	e = ring_get(r, 0, &models);
	assert_non_null(e);
	assert_int_equal(e->now_ns, 1000);
	assert_int_equal(e->max_mhz, 1725);
	assert_int_equal(e->sclk_mhz, 1282);
	assert_int_equal(e->flags, GOVERNOR_CARD_FOREIGN_LOAD);
	assert_int_equal(e->reason, GOVERNOR_REASON_DEMAND);
	assert_true(fabsf(e->power_w - 120) < 0.01f);
	assert_true(fabsf(e->interval_s - 0.5f) < 0.001f);
	assert_true(isnan(e->predicted_w));
	assert_int_equal(models[0].row, UINT16_MAX);
	assert_int_equal(models[1].row, 1);
	assert_true(fabsf(models[1].rate_rps - 2) < 0.001f);
	ring_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connections_are_limited_in_all_and_per_user),
		cmocka_unit_test(test_a_stranger_may_serve_no_model),
		cmocka_unit_test(test_a_hello_is_judged_by_model_and_user),
		cmocka_unit_test(test_a_refusal_is_logged_once_per_user),
		cmocka_unit_test(test_the_ring_keeps_the_latest_4096),
		cmocka_unit_test(test_an_entry_says_what_it_was_made_from),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
