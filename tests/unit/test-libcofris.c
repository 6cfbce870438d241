/* SPDX-License-Identifier: Apache-2.0 */
/* The client library against the daemon's side of the channel, both in this process. */
#include "channel/connection.h"
#include "cofris/cofris.h"
#include "support/channel-server.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

/* Where a test is about the lease; elsewhere one that outlives every test. */
#define SHORT_LEASE_NS (NSEC_PER_SEC / 2)
#define LONG_LEASE_NS  (300 * NSEC_PER_SEC)
/* clang's spelling of gcc's macros. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#define MAX_APPLIED 32

struct fixture {
	char folder[32];
	char path[64];
	int listen_fd;
	struct channel_connection *server;
	struct cofris_channel *client;
	uint64_t lease_ns;
	pid_t child; /* killed and reaped at the end if it still runs */

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

static void set_apply_result(struct fixture *f, int result)
{
	pthread_mutex_lock(&f->lock);
	f->apply_result = result;
	pthread_mutex_unlock(&f->lock);
}

static struct cofris_directive applied_at(struct fixture *f, unsigned int i)
{
	struct cofris_directive d;

	pthread_mutex_lock(&f->lock);
	assert_true(i < f->n_applied);
	d = f->applied[i];
	pthread_mutex_unlock(&f->lock);
	return d;
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
	f->lease_ns = LONG_LEASE_NS;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->child > 0) {
		kill(f->child, SIGKILL);
		waitpid(f->child, NULL, 0);
	}
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

static void welcome(struct fixture *f)
{
	f->server = accept_hello(f->listen_fd, NULL);
	assert_int_equal(channel_connection_welcome(f->server, f->lease_ns), 0);
	WAIT_UNTIL((channel_connection_beat(f->server), cofris_connected(f->client)));
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
	f->server = accept_hello(f->listen_fd, &hello);
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
	assert_int_equal(applied_at(f, 0).epoch, 7);
	assert_int_equal(cofris_directive(f->client, 0, &seen), 1);
	assert_int_equal(cofris_directive(f->client, 7, &seen), 0);
	assert_memory_equal(seen.cu_mask, d.cu_mask, sizeof(d.cu_mask));
	assert_int_equal(seen.cu_mask_bits, 48);
	assert_int_equal(seen.max_batch, 8);
	assert_int_equal(seen.max_wait_ns, 2000000);
	assert_int_equal(seen.slo_ns, 20 * NSEC_PER_MSEC);
	assert_int_equal(seen.sclk_mhz, 1200);
}

/* --- options -------------------------------------------------------------------------------- */

#define SET(name, statement)                                                                       \
	static void name(struct cofris_options *o)                                                 \
	{                                                                                          \
		statement;                                                                         \
	}
static const struct cofris_device bad_device[] = {{.bdf = "43:00.0"}};
static const struct cofris_device same_devices[] = {{.bdf = "0000:43:00.0"},
						    {.bdf = "0000:43:00.0"}};
static char long_path[200];
SET(set_size, o->size = sizeof(*o) - 1)
SET(set_size_zero, o->size = 0)
SET(set_no_model, o->model = NULL)
SET(set_empty_model, o->model = "")
SET(set_long_model, o->model = "01234567890123456789012345678901234567890")
SET(set_odd_model, o->model = "res net")
SET(set_climbing_model, o->model = "a/../b")
SET(set_absolute_model, o->model = "/a")
SET(set_odd_instance, o->instance = "a\nb")
SET(set_empty_instance, o->instance = "")
SET(set_follows, o->follows = 1 << 7)
SET(set_reports, o->reports = 1 << 7)
SET(set_slots, o->slots = CHANNEL_MAX_SLOTS + 1)
SET(set_no_apply, o->apply = NULL)
SET(set_many_devices, o->n_devices = COFRIS_MAX_DEVICES + 1)
SET(set_null_devices, o->n_devices = 1)
SET(set_bad_device, (o->devices = bad_device, o->n_devices = 1))
SET(set_same_devices, (o->devices = same_devices, o->n_devices = 2))
SET(set_long_path, o->socket_path = long_path)

static void test_bad_options_are_refused(void **state)
{
	static void (*const setters[])(struct cofris_options *) = {
		set_size,	  set_size_zero,      set_no_model,	  set_empty_model,
		set_long_model,	  set_odd_model,      set_climbing_model, set_absolute_model,
		set_odd_instance, set_empty_instance, set_follows,	  set_reports,
		set_slots,	  set_no_apply,	      set_many_devices,	  set_null_devices,
		set_bad_device,	  set_same_devices,   set_long_path,
	};
	struct fixture *f = *state;

	memset(long_path, 'a', sizeof(long_path) - 1);
	assert_int_equal(cofris_open(NULL, &f->client), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(setters); i++) {
		struct cofris_options o = options_for(f);
		int r;

		setters[i](&o);
		r = cofris_open(&o, &f->client);
		if (r != -EINVAL)
			fail_msg("case %zu gave %d", i, r);
		assert_null(f->client);
	}
	assert_null(cofris_close(NULL));
	assert_string_equal(cofris_version(), COFRIS_VERSION);
}

static void test_names_are_judged_alike_on_both_sides(void **state)
{
	static const char *const names[] = {
		"a",
		"resnet50",
		"A-Z_0.9/x",
		"a.",
		".a",
		"a/.b",
		"a/b.",
		"a//b",
		"a/",
		"/",
		".",
		"..",
		"a..b",
		"a/..",
		"-a",
		"_",
		"a b",
		"a\\b",
		"\xc3\xa4",
		"a:b",
		"a/b/c/d",
		"0123456789012345678901234567890123456789",
		"01234567890123456789012345678901234567890",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct cofris_options o = options_for(f);
		int expected = model_name_is_valid(names[i]) ? 0 : -EINVAL;
		int r;

		o.model = names[i];
		o.socket_path = "/nonexistent/worker.sock";
		r = cofris_open(&o, &f->client);
		if (r != expected)
			fail_msg("%s: %d, the daemon's rule says %d", names[i], r, expected);
		f->client = cofris_close(f->client);
	}
}

