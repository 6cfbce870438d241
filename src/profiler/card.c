/* SPDX-License-Identifier: Apache-2.0 */
#include "profiler/card.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include "channel/channel-layout.h"
#include <errno.h>
#include <string.h>

static bool text_is_plain(const char *s, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (s[i] == '\0')
			return i > 0;
		if (s[i] < ' ' || s[i] > '~')
			return false;
	}
	return false;
}

static bool is_sound(const struct actuator_card *c)
{
	bool sound = c->n_levels >= 1 && c->n_levels <= ACTUATOR_MAX_LEVELS && c->n_se >= 1 &&
		     c->n_se <= ACTUATOR_MAX_SE && c->n_cus >= 1 &&
		     c->n_cus <= 32 * CHANNEL_CU_MASK_WORDS &&
		     text_is_plain(c->name, sizeof(c->name)) &&
		     text_is_plain(c->gfx, sizeof(c->gfx)) && !strchr(c->gfx, '/');

	for (uint32_t i = 1; sound && i < c->n_levels; i++)
		sound = c->level_mhz[i] > c->level_mhz[i - 1];
	return sound && c->level_mhz[0] > 0;
}

int card_choose(struct actuator_reply *replies, int n, const char *bdf,
		const struct actuator_reply **ret)
{
	const struct actuator_reply *found = NULL;

	if (n <= 0)
		return log_error_errno(-ENODEV, "cofris-actuator knows no card");
	if (!bdf && n > 1)
		return log_error_errno(-EINVAL, "There are %d cards: name one by --gpu", n);
	for (int i = 0; i < n; i++) {
		replies[i].bdf[PCI_BDF_LENGTH] = '\0';
		if (!bdf || strcmp(replies[i].bdf, bdf) == 0)
			found = &replies[i];
	}
	if (!found)
		return log_error_errno(-ENODEV, "No card at %s", bdf);
	if (!pci_bdf_is_valid(found->bdf) || !is_sound(&found->card))
		return log_error_errno(-EBADMSG, "What cofris-actuator says of the card is odd");
	if (!found->card.can_cap_clock)
		return log_error_errno(-EOPNOTSUPP, "The clock of %s cannot be set", found->bdf);
	*ret = found;
	return 0;
}

struct cu_topology card_topology(const struct actuator_card *card)
{
	struct cu_topology t = {
		.n_se = card->n_se,
		.n_sh_per_se = MAX(card->n_sh_per_se, 1u),
		.n_xcc = MAX(card->n_xcc, 1u),
		/* RDNA (gfx10 and later) enables CUs in pairs. */
		.wgp_pairs = strncmp(card->gfx, "gfx1", 4) == 0 && strlen(card->gfx) > 6,
	};

	t.n_sh_per_se = MIN(t.n_sh_per_se, (uint32_t)CU_MAX_SH);
	for (uint32_t se = 0; se < t.n_se; se++)
		for (uint32_t sh = 0; sh < t.n_sh_per_se; sh++)
			t.active[se][sh] =
				(uint8_t)((card->active_cus[se] + t.n_sh_per_se - 1 - sh) /
					  t.n_sh_per_se);
	return t;
}
