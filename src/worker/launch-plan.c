/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/launch-plan.h"
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

/* HIP counts a grid's threads in 32 bits. */
#define MAX_WORKGROUPS (UINT32_MAX / LAYER_LANES)

/* Multiply-adds that end in term / (1 - scale) = 1, whatever they began with. */
#define SCALE 0.9990234375f
#define TERM  (1.0f - SCALE)

/* The cost note in layer.hip says @0 and @8. */
static_assert(offsetof(struct layer_args, flop) == 0, "cost note");
static_assert(offsetof(struct layer_args, bytes) == 8, "cost note");
static_assert(sizeof(struct layer_args) == 96, "the kernel's argument segment");
static_assert(sizeof(struct layer_init_args) == 16, "the kernel's argument segment");

static double vectors(double bytes)
{
	return ceil(bytes / LAYER_VECTOR);
}

uint64_t launch_weights_vectors(const struct plant_model *m)
{
	double n = 0;

	for (uint32_t i = 0; i < m->n_kernels; i++)
		n += m->kernels[i].count * vectors(m->kernels[i].fixed_bytes);
	return (uint64_t)MAX(n, 1.0);
}

/* Half of what a batch moves besides the weights. */
static double data_vectors(const struct plant_kernel *k, uint32_t batch)
{
	return vectors((k->bytes - k->fixed_bytes) * batch / 2);
}

uint64_t launch_data_vectors(const struct plant_model *m, uint32_t batch)
{
	double n = 1;

	for (uint32_t i = 0; i < m->n_kernels; i++)
		n = MAX(n, data_vectors(&m->kernels[i], batch));
	return (uint64_t)n;
}

static struct layer_stream stream(void *data, uint64_t n_vectors, uint64_t first, double total,
				  uint32_t workgroups)
{
	return (struct layer_stream){
		.data = data,
		.n_vectors = (unsigned int)n_vectors,
		.first = (unsigned int)first,
		.total = (unsigned int)total,
		.each = (unsigned int)ceil(total / workgroups),
	};
}

static int make_launch(struct launch *l, const struct plant_kernel *k, uint32_t batch,
		       const struct launch_buffers *b, uint64_t first_weight, uint32_t side)
{
	double workgroups = (double)k->workgroups * batch;
	double bytes = k->fixed_bytes + (k->bytes - k->fixed_bytes) * batch;

	if (workgroups > MAX_WORKGROUPS || vectors(bytes) > LAYER_MAX_VECTORS ||
	    k->flop / k->workgroups > (double)LAYER_MAX_FLOP)
		return -ERANGE;
	*l = (struct launch){
		.count = k->count,
		.workgroups = (uint32_t)workgroups,
		.weights_step = (uint32_t)vectors(k->fixed_bytes),
	};
	l->args = (struct layer_args){
		.flop = (unsigned long long)llround(k->flop / k->workgroups),
		.bytes = (unsigned long long)llround(bytes / workgroups),
		.weights = stream(b->weights, b->weights_vectors, first_weight,
				  vectors(k->fixed_bytes), l->workgroups),
		.in = stream(b->data[side], b->data_vectors, 0, data_vectors(k, batch),
			     l->workgroups),
		.out = stream(b->data[!side], b->data_vectors, 0, data_vectors(k, batch),
			      l->workgroups),
		.scale = SCALE,
		.term = TERM,
	};
	return 0;
}

int launch_plan_make(struct launch_plan *p, const struct plant_model *m, uint32_t batch,
		     const struct launch_buffers *b)
{
	uint64_t first_weight = 0;
	uint32_t side = 0;
	int r;

	p->batch = p->n_launches = 0;
	if (b->weights_vectors > LAYER_MAX_VECTORS || b->data_vectors > LAYER_MAX_VECTORS)
		return -ERANGE;
	for (uint32_t i = 0; i < m->n_kernels; i++) {
		struct launch *l = &p->launches[i];

		/* The last launches may have no weights, and then no place of their own. */
		r = make_launch(l, &m->kernels[i], batch, b, first_weight % b->weights_vectors,
				side);
		if (r < 0)
			return r;
		first_weight += (uint64_t)l->count * l->weights_step;
		side = (side + l->count) % 2;
	}
	p->batch = batch;
	p->n_launches = m->n_kernels;
	return 0;
}

static void scale_stream(struct layer_stream *s, double factor)
{
	s->total = (unsigned int)MIN(ceil(s->total * factor), (double)LAYER_MAX_VECTORS);
	s->each = (unsigned int)MIN(ceil(s->each * factor), (double)LAYER_MAX_VECTORS);
}

void launch_args(const struct launch *l, uint32_t i, double factor, struct layer_args *ret)
{
	struct layer_args a = l->args;

	a.flop = (unsigned long long)MIN(round((double)a.flop * factor), (double)LAYER_MAX_FLOP);
	a.bytes = (unsigned long long)llround((double)a.bytes * factor);
	a.weights.first =
		(unsigned int)(((uint64_t)a.weights.first + (uint64_t)i * l->weights_step) %
			       a.weights.n_vectors);
	scale_stream(&a.weights, factor);
	scale_stream(&a.in, factor);
	scale_stream(&a.out, factor);
	if (i % 2) {
		void *in = a.in.data;

		a.in.data = a.out.data;
		a.out.data = in;
	}
	*ret = a;
}
