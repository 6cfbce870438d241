/* SPDX-License-Identifier: Apache-2.0 */
/* Evaluations from a surface that was given, and of the very card that was swept. */
#include "evaluation-fixture.h"
#include <errno.h>

static struct surface *swept; /* of resnet152, by an evaluation */

static struct evaluation_options options(void)
{
	struct evaluation_options o = evaluation_options(PLANT_GATING_NONE);

	o.n_policies = 2;
	o.policies[0] = "maximum";
	o.policies[1] = "coordinated";
	return o;
}

static int load(void **state)
{
	struct evaluation_options o;
	struct evaluation *e;
	int r;

	if (evaluation_load(state) < 0)
		return -1;
	o = options();
	e = evaluation_make(&o);
	r = surface_copy(e->surfaces[0], &swept);
	evaluation_free(e);
	return r;
}

static int unload(void **state)
{
	surface_free(swept);
	return evaluation_unload(state);
}

static void assert_same_rows(const struct evaluation *a, const struct evaluation *b)
{
	assert_int_equal(a->n_rows, b->n_rows);
	for (uint32_t i = 0; i < a->n_rows; i++) {
		const struct evaluation_row *x = &a->rows[i], *y = &b->rows[i];

		assert_string_equal(x->policy, y->policy);
		assert_true(x->slo_ms == y->slo_ms && x->rated_rps == y->rated_rps);
		assert_int_equal(x->m.requests, y->m.requests);
		assert_true(x->m.energy_j == y->m.energy_j);
		assert_true(x->m.p95_ms == y->m.p95_ms);
		assert_true(x->m.excess_late_pct == y->m.excess_late_pct);
		assert_true(x->m.changes == y->m.changes);
	}
}

static bool same_rows(const struct surface *a, const struct surface *b)
{
	return a->n_cells == b->n_cells &&
	       memcmp(a->cells, b->cells, a->n_cells * sizeof(*a->cells)) == 0;
}

/* ---- surfaces ---- */

static void the_sweep_s_own_surface_changes_nothing(void **state)
{
	struct evaluation_options o = options();
	struct evaluation *a, *b;

	(void)state;
	a = evaluation_make(&o);
	o.surfaces[0] = swept;
	b = evaluation_make(&o);
	assert_same_rows(a, b);
	assert_true(b->surfaces[0] != swept);
	assert_true(same_rows(b->surfaces[0], swept));
	evaluation_free(a);
	evaluation_free(b);
}

static void what_is_decided_comes_from_the_surface(void **state)
{
	struct evaluation_options o = options();
	struct surface *slower;
	struct evaluation *a, *b;

	(void)state;
	assert_int_equal(surface_copy(swept, &slower), 0);
	/* Everything but the whole card at its highest clock takes three times as long. */
	for (uint32_t i = 0; i < slower->n_cells; i++) {
		struct surface_cell *c = &slower->cells[i];

		if (c == surface_baseline(slower))
			continue;
		c->capacity_rps /= 3;
		for (uint32_t q = 0; q < SURFACE_QUANTILES; q++)
			c->service_ns[q] *= 3;
	}
	a = evaluation_make(&o);
	o.surfaces[0] = slower;
	b = evaluation_make(&o);
	/* The card is what it was; only the policy with a table goes by it. */
	assert_true(a->rows[0].m.p95_ms == b->rows[0].m.p95_ms);
	assert_true(b->rows[1].m.mean_sclk_mhz > a->rows[1].m.mean_sclk_mhz + 50);
	assert_true(b->rows[1].m.energy_j > a->rows[1].m.energy_j);
	evaluation_free(a);
	evaluation_free(b);
	surface_free(slower);
}

static void only_the_model_that_has_one_goes_by_it(void **state)
{
	struct evaluation_options o = options();
	struct evaluation *a, *b;

	(void)state;
	o.n_models = 2;
	o.models[0] = evaluated.vgg;
	o.models[1] = evaluated.resnet;
	a = evaluation_make(&o);
	o.surfaces[1] = swept;
	b = evaluation_make(&o);
	assert_same_rows(a, b);
	evaluation_free(a);
	evaluation_free(b);
}

