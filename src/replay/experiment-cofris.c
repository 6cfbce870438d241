/* SPDX-License-Identifier: Apache-2.0 */
/* The observations of the CoFRIS paper (Chow and Wong, IGSC 2023), repeated: first on the response
 * surface, then with its policies on a trace, with latency and load as the paper has them. */
#include "replay/experiment-cofris.h"
#include "base/log.h"
#include "plant/profiles.h"
#include "replay/experiment.h"
#include "replay/report-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define DEVICE	      "mi50"
#define SHIPPED_TRACE "loads/jobs.csv"

const char *const paper_models[PAPER_MODELS] = {
	"albert",     "alexnet",    "densenet201", "resnet152",
	"resnext101", "shufflenet", "squeezenet",  "vgg19",
};
const double paper_slos[PAPER_SLOS] = {2.0, 1.5, 1.25};

static const char *const policies[PAPER_POLICIES] = {
	[PAPER_MAXIMUM] = "maximum",
	[PAPER_FS] = "frequency",
	[PAPER_RS] = "resource",
	[PAPER_COFRIS] = "coordinated",
};

const struct paper_observation paper_observations[] = {
	{"power-flat", "Without gating power hardly changes from 60 to 32 CUs", "Fig. 2",
	 PAPER_PREDICTED, PAPER_PREDICTED, NULL, false, "largest relative change", 0, 0.10,
	 paper_flat_to_32},
	{"power-dip-31", "Without gating power dips at 31 CUs", "Fig. 2", PAPER_IMPOSSIBLE,
	 PAPER_IMPOSSIBLE,
	 "31 CUs are no configuration here: shapes have equally many CUs in each engine they use, "
	 "as "
	 "unequal ones are slower than with fewer CUs",
	 false, "drop from 32 to 31 CUs", 0.005, 1, paper_dip_at_31},
	{"power-dip-half", "Power dips where half of the engines fall out of use", "Fig. 2",
	 PAPER_PREDICTED, PAPER_PREDICTED, NULL, false,
	 "drop from 33 to 30 CUs less that from 36 to 33", 0.005, 1, paper_dip_at_half},
	{"power-falls", "Without gating power falls from 30 CUs to 1", "Fig. 2", PAPER_PREDICTED,
	 PAPER_PREDICTED, NULL, false, "least step of the fall", 0, 1, paper_fall_below_30},
	{"cu-power-rises", "A CU's active-idle power rises with the clock", "Fig. 3",
	 PAPER_PREDICTED, PAPER_PREDICTED, NULL, false, "least rise from level to level, W", 0, 1,
	 paper_cu_w_rises},
	{"cu-over-se-gating", "Gating CUs saves 9 % beyond gating engines", "Fig. 4",
	 PAPER_PREDICTED, PAPER_PREDICTED, NULL, false,
	 "mean over the shapes, of the whole card's power", 0.07, 0.11, paper_cu_over_se_gating},
	{"latency-clock", "Latency grows faster with a lower clock than with fewer CUs", "Fig. 5",
	 PAPER_PREDICTED, PAPER_PREDICTED, NULL, false,
	 "latency at 925 MHz over that with as large a part of the CUs", 1, 2,
	 paper_clock_over_cus},
	{"slo-at-925", "At the lowest clock 2x is passed only with 30 or 15 CUs or fewer", "Fig. 5",
	 PAPER_MISS, PAPER_MISS,
	 "albert's and vgg19's matrix products need all CUs here, and pass it with 45", false,
	 "most CUs that pass it", 0, 30, paper_most_cus_that_break},
	{"rate-knee", "Throughput holds under CU scaling up to a knee, to various degrees",
	 "Fig. 5", PAPER_PREDICTED, PAPER_PREDICTED, NULL, false,
	 "models of 8 that keep 90 % of it with 45 CUs", 5, 8, paper_models_with_a_knee},
	{"rate-limited", "Below 15 to 10 CUs throughput is limited by them at every clock",
	 "Fig. 5", PAPER_PREDICTED, PAPER_PREDICTED, NULL, false,
	 "models of the 6 that react, with 10 CUs at the top below 60 at the lowest clock", 6, 8,
	 paper_models_limited_by_cus},
	{"shufflenet-flat", "shufflenet hardly reacts to clock or CUs", "Fig. 5", PAPER_PREDICTED,
	 PAPER_PREDICTED, NULL, false, "latency at 925 MHz or on 30 CUs", 1, 1.2,
	 paper_reaction_of_shufflenet},
	{"squeezenet-flat", "squeezenet hardly reacts to clock or CUs", "Fig. 5", PAPER_MISS,
	 PAPER_MISS, "its convolutions are long enough here to outlast their launches", false,
	 "latency at 925 MHz or on 30 CUs", 1, 1.2, paper_reaction_of_squeezenet},
	{"optimum-knee", "albert, alexnet and vgg19 have their optimum at the knee", "Fig. 5",
	 PAPER_MISS, PAPER_MISS,
	 "what serves small parts of the throughput for the least power has few CUs at any clock, "
	 "far below the knee",
	 false, "mean distance in CUs", 0, 7, paper_optimum_beyond_knee},
	{"optimum-cu", "With gated CUs the mean optimum is just over 30 CUs", "Fig. 6",
	 PAPER_PREDICTED, PAPER_PREDICTED, NULL, false, "CUs, mean over the throughputs", 30, 37,
	 paper_optimum_cus_cu},
	{"optimum-se", "With gated engines the mean optimum is just below 45 CUs", "Fig. 6",
	 PAPER_MISS, PAPER_MISS, "below half of the throughput one or two engines are enough here",
	 false, "CUs, mean over the throughputs", 40, 46, paper_optimum_cus_se},
	{"fs", "The clock alone: 15 to 17 % below the baseline", "section IV", PAPER_CALIBRATED,
	 PAPER_CALIBRATED, NULL, true, "mean power over the baseline's", 0.82, 0.87, paper_fs},
	{"rs-cu", "CUs alone, gated: 23 to 24 % below", "section IV", PAPER_CALIBRATED,
	 PAPER_CALIBRATED, NULL, true, "mean power over the baseline's", 0.74, 0.79, paper_rs_cu},
	{"coordinated-cu", "Both, CUs gated: 28 % below", "section IV", PAPER_CALIBRATED,
	 PAPER_CALIBRATED, NULL, true, "mean power over the baseline's", 0.70, 0.74,
	 paper_cofris_cu},
	{"rs-se-as-fs", "Engines alone, gated, save about as much as the clock", "section IV",
	 PAPER_PREDICTED, PAPER_PREDICTED, NULL, true, "difference of mean power", -0.02, 0.02,
	 paper_rs_se_minus_fs},
	{"rs-cu-better", "Gating CUs beats gating engines for five models", "section IV",
	 PAPER_PREDICTED, PAPER_PREDICTED, NULL, true, "models of 5", 5, 5, paper_rs_cu_better},
	{"rs-se-better", "but not for alexnet, resnext101 and vgg19", "section IV",
	 PAPER_IMPOSSIBLE, PAPER_IMPOSSIBLE,
	 "a configuration never draws less with its engines gated than with its CUs gated: gating "
	 "is "
	 "modelled by subtraction from one measured power, so the least cannot be less",
	 true, "models of 3", 3, 3, paper_rs_se_better},
	{"coordinated-se", "Both, engines gated: 6 points below the clock alone", "section IV",
	 PAPER_PREDICTED, PAPER_PREDICTED, NULL, true, "difference of mean power", 0.04, 0.08,
	 paper_cofris_se_points},
	{"coordinated-over-fs", "Both, CUs gated: 13 points below the clock alone", "section IV",
	 PAPER_PREDICTED, PAPER_MISS,
	 "11.0 points on SWIM's FB-2009_1; met on the shipped load and on FB-2010", true,
	 "difference of mean power", 0.11, 0.15, paper_cofris_cu_over_fs},
	{"coordinated-over-rs", "Both, CUs gated: 5 points below the CUs alone", "section IV",
	 PAPER_PREDICTED, PAPER_PREDICTED, NULL, true, "difference of mean power", 0.03, 0.07,
	 paper_cofris_cu_over_rs},
	{"slo-sensitivity", "1.25x and 1.5x cost at most 2 points over 2x", "Fig. 10", PAPER_MISS,
	 PAPER_PREDICTED, "2.1 points at 1.25x on the shipped load; met on SWIM's", true,
	 "largest difference of mean power", -0.005, 0.02, paper_slo_sensitivity},
	{"tail-meets", "p95 meets every SLO", "Fig. 11", PAPER_PREDICTED, PAPER_PREDICTED, NULL,
	 true, "worst p95 over its SLO, 1 % for a profile of finite samples", 0, 1.01,
	 paper_worst_tail},
	{"tail-slack", "p95 reaches at most 1.75x where 2x is allowed", "Fig. 11", PAPER_PREDICTED,
	 PAPER_PREDICTED, NULL, true, "largest mean over the models", 1, 1.75,
	 paper_mean_tail_at_2x},
	{"tail-flattens", "With gated engines the tail grows no more beyond 1.5x", "Fig. 11",
	 PAPER_PREDICTED, PAPER_PREDICTED, NULL, true, "largest growth from 1.5x to 2x", -0.1, 0.1,
	 paper_se_tail_growth},
	{"se-chooses-45", "With gated engines 45 CUs are chosen most often", "section IV",
	 PAPER_PREDICTED, PAPER_PREDICTED, NULL, true, "CUs", 45, 45, paper_most_frequent_cus},
};
const size_t paper_n_observations = ARRAY_SIZE(paper_observations);

