/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/record-format.h"
#include <stddef.h>

/* RECORD_NAME fields are taken and put as this. */
_Static_assert(sizeof(enum governor_reason) == sizeof(unsigned int), "enums are ints");

static const char *state_name(unsigned int i)
{
	static const char *const names[] = {"no-worker", "ok", "missing"};

	return names[i];
}

static const char *action_name(unsigned int i)
{
	static const char *const names[] = {"release", "set", "hold"};

	return names[i];
}

static const char *gating_name(unsigned int i)
{
	static const char *const names[] = {"none", "se", "cu"};

	return names[i];
}

static const char *reason_name(unsigned int i)
{
	return governor_reason_name((enum governor_reason)i);
}

#define LINE(word, list)                                                                           \
	{                                                                                          \
		.keyword = word, .fields = list, .n_fields = ARRAY_SIZE(list)                      \
	}
#define FIELD(field, kind, limit)                                                                  \
	{                                                                                          \
		.name = #field, .type = kind, .offset = offsetof(struct STRUCT, field),            \
		.max = limit                                                                       \
	}
#define NAMED(field, count, names)                                                                 \
	{                                                                                          \
		.name = #field, .type = RECORD_NAME, .offset = offsetof(struct STRUCT, field),     \
		.max = count, .name_of = names                                                     \
	}

#define STRUCT response_table
static const struct record_field table_fields[] = {
	FIELD(model, RECORD_MODEL_NAME, 0),
	FIELD(simulated, RECORD_BOOL, 1),
	NAMED(gating, 3, gating_name),
	FIELD(slo_ns, RECORD_U64, (uint64_t)RECORD_FINITE_MAX),
	FIELD(t0_ns, RECORD_U64, (uint64_t)RECORD_FINITE_MAX),
	FIELD(percentile, RECORD_U32, 99),
	FIELD(rated_rps, RECORD_FINITE, 0),
	FIELD(overload_rps, RECORD_FINITE, 0),
	FIELD(idle_power_w, RECORD_POWER, 0),
	FIELD(n_rows, RECORD_U32, TABLE_MAX_ROWS),
};
#undef STRUCT

#define STRUCT table_row
static const struct record_field row_fields[] = {
	FIELD(rate_rps, RECORD_FINITE, 0),
	FIELD(cell, RECORD_U32, UINT32_MAX),
	FIELD(max_mhz, RECORD_U32, RECORD_MHZ_MAX),
	FIELD(shape.n_se, RECORD_U16, UINT16_MAX),
	FIELD(shape.cus_per_se, RECORD_U16, UINT16_MAX),
	FIELD(batch, RECORD_U32, UINT32_MAX),
	FIELD(workers, RECORD_U32, UINT32_MAX),
	FIELD(power_w, RECORD_POWER, 0),
	FIELD(tail_ns, RECORD_FINITE, 0),
	FIELD(tail_upper_ns, RECORD_FINITE, 0),
	FIELD(service_ns, RECORD_FINITE, 0),
	FIELD(wait_ns, RECORD_FINITE, 0),
	FIELD(flags, RECORD_U32, UINT32_MAX),
};
#undef STRUCT

#define STRUCT response_menu
static const struct record_field menu_fields[] = {
	FIELD(model, RECORD_MODEL_NAME, 0),
	FIELD(simulated, RECORD_BOOL, 1),
	NAMED(gating, 3, gating_name),
	FIELD(slo_ns, RECORD_U64, (uint64_t)RECORD_FINITE_MAX),
	FIELD(t0_ns, RECORD_U64, (uint64_t)RECORD_FINITE_MAX),
	FIELD(percentile, RECORD_U32, 99),
	FIELD(rated_rps, RECORD_FINITE, 0),
	FIELD(overload_rps, RECORD_FINITE, 0),
	FIELD(n_cus, RECORD_U32, UINT16_MAX),
	FIELD(n_se, RECORD_U32, CU_MAX_SE),
	FIELD(baseline, RECORD_U32, MENU_MAX_OPTIONS - 1),
	FIELD(row0_cell, RECORD_U32, UINT32_MAX),
	FIELD(n_rates, RECORD_U32, TABLE_MAX_ROWS),
	FIELD(n_clocks, RECORD_U32, SURFACE_MAX_LEVELS),
	FIELD(n_options, RECORD_U32, MENU_MAX_OPTIONS),
};
#undef STRUCT

#define STRUCT menu_clock
static const struct record_field clock_fields[] = {
	FIELD(max_mhz, RECORD_U32, RECORD_MHZ_MAX),
	FIELD(idle_w, RECORD_FINITE, 0),
	FIELD(cu_w, RECORD_FINITE, 0),
	FIELD(uncore_w, RECORD_FINITE, 0),
};
#undef STRUCT

#define STRUCT menu_option
static const struct record_field option_fields[] = {
	FIELD(cell, RECORD_U32, UINT32_MAX),
	FIELD(clock, RECORD_U32, SURFACE_MAX_LEVELS - 1),
	FIELD(shape.n_se, RECORD_U16, UINT16_MAX),
	FIELD(shape.cus_per_se, RECORD_U16, UINT16_MAX),
	FIELD(full, RECORD_BOOL, 1),
	FIELD(batch, RECORD_U32, UINT32_MAX),
	FIELD(capacity_rps, RECORD_FINITE, 0),
	FIELD(service_ns, RECORD_FINITE, 0),
	FIELD(energy_j, RECORD_SIGNED, 0),
	FIELD(bound_share, RECORD_FINITE, 0),
};
#undef STRUCT

