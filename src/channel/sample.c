/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what a worker has counted: copied first, then the copy is validated. */
#include "channel/connection.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* Adds up one counter over all shards; false if a shard holds what no count can be. */
static bool sum_counter(const struct channel_memory *m, size_t offset, memory_order order,
			uint64_t *ret)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < CHANNEL_SHARDS; i++) {
		const struct channel_counters *s = &m->shards[i].classes[CHANNEL_CLASS_REQUESTS];
		const _Atomic uint64_t *counter =
			(const _Atomic uint64_t *)((const char *)s + offset);
		uint64_t value = atomic_load_explicit(counter, order);

		if (value > CHANNEL_COUNTER_MAX)
			return false;
		sum += value;
	}
	*ret = sum;
	return true;
}

/* The order of the rows is that of pair (A) of channel-layout.h: what comes last in a request's
 * life is read first. */
static const struct {
	size_t offset;
	size_t to;
	memory_order order;
} counters[] = {
#define ROW(name, order)                                                                           \
	{                                                                                          \
		offsetof(struct channel_counters, name), offsetof(struct channel_sample, name),    \
			order                                                                      \
	}
	ROW(late, memory_order_acquire),     ROW(completions, memory_order_acquire),
	ROW(failures, memory_order_acquire), ROW(starts, memory_order_acquire),
	ROW(arrivals, memory_order_relaxed), ROW(batches, memory_order_relaxed),
	ROW(busy_ns, memory_order_relaxed),
#undef ROW
};

static uint64_t counter_of(const struct channel_sample *s, size_t row)
{
	uint64_t value;

	memcpy(&value, (const char *)s + counters[row].to, sizeof(value));
	return value;
}

static bool copy_counters(const struct channel_memory *m, struct channel_sample *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		uint64_t sum;

		if (!sum_counter(m, counters[i].offset, counters[i].order, &sum))
			return false;
		memcpy((char *)s + counters[i].to, &sum, sizeof(sum));
	}
	return true;
}

static void copy_worker_page(const struct channel_worker_page *w, struct channel_sample *s)
{
	s->beat = atomic_load_explicit(&w->beat, memory_order_relaxed);
	s->running = atomic_load_explicit(&w->running, memory_order_relaxed);
	s->waiting = atomic_load_explicit(&w->waiting, memory_order_relaxed);
	/* Pair (B) of channel-layout.h. */
	s->applied_epoch = atomic_load_explicit(&w->applied_epoch, memory_order_acquire);
	s->applied_queues = atomic_load_explicit(&w->applied_queues, memory_order_relaxed);
	s->applied_ns = atomic_load_explicit(&w->applied_ns, memory_order_relaxed);
}

static bool sample_is_sound(const struct channel_connection *c, const struct channel_sample *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		if (counter_of(s, i) < counter_of(&c->last, i))
			return false;
	return s->beat >= c->last.beat && s->completions + s->failures <= s->arrivals &&
	       s->starts <= s->arrivals && s->late <= s->completions + s->failures &&
	       s->applied_epoch <= c->directive_epoch;
}

int channel_connection_sample(struct channel_connection *c, struct channel_sample *ret)
{
	struct channel_sample s = {0};

	if (c->state != CHANNEL_STATE_WELCOMED)
		return -ENXIO;
	copy_worker_page(&c->memory->worker, &s);
	if (!copy_counters(c->memory, &s) || !sample_is_sound(c, &s))
		return -EBADMSG;
	c->last = s;
	*ret = s;
	return 0;
}

/* A shard whose thread has never come by has no histogram; not to look spares the pages. */
static bool shard_in_use(const struct channel_shard *shard)
{
	const struct channel_counters *s = &shard->classes[CHANNEL_CLASS_REQUESTS];

	return atomic_load_explicit(&s->arrivals, memory_order_relaxed) != 0 ||
	       atomic_load_explicit(&s->starts, memory_order_relaxed) != 0 ||
	       atomic_load_explicit(&s->completions, memory_order_relaxed) != 0;
}

int channel_connection_histogram(struct channel_connection *c, enum channel_series series,
				 uint32_t bank, struct channel_histogram *ret)
{
	struct channel_histogram h = {0};

	if ((unsigned int)series >= CHANNEL_SERIES || bank >= CHANNEL_BANKS)
		return -EINVAL;
	if (c->state != CHANNEL_STATE_WELCOMED)
		return -ENXIO;
	for (size_t i = 0; i < CHANNEL_SHARDS; i++) {
		const _Atomic uint64_t *buckets = c->memory->histograms[i].buckets[series][bank];

		if (!shard_in_use(&c->memory->shards[i]))
			continue;
		for (size_t j = 0; j < CHANNEL_HISTOGRAM_BUCKETS; j++) {
			uint64_t value = atomic_load_explicit(&buckets[j], memory_order_relaxed);

			if (value > CHANNEL_BUCKET_MAX)
				return -EBADMSG;
			h.buckets[j] += value;
			h.count += value;
		}
	}
	if (h.count < c->last_counts[series][bank])
		return -EBADMSG;
	c->last_counts[series][bank] = h.count;
	*ret = h;
	return 0;
}

uint64_t channel_histogram_quantile(const struct channel_histogram *h, double q)
{
	uint64_t rank, seen = 0;
	uint32_t last = 0;

	if (h->count == 0)
		return 0;
	/* Nearest rank: the smallest value that at least q of all lie at or below. */
	rank = (uint64_t)ceil(CLAMP(q, 0.0, 1.0) * (double)h->count);
	rank = CLAMP(rank, UINT64_C(1), h->count);
	for (uint32_t i = 0; i < CHANNEL_HISTOGRAM_BUCKETS; i++) {
		if (h->buckets[i] == 0)
			continue;
		last = i;
		seen += h->buckets[i];
		if (seen >= rank)
			break;
	}
	return channel_histogram_upper_ns(last);
}

double channel_histogram_mean_ns(const struct channel_histogram *h)
{
	double sum_ns = 0, lower_ns = (double)(UINT64_C(1) << CHANNEL_HISTOGRAM_MIN_BITS);

	if (h->count == 0)
		return 0;
	for (uint32_t i = 0; i < CHANNEL_HISTOGRAM_BUCKETS; i++) {
		double upper_ns = (double)channel_histogram_upper_ns(i);

		sum_ns += (double)h->buckets[i] * (lower_ns + upper_ns) / 2;
		lower_ns = upper_ns;
	}
	return sum_ns / (double)h->count;
}

void channel_histogram_subtract(struct channel_histogram *h, const struct channel_histogram *old)
{
	h->count = 0;
	for (size_t i = 0; i < CHANNEL_HISTOGRAM_BUCKETS; i++) {
		h->buckets[i] -= MIN(h->buckets[i], old->buckets[i]);
		h->count += h->buckets[i];
	}
}
