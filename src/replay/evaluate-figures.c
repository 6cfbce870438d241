/* SPDX-License-Identifier: Apache-2.0 */
/* From what each service card gave to the rows and means that are printed: medians and ranges over
 * the cards, geometric means over the models. */
#include "base/macros.h"
#include "replay/evaluate-internal.h"
#include <errno.h>
#include <math.h>
#include <stddef.h>

struct figures {
	const struct evaluation_options *options;
	const struct policy_runs *policies;
	struct card_outcome *outcomes; /* [model][card] */
	double *work;		       /* one for each card */
};

static struct card_outcome *card_of(const struct figures *f, uint32_t model, uint32_t card)
{
	return &f->outcomes[(size_t)model * f->options->service_cards + card];
}

static struct policy_outcome *outcome_of(const struct figures *f, uint32_t model, uint32_t card,
					 uint32_t run)
{
	return &card_of(f, model, card)->policies[run];
}

/* ---- over the cards ---- */

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Of what there is: cards without the figure are left out. */
static struct spread spread_of(double *values, uint32_t n)
{
	uint32_t valid = 0;

	for (uint32_t i = 0; i < n; i++)
		if (!isnan(values[i]))
			values[valid++] = values[i];
	if (valid == 0)
		return (struct spread){NAN, NAN, NAN};
	qsort(values, valid, sizeof(*values), compare);
	return (struct spread){
		.median = (values[(valid - 1) / 2] + values[valid / 2]) / 2,
		.low = values[0],
		.high = values[valid - 1],
	};
}

typedef double (*figure_fn)(const struct figures *f, const struct policy_outcome *p, uint32_t n);

/* Of one model and policy. n: which, to the figure. */
static struct spread over_cards(const struct figures *f, uint32_t model, uint32_t run,
				figure_fn figure, uint32_t n)
{
	uint32_t n_cards = f->options->service_cards;

	for (uint32_t card = 0; card < n_cards; card++)
		f->work[card] = figure(f, outcome_of(f, model, card, run), n);
	return spread_of(f->work, n_cards);
}

static const struct {
	size_t offset;
	bool is_double;
} measure_fields[] = {
#define COUNT(name)                                                                                \
	{                                                                                          \
		offsetof(struct measures, name), false                                             \
	}
#define VALUE(name)                                                                                \
	{                                                                                          \
		offsetof(struct measures, name), true                                              \
	}
	COUNT(requests),
	VALUE(mean_power_w),
	VALUE(energy_j),
	VALUE(energy_per_request_j),
	VALUE(idle_energy_pct),
	VALUE(p50_ms),
	VALUE(p95_ms),
	VALUE(p99_ms),
	VALUE(request_attainment_pct),
	VALUE(excess_late_pct),
	COUNT(excess_bad_windows),
	COUNT(windows),
	VALUE(changes),
	VALUE(mean_sclk_mhz),
	VALUE(mean_cus),
	VALUE(mean_batch),
#undef COUNT
#undef VALUE
};

static double measure(const struct figures *f, const struct policy_outcome *p, uint32_t n)
{
	const char *at = (const char *)&p->m + measure_fields[n].offset;

	(void)f;
	return measure_fields[n].is_double ? *(const double *)(const void *)at
					   : *(const uint32_t *)(const void *)at;
}

static void median_measures(const struct figures *f, uint32_t model, uint32_t run,
			    struct measures *ret)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(measure_fields); i++) {
		double median = over_cards(f, model, run, measure, i).median;
		char *at = (char *)ret + measure_fields[i].offset;

		if (measure_fields[i].is_double)
			*(double *)(void *)at = median;
		else
			*(uint32_t *)(void *)at = (uint32_t)lround(median);
	}
}

static double own_share(const struct figures *f, const struct policy_outcome *p, uint32_t n)
{
	(void)f;
	return p->own[n];
}

static double curve_headroom(const struct figures *f, const struct policy_outcome *p, uint32_t n)
{
	(void)f;
	return p->curve[n].headroom;
}

static double curve_lateness(const struct figures *f, const struct policy_outcome *p, uint32_t n)
{
	(void)f;
	return p->curve[n].excess_late_pct;
}

static double curve_auto(const struct figures *f, const struct policy_outcome *p, uint32_t n)
{
	(void)f;
	return p->curve[n].power_vs_auto;
}

static double curve_maximum(const struct figures *f, const struct policy_outcome *p, uint32_t n)
{
	(void)f;
	return p->curve[n].power_vs_maximum;
}

static void fill_row_curve(const struct figures *f, uint32_t model, uint32_t run,
			   struct evaluation_row *row)
{
	row->n_curve = outcome_of(f, model, 0, run)->n_curve;
	for (uint32_t i = 0; i < row->n_curve; i++)
		row->curve[i] = (struct curve_point){
			.headroom = over_cards(f, model, run, curve_headroom, i).median,
			.excess_late_pct = over_cards(f, model, run, curve_lateness, i).median,
			.power_vs_auto = over_cards(f, model, run, curve_auto, i).median,
			.power_vs_maximum = over_cards(f, model, run, curve_maximum, i).median,
		};
}