#define STRUCT	 menu_point
#define SHARE(i) FIELD(survival.at[i], RECORD_U16, UINT16_MAX)
_Static_assert(TAIL_SHARES == 10, "all of them are below");
static const struct record_field point_fields[] = {
	FIELD(tail_ns, RECORD_FLOAT, 0),
	FIELD(wait_ns, RECORD_FLOAT, 0),
	FIELD(busy, RECORD_FLOAT, 0),
	FIELD(power_w, RECORD_FLOAT, 0),
	SHARE(0),
	SHARE(1),
	SHARE(2),
	SHARE(3),
	SHARE(4),
	SHARE(5),
	SHARE(6),
	SHARE(7),
	SHARE(8),
	SHARE(9),
};
#undef SHARE
#undef STRUCT

#define STRUCT governor_input
static const struct record_field input_fields[] = {
	FIELD(now_ns, RECORD_U64, UINT64_MAX),
	FIELD(interval_ns, RECORD_U64, UINT64_MAX),
	FIELD(early, RECORD_BOOL, 1),
	FIELD(flags, RECORD_U32, UINT32_MAX),
	FIELD(power_uw, RECORD_U64, UINT64_MAX),
	FIELD(power_cap_uw, RECORD_U64, UINT64_MAX),
	FIELD(power_max_uw, RECORD_U64, UINT64_MAX),
	FIELD(sclk_mhz, RECORD_U32, UINT32_MAX),
	FIELD(busy_percent, RECORD_U32, UINT32_MAX),
	FIELD(applied_max_mhz, RECORD_U32, UINT32_MAX),
};
#undef STRUCT

#define STRUCT governor_model_input
static const struct record_field in_fields[] = {
	NAMED(state, 3, state_name),
	FIELD(workers, RECORD_U32, UINT32_MAX),
	FIELD(arrivals, RECORD_U64, UINT64_MAX),
	FIELD(starts, RECORD_U64, UINT64_MAX),
	FIELD(completions, RECORD_U64, UINT64_MAX),
	FIELD(failures, RECORD_U64, UINT64_MAX),
	FIELD(late, RECORD_U64, UINT64_MAX),
	FIELD(in_flight, RECORD_U64, UINT64_MAX),
	FIELD(waiting, RECORD_U64, UINT64_MAX),
	FIELD(woken, RECORD_BOOL, 1),
	FIELD(oldest_age_ns, RECORD_U64, UINT64_MAX),
	FIELD(busy_ns, RECORD_U64, UINT64_MAX),
	FIELD(executions, RECORD_U64, UINT64_MAX),
	FIELD(sojourn_ns, RECORD_U64, UINT64_MAX),
	FIELD(sojourn_p95_ns, RECORD_U64, UINT64_MAX),
	FIELD(whole_interval, RECORD_BOOL, 1),
	FIELD(mask_follows, RECORD_BOOL, 1),
	FIELD(mask_unknown, RECORD_BOOL, 1),
	FIELD(batch_follows, RECORD_BOOL, 1),
	FIELD(acknowledged, RECORD_BOOL, 1),
	FIELD(held, RECORD_BOOL, 1),
};
#undef STRUCT

#define STRUCT governor_decision
static const struct record_field decision_fields[] = {
	FIELD(now_ns, RECORD_U64, UINT64_MAX),
	FIELD(number, RECORD_U64, UINT64_MAX),
	NAMED(action, 3, action_name),
	NAMED(reason, GOVERNOR_REASON_MAX, reason_name),
	FIELD(max_mhz, RECORD_U32, UINT32_MAX),
	FIELD(power_cap_uw, RECORD_U64, UINT64_MAX),
	FIELD(predicted_power_w, RECORD_DOUBLE, 0),
	FIELD(changed, RECORD_BOOL, 1),
	FIELD(again_ns, RECORD_U64, UINT64_MAX),
};
#undef STRUCT

#define STRUCT governor_model_decision
static const struct record_field out_fields[] = {
	FIELD(rate_rps, RECORD_DOUBLE, 0),
	FIELD(demand_rps, RECORD_DOUBLE, 0),
	FIELD(row, RECORD_U32, UINT32_MAX),
	FIELD(clock_alone, RECORD_BOOL, 1),
	FIELD(shape.n_se, RECORD_U16, UINT16_MAX),
	FIELD(shape.cus_per_se, RECORD_U16, UINT16_MAX),
	FIELD(max_batch, RECORD_U32, UINT32_MAX),
	FIELD(max_wait_ns, RECORD_U64, UINT64_MAX),
	FIELD(boost_wait_ns, RECORD_U64, UINT64_MAX),
	FIELD(tail_ns, RECORD_DOUBLE, 0),
	FIELD(service_factor, RECORD_DOUBLE, 0),
	FIELD(planned_factor, RECORD_DOUBLE, 0),
	FIELD(stale, RECORD_U32, UINT32_MAX),
	NAMED(reason, GOVERNOR_REASON_MAX, reason_name),
};
#undef STRUCT

const struct record_line record_line_table = LINE("table", table_fields);
const struct record_line record_line_row = LINE("row", row_fields);
const struct record_line record_line_menu = LINE("menu", menu_fields);
const struct record_line record_line_clock = LINE("clock", clock_fields);
const struct record_line record_line_option = LINE("option", option_fields);
const struct record_line record_line_point = LINE("point", point_fields);
const struct record_line record_line_input = LINE("input", input_fields);
const struct record_line record_line_in = LINE("in", in_fields);
const struct record_line record_line_decision = LINE("decision", decision_fields);
const struct record_line record_line_out = LINE("out", out_fields);
