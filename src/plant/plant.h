/* SPDX-License-Identifier: Apache-2.0 */
/* The model of a GPU: service times, power, heat, clocks and sensors, from kernel classes and
 * published facts (named in profiles/devices). Pure: no I/O but the two loaders, no global state;
 * time comes in as device time in ns from any origin and never runs backwards.
 *
 *   service time  sum over kernel classes of count * max(launch, max(compute, memory) + dispatch)
 *   power         idle + busy share * (uncore * min(1, byte rate while busy / uncore_gbps)
 *                 + ungated CUs * P_CU(f, V))
 *                 + flop rate * e_flop * (V/Vmax)^2 + byte rate * e_byte, + leakage(temperature)
 *   P_CU(f, V)    cu_active_idle_w * (V/Vmax)^2 * (s * f/fmax + 1 - s), s = cu_clock_share
 */
#pragma once

#include "base/ini-file.h"
#include "base/macros.h"
#include "cu-mask/cu-mask.h"
#include <stdbool.h>
#include <stdint.h>

#define PLANT_MAX_LEVELS  32
#define PLANT_MAX_KERNELS 512
#define PLANT_MAX_BATCH	  4096

enum plant_gating { PLANT_GATING_NONE, PLANT_GATING_SE, PLANT_GATING_CU };
enum plant_perf_level {
	PLANT_PERF_AUTO,
	PLANT_PERF_LOW,
	PLANT_PERF_HIGH,
	PLANT_PERF_MANUAL,
};

/* A kind of card, from profiles/devices/NAME.ini: every number there has its source or says
 * "assumed". Read-only after loading; may be shared by threads. */
struct plant_device {
	char name[32];		/* "mi50" */
	char product[96];	/* "Radeon Instinct MI50 16GB" */
	char gfx[16];		/* "gfx906" */
	char asic[16];		/* "vega20" */
	uint32_t pci_device_id; /* 0x66a1 */
	struct cu_topology topology;
	uint32_t physical_cus_per_array; /* KFD's cu_per_simd_array, 16 */
	uint32_t n_levels;
	uint32_t level_mhz[PLANT_MAX_LEVELS]; /* ascending sclk levels */
	double level_mv[PLANT_MAX_LEVELS];    /* core voltage at each level */
	uint32_t mclk_mhz[PLANT_MAX_LEVELS], n_mclk;
	uint64_t vram_bytes;
	/* what one CU holds, and the memory behind it */
	uint32_t simds_per_cu, waves_per_simd, lds_kib, vgpr_kib;
	uint32_t memory_bus_bits, l1_kib, l2_kib;
	/* time */
	double flop_per_clock_cu, efficiency, memory_gbps, cu_gbps, dispatch_us, launch_us;
	double pcie_gbps, copy_us; /* of a copy engine: its rate, and what each copy takes more */
	/* power */
	double idle_w, uncore_w, cu_active_idle_w, pj_per_flop, pj_per_byte;
	double uncore_gbps; /* byte rate of a kernel that keeps the uncore awake */
	double cap_w, cap_min_w, cap_max_w;
	double cu_clock_share; /* part of a CU's active-idle power that falls with the clock too */
	double half_card_saving;  /* share saved by SEs without a CU once half of the SEs have none
				   */
	double idle_active_share; /* share of active-idle power drawn between requests at a clock
				   * above DPM's idle level */
	double leakage_w_per_k;	  /* per K above the temperature of an idle card, at top voltage */
	/* heat: one thermal RC */
	double ambient_c, thermal_ohm_k_per_w, thermal_tau_s, throttle_c, emergency_c;
	double limiter_ms; /* filter and period of the power limiter */
	/* clocks */
	double switch_ms;		   /* from a write to the new clock */
	double dpm_ramp_ms;		   /* how fast auto follows the load */
	double dpm_up_busy, dpm_down_busy; /* shares of busy time */
	double dpm_hold_ms;		   /* below dpm_down_busy for so long: one level down */
	uint32_t dpm_idle_level;	   /* where an idle card comes to rest */
	/* sensors */
	double power_resolution_w, sensor_period_ms, sensor_filter_ms, sensor_noise_w;
};

