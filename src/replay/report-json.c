/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/report-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

static const char *const gating_names[] = {"none", "se", "cu"};

/* Rounded here and printed with as many digits, so that a difference in the last bits of a sum is
 * none in the bytes. */
json_t *report_rounded(double value)
{
	char text[40];

	if (!isfinite(value))
		return json_null();
	(void)snprintf(text, sizeof(text), "%.*g", REPORT_DIGITS, value);
	value = strtod(text, NULL);
	return json_real(value == 0 ? 0 : value); /* no -0.0 */
}

/* Names are paths too, which may hold anything but a NUL. */
static json_t *text(const char *s)
{
	_cleanup_(freep) char *copy = NULL;
	json_t *value = json_string(s);

	if (value)
		return value;
	copy = strdup(s);
	for (char *p = copy; p && *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return copy ? json_string(copy) : NULL;
}

struct row {
	json_t *object;
	bool failed;
};

static void add(struct row *row, const char *key, json_t *value)
{
	if (json_object_set_new(row->object, key, value) < 0)
		row->failed = true;
}

static void add_number(struct row *row, const char *key, double value)
{
	add(row, key, report_rounded(value));
}

static json_t *finish(struct row *row)
{
	if (!row->failed)
		return row->object;
	json_decref(row->object);
	return NULL;
}

static struct row begin(void)
{
	return (struct row){.object = json_object()};
}

static json_t *spread_json(const struct spread *s)
{
	struct row row = begin();

	add_number(&row, "median", s->median);
	add_number(&row, "low", s->low);
	add_number(&row, "high", s->high);
	return finish(&row);
}

static json_t *point_json(const struct curve_point *p)
{
	struct row row = begin();

	add_number(&row, "headroom", p->headroom);
	add_number(&row, "excess_late_pct", p->excess_late_pct);
	add_number(&row, "power_vs_auto", p->power_vs_auto);
	add_number(&row, "power_vs_maximum", p->power_vs_maximum);
	return finish(&row);
}

/* NULL if a value is, as json_array_append_new() says. */
static json_t *append(json_t *array, json_t *value)
{
	if (json_array_append_new(array, value) == 0)
		return array;
	json_decref(array);
	return NULL;
}

static json_t *curve_json(const struct curve_point *points, uint32_t n)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < n && array; i++)
		array = append(array, point_json(&points[i]));
	return array;
}

static void add_measures(struct row *row, const struct measures *m)
{
	add_number(row, "energy_per_request_j", m->energy_per_request_j);
	add_number(row, "idle_energy_pct", m->idle_energy_pct);
	add_number(row, "p50_ms", m->p50_ms);
	add_number(row, "p95_ms", m->p95_ms);
	add_number(row, "p99_ms", m->p99_ms);
	add_number(row, "request_attainment_pct", m->request_attainment_pct);
	add_number(row, "excess_late_pct", m->excess_late_pct);
	add(row, "excess_bad_windows", json_integer(m->excess_bad_windows));
	add_number(row, "changes", m->changes);
	add_number(row, "mean_sclk_mhz", m->mean_sclk_mhz);
	add_number(row, "mean_cus", m->mean_cus);
	add_number(row, "mean_batch", m->mean_batch);
}

static json_t *result_json(const struct evaluation_row *r)
{
	struct row row = begin();

	add(&row, "model", text(r->model));
	add(&row, "policy", text(r->policy));
	add_number(&row, "slo_ms", r->slo_ms);
	add_number(&row, "rated_rps", r->rated_rps);
	add(&row, "requests", json_integer(r->m.requests));
	add_number(&row, "mean_power_w", r->m.mean_power_w);
	add_number(&row, "power_vs_auto", r->power_vs_auto);
	add_number(&row, "power_vs_maximum", r->power_vs_maximum);
	add_measures(&row, &r->m);
	add_number(&row, "regret_pct", r->regret_pct);
	add_number(&row, "missed_pct", r->missed_pct);
	add(&row, "windows", json_integer(r->m.windows));
	add_number(&row, "energy_j", r->m.energy_j);
	add(&row, "overloaded", json_boolean(r->overloaded));
	add(&row, "power_vs_auto_range", spread_json(&r->power_vs_auto_range));
	add(&row, "power_vs_maximum_range", spread_json(&r->power_vs_maximum_range));
	add(&row, "excess_late_pct_range", spread_json(&r->excess_late_range));
	add(&row, "regret_pct_range", spread_json(&r->regret_range));
	add(&row, "curve", curve_json(r->curve, r->n_curve));
	return finish(&row);
}

