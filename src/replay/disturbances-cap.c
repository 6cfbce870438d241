/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"
#include "replay/disturbances-internal.h"
#include <errno.h>
#include <math.h>

/* What a hot card draws beyond the cold one that costs are of. */
#define HEAT 1.03

/* The lowest of all where none is inside. */
static struct configuration most_inside(const struct plant_device *d, const struct costs *costs,
					uint32_t n_shapes, double cap_w)
{
	struct configuration best = {.batch = 1};
	double least_ns = INFINITY;

	for (uint32_t i = 0; i < d->n_levels * n_shapes; i++) {
		uint32_t level = i / n_shapes, shape = i % n_shapes;
		double ns = costs_get(costs, level, shape, 1).ns;

		if (costs_busy_w(costs, level, shape, 1) * HEAT > cap_w || ns >= least_ns)
			continue;
		least_ns = ns;
		best.level = (uint16_t)level;
		best.shape = (uint16_t)shape;
	}
	return best;
}

int disturbances_schedule(const struct plant_device *d, const struct costs *costs, uint64_t cap_uw,
			  uint32_t from, uint32_t n, struct configuration **ret)
{
	struct configuration full = {.batch = 1}, inside, *schedule;
	uint32_t n_shapes;

	(void)costs_shapes(costs, &n_shapes);
	full.level = (uint16_t)(d->n_levels - 1);
	full.shape = (uint16_t)(n_shapes - 1);
	inside = most_inside(d, costs, n_shapes, (double)cap_uw / (double)UW_PER_W);
	schedule = calloc(n, sizeof(*schedule));
	if (!schedule)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		schedule[i] = i < from ? full : inside;
	*ret = schedule;
	return 0;
}
