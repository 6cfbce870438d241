/* SPDX-License-Identifier: Apache-2.0 */
/* Who follows CU masks, who does not and why, and the watchdog over those who do. */
#pragma once

#include "daemon/stall.h"
#include "daemon/unit.h"

/* Why a worker is governed by clock alone. Texts by masks_reason_text(). */
enum masks_reason {
	MASKS_FOLLOWED, /* it is not */
	MASKS_SWITCHED_OFF,
	MASKS_STALLED,
	MASKS_NOT_FOLLOWED,
	MASKS_NOT_ACKNOWLEDGED,
	MASKS_REASON_MAX,
};

/* Of one model on one card. */
struct unit_masks {
	struct stall stall;
	uint32_t logged; /* bits of enum masks_reason */
};

/* Of a worker on u, which may have other cards as well. */
enum masks_reason masks_reason(const struct unit *u, const struct session *s);
/* Whether a connection follows none itself, and the queues on u that it counts for have their masks
 * by another one: what is in force there is not its to say. */
bool masks_of_another(const struct unit *u, const struct session *s);
/* NULL for MASKS_FOLLOWED. */
const char *masks_reason_text(enum masks_reason r);
/* Why a model's masks are off whatever its workers can do, or NULL. */
const char *masks_model_off(const struct manager *m, uint32_t model);

/* With the workers' counts already in u->input: judges each model, and says in it which can be
 * masked. A model found stalled has all CUs from this step on, on every card, until a reload. */
void masks_judge(struct unit *u, uint64_t now_ns);
