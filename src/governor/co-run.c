/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/co-run.h"
#include "base/macros.h"
#include "governor/service-factor.h"
#include <math.h>

/* A line through more of it says more than two through halves, but the card changes. */
#define LOOK_S	       40.0
#define FORGET_S       300.0
#define INTERVALS      10
#define SERVICES_LEAST 8.0
/* Beyond, a queue is what there is to see. */
#define WORK_MAX 2.0

static double square(double x)
{
	return x * x;
}

void co_run_add(struct co_run *c, double interval_s, double services, double others_work,
		double ratio)
{
	if (!(interval_s > 0) || !(services > 0) || !(others_work >= 0) || !(ratio > 0) ||
	    !(others_work <= WORK_MAX) || !isfinite(interval_s + services + ratio))
		return;
	c->interval_s += interval_s;
	c->intervals++;
	c->n += services;
	c->x += services * others_work;
	c->y += services * ratio;
	c->xx += services * square(others_work);
	c->xy += services * others_work * ratio;
	c->yy += services * square(ratio);
}

/* Work that hardly differs is a line of no slope that is known. */
static bool fit(const struct co_run *c, double *ret_factor, double *ret_services)
{
	double xx = c->xx - c->x * c->x / c->n, xy = c->xy - c->x * c->y / c->n;
	double yy = c->yy - c->y * c->y / c->n, slope = 0, part = 1, spread;

	if (c->xx > 0) {
		part = MAX(xx, 0.0) / c->xx;
		if (part * c->n < SERVICES_LEAST)
			return false;
		slope = xy / xx;
	}
	/* Of one service. What intervals show is theirs, but few of them show less by chance. */
	spread = MAX((yy - slope * xy) / (c->intervals - 2), square(SERVICE_FACTOR_SPREAD));
	*ret_factor = (c->y - slope * c->x) / c->n;
	*ret_services = c->n * part * square(SERVICE_FACTOR_SPREAD) / spread;
	return *ret_services >= SERVICES_LEAST && *ret_factor > 0;
}

bool co_run_look(struct co_run *c, double *ret_factor, double *ret_services)
{
	bool said;

	if (c->interval_s < LOOK_S || c->intervals < INTERVALS)
		return false;
	said = fit(c, ret_factor, ret_services);
	if (said || c->interval_s >= FORGET_S)
		*c = (struct co_run){0};
	return said;
}
