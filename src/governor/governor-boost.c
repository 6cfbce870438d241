/* SPDX-License-Identifier: Apache-2.0 */
/* A model's boosts, alone on its card or beside others, and what is learnt from them of the time
 * that the card takes to change its clock. That is the card's, whichever model boosts, so one of
 * them is watched at a time. Beside others a model's services take longer or not, as these run or
 * do not: what is learnt is up to where the first of them runs. */
#include "base/units.h"
#include "governor/governor-internal.h"
#include "governor/guard.h"

/* Between two looks of the daemon at wakes (daemon/early.c), and some more. */
#define PROMPT_NS    (120 * NSEC_PER_MSEC)
#define TRY_AGAIN_NS (UINT64_C(300) * NSEC_PER_SEC)
/* Of the factor on service times, before they tell a clock. */
#define KNOWN_ERROR 0.03

double governor_switch_ns(const struct governor *g, uint64_t now_ns)
{
	if (!switch_time_known(&g->switch_time) || now_ns - g->tried_ns >= TRY_AGAIN_NS)
		return 0;
	return switch_time_ns(&g->switch_time);
}

/* ---- the watch ---- */

static bool is_one_at_a_time(const struct governor_input *input,
			     const struct governor_model_input *in)
{
	return in->state == GOVERNOR_INPUT_OK && in->workers == 1 && in->whole_interval &&
	       in->acknowledged && in->failures == 0 && !(input->flags & GOVERNOR_CARD_THROTTLED);
}

/* Nothing of it has run in the interval, nor does now. */
static bool was_idle(const struct governor_model_input *in)
{
	return !governor_is_active(in) ||
	       (in->state == GOVERNOR_INPUT_OK && in->in_flight == 0 && in->arrivals == 0 &&
		in->starts == 0 && in->completions == 0 && in->failures == 0 &&
		in->executions == 0);
}

static bool others_were_idle(const struct governor *g, const struct governor_input *input)
{
	uint32_t i = 0;

	while (i < g->config.n_models && (i == g->watched || was_idle(&input->models[i])))
		i++;
	return i == g->config.n_models;
}

void governor_boost_watch(struct governor *g, const struct governor_input *input)
{
	const struct governor_model_input *in = &input->models[g->watched];

	if (!is_one_at_a_time(input, in))
		switch_time_drop(&g->switch_time);
	else if (!others_were_idle(g, input))
		switch_time_stop(&g->switch_time);
	else
		switch_time_executions(&g->switch_time, input->now_ns, input->interval_ns,
				       in->busy_ns, in->executions);
}

/* A worker wakes as an execution begins, and the daemon looks at that once, unless it has just done
 * so. */
void governor_boost_begins(struct governor *g, uint32_t i, const struct governor_input *input,
			   const struct boost_from *from)
{
	bool prompt = input->models[i].woken && input->early &&
		      (g->woken_ns == 0 || input->now_ns - g->woken_ns > PROMPT_NS);
	const struct service_factor *known = &g->models[i].service_factor;
	double factor;

	g->tried_ns = input->now_ns;
	g->watched = i;
	/* What was in force is not what service times are known of, or they are not. On a slower
	 * card the clock would seem not to come at all. */
	if (!from->is_known || service_factor_error(known) > KNOWN_ERROR ||
	    g->previous.action != GOVERNOR_SET || g->previous.max_mhz != from->max_mhz) {
		switch_time_drop(&g->switch_time);
		return;
	}
	/* What is planned for is on the safe side; here it would be a longer time. */
	factor = service_factor_get(known) / from->factor;
	switch_time_order(&g->switch_time, input->now_ns, factor * from->service_ns,
			  factor * from->fast_ns, prompt);
}

void governor_boost_ends(struct governor *g, uint64_t now_ns)
{
	switch_time_end(&g->switch_time, now_ns);
}

void governor_boost_note_wakes(struct governor *g, const struct governor_input *input)
{
	for (uint32_t i = 0; i < g->config.n_models; i++)
		if (governor_is_active(&input->models[i]) && input->models[i].woken)
			g->woken_ns = input->now_ns;
}

/* ---- the boost ---- */

bool governor_boost_model(struct governor *g, uint32_t i, const struct governor_input *input,
			  const struct boost_from *from, uint64_t *ret_again_ns)
{
	const struct governor_model_input *in = &input->models[i];
	struct model *m = &g->models[i];
	struct boost_view view = {
		.in = in,
		.now_ns = input->now_ns,
		.wait_ns = from->wait_ns,
		.service_ns = from->fast_ns,
		.row_service_ns = from->service_ns,
		/* A queue that is no older than the clock takes to come may be gone by then. */
		.danger = guard_in_danger(from->slo_ns, from->service_ns, in) &&
			  (double)in->oldest_age_ns >= governor_switch_ns(g, input->now_ns),
		/* A queue that is as old as that is no chance of a constant load. */
		.may_begin = pacer_may_boost(&m->pacer, input->now_ns) ||
			     (double)in->oldest_age_ns / 4 > from->slo_ns,
	};

	*ret_again_ns = UINT64_MAX;
	if (in->state == GOVERNOR_INPUT_OK)
		(void)boost_step(&m->boost, &view, ret_again_ns);
	return m->boost.on;
}
