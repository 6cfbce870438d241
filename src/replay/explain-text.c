/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/explain-text.h"
#include "base/units.h"
#include "governor/self-check.h"
#include <math.h>

static void print_setting(FILE *f, const char *title, const struct explain_setting *s)
{
	(void)fprintf(f, "  %s: ", title);
	if (s->action == GOVERNOR_SET) {
		(void)fprintf(f, "%u MHz on ", s->max_mhz);
		if (s->full)
			(void)fputs("all CUs", f);
		else
			(void)fprintf(f, "%ux%u CUs", s->shape.n_se, s->shape.cus_per_se);
		if (s->max_batch > 1)
			(void)fprintf(f, ", batches of %u", s->max_batch);
	} else {
		(void)fputs(s->action == GOVERNOR_HOLD ? "what is set stays" : "the card as found",
			    f);
	}
	(void)fprintf(f, ": %s", governor_reason_words(s->reason));
	if (s->action == GOVERNOR_SET && isfinite(s->power_w))
		(void)fprintf(f, "; predicted %.1f W", s->power_w);
	(void)fputc('\n', f);
}

/* A dash where it is not known. */
static void print_number(FILE *f, int width, int digits, double x)
{
	if (isfinite(x))
		(void)fprintf(f, " %*.*f", width, digits, x);
	else
		(void)fprintf(f, " %*s", width, "-");
}

static void print_candidate(FILE *f, const struct explain_candidate *c)
{
	char shape[16] = "all";

	if (!c->full)
		(void)snprintf(shape, sizeof(shape), "%ux%u", c->shape.n_se, c->shape.cus_per_se);
	(void)fprintf(f, "  %5u %6s %5u", c->max_mhz, shape, c->batch);
	print_number(f, 9, 1, c->rate_rps);
	print_number(f, 8, 1, c->power_w);
	print_number(f, 7, 2, 100 * c->late);
	print_number(f, 9, 2, c->tail_ns / (double)NSEC_PER_MSEC);
	print_number(f, 8, 1, c->cost_w);
	(void)fprintf(f, "  %s%s%s\n", explain_verdict_words(c->verdict),
		      c->in_force ? ", in force" : "", c->baseline ? ", full speed" : "");
}

static void print_model(FILE *f, const char *name, const struct governor_explanation *e)
{
	(void)fprintf(f, "%s: %.1f requests/s, planned for %.1f\n", name, e->rate_rps,
		      e->demand_rps);
	for (uint32_t i = 0; i < SELF_CHECK_SUBJECTS; i++)
		if (e->stale & 1u << i)
			(void)fprintf(f, "  its profile is stale: %s\n",
				      self_check_subject_name(i));
	print_setting(f, "decided", &e->in_force);
	if (e->differs)
		print_setting(f, "wanted", &e->choice);
	if (e->held != GOVERNOR_REASON_NONE && e->held != e->in_force.reason)
		(void)fprintf(f, "  held: %s\n", governor_reason_words(e->held));
	if (e->n_candidates == 0)
		return;
	(void)fprintf(f, "  %u of %u configurations, %u of which would do:\n", e->n_candidates,
		      e->n_considered, e->n_feasible);
	(void)fprintf(f, "  %5s %6s %5s %9s %8s %7s %9s %8s\n", "MHZ", "CUS", "BATCH", "AT RPS",
		      "POWER W", "LATE %", "TAIL MS", "COST W");
	for (uint32_t i = 0; i < e->n_candidates; i++)
		print_candidate(f, &e->candidates[i]);
}

void explain_text_print(FILE *f, const struct governor *g, const struct governor_config *c,
			const struct governor_input *input,
			const struct governor_decision *decision)
{
	struct governor_explanation e;

	(void)fprintf(f, "decision %lu: %s\n", decision->number,
		      governor_reason_words(decision->reason));
	for (uint32_t i = 0; i < c->n_models; i++)
		if (input->models[i].state != GOVERNOR_NO_WORKER &&
		    governor_explain(g, input, i, NAN, &e) == 0)
			print_model(f, c->models[i].name, &e);
}
