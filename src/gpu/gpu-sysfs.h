/* SPDX-License-Identifier: Apache-2.0 */
/* A card's files, read and written by ourselves. The sysfs backend is this; the rsmi backend uses
 * it to vet a file before the library reads it, and for what the library cannot give. */
#pragma once

#include "gpu/gpu-tree.h"

enum gpu_file {
	GPU_FILE_PERF,
	GPU_FILE_SCLK,
	GPU_FILE_BUSY,
	GPU_FILE_METRICS,
	GPU_FILE_POWER_AVERAGE,
	GPU_FILE_POWER_INPUT,
	GPU_FILE_CAP,
	GPU_FILE_CAP_MIN,
	GPU_FILE_CAP_MAX,
	GPU_FILE_CAP_DEFAULT,
	GPU_FILE_FREQ,
	GPU_FILE_TEMP,
	GPU_FILE_MAX,
};

struct gpu_sysfs;

int gpu_sysfs_new(const char *sysfs_root, const char *bdf, struct gpu_sysfs **ret);
struct gpu_sysfs *gpu_sysfs_free(struct gpu_sysfs *g);
DEFINE_CLEANUP(struct gpu_sysfs *, gpu_sysfs_free)

/* -EOPNOTSUPP where the card has no such file. */
int gpu_sysfs_perf_level(struct gpu_sysfs *g, enum gpu_perf_level *ret);
int gpu_sysfs_levels(struct gpu_sysfs *g, struct dpm_levels *ret);
int gpu_sysfs_number(struct gpu_sysfs *g, enum gpu_file file, uint64_t *ret);
int gpu_sysfs_temp_mc(struct gpu_sysfs *g, int32_t *ret);
/* Notes the outcome r of one reading: its bit on success; a reading that the card does not give
 * leaves the bit clear and is no error; every other error is returned and ends the sample. */
int gpu_sample_note(struct gpu_sample *s, uint32_t field, int r);
/* Observed core clock and throttle bits into s, with their bits in s->fields: hwmon's clock, else
 * that of gpu_metrics, else the starred level. */
int gpu_sysfs_clock(struct gpu_sysfs *g, struct gpu_sample *s);
/* Memory errors into s, with their bit, as counted within the last two seconds: each count is a
 * question to the hardware. Nothing where the card counts none or one of its blocks cannot be read.
 */
void gpu_sysfs_ras(struct gpu_sysfs *g, struct gpu_sample *s);
int gpu_sysfs_info(struct gpu_sysfs *g, struct gpu_info *ret);
int gpu_sysfs_processes(struct gpu_sysfs *g, struct gpu_process *ret, uint32_t max);

/* The lowest and highest level of a range: *ret_first is the highest level at or under min_mhz,
 * *ret_last that at or under max_mhz, each at least level 0. -EOPNOTSUPP if the levels do not
 * ascend, so that no mask of them is a cap. */
int gpu_levels_range(const struct dpm_levels *l, uint32_t min_mhz, uint32_t max_mhz,
		     uint32_t *ret_first, uint32_t *ret_last);

/* A hwmon with the labels that librocm_smi64 accepts: it aborts or gives up on others. */
bool gpu_sysfs_hwmon_is_plain(struct gpu_sysfs *g);
/* Whether gpu_sysfs_temp_mc() is the junction's, not the edge's. */
bool gpu_sysfs_temp_is_junction(struct gpu_sysfs *g);
