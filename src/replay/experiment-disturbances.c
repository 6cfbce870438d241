/* SPDX-License-Identifier: Apache-2.0 */
/* The scenarios of disturbances.h on several models and cards, each of their figures beside its
 * bound. */
#include "base/log.h"
#include "replay/disturbances.h"
#include "replay/experiment-bench.h"
#include "replay/experiment.h"
#include "replay/report-internal.h"
#include <errno.h>
#include <math.h>

#define CARDS 3

static const char *const model_names[] = {"resnet50", "vgg19", "bert-base", "mobilenet-v2"};
#define MODELS ARRAY_SIZE(model_names)

/* ---- JSON ---- */

static int add_row(json_t *rows, uint32_t scenario, const char *model,
		   const struct disturbance_figures *f)
{
	json_t *row =
		json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "scenario",
			  disturbances_all[scenario].name, "model", model, "late_pct",
			  report_rounded(f->late_pct), "maximum_late_pct",
			  report_rounded(f->maximum_late_pct), "excess_late_pct",
			  report_rounded(f->excess_late_pct), "recovery_s",
			  report_rounded(f->recovery_s), "end_clock", report_rounded(f->end_clock),
			  "end_power", report_rounded(f->end_power), "power_vs_maximum",
			  report_rounded(f->power_vs_maximum), "maximum_clock",
			  report_rounded(f->maximum_clock), "over_cap_s",
			  report_rounded(f->over_cap_s));

	return row && json_array_append_new(rows, row) == 0 ? 0 : -ENOMEM;
}

/* The worst of the models. */
static int add_claims(json_t *claims, const struct disturbance *d,
		      const struct disturbance_figures *f)
{
	struct disturbance_figures worst = f[0];
	struct disturbance_judged judged;
	int r = 0;

	for (uint32_t m = 1; m < MODELS; m++)
		disturbance_take_worse(&worst, &f[m]);
	for (int b = 0; b < DISTURBANCE_BOUNDS && r == 0; b++)
		if (disturbance_judge(d, &worst, (enum disturbance_bound)b, &judged))
			r = experiment_claim_add(claims, &(struct experiment_claim){
								 .id = d->name,
								 .statement = d->statement,
								 .subject = judged.name,
								 .published = NAN,
								 .least = judged.least,
								 .most = judged.most,
								 .missed = d->missed & (1u << b),
								 .ours = judged.ours,
							 });
	return r;
}

static int make_json(const struct disturbances_options *o, const struct disturbance_figures *all,
		     json_t **ret)
{
	json_t *rows = json_array(), *claims = json_array();
	int r = rows && claims ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < disturbances_n && r == 0; i++) {
		for (uint32_t m = 0; m < MODELS && r == 0; m++)
			r = add_row(rows, i, model_names[m], &all[i * MODELS + m]);
		if (r == 0)
			r = add_claims(claims, &disturbances_all[i], &all[i * MODELS]);
	}
	if (r < 0) {
		json_decref(rows);
		json_decref(claims);
		return r;
	}
	*ret = json_pack("{s:i, s:b, s:b, s:s, s:s, s:s, s:i, s:I, s:o, s:o}", "schema",
			 EXPERIMENT_SCHEMA, "simulated", 1, "modelled", 1, "experiment",
			 "disturbances", "device", o->device->name, "policy", o->policy, "cards",
			 CARDS, "seed", (json_int_t)o->seed, "rows", rows, "claims", claims);
	return *ret ? 0 : -ENOMEM;
}

/* ---- the experiment ---- */

static int load(struct plant_device **ret_device, struct plant_model **models)
{
	int r = experiment_load_device("mi50", ret_device);

	for (uint32_t m = 0; m < MODELS && r == 0; m++)
		r = experiment_load_model(model_names[m], &models[m]);
	return r;
}

static int run_loaded(const struct disturbances_options *o, json_t **ret)
{
	_cleanup_(freep) struct disturbance_figures *figures = NULL;
	struct evaluation_error error;
	int r;

	r = disturbances_run(o, &figures, &error);
	if (r < 0)
		return log_error_errno(r, "%s", error.text);
	r = make_json(o, figures, ret);
	return r < 0 ? log_error_errno(r, "The result: %m") : 0;
}

static int run(const struct experiment_options *options, json_t **ret)
{
	_cleanup_(freep) struct plant_device *device = NULL;
	struct plant_model *models[MODELS] = {NULL};
	struct disturbances_options o = {
		.n_models = MODELS,
		.models = (const struct plant_model *const *)models,
		.cards = CARDS,
		.policy = "cofris",
		.seed = options->seed,
		.threads = options->threads,
	};
	int r;

	r = load(&device, models);
	o.device = device;
	if (r == 0)
		r = run_loaded(&o, ret);
	for (uint32_t m = 0; m < MODELS; m++)
		free(models[m]);
	return r;
}

static const struct report_column row_columns[] = {
	{"scenario", "scenario", NULL, -1},
	{"model", "model", NULL, -1},
	{"late_pct", "late %", NULL, 2},
	{"maximum_late_pct", "maximum's", NULL, 2},
	{"excess_late_pct", "excess", NULL, 2},
	{"recovery_s", "recovery s", NULL, 0},
	{"end_clock", "end clock", NULL, 3},
	{"end_power", "end power", NULL, 3},
	{"power_vs_maximum", "vs maximum", NULL, 3},
	{"maximum_clock", "its clock", NULL, 3},
	{"over_cap_s", "over cap s", NULL, 1},
};

static int text(const json_t *object, FILE *f)
{
	int r;

	(void)fprintf(f,
		      "Simulated: disturbances on %s under policy %s, power gating modelled. The "
		      "worst of %.0f cards\nwith each model, and then of all beside what is asked "
		      "for\n\n",
		      report_string(object, "device"), report_string(object, "policy"),
		      report_number(object, "cards"));
	r = report_print_table(json_object_get(object, "rows"), row_columns,
			       ARRAY_SIZE(row_columns), f);
	(void)fprintf(f, "\n");
	if (r == 0)
		r = experiment_claims_text(json_object_get(object, "claims"), f);
	if (r < 0)
		return r;
	return ferror(f) ? -EIO : 0;
}

const struct experiment experiment_disturbances = {
	.name = "disturbances",
	.run = run,
	.text = text,
};
