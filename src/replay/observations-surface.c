/* SPDX-License-Identifier: Apache-2.0 */
/* Statements about the card: its response to clock and CUs (figures 2 to 6 of the paper). */
#include "replay/observations.h"
#include <math.h>
#include <string.h>

#define TOP (OBSERVED_LEVELS - 1)
#define ALL OBSERVED_CUS
#define SLO 2.0
/* A rate is held as long as so much of it is there. */
#define HELD 0.9

static const struct observed_response *of_model(const struct observations *o, const char *name)
{
	for (uint32_t m = 0; m < OBSERVED_MODELS; m++)
		if (strcmp(observed_models[m], name) == 0)
			return &o->responses[m];
	return NULL;
}

/* Capacity relative to that of the whole card at its highest clock. */
static double rate(const struct observed_response *r, uint32_t level, uint32_t n)
{
	return r->ns[TOP][ALL] / r->ns[level][n];
}

static double power(const struct observed_response *r, enum plant_gating g, uint32_t level,
		    uint32_t n)
{
	return r->power_w[g][level][n] / r->power_w[PLANT_GATING_NONE][TOP][ALL];
}

static double mean_rate(const struct observations *o, uint32_t level, uint32_t n)
{
	double sum = 0;

	for (uint32_t m = 0; m < OBSERVED_MODELS; m++)
		sum += log(rate(&o->responses[m], level, n));
	return exp(sum / OBSERVED_MODELS);
}

static double mean_power(const struct observations *o, enum plant_gating g, uint32_t level,
			 uint32_t n)
{
	double sum = 0;

	for (uint32_t m = 0; m < OBSERVED_MODELS; m++)
		sum += log(power(&o->responses[m], g, level, n));
	return exp(sum / OBSERVED_MODELS);
}

static void add_clock(struct observed_values *ret, const struct observations *o, uint32_t level,
		      double value)
{
	observed_add(ret, value, "%u MHz", o->device->level_mhz[level]);
}

/* ---- power without gating ---- */

void observe_flat(const struct observations *o, struct observed_values *ret)
{
	for (uint32_t l = 0; l < OBSERVED_LEVELS; l++) {
		double all = mean_power(o, PLANT_GATING_NONE, l, ALL), furthest = 1;

		for (uint32_t n = 32; n < ALL; n++) {
			double p = mean_power(o, PLANT_GATING_NONE, l, n) / all;

			furthest = fabs(p - 1) > fabs(furthest - 1) ? p : furthest;
		}
		add_clock(ret, o, l, furthest);
	}
}

void observe_dip_31(const struct observations *o, struct observed_values *ret)
{
	for (uint32_t l = 0; l < OBSERVED_LEVELS; l++)
		add_clock(ret, o, l,
			  mean_power(o, PLANT_GATING_NONE, l, 32) /
				  mean_power(o, PLANT_GATING_NONE, l, 31));
}

static double dip(const struct observations *o, uint32_t level)
{
	return mean_power(o, PLANT_GATING_NONE, level, 32) -
	       mean_power(o, PLANT_GATING_NONE, level, 30);
}

void observe_dip(const struct observations *o, struct observed_values *ret)
{
	for (uint32_t l = 0; l < OBSERVED_LEVELS; l++) {
		double before = mean_power(o, PLANT_GATING_NONE, l, ALL) -
				mean_power(o, PLANT_GATING_NONE, l, 32);

		add_clock(ret, o, l, dip(o, l) / (before * 2 / (ALL - 32)));
	}
}

void observe_dip_clock(const struct observations *o, struct observed_values *ret)
{
	uint32_t most = 0;

	for (uint32_t l = 1; l < OBSERVED_LEVELS; l++)
		if (dip(o, l) > dip(o, most))
			most = l;
	observed_add(ret, o->device->level_mhz[most], "deepest");
}

