/* SPDX-License-Identifier: Apache-2.0 */
/* What a derivation is given: its options, and power that was measured at some clocks only. */
#include "response/table-internal.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>

int table_refuse(struct surface_error *error, int r, const char *format, ...)
{
	va_list ap;

	if (!error)
		return r;
	error->line = 0;
	va_start(ap, format);
	(void)vsnprintf(error->text, sizeof(error->text), format, ap);
	va_end(ap);
	return r;
}

int table_check_options(const struct table_options *o, struct surface_error *error)
{
	if (o->slo_ns == 0 && !(o->slo_factor >= 0.1 && o->slo_factor <= 1000))
		return table_refuse(error, -EINVAL, "SLO factor %g: expected 0.1 to 1000",
				    o->slo_factor);
	if (o->percentile < 1 || o->percentile > 99)
		return table_refuse(error, -EINVAL, "percentile %u: expected 1 to 99",
				    o->percentile);
	if (!(o->rated_rps >= 0 && o->rated_rps <= 1e9))
		return table_refuse(error, -EINVAL, "rated rate %g: expected 0 to 1e9",
				    o->rated_rps);
	if (!(o->headroom > 0 && o->headroom <= 10))
		return table_refuse(error, -EINVAL, "headroom %g: expected above 0, up to 10",
				    o->headroom);
	if (!(o->late_cost >= 0 && o->late_cost <= 1e9))
		return table_refuse(error, -EINVAL, "cost of a late request %g: expected 0 to 1e9",
				    o->late_cost);
	if (o->poll_ns < 1000000 || o->poll_ns > UINT64_C(3600000000000))
		return table_refuse(error, -EINVAL, "poll interval: expected 1 ms to 1 h");
	if (o->max_batch < 1)
		return table_refuse(error, -EINVAL, "largest batch 0: expected at least 1");
	if (o->gating != TABLE_GATING_NONE && o->gating != TABLE_GATING_SE &&
	    o->gating != TABLE_GATING_CU)
		return table_refuse(error, -EINVAL, "unknown gating variant");
	return 0;
}

double table_level_power(const struct surface *s, const double *power_w, uint32_t max_mhz)
{
	int below = -1, above = -1;

	for (uint32_t i = 0; i < s->n_levels; i++) {
		if (isnan(power_w[i]))
			continue;
		if (s->level_mhz[i] <= max_mhz)
			below = (int)i;
		if (s->level_mhz[i] >= max_mhz && above < 0)
			above = (int)i;
	}
	if (below < 0 || above < 0 || below == above)
		return below < 0 && above < 0 ? NAN : power_w[below < 0 ? above : below];
	return power_w[below] + (power_w[above] - power_w[below]) *
					(max_mhz - s->level_mhz[below]) /
					(s->level_mhz[above] - s->level_mhz[below]);
}
