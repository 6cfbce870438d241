/* SPDX-License-Identifier: Apache-2.0 */
/* What there was to choose from: of a menu every option at the demand, of a table its rows. */
#include "base/units.h"
#include "governor/cap-plan.h"
#include "governor/explain-internal.h"
#include "governor/planner.h"
#include "response/menu-table.h"
#include <math.h>

/* Power differences below are ties (docs/evaluation.md). */
#define TIE_W	       1.0
#define RATE_TOLERANCE 1e-9

struct search {
	const struct explain_question *q;
	struct governor_explanation *e;
	/* Of a menu: */
	const struct response_menu *menu;
	uint32_t rate;	 /* index into its rates */
	bool overload;	 /* the demand is beyond them */
	bool by_cost;	 /* what is late counts against power */
	double late_w;	 /* what it costs if all is late */
	uint32_t chosen; /* option; UINT32_MAX: none is what is chosen */
	struct explain_candidate choice;
};

static bool may_mask(const struct search *s)
{
	return s->q->config->use_mask && s->q->in->mask_follows;
}

/* ---- of a menu ---- */

static bool is_setting(const struct search *s, uint32_t option, const struct explain_setting *set)
{
	const struct menu_option *o = &s->menu->options[option];
	uint32_t batch = set->max_batch;

	if (set->action != GOVERNOR_SET || set->full != o->full)
		return false;
	if (batch == 0)
		batch = s->menu->options[s->menu->baseline].batch;
	return batch == o->batch && (o->full || cu_shape_equal(set->shape, o->shape)) &&
	       set->max_mhz ==
		       planner_level_for_mhz(&s->q->g->config, s->menu->clocks[o->clock].max_mhz);
}

static uint32_t find_setting(const struct search *s, const struct explain_setting *set)
{
	for (uint32_t i = 0; i < s->menu->n_options; i++)
		if (is_setting(s, i, set))
			return i;
	/* Under a mask that nobody can lift, the row says which. */
	if (set->action == GOVERNOR_SET && set->row < s->q->table->n_rows)
		for (uint32_t i = 0; i < s->menu->n_options; i++)
			if (s->menu->options[i].cell == s->q->table->rows[set->row].cell)
				return i;
	return UINT32_MAX;
}

static double last_rps(const struct response_menu *m)
{
	return m->rate_rps[m->n_rates - 1];
}

/* All but the verdict. */
static struct explain_candidate option_at(const struct search *s, uint32_t option)
{
	const struct menu_option *o = &s->menu->options[option];
	double f = s->e->factor, rate_rps = s->menu->rate_rps[s->rate];
	struct explain_candidate c;
	struct tail_survival survival;
	struct menu_point p;

	menu_point_at(s->menu, option, MIN(f * rate_rps, last_rps(s->menu)), &p, &survival);
	c = (struct explain_candidate){
		.number = option,
		.max_mhz = s->menu->clocks[o->clock].max_mhz,
		.shape = o->shape,
		.full = o->full,
		.batch = o->batch,
		.rate_rps = rate_rps,
		.power_w = p.power_w,
		.tail_ns = f * p.tail_ns,
		.wait_ns = p.wait_ns,
		.late = isinf(p.tail_ns) ? 1 : tail_late(&survival, s->e->slo_ns / f),
		.baseline = option == s->menu->baseline,
		.in_force = s->e->decided && is_setting(s, option, &s->e->in_force),
	};

	c.cost_w = c.power_w + (s->by_cost ? s->late_w * c.late : 0);
	return c;
}

static bool is_inside_cap(const struct search *s, const struct explain_candidate *c)
{
	const struct cap_question q = {
		.menu = s->menu,
		.service_factor = s->e->factor,
		.power_factor = s->e->power_factor,
		.cap_uw = s->e->power_cap_uw,
		.poll_ns = s->e->poll_ns,
		.in_force = c->in_force ? c->number : UINT32_MAX,
	};

	return cap_plan_inside(&q, c->number);
}

static enum explain_verdict judge_option(const struct search *s, const struct explain_candidate *c)
{
	const struct response_menu *m = s->menu;

