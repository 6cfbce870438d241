/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's side of a channel in the hands of a test: publishes the masks it is told.
 *
 *   mask-publisher SOCKET
 *
 * Takes one worker and prints "worker MODEL". Then, for each line "K C" on its input (an MI50's
 * mask of K shader engines with C CUs each; "0 0": all), publishes a directive and prints when the
 * worker has acknowledged it: "K C queues=N applied_us=T waited_us=T", or "K C refused" after five
 * seconds without. Ends with its input or the worker. */
#include "base/macros.h"
#include "base/units.h"
#include "channel/channel.h"
#include "cu-mask/cu-mask.h"
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#define LEASE_NS (5 * NSEC_PER_SEC)
#define BEAT_MS	 50
#define GIVEN_UP (30 * NSEC_PER_SEC)

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static int fail(const char *what, int r)
{
	(void)fprintf(stderr, "mask-publisher: %s: %s\n", what, strerror(-r));
	return EXIT_FAILURE;
}

static int take_worker(int listen_fd, struct channel_connection **ret)
{
	const struct channel_hello *hello;
	const char *why;
	int r;

	do {
		struct pollfd p = {listen_fd, POLLIN, 0};

		(void)poll(&p, 1, -1);
		r = channel_accept(listen_fd, monotonic_ns(), ret);
	} while (r == -EAGAIN);
	while (r == 0) {
		struct pollfd p = {channel_connection_fd(*ret), POLLIN, 0};

		(void)poll(&p, 1, -1);
		r = channel_connection_receive(*ret, &hello, &why);
		if (r == 1) {
			(void)printf("worker %s\n", hello->model);
			return channel_connection_welcome(*ret, LEASE_NS);
		}
	}
	return r;
}

/* Returns 1 when the worker has applied the epoch, 0 if it has not in time. */
static int wait_for_epoch(struct channel_connection *c, uint64_t epoch, uint64_t since_ns,
			  struct channel_sample *ret)
{
	while (monotonic_ns() - since_ns < GIVEN_UP) {
		struct pollfd p = {channel_connection_fd(c), POLLIN, 0};
		const struct channel_hello *hello;
		const char *why;
		int r;

		(void)poll(&p, 1, 1);
		r = p.revents ? channel_connection_receive(c, &hello, &why) : 0;
		if (r == 0)
			r = channel_connection_sample(c, ret);
		if (r < 0)
			return r;
		if (ret->applied_epoch == epoch)
			return 1;
		channel_connection_beat(c);
	}
	return 0;
}

static int publish(struct channel_connection *c, uint64_t epoch, unsigned int k, unsigned int cus)
{
	struct cu_topology t = cu_topology_even(4, 15);
	struct channel_directive d = {.epoch = epoch, .boost_wait_ns = UINT64_MAX};
	struct channel_sample s;
	struct cu_mask mask;
	uint64_t since_ns;
	int r;

	if (k > 0) {
		r = cu_mask_from_shape(&t, (struct cu_shape){(uint16_t)k, (uint16_t)cus}, 0, &mask);
		if (r < 0)
			return r;
		d.cu_mask_bits = mask.n_bits;
		memcpy(d.cu_mask, mask.words, sizeof(d.cu_mask));
	}
	since_ns = monotonic_ns();
	channel_connection_direct(c, &d);
	r = wait_for_epoch(c, epoch, since_ns, &s);
	if (r == 1)
		(void)printf("%u %u queues=%" PRIu32 " applied_us=%" PRIu64 " waited_us=%" PRIu64
			     "\n",
			     k, cus, s.applied_queues, s.applied_ns / 1000,
			     (monotonic_ns() - since_ns) / 1000);
	else if (r == 0)
		(void)printf("%u %u refused\n", k, cus);
	return r < 0 ? r : 0;
}

static int serve(struct channel_connection *c)
{
	uint64_t epoch = 0;
	char line[64];

	for (;;) {
		struct pollfd p[] = {{STDIN_FILENO, POLLIN, 0},
				     {channel_connection_fd(c), POLLIN, 0}};
		const struct channel_hello *hello;
		const char *why;
		unsigned int k, cus;
		int r = 0;

		(void)poll(p, ARRAY_SIZE(p), BEAT_MS);
		channel_connection_beat(c);
		if (p[1].revents)
			r = channel_connection_receive(c, &hello, &why);
		if (r == -ECONNRESET)
			return 0;
		if (r == 0 && p[0].revents) {
			if (!fgets(line, sizeof(line), stdin))
				return 0;
			if (sscanf(line, "%u %u", &k, &cus) != 2)
				return -EINVAL;
			r = publish(c, ++epoch, k, cus);
		}
		if (r < 0)
			return r;
	}
}

int main(int argc, char *argv[])
{
	_cleanup_(channel_connection_freep) struct channel_connection *c = NULL;
	_cleanup_(closep) int listen_fd = -1;
	int r;

	if (argc != 2)
		return fail("usage: mask-publisher SOCKET", -EINVAL);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	/* poll() tells of what is in the pipe, not of what stdio has read ahead. */
	(void)setvbuf(stdin, NULL, _IONBF, 0);
	listen_fd = channel_listen(argv[1], 0600);
	if (listen_fd < 0)
		return fail(argv[1], listen_fd);
	r = take_worker(listen_fd, &c);
	if (r == 0)
		r = serve(c);
	return r < 0 ? fail("publishing", r) : EXIT_SUCCESS;
}
