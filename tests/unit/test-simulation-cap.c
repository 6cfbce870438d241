/* SPDX-License-Identifier: Apache-2.0 */
/* A power cap that is halved while a burst is being served, on a card that does not enforce it, and
 * draws what its profile says or more: what the governor does about it alone. */
#include "response/menu.h"
#include "simulation-fixture.h"

#define BURST_NS   (10 * SEC)
#define ORDER_NS   (15 * SEC + 130 * MS) /* between two ticks */
#define END_NS	   (25 * SEC)
#define CAP_W	   300
#define HALF_CAP_W 150

static struct profile {
	struct response_table *table;
	struct response_menu *menu;
} profile;

static struct governor_config config, ordered;
static struct simulation_event order;

/* Clock and batch; a mask would only take longer. */
static void make_profile(void)
{
	const struct costs_options batches = {.n_batches = 3, .batches = {1, 2, 4}};
	const struct bench_options sweep = {.batches = &batches,
					    .seed = FIXTURE_SEED,
					    .cell_s = 5,
					    .quick = true,
					    .noiseless = true};
	_cleanup_(surface_freep) struct surface *surface = NULL;
	_cleanup_(response_tails_freep) struct response_tails *tails = NULL;
	struct table_options o = TABLE_OPTIONS_DEFAULT;

	o.max_batch = 4;
	o.free_mask = false;
	o.late_cost = TABLE_LATE_COST;
	assert_int_equal(bench_sweep(&fixture.truth, fixture.model, &sweep, &surface), 0);
	assert_int_equal(response_tails_new(surface, o.seed, &tails), 0);
	assert_int_equal(response_table_derive_from(tails, &o, &profile.table, NULL), 0);
	assert_int_equal(response_menu_derive(tails, &o, profile.table, &profile.menu, NULL), 0);
}

static int load(void **state)
{
	(void)state;
	return fixture_load_model(COFRIS_SOURCE_DIR "/profiles/models/resnet50.ini");
}

static int end(void **state)
{
	free(TAKE_PTR(profile.menu));
	free(TAKE_PTR(profile.table));
	return fixture_end(state);
}

static void make_config(void)
{
	const struct plant_device *d = &fixture.truth.device;

	memset(&config, 0, sizeof(config));
	config.poll_ns = fixture.options.poll_ns;
	config.n_levels = d->n_levels;
	memcpy(config.level_mhz, d->level_mhz, d->n_levels * sizeof(d->level_mhz[0]));
	config.topology = d->topology;
	config.power_cap_uw = CAP_W * UW_PER_W;
	config.n_models = 1;
	(void)snprintf(config.models[0].name, sizeof(config.models[0].name), "resnet50");
	config.models[0].table = profile.table;
	config.models[0].menu = profile.menu;
	config.models[0].policy = "cofris";
	config.models[0].max_batch = 4;
	config.models[0].priority = 100;
	fixture.options.governor = &config;
}

/* For the governor an order is a configuration with another cap. */
static void order_cap(uint64_t uw)
{
	ordered = config;
	ordered.power_cap_uw = uw;
	order = (struct simulation_event){
		.kind = SIMULATION_RELOAD,
		.from_ns = ORDER_NS,
		.until_ns = END_NS,
		.governor = &ordered,
	};
	fixture.options.events = &order;
	fixture.options.n_events = 1;
}

/* 0.4 R, and 1.8 R from BURST_NS on. */
static void make_burst(void)
{
	double t_ns = 0;
	uint32_t n = 0, size = (uint32_t)(2.5 * profile.table->rated_rps * END_NS * 1e-9) + 100;

	fixture.arrivals = calloc(size, sizeof(*fixture.arrivals));
	assert_non_null(fixture.arrivals);
	while (t_ns < END_NS) {
		double load = t_ns < BURST_NS ? 0.4 : 1.8;

		t_ns += plant_exponential(FIXTURE_SEED, n) * 1e9 /
			(load * profile.table->rated_rps);
		assert_true(n < size);
		fixture.arrivals[n++] = (uint64_t)t_ns;
	}
	fixture_arrivals(fixture.arrivals, n - 1);
	fixture.options.duration_ns = END_NS;
	fixture.options.slo_ns = profile.table->slo_ns;
	fixture.options.trace_ticks = true;
}

/* Highest mean power of an interval that begins after from_s and is over by to_s. */
static double highest_w(double from_s, double to_s)
{
	double w = 0;

	for (uint32_t i = 0; i + 1 < fixture.result.n_ticks; i++)
		if (fixture.result.ticks[i].t_s >= from_s &&
		    fixture.result.ticks[i + 1].t_s <= to_s)
			w = fmax(w, fixture.result.ticks[i].power_w);
	return w;
}

static void run(double power_factor)
{
	fixture_make_costs(4);
	make_profile();
	costs_free(TAKE_PTR(fixture.costs));
	fixture.truth.card.power_factor = power_factor;
	fixture_make_costs(4);
	make_config();
	make_burst();
	order_cap(HALF_CAP_W * UW_PER_W);
	fixture_run(0);
}

static void test_a_cap_halved_in_mid_burst_is_obeyed_within_a_tick(void **state)
{
	double order_s = ORDER_NS * 1e-9, poll_s, most_w;

	(void)state;
	run(1);
	poll_s = (double)fixture.options.poll_ns * 1e-9;
	/* The burst was served above what the new cap allows, and inside the old one. */
	most_w = highest_w(BURST_NS * 1e-9 + 1, order_s);
	assert_true(most_w > HALF_CAP_W && most_w < CAP_W);
	assert_true(highest_w(order_s + poll_s, END_NS * 1e-9) <= HALF_CAP_W);
	/* Until the next tick, and the card's switch. */
	print_message("%.3f s above the cap\n", fixture.result.over_cap_s);
	assert_true(fixture.result.over_cap_s > 0 && fixture.result.over_cap_s <= poll_s + 0.02);
}

/* A tenth more than profiled: until that is learnt. */
static void test_a_card_that_draws_more_is_soon_inside(void **state)
{
	double order_s = ORDER_NS * 1e-9;

	(void)state;
	run(1.1);
	assert_true(highest_w(order_s + 4, END_NS * 1e-9) <= HALF_CAP_W);
	print_message("%.3f s above the cap\n", fixture.result.over_cap_s);
	assert_true(fixture.result.over_cap_s <= 4);
}

static void test_a_cap_taken_away_gives_the_speed_back(void **state)
{
	(void)state;
	fixture_make_costs(4);
	make_profile();
	make_config();
	make_burst();
	config.power_cap_uw = HALF_CAP_W * UW_PER_W;
	order_cap(0);
	fixture_run(0);
	/* All but the first interval, in which nothing is governed yet. */
	assert_true(highest_w(0.5, ORDER_NS * 1e-9) <= HALF_CAP_W);
	assert_true(highest_w(ORDER_NS * 1e-9 + 0.5, END_NS * 1e-9) > HALF_CAP_W);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, fixture_begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_cap_halved_in_mid_burst_is_obeyed_within_a_tick),
		CASE(test_a_card_that_draws_more_is_soon_inside),
		CASE(test_a_cap_taken_away_gives_the_speed_back),
	};

	return cmocka_run_group_tests(tests, load, fixture_unload);
}
