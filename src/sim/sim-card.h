/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated machine as its processes share it: a mapping of N cards, each with the clock's
 * recent history (written by cofris-sim alone) and one slot per process that runs work on it
 * (written by that process alone). cofris-sim steps the plant from the slots; whoever executes
 * work (the plant engine of cofris-worker, the simulated libhsakmt) reads the clock from here and
 * accounts for what it ran.
 *
 * Device time: nanoseconds since the simulator started, divided by its time scale. Everything
 * here is device time unless the name says wall_ns (CLOCK_MONOTONIC). Execution times are exact
 * in device time, however late the host wakes a process: work is placed at virtual start times and
 * integrated over the clock's history. */
#pragma once

#include "base/macros.h"
#include "plant/plant.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SIM_MAGIC	  0x6d697363u
#define SIM_VERSION	  2
#define SIM_MAX_CARDS	  8
#define SIM_SLOTS	  64 /* processes per card */
#define SIM_MAX_CUS	  (32 * CU_MASK_WORDS)
#define SIM_LOAD_ONE	  256	       /* one wave slot */
#define SIM_CLOCK_HISTORY 256	       /* ring of clock changes */
#define SIM_ENV		  "COFRIS_SIM" /* path of the shared file, set for COMMAND */

/* An entry holds from its from_ns on and takes back every earlier one that starts then or later: a
 * switch that is known beforehand is entered with its time to come, and may be replaced. */
struct sim_clock {
	uint64_t from_ns; /* device time from which this clock holds */
	uint32_t sclk_mhz;
	uint32_t reserved;
};

/* A process with queues on the card. Single writer: the owner, but for release after its death. */
struct sim_slot {
	_Alignas(64) _Atomic int32_t pid; /* 0: free; negative: being freed by that process */
	_Atomic uint32_t n_queues;
	_Atomic uint32_t shape;	   /* n_se << 16 | cus_per_se of the mask under which it runs or
				    * last ran; 0: all CUs */
	_Atomic uint32_t sequence; /* odd while the fields below change (seqlock) */
	/* Work finished or accounted for up to accounted_ns ... */
	_Atomic uint64_t accounted_ns, busy_ns, ungated_cu_ns;
	_Atomic uint64_t flop_k, bytes; /* thousands of FLOP; bytes */
	/* ... and the work running since then, until running_until_ns (0: none), at these rates. */
	_Atomic uint64_t running_until_ns;
	_Atomic uint32_t running_cus; /* ungated CUs meanwhile */
	_Atomic uint64_t flop_per_us, bytes_per_us;
	/* What that work demands of the card since load_since_ns, which others share with: wave
	 * slots of each CU by its mask bit, in 1/SIM_LOAD_ONE, and memory as if it were alone.
	 * Where none runs, that is when it ended. */
	_Atomic uint64_t load_since_ns, demand_bytes_per_us;
	_Atomic uint64_t load_until_ns; /* later than running_until_ns: more of it is queued */
	_Atomic uint16_t load[SIM_MAX_CUS];
	_Atomic uint32_t ends_with_process; /* else running work outlives its process */
	_Atomic uint64_t vram_bytes;	    /* held by the process; not under the seqlock */
};

struct sim_card {
	char bdf[16];
	uint32_t gating;		     /* enum plant_gating */
	uint32_t n_cus;			     /* all CUs of the card */
	double time_factor;		     /* of service times on this very card */
	_Alignas(64) _Atomic uint32_t epoch; /* futex word: bumped with each clock change and
					      * each change of who is running */
	_Atomic uint32_t clock_head;	     /* number of entries ever written */
	/* Faults for those who stand in for the driver. */
	_Atomic uint64_t vram_limit_bytes;  /* that all processes get together; 0: all there is */
	_Atomic uint64_t gpu_fault_address; /* of the last page fault ... */
	_Atomic uint32_t n_gpu_faults;	    /* ... of so many so far */
	struct sim_clock clock[SIM_CLOCK_HISTORY];
	struct sim_slot slots[SIM_SLOTS];
};

struct sim_machine {
	uint32_t magic, version;
	uint32_t n_cards;
	double time_scale; /* wall time = device time * time_scale */
	uint64_t wall_origin_ns;
	char device_ini[256];	      /* the device's profile, for those who execute work */
	_Atomic uint32_t fault_epoch; /* futex word: bumped after each change of n_gpu_faults */
	struct sim_card cards[SIM_MAX_CARDS];
};

/* Maps the machine at path (NULL: $COFRIS_SIM), checked for magic and version. */
int sim_machine_map(const char *path, struct sim_machine **ret);
void sim_machine_unmap(struct sim_machine *m);
/* Creates the file (0666 inside the private namespace) for the simulator. */
int sim_machine_create(const char *path, uint32_t n_cards, double time_scale,
		       uint64_t wall_origin_ns, struct sim_machine **ret);

