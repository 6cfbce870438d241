/* SPDX-License-Identifier: Apache-2.0 */
/* The launches of an execution, sorted into a few kinds: by how many wave slots they hold, by how
 * much of their time is computing, and by how much of the card's memory they ask for. */
#include "plant/share.h"
#include "replay/costs-internal.h"
#include <math.h>

/* Of 256 work items, the usual size; nothing in the models' files says more. */
#define WORKGROUP_WAVES 4

#define HELD_CLASSES	3
#define COMPUTE_CLASSES 3
#define MEMORY_CLASSES	5
#define CLASSES		(HELD_CLASSES * COMPUTE_CLASSES * MEMORY_CLASSES)

static uint32_t class_of(double value, uint32_t n)
{
	return (uint32_t)CLAMP(value * n, 0.0, n - 1.0);
}

static uint32_t class_of_kind(const struct plant_device *d, const struct costs_kind *k)
{
	uint32_t class = class_of(k->held / PLANT_WAVE_SLOTS, HELD_CLASSES);

	class = class * COMPUTE_CLASSES + class_of(k->compute_ns / k->ns, COMPUTE_CLASSES);
	return class * MEMORY_CLASSES + class_of(k->bytes / k->ns / d->memory_gbps, MEMORY_CLASSES);
}

static struct costs_kind kind_of(const struct costs *c, const struct plant_kernel *kernel,
				 uint32_t level, uint32_t shape, uint32_t batch)
{
	const struct plant_device *d = &c->device;
	struct plant_launch l = plant_kernel_launch(kernel, batch);
	struct plant_execution e =
		plant_launch_execution(d, &l, d->level_mhz[level], c->shapes[shape]);
	double cus = shape + 1 < c->n_shapes ? cu_shape_cus(c->shapes[shape])
					     : cu_topology_cus(&d->topology);

	return (struct costs_kind){
		.share = kernel->count,
		.ns = plant_launch_ns(d, &l, d->level_mhz[level], c->shapes[shape]),
		.compute_ns = e.compute_ns,
		.bytes = l.bytes,
		.drawn_bytes_per_ns = e.drawn_bytes_per_ns,
		.held = fmin(PLANT_WAVE_SLOTS, WORKGROUP_WAVES * e.busiest),
		.load = fmin(PLANT_WAVE_SLOTS, WORKGROUP_WAVES * l.workgroups / cus),
	};
}

/* sum->share counts launches meanwhile. Slots are weighed by the time that they are held. */
static void add(struct costs_kind *sum, const struct costs_kind *k)
{
	sum->share += k->share;
	sum->ns += k->share * k->ns;
	sum->compute_ns += k->share * k->compute_ns;
	sum->bytes += k->share * k->bytes;
	sum->drawn_bytes_per_ns = k->drawn_bytes_per_ns;
	sum->held += k->share * k->ns * k->held;
	sum->load += k->share * k->ns * k->load;
}

static struct costs_kind mean(const struct costs_kind *sum, double total_ns)
{
	return (struct costs_kind){
		.share = sum->ns / total_ns,
		.ns = sum->ns / sum->share,
		.compute_ns = sum->compute_ns / sum->share,
		.bytes = sum->bytes / sum->share,
		.drawn_bytes_per_ns = sum->drawn_bytes_per_ns,
		.held = sum->held / sum->ns,
		.load = sum->load / sum->ns,
	};
}

/* Joins the two that take the least time, until there are few enough. */
static uint32_t reduce(struct costs_kind *sums, uint32_t n)
{
	while (n > COSTS_MAX_KINDS) {
		uint32_t least = 0;

		for (uint32_t i = 1; i < n; i++)
			if (sums[i].ns < sums[least].ns)
				least = i;
		/* Its neighbour is the class that is most like it. */
		if (least == 0)
			least = 1;
		sums[least - 1].share += sums[least].share;
		sums[least - 1].ns += sums[least].ns;
		sums[least - 1].compute_ns += sums[least].compute_ns;
		sums[least - 1].bytes += sums[least].bytes;
		sums[least - 1].held += sums[least].held;
		sums[least - 1].load += sums[least].load;
		n--;
		for (uint32_t i = least; i < n; i++)
			sums[i] = sums[i + 1];
	}
	return n;
}

void costs_get_kinds(const struct costs *c, uint32_t level, uint32_t shape, uint32_t batch,
		     struct costs_kinds *ret)
{
	struct costs_kind sums[CLASSES] = {0};
	double total_ns = 0;
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->model.n_kernels; i++) {
		struct costs_kind k = kind_of(c, &c->model.kernels[i], level, shape, batch);

		add(&sums[class_of_kind(&c->device, &k)], &k);
		total_ns += k.share * k.ns;
	}
	for (uint32_t i = 0; i < CLASSES; i++)
		if (sums[i].share > 0)
			sums[n++] = sums[i];
	ret->n = reduce(sums, n);
	for (uint32_t i = 0; i < ret->n; i++)
		ret->kinds[i] = mean(&sums[i], total_ns);
}
