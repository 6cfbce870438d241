/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between cofrisd (or cofris-profile) and cofris-actuator: fixed-size, one per packet of a
 * SOCK_SEQPACKET socket, same host, same endianness. A request of any other size, magic or version
 * ends the connection. Each request gets exactly one reply with the same sequence, but LIST, which
 * gets one per card (index, count) or one with count 0. */
#pragma once

#include <stdint.h>

#define ACTUATOR_MAGIC		0x52464f43u /* "COFR" */
#define ACTUATOR_VERSION	1
#define ACTUATOR_DEFAULT_SOCKET "/run/cofris-actuator/control.sock"
#define ACTUATOR_MAX_LEVELS	32
#define ACTUATOR_MAX_SE		32
#define ACTUATOR_MAX_PROCESSES	32

enum actuator_op {
	ACTUATOR_LIST = 1,
	ACTUATOR_CLAIM,	  /* gives this connection the card; a second gets EBUSY and the owner */
	ACTUATOR_SET,	  /* clock limit, power cap, lease; renews the lease even if unchanged */
	ACTUATOR_RELEASE, /* restores the baseline and gives the claim up */
	ACTUATOR_ADOPT,	  /* for a process that took over a connection (from the service manager's
			   * fd store): keeps what the connection holds, renews its lease, and
			   * tells the state. ENOENT if it holds nothing, EBUSY if another does */
	ACTUATOR_SENSORS, /* reads only; needs no claim */
	ACTUATOR_OP_MAX,
};

struct actuator_request {
	uint32_t magic;
	uint16_t version, op;
	uint32_t sequence;
	uint32_t index; /* LIST: first card wanted (0) */
	char bdf[16];
	uint32_t take_over;	   /* CLAIM: also a card found in manual; given back as auto.
				    * SET: write even if it is what was written last (after drift) */
	uint32_t min_mhz, max_mhz; /* SET; max_mhz 0: hold the baseline (restore, keep the claim) */
	uint32_t lease_ms;	   /* SET, CLAIM: 100 .. 60000 */
	uint64_t power_cap_uw;	   /* SET; 0: the baseline's cap */
};

enum actuator_verified {
	ACTUATOR_UNVERIFIED, /* no busy sample since the write */
	ACTUATOR_VERIFIED,   /* level reads manual, clock at or under the limit while busy */
	ACTUATOR_DRIFT,	     /* three busy samples above the limit, or another level read back */
};

struct actuator_card {
	uint32_t index, count;
	uint64_t unique_id;
	char name[64], gfx[16];
	uint32_t n_cus, n_se, n_sh_per_se, n_xcc;
	uint8_t active_cus[ACTUATOR_MAX_SE];
	uint32_t n_levels, level_mhz[ACTUATOR_MAX_LEVELS];
	uint64_t cap_min_uw, cap_max_uw, cap_default_uw;
	uint8_t can_cap_clock, can_cap_power, simulated, claimed;
};

struct actuator_owner {
	int32_t pid;
	uint32_t uid;
	char comm[16];
};

struct actuator_state {
	uint32_t perf_level;   /* enum gpu_perf_level, read back */
	uint32_t max_mhz;      /* limit written, 0: baseline */
	uint64_t power_cap_uw; /* read back */
	uint32_t sclk_mhz;     /* observed */
	uint32_t sclk_age_ms;
	uint32_t verified; /* enum actuator_verified */
	uint32_t fields;   /* enum gpu_sample_field of what follows */
	uint64_t power_uw;
	uint32_t busy_percent;
	int32_t temp_mc;
	uint32_t throttle;
	uint32_t n_processes; /* with queues on the card; at most as many as fit below */
	int32_t processes[ACTUATOR_MAX_PROCESSES];
	uint64_t write_ns; /* CLOCK_MONOTONIC at the last write's return */
	uint64_t ras_uncorrectable, ras_correctable;
};

struct actuator_reply {
	uint32_t magic;
	uint16_t version, op;
	uint32_t sequence;
	int32_t error; /* 0 or a negative errno: EBUSY owned (see owner), EHOSTDOWN not
			* claimable (found in manual: held by other), ENODEV, EACCES, EPERM
			* simulated card refused, ETIMEDOUT the card did not answer, EINVAL,
			* EAGAIN still being restored. A SET whose write failed tells its errno
			* and leaves the baseline */
	char bdf[16];
	union {
		struct actuator_card card;   /* LIST */
		struct actuator_owner owner; /* CLAIM with EBUSY */
		struct actuator_state state; /* CLAIM, SET, ADOPT, SENSORS */
	};
};

_Static_assert(sizeof(struct actuator_request) == 56, "the request's layout is fixed");
