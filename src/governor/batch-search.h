/* SPDX-License-Identifier: Apache-2.0 */
/* BatchSizer's pseudo binary search (Nabavinejad, Reda, Ebrahimi: BatchSizer, ASP-DAC 2021,
 * algorithm 1) over batch sizes 1, 2, 4 ... for the largest whose power stays inside a cap:
 *
 *	power > cap		lower: the median of the lower bound and this size
 *	0.8 cap .. cap		this size is good
 *	power < 0.8 cap		raise: the median of this size and the upper bound
 *
 * Each decision takes 10 batches, and their highest power. What the algorithm as printed gets wrong
 * can be repaired one by one:
 *
 * (1) Readings are never forgotten, so that the highest of all times counts: after a single
 *     violation all that follows looks like one. Repaired: a change of size forgets them, and from
 *     then on the last 10 batches count.
 * (2) The text calls everything up to 0.8 cap good, the pseudo-code raises there; with the text's
 *     rule nothing would ever be raised. The pseudo-code is followed in any case.
 * (3) The bands are separate tests, the violation's after the raise. As both look at the same
 *     readings no two can hold, so it makes no difference; here they exclude each other.
 * (4) At the smallest size a violation is noted as hopeless, but then goes on as any other and sets
 *     the upper bound to the smallest size, for ever. Repaired: the range is left alone.
 * (5) The upper bound never rises again, although the cap may be raised or the load become lighter.
 *     Repaired: a new cap opens the range, and so does some time below 0.8 cap at the upper bound.
 * (6) Where one size takes less than 0.8 cap and the next one violates, it goes to and fro between
 *     them. Repaired: the size that failed is left out of the range; when (5) opens it again, this
 *     size is tried first, and each time that it fails the pause before the next one doubles.
 *
 * Together (1) and (4) are what the algorithm as printed ends in: the first violation takes it
 * to size 1, where it stays. It also takes for granted that there is always a full batch to take,
 * and that more power means a larger batch; that is its idea, and not repaired.
 *
 * Sizes are known by number alone, so the same search is good for anything that raises power: the
 * paper's own comparison is over levels of the clock. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BATCH_SEARCH_BATCHES 10 /* a decision takes this many */
#define BATCH_SEARCH_SIZES   16
/* Decisions below 0.8 cap at the upper bound before a larger size is tried again. */
#define BATCH_SEARCH_PATIENCE	  20
#define BATCH_SEARCH_PATIENCE_MAX (64 * BATCH_SEARCH_PATIENCE)

enum batch_search_repair {
	BATCH_SEARCH_FORGET = 1u << 0,	   /* (1) */
	BATCH_SEARCH_KEEP_RANGE = 1u << 1, /* (4) */
	BATCH_SEARCH_REOPEN = 1u << 2,	   /* (5) */
	BATCH_SEARCH_TABU = 1u << 3,	   /* (6) */
};
#define BATCH_SEARCH_REPAIRED                                                                      \
	(BATCH_SEARCH_FORGET | BATCH_SEARCH_KEEP_RANGE | BATCH_SEARCH_REOPEN | BATCH_SEARCH_TABU)

/* All zero: not begun. Sizes by number, 1 for the smallest. */
struct batch_search {
	uint32_t n, min, max, current; /* n: how many there are */
	uint64_t cap_uw;
	uint64_t batches;  /* as printed: since the last decision */
	uint64_t power_uw; /* ... and the highest ever */
	/* With (1): the newest intervals, of 10 batches together. */
	uint32_t head, n_window;
	struct {
		uint64_t batches, power_uw;
	} window[BATCH_SEARCH_BATCHES];
	bool settling;	 /* the size has just changed: the next interval is part of both */
	bool infeasible; /* not even the smallest size is inside the cap */
	bool retrying;	 /* this size failed before */
	uint32_t low, patience;
};

/* How many sizes there are up to max_batch. */
uint32_t batch_search_count(uint32_t max_batch);
/* Begins with the first of n sizes, or takes a change of the limits over. */
void batch_search_limit(struct batch_search *s, uint32_t repairs, uint32_t n, uint64_t cap_uw);
/* One interval's batches and its highest power (0: unknown), served with the size found last. */
void batch_search_feed(struct batch_search *s, uint32_t repairs, uint64_t batches,
		       uint64_t power_uw);
/* The size found, as a batch. */
uint32_t batch_search_size(const struct batch_search *s);