void observe_falling(const struct observations *o, struct observed_values *ret)
{
	for (uint32_t l = 0; l < OBSERVED_LEVELS; l++) {
		double most = 0;

		for (uint32_t n = 2; n <= 30; n++)
			most = fmax(most, mean_power(o, PLANT_GATING_NONE, l, n - 1) /
						  mean_power(o, PLANT_GATING_NONE, l, n));
		add_clock(ret, o, l, most);
	}
}

void observe_late_saving(const struct observations *o, struct observed_values *ret)
{
	for (uint32_t l = 0; l < OBSERVED_LEVELS; l++) {
		double one = mean_power(o, PLANT_GATING_NONE, l, 1);

		add_clock(ret, o, l,
			  (mean_power(o, PLANT_GATING_NONE, l, 30) - one) /
				  (mean_power(o, PLANT_GATING_NONE, l, ALL) - one));
	}
}

/* About half of the clock against half of the CUs. */
void observe_clock_saves_more(const struct observations *o, struct observed_values *ret)
{
	observed_add(ret,
		     (1 - mean_power(o, PLANT_GATING_NONE, TOP, 32)) /
			     (1 - mean_power(o, PLANT_GATING_NONE, 0, ALL)),
		     "32 CUs over %u MHz", o->device->level_mhz[0]);
}

/* ---- power with gating ---- */

void observe_active_idle(const struct observations *o, struct observed_values *ret)
{
	const struct plant_device *d = o->device;

	for (uint32_t l = 1; l < OBSERVED_LEVELS; l++)
		add_clock(ret, o, l,
			  plant_cu_active_idle_w(d, d->level_mhz[l]) /
				  plant_cu_active_idle_w(d, d->level_mhz[l - 1]));
}

void observe_gating_grain(const struct observations *o, struct observed_values *ret)
{
	double of_se = 0, of_all = 0;

	for (uint32_t n = 1; n <= ALL; n++) {
		double se = mean_power(o, PLANT_GATING_SE, TOP, n);
		double more = se - mean_power(o, PLANT_GATING_CU, TOP, n);

		of_se += more / se;
		of_all += more;
	}
	observed_add(ret, 100 * of_se / ALL, "of what SE gating draws");
	observed_add(ret, 100 * of_all / ALL, "of the whole card");
}

/* ---- latency ---- */

void observe_latency(const struct observations *o, struct observed_values *ret)
{
	observed_add(ret, mean_rate(o, TOP, 32) / mean_rate(o, 0, ALL), "geometric mean");
}

/* The most CUs with which the lowest clock breaks the objective; 0 for none. */
static uint32_t breaks_at(const struct observed_response *r)
{
	uint32_t n = ALL;

	while (n > 0 && r->ns[0][n] <= SLO * r->ns[TOP][ALL])
		n--;
	return n;
}

void observe_slo_breaks(const struct observations *o, struct observed_values *ret)
{
	for (uint32_t m = 0; m < OBSERVED_MODELS; m++)
		observed_add(ret, breaks_at(&o->responses[m]), "%s", observed_models[m]);
}

void observe_slo_models(const struct observations *o, struct observed_values *ret)
{
	uint32_t half = 0, quarter = 0;

	for (uint32_t m = 0; m < OBSERVED_MODELS; m++) {
		uint32_t n = breaks_at(&o->responses[m]);

		half += n > 15 && n <= 30;
		quarter += n > 0 && n <= 15;
	}
	observed_add(ret, half, "from 16 to 30 CUs");
	observed_add(ret, quarter, "from 15 CUs or fewer");
}

/* ---- rate ---- */

/* The fewest CUs from which on the clock's rate is held. */
static uint32_t knee(const struct observed_response *r, uint32_t level)
{
	uint32_t n = ALL;

	while (n > 1 && rate(r, level, n - 1) >= HELD * rate(r, level, ALL))
		n--;
	return n;
}

void observe_rate_knees(const struct observations *o, struct observed_values *ret)
{
	for (uint32_t m = 0; m < OBSERVED_MODELS; m++)
		observed_add(ret, knee(&o->responses[m], TOP), "%s", observed_models[m]);
}

