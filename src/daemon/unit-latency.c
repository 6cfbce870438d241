/* SPDX-License-Identifier: Apache-2.0 */
/* The latency of a model's workers on one card, from their histograms: over windows of two seconds
 * for people, and over each interval for the governor. */
#include "base/units.h"
#include "daemon/unit-internal.h"
#include <stdlib.h>

#define UNIT_LATENCY_WINDOW_NS (2 * NSEC_PER_SEC)
/* Of one interval; still exact enough as a double. */
#define SOJOURN_MAX_NS 1e18

void unit_latencies_free(struct unit *u)
{
	for (uint32_t i = 0; u->plan && u->latencies && i < u->plan->n_models; i++)
		unit_latency_reset(u, i);
	free(TAKE_PTR(u->latencies));
}

void unit_latency_reset(struct unit *u, uint32_t model)
{
	if (!u->latencies || !u->plan || model >= u->plan->n_models)
		return;
	free(TAKE_PTR(u->latencies[model].base));
	free(TAKE_PTR(u->latencies[model].step));
}

static void add_histogram(struct channel_histogram *sum, const struct channel_histogram *h)
{
	sum->count += h->count;
	for (size_t i = 0; i < CHANNEL_HISTOGRAM_BUCKETS; i++)
		sum->buckets[i] += h->buckets[i];
}

/* All that the model's workers have measured since they connected. */
static bool total_latency(const struct unit *u, uint32_t model, struct channel_histogram *ret)
{
	struct channel_histogram one;
	const struct session *s;

	*ret = (struct channel_histogram){0};
	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	{
		if (!session_on(s, u) || s->model_index != model)
			continue;
		for (uint32_t bank = 0; bank < CHANNEL_BANKS; bank++) {
			if (channel_connection_histogram(s->connection, CHANNEL_TOTAL, bank, &one) <
			    0)
				return false;
			add_histogram(ret, &one);
		}
	}
	return true;
}

void unit_latency_update(struct unit *u, uint32_t model, uint64_t now_ns)
{
	struct unit_latency *l = &u->latencies[model];
	const struct config_model *m = &u->manager->config->models[model];
	struct channel_histogram sum;

	if (l->base && now_ns - l->since_ns < UNIT_LATENCY_WINDOW_NS)
		return;
	if (!total_latency(u, model, &sum))
		return;
	if (l->base) {
		struct channel_histogram window = sum;

		channel_histogram_subtract(&window, l->base);
		l->count = window.count;
		if (window.count > 0)
			l->p99_ns = channel_histogram_quantile(&window, 0.99);
		l->p95_ms = (double)channel_histogram_quantile(&window, 0.95) / 1e6;
		l->tail_ms =
			(double)channel_histogram_quantile(&window, m->percentile / 100.0) / 1e6;
	} else {
		l->base = malloc(sizeof(*l->base));
		l->count = 0;
	}
	if (l->base)
		*l->base = sum;
	l->since_ns = now_ns;
}

void unit_latency_interval(struct unit *u, uint32_t model, struct governor_model_input *in)
{
	struct unit_latency *l = &u->latencies[model];
	struct channel_histogram sum, window;

	if (!total_latency(u, model, &sum)) {
		free(TAKE_PTR(l->step));
		return;
	}
	if (!l->step) {
		l->step = malloc(sizeof(*l->step));
		if (l->step)
			*l->step = sum;
		return;
	}
	window = sum;
	channel_histogram_subtract(&window, l->step);
	*l->step = sum;
	in->sojourn_p95_ns = channel_histogram_quantile(&window, 0.95);
	in->sojourn_ns = (uint64_t)MIN(channel_histogram_mean_ns(&window) * (double)in->completions,
				       SOJOURN_MAX_NS);
}
