/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's device code, executed lane by lane on the host: that a launch really does the FLOP
 * and moves the bytes that its arguments name, inside its buffers. Neither a simulated card (which
 * executes nothing) nor an instruction listing can show that. */
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

/* ---- what the device code needs of HIP ---- */

#define __HIPCC_RTC__
#define __device__
#define __global__
#define __launch_bounds__(n)

static struct {
	unsigned int x;
} blockIdx, threadIdx;

static uint64_t n_fma;

static float counted_fmaf(float a, float b, float c)
{
	n_fma++;
	return a * b + c;
}
#define fmaf counted_fmaf

static unsigned int min(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

static float __uint_as_float(unsigned int bits)
{
	float f;

	__builtin_memcpy(&f, &bits, sizeof(f));
	return f;
}

/* Tells which of a buffer's vectors are read and written, by their addresses. */
struct float4;
struct buffer {
	std::vector<uint32_t> reads, writes;
	float4 *data;
	size_t n;

	explicit buffer(size_t n_vectors);
	~buffer();
	buffer(const buffer &) = delete;
	buffer &operator=(const buffer &) = delete;
};
static std::vector<buffer *> buffers;
static uint64_t n_stray;

struct float4 {
	float x, y, z, w;

	float4() = default;
	float4(float a, float b, float c, float d) : x(a), y(b), z(c), w(d)
	{
	}
	float4(const float4 &o) : x(o.x), y(o.y), z(o.z), w(o.w)
	{
		note(&o, false);
	}
	float4 &operator=(const float4 &o)
	{
		note(&o, false);
		note(this, true);
		x = o.x;
		y = o.y;
		z = o.z;
		w = o.w;
		return *this;
	}
	static void note(const float4 *at, bool write);
};

static float4 make_float4(float a, float b, float c, float d)
{
	return float4(a, b, c, d);
}

/* A buffer has as many vectors behind it that must not be touched. */
buffer::buffer(size_t n_vectors)
    : reads(n_vectors), writes(n_vectors),
      data(static_cast<float4 *>(calloc(2 * n_vectors, sizeof(float4)))), n(n_vectors)
{
	buffers.push_back(this);
}

buffer::~buffer()
{
	free(static_cast<void *>(data));
	buffers.clear();
}

void float4::note(const float4 *at, bool write)
{
	for (buffer *b : buffers) {
		uintptr_t offset = (uintptr_t)at - (uintptr_t)b->data;

		if ((uintptr_t)at < (uintptr_t)b->data || offset >= 2 * b->n * sizeof(float4))
			continue;
		if (offset >= b->n * sizeof(float4))
			n_stray++;
		else
			(write ? b->writes : b->reads)[offset / sizeof(float4)]++;
	}
}

#include "worker/kernels/layer.hip"

/* ---- the tests ---- */

static unsigned int n_failed;

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			(void)printf("%s:%d: case %u: %s\n", __FILE__, __LINE__, at, #condition);  \
			n_failed++;                                                                \
		}                                                                                  \
	} while (0)

static uint64_t sum(const std::vector<uint32_t> &v)
{
	uint64_t n = 0;

	for (uint32_t i : v)
		n += i;
	return n;
}

struct layer_case {
	unsigned int workgroups;
	unsigned long long flop;       /* of a workgroup */
	unsigned int weights, in, out; /* vectors of the launch */
	unsigned int weights_buffer, data_buffer, first;
};

static layer_stream stream(const buffer &b, unsigned int first, unsigned int total,
			   unsigned int workgroups)
{
	layer_stream s = {};

	s.data = b.data;
	s.n_vectors = (unsigned int)b.n;
	s.first = first;
	s.total = total;
	s.each = (total + workgroups - 1) / workgroups;
	return s;
}

/* Vector i after the first is touched once for each time that the launch comes by it. */
static bool touched_in_order(const std::vector<uint32_t> &v, unsigned int first, unsigned int total)
{
	size_t n = v.size();

	for (size_t i = 0; i < n; i++) {
		size_t after = (i + n - first) % n;

		if (v[i] != total / n + (after < total % n))
			return false;
	}
	return true;
}

