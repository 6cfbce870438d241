/* SPDX-License-Identifier: Apache-2.0 */
/* One step: estimate each model's demand, let the card's precedence decide whether a plan is wanted
 * at all, plan for the active model, and write the decision. Reasons are ordered by precedence, so
 * of two that apply the smaller is told. */
#include "governor/governor-internal.h"
#include "governor/planner.h"
#include <errno.h>
#include <math.h>
#include <string.h>

static const char *const reason_names[GOVERNOR_REASON_MAX] = {
	[GOVERNOR_REASON_NONE] = "none",
	[GOVERNOR_REASON_PAUSED] = "paused",
	[GOVERNOR_REASON_ADOPTED] = "adopted",
	[GOVERNOR_REASON_NO_WORKER] = "no-worker",
	[GOVERNOR_REASON_HOLD] = "hold",
	[GOVERNOR_REASON_SENSORS_LOST] = "sensors-lost",
	[GOVERNOR_REASON_READBACK_FAILED] = "readback-failed",
	[GOVERNOR_REASON_FOREIGN_LOAD] = "foreign-load",
	[GOVERNOR_REASON_FOREIGN_TABLE] = "foreign-table",
	[GOVERNOR_REASON_NO_TABLE] = "no-table",
	[GOVERNOR_REASON_SEVERAL_MODELS] = "several-models",
	[GOVERNOR_REASON_MISSING_INPUT] = "missing-input",
	[GOVERNOR_REASON_FIRST_INTERVAL] = "first-interval",
	[GOVERNOR_REASON_HELD_RATED] = "held-rated",
	[GOVERNOR_REASON_OVERLOAD] = "overload",
	[GOVERNOR_REASON_BACKLOG] = "backlog",
	[GOVERNOR_REASON_GIVES_WAY] = "gives-way",
	[GOVERNOR_REASON_POWER_CAP] = "power-cap",
	[GOVERNOR_REASON_THROTTLED] = "throttled",
	[GOVERNOR_REASON_LATE] = "late",
	[GOVERNOR_REASON_DWELL] = "dwell",
	[GOVERNOR_REASON_IDLE] = "idle",
	[GOVERNOR_REASON_DEMAND] = "demand",
	[GOVERNOR_REASON_POLICY] = "policy",
};

const char *governor_reason_name(enum governor_reason r)
{
	return (unsigned int)r < GOVERNOR_REASON_MAX ? reason_names[r] : "unknown";
}

/* What is known by a row's number (the pacer's state) has to hold in both. */
static bool clock_table_fits(const struct response_table *t, const struct response_table *clock)
{
	if (!clock)
		return true;
	if (!t || t->n_rows != clock->n_rows || t->rated_rps != clock->rated_rps)
		return false;
	for (uint32_t i = 0; i < t->n_rows; i++)
		if (t->rows[i].rate_rps != clock->rows[i].rate_rps)
			return false;
	return true;
}

static bool config_is_valid(const struct governor_config *c)
{
	if (c->n_levels == 0 || c->n_levels > SURFACE_MAX_LEVELS ||
	    c->n_models > GOVERNOR_MAX_MODELS)
		return false;
	for (uint32_t i = 0; i < c->n_levels; i++)
		if (c->level_mhz[i] == 0 || (i > 0 && c->level_mhz[i] <= c->level_mhz[i - 1]))
			return false;
	for (uint32_t i = 0; i < c->n_models; i++) {
		const struct response_table *t = c->models[i].table;

		if (!c->models[i].policy || !policy_find(c->models[i].policy))
			return false;
		if (t && (t->n_rows == 0 || t->n_rows > TABLE_MAX_ROWS))
			return false;
		if (!clock_table_fits(t, c->models[i].clock_table))
			return false;
	}
	return true;
}

int governor_new(const struct governor_config *config, struct governor **ret)
{
	_cleanup_(governor_freep) struct governor *g = NULL;
	uint32_t n_factored = 0;
	int r;

	if (!config_is_valid(config))
		return -EINVAL;
	for (uint32_t i = 0; i < config->n_models; i++)
		n_factored += governor_factor_applies(&config->models[i]);
	g = calloc(1, sizeof(*g) + n_factored * sizeof(*g->factored));
	if (!g)
		return -ENOMEM;
	g->config = *config;
	g->full_shape = cu_shape_full(&config->topology);
	n_factored = 0;
	for (uint32_t i = 0; i < config->n_models; i++) {
		g->models[i].policy = policy_find(config->models[i].policy);
		g->config.models[i].policy = g->models[i].policy->name;
		governor_model_reset(&g->models[i]);
		g->models[i].option = UINT32_MAX;
		governor_factor_init(g, i,
				     governor_factor_applies(&config->models[i])
					     ? &g->factored[n_factored++]
					     : NULL);
	}
	r = governor_several_init(g);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(g);
	return 0;
}