uint64_t sim_device_ns(const struct sim_machine *m, uint64_t wall_ns);
uint64_t sim_wall_ns(const struct sim_machine *m, uint64_t device_ns);
struct sim_card *sim_card_find(struct sim_machine *m, const char *bdf);
/* What all processes hold of the card's memory. */
uint64_t sim_card_vram_bytes(const struct sim_card *c);
/* For the simulator: every process with queues on the card meets a page fault at this address. */
void sim_card_raise_gpu_fault(struct sim_machine *m, struct sim_card *c, uint64_t address);

/* For the simulator: appends a clock change and wakes those who wait. */
void sim_card_set_clock(struct sim_card *c, uint64_t from_ns, uint32_t sclk_mhz);
/* For the simulator: what all slots ran in (since, now]; frees the slots of dead processes (whose
 * running work ends at its running_until_ns). Keeps its place in *cursor. */
struct sim_activity_cursor {
	uint64_t busy_ns[SIM_SLOTS], ungated_cu_ns[SIM_SLOTS], flop_k[SIM_SLOTS], bytes[SIM_SLOTS];
	int32_t pid[SIM_SLOTS];
};
void sim_card_activity(struct sim_card *c, struct sim_activity_cursor *cursor, uint64_t since_ns,
		       uint64_t now_ns, struct plant_activity *ret);

/* ---- the parts of it that executing work is made of ---- */

/* Bumps the epoch, so that everyone looks again. Returns the epoch before. */
uint32_t sim_card_bump(struct sim_card *c);
/* The clock from since_ns on, newest first. Before the oldest entry kept, that one is taken to
 * hold. */
struct sim_clock_history {
	uint32_t n;
	struct sim_clock clock[SIM_CLOCK_HISTORY];
};
void sim_clock_history_read(struct sim_card *c, uint64_t since_ns, struct sim_clock_history *ret);

/* A slot for this process, of nobody or of a dead process. -EBUSY if all are taken. */
int sim_slot_take(struct sim_card *c, uint64_t now_ns, struct sim_slot **ret);
void sim_slot_release(struct sim_card *c, struct sim_slot *s);

/* A slot's contents as one whole, for its owner. */
struct sim_account {
	uint64_t accounted_ns, busy_ns, ungated_cu_ns, flop_k, bytes;
	uint64_t running_until_ns;
	uint32_t running_cus;
	uint64_t flop_per_us, bytes_per_us;
	uint64_t load_since_ns, load_until_ns, demand_bytes_per_us;
	const uint16_t *load; /* SIM_MAX_CUS; NULL: as it was */
};
void sim_slot_write(struct sim_slot *s, const struct sim_account *a);

/* What another process demands of the card. */
struct sim_load {
	uint64_t since_ns, until_ns; /* it runs in this time, as things stand */
	double gbps;
	uint16_t waves[SIM_MAX_CUS];
};
/* 0, -ENOENT for a slot without work at or after from_ns, -EAGAIN while its owner writes it. With
 * -ENOENT ret->since_ns is when the last of it ended. */
int sim_slot_load(struct sim_slot *s, uint64_t from_ns, struct sim_load *ret);

/* ---- executing work ---- */
struct sim_context; /* a process on one card, with its own copies of device and models */

/* Takes a slot. -EBUSY if all are taken, -ENODEV for an unknown card. */
int sim_context_new(struct sim_machine *m, const char *bdf, struct sim_context **ret);
struct sim_context *sim_context_free(struct sim_context *c);
DEFINE_CLEANUP(struct sim_context *, sim_context_free)
const struct plant_device *sim_context_device(const struct sim_context *c);
void sim_context_set_queues(struct sim_context *c, uint32_t n_queues);
/* The mask by its words (n_bits 0: all CUs); acts from the next moment on, also on running work.
 * A mask without any CU, which would hang a queue, changes nothing. May be called from another
 * thread than the one that runs. */
void sim_context_set_mask(struct sim_context *c, const uint32_t *words, uint32_t n_bits);

/* Runs one execution of the model (which must outlive the context), starting at device time
 * start_ns (which may lie in the past: the moment the previous one ended), with factor (jitter) on
 * its time, and returns at its end in wall time: *ret_end_ns is exact. Clock and mask changes and
 * other processes on the card count from when they happen. One execution at a time per context.
 * Returns 0, or -EINTR if *stop became non-zero (may be NULL). */
int sim_context_run(struct sim_context *c, const struct plant_model *model, uint32_t batch,
		    double factor, uint64_t start_ns, const _Atomic int *stop,
		    uint64_t *ret_end_ns);