static json_t *mean_json(const struct evaluation_mean *m)
{
	struct row row = begin();

	add(&row, "policy", text(m->policy));
	add_number(&row, "power_vs_auto", m->power_vs_auto);
	add_number(&row, "power_vs_maximum", m->power_vs_maximum);
	add_number(&row, "regret_pct", m->regret_pct);
	add_number(&row, "missed_pct", m->missed_pct);
	add(&row, "reaches", json_boolean(m->reaches));
	add_number(&row, "headroom_there", m->headroom_there);
	add_number(&row, "power_vs_auto_there", m->power_vs_auto_there);
	add(&row, "power_vs_auto_range", spread_json(&m->power_vs_auto_range));
	add(&row, "curve", curve_json(m->curve, m->n_curve));
	return finish(&row);
}

static json_t *results_json(const struct evaluation *e)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < e->n_rows && array; i++)
		array = append(array, result_json(&e->rows[i]));
	return array;
}

static json_t *means_json(const struct evaluation *e)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < e->n_means && array; i++)
		array = append(array, mean_json(&e->means[i]));
	return array;
}

static const char *load_definition(const struct evaluation_options *o)
{
	if (o->trace->absolute)
		return "requests/s of the trace";
	if (!o->trace->curve)
		return "the requests of the trace";
	return o->latency == LATENCY_SERVICE ? "1 = capacity C(B), as in the paper"
					     : "1 = rated rate R = 0.7 C(B)";
}

/* "2.0x" or "20.0ms". */
static json_t *slo_json(const struct evaluation_options *o)
{
	double value = o->slo_factor > 0 ? o->slo_factor : (double)o->slo_ns / 1e6;
	char digits[40];

	(void)snprintf(digits, sizeof(digits), "%.*g", REPORT_DIGITS, value);
	return json_sprintf("%s%s%s", digits,
			    o->slo_factor > 0 && !strpbrk(digits, ".e") ? ".0" : "",
			    o->slo_factor > 0 ? "x" : "ms");
}

static void add_set_up(struct row *row, const struct evaluation_options *o)
{
	const struct trace *t = o->trace;

	add(row, "schema", json_integer(REPORT_SCHEMA));
	add(row, "simulated", json_true());
	add(row, "trace", text(o->trace_name));
	add(row, "smoothing_k", t->smoothing_k ? json_integer(t->smoothing_k) : json_null());
	add_number(row, "mean_load", t->mean_load);
	add(row, "load_definition", json_string(load_definition(o)));
	add(row, "latency_notion",
	    json_string(o->latency == LATENCY_SERVICE ? "service" : "sojourn"));
	add(row, "seed", json_integer((json_int_t)o->seed));
	add_number(row, "duration_s", t->duration_s);
	add(row, "gating", json_string(gating_names[o->gating]));
	add(row, "slo", slo_json(o));
	add_number(row, "switch_ms", o->switch_ms < 0 ? o->device->switch_ms : o->switch_ms);
	add(row, "service_cards", json_integer(o->service_cards));
}

/* Models whose surface was given. */
static json_t *surfaces_json(const struct evaluation_options *o)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < o->n_models && array; i++)
		if (o->surfaces[i])
			array = append(array, text(o->models[i]->name));
	return array;
}

