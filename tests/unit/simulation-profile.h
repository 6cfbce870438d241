/* SPDX-License-Identifier: Apache-2.0 */
/* What the bench's own sweep of the fixture's model says, and a governor of policy cofris by it. */
#pragma once

#include "governor/governor.h"
#include "simulation-fixture.h"

static struct {
	struct surface *surface;
	struct response_tails *tails;
	struct response_table *table;
	struct response_menu *menu;
	struct governor_config config;
	struct truth bench;
} profile;

static inline int profile_derive(void)
{
	struct table_options o = TABLE_OPTIONS_DEFAULT;
	struct surface_error error;
	int r;

	o.late_cost = TABLE_LATE_COST;
	r = response_tails_new(profile.surface, o.seed, &profile.tails);
	if (r == 0)
		r = response_table_derive_from(profile.tails, &o, &profile.table, &error);
	if (r == 0)
		r = response_menu_derive(profile.tails, &o, profile.table, &profile.menu, &error);
	return r;
}

/* For a group's setup: resnet50 and a quick sweep. */
static inline int profile_load(void **state)
{
	static const struct costs_options one = {.n_batches = 1, .batches = {1}};
	const struct truth_options t = {.switch_ms = -1,
					.dpm_ramp_ms = -1,
					.idle_active_share = -1};
	const struct bench_options b = {.batches = &one, .seed = 3, .quick = true};

	(void)state;
	if (fixture_load_model(COFRIS_SOURCE_DIR "/profiles/models/resnet50.ini") < 0 ||
	    truth_bench(fixture.shipped, &t, &profile.bench) < 0 ||
	    bench_sweep(&profile.bench, fixture.model, &b, &profile.surface) < 0)
		return -1;
	return profile_derive();
}

static inline int profile_unload(void **state)
{
	free(profile.table);
	free(profile.menu);
	response_tails_free(profile.tails);
	surface_free(profile.surface);
	return fixture_unload(state);
}

/* The fixture's next run is governed by the profile. */
static inline void profile_configure(void)
{
	const struct plant_device *d = fixture.shipped;
	struct governor_config *c = &profile.config;

	memset(c, 0, sizeof(*c));
	c->poll_ns = fixture.options.poll_ns;
	c->n_levels = d->n_levels;
	memcpy(c->level_mhz, d->level_mhz, d->n_levels * sizeof(d->level_mhz[0]));
	c->topology = d->topology;
	c->n_models = 1;
	(void)snprintf(c->models[0].name, sizeof(c->models[0].name), "model");
	c->models[0].table = profile.table;
	c->models[0].menu = profile.menu;
	c->models[0].late_cost = TABLE_LATE_COST;
	c->models[0].policy = "cofris";
	c->models[0].priority = 100;
	c->models[0].use_mask = true;
	fixture.options.governor = c;
	fixture.options.slo_ns = profile.table->slo_ns;
}
