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

/* The mean of all there was so far, until that is as long as it ever gets: the 1 that it starts
 * with is no reading. */
static double down_tau_s(const struct cap_factor *f)
{
	return MAX(f->learnt_s, DOWN_FIRST_TAU_S);
}

static void close_window(struct cap_factor *f, const struct cap_factor_input *in)
{
	double share = MIN(f->busy_s / f->length_s, 1.0), now = cap_factor_get(f), seen;
	bool full = f->completions >= MIN_FULL * f->executions * in->batch;

	seen = f->energy_j / f->length_s / (in->idle_w + share * (in->busy_w - in->idle_w));
	if (share >= MIN_BUSY && (seen > now || full)) {
		approach(f, seen, f->length_s, seen > now ? UP_TAU_S : down_tau_s(f));
		f->learnt_s = MIN(f->learnt_s + f->length_s, DOWN_TAU_S);
	}
	window_reset(f);
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
