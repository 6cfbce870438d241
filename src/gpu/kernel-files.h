/* SPDX-License-Identifier: Apache-2.0 */
/* Strict parsers for the amdgpu and KFD files that cofris reads. They take the whole text of a file
 * and accept exactly what the kernel prints; anything else is -EBADMSG, and outputs are written
 * only on success. They also guard librocm_smi64, which aborts on text that it does not expect. */
#pragma once

#include "gpu/gpu.h"
#include <stddef.h>

/* pp_dpm_sclk: "0: 925Mhz \n1: 930Mhz *\n". No line has a star where the clock lies between levels.
 * The text of deep sleep ("S: 132Mhz *") and of a failed card ("unavailable") is refused. */
struct dpm_levels {
	uint32_t n, mhz[GPU_MAX_LEVELS]; /* in the file's order, which need not ascend */
	int current;			 /* index of the first starred line, -1 without one */
};
int dpm_levels_parse(const char *text, struct dpm_levels *ret);
/* Whether the levels ascend strictly, so that a mask of the lowest k+1 is a cap. */
bool dpm_levels_ascend(const struct dpm_levels *l);

/* power_dpm_force_performance_level. Words that cofris never sets are GPU_PERF_OTHER; the kernel's
 * own "unknown" is GPU_PERF_UNKNOWN. */
int perf_level_parse(const char *text, enum gpu_perf_level *ret);

/* One number and at most one newline: hwmon files, gpu_busy_percent, gpu_id. */
int number_file_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret);
int signed_file_parse(const char *text, int64_t min, int64_t max, int64_t *ret);
/* Hexadecimal with or without "0x": vendor, device, unique_id. */
int hex_file_parse(const char *text, uint64_t *ret);
/* One line of printable text; blanks at the end and the newline go. Cut to size - 1 bytes. */
int line_file_parse(const char *text, char *ret, size_t size);

/* ras/BLOCK_err_count: "ue: 0\nce: 0\n", and from kernel 6.8 on "de: 0\n" (deferred errors, which
 * are corrected) behind it. */
int ras_count_parse(const char *text, uint64_t *ret_uncorrectable, uint64_t *ret_correctable);

/* gpu_metrics, of which only what no other file tells is kept. The header's size and revision
 * decide the layout. v1.0 to v1.3 are known; another version is -EPROTONOSUPPORT, a size that is
 * not the version's -EBADMSG. Readings that the card does not fill (all ones) have no bit in
 * fields. */
struct gpu_metrics {
	uint32_t fields; /* enum gpu_sample_field: SCLK, THROTTLE */
	uint32_t sclk_mhz, throttle;
};
int gpu_metrics_parse(const void *bytes, size_t size, struct gpu_metrics *ret);

/* A KFD topology node's "properties". Every line must be "key number"; of the many keys these are
 * kept. Keys that a node lacks read 0, n_xcc 1; a key given twice is refused. */
struct kfd_properties {
	uint64_t simd_count, simd_per_cu, array_count, simd_arrays_per_engine, cu_per_simd_array;
	uint64_t gfx_target_version, vendor_id, device_id, location_id, domain, unique_id, num_xcc;
};
int kfd_properties_parse(const char *text, struct kfd_properties *ret);
/* "dddd:bb:dd.f" of the node's domain and location. -EBADMSG if they do not fit one. */
int kfd_properties_bdf(const struct kfd_properties *p, char ret[PCI_BDF_LENGTH + 1]);
/* The compute layout: CUs, SEs, SHs, XCCs, even split of the CUs over the SEs, gfx name. -EBADMSG
 * if the numbers contradict each other. */
int kfd_properties_layout(const struct kfd_properties *p, struct gpu_info *ret);
