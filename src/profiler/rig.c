/* SPDX-License-Identifier: Apache-2.0 */
#include "profiler/rig.h"
#include "base/log.h"
#include "base/units.h"
#include "profiler/card.h"
#include "profiler/scratch.h"
#include "profiler/stats.h"
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>

/* Long enough for a table to be derived meanwhile; a hang-up gives the card back at once. */
#define LEASE_MS	 15000
#define CHANNEL_LEASE_NS (60 * NSEC_PER_SEC)
#define RENEW_NS	 (1 * NSEC_PER_SEC)
#define CALL_TIMEOUT_MS	 3000
#define CONNECT_NS	 (15 * NSEC_PER_SEC)
#define APPLY_NS	 (2 * NSEC_PER_SEC)
#define STOP_TIMEOUT_MS	 2000
#define EXIT_TIMEOUT_MS	 500
#define MAX_CARDS	 64
#define APPLY_POLL_NS	 (1 * NSEC_PER_MSEC)

struct rig {
	struct rig_options options;
	struct actuator_client *client;
	struct actuator_card card;
	char bdf[PCI_BDF_LENGTH + 1];
	bool claimed;
	uint32_t max_mhz; /* limit in force, 0: none yet */
	uint64_t renew_ns, lease_end_ns;

	int signal_fd, listen_fd;
	struct scratch scratch;
	struct worker_process worker;
	struct channel_connection *connection;
	bool welcomed;
	struct channel_hello hello;
	uint64_t epoch;
};

uint64_t rig_now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

const struct actuator_card *rig_card(const struct rig *rig)
{
	return &rig->card;
}

const struct channel_hello *rig_hello(const struct rig *rig)
{
	return &rig->hello;
}

/* ---- the card ---- */

static int explain(struct rig *rig, int r, const struct actuator_reply *reply, const char *what)
{
	switch (r) {
	case -EBUSY:
		return log_error_errno(r,
				       "%s %s is in use by %.16s (pid %d, uid %u): stop it first",
				       what, rig->bdf, reply->owner.comm, reply->owner.pid,
				       reply->owner.uid);
	case -EHOSTDOWN:
		return log_error_errno(r,
				       "%s %s was found in 'manual': somebody else has set its "
				       "clocks (--take-over takes it all the same)",
				       what, rig->bdf);
	case -EPERM:
		return log_error_errno(r,
				       "%s %s was refused: not permitted, or a simulated card "
				       "and an actuator without --allow-simulated",
				       what, rig->bdf);
	case -EPIPE:
	case -ECONNRESET:
		rig->claimed = false;
		return log_error_errno(-ECONNRESET, "cofris-actuator has hung up");
	default:
		return log_error_errno(r, "%s %s: %m", what, rig->bdf);
	}
}

static int call(struct rig *rig, struct actuator_request *request, const char *what,
		struct actuator_state *ret)
{
	struct actuator_reply reply = {0};
	int r;

	(void)snprintf(request->bdf, sizeof(request->bdf), "%s", rig->bdf);
	r = actuator_client_call(rig->client, request, CALL_TIMEOUT_MS, &reply);
	if (r < 0)
		return explain(rig, r, &reply, what);
	if (ret)
		*ret = reply.state;
	return 0;
}

static int find_card(struct rig *rig)
{
	_cleanup_(freep) struct actuator_reply *replies = calloc(MAX_CARDS, sizeof(*replies));
	const struct actuator_reply *found;
	int n, r;

	if (!replies)
		return -ENOMEM;
	n = actuator_client_list(rig->client, CALL_TIMEOUT_MS, replies, MAX_CARDS);
	if (n < 0)
		return log_error_errno(n, "Cannot ask cofris-actuator for its cards: %m");
	r = card_choose(replies, n, rig->options.bdf, &found);
	if (r < 0)
		return r;
	rig->card = found->card;
	(void)snprintf(rig->bdf, sizeof(rig->bdf), "%.*s", PCI_BDF_LENGTH, found->bdf);
	return 0;
}

