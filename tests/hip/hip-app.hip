/* SPDX-License-Identifier: Apache-2.0 */
/* An ordinary HIP server, which knows nothing of cofris: the "unmodified program" of the tests.
 * Each of its threads serves made-up requests on a stream of its own - copies in, a few kernels,
 * fills, copies out - and compares every byte that comes back from copies and fills. The kernels
 * work on a buffer of their own that nothing is compared with, so the program holds on a simulated
 * card, where no kernel is executed, as well as on a real one.
 *
 *   hip-app [--streams N] [--kernels N] [--bytes N] [--requests N] [--seconds N]
 *
 * Prints "ready" when each stream has served a request, a line of counts at SIGUSR1, and that line
 * at the end: after so many requests or seconds, or at SIGTERM. Exit status 1 if any byte was
 * wrong or a HIP call failed. */
#include <hip/hip_runtime.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <thread>
#include <vector>

__global__ void app_step(float *data, uint32_t n, float scale)
{
	uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i >= n)
		return;
	float value = data[i];
	for (int k = 0; k < 64; k++)
		value = value * scale + 1.0f;
	data[i] = value;
}

struct settings {
	uint64_t streams = 4, kernels = 4, bytes = 1 << 20, requests = 0, seconds = 0;
};

static std::atomic<uint64_t> n_requests, n_kernels, n_bytes, n_wrong, n_errors, n_ready;
static std::atomic<bool> stopping;

