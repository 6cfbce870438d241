/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration space of the paper's card, without noise and at the temperature of an idle
 * card: every clock, and every number of CUs (also those whose shape another one dominates, as the
 * paper swept them). Gating is the plant's own. */
#include "replay/observations.h"
#include <errno.h>

const char *const observed_models[OBSERVED_MODELS] = {
	"albert",     "alexnet",    "densenet201", "resnet152",
	"resnext101", "shufflenet", "squeezenet",  "vgg19",
};

static double power_w(const struct plant_device *d, const struct plant_cost *cost, uint32_t level,
		      double ungated_cus)
{
	struct plant_level l = plant_level_of(d, level);
	const struct plant_rates rates = {
		.busy_share = 1,
		.ungated_cus = ungated_cus,
		.flop = cost->flop / cost->ns,
		.bytes = cost->bytes / cost->ns,
		.uncore_share = cost->uncore_ns / cost->ns,
	};

	return plant_power_w(d, &l, &rates, /* kelvin= */ 0);
}

static int observe_cus(const struct plant_device *d, const struct plant_model *m, uint32_t n,
		       struct observed_response *ret)
{
	struct cu_mask mask;
	struct cu_shape shape;
	int r;

	r = cu_mask_conserved(&d->topology, n, /* first_se= */ 0, &mask);
	if (r < 0)
		return r;
	shape = cu_mask_effective_shape(&d->topology, mask.words, CU_MASK_WORDS);
	for (uint32_t l = 0; l < d->n_levels; l++) {
		struct plant_cost cost = plant_request_cost(d, m, d->level_mhz[l], shape, 1);

		ret->ns[l][n] = cost.ns;
		for (int g = PLANT_GATING_NONE; g <= PLANT_GATING_CU; g++)
			ret->power_w[g][l][n] =
				power_w(d, &cost, l,
					plant_ungated_cus_of_mask(d, (enum plant_gating)g, &mask));
	}
	return 0;
}

int observe_card(const struct plant_device *d, struct plant_model *const *models,
		 struct observed_response *responses)
{
	if (cu_topology_cus(&d->topology) != OBSERVED_CUS || d->n_levels != OBSERVED_LEVELS)
		return -EINVAL;
	for (uint32_t m = 0; m < OBSERVED_MODELS; m++)
		for (uint32_t n = 1; n <= OBSERVED_CUS; n++) {
			int r = observe_cus(d, models[m], n, &responses[m]);

			if (r < 0)
				return r;
		}
	return 0;
}
