/* SPDX-License-Identifier: Apache-2.0 */
/* The search that knows everything, against all schedules there are, on runs that are short enough
 * for that. */
#include "base/macros.h"
#include "base/units.h"
#include "replay/oracle-internal.h"
#include "support/cmocka-includes.h"
#include <math.h>
#include <string.h>

#define SEED	     UINT64_C(411)
#define TICKS	     3
#define TICK_NS	     (250 * NSEC_PER_MSEC)
#define MAX_REQUESTS 500
#define SETUPS	     24

static struct fixture {
	struct plant_device *device;
	struct plant_model *model;
	struct truth truth;
	struct costs *costs;
	struct oracle_candidates *candidates;
	uint64_t arrival_ns[MAX_REQUESTS], maximum_ns[MAX_REQUESTS];
	double factor[MAX_REQUESTS]; /* on each request's service time */
	struct simulation_result maximum;
	struct oracle_options options;
} f;

static int load(void **state)
{
	const struct truth_options o = {.gating = PLANT_GATING_CU,
					.switch_ms = 0,
					.dpm_ramp_ms = -1,
					.idle_active_share = 0.1};
	const struct costs_options batches = {.n_batches = 2, .batches = {1, 2}};
	struct ini_error error;
	struct truth bench;

	(void)state;
	if (plant_device_load(COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini", &f.device, &error) <
		    0 ||
	    plant_model_load(COFRIS_SOURCE_DIR "/profiles/models/resnet152.ini", &f.model, &error) <
		    0 ||
	    truth_bench(f.device, &o, &bench) < 0 || truth_service(&bench, SEED, 0, &f.truth) < 0)
		return -1;
	return costs_new(&f.truth, f.model, &batches, &f.costs) < 0 ? -1 : 0;
}

static int unload(void **state)
{
	(void)state;
	f.candidates = oracle_candidates_free(f.candidates);
	f.costs = costs_free(f.costs);
	free(f.model);
	free(f.device);
	return 0;
}

static uint32_t request_count(void)
{
	return f.options.run.n_arrivals;
}

struct price {
	double energy_j;
	uint32_t late;
};

static bool is_late(uint32_t request, double end_ns)
{
	return f.maximum_ns[request] <= f.options.measures.slo_ns &&
	       end_ns - (double)f.arrival_ns[request] > (double)f.options.measures.slo_ns;
}

/* What a schedule costs: each execution runs from tick to tick at the pace of each. What has not
 * ended by the last one is late, and costs the least that it can. */
static struct price price_of(const struct oracle_candidate *const *schedule)
{
	const double end_ns = TICKS * (double)TICK_NS;
	double now_ns = 0;
	struct price p = {0};

	for (uint32_t t = 0; t < TICKS; t++)
		p.energy_j += schedule[t]->idle_w * TICK_NS * 1e-9;
	for (uint32_t i = 0; i < request_count();) {
		double left = 1, start_ns = fmax(now_ns, (double)f.arrival_ns[i]);
		uint32_t n = 1, first = i;

		now_ns = start_ns;
		if (start_ns < end_ns) {
			uint32_t batch =
				schedule[(uint32_t)(start_ns / TICK_NS)]->configuration.batch;

			while (n < batch && i + n < request_count() &&
			       (double)f.arrival_ns[i + n] <= start_ns)
				n++;
		}
		while (left > 0 && now_ns < end_ns) {
			uint32_t tick = (uint32_t)(now_ns / TICK_NS);
			double ns = schedule[tick]->ns[n - 1] * f.factor[first];
			double until_ns = fmin(now_ns + left * ns, (tick + 1) * (double)TICK_NS);

			p.energy_j += schedule[tick]->dynamic_w[n - 1] * (until_ns - now_ns) * 1e-9;
			left -= (until_ns - now_ns) / ns;
			if (left < 1e-12)
				left = 0;
			now_ns = until_ns;
		}
		p.energy_j += left * n * f.candidates->least_j;
		for (; i < first + n; i++)
			p.late += is_late(i, left > 0 ? INFINITY : now_ns);
	}
	return p;
}

static uint32_t make_arrivals(uint64_t seed, double unit_ns)
{
	double t_ns = 0;
	uint32_t n = 0;

	while (n < MAX_REQUESTS) {
		uint32_t tick = (uint32_t)(t_ns / TICK_NS);
		double load = 0.05 + plant_uniform(seed + 1, tick);

		t_ns += unit_ns / load * plant_exponential(seed, n);
		if (t_ns >= (TICKS - 1) * (double)TICK_NS)
			break;
		f.arrival_ns[n++] = (uint64_t)t_ns;
	}
	return n;
}

/* First in, first out, one at a time, on the whole card. */
static void serve_on_maximum(uint64_t seed, uint32_t n, double unit_ns)
{
	const struct truth *t = &f.truth;
	double end_ns = 0;

	for (uint32_t i = 0; i < n; i++) {
		double arrival_ns = (double)f.arrival_ns[i];

		f.factor[i] = plant_jitter(seed, i, t->jitter_sigma, t->stall_p, t->stall_factor) *
			      (1 + t->drift_per_s * arrival_ns * 1e-9);
		end_ns = fmax(end_ns, arrival_ns) + unit_ns * f.factor[i];
		f.maximum_ns[i] = (uint64_t)(end_ns - arrival_ns);
	}
}

/* Two ticks of different load, one to drain, and what of it is on time on the whole card. */
static void make_run(uint32_t setup)
{
	double unit_ns = f.candidates->maximum.ns[0];
	uint64_t seed = plant_hash(SEED, setup);
	uint32_t n = make_arrivals(seed, unit_ns);

	serve_on_maximum(seed, n, unit_ns);
	f.maximum = (struct simulation_result){.n = n, .latency_ns = f.maximum_ns};
	memset(&f.options, 0, sizeof(f.options));
	f.options.run = (struct simulation_options){
		.truth = &f.truth,
		.costs = f.costs,
		.arrival_ns = f.arrival_ns,
		.n_arrivals = n,
		.duration_ns = (TICKS - 1) * TICK_NS,
		.poll_ns = TICK_NS,
		.drain_limit_ns = TICK_NS,
		.seed = seed,
	};
	f.options.measures.slo_ns = (uint64_t)(unit_ns * (1.5 + 4 * plant_uniform(seed, n)));
	f.options.maximum = &f.maximum;
}

static const double mu_j[] = {1e-3, 0.3, 3, 1000};
#define MUS ARRAY_SIZE(mu_j)

static double cost_of(const struct price *p, size_t mu)
{
	return p->energy_j + mu_j[mu] * p->late;
}

static void cheapest_of_all(double least[MUS])
{
	const struct oracle_candidate *schedule[TICKS];
	uint32_t n = f.candidates->n, all = 1;

	for (uint32_t t = 0; t < TICKS; t++)
		all *= n;
	for (size_t mu = 0; mu < MUS; mu++)
		least[mu] = INFINITY;
	for (uint32_t i = 0; i < all; i++) {
		struct price p;

		for (uint32_t t = 0, rest = i; t < TICKS; t++, rest /= n)
			schedule[t] = &f.candidates->all[rest % n];
		p = price_of(schedule);
		for (size_t mu = 0; mu < MUS; mu++)
			least[mu] = fmin(least[mu], cost_of(&p, mu));
	}
}

static const struct oracle_candidate *candidate_of(const struct configuration *c)
{
	for (uint32_t i = 0; i < f.candidates->n; i++)
		if (memcmp(&f.candidates->all[i].configuration, c, sizeof(*c)) == 0)
			return &f.candidates->all[i];
	fail_msg("a configuration that is no candidate");
	return NULL;
}

static double cheapest_found(size_t mu)
{
	_cleanup_(oracle_search_freep) struct oracle_search *search = NULL;
	const struct oracle_work work = {f.candidates, &f.options, TICKS};
	const struct oracle_candidate *schedule[TICKS];
	struct configuration found[TICKS];
	struct price p;

	assert_int_equal(oracle_search_new(&work, &search), 0);
	oracle_search_run(search, mu_j[mu], found);
	for (uint32_t t = 0; t < TICKS; t++)
		schedule[t] = candidate_of(&found[t]);
	p = price_of(schedule);
	return cost_of(&p, mu);
}

static void choose_candidates(uint32_t n_levels, uint32_t max_batch)
{
	f.candidates = oracle_candidates_free(f.candidates);
	assert_int_equal(oracle_candidates_new(f.costs, n_levels, max_batch, &f.candidates), 0);
}

/* A beam may lose the best way; it must find it nearly always, and never be far from it. */
static void check_search(uint32_t setups)
{
	uint32_t exact = 0;

	for (uint32_t setup = 0; setup < setups; setup++) {
		double least[MUS];

		make_run(setup);
		cheapest_of_all(least);
		for (size_t mu = 0; mu < MUS; mu++) {
			double found = cheapest_found(mu);

			if (found > least[mu] * 1.015 || found < least[mu] * (1 - 1e-9))
				fail_msg("seed %llu, set-up %u, mu %g: %f J, least %f J",
					 (unsigned long long)SEED, setup, mu_j[mu], found,
					 least[mu]);
			exact += found <= least[mu] * (1 + 1e-9);
		}
	}
	print_message("%u candidates: the best schedule in %u of %zu\n", f.candidates->n, exact,
		      setups * MUS);
	assert_true(exact * 20 >= setups * MUS * 19);
}

static void no_schedule_is_cheaper(void **state)
{
	(void)state;
	choose_candidates(f.truth.device.n_levels, /* max_batch= */ 1);
	check_search(SETUPS);
}

static void no_schedule_with_batches_is_cheaper(void **state)
{
	(void)state;
	choose_candidates(/* n_levels= */ 3, /* max_batch= */ 2);
	check_search(SETUPS / 2);
}

/* Each configuration that was left out is beaten by one that was not. */
static void candidates_beat_all_others(void **state)
{
	uint32_t n_shapes;

	(void)state;
	f.candidates = oracle_candidates_free(f.candidates);
	assert_int_equal(oracle_candidates_new(f.costs, f.truth.device.n_levels, 1, &f.candidates),
			 0);
	(void)costs_shapes(f.costs, &n_shapes);
	assert_true(f.candidates->n < f.truth.device.n_levels * n_shapes / 2);
	for (uint32_t l = 0; l < f.truth.device.n_levels; l++)
		for (uint32_t s = 0; s < n_shapes; s++) {
			double ns = costs_get(f.costs, l, s, 1).ns,
			       idle_w = costs_idle_w(f.costs, l);
			double j = ns * (costs_busy_w(f.costs, l, s, 1) - idle_w) * 1e-9;
			bool covered = false;

			for (uint32_t i = 0; i < f.candidates->n && !covered; i++) {
				const struct oracle_candidate *c = &f.candidates->all[i];

				covered = c->ns[0] <= ns && oracle_dynamic_j(c, 1) <= j &&
					  c->idle_w <= idle_w;
			}
			assert_true(covered);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(candidates_beat_all_others),
		cmocka_unit_test(no_schedule_is_cheaper),
		cmocka_unit_test(no_schedule_with_batches_is_cheaper),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
