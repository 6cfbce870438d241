/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/switch-time.h"
#include "base/macros.h"
#include "base/units.h"
#include <math.h>

/* Services spread by some percent: nearer to each other they are not told apart. */
#define RATIO_LEAST	  1.1
#define EXECUTIONS_TO_SEE 2
/* Longer than a lower clock takes, mostly. */
#define LOWERED_NS (500 * NSEC_PER_MSEC)
/* Between two steps nothing is left out; readings of the clock may differ. */
#define GAP_MAX_NS NSEC_PER_MSEC

void switch_time_init(struct switch_time *s)
{
	*s = (struct switch_time){0};
}

void switch_time_order(struct switch_time *s, uint64_t now_ns, double slow_ns, double fast_ns,
		       bool prompt)
{
	s->watching = fast_ns > 0 && slow_ns >= RATIO_LEAST * fast_ns && !isinf(slow_ns) &&
		      (s->lowered_ns == 0 || now_ns - s->lowered_ns >= LOWERED_NS);
	s->felt = false;
	s->ordered_ns = s->seen_ns = now_ns;
	s->slow_ns = slow_ns;
	s->fast_ns = fast_ns;
	s->before_ns = prompt ? 0 : s->slow_ns / 2;
	s->busy_ns = s->executions = 0;
	s->last_ns = s->last_executions = 0;
}

static void keep(struct switch_time *s, double ns, bool at_least)
{
	s->samples[s->next] = (struct switch_sample){
		.ns = CLAMP(ns - s->before_ns, 0, SWITCH_TIME_MAX_NS),
		.at_least = at_least,
	};
	s->next = (s->next + 1) % SWITCH_TIME_SAMPLES;
	s->n = MIN(s->n + 1, (uint32_t)SWITCH_TIME_SAMPLES);
	s->watching = false;
}

/* Of the busy time the part at the old speed. */
static double old_ns(const struct switch_time *s, double busy_ns, double executions)
{
	double ns = (busy_ns - executions * s->fast_ns) / (1 - s->fast_ns / s->slow_ns);

	return CLAMP(ns, 0, busy_ns);
}

static bool is_fast(const struct switch_time *s, double busy_ns, double executions)
{
	return busy_ns < executions * (s->slow_ns + s->fast_ns) / 2;
}

/* Whether these executions can have ended since the order, one after the other. */
static bool is_possible(const struct switch_time *s, uint64_t now_ns, uint64_t interval_ns,
			double busy_ns)
{
	uint64_t began_ns = now_ns - interval_ns;
	uint64_t gap_ns = MAX(began_ns, s->seen_ns) - MIN(began_ns, s->seen_ns);

	return now_ns >= s->seen_ns && interval_ns <= now_ns && gap_ns < GAP_MAX_NS &&
	       busy_ns < (double)(now_ns - s->ordered_ns) + 2 * s->slow_ns;
}

/* More time since the order that no execution accounts for than one that is under way would. */
static bool had_pause(const struct switch_time *s, uint64_t now_ns, double busy_ns)
{
	return (double)(now_ns - s->ordered_ns) + s->before_ns - busy_ns > 1.5 * s->slow_ns;
}

static void count(struct switch_time *s)
{
	bool fast = is_fast(s, s->last_ns, s->last_executions);

	s->busy_ns += s->last_ns;
	s->executions += s->last_executions;
	s->last_ns = s->last_executions = 0;
	s->felt = fast;
	if (fast)
		keep(s, old_ns(s, s->busy_ns, s->executions), /* at_least= */ false);
	else if (s->busy_ns >= SWITCH_TIME_MAX_NS)
		keep(s, s->busy_ns, /* at_least= */ true);
}

void switch_time_stop(struct switch_time *s)
{
	if (s->watching && s->executions > 0)
		keep(s, s->busy_ns, /* at_least= */ true);
	s->watching = false;
}

void switch_time_executions(struct switch_time *s, uint64_t now_ns, uint64_t interval_ns,
			    uint64_t busy_ns, uint64_t executions)
{
	double all_ns = s->busy_ns + s->last_ns + (double)busy_ns;

	if (!s->watching)
		return;
	if (!is_possible(s, now_ns, interval_ns, all_ns)) {
		switch_time_drop(s);
		return;
	}
	s->seen_ns = now_ns;
	if (had_pause(s, now_ns, all_ns)) {
		switch_time_stop(s);
		return;
	}
	s->last_ns += (double)busy_ns;
	s->last_executions += (double)executions;
	if (s->last_executions >= EXECUTIONS_TO_SEE)
		count(s);
}

void switch_time_end(struct switch_time *s, uint64_t now_ns)
{
	switch_time_stop(s);
	if (s->felt)
		s->lowered_ns = now_ns;
	s->felt = false;
}

void switch_time_drop(struct switch_time *s)
{
	s->watching = false;
}

bool switch_time_known(const struct switch_time *s)
{
	return s->n >= SWITCH_TIME_LEAST;
}

/* Ascending; of two that are equal what lasted at least as long comes last. */
static bool comes_after(const struct switch_sample *a, const struct switch_sample *b)
{
	return a->ns > b->ns || (a->ns == b->ns && a->at_least && !b->at_least);
}

static void sort(struct switch_sample *samples, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		struct switch_sample sample = samples[i];
		uint32_t k = i;

		for (; k > 0 && comes_after(&samples[k - 1], &sample); k--)
			samples[k] = samples[k - 1];
		samples[k] = sample;
	}
}

double switch_time_ns(const struct switch_time *s)
{
	struct switch_sample samples[SWITCH_TIME_SAMPLES];
	double longer = 1;

	if (!switch_time_known(s))
		return SWITCH_TIME_DEFAULT_NS;
	for (uint32_t i = 0; i < s->n; i++)
		samples[i] = s->samples[i];
	sort(samples, s->n);
	for (uint32_t i = 0; i < s->n; i++) {
		if (!samples[i].at_least)
			longer *= 1 - 1.0 / (s->n - i);
		/* Half of them, but for rounding. */
		if (longer < 0.5 + 1e-9)
			return samples[i].ns;
	}
	return samples[s->n - 1].ns;
}
