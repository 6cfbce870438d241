/* SPDX-License-Identifier: Apache-2.0 */
/* What a measurement stands on: the card claimed through the actuator, with its lease renewed; a
 * private channel socket; a worker connected to it. Whatever happens, rig_free() stops the worker
 * and gives the card back; if this process dies, its hang-up makes the actuator do so.
 *
 * Functions that return int give 0 or a negative errno after logging why: -EINTR for a signal that
 * asks to stop, -ECHILD for a worker that ended, -ECONNRESET for an actuator that hung up, -ESTALE
 * if this process slept through its lease. */
#pragma once

#include "actuator/client.h"
#include "channel/channel.h"
#include "profiler/worker-process.h"

struct rig_options {
	const char *actuator_path;
	const char *bdf; /* NULL: the only card */
	bool take_over;
	struct worker_command worker; /* bdf, socket_path and load are filled in here */
};

struct rig;
int rig_new(const struct rig_options *o, struct rig **ret);
struct rig *rig_free(struct rig *rig);
DEFINE_CLEANUP(struct rig *, rig_free)

/* As the actuator describes it, checked. */
const struct actuator_card *rig_card(const struct rig *rig);
uint64_t rig_now_ns(void); /* CLOCK_MONOTONIC */

/* Caps the clock. */
int rig_set_clock(struct rig *rig, uint32_t max_mhz);
int rig_sensors(struct rig *rig, struct actuator_state *ret);
/* Handles events and renews the lease until the moment has come. Called often enough, as between
 * two sensor readings; it may be in the past. */
int rig_wait(struct rig *rig, uint64_t until_ns);

/* Starts a worker, waits for its HELLO and welcomes it. */
int rig_start_worker(struct rig *rig, enum worker_load load, uint32_t in_flight, double rate_rps,
		     uint64_t seed);
void rig_stop_worker(struct rig *rig);
const struct channel_hello *rig_hello(const struct rig *rig); /* of the last worker */
/* Sends a directive (its epoch is filled in) and waits until the worker has applied it. */
int rig_direct(struct rig *rig, struct channel_directive *directive);
int rig_sample(struct rig *rig, struct channel_sample *ret);
/* One series, all banks. */
int rig_histogram(struct rig *rig, enum channel_series series, struct channel_histogram *ret);