static void test_the_socket_comes_from_the_environment(void **state)
{
	struct fixture *f = *state;
	struct cofris_options o = options_for(f);
	struct channel_hello hello;
	char pid[16];

	o.socket_path = NULL;
	o.instance = NULL;
	assert_int_equal(setenv("COFRIS_SOCKET", f->path, 1), 0);
	assert_int_equal(cofris_open(&o, &f->client), 0);
	assert_int_equal(unsetenv("COFRIS_SOCKET"), 0);
	f->server = accept_hello(f->listen_fd, &hello);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	assert_string_equal(hello.instance, pid);
}

/* --- counting ------------------------------------------------------------------------------- */

static void one_request(struct cofris_channel *c)
{
	struct cofris_request r = cofris_begin(c, 1);

	cofris_start(c, &r, 1);
	cofris_end(c, &r, COFRIS_OK);
}

static void test_without_a_daemon_everything_works(void **state)
{
	struct fixture *f = *state;
	struct cofris_options o = options_for(f);
	struct cofris_directive d;
	char text[256];

	o.socket_path = "/nonexistent/worker.sock";
	assert_int_equal(cofris_open(&o, &f->client), 0);
	for (unsigned int i = 0; i < 1000; i++)
		one_request(f->client);
	cofris_gauges(f->client, 1, 2);
	assert_int_equal(cofris_connected(f->client), 0);
	assert_int_equal(cofris_directive(f->client, 0, &d), 0);
	WAIT_UNTIL(cofris_problem(f->client, text, sizeof(text)) == 1);
	assert_non_null(strstr(text, "/nonexistent/worker.sock"));
	assert_non_null(strstr(text, strerror(ENOENT)));
	assert_int_equal(cofris_problem(f->client, text, 4), 1);
	assert_int_equal(strlen(text), 3);
}

static void test_requests_from_before_the_connection_are_counted_nowhere(void **state)
{
	struct fixture *f = *state;
	struct cofris_options o = options_for(f);
	struct cofris_request before, after;
	struct channel_sample s;

	assert_int_equal(cofris_open(&o, &f->client), 0);
	before = cofris_begin(f->client, 1);
	welcome(f);
	after = cofris_begin(f->client, 1);
	cofris_start(f->client, &before, 1);
	cofris_end(f->client, &before, COFRIS_OK);
	s = sample_of(f->server);
	assert_int_equal(s.arrivals, 1);
	assert_int_equal(s.starts, 0);
	assert_int_equal(s.completions, 0);
	cofris_end(f->client, &after, COFRIS_OK);
	assert_int_equal(sample_of(f->server).completions, 1);
}

static void test_a_request_is_started_once(void **state)
{
	struct fixture *f = *state;
	struct cofris_request r;

	connect_both(f);
	r = cofris_begin(f->client, 1);
	cofris_start(f->client, &r, 1);
	cofris_start(f->client, &r, 1);
	assert_int_equal(sample_of(f->server).starts, 1);
	assert_int_equal(sample_of(f->server).batches, 1);
	cofris_start(f->client, NULL, 0);
	assert_int_equal(sample_of(f->server).batches, 1);
}

static void test_gauges_are_shown(void **state)
{
	struct fixture *f = *state;

	connect_both(f);
	cofris_gauges(f->client, 3, 17);
	assert_int_equal(sample_of(f->server).running, 3);
	assert_int_equal(sample_of(f->server).waiting, 17);
}

static void test_the_beat_goes_on(void **state)
{
	struct fixture *f = *state;
	uint64_t first;

	connect_both(f);
	first = sample_of(f->server).beat;
	WAIT_UNTIL(sample_of(f->server).beat >= first + 3);
}

struct crowd {
	struct cofris_channel *client;
	pthread_barrier_t together;
	unsigned int requests;
};

static void *join_crowd(void *p)
{
	struct crowd *crowd = p;

	one_request(crowd->client);
	/* All threads live at the same time, so that they cannot follow each other in one shard. */
	pthread_barrier_wait(&crowd->together);
	for (unsigned int i = 1; i < crowd->requests; i++)
		one_request(crowd->client);
	return NULL;
}

static void test_more_threads_than_shards_lose_no_count(void **state)
{
	enum { THREADS = 100, REQUESTS = 2000 };
	struct fixture *f = *state;
	struct crowd crowd = {.requests = REQUESTS};
	pthread_t threads[THREADS];
	struct channel_sample s;
	static struct channel_histogram h;

	connect_both(f);
	crowd.client = f->client;
	pthread_barrier_init(&crowd.together, NULL, THREADS);
	for (unsigned int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, join_crowd, &crowd), 0);
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&crowd.together);
	s = sample_of(f->server);
	assert_int_equal(s.arrivals, THREADS * REQUESTS);
	assert_int_equal(s.starts, THREADS * REQUESTS);
	assert_int_equal(s.batches, THREADS * REQUESTS);
	assert_int_equal(s.completions, THREADS * REQUESTS);
	assert_int_equal(channel_connection_histogram(f->server, CHANNEL_TOTAL, 0, &h), 0);
	assert_int_equal(h.count, THREADS * REQUESTS);
	assert_true(f->server->memory->shards[CHANNEL_SHARED_SHARD].classes[0].arrivals > 0);
}

static void *ask_once(void *client)
{
	one_request(client);
	return NULL;
}

static void test_threads_that_end_give_their_shard_back(void **state)
{
	enum { THREADS = 200 };
	struct fixture *f = *state;

	connect_both(f);
	for (unsigned int i = 0; i < THREADS; i++) {
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, ask_once, f->client), 0);
		pthread_join(thread, NULL);
	}
	assert_int_equal(sample_of(f->server).completions, THREADS);
	assert_int_equal(f->server->memory->shards[CHANNEL_SHARED_SHARD].classes[0].arrivals, 0);
}

