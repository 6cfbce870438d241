/* SPDX-License-Identifier: Apache-2.0 */
/* What the actuator does with requests: claims, leases, baselines, read-back. It knows connections
 * by number and time by argument; sockets, threads and signals are its caller's.
 *
 * Backend calls go through run(). What gives back a card goes through a second backend, writer, and
 * run_alone(), so that neither waits behind the other. Both may give up on a call. */
#pragma once

#include "actuator/protocol.h"
#include "gpu/gpu.h"

#define ACTUATOR_LEASE_MIN_MS 100u
#define ACTUATOR_LEASE_MAX_MS 60000u

struct actuator_core;

struct actuator_config {
	const char *sysfs_root, *state_path, *boot_id; /* borrowed for the core's life */
	const struct gpu_backend *backend, *writer;
	const struct gpu_backend *fallback; /* for cards that backend does not open; may be NULL */
	bool allow_simulated;
	uint32_t deadline_ms; /* of one request's backend calls */
	/* Runs job(data) with that deadline: 0, or -ETIMEDOUT after which it is not called again.
	 */
	int (*run)(void *userdata, void (*job)(void *data), void *data, uint32_t deadline_ms);
	/* The same, independent of all other jobs. */
	int (*run_alone)(void *userdata, void (*job)(void *data), void *data, uint32_t deadline_ms);
	void *run_userdata;
	uint64_t (*clock_ns)(void); /* CLOCK_MONOTONIC, for write_ns alone */
};

/* Who asks. Connections have numbers other than 0 that are not used again. */
struct actuator_peer {
	uint64_t connection;
	struct actuator_owner who;
};

/* Restores what a dead predecessor left, then looks for cards. 0 or a negative errno. */
int actuator_core_new(const struct actuator_config *config, uint64_t now_ns,
		      struct actuator_core **ret);
/* Restores nothing: see actuator_core_shutdown(). Frees nothing either while a job that was given
 * up may still be running. */
struct actuator_core *actuator_core_free(struct actuator_core *c);

/* Answers a request. reply is called once, for LIST once per card. Returns 0, or a negative errno
 * for a request that no honest peer sends, after which the connection is to be ended. */
typedef void (*actuator_reply_fn)(void *userdata, const struct actuator_reply *reply);
int actuator_core_handle(struct actuator_core *c, const struct actuator_peer *peer,
			 const struct actuator_request *request, uint64_t now_ns,
			 actuator_reply_fn reply, void *userdata);
void actuator_core_hangup(struct actuator_core *c, uint64_t connection, uint64_t now_ns);

/* When actuator_core_tick() wants to be called next; UINT64_MAX: never. */
uint64_t actuator_core_next_ns(const struct actuator_core *c);
void actuator_core_tick(struct actuator_core *c, uint64_t now_ns);

/* The backend did not answer in time, or the card went through a reset: every card that had been
 * written is at full range, the state file stands, and the process has to end and start anew. */
bool actuator_core_is_lost(const struct actuator_core *c);

/* Restores every card. 0, or the negative errno of one that could not be (the state file stands).
 */
int actuator_core_shutdown(struct actuator_core *c, uint64_t now_ns);
