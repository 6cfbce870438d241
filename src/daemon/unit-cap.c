/* SPDX-License-Identifier: Apache-2.0 */
/* A card's power cap: the configuration's or the operator's order, inside what the card takes. */
#include "base/log.h"
#include "base/units.h"
#include "daemon/unit-internal.h"
#include "gpu/gpu.h"
#include <errno.h>

static bool range_is_known(const struct actuator_card *card)
{
	return card->cap_max_uw > 0 && card->cap_min_uw <= card->cap_max_uw;
}

uint64_t unit_cap_uw(const struct unit *u, const struct config_gpu *g)
{
	uint64_t uw = u->cap_order_uw == UNIT_CAP_CONFIG ? g->power_cap_uw : u->cap_order_uw;

	if (uw == 0 || uw == UNIT_CAP_NONE || !u->card.can_cap_power)
		return 0;
	return range_is_known(&u->card) ? CLAMP(uw, u->card.cap_min_uw, u->card.cap_max_uw) : uw;
}

int unit_cap_check(const struct unit *u, uint64_t uw)
{
	if (uw == UNIT_CAP_CONFIG || uw == UNIT_CAP_NONE)
		return 0;
	if (!u->ever_present || !u->card.can_cap_power)
		return -EOPNOTSUPP;
	return range_is_known(&u->card) && (uw < u->card.cap_min_uw || uw > u->card.cap_max_uw)
		       ? -ERANGE
		       : 0;
}

int unit_cap_order(struct unit *u, uint64_t uw)
{
	uint64_t before_uw = u->cap_order_uw;
	int r;

	if (uw == before_uw)
		return 0;
	u->cap_order_uw = uw;
	r = u->plan ? unit_plan_renew(u) : 0;
	if (r < 0) {
		u->cap_order_uw = before_uw;
		return r;
	}
	uw = unit_cap_uw(u, &u->config);
	if (uw > 0)
		log_info("%s: power cap %.1f W from now on, by %s", u->bdf,
			 (double)uw / (double)UW_PER_W,
			 u->cap_order_uw == UNIT_CAP_CONFIG ? "the configuration" : "order");
	else
		log_info("%s: no power cap from now on", u->bdf);
	return 0;
}

uint64_t unit_cap_in_force_uw(const struct unit *u)
{
	return u->claim == UNIT_CLAIMED ? sequence_clock_confirmed(u->sequence).power_cap_uw : 0;
}

void unit_cap_watch(struct unit *u, uint64_t now_ns)
{
	uint64_t gap_ns = MAX(NSEC_PER_SEC, 2 * u->manager->config->daemon.poll_ns);

	if (u->state.fields & GPU_HAS_POWER)
		cap_watch_feed(&u->cap_watch, now_ns, gap_ns, unit_cap_in_force_uw(u),
			       u->state.power_uw);
}
