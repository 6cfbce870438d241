/* SPDX-License-Identifier: Apache-2.0 */
/* The simulation against the plainest one there is, which steps through time: random schedules,
 * loads, cards and gatings, with DPM, jitter, drift and a power cap. */
#include "simulation-fixture.h"

#define STEP_NS UINT64_C(20000)
#define RUN_NS	(4 * SEC)
#define RUNS	20

static int load(void **state)
{
	(void)state;
	return fixture_load_model(COFRIS_SOURCE_DIR "/profiles/models/resnet50.ini");
}

/* ---- the reference ---- */

struct reference {
	struct plant_device device;
	struct plant_card *card;
	uint32_t next; /* to be served or being served */
	bool serving;
	double left, factor;
	double *latency_ns, free_ns;
	double energy_j, mhz_s;
};

static double factor_of(const struct truth *t, uint32_t request, double now_ns)
{
	return plant_jitter(FIXTURE_SEED, request, t->jitter_sigma, t->stall_p, t->stall_factor) *
	       (1 + t->drift_per_s * now_ns * 1e-9);
}

/* What one server does in [t, t + STEP_NS) at this clock and shape. */
static void serve(struct reference *r, double t_ns, const struct plant_cost *cost, uint32_t ungated,
		  struct plant_activity *ret)
{
	double end_ns = t_ns + STEP_NS, busy_ns = 0, done = 0;

	while (r->next < fixture.options.n_arrivals) {
		double arrival_ns = (double)fixture.options.arrival_ns[r->next], full_ns, need_ns;

		if (!r->serving) {
			t_ns = fmax(t_ns, arrival_ns);
			if (t_ns >= end_ns)
				break;
			r->serving = true;
			r->left = 1;
			r->factor = factor_of(&fixture.truth, r->next, t_ns);
		}
		full_ns = cost->ns * r->factor;
		need_ns = fmin(r->left * full_ns, end_ns - t_ns);
		r->left -= need_ns / full_ns;
		done += need_ns / full_ns;
		busy_ns += need_ns;
		t_ns += need_ns;
		if (t_ns >= end_ns)
			break;
		r->latency_ns[r->next++] = t_ns - arrival_ns;
		r->serving = false;
	}
	*ret = (struct plant_activity){
		.busy_ns = (uint64_t)llround(busy_ns),
		.ungated_cu_ns = busy_ns * ungated,
		.flop = done * cost->flop,
		.bytes = done * cost->bytes,
		.uncore_ns = busy_ns * cost->uncore_ns / cost->ns,
	};
}

static void reference_run(struct reference *r, uint64_t end_ns)
{
	const struct truth *t = &fixture.truth;
	uint32_t n_shapes;
	const struct cu_shape *shapes = costs_shapes(fixture.costs, &n_shapes);

	r->device = t->device;
	r->device.switch_ms = 0;
	r->latency_ns = calloc(MAX(fixture.options.n_arrivals, 1u), sizeof(*r->latency_ns));
	assert_int_equal(plant_card_new(&r->device, &t->card, 0, &r->card), 0);
	if (fixture.options.cap_w > 0)
		plant_card_set_cap_uw(r->card, (uint64_t)(fixture.options.cap_w * 1e6));
	plant_card_set_perf_level(r->card, PLANT_PERF_MANUAL);
	for (uint64_t now = 0; now < end_ns; now += STEP_NS) {
		uint32_t i = MIN((uint32_t)(now / fixture.options.poll_ns),
				 fixture.options.n_schedule - 1);
		const struct configuration *c = &fixture.options.schedule[i];
		uint32_t level = plant_card_level(r->card);
		struct plant_activity a;
		struct plant_cost cost;

		if (now % fixture.options.poll_ns == 0) {
			plant_card_set_range(r->card, 0, c->level);
			plant_card_step(r->card, now, &(struct plant_activity){0});
		}
		cost = costs_get(fixture.costs, level, c->shape, 1);
		serve(r, (double)now, &cost,
		      plant_ungated_cus(&r->device, t->card.gating, shapes[c->shape]), &a);
		r->mhz_s += r->device.level_mhz[level] * STEP_NS * 1e-9;
		plant_card_step(r->card, now + STEP_NS, &a);
	}
	r->energy_j = plant_card_energy_j(r->card);
}

