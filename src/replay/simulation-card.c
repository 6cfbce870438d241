/* SPDX-License-Identifier: Apache-2.0 */
/* The card under what runs, and the sums over time. Executions at the same time share the CUs of
 * one mask, which leaves each the same part of its speed (whole requests share cards of cofris-sim
 * by the same rule). */
#include "base/units.h"
#include "replay/simulation-internal.h"
#include <errno.h>
#include <math.h>

int simulation_card_new(struct simulation *s)
{
	const struct simulation_options *o = &s->options;
	const struct truth *t = o->truth;
	int r;

	s->device = t->device;
	if (o->schedule)
		s->device.switch_ms = 0;
	s->shapes = costs_shapes(o->costs, &s->n_shapes);
	s->ungated = calloc(s->n_shapes, sizeof(*s->ungated));
	s->cus = calloc(s->n_shapes, sizeof(*s->cus));
	if (!s->ungated || !s->cus)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->n_shapes; i++) {
		s->ungated[i] = plant_ungated_cus(&t->device, t->card.gating, s->shapes[i]);
		s->cus[i] = cu_shape_cus(s->shapes[i]);
	}
	r = plant_card_new(&s->device, &t->card, /* now_ns= */ 0, &s->card);
	if (r < 0)
		return r;
	s->cap_w = s->device.cap_w;
	if (o->cap_w > 0) {
		s->cap_w = o->cap_w;
		plant_card_set_cap_uw(s->card, (uint64_t)llround(o->cap_w * 1e6));
	} else if (o->governor && o->governor->power_cap_uw > 0) {
		s->cap_w = (double)o->governor->power_cap_uw * 1e-6;
	}
	s->configuration = (struct configuration){
		.level = (uint16_t)(s->device.n_levels - 1),
		.shape = (uint16_t)(s->n_shapes - 1),
		.batch = 1,
	};
	s->interval_configuration = s->configuration;
	return 0;
}

static bool stalled(const struct simulation *s)
{
	return s->now_ns < s->stalled_until_ns;
}

/* What was done up to now counts as it was. */
static void settle(struct simulation *s, struct execution *e)
{
	if (isfinite(e->full_ns))
		e->left = fmax(0, e->left - (double)(s->now_ns - e->since_ns) / e->full_ns);
	e->since_ns = s->now_ns;
}

static void add_rates(struct plant_rates *sum, const struct execution *e)
{
	sum->flop += e->cost.flop / e->full_ns;
	sum->bytes += e->cost.bytes / e->full_ns;
	sum->uncore_share += e->cost.uncore_ns * e->factor / e->full_ns;
}

static const struct plant_cost *cost_of(struct simulation *s, uint32_t level, uint32_t shape,
					uint32_t batch)
{
	uint32_t key = (level * s->n_shapes + shape) * 257 + batch;
	struct memo *m = &s->memo[key % SIMULATION_MEMO];

	if (m->batch != batch || m->level != level || m->shape != shape)
		*m = (struct memo){
			.level = level,
			.shape = shape,
			.batch = batch,
			.cost = costs_get(s->options.costs, level, shape, batch),
		};
	return &m->cost;
}

void simulation_retime(struct simulation *s)
{
	uint32_t level = plant_card_level(s->card), shape = s->configuration.shape;
	bool works = s->n_running > 0 && !stalled(s);

	s->rates = (struct plant_rates){0};
	if (works) {
		s->rates.busy_share = 1;
		s->rates.ungated_cus = s->ungated[shape];
	}
	for (uint32_t i = 0; i < s->options.workers; i++) {
		struct execution *e = &s->executions[i];

		if (!e->running)
			continue;
		settle(s, e);
		e->full_ns = INFINITY;
		e->end_ns = UINT64_MAX;
		if (!works)
			continue;
		e->cost = *cost_of(s, level, shape, e->n);
		e->full_ns = e->cost.ns * e->factor * s->n_running;
		e->end_ns = s->now_ns + (uint64_t)llround(e->left * e->full_ns);
		add_rates(&s->rates, e);
	}
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
	sums->cu_s += s->cus[s->configuration.shape] * dt_s;
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

	s->configuration.level = (uint16_t)MIN(level, top);
	if (level == SIMULATION_AUTO) {
		plant_card_set_perf_level(s->card, PLANT_PERF_AUTO);
		return;
	}
	plant_card_set_perf_level(s->card, PLANT_PERF_MANUAL);
	plant_card_set_range(s->card, 0, level);
}

void simulation_set_shape(struct simulation *s, uint32_t shape)
{
	if (shape == s->configuration.shape)
		return;
	s->configuration.shape = (uint16_t)shape;
	simulation_retime(s);
}
