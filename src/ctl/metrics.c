/* SPDX-License-Identifier: Apache-2.0 */
/* Families are of the types gauge and counter alone: node_exporter's textfile collector, which
 * reads the older format, refuses a file with a type that is not in it. */
#include "ctl/metrics.h"
#include "base/macros.h"
#include "ctl/commands.h"
#include "ctl/health.h"
#include "ctl/output.h"
#include <math.h>
#include <string.h>

struct metric {
	const char *name, *type, *unit, *help;
	const char *object; /* the key's object; NULL: the card's or model's own */
	const char *key;
	double factor; /* to the unit */
};

static const struct metric daemon_metrics[] = {
	{"cofris_workers", "gauge", "", "Connections of workers.", NULL, "workers", 1},
};

static const struct metric gpu_metrics[] = {
	{"cofris_gpu_clock_hertz", "gauge", "hertz", "Core clock.", NULL, "sclk_mhz", 1e6},
	{"cofris_gpu_clock_limit_hertz", "gauge", "hertz", "Clock limit in force, if it is ours.",
	 NULL, "max_mhz", 1e6},
	{"cofris_gpu_power_watts", "gauge", "watts", "Power of the card.", NULL, "power_w", 1},
	{"cofris_gpu_predicted_power_watts", "gauge", "watts",
	 "Power that the latest decision predicts.", NULL, "predicted_power_w", 1},
	{"cofris_gpu_power_cap_watts", "gauge", "watts", "The card's power cap.", NULL,
	 "power_cap_w", 1},
	{"cofris_gpu_power_cap_ordered_watts", "gauge", "watts",
	 "Power cap by order or configuration.", "cap", "wanted_w", 1},
	{"cofris_gpu_temperature_celsius", "gauge", "celsius", "Temperature.", NULL,
	 "temperature_c", 1},
	{"cofris_gpu_busy_ratio", "gauge", "ratio", "Share of time with work.", NULL,
	 "busy_percent", 0.01},
	{"cofris_gpu_compute_units", "gauge", "", "Compute units of the card.", NULL, "cus", 1},
	{"cofris_gpu_workers", "gauge", "", "Connections of workers on the card.", NULL, "workers",
	 1},
	{"cofris_gpu_decisions", "counter", "", "Decisions since the tables were loaded.", NULL,
	 "decisions", 1},
	{"cofris_gpu_capped_seconds", "counter", "seconds", "Time with a power cap in force.",
	 "cap", "watched_ms", 1e-3},
	{"cofris_gpu_over_cap_seconds", "counter", "seconds", "Time above the power cap.", "cap",
	 "over_ms", 1e-3},
};

static const struct metric model_metrics[] = {
	{"cofris_model_workers", "gauge", "", "Connections of the model's workers.", NULL,
	 "workers", 1},
	{"cofris_model_requests_per_second", "gauge", "", "Rate of arrivals.", NULL, "rate_rps", 1},
	{"cofris_model_planned_requests_per_second", "gauge", "",
	 "Upper bound of the rate that is planned for.", NULL, "demand_rps", 1},
	{"cofris_model_capacity_requests_per_second", "gauge", "",
	 "Rate above which the model is in overload.", NULL, "capacity_rps", 1},
	{"cofris_model_in_flight", "gauge", "", "Requests that are not finished.", NULL,
	 "in_flight", 1},
	{"cofris_model_compute_units", "gauge", "", "Compute units in use.", NULL, "cus", 1},
	{"cofris_model_service_time_ratio", "gauge", "ratio", "Service times over the profile's.",
	 NULL, "service_factor", 1},
};

/* Over all cards. */
static const struct metric total_metrics[] = {
	{"cofris_model_requests", "counter", "", "Requests that arrived.", NULL, "requests", 1},
	{"cofris_model_completions", "counter", "", "Requests that ended well.", NULL,
	 "completions", 1},
	{"cofris_model_failures", "counter", "", "Requests that failed.", NULL, "failures", 1},
	{"cofris_model_late", "counter", "", "Requests that ended beyond the objective.", NULL,
	 "late", 1},
};

/* Those of latency have the percentile as a label, too. */
static const struct metric latency_metrics[] = {
	{"cofris_model_objective_seconds", "gauge", "seconds", "Latency objective.", NULL, "slo_ms",
	 1e-3},
	{"cofris_model_latency_seconds", "gauge", "seconds",
	 "Latency measured over the last two seconds.", NULL, "tail_ms", 1e-3},
	{"cofris_model_predicted_latency_seconds", "gauge", "seconds",
	 "Latency that the latest decision predicts, without boosts.", NULL, "predicted_tail_ms",
	 1e-3},
};