static void surfaces_of_something_else_are_refused(void **state)
{
	struct evaluation_options o = options();
	struct surface *other;

	(void)state;
	assert_int_equal(surface_copy(swept, &other), 0);
	o.surfaces[0] = other;
	(void)snprintf(other->model, sizeof(other->model), "vgg19");
	evaluation_refused(&o, -EINVAL, "resnet152: its surface is that of vgg19");
	(void)snprintf(other->model, sizeof(other->model), "resnet152");
	(void)snprintf(other->gfx, sizeof(other->gfx), "gfx90a");
	evaluation_refused(&o, -EINVAL,
			   "resnet152: its surface is of another card: measured on a gfx90a");
	(void)snprintf(other->gfx, sizeof(other->gfx), "%s", swept->gfx);
	other->level_mhz[0] = 700;
	evaluation_refused(&o, -EINVAL, "resnet152: its surface is of another card");
	other->level_mhz[0] = swept->level_mhz[0];
	other->workers = 2;
	evaluation_refused(&o, -EINVAL, "resnet152: its surface is of 2 workers");
	other->workers = 1;
	other->cells[3].shape = (struct cu_shape){4, 3};
	evaluation_refused(&o, -EINVAL, "resnet152: its surface has a mask of 4 x 3 CUs");
	surface_free(other);
}

/* ---- the card that was swept ---- */

static double p95_ms(const uint64_t *arrival_ns, const struct simulation_result *result,
		     const struct evaluation_options *o, uint64_t slo_ns)
{
	const struct measures_options m = {
		.arrival_ns = arrival_ns,
		.n_arrivals = result->n,
		.warm_up_ns = EVALUATE_WARM_UP_NS,
		.slo_ns = slo_ns,
		.percentile = o->percentile,
	};
	struct measures measures;

	assert_int_equal(measures_take(&m, result, result, &measures), 0);
	return measures.p95_ms;
}

static void exact_is_the_bench_card_with_the_worker_s_requests(void **state)
{
	const struct truth_options as_found = {.seed = EVALUATION_SEED,
					       .switch_ms = 5,
					       .dpm_ramp_ms = -1,
					       .idle_active_share = -1};
	const struct costs_options batches = {.n_batches = 1, .batches = {1}};
	struct evaluation_options o = options();
	struct governor_config config = {.poll_ns = EVALUATE_POLL_NS, .n_models = 1};
	struct simulation_options run = {
		.governor = &config,
		.duration_ns = EVALUATION_S * UINT64_C(1000000000),
		.poll_ns = EVALUATE_POLL_NS,
		.warm_up_ns = EVALUATE_WARM_UP_NS,
		.drain_limit_ns = EVALUATE_DRAIN_NS,
		.workers = 1,
		.seed = EVALUATION_SEED,
	};
	struct simulation_result result;
	struct simulation *s;
	struct evaluation *e;
	struct truth truth;
	struct costs *costs;
	uint64_t *arrival_ns;

	(void)state;
	o.exact = true;
	o.n_policies = 1; /* maximum */
	e = evaluation_make(&o);
	assert_int_equal(truth_bench(evaluated.device, &as_found, &truth), 0);
	assert_int_equal(costs_new(&truth, evaluated.resnet, &batches, &costs), 0);
	assert_int_equal(trace_arrivals(&evaluation_trace, e->rows[0].rated_rps, EVALUATION_SEED,
					&arrival_ns, &run.n_arrivals),
			 0);
	run.truth = &truth;
	run.costs = costs;
	run.arrival_ns = arrival_ns;
	config.n_levels = evaluated.device->n_levels;
	memcpy(config.level_mhz, evaluated.device->level_mhz, sizeof(config.level_mhz));
	config.topology = evaluated.device->topology;
	config.models[0] = (struct governor_model_config){.name = "m", .policy = "maximum"};
	assert_int_equal(simulation_new(&run, &s), 0);
	assert_int_equal(simulation_finish(s, simulation_run(s), &result), 0);
	assert_true(e->rows[0].m.p95_ms == p95_ms(arrival_ns, &result, &o, UINT64_MAX));
	simulation_result_done(&result);
	simulation_free(s);
	free(arrival_ns);
	costs_free(costs);
	evaluation_free(e);
}

static void exact_cards_are_one(void **state)
{
	struct evaluation_options o = options();

	(void)state;
	o.exact = true;
	o.service_cards = 2;
	evaluation_refused(&o, -EINVAL, "2 service cards that are all the bench card");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sweep_s_own_surface_changes_nothing),
		cmocka_unit_test(what_is_decided_comes_from_the_surface),
		cmocka_unit_test(only_the_model_that_has_one_goes_by_it),
		cmocka_unit_test(surfaces_of_something_else_are_refused),
		cmocka_unit_test(exact_is_the_bench_card_with_the_worker_s_requests),
		cmocka_unit_test(exact_cards_are_one),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
