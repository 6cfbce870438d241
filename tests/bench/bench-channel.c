/* SPDX-License-Identifier: Apache-2.0 */
/* What a request costs the worker that reports it: begin and end, and begin, start and end, on one
 * thread and on two, beside the clock reads in them and prometheus-cpp doing the same job.
 *   bench-channel [--json FILE]
 * Each figure is the median over rounds in which every subject runs once, so that a change of the
 * machine's speed meets them all. The channel is connected; its daemon side is in this process. */
#include "base/macros.h"
#include "base/units.h"
#include "channel/channel.h"
#include "cofris/cofris.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#if HAVE_PROMETHEUS
#include "bench-channel-prometheus.h"
#endif

#define ROUNDS	    31
#define ITERATIONS  100000U
#define MAX_THREADS 2

static struct cofris_channel *channel;

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void clocks(unsigned int n, unsigned int reads)
{
	for (unsigned int i = 0; i < n * reads; i++) {
		uint64_t now = now_ns();

		__asm__ volatile("" : : "r"(now));
	}
}

static void two_clocks(unsigned int n)
{
	clocks(n, 2);
}

static void three_clocks(unsigned int n)
{
	clocks(n, 3);
}

static void cofris_pairs(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct cofris_request r = cofris_begin(channel, 1);

		cofris_end(channel, &r, COFRIS_OK);
	}
}

static void cofris_triples(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct cofris_request r = cofris_begin(channel, 1);

		cofris_start(channel, &r, 1);
		cofris_end(channel, &r, COFRIS_OK);
	}
}

static struct subject {
	const char *key, *text;
	void (*run)(unsigned int n);
	double rounds_ns[MAX_THREADS][ROUNDS];
	double median_ns[MAX_THREADS], least_ns[MAX_THREADS];
} subjects[] = {
	{"two_clock_reads", "two clock reads", two_clocks},
	{"cofris_pair", "cofris begin, end", cofris_pairs},
#if HAVE_PROMETHEUS
	{"prometheus_pair", "prometheus-cpp: 2 counters, 1 histogram", prometheus_pairs},
#endif
	{"three_clock_reads", "three clock reads", three_clocks},
	{"cofris_triple", "cofris begin, start, end", cofris_triples},
#if HAVE_PROMETHEUS
	{"prometheus_triple", "prometheus-cpp: 3 counters, 2 histograms", prometheus_triples},
#endif
};

struct run {
	const struct subject *subject;
	pthread_barrier_t *together;
	double ns; /* per request */
};

static void *run_thread(void *p)
{
	struct run *run = p;
	uint64_t begun;

	run->subject->run(ITERATIONS / 100); /* caches, shard and branch history */
	pthread_barrier_wait(run->together);
	begun = now_ns();
	run->subject->run(ITERATIONS);
	run->ns = (double)(now_ns() - begun) / ITERATIONS;
	return NULL;
}

/* The mean over the threads of ns per request; 0 or a negative errno. */
static int run_subject(const struct subject *subject, unsigned int n_threads, double *ret_ns)
{
	pthread_t threads[MAX_THREADS];
	struct run runs[MAX_THREADS];
	pthread_barrier_t together;
	double sum_ns = 0;
	int r;

	pthread_barrier_init(&together, NULL, n_threads);
	for (unsigned int i = 0; i < n_threads; i++) {
		runs[i] = (struct run){.subject = subject, .together = &together};
		r = pthread_create(&threads[i], NULL, run_thread, &runs[i]);
		/* Those that run wait at the barrier for ever; the program ends anyway. */
		if (r != 0)
			return -r;
	}
	for (unsigned int i = 0; i < n_threads; i++) {
		pthread_join(threads[i], NULL);
		sum_ns += runs[i].ns;
	}
	pthread_barrier_destroy(&together);
	*ret_ns = sum_ns / n_threads;
	return 0;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int run_all(void)
{
	for (unsigned int round = 0; round < ROUNDS; round++)
		for (unsigned int t = 0; t < MAX_THREADS; t++)
			for (size_t i = 0; i < ARRAY_SIZE(subjects); i++) {
				int r = run_subject(&subjects[i], t + 1,
						    &subjects[i].rounds_ns[t][round]);

				if (r < 0)
					return r;
			}
	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++)
		for (unsigned int t = 0; t < MAX_THREADS; t++) {
			double *rounds_ns = subjects[i].rounds_ns[t];

			qsort(rounds_ns, ROUNDS, sizeof(rounds_ns[0]), compare_doubles);
			subjects[i].median_ns[t] = rounds_ns[ROUNDS / 2];
			subjects[i].least_ns[t] = rounds_ns[0];
		}
	return 0;
}