static const char *const status_names[] = {
	[PAPER_CALIBRATED] = "calibrated",
	[PAPER_PREDICTED] = "predicted",
	[PAPER_MISS] = "miss",
	[PAPER_IMPOSSIBLE] = "impossible-by-construction",
};

/* ---- the lab ---- */

static void lab_done(struct paper_lab *lab)
{
	for (uint32_t g = 0; g < PAPER_GATINGS; g++) {
		for (uint32_t m = 0; m < PAPER_MODELS; m++)
			costs_free(lab->costs[g][m]);
		for (uint32_t s = 0; s < PAPER_SLOS; s++)
			evaluation_free(lab->evaluations[g][s]);
	}
	for (uint32_t m = 0; m < PAPER_MODELS; m++)
		free(lab->models[m]);
	trace_free(lab->trace);
	free(lab->device);
}

static int load_profiles(struct paper_lab *lab)
{
	_cleanup_(freep) char *path = NULL;
	struct ini_error error;
	int r;

	r = plant_profile_find(NULL, "devices", DEVICE, &path);
	if (r == 0)
		r = plant_device_load(path, &lab->device, &error);
	for (uint32_t m = 0; m < PAPER_MODELS && r == 0; m++) {
		free(TAKE_PTR(path));
		r = plant_profile_find(NULL, "models", paper_models[m], &path);
		if (r == 0)
			r = plant_model_load(path, &lab->models[m], &error);
	}
	if (r < 0 && path)
		return log_error_errno(r, "%s:%u: %s", path, error.line, error.text);
	return r < 0 ? log_error_errno(r, "No profiles in $COFRIS_PROFILES or %s",
				       plant_profiles_installed())
		     : 0;
}

