/* SPDX-License-Identifier: Apache-2.0 */
/* org.cofris1.GPU: one object for each card with an enabled section. */
#include "base/units.h"
#include "daemon/bus-changes.h"
#include "daemon/unit.h"
#include "gpu/gpu.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define BUS_GPU	     BUS_NAME ".GPU"
#define BUS_GPU_PATH BUS_PATH "/gpu"

static int find_gpu(sd_bus *bus _unused_, const char *path, const char *i _unused_, void *userdata,
		    void **ret_found, sd_bus_error *error _unused_)
{
	const struct manager *m = userdata;
	_cleanup_(freep) char *bdf = NULL;
	struct unit *u;

	if (sd_bus_path_decode(path, BUS_GPU_PATH, &bdf) <= 0)
		return 0;
	u = manager_find_unit(m, bdf);
	if (!u)
		return 0;
	*ret_found = u;
	return 1;
}

static int list_gpus(sd_bus *bus _unused_, const char *prefix _unused_, void *userdata,
		     char ***ret_nodes, sd_bus_error *error _unused_)
{
	const struct manager *m = userdata;
	const struct unit *u;
	size_t n = 0;
	char **nodes;

	TAILQ_FOREACH(u, &m->units, entry)
	n++;
	nodes = calloc(n + 1, sizeof(*nodes));
	if (!nodes)
		return -ENOMEM;
	n = 0;
	TAILQ_FOREACH(u, &m->units, entry)
	if (sd_bus_path_encode(BUS_GPU_PATH, u->bdf, &nodes[n]) >= 0)
		n++;
	*ret_nodes = nodes;
	return 0;
}