/* Requests that begin on one thread and end on another, handed over by a ring of one. */
struct relay {
	struct cofris_channel *client;
	struct cofris_request request;
	_Atomic unsigned int begun, ended;
	_Atomic bool stop;
};

static void *relay_begin(void *p)
{
	struct relay *relay = p;

	while (!atomic_load(&relay->stop)) {
		if (atomic_load(&relay->begun) != atomic_load(&relay->ended)) {
			sched_yield();
			continue;
		}
		relay->request = cofris_begin(relay->client, 1);
		atomic_fetch_add(&relay->begun, 1);
	}
	return NULL;
}

static void *relay_end(void *p)
{
	struct relay *relay = p;

	while (!atomic_load(&relay->stop)) {
		if (atomic_load(&relay->begun) == atomic_load(&relay->ended)) {
			sched_yield();
			continue;
		}
		cofris_start(relay->client, &relay->request, 1);
		cofris_end(relay->client, &relay->request, COFRIS_FAILED);
		atomic_fetch_add(&relay->ended, 1);
	}
	return NULL;
}

static void test_an_honest_worker_is_never_torn(void **state)
{
	struct fixture *f = *state;
	struct relay relays[2] = {0};
	pthread_t threads[4];
	struct channel_sample s;
	unsigned int bad = 0;

	connect_both(f);
	for (unsigned int i = 0; i < 2; i++) {
		relays[i].client = f->client;
		pthread_create(&threads[2 * i], NULL, relay_begin, &relays[i]);
		pthread_create(&threads[2 * i + 1], NULL, relay_end, &relays[i]);
	}
	WAIT_UNTIL(sample_of(f->server).completions + sample_of(f->server).failures > 100);
	for (unsigned int i = 0; i < 20000; i++)
		bad += channel_connection_sample(f->server, &s) != 0;
	for (unsigned int i = 0; i < 2; i++)
		atomic_store(&relays[i].stop, true);
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(bad, 0);
	s = sample_of(f->server);
	assert_int_equal(s.failures, relays[0].ended + relays[1].ended);
	assert_int_equal(s.late, s.failures);
	assert_int_equal(s.arrivals, relays[0].begun + relays[1].begun);
}

/* --- latencies ------------------------------------------------------------------------------ */

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void test_histograms_agree_with_exact_quantiles(void **state)
{
	enum { N = 5000 };
	static const double quantiles[] = {0.01, 0.5, 0.95, 0.99};
	static uint64_t totals[N], services[N];
	static struct channel_histogram total, service;
	struct fixture *f = *state;
	uint64_t x = 2463534242, busy_ns = 0, end_ns;
	struct channel_sample s;

	print_message("seed %llu\n", (unsigned long long)x);
	connect_both(f);
	end_ns = now_ns();
	for (unsigned int i = 0; i < N; i++) {
		struct cofris_request r;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		/* Services of 0.1 to 10 ms, waits up to 20 ms. */
		services[i] = 100000 + x % 10000000;
		totals[i] = services[i] + (x >> 32) % 20000000;
		r = cofris_begin_at(f->client, 1, end_ns - totals[i]);
		cofris_start_at(f->client, &r, 1, end_ns - services[i]);
		cofris_end_at(f->client, &r, COFRIS_OK, end_ns);
		busy_ns += services[i];
	}
	qsort(totals, N, sizeof(totals[0]), compare_u64);
	qsort(services, N, sizeof(services[0]), compare_u64);
	assert_int_equal(channel_connection_histogram(f->server, CHANNEL_TOTAL, 0, &total), 0);
	assert_int_equal(channel_connection_histogram(f->server, CHANNEL_SERVICE, 0, &service), 0);
	assert_int_equal(total.count, N);
	assert_int_equal(service.count, N);
	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++) {
		size_t rank = (size_t)(quantiles[i] * N + 0.999999) - 1;
		double t = (double)channel_histogram_quantile(&total, quantiles[i]);
		double v = (double)channel_histogram_quantile(&service, quantiles[i]);

		assert_true(t > (double)totals[rank]);
		assert_true(t <= (double)totals[rank] * (1 + 1.0 / 32) + 1);
		/* The start is kept in units of 256 ns. */
		assert_true(v > (double)services[rank] - 256);
		assert_true(v <= ((double)services[rank] + 256) * (1 + 1.0 / 32) + 1);
	}
	s = sample_of(f->server);
	assert_true(s.busy_ns >= busy_ns && s.busy_ns <= busy_ns + 256 * N);
}

static void test_a_batch_is_busy_once(void **state)
{
	struct fixture *f = *state;
	struct cofris_request r[4];
	static struct channel_histogram h;
	uint64_t end_ns = now_ns(), unit = 1024 * 1024;

	connect_both(f);
	for (unsigned int i = 0; i < 4; i++)
		r[i] = cofris_begin_at(f->client, 2, end_ns - 3 * unit);
	cofris_start_at(f->client, r, 4, end_ns - 2 * unit);
	for (unsigned int i = 4; i-- > 0;)
		cofris_end_at(f->client, &r[i], COFRIS_OK, end_ns);
	assert_int_equal(sample_of(f->server).busy_ns, 2 * unit);
	assert_int_equal(sample_of(f->server).batches, 1);
	assert_int_equal(channel_connection_histogram(f->server, CHANNEL_SERVICE, 0, &h), 0);
	assert_int_equal(h.count, 8);
}