static const char *const states[] = {"absent",	      "probing",  "governed",	"yielding",
				     "held-by-other", "degraded", "quarantined"};

static json_t *family_of(const struct metric *m)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:[]}", "name", m->name, "type", m->type, "unit",
			 m->unit, "help", m->help, "samples");
}

/* Takes labels. */
static void add(json_t *family, json_t *labels, double value)
{
	(void)json_array_append_new(json_object_get(family, "samples"),
				    json_pack("{s:o, s:f}", "labels", labels, "value", value));
}

/* Takes labels; nothing if it is not known. */
static void add_value(json_t *family, const struct metric *m, const json_t *object, json_t *labels)
{
	const json_t *value;

	if (m->object)
		object = json_object_get(object, m->object);
	value = json_object_get(object, m->key);
	if (json_is_number(value) && isfinite(json_number_value(value)))
		add(family, labels, json_number_value(value) * m->factor);
	else
		json_decref(labels);
}

/* Takes family. */
static void finish(json_t *families, json_t *family)
{
	if (json_array_size(json_object_get(family, "samples")) > 0)
		(void)json_array_append_new(families, family);
	else
		json_decref(family);
}

static json_t *gpu_labels(const json_t *gpu)
{
	return json_pack("{s:s, s:s}", "gpu", json_string_value(json_object_get(gpu, "bdf")) ?: "",
			 "simulated",
			 json_is_true(json_object_get(gpu, "simulated")) ? "true" : "false");
}

static json_t *model_labels(const json_t *gpu, const json_t *model)
{
	json_t *labels = gpu_labels(gpu);

	(void)json_object_set(labels, "model", json_object_get(model, "name"));
	return labels;
}

static void add_gpus(json_t *families, const json_t *gpus)
{
	const json_t *gpu;
	size_t i;

	for (size_t k = 0; k < ARRAY_SIZE(gpu_metrics); k++) {
		json_t *family = family_of(&gpu_metrics[k]);

		json_array_foreach(gpus, i, gpu)
			add_value(family, &gpu_metrics[k], gpu, gpu_labels(gpu));
		finish(families, family);
	}
}

static void add_totals(json_t *families, const json_t *models)
{
	const json_t *model;
	size_t i;

	for (size_t k = 0; k < ARRAY_SIZE(total_metrics); k++) {
		json_t *family = family_of(&total_metrics[k]);

		json_array_foreach(models, i, model)
		{
			json_t *labels = json_object();

			(void)json_object_set(labels, "model", json_object_get(model, "name"));
			add_value(family, &total_metrics[k], model, labels);
		}
		finish(families, family);
	}
}

static void add_models(json_t *families, const json_t *gpus, const struct metric *m,
		       bool percentile)
{
	json_t *family = family_of(m);
	const json_t *gpu, *model;
	size_t i, k;

	json_array_foreach(gpus, i, gpu)
		json_array_foreach(json_object_get(gpu, "models"), k, model)
	{
		json_t *labels = model_labels(gpu, model);

		if (percentile)
			(void)json_object_set_new(
				labels, "percentile",
				json_sprintf("%d", (int)json_integer_value(
							   json_object_get(model, "percentile"))));
		add_value(family, m, model, labels);
	}
	finish(families, family);
}

/* A sample for each state, 1 for the one that it is in. */
static void add_states(json_t *families, const json_t *gpus)
{
	static const struct metric m = {"cofris_gpu_state",
					"gauge",
					"",
					"Whether the card is in the state.",
					NULL,
					NULL,
					1};
	json_t *family = family_of(&m);
	const json_t *gpu;
	size_t i;

	json_array_foreach(gpus, i, gpu)
	{
		const char *state = json_string_value(json_object_get(gpu, "state")) ?: "";

		for (size_t k = 0; k < ARRAY_SIZE(states); k++) {
			json_t *labels = gpu_labels(gpu);

			(void)json_object_set_new(labels, "state", json_string(states[k]));
			add(family, labels, strcmp(states[k], state) == 0);
		}
	}
	finish(families, family);
}

static void add_one(json_t *families, const char *name, const char *help, json_t *labels,
		    double value)
{
	struct metric m = {.name = name, .type = "gauge", .unit = "", .help = help};
	json_t *family = family_of(&m);

	add(family, labels, value);
	finish(families, family);
}

