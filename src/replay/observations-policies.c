/* SPDX-License-Identifier: Apache-2.0 */
/* Statements about the policies (figures 9 to 11 of the paper). The set-up is the paper's: latency
 * is the service time, the card that serves is the one that was profiled, and a configuration may
 * use all of the objective. */
#include "base/log.h"
#include "replay/observations.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define HEADROOM   1.0
#define PERCENTILE 95
#define SWITCH_MS  5

const double observed_slos[OBSERVED_SLOS] = {1.25, 1.5, 2};

const char *const observed_policies[OBSERVED_POLICIES] = {
	"baseline", "FS", "RS-SE", "RS-CU", "CoFRIS-SE", "CoFRIS-CU",
};

static const struct {
	const char *policy;
	enum plant_gating gating;
} policies[OBSERVED_POLICIES] = {
	[OBSERVED_BASELINE] = {"maximum", PLANT_GATING_NONE},
	[OBSERVED_FS] = {"frequency", PLANT_GATING_NONE},
	[OBSERVED_RS_SE] = {"resource", PLANT_GATING_SE},
	[OBSERVED_RS_CU] = {"resource", PLANT_GATING_CU},
	[OBSERVED_BOTH_SE] = {"coordinated", PLANT_GATING_SE},
	[OBSERVED_BOTH_CU] = {"coordinated", PLANT_GATING_CU},
};

/* ---- runs ---- */

static void count_ticks(const struct cu_shape *shapes, const struct evaluation_row *row,
			uint32_t ticks[OBSERVED_CUS + 1])
{
	for (uint32_t i = 0; i < row->n_ticks; i++)
		ticks[cu_shape_cus(shapes[row->ticks[i].configuration.shape])]++;
}

static int take_row(struct observations *o, const struct evaluation_row *row, enum observed_slo slo,
		    enum observed_policy p, uint32_t model)
{
	struct cu_shape shapes[OBSERVED_CUS];
	int n = cu_shapes(&o->device->topology, shapes, OBSERVED_CUS);

	if (n < 0)
		return n;
	o->runs[slo][p][model] = (struct observed_run){
		.power = row->power_vs_maximum,
		.p95 = row->m.p95_ms / row->slo_ms * observed_slos[slo],
	};
	if (slo == OBSERVED_SLO_200)
		count_ticks(shapes, row, o->ticks[p]);
	return 0;
}

/* Rows are by model, then by policy as they were asked for. */
static int take_rows(struct observations *o, const struct evaluation *e, enum observed_slo slo,
		     const enum observed_policy *asked, uint32_t n)
{
	int r = 0;

	for (uint32_t m = 0; m < OBSERVED_MODELS; m++)
		for (uint32_t i = 0; i < n && r == 0; i++)
			r = take_row(o, &e->rows[m * n + i], slo, asked[i], m);
	return r;
}

static int run_gating(struct observations *o, struct evaluation_options *options,
		      enum observed_slo slo)
{
	_cleanup_(evaluation_freep) struct evaluation *e = NULL;
	enum observed_policy asked[OBSERVED_POLICIES];
	struct evaluation_error error;
	int r;

	options->n_policies = 0;
	for (int p = 0; p < OBSERVED_POLICIES; p++) {
		if (policies[p].gating != options->gating)
			continue;
		asked[options->n_policies] = (enum observed_policy)p;
		options->policies[options->n_policies++] = policies[p].policy;
	}
	r = evaluate(options, &e, &error);
	if (r < 0)
		return log_error_errno(r, "%s", error.text);
	r = take_rows(o, e, slo, asked, options->n_policies);
	return r < 0 ? log_error_errno(r, "The card's shapes: %m") : 0;
}

