/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of the kernels in layer.hip, for the host and the device: plain C of both. The cost
 * note in layer.hip names offsets in here. */
#pragma once

#define LAYER_LANES	 256u /* threads of a workgroup */
#define LAYER_VECTOR	 16u  /* bytes; all memory is read and written in these */
#define LAYER_INIT_DEPTH 16u  /* vectors that a thread of cofris_init writes */

/* What a launch reads or writes of one buffer. It begins at first and goes on at the buffer's start
 * where the buffer ends; its workgroups take each vectors, in order, until total are done. None of
 * the counts is over LAYER_MAX_VECTORS, so that sums of two fit. */
#define LAYER_MAX_VECTORS 0x7fffffffu
/* Of a workgroup: a lane counts its multiply-adds, of two each, in 32 bits. */
#define LAYER_MAX_FLOP (2ull * LAYER_LANES * 0xffffffffu)

struct layer_stream {
	void *data;
	unsigned int n_vectors; /* of the buffer; not 0 */
	unsigned int first;	/* less than n_vectors */
	unsigned int total;
	unsigned int each;
};

struct layer_args {
	unsigned long long flop;  /* of a workgroup */
	unsigned long long bytes; /* of a workgroup, over the three streams */
	struct layer_stream weights, in, out;
	float scale, term; /* of the multiply-adds: 0 < scale < 1 keeps them finite */
};

struct layer_init_args {
	void *data;
	unsigned long long n_vectors;
};
