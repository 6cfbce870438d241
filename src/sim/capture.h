/* SPDX-License-Identifier: Apache-2.0 */
/* The files of cards that cofrisctl debug bundle has put into a tar, to make simulated cards of. A
 * tar may come from anyone: nothing of it is unpacked, and what is kept is bounded. */
#pragma once

#include "base/ini-file.h"
#include "base/macros.h"
#include "base/parse.h"
#include "plant/plant.h"
#include "sim/sim-card.h"
#include <stdbool.h>
#include <stddef.h>

#define CAPTURE_MAX_FILES 256
#define CAPTURE_PATH_MAX  96

struct capture_file {
	char path[CAPTURE_PATH_MAX]; /* "pp_dpm_sclk", "hwmon/name", "kfd/properties" */
	char *data;		     /* with a NUL behind it */
	size_t size;
};

struct capture_card {
	char bdf[PCI_BDF_LENGTH + 1];
	uint32_t n_files;
	struct capture_file files[CAPTURE_MAX_FILES];
};

/* Cards of one kind: those that are of another than the first are left out. */
struct capture {
	uint32_t n_cards, n_others;
	struct capture_card cards[SIM_MAX_CARDS];
};

/* 0, or a negative errno with *ret_error filled (its line is 0): -EBADMSG for what is no tar or has
 * no card, -E2BIG for one beyond all bounds, or the errno of reading. */
int capture_load(const char *path, struct capture **ret, struct ini_error *ret_error);
struct capture *capture_free(struct capture *c);
DEFINE_CLEANUP(struct capture *, capture_free)

/* NULL: not captured. */
const struct capture_file *capture_find(const struct capture_card *c, const char *path);
/* The number that a file holds; false if it holds none. */
bool capture_number(const struct capture_card *c, const char *path, uint64_t *ret);
uint32_t capture_pci_device_id(const struct capture_card *c);

/* Writes at to_path the profile base_path with what the first card's files tell in place of its own
 * values: identity, topology, memory, clocks, power caps, temperatures. base is what base_path
 * holds. 0, or a negative errno with *ret_error filled. */
int capture_write_device(const struct capture *c, const char *base_path,
			 const struct plant_device *base, const char *to_path,
			 struct ini_error *ret_error);
