/* SPDX-License-Identifier: Apache-2.0 */
/* How long a clock change takes: from the moment a governor's decision is handed over to the return
 * of the last write, through a running actuator, beside the bare library call.
 *   bench-apply actuator SOCKET BDF | bench-apply bare     (prints one JSON object) */
#include "actuator/client.h"
#include "base/log.h"
#include "base/units.h"
#include <dlfcn.h>
#include <errno.h>
#include <jansson.h>
#include <rocm_smi/rocm_smi.h>
#include <string.h>
#include <time.h>

#define ROUNDS 400

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* A governor writes twice a second, into a machine that has gone quiet since: back to back, the
 * simulator's threads would still be awake and the bare call look ten times faster than it is. */
static void pause_between_rounds(void)
{
	const struct timespec pause = {.tv_nsec = 5 * (long)NSEC_PER_MSEC};

	(void)nanosleep(&pause, NULL);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int print_quantiles(const char *what, uint64_t *ns)
{
	json_t *o;
	char *text;

	qsort(ns, ROUNDS, sizeof(*ns), compare);
	o = json_pack("{s:s, s:i, s:f, s:f, s:f}", "what", what, "rounds", ROUNDS, "median_us",
		      (double)ns[ROUNDS / 2] / 1e3, "p95_us", (double)ns[ROUNDS * 95 / 100] / 1e3,
		      "max_us", (double)ns[ROUNDS - 1] / 1e3);
	text = o ? json_dumps(o, JSON_REAL_PRECISION(6)) : NULL;
	json_decref(o);
	if (!text)
		return -ENOMEM;
	puts(text);
	free(text);
	return 0;
}

static int bench_actuator(const char *path, const char *bdf)
{
	_cleanup_(actuator_client_freep) struct actuator_client *c = NULL;
	static const uint32_t limits[] = {1282, 1485};
	static uint64_t ns[ROUNDS];
	struct actuator_request request = {.op = ACTUATOR_CLAIM, .lease_ms = 5000};
	struct actuator_reply reply;
	int r;

	r = actuator_client_connect(path, &c);
	if (r < 0)
		return r;
	(void)snprintf(request.bdf, sizeof(request.bdf), "%s", bdf);
	r = actuator_client_call(c, &request, 2000, &reply);
	for (unsigned int i = 0; i < ROUNDS && r >= 0; i++) {
		uint64_t begin_ns;

		request.op = ACTUATOR_SET;
		request.max_mhz = limits[i % ARRAY_SIZE(limits)];
		pause_between_rounds();
		begin_ns = now_ns();
		r = actuator_client_call(c, &request, 2000, &reply);
		if (r >= 0 && reply.state.write_ns < begin_ns)
			return -ESTALE; /* nothing was written: not the change we time */
		ns[i] = reply.state.write_ns - begin_ns;
	}
	return r < 0 ? r : print_quantiles("actuator", ns);
}

static int bench_bare(void)
{
	typedef rsmi_status_t (*init_fn)(uint64_t);
	typedef rsmi_status_t (*set_fn)(uint32_t, rsmi_clk_type_t, uint64_t);
	typedef rsmi_status_t (*perf_fn)(uint32_t, rsmi_dev_perf_level_t);
	static uint64_t ns[ROUNDS];
	void *library = dlopen("librocm_smi64.so.1", RTLD_NOW | RTLD_LOCAL);
	init_fn init = library ? (init_fn)dlsym(library, "rsmi_init") : NULL;
	init_fn shut_down = library ? (init_fn)dlsym(library, "rsmi_shut_down") : NULL;
	set_fn set = library ? (set_fn)dlsym(library, "rsmi_dev_gpu_clk_freq_set") : NULL;
	perf_fn perf = library ? (perf_fn)dlsym(library, "rsmi_dev_perf_level_set_v1") : NULL;

	if (!init || !set || !perf || !shut_down)
		return -ENOENT;
	if (init(0) != RSMI_STATUS_SUCCESS)
		return -ENODEV;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		uint64_t begin_ns;

		pause_between_rounds();
		begin_ns = now_ns();
		/* The masks of the two limits above. */
		if (set(0, RSMI_CLK_TYPE_SYS, i % 2 ? 0x7f : 0x1f) != RSMI_STATUS_SUCCESS)
			return -EIO;
		ns[i] = now_ns() - begin_ns;
	}
	/* As found: the actuator would not take a card in manual. */
	if (perf(0, RSMI_DEV_PERF_LEVEL_AUTO) != RSMI_STATUS_SUCCESS)
		return -EIO;
	(void)shut_down(0);
	return print_quantiles("bare rsmi_dev_gpu_clk_freq_set", ns);
}

int main(int argc, char *argv[])
{
	int r;

	log_init("bench-apply", LOG_INFO);
	if (argc == 4 && strcmp(argv[1], "actuator") == 0)
		r = bench_actuator(argv[2], argv[3]);
	else if (argc == 2 && strcmp(argv[1], "bare") == 0)
		r = bench_bare();
	else
		return 2;
	if (r < 0)
		return -log_error_errno(r, "%s: %m", argv[1]);
	return 0;
}