/* On the bus there is nothing but UTF-8. */
static int append_text(sd_bus_message *reply, const char *text)
{
	char copy[128];

	(void)snprintf(copy, sizeof(copy), "%s", text);
	for (char *c = copy; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return sd_bus_message_append(reply, "s", copy);
}

static int get_text(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
		    const char *property, sd_bus_message *reply, void *userdata,
		    sd_bus_error *error _unused_)
{
	const struct unit *u = userdata;
	const char *text = u->bdf;

	if (strcmp(property, "Name") == 0)
		text = u->ever_present ? u->card.name : "";
	else if (strcmp(property, "GFX") == 0)
		text = u->ever_present ? u->card.gfx : "";
	else if (strcmp(property, "Reason") == 0)
		text = u->decided ? governor_reason_name(u->decision.reason) : "";
	return append_text(reply, text);
}

static int get_state(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
		     const char *property _unused_, sd_bus_message *reply, void *userdata,
		     sd_bus_error *error _unused_)
{
	return sd_bus_message_append(reply, "s", card_state_name(unit_state(userdata)));
}

static int get_state_reason(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
			    const char *property _unused_, sd_bus_message *reply, void *userdata,
			    sd_bus_error *error _unused_)
{
	struct card_situation s;

	unit_situation(userdata, &s);
	return sd_bus_message_append(reply, "s", card_reason_name(s.reason));
}

static int get_retry(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
		     const char *property _unused_, sd_bus_message *reply, void *userdata,
		     sd_bus_error *error _unused_)
{
	const struct unit *u = userdata;
	uint64_t now_ns = manager_now_ns(u->manager);
	struct card_situation s;

	unit_situation(u, &s);
	return sd_bus_message_append(reply, "t",
				     s.retry_ns > now_ns ? (s.retry_ns - now_ns) / NSEC_PER_MSEC
							 : 0);
}

static int get_flag(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
		    const char *property, sd_bus_message *reply, void *userdata,
		    sd_bus_error *error _unused_)
{
	bool value =
		strcmp(property, "Paused") == 0 ? unit_paused(userdata) : unit_simulated(userdata);

	return sd_bus_message_append(reply, "b", (int)value);
}

/* 0 is what is not known, and no limit of ours. */
static int get_number(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
		      const char *property, sd_bus_message *reply, void *userdata,
		      sd_bus_error *error _unused_)
{
	const struct unit *u = userdata;
	bool has_sclk = u->state_valid && (u->state.fields & GPU_HAS_SCLK);
	const struct {
		const char *name;
		uint32_t value;
	} values[] = {
		{"CUs", u->ever_present ? u->card.n_cus : 0},
		{"Workers", unit_workers(u)},
		{"MaxMHz", u->state_valid && u->claim == UNIT_CLAIMED ? u->state.max_mhz : 0},
		{"SclkMHz", has_sclk ? u->state.sclk_mhz : 0},
	};

	for (size_t k = 0; k < ARRAY_SIZE(values); k++)
		if (strcmp(property, values[k].name) == 0)
			return sd_bus_message_append(reply, "u", values[k].value);
	return -ENOENT;
}

/* NaN is what is not known. */
static int get_measure(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
		       const char *property, sd_bus_message *reply, void *userdata,
		       sd_bus_error *error _unused_)
{
	const struct unit *u = userdata;
	const struct actuator_state *s = &u->state;
	uint32_t has = u->state_valid ? s->fields : 0;
	const struct {
		const char *name;
		double value;
	} values[] = {
		{"PowerW", has & GPU_HAS_POWER ? (double)s->power_uw / (double)UW_PER_W : NAN},
		{"PredictedPowerW", u->decided ? u->decision.predicted_power_w : NAN},
		{"BusyPercent", has & GPU_HAS_BUSY ? s->busy_percent : NAN},
		{"TemperatureC", has & GPU_HAS_TEMP ? s->temp_mc / 1000.0 : NAN},
	};

	for (size_t k = 0; k < ARRAY_SIZE(values); k++)
		if (strcmp(property, values[k].name) == 0)
			return sd_bus_message_append(reply, "d", values[k].value);
	return -ENOENT;
}

/* Names of models whose profiles do not describe the card. */
static int get_stale_models(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
			    const char *property _unused_, sd_bus_message *reply, void *userdata,
			    sd_bus_error *error _unused_)
{
	const struct unit *u = userdata;
	int r;

	r = sd_bus_message_open_container(reply, 'a', "s");
	for (uint32_t k = 0; r >= 0 && u->decided && k < u->decision.n_models; k++)
		if (u->decision.models[k].stale)
			r = sd_bus_message_append(reply, "s", u->manager->config->models[k].name);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* Of the power cap, all in one getter: they differ in one line each. */
static int get_cap(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
		   const char *property, sd_bus_message *reply, void *userdata,
		   sd_bus_error *error _unused_)
{
	const struct unit *u = userdata;
	bool has_range = u->ever_present && u->card.can_cap_power;
	const struct {
		const char *name;
		uint64_t value;
	} values[] = {
		{"PowerCap", unit_cap_in_force_uw(u)},
		{"PowerCapWanted", unit_cap_uw(u, &u->config)},
		{"PowerCapConfigured", u->config.power_cap_uw},
		{"PowerCapMin", has_range ? u->card.cap_min_uw : 0},
		{"PowerCapMax", has_range ? u->card.cap_max_uw : 0},
		{"CapWatchedMSec", u->cap_watch.watched_ns / NSEC_PER_MSEC},
		{"OverCapMSec", u->cap_watch.over_ns / NSEC_PER_MSEC},
		{"OverCapMost", u->cap_watch.over_max_uw},
		{"OverCapMean", cap_watch_mean_uw(&u->cap_watch)},
	};

	for (size_t k = 0; k < ARRAY_SIZE(values); k++)
		if (strcmp(property, values[k].name) == 0)
			return sd_bus_message_append(reply, "t", values[k].value);
	return -ENOENT;
}

/* clang-format off */
static const sd_bus_vtable gpu_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("BDF", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Name", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("GFX", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("CUs", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Simulated", "b", get_flag, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("State", "s", get_state, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("StateReason", "s", get_state_reason, 0,
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("RetryMSec", "t", get_retry, 0, 0),
	SD_BUS_PROPERTY("Paused", "b", get_flag, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Workers", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Reason", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("StaleModels", "as", get_stale_models, 0,
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("MaxMHz", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("SclkMHz", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("PowerW", "d", get_measure, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("PredictedPowerW", "d", get_measure, 0,
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("BusyPercent", "d", get_measure, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("TemperatureC", "d", get_measure, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("PowerCap", "t", get_cap, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("PowerCapWanted", "t", get_cap, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("PowerCapConfigured", "t", get_cap, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("PowerCapMin", "t", get_cap, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("PowerCapMax", "t", get_cap, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("CapWatchedMSec", "t", get_cap, 0, 0),
	SD_BUS_PROPERTY("OverCapMSec", "t", get_cap, 0, 0),
	SD_BUS_PROPERTY("OverCapMost", "t", get_cap, 0, 0),
	SD_BUS_PROPERTY("OverCapMean", "t", get_cap, 0, 0),
	SD_BUS_VTABLE_END,
};
/* clang-format on */

int bus_tell_gpu(sd_bus *bus, struct unit *u)
{
	_cleanup_(freep) char *path = NULL;
	int r = sd_bus_path_encode(BUS_GPU_PATH, u->bdf, &path);

	return r < 0 ? r : bus_tell_changes(bus, path, BUS_GPU, gpu_vtable, u, u->told);
}

int bus_add_gpus(sd_bus *connection, struct manager *m)
{
	int r;

	r = sd_bus_add_fallback_vtable(connection, NULL, BUS_GPU_PATH, BUS_GPU, gpu_vtable,
				       find_gpu, m);
	if (r < 0)
		return r;
	return sd_bus_add_node_enumerator(connection, NULL, BUS_GPU_PATH, list_gpus, m);
}