static void add_daemon(json_t *families, const json_t *status)
{
	json_t *health = health_document(status), *labels = json_object();
	const char *actuator = json_string_value(json_object_get(status, "actuator")) ?: "";

	(void)json_object_set(labels, "version", json_object_get(status, "version"));
	(void)json_object_set(labels, "mode", json_object_get(status, "mode"));
	add_one(families, "cofris_build_info", "The daemon.", labels, 1);
	add_one(families, "cofris_health", "0 good, 1 warning, 2 critical, as cofrisctl health.",
		json_object(), health_of(health));
	add_one(families, "cofris_actuator_connected", "Whether there is an actuator.",
		json_object(), strcmp(actuator, "connected") == 0);
	add_one(families, "cofris_config_error",
		"Whether the last reload was refused, and an older configuration is in force.",
		json_object(), json_is_string(json_object_get(status, "config_error")));
	add_one(families, "cofris_holds", "Holds of operators.", json_object(),
		(double)json_array_size(json_object_get(status, "holds")));
	add_one(families, "cofris_pauses", "Pauses of operators.", json_object(),
		(double)json_array_size(json_object_get(status, "pauses")));
	json_decref(health);
	for (size_t i = 0; i < ARRAY_SIZE(daemon_metrics); i++) {
		json_t *family = family_of(&daemon_metrics[i]);

		add_value(family, &daemon_metrics[i], status, json_object());
		finish(families, family);
	}
}

json_t *metrics_document(const json_t *status)
{
	const json_t *gpus = json_object_get(status, "gpus");
	json_t *families = json_array();

	add_daemon(families, status);
	add_gpus(families, gpus);
	add_states(families, gpus);
	add_totals(families, json_object_get(status, "models"));
	for (size_t i = 0; i < ARRAY_SIZE(model_metrics); i++)
		add_models(families, gpus, &model_metrics[i], false);
	for (size_t i = 0; i < ARRAY_SIZE(latency_metrics); i++)
		add_models(families, gpus, &latency_metrics[i], true);
	return json_pack("{s:i, s:o}", "schema", 1, "families", families);
}

static void write_escaped(FILE *file, const char *s)
{
	for (; *s; s++) {
		if (*s == '\n')
			(void)fputs("\\n", file);
		else if (*s == '\\' || *s == '"')
			(void)fprintf(file, "\\%c", *s);
		else
			(void)fputc(*s, file);
	}
}

static void write_sample(const json_t *family, const json_t *sample, FILE *file)
{
	const char *key, *separator = "{";
	json_t *labels = json_object_get(sample, "labels"), *value;
	bool counts = strcmp(json_string_value(json_object_get(family, "type")), "counter") == 0;

	(void)fprintf(file, "%s%s", json_string_value(json_object_get(family, "name")),
		      counts ? "_total" : "");
	json_object_foreach(labels, key, value)
	{
		(void)fprintf(file, "%s%s=\"", separator, key);
		write_escaped(file, json_string_value(value) ?: "");
		(void)fputc('"', file);
		separator = ",";
	}
	/* Whole numbers below 10^15 as they are. */
	(void)fprintf(file, "%s %.15g\n", json_object_size(labels) > 0 ? "}" : "",
		      json_number_value(json_object_get(sample, "value")));
}

void metrics_write(const json_t *document, FILE *file)
{
	const json_t *family, *sample;
	size_t i, k;

	json_array_foreach(json_object_get(document, "families"), i, family)
	{
		const char *name = json_string_value(json_object_get(family, "name"));
		const char *unit = json_string_value(json_object_get(family, "unit"));

		(void)fprintf(file, "# TYPE %s %s\n", name,
			      json_string_value(json_object_get(family, "type")));
		if (*unit)
			(void)fprintf(file, "# UNIT %s %s\n", name, unit);
		(void)fprintf(file, "# HELP %s %s\n", name,
			      json_string_value(json_object_get(family, "help")));
		json_array_foreach(json_object_get(family, "samples"), k, sample)
			write_sample(family, sample, file);
	}
	(void)fputs("# EOF\n", file);
}

static int print_metrics(const json_t *document)
{
	metrics_write(document, stdout);
	return 0;
}

enum ctl_exit run_metrics(struct ctl *ctl)
{
	json_t *status, *document;
	enum ctl_exit result = ctl_call_json(&ctl->client, "GetStatus", &status, "");

	if (result != CTL_OK)
		return result;
	document = metrics_document(status);
	json_decref(status);
	return output(ctl, document, print_metrics);
}
