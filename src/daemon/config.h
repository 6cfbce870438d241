/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's configuration (cofris.conf(5)): read whole, checked whole, then never changed. A
 * reload builds another one. Every key is one row of the table in config.c. */
#pragma once

#include "base/macros.h"
#include "base/parse.h"
#include "response/table.h"
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CONFIG_MAX_GPUS	  32
#define CONFIG_MAX_MODELS 64 /* as many as one governor takes */
#define CONFIG_MAX_ALLOW  32
#define CONFIG_VALUE_MAX  192 /* a value is shorter than a line, see INI_LINE_MAX */
#define CONFIG_PATH_MAX	  (PATH_MAX + 256)

enum config_mode { CONFIG_GOVERN, CONFIG_OBSERVE };
enum config_on_foreign_load { CONFIG_FOREIGN_FULL_SPEED, CONFIG_FOREIGN_IGNORE };
enum config_on_drift { CONFIG_DRIFT_REASSERT, CONFIG_DRIFT_YIELD, CONFIG_DRIFT_ALERT };

struct config_daemon {
	uint64_t poll_ns;
	uint32_t mode; /* enum config_mode */
	bool log_decisions;
	bool allow_simulated;
	uint32_t max_connections, max_connections_per_uid;
};

struct config_gpu {
	char bdf[PCI_BDF_LENGTH + 1]; /* "*": every card without a section of its own */
	bool enabled;
	uint32_t gating;       /* enum table_gating */
	uint64_t power_cap_uw; /* 0: none */
	bool take_over;
	uint32_t on_foreign_load, on_drift;
};

struct config_slo {
	double factor; /* of T0, if ns == 0 */
	uint64_t ns;
};

struct config_allow {
	uint32_t n;
	uid_t uids[CONFIG_MAX_ALLOW];
};

struct config_model {
	char name[MODEL_NAME_MAX + 1];
	struct config_slo slo;
	uint32_t percentile;
	double rated_rps; /* 0: the surface's */
	char policy[CONFIG_VALUE_MAX];
	char surface[CONFIG_VALUE_MAX]; /* "auto" or an absolute path */
	bool use_mask;
	uint32_t max_batch, priority;
	struct config_allow allow; /* beside root */
};

struct config {
	struct config_daemon daemon;
	uint32_t n_gpus, n_models;
	struct config_gpu gpus[CONFIG_MAX_GPUS]; /* a card's own keys already above those of "*" */
	struct config_model models[CONFIG_MAX_MODELS];
};

struct config_error {
	char file[CONFIG_PATH_MAX];
	unsigned int line; /* 0: the file as a whole */
	char text[320];
};

/* Where to read. With file set only that one, which must exist. Otherwise the standard set below
 * root ("" but for tests): usr/lib/cofris/cofris.conf, etc/cofris.conf, then etc/cofris.conf.d
 * with every *.conf in byte order of the names; those that are missing are passed over, and a later
 * file's value wins. Within one file a section or key may stand only once. */
struct config_source {
	const char *file, *root;
};

/* Returns 0, or a negative errno with *ret_error filled: -EBADMSG for what is not understood,
 * -ERANGE for a value out of range, -EEXIST for a duplicate, -E2BIG for too many sections, or the
 * errno of reading. The caller frees *ret by config_free(). */
int config_load(const struct config_source *source, struct config **ret,
		struct config_error *ret_error);
struct config *config_free(struct config *c);
DEFINE_CLEANUP(struct config *, config_free)

/* "file:line: text", or without the line if it is about the whole file. */
/* Room for any of them. */
#define CONFIG_TEXT_MAX (CONFIG_PATH_MAX + 400)
void config_error_format(const struct config_error *e, char *buffer, size_t size);

/* The section in force for a card: its own, else "*", else NULL. */
const struct config_gpu *config_find_gpu(const struct config *c, const char *bdf);
const struct config_model *config_find_model(const struct config *c, const char *name);
/* Whether uid may connect as a worker of the model: root always, others by allow. */
bool config_allows(const struct config_model *m, uid_t uid);

/* Names of the values, as they stand in the file. */
const char *config_mode_name(uint32_t mode);
const char *config_gating_name(uint32_t gating);
const char *config_on_drift_name(uint32_t on_drift);

/* For documents and tests: every key that the table knows, in order; NULL past the end. */
struct config_key {
	const char *section, *key, *expected, *fallback;
};
bool config_key_at(unsigned int index, struct config_key *ret);
