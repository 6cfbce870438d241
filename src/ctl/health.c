/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/health.h"
#include "base/macros.h"
#include "ctl/columns.h"
#include "ctl/commands.h"
#include "ctl/output.h"
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

struct judge {
	json_t *of[HEALTH_CRITICAL + 1]; /* arrays of reasons, by severity */
	const char *gpu, *model;	 /* that the next ones are about; NULL: none */
};

static const char *const severities[] = {"good", "warning", "critical"};

static void say(struct judge *j, enum health severity, const char *format, ...) _printf_(3, 4);
static void say(struct judge *j, enum health severity, const char *format, ...)
{
	va_list ap;
	json_t *text;

	va_start(ap, format);
	text = json_vsprintf(format, ap);
	va_end(ap);
	(void)json_array_append_new(j->of[severity], json_pack("{s:s, s:s?, s:s?, s:o}", "severity",
							       severities[severity], "gpu", j->gpu,
							       "model", j->model, "text", text));
}

static bool is_true(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

/* The first row that fits; reason NULL: any. */
static const struct {
	const char *state, *reason;
	enum health severity;
} states[] = {
	{"governed", NULL, HEALTH_GOOD},      {"probing", NULL, HEALTH_GOOD},
	{"yielding", "observe", HEALTH_GOOD}, /* as configured */
	{"yielding", NULL, HEALTH_WARNING},   {"held-by-other", NULL, HEALTH_WARNING},
	{"degraded", "ras", HEALTH_CRITICAL}, {"degraded", NULL, HEALTH_WARNING},
	{"absent", NULL, HEALTH_CRITICAL},    {"quarantined", NULL, HEALTH_CRITICAL},
};

static void judge_state(struct judge *j, const json_t *gpu)
{
	const char *state = text_of(gpu, "state"), *reason = text_of(gpu, "state_reason");
	const json_t *retry = json_object_get(gpu, "retry_s");
	enum health severity = HEALTH_WARNING;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (strcmp(states[i].state, state) == 0 &&
		    (!states[i].reason || strcmp(states[i].reason, reason) == 0)) {
			severity = states[i].severity;
			break;
		}
	if (severity == HEALTH_GOOD)
		return;
	if (json_is_number(retry))
		say(j, severity, "%s: %s, tried again in %.0f s", state, reason,
		    json_number_value(retry));
	else if (*reason && strcmp(reason, "-") != 0)
		say(j, severity, "%s: %s", state, reason);
	else
		say(j, severity, "%s", state);
}

/* What is said by the state already is not said again. */
static void judge_flags(struct judge *j, const json_t *gpu)
{
	static const struct {
		const char *flag;
		bool degrades;
	} flags[] = {{"throttled", false},
		     {"foreign-load", true},
		     {"sensors-lost", true},
		     {"readback-failed", true},
		     {"foreign-table", true}};
	bool degraded = strcmp(text_of(gpu, "state"), "degraded") == 0;
	const json_t *flag;
	size_t i;

	json_array_foreach(json_object_get(gpu, "flags"), i, flag)
	{
		const char *name = json_string_value(flag) ?: "";

		for (size_t k = 0; k < ARRAY_SIZE(flags); k++)
			if (strcmp(name, flags[k].flag) == 0 && !(degraded && flags[k].degrades))
				say(j, HEALTH_WARNING, "%s", name);
	}
}

static void judge_gpu(struct judge *j, const json_t *gpu)
{
	const json_t *worker, *workers = json_object_get(gpu, "worker_list");
	size_t i;

	judge_state(j, gpu);
	judge_flags(j, gpu);
	if (strcmp(text_of(gpu, "verified"), "drift") == 0)
		say(j, HEALTH_WARNING, "its clock is not as set");
	json_array_foreach(workers, i, worker)
	{
		const json_t *doubt = json_object_get(worker, "doubt");

		if (json_is_string(doubt))
			say(j, HEALTH_WARNING, "worker %s (pid %.0f) is not believed: %s",
			    text_of(worker, "instance"),
			    json_number_value(json_object_get(worker, "pid")),
			    json_string_value(doubt));
	}
}

/* A tail that is just over is within what two seconds can tell. */
#define LATE_FACTOR 1.25

static void judge_latency(struct judge *j, const json_t *model)
{
	double tail_ms = json_number_value(json_object_get(model, "tail_ms"));
	double slo_ms = json_number_value(json_object_get(model, "slo_ms"));

	if (strcmp(text_of(model, "reason"), "overload") == 0)
		say(j, HEALTH_WARNING, "more requests than it can serve in time");
	else if (slo_ms > 0 && tail_ms > LATE_FACTOR * slo_ms)
		say(j, HEALTH_WARNING, "p%.0f is %.3g ms, the objective %.3g ms",
		    json_number_value(json_object_get(model, "percentile")), tail_ms, slo_ms);
}

static void judge_model(struct judge *j, const json_t *model)
{
	const json_t *subject, *off = json_object_get(model, "masks_off");
	size_t i;

	if (json_integer_value(json_object_get(model, "workers")) == 0)
		return;
	j->model = json_string_value(json_object_get(model, "name"));
	if (json_is_string(json_object_get(model, "table_error")))
		say(j, HEALTH_WARNING, "full speed, no table: %s", text_of(model, "table_error"));
	if (strcmp(text_of(model, "input"), "missing-input") == 0)
		say(j, HEALTH_WARNING, "its workers do not report");
	/* "cu_mask = off" is as configured. */
	if (json_is_string(off) && strncmp(json_string_value(off), "cu_mask", 7) != 0)
		say(j, HEALTH_WARNING, "no masks: %s", json_string_value(off));
	json_array_foreach(json_object_get(model, "stale"), i, subject)
		say(j, HEALTH_WARNING, "stale profile: %s", json_string_value(subject) ?: "?");
	judge_latency(j, model);
	j->model = NULL;
}

static void judge_daemon(struct judge *j, const json_t *status)
{
	const char *actuator = text_of(status, "actuator");
	const json_t *pause;
	size_t i;

	if (strcmp(actuator, "connected") != 0)
		say(j, HEALTH_CRITICAL, "no actuator: %s", actuator);
	if (json_is_string(json_object_get(status, "config_error")))
		say(j, HEALTH_WARNING, "configuration not loaded: %s",
		    text_of(status, "config_error"));
	if (json_is_string(json_object_get(status, "pauses_error")))
		say(j, HEALTH_WARNING, "pauses are lost: %s", text_of(status, "pauses_error"));
	json_array_foreach(json_object_get(status, "pauses"), i, pause)
		say(j, HEALTH_WARNING, "paused: %s by uid %.0f: %s", text_of(pause, "gpu"),
		    json_number_value(json_object_get(pause, "uid")), text_of(pause, "reason"));
}

/* "1 card governed", or "2 of 3 cards governed". */
static json_t *summary_of(const json_t *gpus)
{
	const json_t *gpu;
	size_t i, n = json_array_size(gpus), governed = 0;

	json_array_foreach(gpus, i, gpu) governed += strcmp(text_of(gpu, "state"), "governed") == 0;
	if (n == 0)
		return json_string("no card to govern");
	if (governed == n)
		return json_sprintf("%zu card%s governed", n, n == 1 ? "" : "s");
	return json_sprintf("%zu of %zu card%s governed", governed, n, n == 1 ? "" : "s");
}

json_t *health_document(const json_t *status)
{
	struct judge j = {{json_array(), json_array(), json_array()}, NULL, NULL};
	const json_t *gpu, *model, *gpus = json_object_get(status, "gpus");
	json_t *reasons = json_array();
	enum health worst = HEALTH_GOOD;
	size_t i, k;

	judge_daemon(&j, status);
	json_array_foreach(gpus, i, gpu)
	{
		j.gpu = json_string_value(json_object_get(gpu, "bdf"));
		judge_gpu(&j, gpu);
		json_array_foreach(json_object_get(gpu, "models"), k, model) judge_model(&j, model);
	}
	for (int s = HEALTH_CRITICAL; s >= HEALTH_GOOD; s--) {
		if (worst == HEALTH_GOOD && json_array_size(j.of[s]) > 0)
			worst = (enum health)s;
		(void)json_array_extend(reasons, j.of[s]);
		json_decref(j.of[s]);
	}
	return json_pack("{s:i, s:s, s:i, s:o, s:b, s:o}", "schema", 1, "verdict",
			 severities[worst], "code", (int)worst, "summary", summary_of(gpus),
			 "simulated", is_true(status, "simulated"), "reasons", reasons);
}

enum health health_of(const json_t *document)
{
	return (enum health)json_integer_value(json_object_get(document, "code"));
}

/* One line, as monitors take it. */
static int print_line(const json_t *document)
{
	static const char *const words[] = {"OK", "WARNING", "CRITICAL"};
	const json_t *reason;
	size_t i;

	(void)printf("cofris %s: %s%s", words[health_of(document)], text_of(document, "summary"),
		     is_true(document, "simulated") ? " (simulated)" : "");
	json_array_foreach(json_object_get(document, "reasons"), i, reason)
	{
		(void)printf("; ");
		if (json_is_string(json_object_get(reason, "gpu")))
			(void)printf("%s: ", text_of(reason, "gpu"));
		if (json_is_string(json_object_get(reason, "model")))
			(void)printf("model %s: ", text_of(reason, "model"));
		(void)printf("%s", text_of(reason, "text"));
	}
	(void)putchar('\n');
	return 0;
}

enum ctl_exit run_health(struct ctl *ctl)
{
	json_t *status, *document;
	enum ctl_exit result = ctl_call_json(&ctl->client, "GetStatus", &status, "");
	enum health health;

	if (result != CTL_OK) {
		/* Monitors show the first line of stdout. */
		if (!ctl_json(ctl))
			(void)printf("cofris UNKNOWN: %s\n", ctl->client.error);
		return result;
	}
	document = health_document(status);
	json_decref(status);
	health = health_of(document);
	result = output(ctl, document, print_line);
	return result == CTL_OK ? (enum ctl_exit)health : CTL_UNREACHABLE;
}
