/* SPDX-License-Identifier: Apache-2.0 */
/* A worker whose requests wait too long now and then, for the time from such a wake to the write of
 * the clock. It serves a light load, so that a low row is in force; and as the load moves, boosts
 * are not rationed as those of a constant one are. bench-wake SOCKET BDF MODEL WAKES      (prints
 * CLOCK_MONOTONIC in ns before each wake) */
#include "base/units.h"
#include "cofris/cofris.h"
#include <err.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Wakes are answered ten times a second, and the boost before has to end. */
#define SPACING_MS 260
#define SERVICE_NS (5 * NSEC_PER_MSEC)
/* Longer than any wait from which a wake is asked for. */
#define WAITED_NS (60 * NSEC_PER_MSEC)
/* Requests between two wakes, and after how many wakes it is the other. */
#define FEW	    2
#define MANY	    8
#define WAKES_ALIKE 20

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void pause_ns(uint64_t ns)
{
	const struct timespec pause = {.tv_sec = (time_t)(ns / NSEC_PER_SEC),
				       .tv_nsec = (long)(ns % NSEC_PER_SEC)};

	(void)nanosleep(&pause, NULL);
}

/* One that has waited for so long. The wake, if there is one, is in its start. */
static void serve(struct cofris_channel *c, uint64_t waited_ns)
{
	uint64_t at_ns = now_ns();
	struct cofris_request r = cofris_begin_at(c, 1, at_ns - waited_ns);

	cofris_start_at(c, &r, 1, at_ns);
	pause_ns(SERVICE_NS);
	(void)cofris_end(c, &r, COFRIS_OK);
}

static void serve_between(struct cofris_channel *c, unsigned int n)
{
	uint64_t until_ns = now_ns() + SPACING_MS * NSEC_PER_MSEC;

	for (unsigned int i = 0; i < n; i++) {
		serve(c, 0);
		pause_ns(SERVICE_NS);
	}
	if (now_ns() < until_ns)
		pause_ns(until_ns - now_ns());
}

int main(int argc, char *argv[])
{
	struct cofris_device device = {0};
	struct cofris_options options = {.size = sizeof(options),
					 .instance = "bench-wake",
					 .devices = &device,
					 .n_devices = 1,
					 .slots = 1,
					 .reports = COFRIS_REPORTS_STARTS};
	struct cofris_channel *c;
	unsigned long wakes;
	int r;

	if (argc != 5)
		errx(2, "usage: bench-wake SOCKET BDF MODEL WAKES");
	options.socket_path = argv[1];
	(void)snprintf(device.bdf, sizeof(device.bdf), "%s", argv[2]);
	options.model = argv[3];
	wakes = strtoul(argv[4], NULL, 10);
	r = cofris_open(&options, &c);
	if (r < 0)
		errx(1, "cofris_open: %d", r);
	/* The daemon has to know the load first. */
	for (unsigned int i = 0; i < 40; i++)
		serve_between(c, FEW);
	for (unsigned long i = 0; i < wakes; i++) {
		serve_between(c, i / WAKES_ALIKE % 2 ? MANY : FEW);
		(void)printf("%" PRIu64 "\n", now_ns());
		serve(c, WAITED_NS);
	}
	cofris_close(c);
	return 0;
}