static int claim(struct rig *rig)
{
	struct actuator_request request = {
		.op = ACTUATOR_CLAIM,
		.take_over = rig->options.take_over,
		.lease_ms = LEASE_MS,
	};
	int r;

	r = call(rig, &request, "The card", NULL);
	if (r < 0)
		return r;
	rig->claimed = true;
	rig->renew_ns = rig_now_ns() + RENEW_NS;
	return 0;
}

static void release(struct rig *rig)
{
	struct actuator_request request = {.op = ACTUATOR_RELEASE};

	if (rig->claimed)
		(void)call(rig, &request, "Giving back the card", NULL);
	rig->claimed = false;
}

int rig_set_clock(struct rig *rig, uint32_t max_mhz)
{
	struct actuator_request request = {
		.op = ACTUATOR_SET,
		.min_mhz = rig->card.level_mhz[0],
		.max_mhz = max_mhz,
		.lease_ms = LEASE_MS,
	};
	uint64_t now_ns = rig_now_ns();
	int r;

	/* Setting it anew would hide that the card has run freely meanwhile. */
	if (rig->max_mhz && now_ns >= rig->lease_end_ns)
		return log_error_errno(-ESTALE,
				       "Stopped for longer than the lease of 15 s: the card has "
				       "been given back, so what was measured does not count");
	r = call(rig, &request, "Setting the clock of", NULL);
	if (r < 0)
		return r;
	rig->max_mhz = max_mhz;
	rig->renew_ns = now_ns + RENEW_NS;
	rig->lease_end_ns = now_ns + LEASE_MS * NSEC_PER_MSEC;
	return 0;
}

int rig_sensors(struct rig *rig, struct actuator_state *ret)
{
	struct actuator_request request = {.op = ACTUATOR_SENSORS};

	return call(rig, &request, "Reading the sensors of", ret);
}

/* ---- events ---- */

static int on_signal(struct rig *rig)
{
	struct signalfd_siginfo info;

	if (read(rig->signal_fd, &info, sizeof(info)) != sizeof(info))
		return 0;
	return log_error_errno(-EINTR, "Stopped by SIG%s", sigabbrev_np((int)info.ssi_signo));
}

static int on_worker_end(struct rig *rig)
{
	char how[64];

	worker_process_reap(&rig->worker, how, sizeof(how));
	return log_error_errno(-ECHILD, "The worker %s", how);
}

/* A process that dies closes its socket a moment before it is seen to have ended. */
static int on_hang_up(struct rig *rig)
{
	struct pollfd p = {rig->worker.fd, POLLIN, 0};

	rig->welcomed = false;
	if (poll(&p, 1, EXIT_TIMEOUT_MS) > 0)
		return on_worker_end(rig);
	return log_error_errno(-ECONNRESET, "The worker has hung up");
}

/* The answer to a HELLO: NULL to welcome it, else why not. */
static const char *judge_hello(const struct rig *rig, const struct channel_hello *hello)
{
	if (strcmp(hello->model, rig->options.worker.model) != 0)
		return "another model is being profiled";
	for (uint32_t i = 0; i < hello->n_devices; i++)
		if (strcmp(hello->devices[i].bdf, rig->bdf) != 0)
			return "another card is being profiled";
	return NULL;
}

static int on_connection_input(struct rig *rig)
{
	const struct channel_hello *hello;
	const char *why = "";
	int r;

	r = channel_connection_receive(rig->connection, &hello, &why);
	if (r == 0)
		return 0;
	if (r == -ECONNRESET) {
		rig->connection = channel_connection_free(rig->connection);
		return rig->welcomed ? on_hang_up(rig) : 0;
	}
	if (r < 0)
		return log_error_errno(r, "The worker's channel: %s", why);
	why = judge_hello(rig, hello);
	if (why) {
		channel_connection_refuse(rig->connection, -EINVAL, why);
		return log_error_errno(-EINVAL, "The worker serves '%s' on %s: %s", hello->model,
				       hello->n_devices ? hello->devices[0].bdf : "any card", why);
	}
	rig->hello = *hello;
	r = channel_connection_welcome(rig->connection, CHANNEL_LEASE_NS);
	if (r < 0)
		return log_error_errno(r, "Cannot welcome the worker: %m");
	rig->welcomed = true;
	return 0;
}

