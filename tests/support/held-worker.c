/* SPDX-License-Identifier: Apache-2.0 */
/* A worker that follows masks and serves nothing: SIGUSR1 begins a request, SIGUSR2 ends all. Its
 * beat goes on in between, as that of a process whose queues have stopped would.
 *
 * usage: held-worker SOCKET MODEL		prints the CUs of each mask, 0 for all */
#include "base/macros.h"
#include "cofris/cofris.h"
#include <err.h>
#include <signal.h>

#define QUEUES	     5
#define MAX_REQUESTS 64

static int apply(void *userdata _unused_, const struct cofris_directive *d)
{
	unsigned int cus = 0;

	for (unsigned int i = 0; d->cu_mask_bits > 0 && i < COFRIS_CU_MASK_WORDS; i++)
		cus += (unsigned int)__builtin_popcount(d->cu_mask[i]);
	(void)printf("cus %u\n", cus);
	(void)fflush(stdout);
	return QUEUES;
}

int main(int argc, char **argv)
{
	struct cofris_request requests[MAX_REQUESTS];
	struct cofris_channel *channel;
	unsigned int n = 0;
	sigset_t set;
	int sig, r;

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
	while (sigwait(&set, &sig) == 0 && sig != SIGTERM) {
		if (sig == SIGUSR1 && n < MAX_REQUESTS)
			requests[n++] = cofris_begin(channel, 1);
		for (; sig == SIGUSR2 && n > 0; n--)
			(void)cofris_end(channel, &requests[n - 1], COFRIS_OK);
	}
	cofris_close(channel);
	return 0;
}
