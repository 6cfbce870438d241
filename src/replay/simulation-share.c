/* SPDX-License-Identifier: Apache-2.0 */
/* What runs at the same time shares the card, whole requests as cofris-sim's cards share them among
 * their workers, by the rule of plant/share.h with equal rights for each execution:
 *
 *   CUs     on each CU an execution gets its part of those whose mask has it. Of one model alone
 *           that leaves each the same part of the speed; disjoint masks leave all of it.
 *   memory  in proportion to what each would move if it had the memory to itself, once that is
 *           more than the card can.
 */
#include "replay/simulation-internal.h"
#include <math.h>

void simulation_share_init(struct simulation *s)
{
	for (uint32_t i = 0; i < s->n_models; i++)
		cu_mask_all(&s->device.topology, &s->models[i].mask);
	s->memory_gbps = s->device.memory_gbps / s->options.truth->card.time_factor;
	plant_cus_init(&s->plant_cus, &s->device);
	simulation_masks_changed(s);
}

/* A mask of no bits is that of all CUs. */
void simulation_set_mask(struct simulation *s, struct simulated_model *m,
			 const struct cu_mask *mask)
{
	if (mask->n_bits > 0)
		m->mask = *mask;
	else
		cu_mask_all(&s->device.topology, &m->mask);
}

void simulation_masks_changed(struct simulation *s)
{
	const struct truth *t = s->options.truth;
	struct cu_mask all = {0};

	s->ungated_cus = s->ungated[s->models[0].configuration.shape];
	s->masks_overlap = false;
	if (s->n_models == 1)
		return;
	for (uint32_t i = 0; i < s->n_models; i++)
		for (uint32_t w = 0; w < CU_MASK_WORDS; w++) {
			s->masks_overlap |= (all.words[w] & s->models[i].mask.words[w]) != 0;
			all.words[w] |= s->models[i].mask.words[w];
		}
	all.n_bits = s->models[0].mask.n_bits;
	s->ungated_cus = plant_ungated_cus_of_mask(&t->device, t->card.gating, &all);
}

/* ---- CUs ---- */

static void count_on_cus(const struct simulation *s, double total[PLANT_MAX_CUS])
{
	for (uint32_t i = 0; i < s->n_models; i++) {
		const struct simulated_model *m = &s->models[i];

		for (uint32_t bit = 0; m->n_running > 0 && bit < s->plant_cus.n; bit++)
			if (m->mask.words[bit / 32] >> (bit % 32) & 1)
				total[bit] += m->n_running;
	}
}

static void share_cus(struct simulation *s)
{
	double total[PLANT_MAX_CUS] = {0};

	if (s->masks_overlap)
		count_on_cus(s, total);
	for (uint32_t i = 0; i < s->n_models; i++) {
		struct simulated_model *m = &s->models[i];

		if (m->n_running == 0)
			continue;
		m->stretch = m->n_running;
		if (s->masks_overlap && m->n_running < s->n_running)
			m->stretch = 1 / plant_cu_rate(&s->plant_cus, &m->mask, /* held= */ 1,
						       /* load= */ 1, total);
	}
}

/* ---- memory ---- */

static double demand_gbps(const struct simulated_model *m)
{
	double sum = 0;

	for (uint32_t i = 0; m->n_running > 0 && i < m->load.workers; i++)
		if (m->executions[i].running)
			sum += m->executions[i].cost.bytes / m->executions[i].cost.ns;
	return m->n_running > 0 ? sum / m->stretch : 0;
}

static void share_memory(struct simulation *s)
{
	double gbps = 0;

	for (uint32_t i = 0; i < s->n_models; i++)
		gbps += demand_gbps(&s->models[i]);
	for (uint32_t i = 0; i < s->n_models && gbps > s->memory_gbps; i++)
		s->models[i].stretch *= gbps / s->memory_gbps;
}

void simulation_share(struct simulation *s)
{
	share_cus(s);
	if (s->n_models > 1)
		share_memory(s);
}