static int load_trace(struct paper_lab *lab, const struct experiment_options *o)
{
	const struct trace_options reading = {.smoothing_k = o->smoothing_k};
	_cleanup_(freep) char *shipped = NULL;
	const char *path = o->trace;
	struct trace_error error;
	int r;

	if (!path) {
		r = plant_profile_file(NULL, SHIPPED_TRACE, &shipped);
		if (r < 0)
			return log_error_errno(r, "%s: %m", SHIPPED_TRACE);
		path = shipped;
	}
	r = trace_load(path, &reading, &lab->trace, &error);
	return r < 0 ? log_error_errno(r, "%s:%lu: %s", path, error.line, error.text) : 0;
}

static int make_surfaces(struct paper_lab *lab)
{
	const struct costs_options batches = {.n_batches = 1, .batches = {1}};

	for (uint32_t g = 0; g < PAPER_GATINGS; g++)
		for (uint32_t m = 0; m < PAPER_MODELS; m++) {
			const struct truth_options card = {.gating = (enum plant_gating)g,
							   .switch_ms = -1,
							   .dpm_ramp_ms = -1,
							   .idle_active_share = -1};
			struct truth truth;
			int r = truth_bench(lab->device, &card, &truth);

			if (r == 0)
				r = costs_new(&truth, lab->models[m], &batches, &lab->costs[g][m]);
			if (r < 0)
				return log_error_errno(r, "%s: %m", paper_models[m]);
		}
	lab->shapes = costs_shapes(lab->costs[0][0], &lab->n_shapes);
	return 0;
}