struct governor *governor_free(struct governor *g)
{
	if (g)
		(void)card_planner_free(g->planner);
	free(g);
	return NULL;
}

/* Decide: the card. */

static const struct {
	uint32_t flag;
	enum governor_reason reason;
} full_speed_flags[] = {
	{GOVERNOR_CARD_HOLD_FULL, GOVERNOR_REASON_HOLD},
	{GOVERNOR_CARD_SENSORS_LOST, GOVERNOR_REASON_SENSORS_LOST},
	{GOVERNOR_CARD_READBACK_FAILED, GOVERNOR_REASON_READBACK_FAILED},
	{GOVERNOR_CARD_FOREIGN_LOAD, GOVERNOR_REASON_FOREIGN_LOAD},
	{GOVERNOR_CARD_FOREIGN_TABLE, GOVERNOR_REASON_FOREIGN_TABLE},
};

struct active {
	uint32_t n, last; /* how many, and the index of one of them */
	bool never_writes, lacks_table;
};

static struct active find_active(const struct governor *g, const struct governor_input *input)
{
	struct active a = {0};

	for (uint32_t i = 0; i < g->config.n_models; i++) {
		if (!governor_is_active(&input->models[i]))
			continue;
		a.n++;
		a.last = i;
		a.never_writes |= g->models[i].policy->never_writes;
		a.lacks_table |= g->models[i].policy->needs_table && !g->config.models[i].table;
	}
	return a;
}

/* What is done without a plan, and why; GOVERNOR_REASON_NONE: plan. */
static enum governor_reason precedence(const struct governor_input *input, const struct active *a,
				       enum governor_action *ret_action)
{
	*ret_action = GOVERNOR_RELEASE;
	if (input->flags & GOVERNOR_CARD_PAUSED)
		return GOVERNOR_REASON_PAUSED;
	/* Workers need a moment to connect to a new daemon: an adopted setting outlives it. */
	if (input->flags & GOVERNOR_CARD_ADOPTED) {
		*ret_action = GOVERNOR_HOLD;
		return GOVERNOR_REASON_ADOPTED;
	}
	if (a->n == 0)
		return GOVERNOR_REASON_NO_WORKER;
	/* Only an operator's order makes a policy write that never does. */
	if (a->never_writes && !(input->flags & GOVERNOR_CARD_HOLD_FULL))
		return GOVERNOR_REASON_POLICY;

	*ret_action = GOVERNOR_SET;
	for (size_t i = 0; i < ARRAY_SIZE(full_speed_flags); i++)
		if (input->flags & full_speed_flags[i].flag)
			return full_speed_flags[i].reason;
	if (a->lacks_table)
		return GOVERNOR_REASON_NO_TABLE;
	return GOVERNOR_REASON_NONE;
}

/* Full speed, or nothing of ours: all CUs, and whatever the pacers waited for is void. */
static void decide_without_plan(struct governor *g, const struct governor_input *input,
				const struct active *a, struct governor_decision *ret)
{
	const struct governor_config *c = &g->config;
	const struct governor_model_config *only = a->n == 1 ? &c->models[a->last] : NULL;

	for (uint32_t i = 0; i < c->n_models; i++) {
		struct governor_model_decision *d = &ret->models[i];

		if (!governor_is_active(&input->models[i]))
			continue;
		g->models[i].in_force = false;
		if (ret->action == GOVERNOR_SET)
			pacer_force_baseline(&g->models[i].pacer, input->now_ns);
		d->demand_rps = demand_bound_rps(governor_model_demand(&g->models[i]));
		d->reason = ret->reason;
		governor_model_describe(g, i, &input->models[i], PACER_ROW_BASELINE, d);
	}
	if (ret->action == GOVERNOR_HOLD)
		ret->max_mhz = input->applied_max_mhz;
	if (ret->action != GOVERNOR_SET)
		return;
	ret->max_mhz = c->level_mhz[c->n_levels - 1];
	/* The operator's hold outranks the operator's cap; the card still enforces that. */
	if (only && ret->reason != GOVERNOR_REASON_HOLD)
		ret->max_mhz = governor_full_speed_mhz(g, only, &ret->predicted_power_w);
}

