/* SPDX-License-Identifier: Apache-2.0 */
/* Whole evaluations of short runs. */
#include "evaluation-fixture.h"
#include <errno.h>

static const char *const all_policies[] = {
	"auto",	   "maximum",	   "frequency", "resource", "coordinated",
	"adapter", "adapter-tail", "cofris",	"oracle",   "oracle-rate",
};

/* By a quick sweep. */
static struct evaluation_options options_of(uint32_t n_policies, const char *const *policies)
{
	struct evaluation_options o = evaluation_options(PLANT_GATING_CU);

	o.surfaces[0] = evaluated.resnet_quick;
	o.n_policies = n_policies;
	memcpy(o.policies, policies, n_policies * sizeof(*policies));
	return o;
}
#define OPTIONS(policies) options_of(ARRAY_SIZE(policies), policies)

static const struct evaluation_row *row_of(const struct evaluation *e, uint32_t model,
					   const char *policy)
{
	for (uint32_t i = 0; i < e->options->n_policies; i++) {
		const struct evaluation_row *row = &e->rows[model * e->options->n_policies + i];

		if (strcmp(row->policy, policy) == 0)
			return row;
	}
	fail_msg("no row of %s", policy);
	return NULL;
}

static const struct evaluation_mean *mean_of(const struct evaluation *e, const char *policy)
{
	for (uint32_t i = 0; i < e->n_means; i++)
		if (strcmp(e->means[i].policy, policy) == 0)
			return &e->means[i];
	fail_msg("no mean of %s", policy);
	return NULL;
}

static void assert_close(double a, double b, double tolerance)
{
	if (!(fabs(a - b) <= tolerance))
		fail_msg("%.9g and %.9g", a, b);
}

/* ---- the same bytes ---- */

static void dump_spread(FILE *f, struct spread s)
{
	(void)fprintf(f, " %a %a %a", s.median, s.low, s.high);
}

static void dump_curve(FILE *f, const struct curve_point *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		(void)fprintf(f, " (%a %a %a %a)", p[i].headroom, p[i].excess_late_pct,
			      p[i].power_vs_auto, p[i].power_vs_maximum);
}

static void dump_row(FILE *f, const struct evaluation_row *row)
{
	const struct measures *m = &row->m;

	(void)fprintf(f, "%s %s %a %a %u %a %a %a %a %a %a %a %a %a %u %u %a %a %a %a %a %a %a %a",
		      row->model, row->policy, row->slo_ms, row->rated_rps, m->requests,
		      m->mean_power_w, m->energy_j, m->energy_per_request_j, m->idle_energy_pct,
		      m->p50_ms, m->p95_ms, m->p99_ms, m->request_attainment_pct,
		      m->excess_late_pct, m->excess_bad_windows, m->windows, m->changes,
		      m->mean_sclk_mhz, m->mean_cus, m->mean_batch, row->power_vs_auto,
		      row->power_vs_maximum, row->regret_pct, row->missed_pct);
	dump_spread(f, row->power_vs_auto_range);
	dump_spread(f, row->power_vs_maximum_range);
	dump_spread(f, row->excess_late_range);
	dump_spread(f, row->regret_range);
	dump_curve(f, row->curve, row->n_curve);
	for (uint32_t i = 0; i < row->n_ticks; i++)
		(void)fprintf(f, " %a/%a/%u", (double)row->ticks[i].power_w,
			      (double)row->ticks[i].p95_ms, row->ticks[i].reason);
	(void)fputc('\n', f);
}

static char *dump(const struct evaluation *e)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	for (uint32_t i = 0; i < e->n_rows; i++)
		dump_row(f, &e->rows[i]);
	for (uint32_t i = 0; i < e->n_means; i++) {
		const struct evaluation_mean *m = &e->means[i];

		(void)fprintf(f, "%s %a %a %a %a %d %a %a", m->policy, m->power_vs_auto,
			      m->power_vs_maximum, m->regret_pct, m->missed_pct, m->reaches,
			      m->headroom_there, m->power_vs_auto_there);
		dump_spread(f, m->power_vs_auto_range);
		dump_curve(f, m->curve, m->n_curve);
	}
	assert_int_equal(fclose(f), 0);
	return text;
}

