/* SPDX-License-Identifier: Apache-2.0 */
#include "hsa-tool/card.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* --- what the card is ----------------------------------------------------------------------- */

int card_init(struct card *c, struct hsa_agent agent, hsa_agent_get_info_fn get_info)
{
	uint32_t device, bdf, n_cus, domain = 0;

	if (get_info(agent, HSA_INFO_DEVICE, &device) != HSA_SUCCESS)
		return -EIO;
	if (device != HSA_DEVICE_GPU)
		return -ENODEV;
	if (get_info(agent, HSA_INFO_CU_COUNT, &n_cus) != HSA_SUCCESS || n_cus == 0 ||
	    get_info(agent, HSA_INFO_BDFID, &bdf) != HSA_SUCCESS || bdf > UINT16_MAX)
		return -EIO;
	/* Runtimes of before ROCm 4 do not know it. */
	if (get_info(agent, HSA_INFO_DOMAIN, &domain) != HSA_SUCCESS || domain > UINT16_MAX)
		domain = 0;
	*c = (struct card){.agent = agent, .n_cus = n_cus};
	snprintf(c->device.bdf, sizeof(c->device.bdf), "%04x:%02x:%02x.%x", domain & 0xffff,
		 bdf >> 8 & 0xff, bdf >> 3 & 0x1f, bdf & 7);
	return -pthread_mutex_init(&c->lock, NULL);
}

void card_done(struct card *c)
{
	while (c->queues) {
		struct card_queue *q = c->queues;

		c->queues = q->next;
		free(q);
	}
	(void)pthread_mutex_destroy(&c->lock);
}

/* --- masks ---------------------------------------------------------------------------------- */

/* Trimmed to the card, as the runtime does it; one of all the card's CUs becomes no mask. */
static int take_mask(const struct card *c, const struct cofris_directive *d, struct card_mask *ret)
{
	uint32_t n_cus = 0, n_bits = d->cu_mask_bits < c->n_cus ? d->cu_mask_bits : c->n_cus;
	struct card_mask m = {.words = (n_bits + 31) / 32};

	if (d->cu_mask_bits > COFRIS_CU_MASK_WORDS * 32)
		return -EINVAL;
	for (uint32_t i = 0; i < n_bits; i++) {
		if (!(d->cu_mask[i / 32] >> i % 32 & 1))
			continue;
		m.bits[i / 32] |= UINT32_C(1) << i % 32;
		n_cus++;
	}
	if (d->cu_mask_bits > 0 && n_cus == 0)
		return -EINVAL;
	if (n_cus == c->n_cus)
		m = (struct card_mask){0};
	*ret = m;
	return 0;
}

static bool mask_equal(const struct card_mask *a, const struct card_mask *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static int set(struct card_queue *q, const struct card_mask *m, hsa_queue_set_mask_fn set_mask)
{
	if (set_mask(q->queue, 32 * m->words, m->words > 0 ? m->bits : NULL) != HSA_SUCCESS)
		return -EIO;
	q->mask = *m;
	return 0;
}

/* --- queues --------------------------------------------------------------------------------- */

int card_add_queue(struct card *c, struct hsa_queue *queue, hsa_queue_set_mask_fn set_mask)
{
	struct card_queue *q = calloc(1, sizeof(*q));
	int r = 0;

	if (!q)
		return -ENOMEM;
	q->queue = queue;
	(void)pthread_mutex_lock(&c->lock);
	q->next = c->queues;
	c->queues = q;
	if (c->mask.words > 0)
		r = set(q, &c->mask, set_mask);
	(void)pthread_mutex_unlock(&c->lock);
	return r;
}

static struct card_queue **find(struct card *c, const struct hsa_queue *queue)
{
	struct card_queue **p = &c->queues;

	while (*p && (*p)->queue != queue)
		p = &(*p)->next;
	return p;
}

bool card_remove_queue(struct card *c, struct hsa_queue *queue)
{
	struct card_queue **p, *q;

	(void)pthread_mutex_lock(&c->lock);
	p = find(c, queue);
	q = *p;
	if (q)
		*p = q->next;
	(void)pthread_mutex_unlock(&c->lock);
	free(q);
	return q != NULL;
}

bool card_set_own_mask(struct card *c, const struct hsa_queue *queue, uint32_t n_bits,
		       const uint32_t *mask, hsa_queue_set_mask_fn set_mask, hsa_status *ret)
{
	struct card_queue *q;

	/* Under the lock, so that a directive does not come between the call and the mark. */
	(void)pthread_mutex_lock(&c->lock);
	q = *find(c, queue);
	if (q) {
		*ret = set_mask(queue, n_bits, mask);
		if (*ret == HSA_SUCCESS || *ret == HSA_MASK_REDUCED) {
			q->own = n_bits > 0;
			q->mask = (struct card_mask){0};
		}
		if (!q->own && !mask_equal(&q->mask, &c->mask))
			(void)set(q, &c->mask, set_mask);
	}
	(void)pthread_mutex_unlock(&c->lock);
	return q != NULL;
}

/* --- following ------------------------------------------------------------------------------ */

/* Up to, and without, the queue that refused. One that cannot go back gets all CUs. */
static void roll_back(struct card *c, const struct card_queue *end, hsa_queue_set_mask_fn set_mask)
{
	static const struct card_mask all;

	for (struct card_queue *q = c->queues; q != end; q = q->next)
		if (!q->own && !mask_equal(&q->mask, &c->mask) && set(q, &c->mask, set_mask) < 0)
			(void)set(q, &all, set_mask);
}

static int follow(struct card *c, const struct card_mask *m, hsa_queue_set_mask_fn set_mask)
{
	int changed = 0, r = 0;

	for (struct card_queue *q = c->queues; q; q = q->next) {
		if (q->own || mask_equal(&q->mask, m))
			continue;
		if (set(q, m, set_mask) == 0) {
			changed++;
			continue;
		}
		r = -EIO;
		if (m->words == 0)
			continue;
		roll_back(c, q, set_mask);
		return r;
	}
	c->mask = *m;
	return r < 0 ? r : changed;
}

int card_follow(struct card *c, const struct cofris_directive *d, hsa_queue_set_mask_fn set_mask)
{
	struct card_mask m;
	int r;

	r = take_mask(c, d, &m);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&c->lock);
	r = follow(c, &m, set_mask);
	(void)pthread_mutex_unlock(&c->lock);
	return r;
}