static void test_without_starts_service_is_learnt_from_an_empty_queue(void **state)
{
	struct fixture *f = *state;
	struct cofris_options o = options_for(f);
	uint64_t end_ns = now_ns(), ms = NSEC_PER_MSEC;
	struct cofris_request first, second, third;
	static struct channel_histogram h;

	o.reports = 0;
	connect_with(f, &o);
	first = cofris_begin_at(f->client, 1, end_ns - 4 * ms);
	second = cofris_begin_at(f->client, 1, end_ns - 3 * ms);
	cofris_end_at(f->client, &first, COFRIS_OK, end_ns);
	cofris_end_at(f->client, &second, COFRIS_OK, end_ns + 2 * ms);
	third = cofris_begin_at(f->client, 1, end_ns + 2 * ms);
	cofris_end_at(f->client, &third, COFRIS_OK, end_ns + 5 * ms);
	assert_int_equal(channel_connection_histogram(f->server, CHANNEL_SERVICE, 0, &h), 0);
	assert_int_equal(h.count, 2);
	assert_int_equal(h.buckets[channel_histogram_bucket(4 * ms)], 1);
	assert_int_equal(h.buckets[channel_histogram_bucket(3 * ms)], 1);
	assert_int_equal(sample_of(f->server).busy_ns, 7 * ms);
	assert_int_equal(sample_of(f->server).batches, 2);
	assert_int_equal(sample_of(f->server).starts, 0);
	assert_int_equal(sample_of(f->server).completions, 3);
}

static void direct(struct fixture *f, const struct channel_directive *d)
{
	channel_connection_direct(f->server, d);
	WAIT_UNTIL((channel_connection_beat(f->server),
		    sample_of(f->server).applied_epoch == d->epoch));
}

static void test_late_is_after_the_slo_or_failed(void **state)
{
	static const struct {
		uint64_t sojourn_ms;
		enum cofris_status status;
		unsigned int late;
	} cases[] = {
		{1, COFRIS_OK, 0}, {20, COFRIS_OK, 0},	  {21, COFRIS_OK, 1},
		{0, COFRIS_OK, 0}, {1, COFRIS_FAILED, 1}, {50, COFRIS_FAILED, 1},
	};
	struct fixture *f = *state;
	struct channel_directive d = directive(1);
	uint64_t end_ns = now_ns();
	unsigned int late = 0;

	connect_both(f);
	direct(f, &d);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t arrival_ns = end_ns - cases[i].sojourn_ms * NSEC_PER_MSEC;
		struct cofris_request r = cofris_begin_at(f->client, 1, arrival_ns);

		cofris_end_at(f->client, &r, cases[i].status, end_ns);
		late += cases[i].late;
		assert_int_equal(sample_of(f->server).late, late);
	}
}

static void test_each_epoch_has_its_bank_and_none_what_straddles(void **state)
{
	struct fixture *f = *state;
	struct channel_directive d = directive(1);
	static struct channel_histogram h;
	struct cofris_request r;

	connect_both(f);
	one_request(f->client);
	r = cofris_begin(f->client, 1);
	cofris_start(f->client, &r, 1);
	direct(f, &d);
	cofris_end(f->client, &r, COFRIS_OK);
	one_request(f->client);
	one_request(f->client);

	assert_int_equal(channel_connection_histogram(f->server, CHANNEL_SERVICE, 0, &h), 0);
	assert_int_equal(h.count, 1);
	assert_int_equal(channel_connection_histogram(f->server, CHANNEL_SERVICE, 1, &h), 0);
	assert_int_equal(h.count, 2);
	/* Its latency counts, under the directive at its end. */
	assert_int_equal(channel_connection_histogram(f->server, CHANNEL_TOTAL, 1, &h), 0);
	assert_int_equal(h.count, 3);
}

/* --- boost ---------------------------------------------------------------------------------- */

static void start_after(struct fixture *f, uint64_t wait_ns)
{
	uint64_t now = now_ns();
	struct cofris_request r = cofris_begin_at(f->client, 1, now - wait_ns);

	cofris_start_at(f->client, &r, 1, now);
	cofris_end_at(f->client, &r, COFRIS_OK, now);
}

static void test_a_long_wait_wakes_the_daemon_once_until_it_is_armed(void **state)
{
	struct fixture *f = *state;
	struct channel_directive d = directive(1);
	uint64_t before;

	connect_both(f);
	d.boost_wait_ns = 5 * NSEC_PER_MSEC;
	direct(f, &d);
	before = now_ns();
	WAIT_UNTIL(now_ns() - before > 2 * CHANNEL_WAKE_INTERVAL_NS);
	start_after(f, 5 * NSEC_PER_MSEC);
	assert_int_equal(channel_connection_take_wake(f->server), 0);
	start_after(f, 6 * NSEC_PER_MSEC);
	assert_int_equal(channel_connection_take_wake(f->server), 1);

	/* Not armed: nothing, however long after. */
	atomic_store(&f->server->memory->worker.wake_armed, 0);
	before = now_ns();
	WAIT_UNTIL(now_ns() - before > 2 * CHANNEL_WAKE_INTERVAL_NS);
	start_after(f, 50 * NSEC_PER_MSEC);
	assert_int_equal(channel_connection_take_wake(f->server), 0);
	/* Armed by that call; two at the same time are one. */
	start_after(f, 50 * NSEC_PER_MSEC);
	start_after(f, 50 * NSEC_PER_MSEC);
	assert_int_equal(channel_connection_take_wake(f->server), 1);
	assert_int_equal(channel_connection_take_wake(f->server), 0);
}

static void test_no_boost_is_asked_for_unless_directed(void **state)
{
	struct fixture *f = *state;
	struct channel_directive d = directive(1);

	connect_both(f);
	start_after(f, NSEC_PER_SEC);
	direct(f, &d);
	start_after(f, NSEC_PER_SEC);
	assert_int_equal(channel_connection_take_wake(f->server), 0);
}

/* --- directives and the lease --------------------------------------------------------------- */

static void test_a_failing_callback_acknowledges_nothing(void **state)
{
	struct fixture *f = *state;
	struct channel_directive d = directive(1);
	struct cofris_directive seen;

	connect_both(f);
	set_apply_result(f, -EIO);
	channel_connection_direct(f->server, &d);
	WAIT_UNTIL(n_applied(f) == 1);
	set_apply_result(f, 1);
	d.epoch = 2;
	direct(f, &d);
	assert_int_equal(n_applied(f), 2);
	assert_int_equal(applied_at(f, 1).epoch, 2);
	assert_int_equal(cofris_directive(f->client, 0, &seen), 1);
	assert_int_equal(seen.epoch, 2);
}