struct steps {
	uint32_t n, total;
};

static void count(void *userdata, uint32_t done, uint32_t total)
{
	struct steps *s = userdata;

	assert_int_equal(done, s->n + 1);
	s->n = done;
	s->total = total;
}

static char *dump_with_threads(struct evaluation_options o, uint32_t threads)
{
	_cleanup_(evaluation_freep) struct evaluation *e = NULL;
	struct steps steps = {0};

	o.threads = threads;
	o.progress = count;
	o.userdata = &steps;
	e = evaluation_make(&o);
	assert_true(steps.n > o.n_models * o.service_cards * o.n_policies);
	assert_int_equal(steps.n, steps.total);
	return dump(e);
}

static void threads_change_nothing(void **state)
{
	static const char *const policies[] = {"coordinated", "adapter", "cofris", "oracle",
					       "oracle-rate"};

	(void)state;
	for (int sweep = 0; sweep < 2; sweep++) {
		struct evaluation_options o = OPTIONS(policies);
		_cleanup_(freep) char *one = NULL;

		o.keep_ticks = true;
		o.headroom_sweep = sweep;
		o.n_models = sweep ? 1 : 2;
		o.surfaces[1] = evaluated.vgg_quick;
		one = dump_with_threads(o, 1);
		for (uint32_t threads = sweep ? 4 : 2; threads <= 4; threads += 2) {
			_cleanup_(freep) char *several = dump_with_threads(o, threads);

			assert_string_equal(several, one);
		}
	}
}

/* ---- what rows say ---- */

static void references_are_run_when_not_listed(void **state)
{
	static const char *const alone[] = {"cofris"};
	_cleanup_(evaluation_freep) struct evaluation *with = NULL, *without = NULL;
	struct evaluation_options o = OPTIONS(all_policies), p = OPTIONS(alone);
	const struct evaluation_row *a, *b;

	(void)state;
	with = evaluation_make(&o);
	without = evaluation_make(&p);
	assert_int_equal(without->n_rows, 1);
	a = row_of(with, 0, "cofris");
	b = row_of(without, 0, "cofris");
	/* The common end may be later with more policies; it is idle time. */
	assert_close(a->power_vs_auto, b->power_vs_auto, 2e-3);
	assert_close(a->m.excess_late_pct, b->m.excess_late_pct, 0);
	assert_close(a->power_vs_maximum,
		     a->m.mean_power_w / row_of(with, 0, "maximum")->m.mean_power_w, 1e-12);
	assert_true(isnan(b->regret_pct) && isnan(b->missed_pct));
	assert_false(isnan(a->regret_pct) || isnan(a->missed_pct));
}

static void all_are_measured_over_the_same_time(void **state)
{
	_cleanup_(evaluation_freep) struct evaluation *e = NULL;
	struct evaluation_options o = OPTIONS(all_policies);
	double length_s;

	(void)state;
	e = evaluation_make(&o);
	length_s = e->rows[0].m.energy_j / e->rows[0].m.mean_power_w;
	assert_true(length_s >= EVALUATION_S - 30);
	for (uint32_t i = 0; i < e->n_rows; i++) {
		const struct evaluation_row *row = &e->rows[i];

		assert_int_equal(row->m.requests, e->rows[0].m.requests);
		assert_int_equal(row->m.windows, e->rows[0].m.windows);
		assert_close(row->m.energy_j / row->m.mean_power_w, length_s, 1e-6);
		assert_close(row->power_vs_auto, row->m.energy_j / e->rows[0].m.energy_j, 1e-9);
	}
	assert_close(row_of(e, 0, "maximum")->m.excess_late_pct, 0, 0);
	assert_true(row_of(e, 0, "maximum")->m.request_attainment_pct >= 99.5);
	assert_close(row_of(e, 0, "auto")->missed_pct, 100, 1e-9);
}

