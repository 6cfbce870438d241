/* SPDX-License-Identifier: Apache-2.0 */
/* The client library against the daemon's side of the channel, both in this process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants those first. */
#include <cmocka.h>

#include "base/units.h"
#include "channel/channel.h"
#include "cofris/cofris.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define LEASE_NS (NSEC_PER_SEC / 2)
/* For things that take milliseconds: long, as the machine may be busy. */
#define DEADLINE_NS (20 * NSEC_PER_SEC)

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Evaluates condition about every millisecond until it holds; fails after the deadline. */
#define WAIT_UNTIL(condition)                                                                      \
	do {                                                                                       \
		uint64_t wait_until_ = now_ns() + DEADLINE_NS;                                     \
		while (!(condition)) {                                                             \
			if (now_ns() > wait_until_)                                                \
				fail_msg("not in time: %s", #condition);                           \
			poll(NULL, 0, 1);                                                          \
		}                                                                                  \
	} while (0)

#define MAX_APPLIED 32

struct fixture {
	char folder[32];
	char path[64];
	int listen_fd;
	struct channel_connection *server;
	struct cofris_channel *client;

	pthread_mutex_t lock;
	struct cofris_directive applied[MAX_APPLIED];
	unsigned int n_applied;
	int apply_result;
};

static int record_apply(void *userdata, const struct cofris_directive *d)
{
	struct fixture *f = userdata;
	int r;

	pthread_mutex_lock(&f->lock);
	if (f->n_applied < MAX_APPLIED)
		f->applied[f->n_applied++] = *d;
	r = f->apply_result;
	pthread_mutex_unlock(&f->lock);
	return r;
}

static unsigned int n_applied(struct fixture *f)
{
	unsigned int n;

	pthread_mutex_lock(&f->lock);
	n = f->n_applied;
	pthread_mutex_unlock(&f->lock);
	return n;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->folder, "/tmp/test-libcofris.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/worker.sock", f->folder);
	f->listen_fd = channel_listen(f->path, 0666);
	assert_true(f->listen_fd >= 0);
	pthread_mutex_init(&f->lock, NULL);
	f->apply_result = 3;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	cofris_close(f->client);
	channel_connection_free(f->server);
	if (f->listen_fd >= 0)
		close(f->listen_fd);
	unlink(f->path);
	rmdir(f->folder);
	pthread_mutex_destroy(&f->lock);
	free(f);
	return 0;
}

static struct cofris_options options_for(struct fixture *f)
{
	return (struct cofris_options){
		.size = sizeof(struct cofris_options),
		.model = "resnet50",
		.instance = "a",
		.socket_path = f->path,
		.follows = COFRIS_FOLLOWS_CU_MASK | COFRIS_FOLLOWS_BATCH,
		.reports = COFRIS_REPORTS_STARTS,
		.apply = record_apply,
		.userdata = f,
	};
}

/* Accepts one connection and its HELLO; the caller owns the result. */
static struct channel_connection *accept_one(struct fixture *f, struct channel_hello *ret_hello)
{
	struct channel_connection *c = NULL;
	const struct channel_hello *hello;
	const char *why = "";
	int r = 0;

	WAIT_UNTIL(channel_accept(f->listen_fd, now_ns(), &c) == 0);
	WAIT_UNTIL((r = channel_connection_receive(c, &hello, &why)) != 0);
	if (r != 1)
		fail_msg("receive: %d %s", r, why);
	if (ret_hello)
		*ret_hello = *hello;
	return c;
}

static void welcome(struct fixture *f)
{
	f->server = accept_one(f, NULL);
	assert_int_equal(channel_connection_welcome(f->server, LEASE_NS), 0);
	WAIT_UNTIL(cofris_connected(f->client));
}

static void connect_with(struct fixture *f, const struct cofris_options *o)
{
	assert_int_equal(cofris_open(o, &f->client), 0);
	welcome(f);
}

static void connect_both(struct fixture *f)
{
	struct cofris_options o = options_for(f);

	connect_with(f, &o);
}

static struct channel_sample sample_of(struct channel_connection *c)
{
	struct channel_sample s;

	assert_int_equal(channel_connection_sample(c, &s), 0);
	return s;
}

