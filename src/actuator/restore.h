/* SPDX-License-Identifier: Apache-2.0 */
/* Giving a card back. Used by the running actuator, by the next start after a death, and by
 * --restore; always through the sysfs backend. */
#pragma once

#include "actuator/state-file.h"

struct gpu_baseline {
	enum gpu_perf_level level; /* auto, low or high */
	uint64_t cap_uw;	   /* 0: the card has no cap */
};

/* First full range (level auto, which also drops the hidden clock limits), then the baseline;
 * writes only what reads otherwise, and reads back. 0, or the negative errno of the last of a few
 * tries: -EIO if the card reads back something else. Harmless if repeated. */
int gpu_restore(struct gpu *g, const struct gpu_baseline *b);

/* Full range and nothing more. */
int gpu_full_range(struct gpu *g);

/* Runs job(data) with a deadline: 0, or -ETIMEDOUT, after which data is the job's for good. */
struct restore_runner {
	int (*run)(void *userdata, void (*job)(void *data), void *data, uint32_t deadline_ms);
	void *userdata;
	uint32_t deadline_ms; /* of each card */
};

/* Restores each saved card that is still the same card under the same bind, through writer, and
 * through runner so that one that hangs keeps none of the others; without a runner right here.
 * Those that could not be restored go to *ret_left. Logs; failures at log level failure_level. 0,
 * -ETIMEDOUT if a card did not answer, or -EIO if one is left. */
int restore_saved(const struct gpu_backend *writer, const char *sysfs_root,
		  const struct saved_state *s, const struct restore_runner *runner,
		  int failure_level, struct saved_state *ret_left);

/* The same from the state file, which keeps what is left or goes; --restore, without a runner.
 * Takes no lock, may be repeated. Also the negative errno of the file. */
int restore_from_file(const struct gpu_backend *writer, const char *sysfs_root,
		      const char *state_path, const char *boot_id,
		      const struct restore_runner *runner);
