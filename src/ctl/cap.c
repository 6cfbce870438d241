/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/cap.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include "base/units.h"
#include <errno.h>
#include <string.h>

/* As power_cap in the configuration. */
#define CAP_MIN_UW (1 * UW_PER_W)
#define CAP_MAX_UW (2000 * UW_PER_W)

static bool parse_cap(const char *word, uint64_t *ret_uw)
{
	if (strcmp(word, "off") == 0) {
		*ret_uw = CTL_CAP_OFF;
		return true;
	}
	if (strcmp(word, "config") == 0) {
		*ret_uw = CTL_CAP_CONFIG;
		return true;
	}
	return parse_power_uw(word, ret_uw) == 0 && *ret_uw >= CAP_MIN_UW && *ret_uw <= CAP_MAX_UW;
}

int cap_parse(char **words, int n_words, struct cap_arguments *ret)
{
	struct cap_arguments a = {0};

	if (n_words > 0 && pci_bdf_is_valid(words[0]) && words[0][PCI_BDF_LENGTH] == '\0') {
		a.gpu = words[0];
		words++;
		n_words--;
	} else if (n_words > 1) {
		log_error("'%s' is no PCI address as 0000:43:00.0", words[0]);
		return -EINVAL;
	}
	if (n_words > 0) {
		a.sets = parse_cap(words[0], &a.uw);
		if (!a.sets) {
			log_error("'%s': expected a power with its unit, 1W to 2000W, 'off' or "
				  "'config'",
				  words[0]);
			return -EINVAL;
		}
	}
	*ret = a;
	return 0;
}

json_t *cap_document(const json_t *status, const char *gpu)
{
	const json_t *card;
	json_t *cards = json_array();
	size_t i;

	json_array_foreach(json_object_get(status, "gpus"), i, card)
	{
		const char *bdf = json_string_value(json_object_get(card, "bdf"));
		json_t *cap;

		if (!bdf || (gpu && strcmp(bdf, gpu) != 0))
			continue;
		cap = json_deep_copy(json_object_get(card, "cap"));
		(void)json_object_set_new(cap, "bdf", json_string(bdf));
		(void)json_object_set(cap, "power_w", json_object_get(card, "power_w"));
		(void)json_object_set(cap, "simulated", json_object_get(card, "simulated"));
		(void)json_array_append_new(cards, cap);
	}
	if (gpu && json_array_size(cards) == 0) {
		log_error("No governed card %s", gpu);
		json_decref(cards);
		return NULL;
	}
	return json_pack("{s:i, s:o}", "schema", 1, "gpus", cards);
}
