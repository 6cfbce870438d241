/* SPDX-License-Identifier: Apache-2.0 */
#include "base/macros.h"
#include "ctl/columns.h"
#include "ctl/show.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>

static bool is_true(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static bool is_number(const json_t *o, const char *key)
{
	return json_is_number(json_object_get(o, key));
}

/* "4x9", or "all" where there is no mask. */
static char *cell_shape(const json_t *o, const char *key)
{
	return strdup(is_true(o, "masked") ? text_of(o, key) : "all");
}

static char *cell_words(const json_t *o, const char *key)
{
	char *text;

	return asprintf(&text, "%s%s%s", text_of(o, key),
			is_true(o, "in_force") ? ", in force" : "",
			is_true(o, "baseline") ? ", full speed" : "") < 0
		       ? NULL
		       : text;
}

static const struct column candidate_columns[] = {
	{"MHZ", "max_mhz", cell_integer, SCOLS_FL_RIGHT},
	{"CUS", "shape", cell_shape, SCOLS_FL_RIGHT},
	{"BATCH", "batch", cell_integer, SCOLS_FL_RIGHT},
	{"WAIT MS", "wait_ms", cell_number, SCOLS_FL_RIGHT},
	{"AT RPS", "rate_rps", cell_number, SCOLS_FL_RIGHT},
	{"POWER W", "power_w", cell_number, SCOLS_FL_RIGHT},
	{"LATE %", "late_percent", cell_number, SCOLS_FL_RIGHT},
	{"TAIL MS", "tail_ms", cell_number, SCOLS_FL_RIGHT},
	{"COST W", "cost_w", cell_number, SCOLS_FL_RIGHT},
	{"", "words", cell_words, 0},
};

static int print_candidates(const json_t *model)
{
	_cleanup_(columns_unref) struct libscols_table *t = scols_new_table();
	const json_t *candidates = json_object_get(model, "candidates");
	int r;

	if (json_array_size(candidates) == 0)
		return 0;
	if (!t)
		return -ENOMEM;
	r = columns_add(t, candidate_columns, ARRAY_SIZE(candidate_columns));
	if (r >= 0)
		r = columns_lines(t, candidate_columns, ARRAY_SIZE(candidate_columns), candidates);
	if (r < 0)
		return r;
	(void)printf("  %zu of %d configurations, %d of which would do%s:\n",
		     json_array_size(candidates),
		     (int)json_integer_value(json_object_get(model, "considered")),
		     (int)json_integer_value(json_object_get(model, "feasible")),
		     strcmp(text_of(model, "from"), "table") == 0 ? ", from the table" : "");
	return scols_print_table(t);
}

/* "1200 MHz on 4x9 CUs, batch 2" */
static void print_setting(const json_t *s)
{
	_cleanup_(freep) char *mhz = cell_integer(s, "max_mhz");
	_cleanup_(freep) char *wait = cell_number(s, "max_wait_ms");
	int batch = (int)json_integer_value(json_object_get(s, "max_batch"));

	if (strcmp(text_of(s, "action"), "release") == 0) {
		(void)printf("the card as found");
		return;
	}
	if (strcmp(text_of(s, "action"), "hold") == 0) {
		(void)printf("what is set stays");
		return;
	}
	(void)printf("%s MHz on %s CUs", mhz ? mhz : "-",
		     is_true(s, "masked") ? text_of(s, "shape") : "all");
	if (batch > 1)
		(void)printf(", batches of %d", batch);
	if (json_number_value(json_object_get(s, "max_wait_ms")) > 0)
		(void)printf(", waiting up to %s ms for them", wait ? wait : "-");
}

static void print_predicted(const json_t *s)
{
	_cleanup_(freep) char *power = cell_number(s, "power_w");
	_cleanup_(freep) char *tail = cell_number(s, "tail_ms");

	if (is_number(s, "power_w"))
		(void)printf("; predicted %s W", power ? power : "-");
	if (is_number(s, "tail_ms"))
		(void)printf("%s tail %s ms", is_number(s, "power_w") ? "," : "; predicted",
			     tail ? tail : "-");
}

static void print_objective(const json_t *model)
{
	_cleanup_(freep) char *slo = cell_number(model, "slo_ms");
	_cleanup_(freep) char *limit = cell_number(model, "limit_ms");
	_cleanup_(freep) char *percentile = cell_integer(model, "percentile");
	_cleanup_(freep) char *cost = cell_number(model, "late_cost");
	_cleanup_(freep) char *cap = cell_number(model, "power_cap_w");
	_cleanup_(freep) char *factor = cell_number(model, "service_factor");

	if (is_number(model, "slo_ms")) {
		(void)printf("  SLO %s ms at p%s; ", slo ? slo : "-",
			     percentile ? percentile : "-");
		if (json_number_value(json_object_get(model, "late_cost")) > 0)
			(void)printf("a late request counts as %s at full speed",
				     cost ? cost : "-");
		else
			(void)printf("planned for tails within %s ms", limit ? limit : "-");
		(void)printf("; service times %s of the profile's\n", factor ? factor : "-");
	}
	if (is_number(model, "power_cap_w"))
		(void)printf("  power cap %s W\n", cap ? cap : "-");
}

static void print_stale(const json_t *model)
{
	_cleanup_(freep) char *stale = cell_list(model, "stale");

	if (json_array_size(json_object_get(model, "stale")) > 0)
		(void)printf("  its profile is stale: %s\n", stale ? stale : "-");
}

static void print_demand(const json_t *model)
{
	_cleanup_(freep) char *rate = cell_number(model, "rate_rps");
	_cleanup_(freep) char *demand = cell_number(model, "demand_rps");
	_cleanup_(freep) char *row = cell_number(model, "row_rps");

	(void)printf("%s (policy %s): ", text_of(model, "name"), text_of(model, "policy"));
	if (is_true(model, "what_if"))
		(void)printf("if %s requests/s were to be planned for", demand ? demand : "-");
	else
		(void)printf("%s requests/s, planned for %s", rate ? rate : "-",
			     demand ? demand : "-");
	if (is_number(model, "row_rps"))
		(void)printf(" (row up to %s)", row ? row : "-");
	(void)puts(is_true(model, "worker_presumed") ? ", and a worker that follows everything"
						     : "");
}

static int print_model(const json_t *model)
{
	const json_t *in_force = json_object_get(model, "in_force");
	const json_t *choice = json_object_get(model, "choice");
	bool what_if = is_true(model, "what_if");

	print_demand(model);
	print_objective(model);
	print_stale(model);
	if (json_is_object(in_force)) {
		(void)printf("  decided: ");
		print_setting(in_force);
		(void)printf(": %s", text_of(in_force, "words"));
		print_predicted(in_force);
		(void)puts("");
	}
	if (what_if || is_true(model, "differs")) {
		(void)printf("  %s: ", what_if ? "would be" : "wanted");
		print_setting(choice);
		(void)printf(": %s", text_of(choice, "words"));
		print_predicted(choice);
		(void)puts("");
	}
	if (json_is_string(json_object_get(model, "held")) &&
	    strcmp(text_of(model, "held"), text_of(in_force, "reason")) != 0)
		(void)printf("  held: %s\n", text_of(model, "held_words"));
	return print_candidates(model);
}

static int print_gpu(const json_t *gpu)
{
	_cleanup_(freep) char *since = cell_number(gpu, "since_s");
	const json_t *models = json_object_get(gpu, "models"), *model;
	size_t i;
	int r = 0;

	(void)printf("%s%s: %s", text_of(gpu, "bdf"),
		     is_true(gpu, "simulated") ? " (simulated card)" : "", text_of(gpu, "state"));
	/* Of one model alone it is said below. */
	if (json_is_string(json_object_get(gpu, "words")) && json_array_size(models) != 1)
		(void)printf("; %s", text_of(gpu, "words"));
	if (is_number(gpu, "since_s"))
		(void)printf("; unchanged for %s s", since ? since : "-");
	(void)puts("");
	if (strcmp(text_of(gpu, "gating"), "none") != 0)
		(void)printf("gating = %s, so predicted power is modelled, not measured\n",
			     text_of(gpu, "gating"));
	json_array_foreach(models, i, model)
	{
		r = print_model(model);
		if (r < 0)
			break;
	}
	return r;
}

int show_explanation(const json_t *explanation)
{
	return show_each_gpu(explanation, print_gpu);
}

static const struct column decision_columns[] = {
	{"NUMBER", "number", cell_integer, SCOLS_FL_RIGHT},
	{"S AGO", "age_s", cell_number, SCOLS_FL_RIGHT},
	{"CHANGED", "changed", cell_mark, 0},
	{"LIMIT MHZ", "max_mhz", cell_integer, SCOLS_FL_RIGHT},
	{"MHZ", "sclk_mhz", cell_integer, SCOLS_FL_RIGHT},
	{"POWER W", "power_w", cell_number, SCOLS_FL_RIGHT},
	{"PREDICTED", "predicted_power_w", cell_number, SCOLS_FL_RIGHT},
	{"CARD", "reason", cell_text, 0},
};

static const struct column decided_columns[] = {
	{"MODEL", "name", cell_text, 0},
	{"RPS", "rate_rps", cell_number, SCOLS_FL_RIGHT},
	{"FOR RPS", "demand_rps", cell_number, SCOLS_FL_RIGHT},
	{"CUS", "shape", cell_text, SCOLS_FL_RIGHT},
	{"BATCH", "max_batch", cell_integer, SCOLS_FL_RIGHT},
	{"TAIL MS", "predicted_tail_ms", cell_number, SCOLS_FL_RIGHT},
	{"LATE", "late", cell_integer, SCOLS_FL_RIGHT},
	{"REASON", "reason", cell_text, 0},
};

/* A line for each model; at least one. */
static int add_decision(struct libscols_table *t, const json_t *decision)
{
	const json_t *models = json_object_get(decision, "models"), *model;
	size_t n = MAX(json_array_size(models), (size_t)1);
	int r = 0;

	for (size_t i = 0; i < n && r >= 0; i++) {
		struct libscols_line *line = scols_table_new_line(t, NULL);

		if (!line)
			return -ENOMEM;
		if (i == 0)
			r = columns_fill(line, decision_columns, ARRAY_SIZE(decision_columns), 0,
					 decision);
		model = json_array_get(models, i);
		if (r >= 0 && model)
			r = columns_fill(line, decided_columns, ARRAY_SIZE(decided_columns),
					 ARRAY_SIZE(decision_columns), model);
	}
	return r;
}

static int print_decisions(const json_t *gpu)
{
	_cleanup_(columns_unref) struct libscols_table *t = scols_new_table();
	const json_t *decision;
	size_t i;
	int r;

	if (!t)
		return -ENOMEM;
	r = columns_add(t, decision_columns, ARRAY_SIZE(decision_columns));
	if (r >= 0)
		r = columns_add(t, decided_columns, ARRAY_SIZE(decided_columns));
	json_array_foreach(json_object_get(gpu, "decisions"), i, decision) if (r >= 0) r =
		add_decision(t, decision);
	if (r < 0)
		return r;
	(void)printf("%s%s\n", text_of(gpu, "bdf"),
		     is_true(gpu, "simulated") ? " (simulated card)" : "");
	if (scols_table_get_nlines(t) == 0) {
		(void)puts("nothing decided yet");
		return 0;
	}
	return scols_print_table(t);
}

int show_decisions(const json_t *decisions)
{
	const json_t *gpu, *gpus = json_object_get(decisions, "gpus");
	size_t i;
	int r = 0;

	if (json_array_size(gpus) == 0)
		(void)puts("no governed card yet");
	json_array_foreach(gpus, i, gpu)
	{
		r = print_decisions(gpu);
		if (r < 0)
			break;
	}
	return r;
}