static bool failed(hipError_t e, const char *what)
{
	if (e == hipSuccess)
		return false;
	(void)fprintf(stderr, "hip-app: %s: %s\n", what, hipGetErrorString(e));
	n_errors++;
	stopping = true;
	return true;
}
#define TRY(call)                                                                                  \
	do {                                                                                       \
		if (failed((call), #call))                                                         \
			return false;                                                              \
	} while (0)

struct random_bits {
	uint64_t state;

	uint64_t next()
	{
		state = state * 6364136223846793005u + 1442695040888963407u;
		return state >> 33;
	}
};

struct lane {
	const settings &set;
	uint64_t index;
	random_bits random;
	hipStream_t stream = nullptr;
	uint8_t *in = nullptr, *out = nullptr, *filled = nullptr; /* pinned host memory */
	uint8_t *device_in = nullptr, *device_copy = nullptr, *device_fill = nullptr;
	float *scratch = nullptr;

	lane(const settings &s, uint64_t i) : set(s), index(i), random{i * 7919 + 1}
	{
	}
	bool open();
	bool serve();
	void close();
	void compare(const uint8_t *got, const uint8_t *want, uint64_t n, const char *what);
};

bool lane::open()
{
	TRY(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
	TRY(hipHostMalloc((void **)&in, set.bytes, 0));
	TRY(hipHostMalloc((void **)&out, set.bytes, 0));
	TRY(hipHostMalloc((void **)&filled, set.bytes, 0));
	TRY(hipMalloc((void **)&device_in, set.bytes));
	TRY(hipMalloc((void **)&device_copy, set.bytes));
	TRY(hipMalloc((void **)&device_fill, set.bytes));
	TRY(hipMalloc((void **)&scratch, set.bytes));
	return true;
}

void lane::close()
{
	(void)hipFree(scratch);
	(void)hipFree(device_fill);
	(void)hipFree(device_copy);
	(void)hipFree(device_in);
	(void)hipHostFree(filled);
	(void)hipHostFree(out);
	(void)hipHostFree(in);
	if (stream)
		(void)hipStreamDestroy(stream);
}

void lane::compare(const uint8_t *got, const uint8_t *want, uint64_t n, const char *what)
{
	uint64_t wrong = 0, first = 0;

	n_bytes += n;
	if (memcmp(got, want, n) == 0)
		return;
	for (uint64_t i = n; i-- > 0;)
		if (got[i] != want[i]) {
			wrong++;
			first = i;
		}
	n_wrong += wrong;
	(void)fprintf(stderr, "hip-app: stream %lu: %s: %lu of %lu bytes wrong, first at %lu\n",
		      (unsigned long)index, what, (unsigned long)wrong, (unsigned long)n,
		      (unsigned long)first);
}

bool lane::serve()
{
	/* Odd sizes and offsets take other paths through the runtime than whole pages do. */
	uint64_t n = 1 + random.next() % set.bytes, offset = random.next() % (set.bytes - n + 1);
	uint64_t split = random.next() % (n + 1), words = set.bytes / 4;
	uint8_t byte = (uint8_t)random.next();
	uint32_t word = (uint32_t)random.next(), n_scratch = (uint32_t)(set.bytes / sizeof(float));
	std::vector<uint8_t> want(set.bytes);

	for (uint64_t i = 0; i < n; i++)
		in[i] = (uint8_t)(random.state >> (i % 57)) ^ (uint8_t)i ^ (uint8_t)(i >> 8);
	memset(out, 0, n);
	memset(filled, 0, set.bytes);
	TRY(hipMemcpyAsync(device_in + offset, in, n, hipMemcpyHostToDevice, stream));
	for (uint64_t i = 0; i < set.kernels; i++) {
		app_step<<<(n_scratch + 255) / 256, 256, 0, stream>>>(scratch, n_scratch, 0.5f);
		TRY(hipGetLastError());
	}
	TRY(hipMemcpyAsync(device_copy, device_in + offset, n, hipMemcpyDeviceToDevice, stream));
	TRY(hipMemsetD32Async(device_fill, (int)word, words, stream));
	if (split)
		TRY(hipMemsetAsync(device_fill, byte, split, stream));
	TRY(hipMemcpyAsync(out, device_copy, n, hipMemcpyDeviceToHost, stream));
	TRY(hipMemcpyAsync(filled, device_fill, words * 4, hipMemcpyDeviceToHost, stream));
	TRY(hipStreamSynchronize(stream));
	for (uint64_t i = 0; i < words; i++)
		memcpy(&want[i * 4], &word, 4);
	memset(want.data(), byte, split);
	compare(out, in, n, "copied");
	compare(filled, want.data(), words * 4, "filled");
	n_kernels += set.kernels;
	n_requests++;
	return true;
}

static void print_counts()
{
	(void)printf("requests=%lu kernels=%lu bytes=%lu wrong=%lu errors=%lu\n",
		     (unsigned long)n_requests, (unsigned long)n_kernels, (unsigned long)n_bytes,
		     (unsigned long)n_wrong, (unsigned long)n_errors);
	(void)fflush(stdout);
}

static void run_lane(const settings &set, uint64_t index)
{
	lane l(set, index);
	bool first = true;

	if (l.open())
		while (!stopping && l.serve()) {
			if (first && ++n_ready == set.streams) {
				(void)printf("ready\n");
				(void)fflush(stdout);
			}
			first = false;
			if (set.requests && n_requests >= set.requests)
				stopping = true;
		}
	l.close();
}

static bool parse(int argc, char *argv[], settings &set)
{
	struct {
		const char *name;
		uint64_t *value, min, max;
	} rows[] = {
		{"--streams", &set.streams, 1, 64},
		{"--kernels", &set.kernels, 0, 10000},
		{"--bytes", &set.bytes, 4096, 1 << 30},
		{"--requests", &set.requests, 0, UINT64_MAX},
		{"--seconds", &set.seconds, 0, 86400},
	};

	for (int i = 1; i < argc; i += 2) {
		bool known = false;

		for (auto &row : rows) {
			char *end;

			if (i + 1 >= argc || strcmp(argv[i], row.name) != 0)
				continue;
			*row.value = strtoull(argv[i + 1], &end, 10);
			known = !*end && *row.value >= row.min && *row.value <= row.max;
		}
		if (!known) {
			(void)fprintf(stderr, "hip-app: bad argument '%s'\n", argv[i]);
			return false;
		}
	}
	return true;
}

static void wait_for_end(const settings &set, const sigset_t &signals)
{
	uint64_t left_ms = set.seconds ? set.seconds * 1000 : UINT64_MAX;

	while (!stopping) {
		timespec tick = {0, 50000000};
		int s = sigtimedwait(&signals, nullptr, &tick);

		if (s == SIGUSR1)
			print_counts();
		else if (s > 0)
			stopping = true;
		if (set.seconds && s < 0) {
			left_ms -= left_ms < 50 ? left_ms : 50;
			if (left_ms == 0)
				stopping = true;
		}
	}
}

int main(int argc, char *argv[])
{
	settings set;
	std::vector<std::thread> threads;
	sigset_t signals;

	if (!parse(argc, argv, set))
		return 2;
	(void)sigemptyset(&signals);
	for (int s : {SIGTERM, SIGINT, SIGUSR1})
		(void)sigaddset(&signals, s);
	/* Before HIP makes threads of its own, so that none of them takes a signal. */
	(void)sigprocmask(SIG_BLOCK, &signals, nullptr);
	for (uint64_t i = 0; i < set.streams; i++)
		threads.emplace_back([&set, i] { run_lane(set, i); });
	wait_for_end(set, signals);
	for (auto &t : threads)
		t.join();
	print_counts();
	return n_wrong || n_errors ? 1 : 0;
}
