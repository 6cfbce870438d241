/* SPDX-License-Identifier: Apache-2.0 */
/* What the paper says of response surfaces (its Figs. 2 to 6), on ours. */
#include "replay/experiment-cofris.h"
#include <math.h>
#include <string.h>

#define SLO_FACTOR  2.0
#define KNEE_SHARE  0.9 /* of the whole card's throughput */
#define LIMITED_CUS 10
/* Levels of throughput at which an optimum is looked for, parts of the most. */
#define OPTIMUM_LOW  0.3
#define OPTIMUM_STEP 0.05
#define OPTIMUM_HIGH 0.91

static uint32_t top(const struct paper_lab *lab)
{
	return lab->device->n_levels - 1;
}

static uint32_t cus(const struct paper_lab *lab, uint32_t shape)
{
	return cu_shape_cus(lab->shapes[shape]);
}

static uint32_t whole(const struct paper_lab *lab)
{
	return lab->n_shapes - 1;
}

/* The shape with the number of CUs nearest to n. */
static uint32_t nearest(const struct paper_lab *lab, double n)
{
	uint32_t best = 0;

	for (uint32_t s = 1; s < lab->n_shapes; s++)
		if (fabs(cus(lab, s) - n) < fabs(cus(lab, best) - n))
			best = s;
	return best;
}

static double service_ns(const struct paper_lab *lab, uint32_t model, uint32_t level,
			 uint32_t shape)
{
	return costs_get(lab->costs[PLANT_GATING_NONE][model], level, shape, 1).ns;
}

/* Over that of the whole card at the top clock. */
static double slower(const struct paper_lab *lab, uint32_t model, uint32_t level, uint32_t shape)
{
	return service_ns(lab, model, level, shape) / service_ns(lab, model, top(lab), whole(lab));
}

static double busy_w(const struct paper_lab *lab, enum plant_gating gating, uint32_t model,
		     uint32_t level, uint32_t shape)
{
	return costs_busy_w(lab->costs[gating][model], level, shape, 1);
}

/* Geometric mean over the models of busy power over the whole card's at the top clock. */
static double mean_power(const struct paper_lab *lab, enum plant_gating gating, uint32_t level,
			 uint32_t shape)
{
	double sum = 0;

	for (uint32_t m = 0; m < PAPER_MODELS; m++)
		sum += log(busy_w(lab, gating, m, level, shape) /
			   busy_w(lab, gating, m, top(lab), whole(lab)));
	return exp(sum / PAPER_MODELS);
}

/* Likewise of throughput. */
static double mean_rate(const struct paper_lab *lab, uint32_t level, uint32_t shape)
{
	double sum = 0;

	for (uint32_t m = 0; m < PAPER_MODELS; m++)
		sum -= log(slower(lab, m, level, shape));
	return exp(sum / PAPER_MODELS);
}

/* ---- power without gating ---- */

/* The largest change of power from the whole card to any shape of 32 CUs or more, any clock. */
double paper_flat_to_32(const struct paper_lab *lab)
{
	double most = 0;

	for (uint32_t l = 0; l <= top(lab); l++)
		for (uint32_t s = 0; s < lab->n_shapes; s++)
			if (cus(lab, s) >= 32)
				most = fmax(most, fabs(mean_power(lab, PLANT_GATING_NONE, l, s) /
							       mean_power(lab, PLANT_GATING_NONE, l,
									  whole(lab)) -
						       1));
	return most;
}

/* Drop of power between two shapes at the top clock. */
static double drop(const struct paper_lab *lab, double from_cus, double to_cus)
{
	return 1 - mean_power(lab, PLANT_GATING_NONE, top(lab), nearest(lab, to_cus)) /
			   mean_power(lab, PLANT_GATING_NONE, top(lab), nearest(lab, from_cus));
}

/* 31 CUs exactly; there is no such shape, so NaN. */
double paper_dip_at_31(const struct paper_lab *lab)
{
	uint32_t s = nearest(lab, 31);

	return cus(lab, s) == 31 ? drop(lab, 32, 31) : NAN;
}

/* What going from three engines to two takes, over what the step before it (of as many CUs) does.
 */
double paper_dip_at_half(const struct paper_lab *lab)
{
	return drop(lab, 33, 30) - drop(lab, 36, 33);
}

double paper_fall_below_30(const struct paper_lab *lab)
{
	double before = INFINITY, least_step = INFINITY;

	for (uint32_t s = lab->n_shapes; s-- > 0;) {
		double w = mean_power(lab, PLANT_GATING_NONE, top(lab), s);

		if (cus(lab, s) > 30)
			continue;
		if (isfinite(before))
			least_step = fmin(least_step, before - w);
		before = w;
	}
	return least_step;
}

/* ---- latency and throughput ---- */

/* At the lowest clock, over that with the same part of the CUs, geometric mean. */
double paper_clock_over_cus(const struct paper_lab *lab)
{
	double part = (double)lab->device->level_mhz[0] / lab->device->level_mhz[top(lab)];
	uint32_t fewer = nearest(lab, part * cus(lab, whole(lab)));
	double sum = 0;

	for (uint32_t m = 0; m < PAPER_MODELS; m++)
		sum += log(slower(lab, m, 0, whole(lab)) / slower(lab, m, top(lab), fewer));
	return exp(sum / PAPER_MODELS);
}

