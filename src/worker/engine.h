/* SPDX-License-Identifier: Apache-2.0 */
/* What executes a model. Times are device time: for an engine on real hardware that is
 * CLOCK_MONOTONIC itself. run() may be called by each slot's thread at the same time, set_mask() by
 * another. */
#pragma once

#include "base/macros.h"
#include <stdbool.h>
#include <stdint.h>

struct engine;

struct engine_options {
	const char *model; /* name, or path of a model file */
	const char *bdf;   /* NULL: the only card */
	uint32_t slots;
	bool idle_kernels; /* instead of the model: empty kernels, back to back */
};

struct engine_ops {
	const char *name, *what;
	/* Whether this machine has what the engine needs. Says nothing. */
	bool (*probe)(void);
	/* Errors are logged. */
	int (*open)(const struct engine_options *o, struct engine **ret);
	void (*close)(struct engine *e);
	/* Whether the card is a simulated one. */
	bool (*simulated)(struct engine *e);
	/* The card's address, or "" if the engine has none. Lives as long as the engine. */
	const char *(*bdf)(struct engine *e);
	const char *(*model)(struct engine *e); /* its name, without a path */
	double (*time_scale)(struct engine *e); /* wall time per device time */
	uint64_t (*device_ns)(struct engine *e, uint64_t wall_ns);
	uint64_t (*wall_ns)(struct engine *e, uint64_t device_ns);
	/* Runs a batch that starts at start_ns (now or past), its time multiplied by factor.
	 * Returns at its end, which is *ret_end_ns exactly; -EINTR if *stop became non-zero. */
	int (*run)(struct engine *e, uint32_t slot, uint32_t batch, double factor,
		   uint64_t start_ns, const _Atomic int *stop, uint64_t *ret_end_ns);
	/* n_bits 0: all CUs. Returns the number of queues changed, or -EINVAL for a mask that
	 * must not reach a queue. */
	int (*set_mask)(struct engine *e, const uint32_t *words, uint32_t n_bits);
	uint32_t (*cus)(struct engine *e); /* of the mask in force */
	/* Core clock at a moment that is not long past, 0 if unknown. */
	uint32_t (*sclk_mhz)(struct engine *e, uint64_t at_ns);
	/* Mean device time of the batches that were timed by the card's own clock, without what the
	 * host adds; NaN if there was none. NULL where services are exact anyway. */
	double (*mean_device_ms)(struct engine *e);
};

struct engine {
	const struct engine_ops *ops;
};

/* By name, or NULL; "auto" is the first of engine_all() that finds what it needs, else NULL.
 * engine_all() is NULL-terminated. */
const struct engine_ops *engine_find(const char *name);
const struct engine_ops *const *engine_all(void);

extern const struct engine_ops engine_hip, engine_plant;
