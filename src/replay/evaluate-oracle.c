/* SPDX-License-Identifier: Apache-2.0 */
/* What each policy takes beyond the oracle, as it was asked for and where all are compared. */
#include "replay/evaluate-card.h"
#include <errno.h>
#include <math.h>

/* An oracle's curve, percent of requests late in excess. */
static const double oracle_lateness_pct[] = {0, 0.1, EVALUATE_EXCESS_LATE_PCT, 1, 3};

static int new_oracle(struct card *c, uint32_t run)
{
	const struct evaluation_options *o = c->job->options;
	const struct bench_setup *b = c->job->bench;
	struct oracle_options options = {
		.measures = c->measures,
		.maximum = card_maximum(c),
		.end_ns = c->end_ns,
		.rate_only = card_policy(c, run)->rate_only,
		.rated_rps = b->rated_rps,
		.rate_rps = b->rate_rps,
		.n_rates = b->n_rates,
		.max_batch = MAX(o->max_batch, 1u),
	};

	card_run_options(c, &options.run);
	return oracle_new(&options, &c->oracles[run]);
}

static int oracle_curve(struct card *c, uint32_t run)
{
	struct policy_outcome *p = &c->outcome->policies[run];
	uint32_t n = c->job->options->headroom_sweep ? ARRAY_SIZE(oracle_lateness_pct) : 0;
	struct measures m;
	double mu_j;
	int r;

	r = oracle_at(c->oracles[run], EVALUATE_EXCESS_LATE_PCT, &p->m, &mu_j);
	if (r < 0)
		return r;
	card_take_shares(c, &p->m, p->own);
	p->n_curve = MAX(n, 1u);
	p->curve[0] = card_point(c, mu_j, &p->m, 0);
	for (uint32_t i = 0; i < n; i++) {
		r = oracle_at(c->oracles[run], oracle_lateness_pct[i], &m, &mu_j);
		if (r < 0)
			return r;
		p->curve[i] = card_point(c, mu_j, &m, 0);
	}
	return 0;
}

/* Against the oracle at a lateness: what is taken beyond it, as a share of what it takes and of
 * what auto takes beyond it. */
static int compare(struct card *c, double excess_late_pct, double energy_j, double *ret_shares)
{
	const struct policy_runs *p = c->job->policies;
	double auto_j = card_energy_j(c, p->automatic), mu_j;
	struct measures m;
	int r;

	r = oracle_at(c->oracles[p->oracle], excess_late_pct, &m, &mu_j);
	if (r < 0)
		return r;
	ret_shares[SHARE_REGRET] = energy_j / m.energy_j - 1;
	ret_shares[SHARE_MISSED] =
		auto_j > m.energy_j ? (energy_j - m.energy_j) / (auto_j - m.energy_j) : NAN;
	return 0;
}

static int compare_row(struct card *c, struct policy_outcome *p)
{
	return compare(c, p->m.excess_late_pct, p->m.energy_j, p->own);
}

/* All that are listed, as they were asked for. */
static int compare_rows(struct card *c)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < c->job->policies->n; i++)
		if (card_policy(c, i)->listed && card_policy(c, i)->policy)
			r = compare_row(c, &c->outcome->policies[i]);
	return r;
}

int card_run_oracle(struct card *c, uint32_t run)
{
	int r;

	r = new_oracle(c, run);
	if (r == 0)
		r = oracle_curve(c, run);
	if (r == 0 && run == c->job->policies->oracle)
		r = compare_rows(c);
	if (r == 0)
		card_step(c);
	return r;
}

/* ---- at equal lateness ---- */

static bool find_there(const struct card *c, uint32_t run, struct curve_point *ret)
{
	const struct policy_outcome *outcome = &c->outcome->policies[run];

	if (card_policy(c, run)->policy)
		return evaluate_find_there(outcome->curve, outcome->n_curve, ret);
	/* Oracles are as near to it as they can get. */
	*ret = card_point(c, NAN, &outcome->m, /* extra_j= */ 0);
	return ret->excess_late_pct <= EVALUATE_EXCESS_LATE_PCT + ORACLE_TOLERANCE_PCT;
}

static int go_there(struct card *c, uint32_t run)
{
	const struct policy_runs *p = c->job->policies;
	struct policy_outcome *outcome = &c->outcome->policies[run];
	struct curve_point there;

	outcome->reaches = find_there(c, run, &there);
	if (!outcome->reaches)
		return 0;
	outcome->there[SHARE_OF_AUTO] = there.power_vs_auto;
	outcome->there[SHARE_OF_MAXIMUM] = there.power_vs_maximum;
	if (p->oracle == UINT32_MAX || run == p->oracle)
		return 0;
	return compare(c, there.excess_late_pct,
		       there.power_vs_auto * card_energy_j(c, p->automatic), outcome->there);
}

int card_compare_all(struct card *c)
{
	const struct policy_runs *p = c->job->policies;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < p->n; i++) {
		/* What more than the rate is worth. */
		if (card_policy(c, i)->rate_only && p->oracle != UINT32_MAX)
			r = compare_row(c, &c->outcome->policies[i]);
		if (r == 0 && card_policy(c, i)->listed)
			r = go_there(c, i);
	}
	return r;
}