static void test_what_a_failed_callback_began_ends_with_the_lease(void **state)
{
	struct fixture *f = *state;
	struct channel_directive d = directive(1);

	f->lease_ns = SHORT_LEASE_NS;
	connect_both(f);
	set_apply_result(f, -EIO);
	channel_connection_direct(f->server, &d);
	WAIT_UNTIL(n_applied(f) == 1);
	set_apply_result(f, 2);
	WAIT_UNTIL(n_applied(f) == 2);
	assert_int_equal(applied_at(f, 0).epoch, 1);
	assert_int_equal(applied_at(f, 1).epoch, 0);
	assert_int_equal(sample_of(f->server).applied_epoch, 0);
}

static void test_a_worker_that_follows_nothing_acknowledges(void **state)
{
	struct fixture *f = *state;
	struct cofris_options o = options_for(f);
	struct channel_directive d = directive(4);

	o.follows = 0;
	o.apply = NULL;
	connect_with(f, &o);
	direct(f, &d);
	assert_int_equal(sample_of(f->server).applied_queues, 0);
}

static bool has_no_directive(struct fixture *f)
{
	struct cofris_directive d;

	(void)cofris_directive(f->client, 0, &d);
	return d.epoch == 0 && d.cu_mask_bits == 0 && d.max_batch == 0;
}

/* Beats for more than a lease; returns the longest time between two beats. */
static uint64_t beat_for_a_while(struct fixture *f)
{
	uint64_t begun = now_ns(), last = begun, longest = 0;

	while (now_ns() - begun < 2 * SHORT_LEASE_NS) {
		uint64_t now;

		channel_connection_beat(f->server);
		now = now_ns();
		longest = MAX(longest, now - last);
		last = now;
		poll(NULL, 0, 10);
	}
	return longest;
}

static void test_a_daemon_that_beats_keeps_its_lease(void **state)
{
	struct fixture *f = *state;
	struct channel_directive d = directive(1);
	uint64_t longest;

	f->lease_ns = SHORT_LEASE_NS;
	connect_both(f);
	direct(f, &d);
	longest = beat_for_a_while(f);
	/* A machine that stood still for most of a lease proves nothing. */
	if (longest > SHORT_LEASE_NS / 2)
		skip();
	assert_int_equal(n_applied(f), 1);
	assert_int_equal(applied_at(f, 0).epoch, 1);
}

static void test_a_daemon_that_stops_beating_loses_its_lease(void **state)
{
	struct fixture *f = *state;
	struct channel_directive d = directive(1);
	struct cofris_directive last;

	f->lease_ns = SHORT_LEASE_NS;
	connect_both(f);
	direct(f, &d);
	assert_int_equal(applied_at(f, 0).epoch, 1);
	/* The socket stays open, as under SIGSTOP. */
	WAIT_UNTIL(has_no_directive(f));
	WAIT_UNTIL(!cofris_connected(f->client));
	last = applied_at(f, n_applied(f) - 1);
	assert_int_equal(last.epoch, 0);
	assert_int_equal(last.cu_mask_bits, 0);
	assert_true(last.boost_wait_ns == UINT64_MAX);
	WAIT_UNTIL(sample_of(f->server).applied_epoch == 0);

	WAIT_UNTIL((channel_connection_beat(f->server),
		    sample_of(f->server).applied_epoch == 1 && cofris_connected(f->client)));
	assert_int_equal(applied_at(f, n_applied(f) - 1).epoch, 1);
}

static void test_a_failing_release_is_tried_again(void **state)
{
	struct fixture *f = *state;
	struct channel_directive d = directive(1);

	f->lease_ns = SHORT_LEASE_NS;
	connect_both(f);
	direct(f, &d);
	set_apply_result(f, -EIO);
	WAIT_UNTIL(n_applied(f) >= 3);
	assert_false(has_no_directive(f));
	set_apply_result(f, 0);
	WAIT_UNTIL(has_no_directive(f));
}

static void test_a_hang_up_keeps_the_directive_until_the_lease_ends(void **state)
{
	struct fixture *f = *state;
	struct channel_directive d = directive(1);

	f->lease_ns = SHORT_LEASE_NS;
	connect_both(f);
	direct(f, &d);
	f->server = channel_connection_free(f->server);
	WAIT_UNTIL(!cofris_connected(f->client));
	/* The hang-up alone has called nothing. */
	assert_true(n_applied(f) == 1 || applied_at(f, 1).epoch == 0);
	WAIT_UNTIL(has_no_directive(f));
	assert_int_equal(n_applied(f), 2);
	assert_int_equal(applied_at(f, 1).epoch, 0);
}

/* --- reconnecting --------------------------------------------------------------------------- */

static void test_counts_start_anew_with_each_connection(void **state)
{
	struct fixture *f = *state;
	struct cofris_request in_flight[3];
	struct channel_sample s;

	connect_both(f);
	for (unsigned int round = 0; round < 3; round++) {
		one_request(f->client);
		in_flight[round] = cofris_begin(f->client, 1);
		s = sample_of(f->server);
		assert_int_equal(s.arrivals, 2);
		assert_int_equal(s.completions, 1);
		/* Those that began on earlier connections end here. */
		for (unsigned int i = 0; i < round; i++) {
			cofris_start(f->client, &in_flight[i], 1);
			cofris_end(f->client, &in_flight[i], COFRIS_FAILED);
		}
		s = sample_of(f->server);
		assert_int_equal(s.starts, 1);
		assert_int_equal(s.failures, 0);
		assert_int_equal(s.late, 0);
		f->server = channel_connection_free(f->server);
		WAIT_UNTIL(!cofris_connected(f->client));
		/* In memory that nobody reads any more. */
		one_request(f->client);
		welcome(f);
	}
}

struct churn {
	struct cofris_channel *client;
	_Atomic bool stop;
};

static void *keep_asking(void *p)
{
	struct churn *churn = p;

	while (!atomic_load(&churn->stop)) {
		for (unsigned int i = 0; i < 200; i++)
			one_request(churn->client);
		poll(NULL, 0, 1);
	}
	return NULL;
}

