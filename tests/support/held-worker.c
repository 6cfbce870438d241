/* SPDX-License-Identifier: Apache-2.0 */
/* A worker that follows masks and ends its requests, 100 in a second, as soon as they have come.
 * SIGUSR1: none ends any more, while its beat goes on, as that of a process whose queues have
 * stopped would. SIGUSR2: all end, and so do later ones.
 *
 * usage: held-worker SOCKET MODEL		prints the CUs of each mask, 0 for all */
#include "base/macros.h"
#include "cofris/cofris.h"
#include <err.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#define QUEUES	     5
#define PERIOD_NS    10000000
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

static void serve(struct cofris_channel *channel, const sigset_t *set)
{
	const struct timespec period = {.tv_nsec = PERIOD_NS};
	unsigned int n = 0;
	bool held = false;
	int sig;

	while ((sig = sigtimedwait(set, NULL, &period)) != SIGTERM) {
		if (sig == SIGUSR1 || sig == SIGUSR2)
			held = sig == SIGUSR1;
		else if (n < MAX_REQUESTS)
			requests[n++] = cofris_begin(channel, 1);
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