static void run_layer(unsigned int at, const layer_case &c)
{
	buffer weights(c.weights_buffer), in(c.data_buffer), out(c.data_buffer);
	layer_args a = {};
	unsigned int last = LAYER_LANES;

	a.flop = c.flop;
	a.bytes = 1; /* for the simulated card alone */
	a.weights = stream(weights, c.first, c.weights, c.workgroups);
	a.in = stream(in, 0, c.in, c.workgroups);
	a.out = stream(out, 0, c.out, c.workgroups);
	a.scale = 0.9990234375f;
	a.term = 1 - a.scale;
	n_fma = n_stray = 0;
	for (blockIdx.x = 0; blockIdx.x < c.workgroups; blockIdx.x++)
		for (threadIdx.x = 0; threadIdx.x < last; threadIdx.x++)
			cofris_layer(a);
	/* Two FLOP each, rounded up to whole ones of every lane. */
	CHECK(n_fma * 2 >= c.flop * c.workgroups);
	CHECK(n_fma * 2 < (c.flop + 2 * LAYER_LANES) * c.workgroups);
	CHECK(sum(weights.reads) == c.weights);
	CHECK(sum(in.reads) == c.in);
	CHECK(sum(out.writes) == c.out);
	CHECK(touched_in_order(weights.reads, c.first, c.weights));
	CHECK(touched_in_order(in.reads, 0, c.in));
	CHECK(touched_in_order(out.writes, 0, c.out));
	CHECK(sum(weights.writes) == 0 && sum(in.writes) == 0 && sum(out.reads) == 0);
	CHECK(n_stray == 0);
	for (unsigned int i = 0; i < min(c.out, c.data_buffer); i++)
		CHECK(std::isfinite(out.data[i].x) && std::isfinite(out.data[i].w));
}

static void run_init(unsigned int at, unsigned int n)
{
	const unsigned int per_workgroup = LAYER_LANES * LAYER_INIT_DEPTH;
	buffer b(n);
	layer_init_args a = {b.data, n};
	unsigned int workgroups = (n + per_workgroup - 1) / per_workgroup;

	n_stray = 0;
	for (blockIdx.x = 0; blockIdx.x < workgroups; blockIdx.x++)
		for (threadIdx.x = 0; threadIdx.x < LAYER_LANES; threadIdx.x++)
			cofris_init(a);
	CHECK(n_stray == 0);
	for (unsigned int i = 0; i < n; i++)
		CHECK(b.writes[i] == 1 && b.data[i].x >= 1 && b.data[i].x < 2 && b.data[i].w >= 1 &&
		      b.data[i].w < 2);
}

int main()
{
	static const layer_case cases[] = {
		/* workgroups, flop, weights, in, out, buffers, first */
		{49, 524288, 1024, 50176, 50176, 4096, 50176, 1024}, /* a 1x1 convolution */
		{196, 1204224, 2352, 9000, 50000, 9000, 50000, 17},
		{784, 2048, 64, 3000, 3000, 64, 3000, 0},   /* elementwise */
		{1, 100000, 70000, 10, 10, 70000, 10, 0},   /* one workgroup */
		{60, 0, 0, 6000, 6000, 1, 6000, 0},	    /* nothing but bytes */
		{60, 4096, 0, 0, 0, 1, 1, 0},		    /* nothing but FLOP */
		{3, 0, 0, 0, 0, 1, 1, 0},		    /* nothing */
		{7, 513, 1000, 5, 3, 1000, 5, 999},	    /* wraps; fewer vectors than groups */
		{5, 10240, 2500, 999, 999, 1000, 300, 400}, /* more than the buffers hold */
	};
	unsigned int at = 0;

	for (const layer_case &c : cases)
		run_layer(at++, c);
	for (unsigned int n : {1u, 255u, 256u, 4096u, 4097u, 100000u})
		run_init(at++, n);
	(void)printf("%u cases, %u failures\n", at, n_failed);
	return n_failed ? 1 : 0;
}
