/* SPDX-License-Identifier: Apache-2.0 */
/* The card under what runs, and the sums over time. */
#include "base/units.h"
#include "replay/simulation-internal.h"
#include <errno.h>
#include <math.h>

static int shapes_new(struct simulation *s)
{
	const struct truth *t = s->options.truth;

	s->shapes = costs_shapes(s->models[0].load.costs, &s->n_shapes);
	s->ungated = calloc(s->n_shapes, sizeof(*s->ungated));
	s->cus = calloc(s->n_shapes, sizeof(*s->cus));
	if (!s->ungated || !s->cus)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->n_shapes; i++) {
		s->ungated[i] = plant_ungated_cus(&t->device, t->card.gating, s->shapes[i]);
		s->cus[i] = cu_shape_cus(s->shapes[i]);
	}
	return 0;
}

int simulation_card_new(struct simulation *s)
{
	const struct simulation_options *o = &s->options;
	int r;

	s->device = o->truth->device;
	if (o->schedule)
		s->device.switch_ms = 0;
	r = shapes_new(s);
	if (r == 0)
		r = plant_card_new(&s->device, &o->truth->card, /* now_ns= */ 0, &s->card);
	if (r < 0)
		return r;
	s->cap_w = s->device.cap_w;
	if (o->cap_w > 0) {
		s->cap_w = o->cap_w;
		plant_card_set_cap_uw(s->card, (uint64_t)llround(o->cap_w * 1e6));
	} else if (o->governor && o->governor->power_cap_uw > 0) {
		s->cap_w = (double)o->governor->power_cap_uw * 1e-6;
	}
	for (uint32_t i = 0; i < s->n_models; i++) {
		struct simulated_model *m = &s->models[i];

		m->configuration = (struct configuration){
			.level = (uint16_t)(s->device.n_levels - 1),
			.shape = (uint16_t)(s->n_shapes - 1),
			.batch = 1,
		};
		m->interval_configuration = m->configuration;
	}
	return simulation_share_init(s);
}

static bool stalled(const struct simulation *s)
{
	return s->now_ns < s->stalled_until_ns;
}

/* What was done up to now counts as it was. */
static void settle(const struct simulation *s, struct execution *e)
{
	if (isfinite(e->full_ns))
		e->left = fmax(0, e->left - (double)(s->now_ns - e->since_ns) / e->full_ns);
	e->since_ns = s->now_ns;
	e->full_ns = INFINITY;
	e->end_ns = UINT64_MAX;
}

static const struct plant_cost *cost_of(const struct simulation *s, struct simulated_model *m,
					uint32_t level, uint32_t batch)
{
	uint32_t shape = m->configuration.shape;
	uint32_t key = (level * s->n_shapes + shape) * 257 + batch;
	struct memo *memo = &m->memo[key % SIMULATION_MEMO];

	if (memo->batch != batch || memo->level != level || memo->shape != shape)
		*memo = (struct memo){
			.level = level,
			.shape = shape,
			.batch = batch,
			.cost = costs_get(m->load.costs, level, shape, batch),
		};
	return &memo->cost;
}

static void add_rates(struct plant_rates *sum, const struct execution *e)
{
	sum->flop += e->cost.flop / e->full_ns;
	sum->bytes += e->cost.bytes / e->full_ns;
	sum->uncore_share += e->cost.uncore_ns * e->factor / e->full_ns;
}

static void settle_model(struct simulation *s, struct simulated_model *m, bool works)
{
	uint32_t level = plant_card_level(s->card);

	for (uint32_t i = 0; m->n_running > 0 && i < m->load.workers; i++) {
		struct execution *e = &m->executions[i];

		if (!e->running)
			continue;
		settle(s, e);
		if (works)
			e->cost = *cost_of(s, m, level, e->n);
	}
}

/* The model's part of what the card does. */
static struct plant_rates run_model(struct simulation *s, struct simulated_model *m)
{
	struct plant_rates rates = {0};

	for (uint32_t i = 0; m->n_running > 0 && i < m->load.workers; i++) {
		struct execution *e = &m->executions[i];

		if (!e->running)
			continue;
		e->full_ns = e->cost.ns * e->factor * m->stretch;
		e->end_ns = s->now_ns + (uint64_t)llround(e->left * e->full_ns);
		add_rates(&rates, e);
	}
	return rates;
}

void simulation_retime(struct simulation *s)
{
	bool works = s->n_running > 0 && !stalled(s);
	double uncore_asleep = 1;

	s->rates = (struct plant_rates){0};
	for (uint32_t i = 0; i < s->n_models; i++)
		settle_model(s, &s->models[i], works);
	if (!works)
		return;
	simulation_share(s);
	s->rates.busy_share = 1;
	s->rates.ungated_cus = s->ungated_cus;
	for (uint32_t i = 0; i < s->n_models; i++) {
		struct plant_rates r = run_model(s, &s->models[i]);

		s->rates.flop += r.flop;
		s->rates.bytes += r.bytes;
		s->rates.uncore_share += r.uncore_share;
		uncore_asleep *= 1 - fmin(1, r.uncore_share);
	}
	/* Awake while any model's launches keep it awake, each at its own times. */
	if (s->n_models > 1)
		s->rates.uncore_share = 1 - uncore_asleep;
}

static void add_time(struct simulation *s, uint64_t ns, uint32_t level, double energy_j)
{
	double dt_s = (double)ns * 1e-9, over_j = energy_j - s->cap_w * dt_s;
	struct sums *sums = &s->sums;

	sums->energy_j += energy_j;
	if (s->n_running > 0)
		sums->busy_s += dt_s;
	else
		sums->idle_energy_j += energy_j;
	if (over_j > 0) {
		sums->over_cap_s += dt_s;
		sums->over_cap_j += over_j;
	}
	sums->sclk_mhz_s += s->device.level_mhz[level] * dt_s;
	for (uint32_t i = 0; i < s->n_models; i++)
		s->models[i].sums.cu_s += s->cus[s->models[i].configuration.shape] * dt_s;
}

bool simulation_card_go(struct simulation *s, uint64_t until_ns)
{
	uint32_t level = plant_card_level(s->card);
	double before_j = plant_card_energy_j(s->card);
	uint64_t reached_ns = plant_card_advance(s->card, until_ns, &s->rates);

	add_time(s, reached_ns - s->now_ns, level, plant_card_energy_j(s->card) - before_j);
	s->now_ns = reached_ns;
	if (plant_card_level(s->card) == level)
		return true;
	simulation_retime(s);
	return false;
}

void simulation_card_limit(struct simulation *s, uint32_t level)
{
	uint32_t top = s->device.n_levels - 1;

	s->asked_level = level;
	for (uint32_t i = 0; i < s->n_models; i++)
		s->models[i].configuration.level = (uint16_t)MIN(level, top);
	simulation_card_rewrite(s);
}

/* Under a limit, from the lowest level on, the card's DPM does what it does without one. */
void simulation_card_rewrite(struct simulation *s)
{
	uint32_t level = MIN(s->asked_level, s->firmware_level);

	if (level == SIMULATION_AUTO) {
		plant_card_set_perf_level(s->card, PLANT_PERF_AUTO);
		return;
	}
	plant_card_set_perf_level(s->card, PLANT_PERF_MANUAL);
	plant_card_set_range(s->card, 0, level);
}
