/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/thermal.h"
#include "base/macros.h"
#include "base/units.h"

/* Jitter of single services is 1-5 %, of an interval's mean well below. */
#define GROWTH_MAX 1.03
/* Sinks cool over tens of seconds; raised faster than this the card would throttle again at once.
 */
#define RAISE_EVERY_NS (UINT64_C(5) * NSEC_PER_SEC)

static uint32_t neighbour_mhz(const uint32_t *level_mhz, uint32_t n_levels, uint32_t mhz, int by)
{
	uint32_t i = 0;

	while (i + 1 < n_levels && level_mhz[i] < mhz)
		i++;
	if (by < 0)
		return level_mhz[i > 0 ? i - 1 : 0];
	return level_mhz[MIN(i + 1, n_levels - 1)];
}

static void begin(struct thermal *t, double service_ns, uint32_t planned_mhz)
{
	uint32_t limit_mhz = t->active ? MIN(t->limit_mhz, planned_mhz) : planned_mhz;

	*t = (struct thermal){.active = true,
			      .planned_mhz = planned_mhz,
			      .limit_mhz = limit_mhz,
			      .reference_ns = service_ns};
}

static void lower(struct thermal *t, const uint32_t *level_mhz, uint32_t n_levels,
		  double service_ns)
{
	/* Without executions nothing tells whether a lower level would slow the next one. */
	if (t->settled || !(service_ns > 0))
		return;
	if (!(t->reference_ns > 0))
		t->reference_ns = service_ns;
	t->settled = service_ns > GROWTH_MAX * t->reference_ns;
	t->limit_mhz = neighbour_mhz(level_mhz, n_levels, t->limit_mhz, t->settled ? 1 : -1);
}

uint32_t thermal_step(struct thermal *t, const uint32_t *level_mhz, uint32_t n_levels,
		      uint64_t now_ns, bool throttled, double service_ns, uint32_t planned_mhz)
{
	if (throttled) {
		/* Another plan has another service time to compare with. */
		if (!t->active || t->planned_mhz != planned_mhz)
			begin(t, service_ns, planned_mhz);
		lower(t, level_mhz, n_levels, service_ns);
		t->changed_ns = now_ns;
	} else if (t->active && now_ns - t->changed_ns >= RAISE_EVERY_NS) {
		t->limit_mhz = neighbour_mhz(level_mhz, n_levels, t->limit_mhz, 1);
		t->changed_ns = now_ns;
		t->settled = false;
		t->active = t->limit_mhz < level_mhz[n_levels - 1];
	}
	return t->active ? MIN(t->limit_mhz, planned_mhz) : planned_mhz;
}