/* At the lowest clock: the most CUs, over the models, with which twice the latency is passed. */
double paper_most_cus_that_break(const struct paper_lab *lab)
{
	uint32_t most = 0;

	for (uint32_t m = 0; m < PAPER_MODELS; m++)
		for (uint32_t s = 0; s < lab->n_shapes; s++)
			if (slower(lab, m, 0, s) > SLO_FACTOR)
				most = MAX(most, cus(lab, s));
	return most;
}

/* The fewest CUs with most of the throughput of the whole card at that clock. */
static uint32_t knee(const struct paper_lab *lab, uint32_t model, uint32_t level)
{
	uint32_t s = whole(lab);

	while (s > 0 && service_ns(lab, model, level, whole(lab)) >=
				KNEE_SHARE * service_ns(lab, model, level, s - 1))
		s--;
	return s;
}

/* Models that keep most of their throughput without one of the engines. */
double paper_models_with_a_knee(const struct paper_lab *lab)
{
	uint32_t n = 0;

	for (uint32_t m = 0; m < PAPER_MODELS; m++)
		n += cus(lab, knee(lab, m, top(lab))) <= 45;
	return n;
}

/* Models that serve less with 10 CUs at the top clock than with all of them at the lowest one. */
double paper_models_limited_by_cus(const struct paper_lab *lab)
{
	uint32_t few = nearest(lab, LIMITED_CUS), n = 0;

	for (uint32_t m = 0; m < PAPER_MODELS; m++)
		n += slower(lab, m, top(lab), few) > slower(lab, m, 0, whole(lab));
	return n;
}

static double reaction(const struct paper_lab *lab, const char *model)
{
	for (uint32_t m = 0; m < PAPER_MODELS; m++)
		if (strcmp(paper_models[m], model) == 0)
			return fmax(slower(lab, m, 0, whole(lab)),
				    slower(lab, m, top(lab), nearest(lab, 30)));
	return NAN;
}

double paper_reaction_of_shufflenet(const struct paper_lab *lab)
{
	return reaction(lab, "shufflenet");
}

double paper_reaction_of_squeezenet(const struct paper_lab *lab)
{
	return reaction(lab, "squeezenet");
}

/* ---- optima ---- */

/* Of the configurations that serve a part of what the whole card does at the top clock, the one of
 * least power; model PAPER_MODELS: on the geometric means. */
static void optimum(const struct paper_lab *lab, enum plant_gating gating, uint32_t model,
		    double part, uint32_t *ret_level, uint32_t *ret_shape)
{
	double least = INFINITY;

	for (uint32_t l = 0; l <= top(lab); l++)
		for (uint32_t s = 0; s < lab->n_shapes; s++) {
			bool all = model == PAPER_MODELS;
			double rate = all ? mean_rate(lab, l, s) : 1 / slower(lab, model, l, s);
			double w = all ? mean_power(lab, gating, l, s)
				       : busy_w(lab, gating, model, l, s);

			if (rate >= part && w < least) {
				least = w;
				*ret_level = l;
				*ret_shape = s;
			}
		}
}

static double mean_optimum(const struct paper_lab *lab, enum plant_gating gating)
{
	double sum = 0, n = 0;

	for (double part = OPTIMUM_LOW; part < OPTIMUM_HIGH; part += OPTIMUM_STEP) {
		uint32_t level = 0, shape = 0;

		optimum(lab, gating, PAPER_MODELS, part, &level, &shape);
		sum += cus(lab, shape);
		n++;
	}
	return sum / n;
}

double paper_optimum_cus_cu(const struct paper_lab *lab)
{
	return mean_optimum(lab, PLANT_GATING_CU);
}

double paper_optimum_cus_se(const struct paper_lab *lab)
{
	return mean_optimum(lab, PLANT_GATING_SE);
}

/* Of albert, alexnet and vgg19: how far the optimum is from the knee at its clock, in CUs, mean of
 * the amounts. */
double paper_optimum_beyond_knee(const struct paper_lab *lab)
{
	static const char *const named[] = {"albert", "alexnet", "vgg19"};
	double sum = 0, n = 0;

	for (uint32_t m = 0; m < PAPER_MODELS; m++) {
		bool is_named = false;

		for (size_t i = 0; i < ARRAY_SIZE(named); i++)
			is_named |= strcmp(named[i], paper_models[m]) == 0;
		for (double part = OPTIMUM_LOW; is_named && part < OPTIMUM_HIGH;
		     part += OPTIMUM_STEP) {
			uint32_t level = 0, shape = 0;

			optimum(lab, PLANT_GATING_CU, m, part, &level, &shape);
			sum += fabs((double)cus(lab, shape) - cus(lab, knee(lab, m, level)));
			n++;
		}
	}
	return sum / n;
}

/* ---- gating ---- */

/* The smallest rise of P_CU from one clock to the next, W. */
double paper_cu_w_rises(const struct paper_lab *lab)
{
	double least = INFINITY;

	for (uint32_t l = 1; l <= top(lab); l++)
		least = fmin(least, plant_cu_active_idle_w(lab->device, lab->device->level_mhz[l]) -
					    plant_cu_active_idle_w(lab->device,
								   lab->device->level_mhz[l - 1]));
	return least;
}

/* Mean over the shapes at the top clock of what gating CUs saves beyond gating engines, of the
 * whole card's power. */
double paper_cu_over_se_gating(const struct paper_lab *lab)
{
	double sum = 0;

	for (uint32_t s = 0; s < lab->n_shapes; s++)
		sum += mean_power(lab, PLANT_GATING_SE, top(lab), s) -
		       mean_power(lab, PLANT_GATING_CU, top(lab), s);
	return sum / lab->n_shapes;
}