/* The bound, over several set-ups. */
static void no_policy_takes_less_than_the_oracle(void **state)
{
	static const enum plant_gating gatings[] = {PLANT_GATING_NONE, PLANT_GATING_SE,
						    PLANT_GATING_CU};
	static const double slo_factors[] = {2, 1.5, 1.25};

	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		_cleanup_(evaluation_freep) struct evaluation *e = NULL;
		struct evaluation_options o = OPTIONS(all_policies);

		o.models[0] = i % 2 ? evaluated.vgg : evaluated.resnet;
		o.surfaces[0] = i % 2 ? evaluated.vgg_quick : evaluated.resnet_quick;
		o.gating = gatings[i % 3];
		o.slo_factor = slo_factors[i % 3];
		o.seed = 100 + i;
		e = evaluation_make(&o);
		for (uint32_t p = 0; p < e->n_rows; p++)
			if (e->rows[p].regret_pct < -0.1)
				fail_msg("seed %u: %s has a regret of %.3f %% at %.3f %%", 100 + i,
					 e->rows[p].policy, e->rows[p].regret_pct,
					 e->rows[p].m.excess_late_pct);
		assert_true(isnan(row_of(e, 0, "oracle")->regret_pct));
	}
}

static void sweeps_pass_through_the_rows(void **state)
{
	static const char *const policies[] = {"coordinated", "adapter", "maximum", "oracle"};
	_cleanup_(evaluation_freep) struct evaluation *e = NULL;
	struct evaluation_options o = OPTIONS(policies);
	const struct evaluation_row *row;

	(void)state;
	o.headroom_sweep = true;
	o.keep_ticks = true;
	e = evaluation_make(&o);
	row = row_of(e, 0, "coordinated");
	assert_int_equal(row->n_curve, EVALUATE_HEADROOMS);
	assert_close(row->curve[5].headroom, 0.9, 1e-9);
	assert_close(row->curve[5].power_vs_auto, row->power_vs_auto, 0);
	assert_close(row->curve[5].excess_late_pct, row->m.excess_late_pct, 0);
	/* Less headroom, less power: nearly always, and from end to end. */
	assert_true(row->curve[0].power_vs_auto > row->curve[9].power_vs_auto);
	row = row_of(e, 0, "adapter");
	assert_int_equal(row->n_curve, EVALUATE_HEADROOMS);
	assert_close(row->curve[6].power_vs_auto, row->power_vs_auto, 0);
	row = row_of(e, 0, "maximum");
	assert_int_equal(row->n_curve, 1);
	assert_true(isnan(row->curve[0].headroom));
	assert_true(row->n_ticks >= 2 * EVALUATION_S);
	assert_true(row_of(e, 0, "oracle")->n_curve > 1);
	assert_non_null(e->surfaces[0]);
	assert_string_equal(e->surfaces[0]->model, "resnet152");
}

static void service_latency_is_without_queues(void **state)
{
	static const char *const policies[] = {"maximum", "coordinated"};
	_cleanup_(evaluation_freep) struct evaluation *sojourn = NULL, *service = NULL;
	struct evaluation_options o = OPTIONS(policies), p = OPTIONS(policies);

	(void)state;
	p.latency = LATENCY_SERVICE;
	sojourn = evaluation_make(&o);
	service = evaluation_make(&p);
	/* Load 1 is all of the capacity, and the reference has not waited. */
	assert_close(service->rows[0].rated_rps * 0.7 / sojourn->rows[0].rated_rps, 1, 0.01);
	assert_true(service->rows[0].slo_ms < sojourn->rows[0].slo_ms / 2);
	assert_close(service->rows[0].m.p95_ms * 2 / service->rows[0].slo_ms, 1, 0.2);
	assert_close(mean_of(service, "coordinated")->power_vs_auto,
		     row_of(service, 0, "coordinated")->power_vs_auto, 1e-9);
}

static void cards_give_medians_and_ranges(void **state)
{
	static const char *const policies[] = {"coordinated"};
	_cleanup_(evaluation_freep) struct evaluation *e = NULL;
	struct evaluation_options o = OPTIONS(policies);
	const struct spread *s;

	(void)state;
	o.service_cards = 3;
	o.ensemble = 2;
	e = evaluation_make(&o);
	s = &e->rows[0].power_vs_auto_range;
	assert_true(s->low < s->median && s->median < s->high);
	assert_close(e->rows[0].power_vs_auto, s->median, 0);
	s = &e->rows[0].excess_late_range;
	assert_true(s->low <= s->median && s->median <= s->high);
}