static int evaluate_one(struct paper_lab *lab, enum plant_gating gating, uint32_t slo,
			const struct experiment_options *o)
{
	struct evaluation_options *e = &lab->options[gating][slo];
	struct evaluation_error error;
	int r;

	*e = (struct evaluation_options){
		.trace_name = "trace",
		.trace = lab->trace,
		.device = lab->device,
		.n_models = PAPER_MODELS,
		.n_policies = PAPER_POLICIES,
		.slo_factor = paper_slos[slo],
		.percentile = 95,
		.headroom = 1,
		.gating = gating,
		.latency = LATENCY_SERVICE,
		.service_cards = 1,
		.ensemble = 1,
		.switch_ms = 5,
		.dpm_ramp_ms = -1,
		.idle_active_share = -1,
		.seed = o->seed,
		.exact = true,
		.max_batch = 1,
		.keep_ticks = true,
		.threads = o->threads,
	};
	for (uint32_t m = 0; m < PAPER_MODELS; m++)
		e->models[m] = lab->models[m];
	memcpy(e->policies, policies, sizeof(policies));
	r = evaluate(e, &lab->evaluations[gating][slo], &error);
	return r < 0 ? log_error_errno(r, "%s", error.text) : 0;
}

static int lab_init(struct paper_lab *lab, const struct experiment_options *o)
{
	int r;

	r = load_profiles(lab);
	if (r == 0)
		r = load_trace(lab, o);
	if (r == 0)
		r = make_surfaces(lab);
	for (uint32_t slo = 0; slo < PAPER_SLOS && r == 0; slo++) {
		r = evaluate_one(lab, PLANT_GATING_SE, slo, o);
		if (r == 0)
			r = evaluate_one(lab, PLANT_GATING_CU, slo, o);
	}
	return r;
}

/* ---- the result ---- */

static bool expected(enum paper_status status)
{
	return status == PAPER_CALIBRATED || status == PAPER_PREDICTED;
}

static enum paper_status status_of(const struct paper_observation *p,
				   const struct experiment_options *o)
{
	return o->trace ? p->named_status : p->status;
}

static json_t *observation_json(const struct paper_observation *p, enum paper_status status,
				const struct paper_lab *lab, bool *ret_met)
{
	double value = p->measure(lab);

	*ret_met = value >= p->low && value <= p->high;
	return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:b, s:s, s:o, s:o, s:o, s:b}", "id", p->id,
			 "statement", p->statement, "source", p->source, "status",
			 status_names[status], "argument", expected(status) ? NULL : p->argument,
			 "of_trace", p->of_trace, "figure", p->figure, "low",
			 report_rounded(p->low), "high", report_rounded(p->high), "value",
			 report_rounded(value), "met", *ret_met);
}

