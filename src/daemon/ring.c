/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ring.h"
#include "base/units.h"
#include <errno.h>

struct ring {
	uint32_t n_models;
	uint64_t count;
	struct ring_entry *entries;
	struct ring_model *models; /* n_models for each entry */
};

int ring_new(uint32_t n_models, struct ring **ret)
{
	_cleanup_(ring_freep) struct ring *r = NULL;

	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->n_models = n_models;
	r->entries = calloc(RING_DECISIONS, sizeof(*r->entries));
	r->models = calloc((size_t)RING_DECISIONS * MAX(n_models, 1u), sizeof(*r->models));
	if (!r->entries || !r->models)
		return -ENOMEM;
	*ret = TAKE_PTR(r);
	return 0;
}

struct ring *ring_free(struct ring *r)
{
	if (!r)
		return NULL;
	free(r->entries);
	free(r->models);
	free(r);
	return NULL;
}

static uint32_t clip(uint64_t value, uint32_t max)
{
	return (uint32_t)MIN(value, (uint64_t)max);
}

static struct ring_model pack_model(const struct governor_model_input *in,
				    const struct governor_model_decision *out)
{
	return (struct ring_model){
		.rate_rps = (float)out->rate_rps,
		.demand_rps = (float)out->demand_rps,
		.tail_ms = (float)(out->tail_ns / (double)NSEC_PER_MSEC),
		.in_flight = clip(in->in_flight, UINT32_MAX),
		.late = clip(in->late, UINT32_MAX),
		.row = (uint16_t)clip(out->row, UINT16_MAX),
		.n_se = out->shape.n_se,
		.cus_per_se = out->shape.cus_per_se,
		.max_batch = (uint16_t)clip(out->max_batch, UINT16_MAX),
		.state = (uint8_t)in->state,
		.reason = (uint8_t)out->reason,
	};
}

void ring_push(struct ring *r, const struct governor_input *input,
	       const struct governor_decision *decision)
{
	size_t at = r->count++ % RING_DECISIONS;

	r->entries[at] = (struct ring_entry){
		.number = decision->number,
		.now_ns = decision->now_ns,
		.interval_s = (float)((double)input->interval_ns / (double)NSEC_PER_SEC),
		.power_w = (float)((double)input->power_uw / (double)UW_PER_W),
		.predicted_w = (float)decision->predicted_power_w,
		.flags = input->flags,
		.applied_mhz = (uint16_t)clip(input->applied_max_mhz, UINT16_MAX),
		.sclk_mhz = (uint16_t)clip(input->sclk_mhz, UINT16_MAX),
		.max_mhz = (uint16_t)clip(decision->max_mhz, UINT16_MAX),
		.busy_percent = (uint8_t)clip(input->busy_percent, 100),
		.action = (uint8_t)decision->action,
		.reason = (uint8_t)decision->reason,
		.changed = decision->changed,
	};
	for (uint32_t i = 0; i < r->n_models; i++)
		r->models[at * r->n_models + i] =
			pack_model(&input->models[i], &decision->models[i]);
}

const struct ring_entry *ring_get(const struct ring *r, uint32_t back,
				  const struct ring_model **ret_models)
{
	size_t at;

	if (back >= RING_DECISIONS || back >= r->count)
		return NULL;
	at = (r->count - 1 - back) % RING_DECISIONS;
	*ret_models = &r->models[at * r->n_models];
	return &r->entries[at];
}

uint64_t ring_count(const struct ring *r)
{
	return r->count;
}