static double card_field(const struct figures *f, uint32_t model,
			 double (*field)(const struct card_outcome *c))
{
	for (uint32_t card = 0; card < f->options->service_cards; card++)
		f->work[card] = field(card_of(f, model, card));
	return spread_of(f->work, f->options->service_cards).median;
}

static double slo_of(const struct card_outcome *c)
{
	return c->slo_ms;
}

static double rated_of(const struct card_outcome *c)
{
	return c->rated_rps;
}

static bool any_overloaded(const struct figures *f, uint32_t model)
{
	for (uint32_t card = 0; card < f->options->service_cards; card++)
		if (card_of(f, model, card)->overloaded)
			return true;
	return false;
}

static double late(const struct figures *f, const struct policy_outcome *p, uint32_t n)
{
	(void)f;
	(void)n;
	return p->m.excess_late_pct;
}

static double percent(double share)
{
	return 100 * share;
}

static struct spread percents(struct spread s)
{
	return (struct spread){percent(s.median), percent(s.low), percent(s.high)};
}

static void fill_row(const struct figures *f, uint32_t model, uint32_t policy,
		     struct evaluation_row *row)
{
	uint32_t run = f->policies->of_row[policy];
	struct policy_outcome *first = outcome_of(f, model, 0, run);

	*row = (struct evaluation_row){
		.model = f->options->models[model]->name,
		.policy = f->options->policies[policy],
		.slo_ms = card_field(f, model, slo_of),
		.rated_rps = card_field(f, model, rated_of),
		.power_vs_auto_range = over_cards(f, model, run, own_share, SHARE_OF_AUTO),
		.power_vs_maximum_range = over_cards(f, model, run, own_share, SHARE_OF_MAXIMUM),
		.excess_late_range = over_cards(f, model, run, late, 0),
		.regret_range = percents(over_cards(f, model, run, own_share, SHARE_REGRET)),
		.missed_pct = percent(over_cards(f, model, run, own_share, SHARE_MISSED).median),
		.overloaded = any_overloaded(f, model),
		.n_ticks = first->n_ticks,
		.ticks = TAKE_PTR(first->ticks),
	};
	row->power_vs_auto = row->power_vs_auto_range.median;
	row->power_vs_maximum = row->power_vs_maximum_range.median;
	row->regret_pct = row->regret_range.median;
	median_measures(f, model, run, &row->m);
	fill_row_curve(f, model, run, row);
}

/* ---- over the models ---- */

/* What counts in a mean: without queueing no promise is kept or broken, and all rows do. */
static const double *shares_in_mean(const struct figures *f, const struct policy_outcome *p)
{
	if (f->options->latency == LATENCY_SERVICE)
		return p->own;
	return p->reaches ? p->there : NULL;
}

/* Geometric mean of 1 + shift + share; NaN if no row counts. */
static double mean_share(const struct figures *f, uint32_t card, uint32_t run,
			 enum evaluate_share share, double shift)
{
	double sum = 0;
	uint32_t n = 0;

	for (uint32_t model = 0; model < f->options->n_models; model++) {
		const double *shares = shares_in_mean(f, outcome_of(f, model, card, run));

		if (!shares || isnan(shares[share]))
			continue;
		sum += log(shares[share] + shift);
		n++;
	}
	return n > 0 ? exp(sum / n) - shift : NAN;
}

static struct spread mean_over_cards(const struct figures *f, uint32_t run,
				     enum evaluate_share share, double shift)
{
	for (uint32_t card = 0; card < f->options->service_cards; card++)
		f->work[card] = mean_share(f, card, run, share, shift);
	return spread_of(f->work, f->options->service_cards);
}

/* Of means: what is missed of what auto takes beyond the oracle. */
static double mean_missed(double power_vs_auto, double regret)
{
	double oracle = power_vs_auto / (1 + regret);

	return oracle < 1 ? (power_vs_auto - oracle) / (1 - oracle) : NAN;
}

static bool all_reach(const struct figures *f, uint32_t run)
{
	for (uint32_t model = 0; model < f->options->n_models; model++)
		for (uint32_t card = 0; card < f->options->service_cards; card++)
			if (!outcome_of(f, model, card, run)->reaches)
				return false;
	return true;
}

