/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/hsakmt/vram.h"
#include "sim/hsakmt/thunk.h"
#include <errno.h>
#include <string.h>

static uint64_t held[HSAKMT_FIRST_CARD + SIM_MAX_CARDS]; /* by node */

void vram_give_back(uint32_t node, uint64_t bytes)
{
	held[node] -= bytes;
	device_set_vram(thunk_device(node), held[node]);
}

/* Says first what the process would hold and looks at the sum over all of them then, so that two
 * processes never get the same bytes. */
int vram_take(uint32_t node, uint64_t bytes)
{
	struct device *d = thunk_device(node);
	struct sim_card *card = thunk_card(node);
	uint64_t total = device_profile(d)->vram_bytes;
	uint64_t limit = atomic_load(&card->vram_limit_bytes);

	if (limit > 0)
		total = MIN(total, limit);
	if (bytes > total)
		return -ENOMEM;
	held[node] += bytes;
	device_set_vram(d, held[node]);
	if (sim_card_vram_bytes(card) <= total)
		return 0;
	vram_give_back(node, bytes);
	return -ENOMEM;
}

void vram_forget(void)
{
	memset(held, 0, sizeof(held));
}