static void apply_thermal(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret)
{
	double busy_ns = 0, executions = 0;
	uint32_t limit_mhz;

	for (uint32_t i = 0; i < g->config.n_models; i++) {
		busy_ns += (double)input->models[i].busy_ns;
		executions += (double)input->models[i].executions;
	}
	/* A look at a queue is too short to tell whether service time grows. */
	if (input->early)
		limit_mhz =
			g->thermal.active ? MIN(g->thermal.limit_mhz, ret->max_mhz) : ret->max_mhz;
	else
		limit_mhz = thermal_step(&g->thermal, g->config.level_mhz, g->config.n_levels,
					 input->now_ns, input->flags & GOVERNOR_CARD_THROTTLED,
					 executions > 0 ? busy_ns / executions : 0, ret->max_mhz);
	if (limit_mhz == ret->max_mhz)
		return;
	ret->max_mhz = limit_mhz;
	ret->reason = governor_first_reason(ret->reason, GOVERNOR_REASON_THROTTLED);
}

static bool model_differs(const struct governor_model_decision *a,
			  const struct governor_model_decision *b)
{
	return !cu_shape_equal(a->shape, b->shape) || a->max_batch != b->max_batch ||
	       a->max_wait_ns != b->max_wait_ns || a->boost_wait_ns != b->boost_wait_ns;
}

static bool differs(const struct governor_decision *a, const struct governor_decision *b)
{
	if (a->action != b->action)
		return true;
	if (a->action != GOVERNOR_SET)
		return false;
	if (a->max_mhz != b->max_mhz || a->power_cap_uw != b->power_cap_uw)
		return true;
	for (uint32_t i = 0; i < a->n_models; i++)
		if (model_differs(&a->models[i], &b->models[i]))
			return true;
	return false;
}

static void decision_begin(struct governor *g, const struct governor_input *input,
			   struct governor_decision *ret)
{
	/* Also the padding: decisions are compared and kept as bytes. */
	memset(ret, 0, sizeof(*ret));
	ret->now_ns = input->now_ns;
	ret->number = ++g->number;
	ret->power_cap_uw = g->config.power_cap_uw;
	ret->predicted_power_w = NAN;
	ret->again_ns = UINT64_MAX;
	ret->n_models = g->config.n_models;
	for (uint32_t i = 0; i < ret->n_models; i++) {
		/* Until it is known what is ordered. */
		g->models[i].option_before = g->models[i].option;
		g->models[i].option = UINT32_MAX;
		ret->models[i].rate_rps = g->models[i].rate_rps;
		ret->models[i].row = PACER_ROW_BASELINE;
		ret->models[i].boost_wait_ns = UINT64_MAX;
		ret->models[i].reason = GOVERNOR_REASON_NO_WORKER;
	}
}

/* False: there is no plan, for a reason that is in *ret. */
static bool decide_by_plan(struct governor *g, const struct governor_input *input,
			   const struct active *a, struct governor_decision *ret)
{
	bool together = ret->reason == GOVERNOR_REASON_NONE && a->n > 1 &&
			governor_several_can(g, input) && governor_several_decide(g, input, ret);

	if (together)
		return true;
	memset(&g->several, 0, sizeof(g->several));
	if (ret->reason != GOVERNOR_REASON_NONE)
		return false;
	if (a->n > 1) {
		ret->reason = GOVERNOR_REASON_SEVERAL_MODELS;
		return false;
	}
	governor_model_decide(g, a->last, input, ret);
	return true;
}

void governor_decide(struct governor *g, const struct governor_input *input,
		     struct governor_decision *ret)
{
	struct active active = find_active(g, input);

	decision_begin(g, input, ret);
	governor_check_describe(g, ret);
	governor_factor_describe(g, ret);
	ret->reason = precedence(input, &active, &ret->action);
	if (!decide_by_plan(g, input, &active, ret))
		decide_without_plan(g, input, &active, ret);
	if (ret->action == GOVERNOR_SET)
		apply_thermal(g, input, ret);
}

void governor_step(struct governor *g, const struct governor_input *input,
		   struct governor_decision *ret)
{
	struct active active = find_active(g, input);

	for (uint32_t i = 0; i < g->config.n_models; i++)
		governor_model_estimate(g, i, input);
	governor_cap_learn(g, input, active.n == 1 ? active.last : UINT32_MAX);
	governor_check_step(g, input, active.n == 1 ? active.last : UINT32_MAX);
	governor_several_learn(g, input);
	governor_factor_step(g, input, active.n == 1 ? active.last : UINT32_MAX);
	governor_decide(g, input, ret);
	governor_boost_note_wakes(g, input);
	ret->changed = !g->decided || differs(ret, &g->previous);
	g->previous = *ret;
	g->decided = true;
}

