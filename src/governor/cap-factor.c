/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/cap-factor.h"
#include "base/macros.h"
#include "base/units.h"
#include <math.h>

/* Sensors average, some over a second. What they still show of a higher option would be learnt as
 * the lower one's, and lead to a lower one yet. */
#define SETTLED_NS NSEC_PER_SEC
/* Batches count when they end, so a window has to have enough of them for its busy share. */
#define WINDOW_S	  2.0
#define WINDOW_EXECUTIONS 10
/* A reading is of a moment: below it that says whether it worked just then, not what it draws. */
#define MIN_BUSY 0.9
/* A partly filled batch draws less than a full one, so it tells nothing of how little a full one
 * would. */
#define MIN_FULL	 0.9
#define ABOVE_TAU_S	 0.3
#define UP_TAU_S	 3.0
#define DOWN_TAU_S	 30.0
#define DOWN_FIRST_TAU_S 4.0
/* Where the busy share need not be counted, two readings tell. */
#define SATURATED_UP_TAU_S	   0.5
#define SATURATED_DOWN_FIRST_TAU_S 0.25
/* The hardware's own cap takes more than is needed for a moment. */
#define SATURATED_LEAST 0.9

double cap_factor_get(const struct cap_factor *f)
{
	return f->factor > 0 ? f->factor : 1;
}

/* The interval after an order counts, and is not learnt from: it began with the option before. */
static bool is_settled(struct cap_factor *f, const struct cap_factor_input *in)
{
	bool known = in->option != UINT32_MAX && in->held;
	bool same = known && in->option == f->option;

	f->option = in->option;
	f->settled_ns = known ? (same ? f->settled_ns : 0) + in->interval_ns : 0;
	return same && f->settled_ns >= SETTLED_NS;
}

static void window_reset(struct cap_factor *f)
{
	f->length_s = f->busy_s = f->energy_j = f->executions = f->completions = 0;
}

static void approach(struct cap_factor *f, double seen, double time_s, double tau_s)
{
	double now = cap_factor_get(f);

	f->factor =
		CLAMP(now + (seen - now) * -expm1(-time_s / tau_s), CAP_FACTOR_MIN, CAP_FACTOR_MAX);
}

static void learn(struct cap_factor *f, double seen, double length_s, double up_tau_s,
		  double first_tau_s)
{
	/* The mean of all there was so far, until that is as long as it ever gets: the 1 that it
	 * starts with is no reading. */
	double down_tau_s = MAX(f->learnt_s, first_tau_s);

	approach(f, seen, length_s, seen > cap_factor_get(f) ? up_tau_s : down_tau_s);
	f->learnt_s = MIN(f->learnt_s + length_s, DOWN_TAU_S);
}

/* A sensor that shows a moment shows a busy one, most likely, however much of the time was. So a
 * card draws more than is known only if that alone says so; but with few executions the busy share
 * strays by more than that, and what is counted of it at their ends errs to the safe side. */
static void close_window(struct cap_factor *f, const struct cap_factor_input *in)
{
	double share = MIN(f->busy_s / f->length_s, 1.0), power_w = f->energy_j / f->length_s;
	double by_mean = power_w / (in->idle_w + share * (in->busy_w - in->idle_w));
	double by_moment = in->executions >= WINDOW_EXECUTIONS ? power_w / in->busy_w : by_mean;
	bool full = f->completions >= MIN_FULL * f->executions * in->batch;

	if (share >= MIN_BUSY && by_moment > cap_factor_get(f))
		learn(f, by_moment, f->length_s, UP_TAU_S, DOWN_FIRST_TAU_S);
	else if (share >= MIN_BUSY && full && by_mean < cap_factor_get(f))
		learn(f, by_mean, f->length_s, UP_TAU_S, DOWN_FIRST_TAU_S);
	window_reset(f);
}

/* It is known to have worked all the time, with no need to count how much of it. */
static bool is_saturated(const struct cap_factor_input *in)
{
	return in->saturated && in->executions >= WINDOW_EXECUTIONS &&
	       (double)in->completions >= MIN_FULL * (double)in->executions * in->batch;
}

void cap_factor_update(struct cap_factor *f, const struct cap_factor_input *in)
{
	double interval_s = (double)in->interval_ns / (double)NSEC_PER_SEC;
	double power_w = (double)in->power_uw / (double)UW_PER_W;

	if (!is_settled(f, in) || in->power_uw == 0 || !(in->idle_w > 0) ||
	    !(in->busy_w > in->idle_w)) {
		window_reset(f);
		return;
	}
	if (is_saturated(in)) {
		window_reset(f);
		if (power_w / in->busy_w > SATURATED_LEAST * cap_factor_get(f))
			learn(f, power_w / in->busy_w, interval_s, SATURATED_UP_TAU_S,
			      SATURATED_DOWN_FIRST_TAU_S);
	}
	f->length_s += interval_s;
	f->busy_s += (double)in->busy_ns / (double)NSEC_PER_SEC;
	f->energy_j += power_w * interval_s;
	f->executions += (double)in->executions;
	f->completions += (double)in->completions;
	if (in->cap_uw > 0 && in->power_uw > in->cap_uw && power_w / in->busy_w > cap_factor_get(f))
		approach(f, power_w / in->busy_w, interval_s, ABOVE_TAU_S);
	if (f->length_s >= WINDOW_S && f->executions >= WINDOW_EXECUTIONS)
		close_window(f, in);
}