struct plant_kernel {
	char name[24];
	uint32_t count;	     /* launches per request */
	uint32_t workgroups; /* per launch, at batch 1 */
	double flop, bytes;  /* per launch at batch 1 */
	double fixed_bytes;  /* the part of bytes that does not grow with the batch (weights) */
};

/* A model's request, from profiles/models/NAME.ini. Read-only after loading. */
struct plant_model {
	char name[48];
	uint32_t n_kernels;
	struct plant_kernel kernels[PLANT_MAX_KERNELS];
};

/* Loaders. 0, or a negative errno with *ret_error saying line, field and what was expected. The
 * structs are the caller's (free with free()). */
int plant_device_load(const char *path, struct plant_device **ret, struct ini_error *ret_error);
int plant_model_load(const char *path, struct plant_model **ret, struct ini_error *ret_error);

/* What one execution (a batch) of a model costs at a clock on a mask. */
struct plant_cost {
	double ns;	    /* service time without jitter, alone on the card */
	double flop, bytes; /* work done */
	double busy_cus;    /* mean CUs with a workgroup over ns (for occupancy) */
	double uncore_ns;   /* of ns, launch by launch, that memory and fabric are awake */
};
/* shape must be a shape of the device ({0, 0} = all CUs); batch is 1..PLANT_MAX_BATCH. */
struct plant_cost plant_request_cost(const struct plant_device *d, const struct plant_model *m,
				     uint32_t sclk_mhz, struct cu_shape shape, uint32_t batch);

/* One launch of a kernel, however it came about. */
struct plant_launch {
	double workgroups;	   /* at least 1 */
	double flop_per_workgroup; /* of each */
	double bytes;		   /* of all */
};
struct plant_launch plant_kernel_launch(const struct plant_kernel *k, uint32_t batch);
/* The parts of its time; alone it takes max(launch_us, max(compute_ns, bytes / bytes_per_ns) +
 * dispatch_us), which is what plant_request_cost() sums. */
struct plant_execution {
	double compute_ns;
	double bytes_per_ns;	   /* what the card's memory and the mask's CUs allow */
	double drawn_bytes_per_ns; /* what the mask's CUs alone could draw */
	double busiest;		   /* workgroups that the busiest CU gets */
};
struct plant_execution plant_launch_execution(const struct plant_device *d,
					      const struct plant_launch *l, uint32_t sclk_mhz,
					      struct cu_shape shape);
double plant_launch_ns(const struct plant_device *d, const struct plant_launch *l,
		       uint32_t sclk_mhz, struct cu_shape shape);

/* Core voltage at a clock, mV, interpolated between levels. */
double plant_voltage_mv(const struct plant_device *d, uint32_t sclk_mhz);
/* Active-idle power of one ungated CU, W. */
double plant_cu_active_idle_w(const struct plant_device *d, uint32_t sclk_mhz);
/* CUs that draw active-idle power under a mask of this shape. Without gating that is all of them,
 * less the small saving that cards show with half of their SEs unused (half_card_saving). */
uint32_t plant_ungated_cus(const struct plant_device *d, enum plant_gating gating,
			   struct cu_shape shape);
/* The same for any mask, as the union of several is. */
uint32_t plant_ungated_cus_of_mask(const struct plant_device *d, enum plant_gating gating,
				   const struct cu_mask *mask);

/* Power at one of the device's levels, as far as it does not depend on what runs. */
struct plant_level {
	double cu_w;	  /* active-idle power of one CU */
	double v2;	  /* (V/Vmax)^2 */
	double between_w; /* drawn between requests beyond the idle power */
};
struct plant_level plant_level_of(const struct plant_device *d, uint32_t level);
/* What a card does per ns. */
struct plant_rates {
	double busy_share, ungated_cus, flop, bytes;
	double uncore_share; /* of the time; 0: by the bytes */
};
/* kelvin: above the temperature of an idle card. */
double plant_power_w(const struct plant_device *d, const struct plant_level *l,
		     const struct plant_rates *a, double kelvin);
/* Where an idle card comes to rest. */
double plant_idle_c(const struct plant_device *d);