static void test_reconnecting_under_load_is_never_torn(void **state)
{
	enum { THREADS = 70, ROUNDS = 4 };
	struct fixture *f = *state;
	struct churn churn = {0};
	pthread_t threads[THREADS];
	unsigned int bad = 0;

	connect_both(f);
	churn.client = f->client;
	for (unsigned int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, keep_asking, &churn), 0);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		struct channel_sample s = {0};

		for (unsigned int i = 0; i < 1000; i++)
			bad += channel_connection_sample(f->server, &s) != 0;
		f->server = channel_connection_free(f->server);
		WAIT_UNTIL(!cofris_connected(f->client));
		welcome(f);
	}
	WAIT_UNTIL(sample_of(f->server).completions > 0);
	atomic_store(&churn.stop, true);
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(bad, 0);
}

static void test_epochs_of_two_daemons_are_told_apart(void **state)
{
	struct fixture *f = *state;
	struct channel_directive d = directive(1);
	struct cofris_directive first, second;

	connect_both(f);
	direct(f, &d);
	assert_int_equal(cofris_directive(f->client, 0, &first), 1);
	f->server = channel_connection_free(f->server);
	WAIT_UNTIL(!cofris_connected(f->client));
	welcome(f);
	assert_int_equal(sample_of(f->server).applied_epoch, 0);
	direct(f, &d);
	assert_int_equal(cofris_directive(f->client, first.epoch, &second), 1);
	assert_true(second.epoch != first.epoch);
}

static unsigned int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static unsigned int count_threads(void)
{
	DIR *tasks = opendir("/proc/self/task");
	unsigned int n = 0;

	assert_non_null(tasks);
	for (struct dirent *e; (e = readdir(tasks));)
		n += e->d_name[0] != '.';
	closedir(tasks);
	return n;
}

static void test_closing_leaves_no_fd_and_no_thread(void **state)
{
	struct fixture *f = *state;
	unsigned int fds = count_fds(), threads = count_threads();

	connect_both(f);
	one_request(f->client);
	f->client = cofris_close(f->client);
	f->server = channel_connection_free(f->server);
	assert_int_equal(count_fds(), fds);
	/* A joined thread is listed until the kernel has buried it. */
	WAIT_UNTIL(count_threads() <= threads);
}

static void test_a_refusal_is_told_and_tried_again(void **state)
{
	struct fixture *f = *state;
	struct cofris_options o = options_for(f);
	char text[256];

	assert_int_equal(cofris_open(&o, &f->client), 0);
	f->server = accept_hello(f->listen_fd, NULL);
	channel_connection_refuse(f->server, -EACCES, "uid 1000: add 'allow = alice'");
	f->server = channel_connection_free(f->server);
	WAIT_UNTIL(cofris_problem(f->client, text, sizeof(text)) == 1);
	assert_string_equal(text, "refused: uid 1000: add 'allow = alice'");
	welcome(f);
	assert_int_equal(cofris_problem(f->client, text, sizeof(text)), 0);
}

/* --- a daemon that is not one --------------------------------------------------------------- */

static struct channel_welcome_message good_welcome(void)
{
	return (struct channel_welcome_message){
		.header = {.magic = CHANNEL_MAGIC,
			   .version = CHANNEL_VERSION,
			   .type = CHANNEL_WELCOME,
			   .size = sizeof(struct channel_welcome_message)},
		.memory_size = sizeof(struct channel_memory),
		.lease_ns = LONG_LEASE_NS,
	};
}

static void send_with_fds(int socket, const void *bytes, size_t n, const int *fds, size_t n_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(3 * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)bytes, .iov_len = n};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n_fds > 0) {
		struct cmsghdr *h;

		m.msg_control = control.bytes;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(h), fds, n_fds * sizeof(int));
	}
	assert_int_equal(sendmsg(socket, &m, MSG_NOSIGNAL), n);
}

/* Sealed as a daemon would, or not, with a magic, or not. */
static int make_memory(size_t size, bool seal, uint32_t magic)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	const struct {
		uint32_t magic, version;
		uint64_t size;
	} header = {magic, CHANNEL_VERSION, sizeof(struct channel_memory)};

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	if (seal)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
				 0);
	return fd;
}

static void test_bad_answers_end_the_connection_without_a_leak(void **state)
{
	enum { WHOLE = sizeof(struct channel_memory) };
	static const struct {
		const char *name;
		size_t message_size, n_fds, memory_size;
		uint16_t type;
		uint16_t version;
		uint32_t magic;
		bool sealed;
	} cases[] = {
		{"no fds", 32, 0, WHOLE, CHANNEL_WELCOME, CHANNEL_VERSION, CHANNEL_MAGIC, true},
		{"one fd", 32, 1, WHOLE, CHANNEL_WELCOME, CHANNEL_VERSION, CHANNEL_MAGIC, true},
		{"three fds", 32, 3, WHOLE, CHANNEL_WELCOME, CHANNEL_VERSION, CHANNEL_MAGIC, true},
		{"unsealed", 32, 2, WHOLE, CHANNEL_WELCOME, CHANNEL_VERSION, CHANNEL_MAGIC, false},
		{"small", 32, 2, 4096, CHANNEL_WELCOME, CHANNEL_VERSION, CHANNEL_MAGIC, true},
		{"no magic", 32, 2, WHOLE, CHANNEL_WELCOME, CHANNEL_VERSION, 0, true},
		{"version", 32, 2, WHOLE, CHANNEL_WELCOME, CHANNEL_VERSION + 1, CHANNEL_MAGIC,
		 true},
		{"announce", 32, 2, WHOLE, CHANNEL_ANNOUNCE, CHANNEL_VERSION, CHANNEL_MAGIC, true},
		{"short", 31, 2, WHOLE, CHANNEL_WELCOME, CHANNEL_VERSION, CHANNEL_MAGIC, true},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cofris_options o = options_for(f);
		struct channel_welcome_message m = good_welcome();
		unsigned int before = count_fds();
		const struct channel_hello *hello;
		const char *why;
		char text[256];
		int fds[3];

		assert_int_equal(cofris_open(&o, &f->client), 0);
		f->server = accept_hello(f->listen_fd, NULL);
		m.header.type = cases[i].type;
		m.header.version = cases[i].version;
		fds[0] = make_memory(cases[i].memory_size, cases[i].sealed, cases[i].magic);
		fds[1] = fds[2] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		send_with_fds(channel_connection_fd(f->server), &m, cases[i].message_size, fds,
			      cases[i].n_fds);
		close(fds[0]);
		close(fds[1]);
		WAIT_UNTIL(channel_connection_receive(f->server, &hello, &why) == -ECONNRESET);
		assert_int_equal(cofris_problem(f->client, text, sizeof(text)), 1);
		if (!strstr(text, strerror(cases[i].version == CHANNEL_VERSION ? EPROTO
									       : EPROTONOSUPPORT)))
			fail_msg("%s: %s", cases[i].name, text);
		assert_int_equal(cofris_connected(f->client), 0);
		one_request(f->client);
		f->client = cofris_close(f->client);
		f->server = channel_connection_free(f->server);
		/* It may have tried again meanwhile. */
		while (channel_accept(f->listen_fd, 0, &f->server) == 0)
			f->server = channel_connection_free(f->server);
		assert_int_equal(count_fds(), before);
	}
}