	if (c->number == s->chosen)
		return EXPLAIN_CHOSEN;
	if (s->overload || isinf(c->tail_ns))
		return EXPLAIN_RATE;
	if (!c->full && !may_mask(s))
		return EXPLAIN_NO_MASK;
	if (c->batch != m->options[m->baseline].batch && !s->q->in->batch_follows)
		return EXPLAIN_NO_BATCH;
	if (s->e->power_cap_uw > 0 && !is_inside_cap(s, c))
		return EXPLAIN_CAP;
	if (!s->by_cost && c->tail_ns > s->e->limit_ns)
		return EXPLAIN_TAIL;
	if (s->chosen == UINT32_MAX || c->cost_w > s->choice.cost_w)
		return s->by_cost && s->chosen != UINT32_MAX && c->power_w < s->choice.power_w
			       ? EXPLAIN_MORE_LATE
			       : EXPLAIN_COSTS_MORE;
	if (s->q->n_active > 1)
		return EXPLAIN_BESIDE_OTHERS;
	if (!c->full && m->gating == TABLE_GATING_NONE && s->choice.full)
		return EXPLAIN_MASK_FOR_LITTLE;
	return s->rate == 0 && s->choice.cost_w - c->cost_w >= TIE_W ? EXPLAIN_STEP : EXPLAIN_TIE;
}

static void search_menu(struct search *s)
{
	const struct response_menu *m = s->menu;

	while (s->rate < m->n_rates && m->rate_rps[s->rate] < s->e->demand_rps)
		s->rate++;
	s->overload = s->rate == m->n_rates;
	s->rate = MIN(s->rate, m->n_rates - 1);
	s->overload |= s->e->factor * m->rate_rps[s->rate] > last_rps(m) * (1 + RATE_TOLERANCE);
	/* Row 0 is chosen by headroom in any case. */
	s->by_cost = s->e->late_cost > 0 && s->rate > 0;
	s->late_w = s->e->late_cost * response_menu_busy_w(m, m->baseline) * m->rate_rps[s->rate] *
		    s->e->factor / m->rated_rps;
	s->chosen = find_setting(s, &s->e->choice);
	if (s->chosen != UINT32_MAX)
		s->choice = option_at(s, s->chosen);
}

/* ---- of a table ---- */

static bool ends_run(const struct response_table *t, uint32_t row)
{
	return row >= t->n_rows || row + 1 == t->n_rows || !planner_same(t, row, row + 1);
}

static bool is_row(const struct response_table *t, uint32_t row, const struct explain_setting *set)
{
	uint32_t end = set->row;

	if (set->action != GOVERNOR_SET)
		return false;
	while (!ends_run(t, end))
		end++;
	return MIN(end, t->n_rows) == MIN(row, t->n_rows);
}

static struct explain_candidate row_of(const struct search *s, uint32_t row)
{
	const struct response_table *t = s->q->table;
	const struct table_row *r = planner_row(t, row);

	return (struct explain_candidate){
		.number = row,
		.max_mhz = r->max_mhz,
		.shape = r->shape,
		.full = cu_shape_equal(r->shape, s->q->g->full_shape),
		.batch = r->batch,
		.rate_rps = r->rate_rps,
		.power_w = r->power_w,
		.tail_ns = r->tail_ns,
		.late = NAN,
		.cost_w = r->power_w,
		.baseline = row >= t->n_rows,
		.in_force = s->e->decided && is_row(t, row, &s->e->in_force),
	};
}

static enum explain_verdict judge_row(const struct search *s, const struct explain_candidate *c)
{
	const struct response_table *t = s->q->table;

	if (is_row(t, c->number, &s->e->choice))
		return EXPLAIN_CHOSEN;
	if (c->rate_rps < s->e->demand_rps)
		return EXPLAIN_RATE;
	if (c->batch != t->baseline.batch && !s->q->in->batch_follows)
		return EXPLAIN_NO_BATCH;
	if (s->e->power_cap_uw > 0 && c->power_w * (double)UW_PER_W > (double)s->e->power_cap_uw)
		return EXPLAIN_CAP;
	return EXPLAIN_COSTS_MORE;
}

/* ---- either ---- */

static struct explain_candidate candidate(const struct search *s, uint32_t number)
{
	struct explain_candidate c = s->menu ? option_at(s, number) : row_of(s, number);

	c.verdict = s->menu ? judge_option(s, &c) : judge_row(s, &c);
	return c;
}

static bool fails(const struct explain_candidate *c)
{
	return c->verdict >= EXPLAIN_TAIL;
}

static bool goes_before(const struct explain_candidate *a, const struct explain_candidate *b)
{
	if (fails(a) != fails(b))
		return !fails(a);
	if (a->cost_w != b->cost_w)
		return a->cost_w < b->cost_w;
	return a->number < b->number;
}