/* ---- refusals ---- */

static void nonsense_is_refused(void **state)
{
	static const char *const unknown[] = {"auto", "magic"};
	static const char *const batch[] = {"batchsizer-fixed"};
	static const char *const one[] = {"auto"}, *const twice[] = {"oracle", "auto", "oracle"};
	struct evaluation_options o = OPTIONS(unknown);
	struct trace shorter = evaluation_trace;

	(void)state;
	evaluation_refused(&o, -EINVAL, "\"magic\"");
	o = OPTIONS(twice);
	evaluation_refused(&o, -EINVAL, "\"oracle\" is listed twice");
	o = OPTIONS(batch);
	evaluation_refused(&o, -EINVAL, "batchsizer-fixed needs a power cap");
	o.cap_w = 100;
	evaluation_refused(&o, -EINVAL, "largest batch above 1");
	o = OPTIONS(one);
	o.n_models = 0;
	evaluation_refused(&o, -EINVAL, "0 models");
	o = OPTIONS(one);
	o.service_cards = 0;
	evaluation_refused(&o, -EINVAL, "0 service cards");
	o = OPTIONS(one);
	o.ensemble = TRUTH_ENSEMBLE + 2;
	evaluation_refused(&o, -EINVAL, "ensemble");
	o = OPTIONS(one);
	o.percentile = 0;
	evaluation_refused(&o, -EINVAL, "resnet152: percentile 0");
	o = OPTIONS(one);
	o.cap_w = NAN;
	evaluation_refused(&o, -EINVAL, "cap");
	shorter.duration_s = 30;
	o = OPTIONS(one);
	o.trace = &shorter;
	evaluation_refused(&o, -EINVAL, "30 s");
}

static void overload_is_no_set_up(void **state)
{
	static const char *const one[] = {"auto"};
	struct load_point heavy_points[] = {{0, 1.6}, {EVALUATION_S, 1.6}};
	struct load_curve heavy = {.n = 2, .points = heavy_points};
	struct trace too_much = {.curve = &heavy, .duration_s = EVALUATION_S};
	struct evaluation_options o = OPTIONS(one);

	(void)state;
	o.trace = &too_much;
	o.n_models = 2;
	o.threads = 2;
	evaluation_refused(&o, -EDOM, "resnet152: overloaded");
	o = OPTIONS(one);
	o.slo_factor = 0;
	o.slo_ns = 1000000;
	evaluation_refused(&o, -EDOM, "resnet152: the SLO of 1.000 ms cannot be met");
}

static void batchsizer_runs_with_a_cap(void **state)
{
	static const char *const policies[] = {"maximum", "batchsizer", "batchsizer-fixed",
					       "oracle", "oracle-rate"};
	_cleanup_(evaluation_freep) struct evaluation *e = NULL;
	struct evaluation_options o = OPTIONS(policies);

	(void)state;
	o.cap_w = 215;
	o.max_batch = 8;
	e = evaluation_make(&o);
	assert_int_equal(e->n_rows, 5);
	assert_true(row_of(e, 0, "batchsizer-fixed")->m.mean_batch > 1);
	for (uint32_t i = 0; i < 3; i++)
		assert_true(e->rows[i].regret_pct > -0.1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_change_nothing),
		cmocka_unit_test(references_are_run_when_not_listed),
		cmocka_unit_test(all_are_measured_over_the_same_time),
		cmocka_unit_test(no_policy_takes_less_than_the_oracle),
		cmocka_unit_test(sweeps_pass_through_the_rows),
		cmocka_unit_test(service_latency_is_without_queues),
		cmocka_unit_test(cards_give_medians_and_ranges),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(overload_is_no_set_up),
		cmocka_unit_test(batchsizer_runs_with_a_cap),
	};

	return cmocka_run_group_tests(tests, evaluation_load, evaluation_unload);
}