int observe_policies(struct observations *o, struct plant_model *const *models,
		     const char *trace_name, const struct trace *trace, uint64_t seed,
		     uint32_t threads)
{
	struct evaluation_options options = {
		.trace_name = trace_name,
		.trace = trace,
		.device = o->device,
		.n_models = OBSERVED_MODELS,
		.percentile = PERCENTILE,
		.headroom = HEADROOM,
		.latency = LATENCY_SERVICE,
		.service_cards = 1,
		.ensemble = 1,
		.switch_ms = SWITCH_MS,
		.dpm_ramp_ms = -1,
		.idle_active_share = -1,
		.seed = seed,
		.exact = true,
		.max_batch = 1,
		.keep_ticks = true,
		.threads = threads,
	};

	for (uint32_t m = 0; m < OBSERVED_MODELS; m++)
		options.models[m] = models[m];
	for (int slo = 0; slo < OBSERVED_SLOS; slo++) {
		options.slo_factor = observed_slos[slo];
		for (int g = PLANT_GATING_NONE; g <= PLANT_GATING_CU; g++) {
			int r;

			options.gating = (enum plant_gating)g;
			r = run_gating(o, &options, (enum observed_slo)slo);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* ---- figures ---- */

static double mean_power(const struct observations *o, enum observed_slo slo,
			 enum observed_policy p)
{
	double sum = 0;

	for (uint32_t m = 0; m < OBSERVED_MODELS; m++)
		sum += log(o->runs[slo][p][m].power);
	return exp(sum / OBSERVED_MODELS);
}

static double mean_p95(const struct observations *o, enum observed_slo slo, enum observed_policy p)
{
	double sum = 0;

	for (uint32_t m = 0; m < OBSERVED_MODELS; m++)
		sum += log(o->runs[slo][p][m].p95);
	return exp(sum / OBSERVED_MODELS);
}

static double at_200(const struct observations *o, enum observed_policy p)
{
	return mean_power(o, OBSERVED_SLO_200, p);
}

void observe_total(const struct observations *o, struct observed_values *ret)
{
	observed_add(ret, 100 * (1 - at_200(o, OBSERVED_BOTH_CU)), "CoFRIS-CU");
}

void observe_over_fs(const struct observations *o, struct observed_values *ret)
{
	observed_add(ret, 100 * (1 - at_200(o, OBSERVED_BOTH_CU) / at_200(o, OBSERVED_FS)),
		     "CoFRIS-CU");
}

void observe_over_rs_cu(const struct observations *o, struct observed_values *ret)
{
	observed_add(ret, 100 * (1 - at_200(o, OBSERVED_BOTH_CU) / at_200(o, OBSERVED_RS_CU)),
		     "CoFRIS-CU");
}

void observe_se_over_fs(const struct observations *o, struct observed_values *ret)
{
	observed_add(ret, 100 * (at_200(o, OBSERVED_FS) - at_200(o, OBSERVED_BOTH_SE)),
		     "CoFRIS-SE");
}

void observe_fs_rs_se(const struct observations *o, struct observed_values *ret)
{
	observed_add(ret, 100 * (at_200(o, OBSERVED_FS) - at_200(o, OBSERVED_RS_SE)), "RS-SE");
}

void observe_next_best(const struct observations *o, struct observed_values *ret)
{
	static const enum observed_policy others[] = {OBSERVED_FS, OBSERVED_RS_SE,
						      OBSERVED_BOTH_SE};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		observed_add(ret, at_200(o, others[i]) / at_200(o, OBSERVED_RS_CU), "%s",
			     observed_policies[others[i]]);
}

static bool is_exception(const char *model)
{
	return strcmp(model, "alexnet") == 0 || strcmp(model, "resnext101") == 0 ||
	       strcmp(model, "vgg19") == 0;
}

static void observe_cu_over_se(const struct observations *o, bool exceptions,
			       struct observed_values *ret)
{
	const struct observed_run(*runs)[OBSERVED_MODELS] = o->runs[OBSERVED_SLO_200];

	for (uint32_t m = 0; m < OBSERVED_MODELS; m++)
		if (is_exception(observed_models[m]) == exceptions)
			observed_add(ret,
				     runs[OBSERVED_RS_CU][m].power / runs[OBSERVED_RS_SE][m].power,
				     "%s", observed_models[m]);
}

void observe_cu_better(const struct observations *o, struct observed_values *ret)
{
	observe_cu_over_se(o, /* exceptions= */ false, ret);
}

void observe_cu_worse(const struct observations *o, struct observed_values *ret)
{
	observe_cu_over_se(o, /* exceptions= */ true, ret);
}

void observe_se_favourites(const struct observations *o, struct observed_values *ret)
{
	const struct observed_run(*runs)[OBSERVED_MODELS] = o->runs[OBSERVED_SLO_200];

	for (uint32_t m = 0; m < OBSERVED_MODELS; m++) {
		const char *name = observed_models[m];

		if (strcmp(name, "albert") == 0 || strcmp(name, "shufflenet") == 0 ||
		    strcmp(name, "squeezenet") == 0)
			observed_add(ret,
				     runs[OBSERVED_RS_SE][m].power / runs[OBSERVED_FS][m].power,
				     "%s", name);
	}
}

/* Points of power more than at 2x. */
static void observe_slo(const struct observations *o, enum observed_slo slo,
			struct observed_values *ret)
{
	for (int p = OBSERVED_FS; p < OBSERVED_POLICIES; p++)
		observed_add(ret,
			     100 * (mean_power(o, slo, (enum observed_policy)p) -
				    at_200(o, (enum observed_policy)p)),
			     "%s", observed_policies[p]);
}

void observe_slo_150(const struct observations *o, struct observed_values *ret)
{
	observe_slo(o, OBSERVED_SLO_150, ret);
}

void observe_slo_125(const struct observations *o, struct observed_values *ret)
{
	observe_slo(o, OBSERVED_SLO_125, ret);
}

/* Of the objective, the most of any model and policy. */
void observe_p95_in_slo(const struct observations *o, struct observed_values *ret)
{
	for (int slo = 0; slo < OBSERVED_SLOS; slo++) {
		double most = 0;

		for (int p = 0; p < OBSERVED_POLICIES; p++)
			for (uint32_t m = 0; m < OBSERVED_MODELS; m++)
				most = fmax(most, o->runs[slo][p][m].p95 / observed_slos[slo]);
		observed_add(ret, most, "%gx", observed_slos[slo]);
	}
}

void observe_p95_most(const struct observations *o, struct observed_values *ret)
{
	for (int p = OBSERVED_FS; p < OBSERVED_POLICIES; p++)
		observed_add(ret, mean_p95(o, OBSERVED_SLO_200, (enum observed_policy)p), "%s",
			     observed_policies[p]);
}

void observe_p95_flat(const struct observations *o, struct observed_values *ret)
{
	static const enum observed_policy of_se[] = {OBSERVED_RS_SE, OBSERVED_BOTH_SE};

	for (size_t i = 0; i < ARRAY_SIZE(of_se); i++)
		observed_add(ret,
			     mean_p95(o, OBSERVED_SLO_200, of_se[i]) /
				     mean_p95(o, OBSERVED_SLO_150, of_se[i]),
			     "%s", observed_policies[of_se[i]]);
}

static void observe_most_often(const struct observations *o, enum observed_policy p,
			       struct observed_values *ret)
{
	uint32_t most = 0;

	for (uint32_t n = 1; n <= OBSERVED_CUS; n++)
		if (o->ticks[p][n] > o->ticks[p][most])
			most = n;
	observed_add(ret, most, "%s", observed_policies[p]);
}

void observe_rs_se_most_often(const struct observations *o, struct observed_values *ret)
{
	observe_most_often(o, OBSERVED_RS_SE, ret);
}

void observe_cofris_se_most_often(const struct observations *o, struct observed_values *ret)
{
	observe_most_often(o, OBSERVED_BOTH_SE, ret);
}