static int on_listen_input(struct rig *rig)
{
	_cleanup_(channel_connection_freep) struct channel_connection *c = NULL;
	int r;

	r = channel_accept(rig->listen_fd, rig_now_ns(), &c);
	if (r == -EAGAIN)
		return 0;
	if (r < 0)
		return log_error_errno(r, "Cannot accept the worker's connection: %m");
	if (rig->connection) {
		channel_connection_refuse(c, -EBUSY, "a worker is being profiled");
		return 0;
	}
	rig->connection = TAKE_PTR(c);
	return 0;
}

enum { EVENT_SIGNAL, EVENT_LISTEN, EVENT_CONNECTION, EVENT_WORKER, EVENTS };

static int dispatch(struct rig *rig, const struct pollfd fds[static EVENTS])
{
	/* The worker's end comes before its hang-up, to be told apart from one. */
	static const struct {
		int event;
		int (*handle)(struct rig *rig);
	} handlers[] = {
		{EVENT_SIGNAL, on_signal},
		{EVENT_WORKER, on_worker_end},
		{EVENT_CONNECTION, on_connection_input},
		{EVENT_LISTEN, on_listen_input},
	};

	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++) {
		int r = 0;

		if (fds[handlers[i].event].revents)
			r = handlers[i].handle(rig);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One look at all sources of events, waiting for at most until_ns. */
static int step(struct rig *rig, uint64_t until_ns)
{
	struct pollfd fds[EVENTS] = {
		[EVENT_SIGNAL] = {rig->signal_fd, POLLIN, 0},
		[EVENT_LISTEN] = {rig->listen_fd, POLLIN, 0},
		[EVENT_CONNECTION] = {rig->connection ? channel_connection_fd(rig->connection) : -1,
				      POLLIN, 0},
		[EVENT_WORKER] = {rig->worker.fd, POLLIN, 0},
	};
	uint64_t now_ns = rig_now_ns(), next_ns = MIN(until_ns, rig->renew_ns), left_ns;
	struct timespec t;
	int r;

	left_ns = next_ns > now_ns ? next_ns - now_ns : 0;
	t.tv_sec = (time_t)(left_ns / NSEC_PER_SEC);
	t.tv_nsec = (long)(left_ns % NSEC_PER_SEC);
	if (ppoll(fds, EVENTS, &t, NULL) > 0) {
		r = dispatch(rig, fds);
		if (r < 0)
			return r;
	}
	if (rig->connection)
		channel_connection_beat(rig->connection);
	if (rig_now_ns() >= rig->renew_ns && rig->max_mhz)
		return rig_set_clock(rig, rig->max_mhz);
	if (rig_now_ns() >= rig->renew_ns)
		rig->renew_ns = rig_now_ns() + RENEW_NS;
	return 0;
}

int rig_wait(struct rig *rig, uint64_t until_ns)
{
	int r;

	do {
		r = step(rig, until_ns);
		if (r < 0)
			return r;
	} while (rig_now_ns() < until_ns);
	return 0;
}

/* ---- the worker ---- */

static int wait_for_hello(struct rig *rig)
{
	uint64_t deadline_ns = rig_now_ns() + CONNECT_NS;
	int r;

	while (!rig->welcomed) {
		if (rig_now_ns() >= deadline_ns)
			return log_error_errno(-ETIMEDOUT,
					       "The worker has not connected to COFRIS_SOCKET "
					       "within 15 s");
		r = step(rig, deadline_ns);
		if (r < 0)
			return r;
	}
	return 0;
}

int rig_start_worker(struct rig *rig, enum worker_load load, uint32_t in_flight, double rate_rps,
		     uint64_t seed)
{
	struct worker_command command = rig->options.worker;
	int r;

	rig_stop_worker(rig);
	command.bdf = rig->bdf;
	command.socket_path = rig->scratch.socket_path;
	command.load = load;
	command.in_flight = in_flight;
	command.rate_rps = rate_rps;
	command.seed = seed;
	r = worker_process_start(&command, &rig->worker);
	if (r < 0)
		return log_error_errno(r, "Cannot start the worker: %m");
	return wait_for_hello(rig);
}

void rig_stop_worker(struct rig *rig)
{
	worker_process_stop(&rig->worker, STOP_TIMEOUT_MS);
	rig->connection = channel_connection_free(rig->connection);
	rig->welcomed = false;
}

int rig_sample(struct rig *rig, struct channel_sample *ret)
{
	int r;

	if (!rig->welcomed)
		return log_error_errno(-ECHILD, "There is no worker");
	r = channel_connection_sample(rig->connection, ret);
	return r < 0 ? log_error_errno(r, "The worker's counters make no sense") : 0;
}

int rig_histogram(struct rig *rig, enum channel_series series, struct channel_histogram *ret)
{
	struct channel_histogram sum = {0}, bank;
	int r;

	for (uint32_t i = 0; i < CHANNEL_BANKS; i++) {
		r = channel_connection_histogram(rig->connection, series, i, &bank);
		if (r < 0)
			return log_error_errno(r, "The worker's histograms make no sense");
		histogram_add(&sum, &bank);
	}
	*ret = sum;
	return 0;
}

int rig_direct(struct rig *rig, struct channel_directive *directive)
{
	uint64_t deadline_ns = rig_now_ns() + APPLY_NS;
	struct channel_sample sample;
	int r;

	directive->epoch = ++rig->epoch;
	channel_connection_direct(rig->connection, directive);
	for (;;) {
		r = rig_sample(rig, &sample);
		if (r < 0)
			return r;
		if (sample.applied_epoch >= directive->epoch)
			return 0;
		if (rig_now_ns() >= deadline_ns)
			return log_error_errno(-ETIMEDOUT,
					       "The worker has not applied a directive within 2 s");
		r = rig_wait(rig, rig_now_ns() + APPLY_POLL_NS);
		if (r < 0)
			return r;
	}
}

/* ---- making and unmaking ---- */

static int open_signals(struct rig *rig)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	rig->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	return rig->signal_fd < 0 ? log_error_errno(-errno, "Cannot watch signals: %m") : 0;
}

