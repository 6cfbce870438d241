/* SPDX-License-Identifier: Apache-2.0 */
/* What must be given back, should this process die: one line per card that has been written to.
 * The file holds for one boot, one card and one bind of the driver. */
#pragma once

#include "gpu/gpu.h"

struct saved_card {
	char bdf[PCI_BDF_LENGTH + 1];
	uint64_t unique_id, bind;
	enum gpu_perf_level level; /* to give back: auto, low or high */
	uint64_t cap_uw;	   /* to give back; 0: the card has no cap */
	uint32_t max_mhz;	   /* written; with the rest, for who reads the file */
	uint64_t power_cap_uw;
	uint32_t lease_ms, uid;
	int32_t pid;
};

struct saved_state {
	uint32_t n;
	struct saved_card cards[GPU_MAX_CARDS];
};

/* Replaces the file (mode 0600) at once; without cards it is removed. 0 or a negative errno. */
int state_file_save(const char *path, const char *boot_id, const struct saved_state *s);
/* -ENOENT without a file, -ESTALE for one of another boot, -EPERM if it is not our own plain file,
 * -EBADMSG for another content. */
int state_file_load(const char *path, const char *boot_id, struct saved_state *ret);

/* This boot's id, from /proc. */
int boot_id_read(char ret[40]);
