/* SPDX-License-Identifier: Apache-2.0 */
/* What the paper says of policies (its Figs. 9 to 11), on ours: mean power over the baseline's,
 * geometric mean of the models. */
#include "replay/experiment-cofris.h"
#include <math.h>
#include <string.h>

enum { SLO_2_0, SLO_1_5, SLO_1_25 };

static const struct evaluation_row *row(const struct paper_lab *lab, enum plant_gating gating,
					uint32_t slo, uint32_t model, enum paper_policy policy)
{
	return &lab->evaluations[gating][slo]->rows[model * PAPER_POLICIES + policy];
}

static double power(const struct paper_lab *lab, enum plant_gating gating, uint32_t slo,
		    uint32_t model, enum paper_policy policy)
{
	return row(lab, gating, slo, model, policy)->power_vs_maximum;
}

static double mean_power(const struct paper_lab *lab, enum plant_gating gating, uint32_t slo,
			 enum paper_policy policy)
{
	double sum = 0;

	for (uint32_t m = 0; m < PAPER_MODELS; m++)
		sum += log(power(lab, gating, slo, m, policy));
	return exp(sum / PAPER_MODELS);
}

double paper_fs(const struct paper_lab *lab)
{
	return mean_power(lab, PLANT_GATING_CU, SLO_2_0, PAPER_FS);
}

double paper_rs_cu(const struct paper_lab *lab)
{
	return mean_power(lab, PLANT_GATING_CU, SLO_2_0, PAPER_RS);
}

double paper_cofris_cu(const struct paper_lab *lab)
{
	return mean_power(lab, PLANT_GATING_CU, SLO_2_0, PAPER_COFRIS);
}

double paper_rs_se_minus_fs(const struct paper_lab *lab)
{
	return mean_power(lab, PLANT_GATING_SE, SLO_2_0, PAPER_RS) - paper_fs(lab);
}

static bool is_exception(uint32_t model)
{
	return strcmp(paper_models[model], "alexnet") == 0 ||
	       strcmp(paper_models[model], "resnext101") == 0 ||
	       strcmp(paper_models[model], "vgg19") == 0;
}

/* How many of the paper's five, or of its three exceptions, are as it says. */
static uint32_t count(const struct paper_lab *lab, bool exceptions)
{
	uint32_t n = 0;

	for (uint32_t m = 0; m < PAPER_MODELS; m++) {
		double se = power(lab, PLANT_GATING_SE, SLO_2_0, m, PAPER_RS);
		double cu = power(lab, PLANT_GATING_CU, SLO_2_0, m, PAPER_RS);

		if (is_exception(m) == exceptions)
			n += exceptions ? se < cu : cu < se;
	}
	return n;
}

double paper_rs_cu_better(const struct paper_lab *lab)
{
	return count(lab, /* exceptions= */ false);
}

double paper_rs_se_better(const struct paper_lab *lab)
{
	return count(lab, /* exceptions= */ true);
}

double paper_cofris_se_points(const struct paper_lab *lab)
{
	return paper_fs(lab) - mean_power(lab, PLANT_GATING_SE, SLO_2_0, PAPER_COFRIS);
}

double paper_cofris_cu_over_fs(const struct paper_lab *lab)
{
	return paper_fs(lab) - paper_cofris_cu(lab);
}

double paper_cofris_cu_over_rs(const struct paper_lab *lab)
{
	return paper_rs_cu(lab) - paper_cofris_cu(lab);
}

/* The most that any policy's mean power is above that at 2x. */
double paper_slo_sensitivity(const struct paper_lab *lab)
{
	static const enum plant_gating gatings[] = {PLANT_GATING_SE, PLANT_GATING_CU};
	double most = -INFINITY;

	for (size_t g = 0; g < ARRAY_SIZE(gatings); g++)
		for (uint32_t slo = SLO_1_5; slo < PAPER_SLOS; slo++)
			for (int p = PAPER_FS; p < PAPER_POLICIES; p++)
				most = fmax(most,
					    mean_power(lab, gatings[g], slo, (enum paper_policy)p) -
						    mean_power(lab, gatings[g], SLO_2_0,
							       (enum paper_policy)p));
	return most;
}

/* p95 over the unloaded one, which the SLO is a multiple of. */
static double tail(const struct paper_lab *lab, enum plant_gating gating, uint32_t slo,
		   uint32_t model, enum paper_policy policy)
{
	const struct evaluation_row *r = row(lab, gating, slo, model, policy);

	return r->m.p95_ms / (r->slo_ms / paper_slos[slo]);
}

/* The worst p95 of a model under a policy, over its SLO. */
double paper_worst_tail(const struct paper_lab *lab)
{
	static const enum plant_gating gatings[] = {PLANT_GATING_SE, PLANT_GATING_CU};
	double most = 0;

	for (size_t g = 0; g < ARRAY_SIZE(gatings); g++)
		for (uint32_t slo = 0; slo < PAPER_SLOS; slo++)
			for (uint32_t m = 0; m < PAPER_MODELS; m++)
				for (int p = 0; p < PAPER_POLICIES; p++)
					most = fmax(most, tail(lab, gatings[g], slo, m,
							       (enum paper_policy)p) /
								  paper_slos[slo]);
	return most;
}

static double mean_tail(const struct paper_lab *lab, enum plant_gating gating, uint32_t slo,
			enum paper_policy policy)
{
	double sum = 0;

	for (uint32_t m = 0; m < PAPER_MODELS; m++)
		sum += log(tail(lab, gating, slo, m, policy));
	return exp(sum / PAPER_MODELS);
}

/* The largest geometric mean of a policy at 2x. */
double paper_mean_tail_at_2x(const struct paper_lab *lab)
{
	double most = 0;

	for (int p = PAPER_FS; p < PAPER_POLICIES; p++) {
		enum paper_policy policy = (enum paper_policy)p;

		most = fmax(most, mean_tail(lab, PLANT_GATING_SE, SLO_2_0, policy));
		most = fmax(most, mean_tail(lab, PLANT_GATING_CU, SLO_2_0, policy));
	}
	return most;
}

/* By how much the tail of the policies with gated engines grows from 1.5x to 2x. */
double paper_se_tail_growth(const struct paper_lab *lab)
{
	double most = -INFINITY;

	for (int p = PAPER_RS; p <= PAPER_COFRIS; p++)
		most = fmax(most,
			    mean_tail(lab, PLANT_GATING_SE, SLO_2_0, (enum paper_policy)p) -
				    mean_tail(lab, PLANT_GATING_SE, SLO_1_5, (enum paper_policy)p));
	return most;
}

/* The number of CUs that the policies with gated engines have in force most often, over all models
 * and objectives. */
double paper_most_frequent_cus(const struct paper_lab *lab)
{
	uint32_t *n = calloc(lab->n_shapes, sizeof(*n)), most = 0;

	if (!n)
		return NAN;
	for (uint32_t slo = 0; slo < PAPER_SLOS; slo++)
		for (uint32_t m = 0; m < PAPER_MODELS; m++)
			for (int p = PAPER_RS; p <= PAPER_COFRIS; p++) {
				const struct evaluation_row *r =
					row(lab, PLANT_GATING_SE, slo, m, (enum paper_policy)p);

				for (uint32_t t = 0; t < r->n_ticks; t++)
					n[r->ticks[t].configuration.shape]++;
			}
	for (uint32_t s = 1; s < lab->n_shapes; s++)
		if (n[s] > n[most])
			most = s;
	free(n);
	return cu_shape_cus(lab->shapes[most]);
}