static int open_socket(struct rig *rig)
{
	int r;

	r = scratch_open_default(&rig->scratch);
	if (r < 0)
		return log_error_errno(r, "Cannot make a folder in /tmp: %m");
	rig->listen_fd = channel_listen(rig->scratch.socket_path, 0600);
	if (rig->listen_fd < 0)
		return log_error_errno(rig->listen_fd, "Cannot listen at %s: %m",
				       rig->scratch.socket_path);
	return 0;
}

int rig_new(const struct rig_options *o, struct rig **ret)
{
	_cleanup_(rig_freep) struct rig *rig = calloc(1, sizeof(*rig));
	int r;

	if (!rig)
		return -ENOMEM;
	rig->options = *o;
	rig->signal_fd = rig->listen_fd = -1;
	rig->worker = WORKER_PROCESS_INIT;
	rig->scratch = SCRATCH_INIT;
	/* First, so that no signal finds the card claimed and nobody listening. */
	r = open_signals(rig);
	if (r < 0)
		return r;
	r = actuator_client_connect(o->actuator_path, &rig->client);
	if (r < 0)
		return log_error_errno(r, "Cannot reach cofris-actuator at %s: %m",
				       o->actuator_path);
	r = find_card(rig);
	if (r == 0)
		r = open_socket(rig);
	if (r == 0)
		r = claim(rig);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(rig);
	return 0;
}

struct rig *rig_free(struct rig *rig)
{
	if (!rig)
		return NULL;
	/* The card first: a worker that will not end must not keep it slow. */
	release(rig);
	rig_stop_worker(rig);
	(void)actuator_client_free(rig->client);
	closep(&rig->signal_fd);
	closep(&rig->listen_fd);
	scratch_close(&rig->scratch);
	free(rig);
	return NULL;
}
