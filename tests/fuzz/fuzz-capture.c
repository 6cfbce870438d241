/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"
#include "sim/capture.h"

#define MI50 COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini"

/* Whatever a card's files hold, they make a profile that is sound or none. */
static void make_device(const struct capture *c, const char *path)
{
	static struct plant_device *base;
	struct plant_device *d = NULL;
	struct ini_error error;

	FUZZ_CHECK(base || plant_device_load(MI50, &base, &error) == 0);
	if (capture_write_device(c, MI50, base, path, &error) < 0) {
		FUZZ_CHECK(error.text[0]);
		return;
	}
	if (plant_device_load(path, &d, &error) == 0)
		FUZZ_CHECK(d->n_levels > 0 && cu_topology_check(&d->topology) == 0);
	else
		FUZZ_CHECK(error.text[0]);
	free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *path = fuzz_file(data, size);
	struct ini_error error;
	struct capture *c;

	if (capture_load(path, &c, &error) < 0) {
		FUZZ_CHECK(error.text[0]);
		return 0;
	}
	FUZZ_CHECK(c->n_cards >= 1 && c->n_cards <= SIM_MAX_CARDS);
	for (uint32_t i = 0; i < c->n_cards; i++) {
		FUZZ_CHECK(pci_bdf_is_valid(c->cards[i].bdf));
		FUZZ_CHECK(c->cards[i].n_files <= CAPTURE_MAX_FILES);
		for (uint32_t k = 0; k < c->cards[i].n_files; k++)
			FUZZ_CHECK(c->cards[i].files[k].data[c->cards[i].files[k].size] == '\0' &&
				   !strstr(c->cards[i].files[k].path, ".."));
	}
	make_device(c, path);
	capture_free(c);
	return 0;
}
