/* SPDX-License-Identifier: Apache-2.0 */
/* The self-check's statistics, in virtual time: what correct profiles are spared, what drifted ones
 * show, and how long both take. */
#include "base/macros.h"
#include "governor/self-check.h"
#include "support/cmocka-includes.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SEED   UINT64_C(41)
#define POLL_S 0.5

/* splitmix64 */
static double uniform(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return ((double)(z >> 11) + 0.5) / 9007199254740992.0;
}

/* Near enough, and a month has many. */
static double normal(uint64_t *seed)
{
	return (uniform(seed) + uniform(seed) + uniform(seed) + uniform(seed) - 2) * sqrt(3);
}

/* A card and its sensor. Configurations change every few minutes, each with an error of its own in
 * the profile; the sensor sees a moment, in whole watts, that is busy or not. */
struct card {
	uint64_t seed;
	double power, service; /* over the profile's */
	double now_s, next_s, busy_s;
	double load; /* slow part of the busy share */
	double busy_w, power_error, service_error;
	bool reading_busy;
};

#define IDLE_W	   15.0
#define SERVICE_NS 5e6

static void begin(struct card *c, uint64_t seed, double power, double service)
{
	*c = (struct card){.seed = seed, .power = power, .service = service, .load = 0.5};
}

static void reconfigure(struct card *c)
{
	c->next_s = c->now_s - 120 * log(uniform(&c->seed));
	c->busy_w = 70 + 140 * uniform(&c->seed);
	c->power_error = 1 + 0.015 * normal(&c->seed);
	c->service_error = 1 + 0.01 * normal(&c->seed);
}

/* One interval of a load that wanders over the day. */
static void step(struct card *c, struct self_check *check)
{
	double day = 0.45 + 0.3 * sin(2 * M_PI * c->now_s / 86400), busy, n, reading_w;
	double heat = 1 + 0.02 * sin(2 * M_PI * c->now_s / 43200);
	double creep = 1 + 0.02 * sin(2 * M_PI * c->now_s / 100000);
	struct self_check_sample s = {0};

	if (c->now_s >= c->next_s)
		reconfigure(c);
	c->now_s += POLL_S;
	c->load += 0.01 * (day - c->load) + 0.02 * normal(&c->seed);
	busy = fmin(fmax(c->load + 0.1 * normal(&c->seed), 0.01), 1);
	/* What was so in the last reading is likely to be so still. */
	if (uniform(&c->seed) < 0.9)
		c->reading_busy = uniform(&c->seed) < busy;
	reading_w = IDLE_W + (c->reading_busy ? c->busy_w - IDLE_W : 0);
	reading_w = fmax(round(reading_w * c->power * heat + 0.5 * normal(&c->seed)), 1);
	c->busy_s += busy * POLL_S;
	n = fmax(round(busy * POLL_S * 1e9 / SERVICE_NS), 1);
	s.now_ns = (uint64_t)(c->now_s * 1e9);
	s.power_s = s.service_s = POLL_S;
	s.busy = busy;
	s.measured_w = reading_w;
	s.predicted_w = IDLE_W + busy * (c->busy_w * c->power_error - IDLE_W);
	s.services = n;
	s.expected_ns = n * SERVICE_NS * c->service_error;
	s.observed_ns =
		n * SERVICE_NS * c->service * creep * (1 + 0.05 / sqrt(n) * normal(&c->seed));
	self_check_feed(check, &s);
}

/* ---- chance ---- */

