/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's (and the profiler's) side of the worker channel: the HELLO, the sealed memfd, the
 * directive page, and samples copied out of the worker's pages and then validated. No event loop:
 * the caller polls the fds. The shared bytes themselves are in channel-layout.h. */
#pragma once

#include "base/macros.h"
#include "base/parse.h"
#include "channel/channel-layout.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct channel_device {
	char bdf[PCI_BDF_LENGTH + 1];
	uint8_t partition;
};

/* A worker's HELLO after validation. */
struct channel_hello {
	char model[MODEL_NAME_MAX + 1];
	char instance[MODEL_NAME_MAX + 1];
	uint32_t n_devices;
	struct channel_device devices[CHANNEL_MAX_DEVICES];
	uint32_t follows; /* enum cofris_follows */
	uint32_t reports;
	uint32_t slots;
};

struct channel_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};

/* Binds and listens on a SOCK_SEQPACKET socket at path (a stale socket file is replaced; any other
 * file is -EEXIST), mode as given, non-blocking. Returns the fd or a negative errno. */
int channel_listen(const char *path, mode_t mode);

struct channel_connection;

/* Accepts one connection: 0, -EAGAIN if none waits, or a negative errno. After -EMFILE or -ENFILE
 * the connection still waits, so a level-triggered poll() returns at once: pause it for a while. */
int channel_accept(int listen_fd, uint64_t now_ns, struct channel_connection **ret);
struct channel_connection *channel_connection_free(struct channel_connection *c);
DEFINE_CLEANUP(struct channel_connection *, channel_connection_free)

int channel_connection_fd(const struct channel_connection *c);	    /* poll for input */
int channel_connection_wake_fd(const struct channel_connection *c); /* eventfd, -1 before welcome */
const struct channel_peer *channel_connection_peer(const struct channel_connection *c);
uint64_t channel_connection_accepted_ns(const struct channel_connection *c);

/* Reads what has arrived. Returns 1 with *ret_hello when the HELLO is complete and valid (the
 * caller judges it, then welcomes or frees the connection), 0 if there is nothing to do, -EPROTO
 * with a text for anything a correct client does not send (a second HELLO, garbage, wrong version:
 * -EPROTONOSUPPORT), -ECONNRESET for a hang-up. The text quotes nothing that was received and lives
 * until the next call; refuse with it before freeing, so that the worker learns it, too. Received
 * fds are dropped by the kernel before they are ours. One message a call: poll again. */
int channel_connection_receive(struct channel_connection *c, const struct channel_hello **ret_hello,
			       const char **ret_why);

/* Creates the sealed memfd and eventfd and sends them. lease_ns: how long the worker keeps a
 * directive after the daemon's beat has stopped. 0 or a negative errno. */
int channel_connection_welcome(struct channel_connection *c, uint64_t lease_ns);
/* Sends a refusal with a text for the worker's log, cut at what the message holds. Best effort. */
void channel_connection_refuse(struct channel_connection *c, int error, const char *why);

/* The directive, always rewritten whole; epoch must be larger than before. Announces it with a
 * small message on the socket (best effort; the page is the truth). */
struct channel_directive {
	uint64_t epoch;
	uint32_t cu_mask[CHANNEL_CU_MASK_WORDS];
	uint32_t cu_mask_bits; /* 0: all CUs */
	uint32_t max_batch;
	uint64_t max_wait_ns, slo_ns, boost_wait_ns;
	uint32_t sclk_mhz;
};
void channel_connection_direct(struct channel_connection *c, const struct channel_directive *d);
/* The daemon's beat: call each tick. Also lets the worker ask for a wake again. */
void channel_connection_beat(struct channel_connection *c);
/* When the wake fd is readable: empties it and lets the worker ask again. Returns 1 if a worker
 * asked for a boost, 0 if not. Use this, never read(): the worker shares the eventfd, so it can
 * make it block, or empty it between poll() and read(). */
int channel_connection_take_wake(struct channel_connection *c);

/* A histogram of one latency series, 32 sub-buckets an octave (channel-layout.h). */
struct channel_histogram {
	uint64_t count;
	uint64_t buckets[CHANNEL_HISTOGRAM_BUCKETS];
};
/* Value at quantile q (0..1), upper bucket bound in ns; 0 if empty. */
uint64_t channel_histogram_quantile(const struct channel_histogram *h, double q);
/* A bucket's values are taken as its middle; 0 if empty. */
double channel_histogram_mean_ns(const struct channel_histogram *h);
void channel_histogram_subtract(struct channel_histogram *h, const struct channel_histogram *old);

/* Everything a worker has counted since it connected; cumulative, summed over its shards. */
struct channel_sample {
	uint64_t beat; /* changes at least 4 times a second while the worker lives */
	uint64_t arrivals, starts, completions, failures, late; /* class 0, requests by weight */
	uint64_t batches;
	uint64_t busy_ns;	   /* integral of service time over executions */
	uint32_t running, waiting; /* gauges, 0 where not reported */
	uint64_t applied_epoch;	   /* last directive epoch applied */
	uint32_t applied_queues;   /* queues changed by it, and ns spent */
	uint64_t applied_ns;
};

/* Copies, then validates: counters may not go backwards, completions + failures <= arrivals (they
 * are read first), the epoch may not be one never sent. Returns 0; -EBADMSG for a sample that fails
 * (the last good one stays the base); -ENXIO before the welcome. */
int channel_connection_sample(struct channel_connection *c, struct channel_sample *ret);
/* The histogram of a series (enum channel_series, in channel-layout.h) in a bank (epoch & 1),
 * cumulative like the counters; large, so apart. Returns 0; -EINVAL for an unknown series or bank;
 * -EBADMSG if it holds less than at an earlier call, or more than a count can be; -ENXIO before the
 * welcome. */
int channel_connection_histogram(struct channel_connection *c, enum channel_series series,
				 uint32_t bank, struct channel_histogram *ret);
