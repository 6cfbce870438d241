/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of libcofris share.
 *
 * Three kinds of thread meet here. The worker's threads only ever add to counters (request.c). The
 * channel's background thread (background.c) owns everything else and holds channel.lock but while
 * it sleeps or runs the worker's callback; so a thread that holds the lock, which fork() does,
 * finds the channel at rest. cofris_open() and cofris_close() are alone by contract. */
#pragma once

#include "channel/channel-layout.h"
#include "cofris/cofris.h"
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define BACKOFF_MIN_NS	  UINT64_C(50000000)
#define BACKOFF_MAX_NS	  UINT64_C(2000000000)
#define WELCOME_WITHIN_NS UINT64_C(2000000000)
#define NSEC_PER_SEC	  UINT64_C(1000000000)
#define NSEC_PER_MSEC	  UINT64_C(1000000)

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* --- threads (thread.c) --------------------------------------------------------------------- */

/* A thread's slot is the index of its shard in every channel of the process, so that a shard has
 * one writer at a time. passes counts its entries to and exits from begin, start and end: odd while
 * it is inside, where it may be writing to memory that is about to be unmapped. */
struct thread_slot {
	alignas(CHANNEL_LINE) _Atomic uint64_t passes;
};

extern struct thread_slot thread_slots[CHANNEL_THREAD_SHARDS];
/* The same for the threads that share the last shard: how many are inside, by the phase in which
 * they entered. */
extern _Atomic uint32_t thread_phase;
extern _Atomic uint32_t thread_sharers[2];

/* One more than the calling thread's slot; 0 before its first call. Initial-exec, as the call into
 * the dynamic loader that a library's thread-local variables otherwise take costs more than all the
 * counting; the four bytes fit into the room that the loader keeps for this. */
#define INITIAL_EXEC __attribute__((tls_model("initial-exec")))
extern _Thread_local uint32_t thread_slot_plus_1 INITIAL_EXEC;

/* Once per process, before any slot is claimed. 0 or a negative errno. */
int threads_init(void);
uint32_t thread_claim_slot(void);
/* Slots from this on have never been claimed. */
uint32_t thread_slots_high(void);
/* In a forked child: only the calling thread is left. */
void threads_forked(void);

/* Waits, without blocking, until each thread that was inside at a certain time has left. */
struct grace {
	enum { GRACE_QUEUED, GRACE_THREADS, GRACE_STRAGGLERS, GRACE_SHARERS } stage;
	uint64_t left; /* bit per slot not yet seen to have left */
	uint64_t passes[CHANNEL_THREAD_SHARDS];
};

/* For a grace zeroed after the area's pointer had changed: whether no thread can be using the old
 * one any more. To be asked again and again, at least a beat after the change. */
bool grace_is_over(struct grace *g);
/* Gives up before it is over. */
void grace_cancel(struct grace *g);

/* --- areas ---------------------------------------------------------------------------------- */

/* Where counts go: private memory before the first connection, then one connection's memfd. */
struct area {
	struct channel_memory *memory;
	/* 1 to REQUEST_GENERATION_MAX, changes with every area; a request is counted only in the
	 * area in which it began. */
	uint32_t generation;
	int wake_fd; /* -1 in private memory */
};

/* --- requests ------------------------------------------------------------------------------- */

enum request_flags {
	REQUEST_LEADER = 1 << 0, /* first of its batch: stands for the execution's busy time */
	REQUEST_ALONE = 1 << 1,	 /* found a server free, so it was started as it arrived */
	REQUEST_BANK = 1 << 2,	 /* epoch & 1 when it was started */
	REQUEST_FLAG_BITS = 3,
};

#define REQUEST_CLASS_BITS     2
#define REQUEST_GENERATION_MAX ((1U << (8 - REQUEST_CLASS_BITS + 8 - REQUEST_FLAG_BITS)) - 1)
/* The unit of start_delta is 256 ns. */
#define REQUEST_DELTA_SHIFT 8