static void reference_done(struct reference *r)
{
	plant_card_free(r->card);
	free(r->latency_ns);
}

/* ---- what is compared ---- */

static double draw(uint64_t *n, double low, double high)
{
	return low + (high - low) * plant_uniform(FIXTURE_SEED, 1000000 + (*n)++);
}

static void make_truth(uint64_t *n)
{
	struct truth *t = &fixture.truth;

	t->card.gating = (enum plant_gating)draw(n, 0, 2.999);
	t->card.power_factor = draw(n, 0.95, 1.1);
	t->jitter_sigma = draw(n, 0, 0.05);
	t->stall_p = 0.01;
	t->stall_factor = 1.5;
	t->drift_per_s = draw(n, -1e-3, 1e-3);
	t->device.dpm_ramp_ms = draw(n, 0, 1) < 0.2 ? 0 : draw(n, 2, 50);
	t->device.idle_active_share = draw(n, 0, 1);
	fixture.options.cap_w = draw(n, 0, 1) < 0.3 ? draw(n, 80, 200) : 0;
	fixture_make_costs(1);
}

static void make_schedule(uint64_t *n, struct configuration *c, uint32_t n_schedule)
{
	uint32_t n_shapes;

	(void)costs_shapes(fixture.costs, &n_shapes);
	for (uint32_t i = 0; i < n_schedule; i++)
		c[i] = (struct configuration){
			.level = (uint16_t)draw(n, 0, 8.999),
			.shape = (uint16_t)draw(n, n_shapes / 3.0, n_shapes - 0.001),
			.batch = 1,
		};
	fixture.options.schedule = c;
	fixture.options.n_schedule = n_schedule;
}

static void compare(const struct reference *r)
{
	double sum_ns = 0, worst_ns = 0;
	uint32_t n = fixture.result.n;

	assert_int_equal(r->next, n);
	for (uint32_t i = 0; i < n; i++) {
		double off_ns = fabs((double)fixture.result.latency_ns[i] - r->latency_ns[i]);

		sum_ns += off_ns;
		worst_ns = fmax(worst_ns, off_ns);
	}
	assert_close("energy", fixture.result.energy_j / r->energy_j, 1, 1e-4);
	assert_close("clock", fixture.result.mean_sclk_mhz * fixture.result.length_s / r->mhz_s, 1,
		     1e-4);
	if (n > 0)
		assert_close("mean of latency's difference", sum_ns / n, 0, 1.0 * STEP_NS);
	assert_close("latency's largest difference", worst_ns, 0, 3.0 * STEP_NS);
}

static void test_a_simulation_in_small_steps_gives_the_same(void **state)
{
	struct configuration c[8];
	uint64_t n = 0;

	(void)state;
	for (uint32_t run = 0; run < RUNS; run++) {
		struct reference r = {0};
		uint64_t end_ns;

		fixture_begin(NULL);
		make_truth(&n);
		make_schedule(&n, c, 1 + run % 8);
		fixture.options.duration_ns = RUN_NS;
		fixture_poisson(draw(&n, 0.05, 0.6) * 1e9 /
				fixture_service_ns(8, fixture_full_shape(), 1));
		fixture_run(0);
		end_ns = fixture.result.drained_ns + STEP_NS - 1;
		end_ns -= end_ns % STEP_NS;
		fixture_run(end_ns);
		reference_run(&r, end_ns);
		compare(&r);
		reference_done(&r);
		fixture_end(NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_simulation_in_small_steps_gives_the_same),
	};

	return cmocka_run_group_tests(tests, load, fixture_unload);
}