const struct boost *governor_boost(const struct governor *g, uint32_t model)
{
	return model < g->config.n_models ? &g->models[model].boost : NULL;
}

const struct late_test *governor_late_test(const struct governor *g, uint32_t model)
{
	return model < g->config.n_models ? &g->models[model].late_test : NULL;
}

/* Inherit. */

/* The new table's row for the rate that the old one's row was good for. */
static uint32_t row_in(const struct response_table *old, const struct response_table *table,
		       uint32_t row)
{
	if (!old || !table || row >= old->n_rows)
		return PACER_ROW_BASELINE;
	return planner_lookup(table, old->rows[row].rate_rps);
}

/* The new menu's option for what the old one's means to card and workers. */
static uint32_t option_in(const struct response_menu *old, const struct response_menu *menu,
			  uint32_t option)
{
	const struct menu_option *a;

	if (!old || !menu || option >= old->n_options)
		return UINT32_MAX;
	a = &old->options[option];
	for (uint32_t i = 0; i < menu->n_options; i++) {
		const struct menu_option *b = &menu->options[i];

		if (menu->clocks[b->clock].max_mhz == old->clocks[a->clock].max_mhz &&
		    cu_shape_equal(a->shape, b->shape) && a->batch == b->batch)
			return i;
	}
	return UINT32_MAX;
}

/* What is in force stays so until the next step; models follow by name. */
static void inherit_decision(struct governor *g, const struct governor *old)
{
	g->previous = old->previous;
	g->previous.n_models = g->config.n_models;
	memset(g->previous.models, 0, sizeof(g->previous.models));
	g->decided = old->decided;
}

static uint32_t model_in(const struct governor *g, const char *name)
{
	uint32_t i = 0;

	while (i < g->config.n_models && strcmp(g->config.models[i].name, name) != 0)
		i++;
	return i;
}

/* The plan of several models: it is what is in force. Of other menus it is made anew. */
static void inherit_plan(struct governor *g, const struct governor *old)
{
	struct several *s = &g->several;

	s->planned = old->several.planned;
	s->plan = old->several.plan;
	s->asked = old->several.asked;
	s->asked.card = &g->config;
	s->n = old->several.n;
	for (uint32_t k = 0; s->planned && k < s->n; k++) {
		const struct governor_model_config *o = &old->config.models[old->several.models[k]];
		uint32_t i = model_in(g, o->name);
		const struct response_menu *menu;

		if (i == g->config.n_models) {
			s->planned = false;
			return;
		}
		menu = g->config.models[i].menu;
		s->models[k] = i;
		s->plan.models[k].option = option_in(o->menu, menu, s->plan.models[k].option);
		s->asked.models[k].menu = o->menu == menu ? menu : NULL;
	}
}

void governor_inherit(struct governor *g, const struct governor *old)
{
	g->number = old->number;
	g->thermal = old->thermal;
	g->switch_time = old->switch_time;
	switch_time_drop(&g->switch_time);
	g->woken_ns = old->woken_ns;
	g->tried_ns = old->tried_ns;
	inherit_decision(g, old);
	inherit_plan(g, old);
	for (uint32_t i = 0; i < g->config.n_models; i++) {
		struct governor_model_config *c = &g->config.models[i];

		for (uint32_t j = 0; j < old->config.n_models; j++) {
			const struct governor_model_config *o = &old->config.models[j];
			const struct policy *policy = g->models[i].policy;
			struct factored *room = g->models[i].factored;

			if (strcmp(c->name, o->name) != 0)
				continue;
			g->models[i] = old->models[j];
			g->models[i].policy = policy;
			governor_check_inherit(&g->models[i].check, o->table, c->table);
			governor_factor_inherit(g, i, room,
						governor_same_profile(o->table, c->table));
			g->models[i].option = option_in(o->menu, c->menu, old->models[j].option);
			g->models[i].cap_factor.option =
				option_in(o->menu, c->menu, old->models[j].cap_factor.option);
			g->previous.models[i] = old->previous.models[j];
			if (old->models[j].policy != policy) {
				g->models[i].state = (union policy_state){0};
				g->models[i].in_force = false;
			}
			g->models[i].pacer.row =
				row_in(o->table, c->table, old->models[j].pacer.row);
			g->models[i].pacer.peak =
				row_in(o->table, c->table, old->models[j].pacer.peak);
		}
	}
}
