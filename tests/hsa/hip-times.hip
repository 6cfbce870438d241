/* SPDX-License-Identifier: Apache-2.0 */
/* An ordinary HIP program that runs kernels of known cost on streams with CU masks, and says when
 * each began and ended by HIP's own events:
 *
 *   hip-times WORKGROUPS FLOP COUNT MASK...    COUNT kernels on each stream; MASK is "all" or words
 *                                              in hexadecimal as 33333333,03333333
 *   hip-times stress SECONDS SEED              streams, masks and buffers come and go; every byte
 *                                              that is moved is checked
 *   hip-times launches COUNT | idle SECONDS    what launching and being idle cost (JSON)
 *   hip-times block SIZE                       for each line read SIZE launches, and what one took:
 *                                              ns of the thread's CPU time, ns until all had run
 *
 * Prints "ready", waits for a line, and prints "kernel STREAM START END", both CLOCK_MONOTONIC in
 * ns. */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <hip/hip_ext.h>
#include <hip/hip_runtime.h>
#include <sys/resource.h>
#include <thread>
#include <time.h>
#include <unistd.h>
#include <vector>

/* The size of the text is the second word. */
extern "C" __device__ const char cofris_note[]
	__attribute__((section(".note.cofris"), used, aligned(4))) = "\7\0\0\0\26\0\0\0\1\0\0\0cofris\0\0"
								     "work flop=@0 bytes=@8\n";

extern "C" __global__ void work(uint64_t flop, uint64_t bytes, float *out)
{
	float x = (float)bytes;

	for (uint64_t i = 0; i < flop / 512; i++)
		x = x * 1.0001f + 1.0f;
	if (x == 0)
		*out = x;
}

extern "C" __global__ void empty()
{
}

