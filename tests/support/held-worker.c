/* SPDX-License-Identifier: Apache-2.0 */
/* A worker that follows masks and ends its requests, 100 in a second however late the host wakes
 * it, as soon as they have come.
 * SIGUSR1: none ends any more, while its beat goes on, as that of a process whose queues have
 * stopped would. SIGUSR2: all end, and so do later ones.
 *
 * usage: held-worker SOCKET MODEL		prints the CUs of each mask, 0 for all */
#include "base/macros.h"
#include "base/units.h"
#include "cofris/cofris.h"
#include <err.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define QUEUES	     5
#define PERIOD_NS    (10 * NSEC_PER_MSEC)
#define MAX_REQUESTS 65536

static struct cofris_request requests[MAX_REQUESTS];

static int apply(void *userdata _unused_, const struct cofris_directive *d)
{
	unsigned int cus = 0;

	for (unsigned int i = 0; d->cu_mask_bits > 0 && i < COFRIS_CU_MASK_WORDS; i++)
		cus += (unsigned int)__builtin_popcount(d->cu_mask[i]);
	(void)printf("cus %u\n", cus);
	(void)fflush(stdout);
	return QUEUES;
}

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

/* A signal of the set that has come by then, or -1. */
static int wait_until(const sigset_t *set, uint64_t ns)
{
	uint64_t now_ns = monotonic_ns(), left_ns = ns > now_ns ? ns - now_ns : 0;
	struct timespec t = {(time_t)(left_ns / NSEC_PER_SEC), (long)(left_ns % NSEC_PER_SEC)};

	return sigtimedwait(set, NULL, &t);
}

static void serve(struct cofris_channel *channel, const sigset_t *set)
{
	uint64_t next_ns = monotonic_ns();
	unsigned int n = 0;
	bool held = false;
	int sig;

	while ((sig = wait_until(set, next_ns)) != SIGTERM) {
		if (sig == SIGUSR1 || sig == SIGUSR2)
			held = sig == SIGUSR1;
		else if (n < MAX_REQUESTS)
			requests[n++] = cofris_begin(channel, 1);
		if (sig < 0)
			next_ns += PERIOD_NS;
		for (; !held && n > 0; n--)
			(void)cofris_end(channel, &requests[n - 1], COFRIS_OK);
	}
}

int main(int argc, char **argv)
{
	struct cofris_channel *channel;
	sigset_t set;
	int r;

	if (argc != 3)
		errx(2, "usage: held-worker SOCKET MODEL");
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigaddset(&set, SIGUSR2);
	(void)sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	r = cofris_open(&(struct cofris_options){.size = sizeof(struct cofris_options),
						 .model = argv[2],
						 .instance = "held",
						 .socket_path = argv[1],
						 .follows = COFRIS_FOLLOWS_CU_MASK,
						 .apply = apply},
			&channel);
	if (r < 0)
		errx(1, "cofris_open: %d", r);
	serve(channel, &set);
	cofris_close(channel);
	return 0;
}
