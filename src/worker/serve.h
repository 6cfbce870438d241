/* SPDX-License-Identifier: Apache-2.0 */
/* Serving: one thread per slot takes batches from the queue, runs them on the engine and reports
 * them to libcofris. */
#pragma once

#include "cofris/cofris.h"
#include "worker/engine.h"
#include "worker/queue.h"
#include "worker/report.h"

struct serve_options {
	struct engine *engine;		 /* borrowed */
	struct report *report;		 /* borrowed; locked by serve while it runs */
	const struct arrivals *arrivals; /* NULL: closed loop */
	uint32_t in_flight;
	uint32_t queue_limit;
	uint32_t slots;
	uint32_t max_batch; /* the worker's own choice, where the directive has none */
	uint64_t seed;
	double jitter, stall_share, stall_factor; /* of service times */
	const char *model, *instance, *socket_path;
	bool follow_mask;
	int done_fd; /* an eventfd, written once when the last slot has stopped */
};

struct serve;
int serve_start(const struct serve_options *o, struct serve **ret);
/* No more arrivals; what waits is still served. */
void serve_stop(struct serve *s);
/* Fails what waits and what runs. */
void serve_abort(struct serve *s);
/* Waits for the slots, hangs up and frees; returns 0 or the first error of the engine. */
int serve_finish(struct serve *s);

struct serve_status {
	struct report_summary recent; /* since the last call */
	uint32_t waiting, running;
	uint32_t cus, sclk_mhz;
	bool connected;
	uint64_t origin_ns, now_ns; /* device time */
};
/* Also flushes the report, so that others can follow it. */
struct serve_status serve_status(struct serve *s);