/* Geometric means of power; lateness, which may be none, by the arithmetic one. */
static struct curve_point mean_point(const struct figures *f, const struct evaluation *e,
				     uint32_t policy, uint32_t i)
{
	uint32_t n = f->options->n_models;
	struct curve_point mean = {0};

	for (uint32_t model = 0; model < n; model++) {
		const struct curve_point *p =
			&e->rows[model * f->options->n_policies + policy].curve[i];

		mean.headroom = model == 0 || mean.headroom == p->headroom ? p->headroom : NAN;
		mean.excess_late_pct += p->excess_late_pct / n;
		mean.power_vs_auto += log(p->power_vs_auto) / n;
		mean.power_vs_maximum += log(p->power_vs_maximum) / n;
	}
	mean.power_vs_auto = exp(mean.power_vs_auto);
	mean.power_vs_maximum = exp(mean.power_vs_maximum);
	return mean;
}

static void fill_mean(const struct figures *f, const struct evaluation *e, uint32_t policy,
		      struct evaluation_mean *mean)
{
	uint32_t run = f->policies->of_row[policy];
	double regret = mean_over_cards(f, run, SHARE_REGRET, 1).median;
	struct curve_point there;

	*mean = (struct evaluation_mean){
		.policy = f->options->policies[policy],
		.power_vs_auto_range = mean_over_cards(f, run, SHARE_OF_AUTO, 0),
		.power_vs_maximum = mean_over_cards(f, run, SHARE_OF_MAXIMUM, 0).median,
		.regret_pct = percent(regret),
		.reaches = all_reach(f, run),
		.headroom_there = NAN,
		.power_vs_auto_there = NAN,
		.n_curve = e->rows[policy].n_curve,
	};
	mean->power_vs_auto = mean->power_vs_auto_range.median;
	mean->missed_pct = percent(mean_missed(mean->power_vs_auto, regret));
	for (uint32_t i = 0; i < mean->n_curve; i++)
		mean->curve[i] = mean_point(f, e, policy, i);
	if (mean->reaches && f->policies->runs[run].policy &&
	    evaluate_find_there(mean->curve, mean->n_curve, &there)) {
		mean->headroom_there = there.headroom;
		mean->power_vs_auto_there = there.power_vs_auto;
	}
}

/* ---- at equal lateness ---- */

static struct curve_point between(const struct curve_point *a, const struct curve_point *b,
				  double share)
{
	return (struct curve_point){
		.headroom = a->headroom + share * (b->headroom - a->headroom),
		.excess_late_pct =
			a->excess_late_pct + share * (b->excess_late_pct - a->excess_late_pct),
		.power_vs_auto = a->power_vs_auto + share * (b->power_vs_auto - a->power_vs_auto),
		.power_vs_maximum =
			a->power_vs_maximum + share * (b->power_vs_maximum - a->power_vs_maximum),
	};
}

/* As far towards b as lateness allows; a is within it. */
static struct curve_point farthest(const struct curve_point *a, const struct curve_point *b)
{
	double aim = EVALUATE_EXCESS_LATE_PCT;

	if (b->excess_late_pct <= aim)
		return *b;
	return between(a, b,
		       (aim - a->excess_late_pct) / (b->excess_late_pct - a->excess_late_pct));
}

static void take_cheaper(const struct curve_point *p, bool *found, struct curve_point *ret)
{
	if (!*found || p->power_vs_auto < ret->power_vs_auto)
		*ret = *p;
	*found = true;
}

bool evaluate_find_there(const struct curve_point *curve, uint32_t n, struct curve_point *ret)
{
	bool found = false;

	for (uint32_t i = 0; i < n; i++) {
		struct curve_point p;

		if (!(curve[i].excess_late_pct <= EVALUATE_EXCESS_LATE_PCT))
			continue;
		take_cheaper(&curve[i], &found, ret);
		if (i > 0) {
			p = farthest(&curve[i], &curve[i - 1]);
			take_cheaper(&p, &found, ret);
		}
		if (i + 1 < n) {
			p = farthest(&curve[i], &curve[i + 1]);
			take_cheaper(&p, &found, ret);
		}
	}
	return found;
}

/* ---- all of it ---- */

int evaluate_figures(const struct evaluation_options *o, const struct policy_runs *p,
		     struct card_outcome *outcomes, struct evaluation *e)
{
	_cleanup_(freep) double *work = calloc(o->service_cards, sizeof(*work));
	struct figures f = {.options = o, .policies = p, .outcomes = outcomes, .work = work};

	e->rows = calloc((size_t)o->n_models * o->n_policies, sizeof(*e->rows));
	e->means = calloc(o->n_policies, sizeof(*e->means));
	if (!work || !e->rows || !e->means)
		return -ENOMEM;
	e->n_rows = o->n_models * o->n_policies;
	e->n_means = o->n_policies;
	for (uint32_t model = 0; model < o->n_models; model++)
		for (uint32_t policy = 0; policy < o->n_policies; policy++)
			fill_row(&f, model, policy, &e->rows[model * o->n_policies + policy]);
	for (uint32_t policy = 0; policy < o->n_policies; policy++)
		fill_mean(&f, e, policy, &e->means[policy]);
	return 0;
}