/* Failures are of interest where something better than the choice is lost, and which rows or caps
 * are too small. Of an option that does not sustain the demand nothing more is known. */
static bool is_told(const struct search *s, const struct explain_candidate *c)
{
	if (c->verdict == EXPLAIN_CAP)
		return true;
	if (c->verdict == EXPLAIN_RATE)
		return !s->menu;
	return s->chosen == UINT32_MAX || c->cost_w < s->choice.cost_w;
}

/* Of those that fail in one way. */
static bool is_nearer(const struct explain_candidate *a, const struct explain_candidate *b)
{
	if (a->verdict == EXPLAIN_TAIL)
		return a->tail_ns < b->tail_ns;
	return a->verdict == EXPLAIN_RATE ? a->rate_rps > b->rate_rps : goes_before(a, b);
}

struct list {
	uint32_t n, max;
	struct explain_candidate *all;
};

/* Keeps the first ones in order; at most one of each number. */
static void list_add(struct list *l, const struct explain_candidate *c)
{
	uint32_t at = l->n;

	for (uint32_t i = 0; i < l->n; i++)
		if (l->all[i].number == c->number)
			return;
	while (at > 0 && goes_before(c, &l->all[at - 1]))
		at--;
	if (at == l->max)
		return;
	l->n = MIN(l->n + 1, l->max);
	for (uint32_t i = l->n - 1; i > at; i--)
		l->all[i] = l->all[i - 1];
	l->all[at] = *c;
}

/* Those that are listed wherever they stand. */
struct kept {
	uint32_t n;
	struct explain_candidate all[3];
	bool has_nearest[EXPLAIN_VERDICTS];
	struct explain_candidate nearest[EXPLAIN_VERDICTS];
};

static void consider(const struct search *s, uint32_t number, struct list *best, struct kept *kept)
{
	struct explain_candidate c = candidate(s, number);

	s->e->n_considered++;
	if ((c.verdict == EXPLAIN_CHOSEN || c.baseline || c.in_force) &&
	    kept->n < ARRAY_SIZE(kept->all))
		kept->all[kept->n++] = c;
	if (!fails(&c)) {
		s->e->n_feasible++;
		list_add(best, &c);
	} else if (is_told(s, &c) &&
		   (!kept->has_nearest[c.verdict] || is_nearer(&c, &kept->nearest[c.verdict]))) {
		kept->has_nearest[c.verdict] = true;
		kept->nearest[c.verdict] = c;
	}
}

static void consider_all(const struct search *s, struct list *best, struct kept *kept)
{
	uint32_t n = s->menu ? s->menu->n_options : s->q->table->n_rows;

	for (uint32_t i = 0; i < n; i++)
		if (s->menu || ends_run(s->q->table, i))
			consider(s, i, best, kept);
	if (!s->menu)
		consider(s, UINT32_MAX, best, kept);
}

static enum explain_source source_of(const struct explain_question *q,
				     const struct governor_explanation *e)
{
	const struct policy *policy = q->g->models[e->model].policy;

	/* Reasons are ordered: before MISSING_INPUT, and where a policy orders, there was no plan.
	 */
	if (!q->table || e->choice.action != GOVERNOR_SET || policy->orders ||
	    e->choice.reason < GOVERNOR_REASON_MISSING_INPUT ||
	    e->choice.reason == GOVERNOR_REASON_POLICY)
		return EXPLAIN_FROM_NOTHING;
	return q->config->menu ? EXPLAIN_FROM_MENU : EXPLAIN_FROM_TABLE;
}

void explain_candidates(const struct explain_question *q, struct governor_explanation *ret)
{
	struct list best = {.max = EXPLAIN_BEST, .all = ret->candidates};
	struct search s = {.q = q, .e = ret, .chosen = UINT32_MAX};
	struct kept kept = {0};

	ret->source = source_of(q, ret);
	if (ret->source == EXPLAIN_FROM_NOTHING)
		return;
	if (ret->source == EXPLAIN_FROM_MENU) {
		s.menu = q->config->menu;
		search_menu(&s);
	}
	consider_all(&s, &best, &kept);
	best.max = EXPLAIN_CANDIDATES;
	for (uint32_t i = 0; i < kept.n; i++)
		list_add(&best, &kept.all[i]);
	for (uint32_t i = 0; i < EXPLAIN_VERDICTS; i++)
		if (kept.has_nearest[i])
			list_add(&best, &kept.nearest[i]);
	ret->n_candidates = best.n;
}