static void test_a_month_of_correct_profiles_raises_no_alarm(void **state)
{
	uint64_t steps = (uint64_t)(30 * 86400 / POLL_S);
	uint32_t blocks[SELF_CHECK_SUBJECTS] = {0};

	(void)state;
	print_message("seed %lu\n", SEED);
	for (uint64_t seed = SEED; seed < SEED + 3; seed++) {
		struct self_check check;
		struct card card;
		uint32_t alarms = 0, before = 0;

		self_check_init(&check);
		begin(&card, seed, 1, 1);
		for (uint64_t i = 0; i < steps; i++) {
			step(&card, &check);
			alarms += (self_check_stale(&check) & ~before) != 0;
			before = self_check_stale(&check);
		}
		assert_int_equal(alarms, 0);
		for (uint32_t k = 0; k < SELF_CHECK_SUBJECTS; k++) {
			assert_true(check.series[k].known);
			blocks[k] += check.series[k].n;
		}
	}
	/* It was looked at. */
	assert_int_equal(blocks[SELF_CHECK_POWER], 3 * SELF_CHECK_BLOCKS);
	assert_int_equal(blocks[SELF_CHECK_SERVICE], 3 * SELF_CHECK_BLOCKS);
}

/* Minutes of busy time until it is found, on a card that has been right for an hour. */
static double find(uint64_t seed, double power, double service, uint32_t wanted)
{
	struct self_check check;
	struct card card;
	double from_s = 3600, from_busy_s;

	self_check_init(&check);
	begin(&card, seed, 1, 1);
	while (card.now_s < from_s)
		step(&card, &check);
	assert_int_equal(self_check_stale(&check), 0);
	from_busy_s = card.busy_s;
	card.power = power;
	card.service = service;
	while ((self_check_stale(&check) & wanted) != wanted) {
		step(&card, &check);
		if (card.now_s > from_s + 4 * 3600)
			return INFINITY;
	}
	assert_int_equal(self_check_stale(&check), wanted);
	return (card.busy_s - from_busy_s) / 60;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void test_what_has_drifted_is_found_within_twenty_minutes(void **state)
{
	static const struct {
		double power, service;
		uint32_t wanted;
	} rows[] = {
		{1, 1.15, 1u << SELF_CHECK_SERVICE},
		{1, 0.85, 1u << SELF_CHECK_SERVICE},
		{1.12, 1, 1u << SELF_CHECK_POWER},
		{0.88, 1, 1u << SELF_CHECK_POWER},
		{1.2, 1.2, 1u << SELF_CHECK_POWER | 1u << SELF_CHECK_SERVICE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		double minutes[21];

		for (uint64_t k = 0; k < 21; k++)
			minutes[k] = find(SEED + k, rows[i].power, rows[i].service, rows[i].wanted);
		qsort(minutes, 21, sizeof(minutes[0]), compare);
		print_message("power %.2f, service %.2f: %.0f, at most %.0f minutes\n",
			      rows[i].power, rows[i].service, minutes[10], minutes[20]);
		assert_true(minutes[10] <= 20);
	}
}

/* ---- what is said ---- */

static void feed(struct self_check *c, double power, double service, uint32_t minutes)
{
	for (uint32_t i = 0; i < minutes; i++)
		self_check_feed(c, &(struct self_check_sample){
					   .now_ns = (i + 1) * 60 * UINT64_C(1000000000),
					   .power_s = 60,
					   .busy = 1,
					   /* Blocks differ by a percent either way. */
					   .measured_w = 100 * power * (i % 2 ? 1.01 : 0.99),
					   .predicted_w = 100,
					   .service_s = 60,
					   .services = 1000,
					   .observed_ns = 1000 * service * (i % 2 ? 1.01 : 0.99),
					   .expected_ns = 1000,
				   });
}

static void test_nothing_is_said_before_ten_minutes(void **state)
{
	struct self_check c;

	(void)state;
	self_check_init(&c);
	feed(&c, 1.5, 1.5, 9);
	assert_false(c.series[SELF_CHECK_POWER].known);
	assert_int_equal(self_check_stale(&c), 0);
	assert_true(self_check_slowness(&c) == 1);
	feed(&c, 1.5, 1.5, 1);
	assert_int_equal(self_check_stale(&c), 3);
}

static void test_stale_says_how_far_and_since_when_and_ends_inside_again(void **state)
{
	const struct self_check_series *s;
	struct self_check c;

	(void)state;
	self_check_init(&c);
	feed(&c, 1, 1.15, 12);
	s = &c.series[SELF_CHECK_SERVICE];
	assert_int_equal(self_check_stale(&c), 1u << SELF_CHECK_SERVICE);
	assert_int_equal(s->since_ns, 600 * UINT64_C(1000000000));
	assert_true(s->low > 1.1 && s->low < s->ratio && s->ratio < s->high && s->high < 1.2);
	assert_true(fabs(s->ratio - 1.15) < 0.002);
	assert_true(self_check_slowness(&c) == s->high);
	/* 1.075: the interval reaches out on the far side of the tolerance, which is neither. */
	feed(&c, 1, 1.075, 40);
	assert_true(s->low < 1.08 && s->high > 1.08);
	assert_int_equal(self_check_stale(&c), 1u << SELF_CHECK_SERVICE);
	feed(&c, 1, 1.03, 20);
	assert_int_equal(self_check_stale(&c), 0);
	assert_int_equal(s->since_ns, 0);
	assert_true(self_check_slowness(&c) == 1);
	feed(&c, 1, 1.075, 40);
	assert_int_equal(self_check_stale(&c), 0);
}

static void test_a_faster_card_is_stale_but_needs_no_margin(void **state)
{
	struct self_check c;

	(void)state;
	self_check_init(&c);
	feed(&c, 0.8, 0.8, 10);
	assert_int_equal(self_check_stale(&c), 3);
	assert_true(self_check_slowness(&c) == 1);
	self_check_init(&c);
	feed(&c, 1, 3, 10);
	assert_true(self_check_slowness(&c) == SELF_CHECK_SLOWNESS_MAX);
}

static void test_idle_power_and_few_services_say_nothing(void **state)
{
	struct self_check_sample s = {.power_s = 60,
				      .busy = 0.9 * SELF_CHECK_BUSY_LEAST,
				      .measured_w = 30,
				      .predicted_w = 20,
				      .service_s = 60,
				      .services = 1,
				      .observed_ns = 2,
				      .expected_ns = 1};
	struct self_check c;

	(void)state;
	self_check_init(&c);
	for (uint32_t i = 0; i < 200; i++)
		self_check_feed(&c, &s);
	assert_int_equal(c.series[SELF_CHECK_POWER].n, 0);
	/* 30 to a block. */
	assert_int_equal(c.series[SELF_CHECK_SERVICE].n, 6);
}

static void test_what_is_no_number_is_ignored(void **state)
{
	static const double bad[] = {NAN, INFINITY, -INFINITY, -1, 0};
	struct self_check c, untouched;

	(void)state;
	self_check_init(&c);
	untouched = c;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		for (uint32_t k = 0; k < 3; k++) {
			double v[3] = {1, 1, 1};

			v[k] = bad[i];
			self_check_feed(&c, &(struct self_check_sample){
						    .power_s = v[0],
						    .busy = 1,
						    .measured_w = v[1],
						    .predicted_w = v[2],
						    .service_s = v[0],
						    .services = 1,
						    .observed_ns = v[1],
						    .expected_ns = v[2],
					    });
		}
	self_check_feed(&c, &(struct self_check_sample){
				    .power_s = 1, .busy = NAN, .measured_w = 1, .predicted_w = 1});
	assert_memory_equal(&c, &untouched, sizeof(c));
}

static void test_subjects_have_names(void **state)
{
	(void)state;
	assert_string_equal(self_check_subject_name(SELF_CHECK_POWER), "power");
	assert_string_equal(self_check_subject_name(SELF_CHECK_SERVICE), "service-time");
	assert_null(self_check_subject_name(SELF_CHECK_SUBJECTS));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_month_of_correct_profiles_raises_no_alarm),
		cmocka_unit_test(test_what_has_drifted_is_found_within_twenty_minutes),
		cmocka_unit_test(test_nothing_is_said_before_ten_minutes),
		cmocka_unit_test(test_stale_says_how_far_and_since_when_and_ends_inside_again),
		cmocka_unit_test(test_a_faster_card_is_stale_but_needs_no_margin),
		cmocka_unit_test(test_idle_power_and_few_services_say_nothing),
		cmocka_unit_test(test_what_is_no_number_is_ignored),
		cmocka_unit_test(test_subjects_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