#define HIP(call)                                                                                  \
	do {                                                                                       \
		hipError_t r_ = (call);                                                            \
		if (r_ != hipSuccess) {                                                            \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,              \
				hipGetErrorString(r_));                                            \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static uint64_t monotonic_ns()
{
	timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double cpu_s()
{
	rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_utime.tv_sec + u.ru_stime.tv_sec +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static hipEvent_t new_event()
{
	hipEvent_t e;

	HIP(hipEventCreate(&e));
	return e;
}

static hipStream_t new_stream(const char *mask)
{
	uint32_t words[2];
	hipStream_t s;

	if (sscanf(mask, "%x,%x", &words[0], &words[1]) == 2)
		HIP(hipExtStreamCreateWithCUMask(&s, 2, words));
	else
		HIP(hipStreamCreate(&s));
	return s;
}

static void launch(hipStream_t s, unsigned workgroups, uint64_t flop, hipEvent_t start,
		   hipEvent_t stop)
{
	hipExtLaunchKernelGGL(work, dim3(workgroups), dim3(256), 0, s, start, stop, 0, flop,
			      (uint64_t)0, (float *)nullptr);
	HIP(hipGetLastError());
}

/* A kernel whose start is known in CLOCK_MONOTONIC, to within a tenth of a millisecond. */
static hipEvent_t anchor(hipStream_t s, uint64_t *ret_ns)
{
	hipEvent_t start = new_event(), stop = new_event();

	for (;;) {
		uint64_t before = monotonic_ns(), after;

		launch(s, 1, 0, start, stop);
		HIP(hipStreamSynchronize(s));
		after = monotonic_ns();
		if (after - before < 200000) {
			*ret_ns = (before + after) / 2;
			return start;
		}
	}
}

static uint64_t event_ns(hipEvent_t since, uint64_t since_ns, hipEvent_t e)
{
	float ms;

	HIP(hipEventElapsedTime(&ms, since, e));
	return since_ns + (uint64_t)((double)ms * 1e6);
}

static int run(unsigned workgroups, uint64_t flop, int count, char **masks, int n)
{
	std::vector<std::vector<hipEvent_t>> starts(n), stops(n);
	std::vector<hipStream_t> streams;
	hipEvent_t since;
	uint64_t since_ns;

	for (int i = 0; i < n; i++) {
		streams.push_back(new_stream(masks[i]));
		launch(streams[i], 1, 0, nullptr, nullptr);
		HIP(hipStreamSynchronize(streams[i]));
	}
	since = anchor(streams[0], &since_ns);
	printf("ready\n");
	fflush(stdout);
	(void)getchar();
	for (int k = 0; k < count; k++)
		for (int i = 0; i < n; i++) {
			starts[i].push_back(new_event());
			stops[i].push_back(new_event());
			launch(streams[i], workgroups, flop, starts[i][k], stops[i][k]);
		}
	for (int i = 0; i < n; i++)
		HIP(hipStreamSynchronize(streams[i]));
	for (int i = 0; i < n; i++)
		for (int k = 0; k < count; k++)
			printf("kernel %d %llu %llu\n", i,
			       (unsigned long long)event_ns(since, since_ns, starts[i][k]),
			       (unsigned long long)event_ns(since, since_ns, stops[i][k]));
	return 0;
}

/* ---- stress ---- */

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

struct stress_result {
	uint64_t rounds, bad;
};

static void stress_thread(uint64_t seed, uint64_t until_ns, stress_result *ret)
{
	while (monotonic_ns() < until_ns) {
		size_t bytes = 4096 + next_random(&seed) % (1 << 20);
		uint32_t words[2] = {(uint32_t)next_random(&seed) | 1,
				     (uint32_t)next_random(&seed) & 0x0fffffff};
		std::vector<unsigned char> in(bytes), out(bytes);
		unsigned char *a, *b, value = (unsigned char)next_random(&seed);
		size_t filled = next_random(&seed) % bytes;
		hipStream_t s;

		for (auto &c : in)
			c = (unsigned char)next_random(&seed);
		HIP(hipExtStreamCreateWithCUMask(&s, 2, words));
		HIP(hipMalloc((void **)&a, bytes));
		HIP(hipMalloc((void **)&b, bytes));
		for (int i = 0; i < 3; i++) {
			HIP(hipMemcpyAsync(a, in.data(), bytes, hipMemcpyHostToDevice, s));
			HIP(hipMemsetAsync(a, value, filled, s));
			launch(s, 1 + next_random(&seed) % 1000, next_random(&seed) % 100000,
			       nullptr, nullptr);
			HIP(hipMemcpyAsync(b, a, bytes, hipMemcpyDeviceToDevice, s));
			HIP(hipMemcpyAsync(out.data(), b, bytes, hipMemcpyDeviceToHost, s));
			HIP(hipStreamSynchronize(s));
			for (size_t k = 0; k < bytes; k++)
				ret->bad += out[k] != (k < filled ? value : in[k]);
			ret->rounds++;
		}
		HIP(hipFree(a));
		HIP(hipFree(b));
		HIP(hipStreamDestroy(s));
	}
}

static int stress(int seconds, uint64_t seed)
{
	const int n = 4;
	stress_result results[n] = {};
	std::vector<std::thread> threads;
	uint64_t until_ns = monotonic_ns() + (uint64_t)seconds * 1000000000, rounds = 0, bad = 0;

	for (int i = 0; i < n; i++)
		threads.emplace_back(stress_thread, seed * n + i, until_ns, &results[i]);
	for (auto &t : threads)
		t.join();
	for (auto &r : results) {
		rounds += r.rounds;
		bad += r.bad;
	}
	printf("stress %llu rounds %llu bad\n", (unsigned long long)rounds, (unsigned long long)bad);
	return bad > 0 || rounds == 0;
}

/* ---- costs ---- */

static hipStream_t warm_stream()
{
	hipStream_t s = new_stream("all");

	empty<<<1, 64, 0, s>>>();
	HIP(hipStreamSynchronize(s));
	return s;
}

static int launches(int count)
{
	hipStream_t s = warm_stream();
	uint64_t begin = monotonic_ns(), submitted, end;
	double cpu = cpu_s();

	for (int i = 0; i < count; i++)
		empty<<<1, 64, 0, s>>>();
	submitted = monotonic_ns();
	HIP(hipStreamSynchronize(s));
	end = monotonic_ns();
	cpu = cpu_s() - cpu;
	printf("{\"launches\": %d, \"submit_us\": %.3f, \"each_us\": %.3f, \"per_s\": %.0f, "
	       "\"cpu_us\": %.3f}\n",
	       count, (submitted - begin) * 1e-3 / count, (end - begin) * 1e-3 / count,
	       count / ((end - begin) * 1e-9), cpu * 1e6 / count);
	return 0;
}

static uint64_t thread_cpu_ns()
{
	timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int block(int size)
{
	hipStream_t s = warm_stream();

	for (int c; (c = getchar()) != EOF;) {
		uint64_t wall = monotonic_ns(), cpu = thread_cpu_ns();

		for (int k = 0; k < size; k++)
			empty<<<1, 64, 0, s>>>();
		cpu = thread_cpu_ns() - cpu;
		HIP(hipStreamSynchronize(s));
		wall = monotonic_ns() - wall;
		printf("%.1f %.1f\n", (double)cpu / size, (double)wall / size);
		fflush(stdout);
	}
	return 0;
}

static int idle(int seconds)
{
	hipStream_t s = warm_stream();
	uint64_t begin, end;
	double cpu;

	(void)s;
	sleep(1);
	begin = monotonic_ns();
	cpu = cpu_s();
	sleep(seconds);
	end = monotonic_ns();
	printf("{\"idle_pct\": %.4f}\n", 100 * (cpu_s() - cpu) / ((end - begin) * 1e-9));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "stress") == 0)
		return stress(atoi(argv[2]), strtoull(argv[3], nullptr, 10));
	if (argc == 3 && strcmp(argv[1], "launches") == 0)
		return launches(atoi(argv[2]));
	if (argc == 3 && strcmp(argv[1], "block") == 0 && atoi(argv[2]) > 0)
		return block(atoi(argv[2]));
	if (argc == 3 && strcmp(argv[1], "idle") == 0)
		return idle(atoi(argv[2]));
	if (argc < 5) {
		fprintf(stderr, "usage: hip-times WORKGROUPS FLOP COUNT MASK...\n");
		return 2;
	}
	return run((unsigned)atoi(argv[1]), strtoull(argv[2], nullptr, 10), atoi(argv[3]), argv + 4,
		   argc - 4);
}
