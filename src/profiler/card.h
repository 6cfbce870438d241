/* SPDX-License-Identifier: Apache-2.0 */
/* What the actuator says of its cards, checked: it runs with more rights, but its answers come from
 * a card's files. Pure. */
#pragma once

#include "actuator/protocol.h"
#include "cu-mask/cu-mask.h"

/* The card at bdf, or the only one (NULL), among n replies to LIST, whose texts are terminated
 * here. Logs why not: -ENODEV, -EINVAL if one must be named, -EBADMSG for an odd description,
 * -EOPNOTSUPP for one whose clock cannot be capped. */
int card_choose(struct actuator_reply *replies, int n, const char *bdf,
		const struct actuator_reply **ret);

/* The actuator counts CUs by SE; several shader arrays share them evenly. */
struct cu_topology card_topology(const struct actuator_card *card);