static int observe(const struct paper_lab *lab, const struct experiment_options *o, json_t **ret)
{
	const char *base = o->trace ? strrchr(o->trace, '/') : NULL;
	json_t *rows = json_array();
	int n_predicted_and_met = 0, n_predicted = 0, n_unexpected = 0;

	for (size_t i = 0; i < paper_n_observations; i++) {
		const struct paper_observation *p = &paper_observations[i];
		enum paper_status status = status_of(p, o);
		bool met;

		if (json_array_append_new(rows, observation_json(p, status, lab, &met)) < 0) {
			json_decref(rows);
			return log_error_errno(-ENOMEM, "out of memory");
		}
		n_predicted += status == PAPER_PREDICTED;
		n_predicted_and_met += status == PAPER_PREDICTED && met;
		n_unexpected += met != expected(status);
	}
	*ret = json_pack("{s:i, s:b, s:b, s:s, s:s, s:s, s:o, s:I, s:s, s:s, s:i, s:i, s:i, s:o}",
			 "schema", EXPERIMENT_SCHEMA, "simulated", 1, "modelled", 1, "experiment",
			 "cofris", "device", DEVICE, "trace",
			 base ? base + 1 : (o->trace ? o->trace : SHIPPED_TRACE), "mean_load",
			 report_rounded(lab->trace->mean_load), "smoothing_k",
			 (json_int_t)lab->trace->smoothing_k, "load_definition",
			 "1 = capacity, as in the paper", "latency_notion", "service", "predicted",
			 n_predicted, "predicted_and_met", n_predicted_and_met, "unexpected",
			 n_unexpected, "observations", rows);
	return *ret ? 0 : log_error_errno(-ENOMEM, "out of memory");
}

static int run(const struct experiment_options *o, json_t **ret)
{
	struct paper_lab *lab = calloc(1, sizeof(*lab));
	int r;

	if (!lab)
		return log_error_errno(-ENOMEM, "out of memory");
	r = lab_init(lab, o);
	if (r == 0)
		r = observe(lab, o, ret);
	lab_done(lab);
	free(lab);
	return r;
}

static const struct report_column columns[] = {
	{"id", "observation", NULL, -1}, {"status", "status", NULL, -1}, {"low", "from", NULL, 3},
	{"high", "to", NULL, 3},	 {"value", "here", NULL, 3},	 {"met", "met", NULL, -1},
	{"source", "source", NULL, -1},	 {"figure", "what", NULL, -1},
};

static int text(const json_t *object, FILE *f)
{
	const json_t *row;
	size_t i;
	int r;

	(void)fprintf(
		f,
		"Simulated: the CoFRIS paper's observations on an MI50; power gating is modelled\n"
		"%s, mean load %.3f; latency is service alone and load 1 is capacity, as in the "
		"paper\n\n",
		report_string(object, "trace"), report_number(object, "mean_load"));
	r = report_print_table(json_object_get(object, "observations"), columns,
			       ARRAY_SIZE(columns), f);
	if (r < 0)
		return r;
	(void)fputc('\n', f);
	json_array_foreach(json_object_get(object, "observations"), i,
			   row) if (json_is_string(json_object_get(row, "argument")))(void)
		fprintf(f, "%s: %s.\n", report_string(row, "id"), report_string(row, "argument"));
	(void)fprintf(f, "%.0f of %.0f predicted ones are met.\n",
		      report_number(object, "predicted_and_met"),
		      report_number(object, "predicted"));
	return 0;
}

const struct experiment experiment_cofris = {
	.name = "cofris",
	.what = "the CoFRIS paper's observations, on an MI50",
	.run = run,
	.text = text,
};
