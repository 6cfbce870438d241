/* SPDX-License-Identifier: Apache-2.0 */
/* An ordinary HIP program: nothing of cofris is linked to it. "hip-client CASE [ARGUMENT...]" runs
 * one case and exits with 0 if everything was as on a card. Bytes that copies and fills move are
 * checked; results of kernels are not, for no GPU instruction is executed. */
#include "kernels.hip"
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <hip/hiprtc.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#define SEED 20240614

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)
#define HIP(call)                                                                                  \
	do {                                                                                       \
		hipError_t r_ = (call);                                                            \
		if (r_ != hipSuccess) {                                                            \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,              \
				hipGetErrorString(r_));                                            \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

static void fill_random(std::vector<unsigned char> &v, uint64_t seed)
{
	for (auto &byte : v)
		byte = (unsigned char)next_random(&seed);
}

static void *device_bytes(size_t n)
{
	void *p = nullptr;

	HIP(hipMalloc(&p, n));
	return p;
}

/* ---- what there is ---- */

static void list(int, char **)
{
	char line[4096];
	FILE *maps;
	int n;

	HIP(hipGetDeviceCount(&n));
	for (int i = 0; i < n; i++) {
		hipDeviceProp_t p;
		char bus[32];

		HIP(hipGetDeviceProperties(&p, i));
		HIP(hipDeviceGetPCIBusId(bus, sizeof(bus), i));
		printf("card %s|%s|%s|%d|%zu|%d|%d|%d\n", bus, p.name, p.gcnArchName,
		       p.multiProcessorCount, p.totalGlobalMem >> 20, p.clockRate,
		       p.memoryBusWidth, p.cooperativeLaunch);
	}
	maps = fopen("/proc/self/maps", "re");
	CHECK(maps);
	while (fgets(line, sizeof(line), maps))
		if (strstr(line, "r-xp") && (strstr(line, "libhsakmt") || strstr(line, "libhsa-") ||
					     strstr(line, "libamdhip64")))
			printf("library %s", strchr(line, '/'));
	fclose(maps);
}

/* ---- bytes ---- */

static void copies_on(int device)
{
	uint64_t seed = SEED + device;

	HIP(hipSetDevice(device));
	for (int round = 0; round < 20; round++) {
		size_t n = 1 + next_random(&seed) % (6u << 20);
		size_t at = next_random(&seed) % n, some = 1 + next_random(&seed) % (n - at);
		std::vector<unsigned char> in(n), out(n, 0xee);
		unsigned char *a = (unsigned char *)device_bytes(n);
		unsigned char *b = (unsigned char *)device_bytes(n);
		unsigned char byte = (unsigned char)next_random(&seed);

		fill_random(in, seed);
		HIP(hipMemcpy(a, in.data(), n, hipMemcpyHostToDevice));
		HIP(hipMemcpy(b, a, n, hipMemcpyDeviceToDevice));
		HIP(hipMemset(b + at, byte, some));
		HIP(hipMemcpy(out.data(), b, n, hipMemcpyDeviceToHost));
		memset(in.data() + at, byte, some);
		CHECK(in == out);
		HIP(hipFree(a));
		HIP(hipFree(b));
	}
}

static void fills_on(int device)
{
	const size_t n = 100003;
	std::vector<uint32_t> out(n);
	std::vector<uint16_t> shorts(n);
	void *p;

	HIP(hipSetDevice(device));
	p = device_bytes(n * 4);
	HIP(hipMemsetD32((hipDeviceptr_t)p, 0x12345678, n));
	HIP(hipMemcpy(out.data(), p, n * 4, hipMemcpyDeviceToHost));
	for (uint32_t v : out)
		CHECK(v == 0x12345678);
	HIP(hipMemsetD16((hipDeviceptr_t)p, 0xabcd, n));
	HIP(hipMemcpy(shorts.data(), p, n * 2, hipMemcpyDeviceToHost));
	for (uint16_t v : shorts)
		CHECK(v == 0xabcd);
	HIP(hipFree(p));
}

/* A box inside larger ones, by way of a pitched buffer on the card. */
static void boxes_on(int device)
{
	const size_t width = 300, height = 77, host_pitch = 401;
	std::vector<unsigned char> in(host_pitch * height), out(host_pitch * height, 0);
	unsigned char *a, *b;
	size_t pa, pb;

	HIP(hipSetDevice(device));
	fill_random(in, SEED);
	HIP(hipMallocPitch((void **)&a, &pa, width, height));
	HIP(hipMallocPitch((void **)&b, &pb, width + 64, height));
	HIP(hipMemset2D(b, pb, 0x77, width + 64, height));
	HIP(hipMemcpy2D(a, pa, in.data(), host_pitch, width, height, hipMemcpyHostToDevice));
	HIP(hipMemcpy2D(b + 64, pb, a, pa, width, height, hipMemcpyDeviceToDevice));
	HIP(hipMemcpy2D(out.data(), host_pitch, b, pb, width + 64, height,
			hipMemcpyDeviceToHost));
	for (size_t y = 0; y < height; y++)
		for (size_t x = 0; x < width + 64; x++)
			CHECK(out[y * host_pitch + x] ==
			      (x < 64 ? 0x77 : in[y * host_pitch + x - 64]));
	HIP(hipFree(a));
	HIP(hipFree(b));
}

/* Pinned and asynchronous, and memory that both sides have. */
static void pinned_on(int device)
{
	const size_t n = 3 << 20;
	unsigned char *in, *out, *managed;
	hipStream_t s;
	void *p;

	HIP(hipSetDevice(device));
	HIP(hipHostMalloc((void **)&in, n, hipHostMallocDefault));
	HIP(hipHostMalloc((void **)&out, n, hipHostMallocDefault));
	HIP(hipMallocManaged((void **)&managed, n));
	HIP(hipStreamCreate(&s));
	p = device_bytes(n);
	for (size_t i = 0; i < n; i++)
		in[i] = (unsigned char)(i * 31);
	HIP(hipMemcpyAsync(p, in, n, hipMemcpyHostToDevice, s));
	HIP(hipMemcpyAsync(out, p, n, hipMemcpyDeviceToHost, s));
	HIP(hipMemcpyAsync(managed, p, n, hipMemcpyDeviceToDevice, s));
	HIP(hipStreamSynchronize(s));
	CHECK(memcmp(in, out, n) == 0);
	CHECK(memcmp(in, managed, n) == 0);
	HIP(hipStreamDestroy(s));
	HIP(hipFree(p));
	HIP(hipFree(managed));
	HIP(hipHostFree(in));
	HIP(hipHostFree(out));
}

static void between_cards(void)
{
	const size_t n = (1 << 20) + 13;
	std::vector<unsigned char> in(n), out(n);
	void *a, *b;
	int can;

	fill_random(in, SEED);
	HIP(hipDeviceCanAccessPeer(&can, 0, 1));
	CHECK(can);
	HIP(hipSetDevice(0));
	a = device_bytes(n);
	HIP(hipMemcpy(a, in.data(), n, hipMemcpyHostToDevice));
	HIP(hipSetDevice(1));
	b = device_bytes(n);
	HIP(hipMemcpyPeer(b, 1, a, 0, n));
	HIP(hipDeviceSynchronize());
	HIP(hipMemcpy(out.data(), b, n, hipMemcpyDeviceToHost));
	CHECK(in == out);
}

static void copies(int, char **)
{
	int n;

	HIP(hipGetDeviceCount(&n));
	for (int i = 0; i < n; i++) {
		copies_on(i);
		fills_on(i);
		boxes_on(i);
		pinned_on(i);
	}
	if (n > 1)
		between_cards();
}

/* ---- streams, masks, events ---- */

static float run_spin_once(hipStream_t s, unsigned int workgroups)
{
	hipEvent_t begin, end;
	float ms = -1;

	HIP(hipEventCreate(&begin));
	HIP(hipEventCreate(&end));
	HIP(hipEventRecord(begin, s));
	spin<<<workgroups, 256, 0, s>>>(nullptr, 1);
	HIP(hipEventRecord(end, s));
	HIP(hipEventSynchronize(end));
	HIP(hipEventElapsedTime(&ms, begin, end));
	HIP(hipEventDestroy(begin));
	HIP(hipEventDestroy(end));
	return ms;
}

/* The least of five: a host that looks away between record and launch adds to the time. */
static float run_spin(hipStream_t s, unsigned int workgroups)
{
	float least_ms = run_spin_once(s, workgroups);

	for (int i = 1; i < 5; i++)
		least_ms = std::min(least_ms, run_spin_once(s, workgroups));
	return least_ms;
}

static void masks(int, char **)
{
	uint32_t half[] = {0x3fffffff, 0}, all[] = {0xffffffff, 0x0fffffff}, got[2] = {0, 0};
	hipStream_t full_stream, half_stream;
	float full_ms, half_ms;

	HIP(hipExtStreamCreateWithCUMask(&full_stream, 2, all));
	HIP(hipExtStreamCreateWithCUMask(&half_stream, 2, half));
	HIP(hipExtStreamGetCUMask(half_stream, 2, got));
	CHECK(got[0] == half[0] && got[1] == half[1]);
	/* The first launch loads the code. */
	run_spin(full_stream, 60);
	full_ms = run_spin(full_stream, 60000);
	half_ms = run_spin(half_stream, 60000);
	printf("full %.3f ms, half %.3f ms\n", full_ms, half_ms);
	/* Loosely: how exact the times are is tested elsewhere. */
	CHECK(half_ms > 1.7f * full_ms && half_ms < 2.3f * full_ms);
}

static void alone(int, char **)
{
	run_spin(nullptr, 60);
	printf("alone %.3f ms\n", run_spin(nullptr, 60000));
}

static void events(int, char **)
{
	hipStream_t a, b, urgent;
	int least, greatest;
	hipEvent_t after;
	unsigned char out = 0;
	void *p = device_bytes(64);

	HIP(hipDeviceGetStreamPriorityRange(&least, &greatest));
	HIP(hipStreamCreateWithPriority(&urgent, hipStreamNonBlocking, greatest));
	HIP(hipStreamCreateWithFlags(&a, hipStreamNonBlocking));
	HIP(hipStreamCreateWithFlags(&b, hipStreamNonBlocking));
	HIP(hipEventCreate(&after));
	/* What b reads was written by a behind a long kernel. */
	HIP(hipMemset(p, 1, 64));
	HIP(hipDeviceSynchronize());
	spin<<<60000, 256, 0, a>>>(nullptr, 1);
	HIP(hipMemsetAsync(p, 2, 64, a));
	HIP(hipEventRecord(after, a));
	HIP(hipStreamWaitEvent(b, after, 0));
	HIP(hipMemcpyAsync(&out, p, 1, hipMemcpyDeviceToHost, b));
	HIP(hipStreamSynchronize(b));
	CHECK(out == 2);
	HIP(hipEventQuery(after));
	HIP(hipStreamQuery(a));
	CHECK(run_spin(urgent, 600) > 0);
}

static void count_up(hipStream_t, hipError_t status, void *userdata)
{
	if (status == hipSuccess)
		__atomic_fetch_add((int *)userdata, 1, __ATOMIC_SEQ_CST);
}

static void callbacks(int, char **)
{
	hipStream_t s;
	int n = 0;

	HIP(hipStreamCreate(&s));
	for (int i = 0; i < 20; i++) {
		spin<<<60, 256, 0, s>>>(nullptr, 1);
		HIP(hipStreamAddCallback(s, count_up, &n, 0));
	}
	HIP(hipStreamSynchronize(s));
	/* A callback may still be on its way when the stream is done. */
	for (int i = 0; i < 10000 && __atomic_load_n(&n, __ATOMIC_SEQ_CST) < 20; i++)
		usleep(1000);
	CHECK(__atomic_load_n(&n, __ATOMIC_SEQ_CST) == 20);
}

struct worker {
	pthread_t thread;
	uint64_t seed;
	int bad;
};

static void *work(void *userdata)
{
	struct worker *w = (struct worker *)userdata;
	const size_t n = 70001;
	std::vector<unsigned char> in(n), out(n);
	void *a = device_bytes(n), *b = device_bytes(n);

	for (int round = 0; round < 30; round++) {
		uint32_t mask[] = {(uint32_t)next_random(&w->seed) | 0xf, 0x0fffffff};
		hipStream_t s;

		fill_random(in, w->seed + round);
		HIP(hipExtStreamCreateWithCUMask(&s, 2, mask));
		HIP(hipMemcpyAsync(a, in.data(), n, hipMemcpyHostToDevice, s));
		spin<<<200, 64, 0, s>>>(nullptr, 1);
		HIP(hipMemcpyAsync(b, a, n, hipMemcpyDeviceToDevice, s));
		HIP(hipMemcpyAsync(out.data(), b, n, hipMemcpyDeviceToHost, s));
		HIP(hipStreamSynchronize(s));
		w->bad += in != out;
		HIP(hipStreamDestroy(s));
	}
	return nullptr;
}

static void threads(int, char **)
{
	struct worker w[5];

	for (int i = 0; i < 5; i++) {
		w[i] = {0, (uint64_t)SEED + i, 0};
		CHECK(pthread_create(&w[i].thread, nullptr, work, &w[i]) == 0);
	}
	for (auto &x : w) {
		pthread_join(x.thread, nullptr);
		CHECK(x.bad == 0);
	}
}

/* ---- ways to launch ---- */

static void launch(hipFunction_t f)
{
	float *out = nullptr;
	unsigned int n = 1;
	void *arguments[] = {&out, &n};

	HIP(hipModuleLaunchKernel(f, 600, 1, 1, 64, 1, 1, 0, nullptr, arguments, nullptr));
	HIP(hipDeviceSynchronize());
}

static void module(int argc, char **argv)
{
	hipModule_t m;
	hipFunction_t f;

	CHECK(argc == 1);
	HIP(hipModuleLoad(&m, argv[0]));
	HIP(hipModuleGetFunction(&f, m, "spin"));
	launch(f);
	HIP(hipModuleUnload(m));
}

static void rtc(int, char **)
{
	static const char source[] =
		"extern \"C\" __global__ void spin(float *p, unsigned int n) { if (n > 9) *p = n; }";
	hiprtcProgram program;
	hipFunction_t f;
	hipModule_t m;
	size_t size;

	CHECK(hiprtcCreateProgram(&program, source, "spin.cu", 0, nullptr, nullptr) ==
	      HIPRTC_SUCCESS);
	CHECK(hiprtcCompileProgram(program, 0, nullptr) == HIPRTC_SUCCESS);
	CHECK(hiprtcGetCodeSize(program, &size) == HIPRTC_SUCCESS);
	std::vector<char> code(size);
	CHECK(hiprtcGetCode(program, code.data()) == HIPRTC_SUCCESS);
	CHECK(hiprtcDestroyProgram(&program) == HIPRTC_SUCCESS);
	HIP(hipModuleLoadData(&m, code.data()));
	HIP(hipModuleGetFunction(&f, m, "spin"));
	launch(f);
	HIP(hipModuleUnload(m));
}

static void graph(int, char **)
{
	const size_t n = 4096;
	std::vector<unsigned char> in(n), out(n);
	hipGraphExec_t exec;
	hipGraph_t g;
	hipStream_t s;
	void *p = device_bytes(n);

	fill_random(in, SEED);
	HIP(hipStreamCreate(&s));
	HIP(hipStreamBeginCapture(s, hipStreamCaptureModeGlobal));
	HIP(hipMemcpyAsync(p, in.data(), n, hipMemcpyHostToDevice, s));
	for (int i = 0; i < 10; i++)
		spin<<<60, 64, 0, s>>>(nullptr, 1);
	HIP(hipMemcpyAsync(out.data(), p, n, hipMemcpyDeviceToHost, s));
	HIP(hipStreamEndCapture(s, &g));
	HIP(hipGraphInstantiate(&exec, g, nullptr, nullptr, 0));
	for (int i = 0; i < 5; i++) {
		std::fill(out.begin(), out.end(), 0);
		HIP(hipGraphLaunch(exec, s));
		HIP(hipStreamSynchronize(s));
		CHECK(in == out);
	}
	HIP(hipGraphExecDestroy(exec));
	HIP(hipGraphDestroy(g));
}

static void cooperative(int, char **)
{
	float *out = nullptr;
	unsigned int n = 1;
	void *arguments[] = {&out, &n};

	HIP(hipLaunchCooperativeKernel((const void *)spin, dim3(60), dim3(64), arguments, 0,
				       nullptr));
	HIP(hipDeviceSynchronize());
}

/* ---- limits and faults ---- */

/* How many times 256 MiB there are, twice: what was freed is there again. */
static void memory(int, char **)
{
	int rounds[2] = {0, 0};

	for (int &n : rounds) {
		std::vector<void *> held;
		void *p;

		while (hipMalloc(&p, 256 << 20) == hipSuccess)
			held.push_back(p);
		CHECK(hipMalloc(&p, 256 << 20) == hipErrorOutOfMemory);
		n = (int)held.size();
		for (void *q : held)
			HIP(hipFree(q));
	}
	CHECK(rounds[0] == rounds[1]);
	printf("pieces %d\n", rounds[0]);
}

/* Holds memory and queues until the end of its input. */
static void hold(int, char **)
{
	unsigned char byte = 0;
	hipStream_t s;
	void *p = device_bytes(64 << 20);

	HIP(hipStreamCreate(&s));
	HIP(hipMemsetAsync(p, 1, 64, s));
	spin<<<60, 64, 0, s>>>(nullptr, 1);
	HIP(hipStreamSynchronize(s));
	printf("holding\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}

/* ---- other processes ---- */

static void other_side(int argc, char **argv)
{
	const size_t n = 100000;
	std::vector<unsigned char> bytes(n);
	hipIpcMemHandle_t handle;
	void *p = nullptr;

	CHECK(argc == 1 && strlen(argv[0]) == 2 * sizeof(handle));
	for (size_t i = 0; i < sizeof(handle); i++) {
		unsigned int byte;

		CHECK(sscanf(argv[0] + 2 * i, "%2x", &byte) == 1);
		((unsigned char *)&handle)[i] = (unsigned char)byte;
	}
	HIP(hipIpcOpenMemHandle(&p, handle, hipIpcMemLazyEnablePeerAccess));
	HIP(hipMemcpy(bytes.data(), p, n, hipMemcpyDeviceToHost));
	for (size_t i = 0; i < n; i++)
		CHECK(bytes[i] == (unsigned char)(i * 7));
	HIP(hipMemset(p, 0x42, n / 2));
	HIP(hipDeviceSynchronize());
	HIP(hipIpcCloseMemHandle(p));
}

static int run_self(const char *self, const char *name, const char *argument)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		execl(self, self, name, argument, nullptr);
		_exit(127);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	return status;
}

static void ipc(int, char **argv)
{
	const size_t n = 100000;
	std::vector<unsigned char> bytes(n);
	hipIpcMemHandle_t handle;
	char text[2 * sizeof(handle) + 1];
	/* A piece of a larger block, and a block of its own. */
	for (size_t size : {n, (size_t)(8 << 20)}) {
		void *before = device_bytes(n), *p = device_bytes(size);

		for (size_t i = 0; i < n; i++)
			bytes[i] = (unsigned char)(i * 7);
		HIP(hipMemcpy(p, bytes.data(), n, hipMemcpyHostToDevice));
		HIP(hipIpcGetMemHandle(&handle, p));
		for (size_t i = 0; i < sizeof(handle); i++)
			sprintf(text + 2 * i, "%02x", ((unsigned char *)&handle)[i]);
		CHECK(run_self(argv[-2], "other-side", text) == 0);
		HIP(hipMemcpy(bytes.data(), p, n, hipMemcpyDeviceToHost));
		for (size_t i = 0; i < n; i++)
			CHECK(bytes[i] == (i < n / 2 ? 0x42 : (unsigned char)(i * 7)));
		HIP(hipFree(p));
		HIP(hipFree(before));
	}
}

/* What a forked child does: it has no card. It ends as any other, however it does so. */
static void be_child(int way)
{
	void *p;

	if (way == 1)
		exit(17);
	if (way == 2 && hipMalloc(&p, 64 << 20) == hipSuccess)
		_exit(1);
	_exit(17);
}

/* The parent's work is as before. */
static void forks(int, char **)
{
	std::vector<unsigned char> out(1000);
	void *p = device_bytes(1000);

	HIP(hipMemset(p, 3, 1000));
	HIP(hipDeviceSynchronize());
	for (int way = 0; way < 3; way++) {
		int status = -1;
		pid_t pid = fork();

		if (pid == 0)
			be_child(way);
		CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 17);
	}
	HIP(hipMemcpy(out.data(), p, 1000, hipMemcpyDeviceToHost));
	for (unsigned char byte : out)
		CHECK(byte == 3);
	copies_on(0);
}

static const struct {
	const char *name;
	void (*run)(int argc, char **argv);
} cases[] = {
	{"list", list},
	{"copies", copies},
	{"masks", masks},
	{"alone", alone},
	{"events", events},
	{"callbacks", callbacks},
	{"threads", threads},
	{"module", module},
	{"rtc", rtc},
	{"graph", graph},
	{"cooperative", cooperative},
	{"memory", memory},
	{"hold", hold},
	{"ipc", ipc},
	{"other-side", other_side},
	{"forks", forks},
};

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	for (const auto &c : cases)
		if (strcmp(c.name, argv[1]) == 0) {
			c.run(argc - 2, argv + 2);
			printf("done\n");
			return 0;
		}
	return 2;
}
