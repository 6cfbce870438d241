/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/cap-factor.h"
#include "base/macros.h"
#include "base/units.h"
#include <math.h>

/* A sensor that averages shows a change whole only after the interval that follows it. */
#define SETTLED_STEPS 2
/* Below it the reading is mostly of an idle card. */
#define MIN_BUSY 0.5
/* A partly filled batch draws less than a full one, so it tells nothing of how little a full one
 * would. */
#define MIN_FULL   0.9
#define UP_TAU_S   0.3
#define DOWN_TAU_S 600.0

double cap_factor_get(const struct cap_factor *f)
{
	return f->factor > 0 ? f->factor : 1;
}

static bool is_settled(struct cap_factor *f, const struct cap_factor_input *in)
{
	bool same = in->option == f->option;

	f->option = in->option;
	f->n_settled = same && in->held ? MIN(f->n_settled + 1, UINT32_C(1000)) : 0;
	return f->n_settled >= SETTLED_STEPS && in->option != UINT32_MAX;
}

void cap_factor_update(struct cap_factor *f, const struct cap_factor_input *in)
{
	double expected_w = in->idle_w + in->busy_share * (in->busy_w - in->idle_w);
	double now = cap_factor_get(f), seen, interval_s, tau_s;

	if (!is_settled(f, in) || in->power_uw == 0 || in->busy_share < MIN_BUSY ||
	    !(expected_w > 0))
		return;
	seen = (double)in->power_uw / (double)UW_PER_W / expected_w;
	if (seen < now && in->full_share < MIN_FULL)
		return;
	interval_s = (double)in->interval_ns / (double)NSEC_PER_SEC;
	tau_s = seen > now ? UP_TAU_S : DOWN_TAU_S;
	now += (seen - now) * -expm1(-interval_s / tau_s);
	f->factor = CLAMP(now, CAP_FACTOR_MIN, CAP_FACTOR_MAX);
}