static void test_hello_carries_what_was_opened(void **state)
{
	struct fixture *f = *state;
	const struct cofris_device devices[] = {
		{.bdf = "0000:43:00.0"},
		{.bdf = "0000:c3:00.1", .partition = 2},
	};
	struct cofris_options o = options_for(f);
	struct channel_hello hello;

	o.devices = devices;
	o.n_devices = 2;
	o.slots = 4;
	assert_int_equal(cofris_open(&o, &f->client), 0);
	f->server = accept_one(f, &hello);
	assert_string_equal(hello.model, "resnet50");
	assert_string_equal(hello.instance, "a");
	assert_int_equal(hello.n_devices, 2);
	assert_string_equal(hello.devices[0].bdf, "0000:43:00.0");
	assert_string_equal(hello.devices[1].bdf, "0000:c3:00.1");
	assert_int_equal(hello.devices[1].partition, 2);
	assert_int_equal(hello.follows, COFRIS_FOLLOWS_CU_MASK | COFRIS_FOLLOWS_BATCH);
	assert_int_equal(hello.reports, COFRIS_REPORTS_STARTS);
	assert_int_equal(hello.slots, 4);
	assert_int_equal(channel_connection_peer(f->server)->pid, getpid());
	assert_int_equal(channel_connection_peer(f->server)->uid, getuid());
}

static void test_counts_requests_by_weight(void **state)
{
	struct fixture *f = *state;
	struct cofris_request r[3];
	struct channel_sample s;

	connect_both(f);
	r[0] = cofris_begin(f->client, 1);
	r[1] = cofris_begin(f->client, 0);
	r[2] = cofris_begin(f->client, 5);
	s = sample_of(f->server);
	assert_int_equal(s.arrivals, 7);
	assert_int_equal(s.starts, 0);
	assert_int_equal(s.completions, 0);

	cofris_start(f->client, r, 2);
	cofris_start(f->client, &r[2], 1);
	s = sample_of(f->server);
	assert_int_equal(s.starts, 7);
	assert_int_equal(s.batches, 2);

	cofris_end(f->client, &r[0], COFRIS_OK);
	cofris_end(f->client, &r[1], COFRIS_FAILED);
	cofris_end(f->client, &r[2], COFRIS_OK);
	s = sample_of(f->server);
	assert_int_equal(s.arrivals, 7);
	assert_int_equal(s.completions, 6);
	assert_int_equal(s.failures, 1);
	assert_int_equal(s.late, 1);
}

static struct channel_directive directive(uint64_t epoch)
{
	return (struct channel_directive){
		.epoch = epoch,
		.cu_mask = {0xffffffff, 0x0000ffff},
		.cu_mask_bits = 48,
		.max_batch = 8,
		.max_wait_ns = 2000000,
		.slo_ns = 20 * NSEC_PER_MSEC,
		.boost_wait_ns = UINT64_MAX,
		.sclk_mhz = 1200,
	};
}

static void test_applies_and_acknowledges_a_directive(void **state)
{
	struct fixture *f = *state;
	struct channel_directive d = directive(7);
	struct cofris_directive seen;
	struct channel_sample s;

	connect_both(f);
	assert_int_equal(cofris_directive(f->client, 0, &seen), 0);
	assert_int_equal(seen.epoch, 0);
	assert_true(seen.boost_wait_ns == UINT64_MAX);

	channel_connection_direct(f->server, &d);
	WAIT_UNTIL(sample_of(f->server).applied_epoch == 7);
	s = sample_of(f->server);
	assert_int_equal(s.applied_queues, 3);
	assert_int_equal(n_applied(f), 1);
	assert_int_equal(f->applied[0].epoch, 7);
	assert_int_equal(cofris_directive(f->client, 0, &seen), 1);
	assert_int_equal(cofris_directive(f->client, 7, &seen), 0);
	assert_memory_equal(seen.cu_mask, d.cu_mask, sizeof(d.cu_mask));
	assert_int_equal(seen.cu_mask_bits, 48);
	assert_int_equal(seen.max_batch, 8);
	assert_int_equal(seen.max_wait_ns, 2000000);
	assert_int_equal(seen.slo_ns, 20 * NSEC_PER_MSEC);
	assert_int_equal(seen.sclk_mhz, 1200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_hello_carries_what_was_opened),
		TEST(test_counts_requests_by_weight),
		TEST(test_applies_and_acknowledges_a_directive),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
