/* SPDX-License-Identifier: Apache-2.0 */
/* One card behind one table of operations. Only the actuator uses this. Requests are in MHz, never
 * in level bits. Nothing here keeps a lease or a baseline: that is the actuator's. */
#pragma once

#include "base/macros.h"
#include "base/parse.h"
#include <stdbool.h>
#include <stdint.h>

#define GPU_MAX_LEVELS	  32
#define GPU_MAX_CARDS	  16
#define GPU_MAX_SE	  32
#define GPU_MAX_PROCESSES 32

enum gpu_perf_level {
	GPU_PERF_AUTO,
	GPU_PERF_LOW,
	GPU_PERF_HIGH,
	GPU_PERF_MANUAL,
	GPU_PERF_OTHER, /* a level cofris never sets (profile_*, perf_determinism) */
	GPU_PERF_UNKNOWN,
};
const char *gpu_perf_level_name(enum gpu_perf_level level);

/* What a card is; fixed while the driver stays bound. */
struct gpu_info {
	char bdf[PCI_BDF_LENGTH + 1];
	uint64_t unique_id; /* 0 if the card has none */
	char name[64], gfx[16];
	uint32_t n_cus, n_se, n_sh_per_se, n_xcc;
	uint8_t active_cus[GPU_MAX_SE]; /* per SE; even split where the driver does not say */
	uint32_t n_levels, level_mhz[GPU_MAX_LEVELS]; /* ascending */
	uint64_t cap_min_uw, cap_max_uw, cap_default_uw;
	bool can_cap_clock, can_cap_power; /* the files are there and writable by us */
	bool simulated;			   /* its folder is not on a sysfs */
	uint32_t kfd_gpu_id;
};

/* One reading; a bit per field says whether the card gave it, so that 0 W and "no sensor" differ.
 */
enum gpu_sample_field {
	GPU_HAS_POWER = 1u << 0,
	GPU_HAS_BUSY = 1u << 1,
	GPU_HAS_SCLK = 1u << 2,
	GPU_HAS_TEMP = 1u << 3,
	GPU_HAS_CAP = 1u << 4,
	GPU_HAS_PERF = 1u << 5,
	GPU_HAS_THROTTLE = 1u << 6,
	GPU_HAS_RAS = 1u << 7,
};
/* The bits of throttle_status that are temperatures (edge to skin; smu11_driver_if.h, Vega20 and
 * Arcturus). The others are current and power limits: a card at its power cap is not too hot. */
#define GPU_THROTTLE_THERMAL 0x7feu
struct gpu_sample {
	uint32_t fields;
	uint64_t taken_ns; /* when it was read */
	uint64_t power_uw, cap_uw;
	uint32_t busy_percent, sclk_mhz;
	int32_t temp_mc; /* junction, else edge */
	enum gpu_perf_level perf_level;
	uint32_t throttle; /* raw throttle_status bits of gpu_metrics */
	/* Memory errors of all blocks since the driver was loaded, as last counted. */
	uint64_t ras_uncorrectable, ras_correctable;
};

struct gpu_process {
	int32_t pid;
	uint32_t n_queues;
};

struct gpu;
struct gpu_backend;

/* The operations. Each returns 0 or a negative errno: -EOPNOTSUPP where the card lacks the knob,
 * -EBADMSG for files whose contents are not what the kernel writes, -ENODEV if the card went away,
 * -EPERM during a reset, -EACCES without rights, otherwise the write's or read's own errno (-EINVAL
 * for a value that the driver refused) or -EIO. All may block in the driver. */
struct gpu_ops {
	const char *name;
	/* Opens the card at bdf below sysfs_root ("/sys" but for tests). */
	int (*open)(const struct gpu_backend *backend, const char *sysfs_root, const char *bdf,
		    struct gpu **ret);
	void (*close)(struct gpu *g);
	int (*info)(struct gpu *g, struct gpu_info *ret);
	/* Clock limits for everything from the lowest level to max_mhz: goes through manual. Rounds
	 * max_mhz down to a level (up to the lowest). *ret_max_mhz is what was written; that the
	 * level reads manual afterwards is for the caller to see (sample). */
	int (*cap_clock)(struct gpu *g, uint32_t min_mhz, uint32_t max_mhz, uint32_t *ret_max_mhz);
	int (*set_perf_level)(struct gpu *g, enum gpu_perf_level level);
	int (*set_power_cap)(struct gpu *g, uint64_t cap_uw);
	int (*get_perf_level)(struct gpu *g, enum gpu_perf_level *ret);
	int (*get_power_cap)(struct gpu *g, uint64_t *ret_uw);
	int (*sample)(struct gpu *g, uint64_t now_ns, struct gpu_sample *ret);
	/* Processes with compute queues on the card, from KFD's list. Returns their number stored.
	 */
	int (*processes)(struct gpu *g, struct gpu_process *ret, uint32_t max);
};

/* Every backend embeds this first. */
struct gpu {
	const struct gpu_ops *ops;
};

/* Backends. gpu_backend_sysfs() always works; gpu_backend_rsmi_load() dlopens librocm_smi64
 * (.so.1, then newer sonames), heals its mutexes, clears its debug variables and initialises it:
 * -ENOENT without the library, -ENODEV if it finds no card. The library can hang and abort: call
 * only on a thread that may be given up, in a process that may be restarted. */
const struct gpu_backend *gpu_backend_sysfs(void);
int gpu_backend_rsmi_load(const char *sysfs_root, const struct gpu_backend **ret);

int gpu_open(const struct gpu_backend *b, const char *sysfs_root, const char *bdf,
	     struct gpu **ret);
struct gpu *gpu_close(struct gpu *g);
DEFINE_CLEANUP(struct gpu *, gpu_close)

/* Addresses of the AMD cards with a KFD node below sysfs_root, by own sysfs code. Returns the
 * number stored (at most max), or a negative errno. */
int gpu_list(const char *sysfs_root, char (*ret_bdf)[PCI_BDF_LENGTH + 1], uint32_t max);

/* A number that stays while the driver stays bound to the card and differs after it is bound anew:
 * the inode of the card's "driver" link, which sysfs never gives out twice in a boot (its times are
 * no use: they are those of the inode cache). 0 where there is no such link. -ENODEV without the
 * card. */
int gpu_bind_identity(const char *sysfs_root, const char *bdf, uint64_t *ret);

/* The card's unique id by one read: 0 if it has none or does not tell. -ENODEV without the card. */
int gpu_unique_id(const char *sysfs_root, const char *bdf, uint64_t *ret);

/* Opens the card's performance level for writing: a single write of "auto" there is full range,
 * also from a signal handler. Returns the fd or a negative errno. */
int gpu_open_perf_level(const char *sysfs_root, const char *bdf);