static void add_further_set_up(struct row *row, const struct evaluation_options *o)
{
	const struct plant_device *d = o->device;

	add(row, "modelled", json_boolean(o->gating != PLANT_GATING_NONE));
	add(row, "device", text(d->name));
	add(row, "product", text(d->product));
	add(row, "trace_format", json_string(trace_format_name(o->trace->format)));
	add_number(row, "bin_s", o->trace->bin_s > 0 ? o->trace->bin_s : NAN);
	add(row, "percentile", json_integer(o->percentile));
	add_number(row, "headroom", o->headroom);
	add(row, "headroom_sweep", json_boolean(o->headroom_sweep));
	add_number(row, "reaches_at_excess_late_pct", EVALUATE_EXCESS_LATE_PCT);
	add(row, "ensemble", json_integer(o->ensemble));
	add(row, "max_batch", json_integer(o->max_batch));
	add_number(row, "cap_w", o->cap_w > 0 ? o->cap_w : NAN);
	add_number(row, "dpm_ramp_ms", o->dpm_ramp_ms < 0 ? d->dpm_ramp_ms : o->dpm_ramp_ms);
	add_number(row, "idle_active_share",
		   o->idle_active_share < 0 ? d->idle_active_share : o->idle_active_share);
	add(row, "surfaces", surfaces_json(o));
	add(row, "exact", json_boolean(o->exact));
	add(row, "no_boosts", json_boolean(o->no_boosts));
}

static json_t *mix_model_json(const char *name, const struct mix_model_figures *m)
{
	struct row row = begin();

	add(&row, "model", text(name));
	add_number(&row, "slo_ms", m->slo_ms);
	add_number(&row, "load_rps", m->load_rps);
	add_number(&row, "requests", m->requests);
	add_number(&row, "request_attainment_pct", m->request_attainment_pct);
	add_number(&row, "excess_late_pct", m->excess_late_pct);
	add_number(&row, "p95_ms", m->p95_ms);
	add_number(&row, "p99_ms", m->p99_ms);
	add_number(&row, "starved_ms", m->starved_ms);
	add_number(&row, "mean_cus", m->mean_cus);
	add_number(&row, "mean_batch", m->mean_batch);
	return finish(&row);
}

static json_t *mix_json(const struct mix_evaluation *e, uint32_t i, enum mix_policy p)
{
	const struct mix_figures *f = &e->figures[i][p];
	const struct mix *mix = &e->mixes[i];
	json_t *models = json_array();
	struct row row = begin();
	char names[256] = "";

	for (uint32_t j = 0; j < mix->n && models; j++) {
		const char *name = e->options->models[mix->models[j]]->name;
		size_t used = strlen(names);

		(void)snprintf(names + used, sizeof(names) - used, "%s%s", j ? "+" : "", name);
		models = append(models, mix_model_json(name, &f->models[j]));
	}
	add(&row, "mix", text(names));
	add(&row, "policy", json_string(mix_policy_name(p)));
	add_number(&row, "mean_power_w", f->mean_power_w);
	add_number(&row, "energy_j", f->energy_j);
	add_number(&row, "power_vs_auto", f->power_vs_auto);
	add_number(&row, "power_vs_maximum", f->power_vs_maximum);
	add_number(&row, "vs_exhaustive", f->vs_exhaustive);
	add_number(&row, "vs_masks", f->vs_masks);
	add_number(&row, "excess_late_pct", f->excess_late_pct);
	add_number(&row, "worst_excess_late_pct", f->worst_excess_late_pct);
	add_number(&row, "worst_starved_slos", f->worst_starved_slos);
	add_number(&row, "mean_sclk_mhz", f->mean_sclk_mhz);
	add_number(&row, "changes", f->changes);
	add(&row, "models", models);
	return finish(&row);
}

json_t *report_mix_json(const struct mix_evaluation *e)
{
	json_t *array = json_array();
	struct row row = begin();

	for (uint32_t i = 0; i < e->n_mixes; i++)
		for (int p = 0; p < MIX_POLICIES && array; p++)
			array = append(array, mix_json(e, i, (enum mix_policy)p));
	add_set_up(&row, e->options);
	add(&row, "mixes", array);
	add_further_set_up(&row, e->options);
	return finish(&row);
}

json_t *report_json(const struct evaluation *e)
{
	struct row row = begin();

	add_set_up(&row, e->options);
	add(&row, "results", results_json(e));
	add(&row, "geomean", means_json(e));
	add_further_set_up(&row, e->options);
	return finish(&row);
}

int report_dump(const json_t *object, FILE *f)
{
	if (json_dumpf(object, f, JSON_ENSURE_ASCII | JSON_REAL_PRECISION(REPORT_DIGITS)) < 0 ||
	    fputc('\n', f) == EOF)
		return errno > 0 ? -errno : -EIO;
	return 0;
}