void observe_rate_holds(const struct observations *o, struct observed_values *ret)
{
	for (uint32_t m = 0; m < OBSERVED_MODELS; m++)
		observed_add(ret, rate(&o->responses[m], TOP, 45), "%s", observed_models[m]);
}

static bool hardly_reacts(const char *model)
{
	return strcmp(model, "shufflenet") == 0 || strcmp(model, "squeezenet") == 0;
}

void observe_cu_limited(const struct observations *o, struct observed_values *ret)
{
	for (uint32_t m = 0; m < OBSERVED_MODELS; m++) {
		const struct observed_response *r = &o->responses[m];
		double most = 0;

		if (hardly_reacts(observed_models[m]))
			continue;
		for (uint32_t l = 0; l < OBSERVED_LEVELS; l++)
			most = fmax(most, rate(r, l, 5) / rate(r, l, 10));
		observed_add(ret, most, "%s", observed_models[m]);
	}
}

static void observe_flat_rate(const struct observations *o, const char *model,
			      struct observed_values *ret)
{
	const struct observed_response *r = of_model(o, model);

	observed_add(ret, rate(r, 0, ALL), "%u MHz on 60 CUs", o->device->level_mhz[0]);
	observed_add(ret, rate(r, TOP, 15), "%u MHz on 15 CUs", o->device->level_mhz[TOP]);
}

void observe_shufflenet(const struct observations *o, struct observed_values *ret)
{
	observe_flat_rate(o, "shufflenet", ret);
}

void observe_squeezenet(const struct observations *o, struct observed_values *ret)
{
	observe_flat_rate(o, "squeezenet", ret);
}

/* ---- optima ---- */

struct optimum {
	uint32_t level, cus;
};

/* Least power, busy, of those that serve the rate within the objective. */
static struct optimum cheapest(const struct observed_response *r, double at_least)
{
	struct optimum best = {TOP, ALL};
	double best_power = power(r, PLANT_GATING_CU, TOP, ALL);

	for (uint32_t l = 0; l < OBSERVED_LEVELS; l++)
		for (uint32_t n = 1; n <= ALL; n++) {
			double p = power(r, PLANT_GATING_CU, l, n);

			if (p >= best_power || rate(r, l, n) < at_least || rate(r, l, n) < 1 / SLO)
				continue;
			best = (struct optimum){l, n};
			best_power = p;
		}
	return best;
}

void observe_knees(const struct observations *o, struct observed_values *ret)
{
	static const char *const models[] = {"albert", "alexnet", "vgg19"};

	for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
		const struct observed_response *r = of_model(o, models[i]);
		double sum = 0;

		/* From what the objective asks for up to nine tenths of the capacity. */
		for (int tenths = 5; tenths <= 9; tenths++) {
			struct optimum best = cheapest(r, tenths / 10.0);

			sum += fabs((double)best.cus - knee(r, best.level));
		}
		observed_add(ret, sum / 5, "%s", models[i]);
	}
}

/* The most rate within a power. */
static uint32_t fastest_cus(const struct observations *o, enum plant_gating g, double within)
{
	double best = 0;
	uint32_t cus = 0;

	for (uint32_t l = 0; l < OBSERVED_LEVELS; l++)
		for (uint32_t n = 1; n <= ALL; n++) {
			if (mean_power(o, g, l, n) > within || mean_rate(o, l, n) <= best)
				continue;
			best = mean_rate(o, l, n);
			cus = n;
		}
	return cus;
}

static void observe_optimum(const struct observations *o, enum plant_gating g,
			    struct observed_values *ret)
{
	double sum = 0;

	for (int tenths = 4; tenths <= 9; tenths++)
		sum += fastest_cus(o, g, tenths / 10.0);
	observed_add(ret, sum / 6, "mean CUs");
}

void observe_optimum_cu(const struct observations *o, struct observed_values *ret)
{
	observe_optimum(o, PLANT_GATING_CU, ret);
}

void observe_optimum_se(const struct observations *o, struct observed_values *ret)
{
	observe_optimum(o, PLANT_GATING_SE, ret);
}