/* Per-request service-time factor: lognormal with sigma (as 0.02) and mean 1, times stall_factor
 * with probability stall_p. A pure function of (seed, request), the same under every policy. */
double plant_jitter(uint64_t seed, uint64_t request, double sigma, double stall_p,
		    double stall_factor);
/* The uniform and exponential variates that everything random here is made from. */
uint64_t plant_hash(uint64_t seed, uint64_t n);
double plant_uniform(uint64_t seed, uint64_t n);     /* (0, 1) */
double plant_exponential(uint64_t seed, uint64_t n); /* mean 1 */

/* ---- one card's state ---- */

/* What ran on the card between two steps, summed over processes. */
struct plant_activity {
	uint64_t busy_ns;     /* time with at least one kernel running */
	double ungated_cu_ns; /* integral over busy time of the ungated CUs */
	double flop, bytes;
	/* Of busy_ns, that memory and fabric are awake. 0: as the bytes spread evenly over the
	 * step tell, which is exact but where launches of less than uncore_gbps run between
	 * others. */
	double uncore_ns;
};

struct plant_card_options {
	enum plant_gating gating;
	uint64_t seed;	     /* sensor noise */
	double time_factor;  /* the card's own service-time factor, 1.0; for those who time work */
	double power_factor; /* of all its power, 1.0 */
};

struct plant_card;
/* The device must outlive the card. Starts idle at ambient temperature, in auto, at now_ns.
 * -EINVAL for a factor that is not positive and finite. */
int plant_card_new(const struct plant_device *d, const struct plant_card_options *o,
		   uint64_t now_ns, struct plant_card **ret);
struct plant_card *plant_card_free(struct plant_card *c);
DEFINE_CLEANUP(struct plant_card *, plant_card_free)

/* Settings as the driver takes them. They act from the card's last step on; the clock follows
 * switch_ms later. A second write before that replaces the first one and waits its own time. A
 * level of low or high leaves its range behind for manual, as the driver does. */
void plant_card_set_perf_level(struct plant_card *c, enum plant_perf_level level);
/* Soft limits as level indices (lowest <= highest < n_levels), obeyed in manual only; a level of
 * auto resets them to the full range. */
void plant_card_set_range(struct plant_card *c, uint32_t lowest, uint32_t highest);
void plant_card_set_cap_uw(struct plant_card *c, uint64_t cap_uw);

/* Advances to now_ns with what ran meanwhile: clocks (DPM, cap and thermal throttling), heat,
 * energy, sensors. Any step length works: what changes inside changes at its own moment. */
/* busy_ns is taken as at most the length of the step, and all work as spread evenly over it. */
void plant_card_step(struct plant_card *c, uint64_t now_ns, const struct plant_activity *a);

/* The same for those who work out what runs: goes on at these rates to until_ns, or only to where
 * the clock changes, so that what runs can be worked out anew. Returns the time reached, which is
 * where the card stands if a range's time has come that changes its clock. */
uint64_t plant_card_advance(struct plant_card *c, uint64_t until_ns, const struct plant_rates *a);
/* Of the state below, at no cost: the true clock's level, and energy_j. */
uint32_t plant_card_level(const struct plant_card *c);
double plant_card_energy_j(const struct plant_card *c);

/* The state after the last step. "sensor" values have the real resolution and staleness. */
struct plant_card_state {
	uint64_t now_ns;
	enum plant_perf_level perf_level;
	uint32_t range_low, range_high; /* soft limits, level indices; no file shows them */
	uint64_t cap_uw;
	uint32_t sclk_mhz;	/* true core clock now */
	uint32_t sclk_next_mhz; /* the clock after the pending switch, or sclk_mhz */
	uint64_t sclk_next_ns;	/* when it switches; UINT64_MAX if none is pending */
	double power_w;		/* true power over the last step */
	double energy_j;	/* true energy since creation */
	double temp_c;
	bool throttled_thermal, throttled_power;
	uint64_t sensor_power_uw;
	uint32_t sensor_busy_percent;
	uint32_t sensor_sclk_mhz;
};
void plant_card_get(const struct plant_card *c, struct plant_card_state *ret);
const struct plant_card_options *plant_card_get_options(const struct plant_card *c);