static const struct subject *find(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++)
		if (strcmp(subjects[i].key, key) == 0)
			return &subjects[i];
	return NULL;
}

static double overhead_ns(unsigned int thread)
{
	return find("cofris_pair")->median_ns[thread] - find("two_clock_reads")->median_ns[thread];
}

static void print_table(void)
{
	printf("%-44s %10s %10s %10s %10s\n", "ns a request, for each thread", "1 thread", "least",
	       "2 threads", "least");
	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++) {
		const struct subject *s = &subjects[i];

		printf("%-44s %10.1f %10.1f %10.1f %10.1f\n", s->text, s->median_ns[0],
		       s->least_ns[0], s->median_ns[1], s->least_ns[1]);
	}
	printf("%-44s %10.1f %10s %10.1f\n", "cofris begin, end beyond its clock reads",
	       overhead_ns(0), "", overhead_ns(1));
	if (!HAVE_PROMETHEUS)
		printf("built without prometheus-cpp (prometheus-cpp-dev): nothing to compare "
		       "with\n");
}

static int write_json(const char *path)
{
	json_t *root = json_object();
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++) {
		const struct subject *s = &subjects[i];

		json_object_set_new(root, s->key,
				    json_pack("{s:f,s:f,s:f,s:f}", "threads_1_ns", s->median_ns[0],
					      "threads_1_least_ns", s->least_ns[0], "threads_2_ns",
					      s->median_ns[1], "threads_2_least_ns",
					      s->least_ns[1]));
	}
	json_object_set_new(root, "pair_beyond_clock_reads_threads_1_ns",
			    json_real(overhead_ns(0)));
	json_object_set_new(root, "pair_beyond_clock_reads_threads_2_ns",
			    json_real(overhead_ns(1)));
	json_object_set_new(root, "prometheus", json_boolean(HAVE_PROMETHEUS));
	r = json_dump_file(root, path, JSON_INDENT(1));
	json_decref(root);
	return r < 0 ? -EIO : 0;
}

/* Greets one worker: the channel opened by this process. */
static int serve(int listen_fd, struct channel_connection **ret)
{
	_cleanup_(channel_connection_freep) struct channel_connection *c = NULL;
	const struct channel_hello *hello;
	const char *why = "";
	struct pollfd p = {.fd = listen_fd, .events = POLLIN};
	int r;

	if (poll(&p, 1, 5000) <= 0)
		return -ETIMEDOUT;
	r = channel_accept(listen_fd, now_ns(), &c);
	if (r < 0)
		return r;
	p.fd = channel_connection_fd(c);
	if (poll(&p, 1, 5000) <= 0)
		return -ETIMEDOUT;
	r = channel_connection_receive(c, &hello, &why);
	if (r != 1)
		return -EPROTO;
	r = channel_connection_welcome(c, 3600 * NSEC_PER_SEC);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < 5000 && !cofris_connected(channel); i++)
		(void)poll(NULL, 0, 1);
	if (!cofris_connected(channel))
		return -ETIMEDOUT;
	*ret = TAKE_PTR(c);
	return 0;
}

static int bench(const char *socket_path)
{
	const struct cofris_options options = {
		.size = sizeof(options),
		.model = "bench",
		.socket_path = socket_path,
		.reports = COFRIS_REPORTS_STARTS,
	};
	_cleanup_(channel_connection_freep) struct channel_connection *server = NULL;
	_cleanup_(closep) int listen_fd = -1;
	int r;

	listen_fd = channel_listen(socket_path, 0600);
	if (listen_fd < 0)
		return listen_fd;
	r = cofris_open(&options, &channel);
	if (r == 0)
		r = serve(listen_fd, &server);
	if (r == 0)
		r = run_all();
	channel = cofris_close(channel);
	(void)unlink(socket_path);
	return r;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", required_argument, NULL, 'j'},
		{NULL, 0, NULL, 0},
	};
	const char *json = NULL;
	char folder[] = "/tmp/bench-channel.XXXXXX", path[64];
	int r;

	while ((r = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (r != 'j') {
			fprintf(stderr, "usage: bench-channel [--json FILE]\n");
			return 2;
		}
		json = optarg;
	}
	if (!mkdtemp(folder)) {
		perror("mkdtemp");
		return 1;
	}
	snprintf(path, sizeof(path), "%s/worker.sock", folder);
	r = bench(path);
	(void)rmdir(folder);
	if (r == 0) {
		print_table();
		r = json ? write_json(json) : 0;
	}
	if (r < 0)
		fprintf(stderr, "bench-channel: %s\n", strerror(-r));
	return r < 0 ? 1 : 0;
}