static void test_a_second_welcome_ends_the_connection(void **state)
{
	struct fixture *f = *state;
	struct channel_welcome_message m = good_welcome();
	const struct channel_hello *hello;
	const char *why;
	int fds[2];

	connect_both(f);
	fds[0] = make_memory(sizeof(struct channel_memory), true, CHANNEL_MAGIC);
	fds[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	send_with_fds(channel_connection_fd(f->server), &m, sizeof(m), fds, 2);
	close(fds[0]);
	close(fds[1]);
	WAIT_UNTIL(channel_connection_receive(f->server, &hello, &why) == -ECONNRESET);
}

/* --- processes ------------------------------------------------------------------------------ */

static bool background_blocks_all_signals(void)
{
	DIR *tasks = opendir("/proc/self/task");
	bool found = false;

	assert_non_null(tasks);
	for (struct dirent *e; (e = readdir(tasks));) {
		_cleanup_(fclosep) FILE *status = NULL;
		char path[300], line[256], name[32] = "";
		unsigned long long blocked = 0;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", e->d_name);
		status = fopen(path, "re");
		while (status && fgets(line, sizeof(line), status)) {
			(void)sscanf(line, "Name: %31s", name);
			(void)sscanf(line, "SigBlk: %llx", &blocked);
		}
		if (strcmp(name, "cofris") == 0)
			/* Bits 31 to 33 are libc's own, SIGKILL and SIGSTOP cannot be blocked. */
			found = (blocked & 0x7ffbfeff) == 0x7ffbfeff;
	}
	closedir(tasks);
	return found;
}

static void test_the_background_thread_takes_no_signal(void **state)
{
	struct fixture *f = *state;

	connect_both(f);
	WAIT_UNTIL(background_blocks_all_signals());
}

/* In the child: anything unexpected ends it with a status of its own. */
#define CHILD_CHECK(condition, status)                                                             \
	do {                                                                                       \
		if (!(condition))                                                                  \
			_exit(status);                                                             \
	} while (0)

static bool child_waits(struct cofris_channel *c, int connected)
{
	for (unsigned int i = 0; i < 20000; i++) {
		if (cofris_connected(c) == connected)
			return true;
		poll(NULL, 0, 1);
	}
	return false;
}

#if !defined(__SANITIZE_THREAD__) /* which allows no thread in a child of threads */
static void run_forked_child(struct fixture *f, struct cofris_request parents)
{
	CHILD_CHECK(cofris_connected(f->client) == 0, 10);
	cofris_end(f->client, &parents, COFRIS_OK);
	cofris_gauges(f->client, 9, 9);
	/* The first begin makes memory and a thread. */
	one_request(f->client);
	CHILD_CHECK(child_waits(f->client, 1), 11);
	cofris_end(f->client, &parents, COFRIS_OK);
	one_request(f->client);
	one_request(f->client);
	for (;;)
		pause();
}

static void test_a_forked_child_counts_for_itself(void **state)
{
	_cleanup_(channel_connection_freep) struct channel_connection *child_server = NULL;
	struct fixture *f = *state;
	struct cofris_request r;
	struct channel_sample s;

	connect_both(f);
	r = cofris_begin(f->client, 1);
	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0)
		run_forked_child(f, r);
	child_server = accept_hello(f->listen_fd, NULL);
	assert_int_equal(channel_connection_peer(child_server)->pid, f->child);
	assert_int_equal(channel_connection_welcome(child_server, LONG_LEASE_NS), 0);
	WAIT_UNTIL(sample_of(child_server).completions == 2);
	s = sample_of(child_server);
	assert_int_equal(s.arrivals, 2);
	assert_int_equal(s.running, 0);

	/* The parent's are as they were. */
	s = sample_of(f->server);
	assert_int_equal(s.arrivals, 1);
	assert_int_equal(s.completions, 0);
	assert_int_equal(s.running, 0);
	cofris_end(f->client, &r, COFRIS_OK);
	assert_int_equal(sample_of(f->server).completions, 1);
}

#endif

static int hangs_up(struct channel_connection *c)
{
	const struct channel_hello *hello;
	const char *why;

	return channel_connection_receive(c, &hello, &why) == -ECONNRESET;
}

static void test_a_child_that_asks_nothing_keeps_no_connection_open(void **state)
{
	struct fixture *f = *state;

	connect_both(f);
	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0) {
		for (;;)
			pause();
	}
	f->client = cofris_close(f->client);
	WAIT_UNTIL(hangs_up(f->server));
	assert_int_equal(waitpid(f->child, NULL, WNOHANG), 0);
}

