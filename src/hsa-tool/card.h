/* SPDX-License-Identifier: Apache-2.0 */
/* A card's queues in this process and the mask that they follow. */
#pragma once

#include "cofris/cofris.h"
#include "hsa-tool/hsa-abi.h"
#include <pthread.h>
#include <stdbool.h>

/* A mask in the runtime's terms: whole words, trimmed to the card. */
struct card_mask {
	uint32_t words; /* 0: all CUs */
	uint32_t bits[COFRIS_CU_MASK_WORDS];
};

struct card_queue {
	struct card_queue *next; /* in card.queues */
	struct hsa_queue *queue;
	struct card_mask mask; /* as last set here */
	bool own;	       /* the application masks it itself, so it is left alone */
};

struct card {
	struct hsa_agent agent;
	struct cofris_device device;
	uint32_t n_cus;

	pthread_mutex_t lock; /* of what follows; never held over a call of the application */
	struct card_queue *queues;
	struct card_mask mask; /* in force: what a new queue gets */

	struct cofris_channel *channel; /* see tool.c */
	bool opened;
};

/* 0, -ENODEV if it is no GPU, -EIO if the runtime does not answer. */
int card_init(struct card *c, struct hsa_agent agent, hsa_agent_get_info_fn get_info);
/* Forgets all queues, without touching them. */
void card_done(struct card *c);

/* A new queue of the application, which gets the mask in force. 0, or a negative errno: then it
 * runs on all CUs, and if it is not -EIO, nothing is known of it. */
int card_add_queue(struct card *c, struct hsa_queue *queue, hsa_queue_set_mask_fn set_mask);
/* Before the queue is destroyed. Whether it was one of this card's. */
bool card_remove_queue(struct card *c, struct hsa_queue *queue);
/* The application's own call for a queue of this card; false: it is none. From a mask of its own on
 * the queue is left alone, until the application asks for all CUs. */
bool card_set_own_mask(struct card *c, const struct hsa_queue *queue, uint32_t n_bits,
		       const uint32_t *mask, hsa_queue_set_mask_fn set_mask, hsa_status *ret);

/* Sets a directive's mask on all queues that differ and are not the application's own. Returns how
 * many; -EINVAL for a mask without a CU of this card, which would hang every queue; -EIO if the
 * runtime refuses, after which those changed are as before. All CUs are tried on every queue. */
int card_follow(struct card *c, const struct cofris_directive *d, hsa_queue_set_mask_fn set_mask);
