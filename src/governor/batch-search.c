/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/batch-search.h"
#include "base/macros.h"
#include <string.h>

/* Below this share of the cap there is room for a larger size. */
#define ROOM_NUMERATOR	 4
#define ROOM_DENOMINATOR 5

uint32_t batch_search_count(uint32_t max_batch)
{
	uint32_t n = 1;

	while (n < BATCH_SEARCH_SIZES && UINT32_C(1) << n <= max_batch)
		n++;
	return n;
}

static void forget(struct batch_search *s)
{
	s->head = s->n_window = 0;
	s->settling = true;
}

static void open_range(struct batch_search *s)
{
	s->max = s->n;
	s->low = 0;
	s->patience = BATCH_SEARCH_PATIENCE;
	s->retrying = false;
}

void batch_search_limit(struct batch_search *s, uint32_t repairs, uint32_t n, uint64_t cap_uw)
{
	if (s->n == 0) {
		*s = (struct batch_search){.n = n, .min = 1, .current = 1, .cap_uw = cap_uw};
		open_range(s);
		return;
	}
	if (n != s->n) {
		s->max = s->max == s->n ? n : MIN(s->max, n);
		s->n = n;
		s->min = MIN(s->min, s->max);
		s->current = MIN(s->current, s->max);
	}
	if (cap_uw != s->cap_uw && (repairs & BATCH_SEARCH_REOPEN))
		open_range(s);
	s->cap_uw = cap_uw;
}

static void go_up(struct batch_search *s, uint32_t repairs)
{
	s->min = s->current;
	if (s->current < s->max) {
		s->current = (s->min + s->max + 1) / 2;
		s->low = 0;
		return;
	}
	if (!(repairs & BATCH_SEARCH_REOPEN) || s->max == s->n)
		return;
	if (++s->low < s->patience)
		return;
	s->low = 0;
	s->max = s->n;
	s->current++;
	s->retrying = true;
}

static void go_down(struct batch_search *s, uint32_t repairs)
{
	uint32_t failed = s->current;

	if (failed == 1 && (repairs & BATCH_SEARCH_KEEP_RANGE)) {
		s->infeasible = true;
		return;
	}
	if (failed == s->min)
		s->min = 1;
	s->max = failed;
	s->current = (s->min + failed) / 2;
	if ((repairs & BATCH_SEARCH_TABU) && failed > 1)
		s->max = failed - 1;
	s->low = 0;
	if (s->retrying)
		s->patience = MIN(2 * s->patience, (uint32_t)BATCH_SEARCH_PATIENCE_MAX);
	s->retrying = false;
}

static void decide(struct batch_search *s, uint32_t repairs, uint64_t power_uw)
{
	uint32_t before = s->current;

	s->infeasible = false;
	if (power_uw > s->cap_uw) {
		go_down(s, repairs);
	} else {
		if (s->retrying)
			s->patience = BATCH_SEARCH_PATIENCE;
		s->retrying = false;
		if ((double)power_uw * ROOM_DENOMINATOR < (double)s->cap_uw * ROOM_NUMERATOR)
			go_up(s, repairs);
		else
			s->low = 0;
	}
	if (s->current != before)
		forget(s);
}

/* The highest power of the newest intervals that have 10 batches together. False: not so many. */
static bool window_power(const struct batch_search *s, uint64_t *ret_uw)
{
	uint64_t batches = 0, power_uw = 0;

	for (uint32_t i = 0; i < s->n_window && batches < BATCH_SEARCH_BATCHES; i++) {
		uint32_t at = (s->head + BATCH_SEARCH_BATCHES - 1 - i) % BATCH_SEARCH_BATCHES;

		batches += MIN(s->window[at].batches, (uint64_t)BATCH_SEARCH_BATCHES);
		power_uw = MAX(power_uw, s->window[at].power_uw);
	}
	*ret_uw = power_uw;
	return batches >= BATCH_SEARCH_BATCHES;
}

static void feed_window(struct batch_search *s, uint32_t repairs, uint64_t batches,
			uint64_t power_uw)
{
	uint64_t highest_uw;

	if (s->settling) {
		s->settling = false;
		return;
	}
	s->window[s->head].batches = batches;
	s->window[s->head].power_uw = power_uw;
	s->head = (s->head + 1) % BATCH_SEARCH_BATCHES;
	s->n_window = MIN(s->n_window + 1, (uint32_t)BATCH_SEARCH_BATCHES);
	if (window_power(s, &highest_uw))
		decide(s, repairs, highest_uw);
}

void batch_search_feed(struct batch_search *s, uint32_t repairs, uint64_t batches,
		       uint64_t power_uw)
{
	if (s->n == 0 || batches == 0 || power_uw == 0)
		return;
	if (repairs & BATCH_SEARCH_FORGET) {
		feed_window(s, repairs, batches, power_uw);
		return;
	}
	s->power_uw = MAX(s->power_uw, power_uw);
	s->batches += MIN(batches, (uint64_t)BATCH_SEARCH_BATCHES);
	if (s->batches < BATCH_SEARCH_BATCHES)
		return;
	s->batches = 0;
	decide(s, repairs, s->power_uw);
}

uint32_t batch_search_size(const struct batch_search *s)
{
	return s->current > 0 ? UINT32_C(1) << (s->current - 1) : 1;
}
