/* SPDX-License-Identifier: Apache-2.0 */
/* An operator's power cap, for one card or all. */
#include "base/units.h"
#include "daemon/early.h"
#include "daemon/manager-internal.h"
#include "daemon/unit.h"
#include <errno.h>
#include <string.h>

static bool is_meant(const struct unit *u, const char *bdf, uint64_t uw)
{
	if (strcmp(bdf, "*") != 0)
		return strcmp(u->bdf, bdf) == 0;
	/* What a card not yet seen takes is not known; it comes as configured. */
	return u->ever_present || uw == UNIT_CAP_CONFIG || uw == UNIT_CAP_NONE;
}

static void refuse(const struct unit *u, int error, char *why, size_t size)
{
	const struct actuator_card *c = &u->card;

	if (error == -ERANGE)
		(void)snprintf(why, size, "%s takes a power cap from %g W to %g W", u->bdf,
			       (double)c->cap_min_uw / (double)UW_PER_W,
			       (double)c->cap_max_uw / (double)UW_PER_W);
	else if (error == -EOPNOTSUPP)
		(void)snprintf(why, size, "%s %s", u->bdf,
			       u->ever_present ? "takes no power cap" : "has not been seen yet");
	else
		(void)snprintf(why, size, "%s: %s", u->bdf, strerror(-error));
}

int manager_order_cap(struct manager *m, const char *bdf, uint64_t uw, char *why, size_t size)
{
	struct unit *u;
	uint32_t n = 0;
	int r;

	TAILQ_FOREACH(u, &m->units, entry)
	{
		if (!is_meant(u, bdf, uw))
			continue;
		n++;
		r = unit_cap_check(u, uw);
		if (r < 0) {
			refuse(u, r, why, size);
			return r;
		}
	}
	if (n == 0) {
		(void)snprintf(why, size, "no governed card %s", quotable(bdf));
		return -ENODEV;
	}
	TAILQ_FOREACH(u, &m->units, entry)
	{
		r = is_meant(u, bdf, uw) ? unit_cap_order(u, uw) : 0;
		if (r < 0) {
			refuse(u, r, why, size);
			return r;
		}
	}
	TAILQ_FOREACH(u, &m->units, entry)
	if (is_meant(u, bdf, uw))
		early_look(u);
	manager_flush_record(m);
	return 0;
}
