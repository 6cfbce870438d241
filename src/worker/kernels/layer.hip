/* SPDX-License-Identifier: Apache-2.0 */
/* The device code of cofris-worker. One launch of cofris_layer stands for one of a model's: its
 * workgroups, its FLOP and its bytes, all of which are really executed and moved on a card.
 * Nothing in it can be foretold by the compiler: constants come as arguments, and whatever is read
 * or computed may be stored at the end.
 *
 * Compiled by hipcc at build time, and by hiprtc at start for cards that the bundle lacks. */
#ifndef __HIPCC_RTC__
#include <hip/hip_runtime.h>
#endif
#include "layer-args.h"

/* What a workgroup of each kernel costs, for a simulated card, which executes none: constants, or
 * @N for the 64-bit number at byte N of the arguments. An ELF note, type 1. */
#define COST                                                                                       \
	"cofris_layer flop=@0 bytes=@8\n"                                                          \
	"cofris_init flop=0 bytes=65536\n"                                                         \
	"cofris_empty flop=0 bytes=0\n"

struct cost_note {
	unsigned int name_size, text_size, type;
	char name[8];
	char text[(sizeof(COST) + 3) / 4 * 4];
};

extern "C" __device__ const struct cost_note cofris_cost
	__attribute__((section(".note.cofris"), used,
		       aligned(4))) = {sizeof("cofris"), sizeof(COST) - 1, 1, "cofris", COST};

static_assert(LAYER_LANES * LAYER_INIT_DEPTH * LAYER_VECTOR == 65536, "the cost of cofris_init");

#define DEPTH	     4u /* vectors that a thread has on their way at a time */
#define STEP	     (DEPTH * LAYER_LANES)
#define ACCUMULATORS 8

struct lane {
	float a[ACCUMULATORS], scale, term;
	float4 sum;
	unsigned int fma_left, fma_per_step;
};

/* The same number of rounds in all lanes, so that no lane's share is lost in a branch. */
static __device__ inline void multiply(struct lane *l, unsigned int n)
{
	l->fma_left -= n;
	for (; n >= ACCUMULATORS; n -= ACCUMULATORS)
#pragma unroll
		for (int k = 0; k < ACCUMULATORS; k++)
			l->a[k] = fmaf(l->a[k], l->scale, l->term);
	for (; n; n--)
		l->a[0] = fmaf(l->a[0], l->scale, l->term);
}

static __device__ inline unsigned int wrap(unsigned int i, unsigned int n)
{
	while (i >= n)
		i -= n;
	return i;
}

/* The workgroup's part of a stream: where it begins in the buffer, and its length. */
static __device__ inline unsigned int part(const struct layer_stream &s, unsigned int *ret_n)
{
	unsigned long long done = (unsigned long long)blockIdx.x * s.each;

	if (done >= s.total) {
		*ret_n = 0;
		return 0;
	}
	*ret_n = min(s.each, s.total - (unsigned int)done);
	return wrap(s.first + (unsigned int)done, s.n_vectors);
}

static __device__ inline unsigned int steps(const struct layer_stream &s)
{
	return (s.each + STEP - 1) / STEP;
}

/* Arithmetic between asking for the data and using them, as a good kernel has it. */
static __device__ inline void read(struct lane *l, const struct layer_stream &s)
{
	const float4 *data = (const float4 *)s.data;
	unsigned int n, begin = part(s, &n);

	for (unsigned int base = 0; base < s.each; base += STEP) {
		float4 v[DEPTH];

#pragma unroll
		for (unsigned int k = 0; k < DEPTH; k++) {
			unsigned int i = base + k * LAYER_LANES + threadIdx.x;

			v[k] = i < n ? data[wrap(begin + i, s.n_vectors)] : make_float4(0, 0, 0, 0);
		}
		multiply(l, l->fma_per_step);
#pragma unroll
		for (unsigned int k = 0; k < DEPTH; k++) {
			l->sum.x += v[k].x;
			l->sum.y += v[k].y;
			l->sum.z += v[k].z;
			l->sum.w += v[k].w;
		}
	}
}

static __device__ inline void write(struct lane *l, const struct layer_stream &s)
{
	float4 *data = (float4 *)s.data;
	unsigned int n, begin = part(s, &n);

	for (unsigned int base = 0; base < s.each; base += STEP) {
		float4 v = make_float4(l->a[0] + l->sum.x, l->a[1] + l->sum.y, l->a[2] + l->sum.z,
				       l->a[3] + l->sum.w);

#pragma unroll
		for (unsigned int k = 0; k < DEPTH; k++) {
			unsigned int i = base + k * LAYER_LANES + threadIdx.x;

			if (i < n)
				data[wrap(begin + i, s.n_vectors)] = v;
		}
		multiply(l, l->fma_per_step);
	}
}

extern "C" __global__ void __launch_bounds__(LAYER_LANES) cofris_layer(struct layer_args args)
{
	struct lane l = {{}, args.scale, args.term, {}, 0, 0};
	unsigned int n = steps(args.weights) + steps(args.in) + steps(args.out);
	float all;

	for (int k = 0; k < ACCUMULATORS; k++)
		l.a[k] = 1.0f + (float)((threadIdx.x * 37 + k * 101) & 1023) / 1024.0f;
	/* A multiply-add is two FLOP. */
	l.fma_left = (unsigned int)((args.flop + 2 * LAYER_LANES - 1) / (2 * LAYER_LANES));
	l.fma_per_step = l.fma_left / (n + 1);
	read(&l, args.weights);
	read(&l, args.in);
	write(&l, args.out);
	multiply(&l, l.fma_left);
	all = l.sum.x + l.sum.y + l.sum.z + l.sum.w;
	for (int k = 0; k < ACCUMULATORS; k++)
		all += l.a[k];
	if (all == -1.0f) /* never: every term is positive, but only the host knows */
		((float *)args.out.data)[threadIdx.x & 3] = all;
}

/* Fills a buffer with numbers from 1 to 2 whose bits differ, as data do. */
extern "C" __global__ void __launch_bounds__(LAYER_LANES) cofris_init(struct layer_init_args args)
{
	float4 *data = (float4 *)args.data;
	unsigned long long begin =
		(unsigned long long)blockIdx.x * LAYER_LANES * LAYER_INIT_DEPTH + threadIdx.x;

	for (unsigned int k = 0; k < LAYER_INIT_DEPTH; k++) {
		unsigned long long i = begin + k * LAYER_LANES;
		unsigned int h = (unsigned int)i * 2654435761u;

		if (i >= args.n_vectors)
			return;
		h ^= h >> 15;
		data[i] = make_float4(__uint_as_float(0x3f800000u | (h & 0x7fffffu)),
				      __uint_as_float(0x3f800000u | ((h * 747796405u) >> 9)),
				      __uint_as_float(0x3f800000u | ((h * 277803737u) >> 9)),
				      __uint_as_float(0x3f800000u | ((h * 2246822519u) >> 9)));
	}
}

/* Nothing: one wave of it keeps a card active and no CU busy. */
extern "C" __global__ void cofris_empty()
{
}
