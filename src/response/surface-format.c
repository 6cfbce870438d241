/* SPDX-License-Identifier: Apache-2.0 */
#include "response/surface-format.h"

#include <string.h>

/* Limits only keep nonsense and overflow out; no card comes near them. */
#define RATE_MAX 1e9
#define WATT_MAX 1e5
#define TIME_MAX 1e15 /* ns, 11 days */

#define HEADER(type, key, path, ...)                                                               \
	{                                                                                          \
		.name = key, .kind = FIELD_##type, .offset = offsetof(struct surface, path),       \
		__VA_ARGS__                                                                        \
	}
#define TEXT(key, path) HEADER(TEXT, key, path, .max = sizeof(((struct surface *)NULL)->path) - 1)
#define CELL(type, path, ...)                                                                      \
	{                                                                                          \
		.name = #path, .kind = FIELD_##type,                                               \
		.offset = offsetof(struct surface_cell, path), __VA_ARGS__                         \
	}
#define LOAD(type, path, ...)                                                                      \
	{                                                                                          \
		.name = #path, .kind = FIELD_##type,                                               \
		.offset = offsetof(struct surface_load, path), __VA_ARGS__                         \
	}
#define RANGE(low, high) .min = (low), .max = (high)

static const struct field cell_fields[] = {
	CELL(U32, max_mhz, RANGE(1, 100000)),
	CELL(U16, shape.n_se, RANGE(1, CU_MAX_SE)),
	CELL(U16, shape.cus_per_se, RANGE(1, CU_MASK_WORDS * 32)),
	CELL(U32, batch, RANGE(1, 4096)),
	CELL(U32, workers, RANGE(1, SURFACE_MAX_WORKERS)),
	CELL(DOUBLE, capacity_rps, RANGE(1e-6, RATE_MAX)),
	CELL(DOUBLE, capacity_se, RANGE(0, RATE_MAX)),
	CELL(DOUBLE, power_w, RANGE(1e-3, WATT_MAX)),
	CELL(DOUBLE, power_se, RANGE(0, WATT_MAX)),
	CELL(DOUBLE, energy_j, RANGE(0, 1e9)),
	CELL(DOUBLE, mean_mhz, RANGE(1, 100000)),
	CELL(DOUBLE, temp_c, RANGE(-100, 1000)),
	CELL(U32, samples, RANGE(1, 1e9)),
	CELL(FLAGS, flags),
	CELL(QUANTILES, service_ns, RANGE(1, TIME_MAX)),
};

static const struct field load_fields[] = {
	LOAD(U32, max_mhz, RANGE(1, 100000)),
	LOAD(U16, shape.n_se, RANGE(1, CU_MAX_SE)),
	LOAD(U16, shape.cus_per_se, RANGE(1, CU_MASK_WORDS * 32)),
	LOAD(U32, batch, RANGE(1, 4096)),
	LOAD(U32, workers, RANGE(1, SURFACE_MAX_WORKERS)),
	LOAD(DOUBLE, offered_rps, RANGE(0, RATE_MAX)),
	LOAD(DOUBLE, power_w, RANGE(1e-3, WATT_MAX)),
	LOAD(DOUBLE, p50_ns, RANGE(1, TIME_MAX)),
	LOAD(DOUBLE, p95_ns, RANGE(1, TIME_MAX)),
	LOAD(DOUBLE, p99_ns, RANGE(1, TIME_MAX)),
	LOAD(U32, samples, RANGE(1, 1e9)),
};

const struct row_format surface_cell_format = {
	.name = "cell",
	.fields = cell_fields,
	.n_fields = ARRAY_SIZE(cell_fields),
	.n_columns = ARRAY_SIZE(cell_fields) - 1 + SURFACE_QUANTILES,
};
const struct row_format surface_load_format = {
	.name = "load",
	.fields = load_fields,
	.n_fields = ARRAY_SIZE(load_fields),
	.n_columns = ARRAY_SIZE(load_fields),
};

const struct field surface_header_fields[] = {
	TEXT("model", model),
	TEXT("model_digest", model_digest),
	TEXT("gpu_name", gpu_name),
	TEXT("gfx", gfx),
	TEXT("driver", driver),
	TEXT("date", date),
	HEADER(SOURCE, "source", simulated),
	{.name = "clock_mode", .kind = FIELD_WORD, .word = "cap"},
	HEADER(U32, "cus", n_cus, RANGE(1, CU_MASK_WORDS * 32)),
	HEADER(U32, "ses", n_se, RANGE(1, CU_MAX_SE)),
	HEADER(LEVELS, "sclk_levels_mhz", level_mhz, RANGE(1, 100000)),
	HEADER(POWERS, "idle_power_w", idle_power_w, RANGE(0, WATT_MAX)),
	HEADER(POWERS, "active_idle_power_w", active_idle_power_w, RANGE(0, WATT_MAX)),
	HEADER(U32, "workers", workers, RANGE(1, SURFACE_MAX_WORKERS)),
	HEADER(U32, "baseline_batch", baseline_batch, RANGE(1, 4096)),
	HEADER(DOUBLE, "capacity_rps", capacity_rps, RANGE(1e-6, RATE_MAX)),
	HEADER(DOUBLE, "rated_rps", rated_rps, RANGE(1e-6, RATE_MAX)),
	HEADER(U32, "percentile", percentile, RANGE(1, 99)),
	HEADER(DOUBLE, "t0_ns", t0_ns, RANGE(1, TIME_MAX)),
	HEADER(DOUBLE, "sensor_hz", sensor_hz, RANGE(0, 1e6)),
	HEADER(DOUBLE, "settle_ms", settle_ms, RANGE(0, 1e6)),
	HEADER(U32, "cells", n_cells, RANGE(0, SURFACE_MAX_CELLS), .whole_file_only = true),
	HEADER(U32, "loads", n_loads, RANGE(0, SURFACE_MAX_LOADS), .whole_file_only = true),
	{.name = "cell_columns", .kind = FIELD_COLUMNS, .columns = &surface_cell_format},
	{.name = "load_columns", .kind = FIELD_COLUMNS, .columns = &surface_load_format},
};
const unsigned int surface_n_header_fields = ARRAY_SIZE(surface_header_fields);

const struct surface_flag_name surface_flag_names[3] = {
	{SURFACE_THROTTLED, "throttled"},
	{SURFACE_UNSTABLE, "unstable"},
	{SURFACE_STRUCK, "struck"},
};

/* "shape.n_se" is the column n_se. */
static const char *column_name(const struct field *f)
{
	const char *dot = strchr(f->name, '.');

	return dot ? dot + 1 : f->name;
}

void row_format_columns(const struct row_format *format, char *ret, size_t size)
{
	size_t used = 0;

	*ret = '\0';
	for (unsigned int i = 0; i < format->n_fields && used < size; i++)
		used += (size_t)snprintf(ret + used, size - used, "%s%s%s", i ? "," : "",
					 column_name(&format->fields[i]),
					 format->fields[i].kind == FIELD_QUANTILES ? "[0..100]"
										   : "");
}

bool surface_text_is_plain(const char *s)
{
	for (; *s; s++)
		if (*s < ' ' || *s > '~')
			return false;
	return true;
}