/* --- the channel ---------------------------------------------------------------------------- */

/* What every call reads comes first. NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
struct cofris_channel {
	/* Read by every call, written when the directive or the connection changes. */
	alignas(CHANNEL_LINE) struct area *_Atomic area; /* NULL in a forked child */
	_Atomic uint64_t slo_ns;
	_Atomic uint64_t boost_wait_ns;
	_Atomic uint32_t bank;
	_Atomic uint32_t connected;
	_Atomic uint32_t broken; /* a forked child that could not get memory or a thread */
	uint32_t reports;
	uint32_t slots;

	/* The directive in force; the background thread writes. */
	struct channel_latch directive;
	uint64_t directive_sequence;

	struct channel_hello_message hello;
	bool instance_is_pid;
	struct sockaddr_un address;
	socklen_t address_length;
	cofris_apply_fn apply;
	void *userdata;

	pthread_mutex_t lock;
	pthread_t thread;
	bool has_thread;
	bool stop;
	int stop_fd; /* eventfd that ends the thread's sleep */
	char problem[256];
	const char *says; /* see channel_say_refusal() */
	bool refused;	  /* ever */
	bool said;

	int socket;
	bool welcomed;
	uint64_t connected_ns, next_attempt_ns, welcome_by_ns, next_beat_ns, backoff_ns;
	uint64_t beat;
	uint64_t connections; /* ever welcomed */
	struct area *retired; /* may still be written to */
	struct grace grace;
	uint64_t retired_look_ns;

	/* The lease: the daemon's beat and epoch last seen in the present area, and until when they
	 * vouch for its directive. */
	uint64_t lease_ns, seen_beat, seen_epoch, fresh_until_ns;
	uint64_t applied_epoch; /* of the present area's directive */
	uint64_t failed_epoch;	/* its callback failed; not tried again */
	bool in_force;		/* a directive is, of this area or ... */
	bool held;		/* ... of the one before, until held_until_ns */
	uint64_t held_until_ns;
	uint32_t forked_generation; /* the parent's at the fork */
	uint32_t forks;		    /* between this process and the one that opened */

	struct cofris_channel *next; /* in fork.c's list */
};

/* channel.c */
int area_new_private(uint32_t generation, struct area **ret);
/* Takes wake_fd when it succeeds; memory_fd stays the caller's. */
int area_new_shared(uint32_t generation, int memory_fd, int wake_fd, struct area **ret);
struct area *area_free(struct area *a);
uint32_t generation_after(uint32_t generation);
extern const struct channel_directive_record directive_none;
void directive_to_public(const struct channel_directive_record *d, struct cofris_directive *ret);
/* Makes what the daemon has directed, or no directive, the one in force for cofris_directive(). */
void channel_put_in_force(struct cofris_channel *c, const struct channel_directive_record *d,
			  uint64_t shown_epoch);
/* Makes private memory and the thread. With lock held. */
int channel_start(struct cofris_channel *c, uint32_t generation);

/* The daemon has refused, for this reason. With lock held. */
void channel_refused(struct cofris_channel *c, const char *why);
/* From now on, and for what has been before: the first refusal becomes a line on stderr behind
 * these words, which are kept as a pointer. For where nobody can ask for the problem. */
void channel_say_refusal(struct cofris_channel *c, const char *words);

/* background.c */
void *background_run(void *channel);

/* fork.c */
int forks_init(void);
void forks_add(struct cofris_channel *c);
void forks_remove(struct cofris_channel *c);
/* In a forked child, at its first begin. Returns the new area or NULL. */
struct area *fork_revive(struct cofris_channel *c);

/* options.c */
int options_check(const struct cofris_options *options, struct cofris_options *ret);
void options_to_hello(const struct cofris_options *o, struct channel_hello_message *ret);
int options_to_address(const struct cofris_options *o, struct sockaddr_un *ret,
		       socklen_t *ret_length);
void hello_set_pid(struct channel_hello_message *m);