static void test_a_child_may_close_what_it_inherits(void **state)
{
	struct fixture *f = *state;
	int status;

	connect_both(f);
	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0) {
		cofris_close(f->client);
		_exit(0);
	}
	assert_int_equal(waitpid(f->child, &status, 0), f->child);
	f->child = 0;
	assert_int_equal(status, 0);
	one_request(f->client);
	assert_int_equal(sample_of(f->server).completions, 1);
}

static void test_a_stopped_worker_stops_beating_and_goes_on(void **state)
{
	struct fixture *f = *state;
	struct cofris_options o = options_for(f);
	uint64_t beat, until;
	int status;

	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0) {
		CHILD_CHECK(cofris_open(&o, &f->client) == 0, 10);
		CHILD_CHECK(child_waits(f->client, 1), 11);
		one_request(f->client);
		for (;;)
			pause();
	}
	f->server = accept_hello(f->listen_fd, NULL);
	assert_int_equal(channel_connection_welcome(f->server, LONG_LEASE_NS), 0);
	WAIT_UNTIL(sample_of(f->server).beat > 0);
	WAIT_UNTIL(sample_of(f->server).completions == 1);

	assert_int_equal(kill(f->child, SIGSTOP), 0);
	assert_int_equal(waitpid(f->child, &status, WUNTRACED), f->child);
	assert_true(WIFSTOPPED(status));
	beat = sample_of(f->server).beat;
	until = now_ns() + 3 * CHANNEL_BEAT_NS;
	WAIT_UNTIL(now_ns() > until);
	assert_int_equal(sample_of(f->server).beat, beat);
	assert_false(hangs_up(f->server));
	assert_int_equal(kill(f->child, SIGCONT), 0);
	WAIT_UNTIL(sample_of(f->server).beat > beat);

	assert_int_equal(kill(f->child, SIGKILL), 0);
	WAIT_UNTIL(hangs_up(f->server));
	/* What it had counted can still be read. */
	assert_int_equal(sample_of(f->server).completions, 1);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* From here on the calling thread may read the clock, write 8 bytes to an fd, and exit. */
static int forbid_system_calls(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
}

static void test_requests_make_no_system_call(void **state)
{
	struct fixture *f = *state;
	struct cofris_options o = options_for(f);
	struct channel_directive d = directive(1);
	int status;

	d.boost_wait_ns = 0;
	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0) {
		struct cofris_directive seen;

		CHILD_CHECK(cofris_open(&o, &f->client) == 0, 10);
		/* The thread's first call takes a shard. */
		one_request(f->client);
		while (cofris_directive(f->client, 0, &seen) == 0)
			poll(NULL, 0, 1);
		CHILD_CHECK(forbid_system_calls() == 0, 12);
		for (unsigned int i = 0; i < 100000; i++)
			start_after(f, i);
		cofris_gauges(f->client, 1, 1);
		CHILD_CHECK(cofris_directive(f->client, 0, &seen) == 1, 13);
		_exit(0);
	}
	f->server = accept_hello(f->listen_fd, NULL);
	assert_int_equal(channel_connection_welcome(f->server, LONG_LEASE_NS), 0);
	channel_connection_direct(f->server, &d);
	assert_int_equal(waitpid(f->child, &status, 0), f->child);
	f->child = 0;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_true(sample_of(f->server).completions >= 100000);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_hello_carries_what_was_opened),
		TEST(test_counts_requests_by_weight),
		TEST(test_applies_and_acknowledges_a_directive),
		TEST(test_bad_options_are_refused),
		TEST(test_names_are_judged_alike_on_both_sides),
		TEST(test_the_socket_comes_from_the_environment),
		TEST(test_without_a_daemon_everything_works),
		TEST(test_requests_from_before_the_connection_are_counted_nowhere),
		TEST(test_a_request_is_started_once),
		TEST(test_gauges_are_shown),
		TEST(test_the_beat_goes_on),
		TEST(test_more_threads_than_shards_lose_no_count),
		TEST(test_threads_that_end_give_their_shard_back),
		TEST(test_an_honest_worker_is_never_torn),
		TEST(test_histograms_agree_with_exact_quantiles),
		TEST(test_a_batch_is_busy_once),
		TEST(test_without_starts_service_is_learnt_from_an_empty_queue),
		TEST(test_late_is_after_the_slo_or_failed),
		TEST(test_each_epoch_has_its_bank_and_none_what_straddles),
		TEST(test_a_long_wait_wakes_the_daemon_once_until_it_is_armed),
		TEST(test_no_boost_is_asked_for_unless_directed),
		TEST(test_a_failing_callback_acknowledges_nothing),
		TEST(test_what_a_failed_callback_began_ends_with_the_lease),
		TEST(test_a_worker_that_follows_nothing_acknowledges),
		TEST(test_a_daemon_that_beats_keeps_its_lease),
		TEST(test_a_daemon_that_stops_beating_loses_its_lease),
		TEST(test_a_failing_release_is_tried_again),
		TEST(test_a_hang_up_keeps_the_directive_until_the_lease_ends),
		TEST(test_counts_start_anew_with_each_connection),
		TEST(test_reconnecting_under_load_is_never_torn),
		TEST(test_epochs_of_two_daemons_are_told_apart),
		TEST(test_closing_leaves_no_fd_and_no_thread),
		TEST(test_a_refusal_is_told_and_tried_again),
		TEST(test_bad_answers_end_the_connection_without_a_leak),
		TEST(test_a_second_welcome_ends_the_connection),
		TEST(test_the_background_thread_takes_no_signal),
#if !defined(__SANITIZE_THREAD__)
		TEST(test_a_forked_child_counts_for_itself),
#endif
		TEST(test_a_child_that_asks_nothing_keeps_no_connection_open),
		TEST(test_a_child_may_close_what_it_inherits),
		TEST(test_a_stopped_worker_stops_beating_and_goes_on),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
		TEST(test_requests_make_no_system_call),
#endif
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
