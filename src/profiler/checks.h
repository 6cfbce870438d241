/* SPDX-License-Identifier: Apache-2.0 */
/* Verification: which of a table's choices are run under load, for how long, what a run says, and
 * what follows. The runs themselves are the caller's, so that all this can be tried without a
 * card. Pure.
 *
 * A run goes on, window by window, while more requests are late than the percentile allows and it
 * might be chance. It fails once the lower 95 % bound of their share is above that. So a good cell
 * takes one window, and what is gained by a longer run is spent where it is needed. */
#pragma once

#include "profiler/window.h"
#include "response/table.h"

#define CHECK_WINDOWS 5
#define CHECK_ROUNDS  8

struct check {
	uint32_t cell;
	double rate_rps;
};

/* Length of a window: the time asked for, or up to five times that for the requests that make the
 * bound narrow enough to find a gross miss. */
uint64_t check_window_ns(double rate_rps, uint64_t asked_ns);

/* A run's windows so far. */
struct load_run {
	double late[CHECK_WINDOWS * WINDOW_PARTS];     /* late requests of each part ... */
	double requests[CHECK_WINDOWS * WINDOW_PARTS]; /* ... of so many that ended */
	uint32_t n_windows;
	double power_w; /* mean over the windows */
	struct channel_histogram sojourn;
};
/* Nothing is added to a run that has all its windows. */
void load_run_add(struct load_run *r, const struct window *w, double power_w);

enum verdict { VERDICT_HOLDS, VERDICT_FAILS, VERDICT_OPEN };
/* *ret_late: the share of late requests; NaN, and holds, without any requests. */
enum verdict load_run_judge(const struct load_run *r, uint32_t percentile,
			    struct estimate *ret_late);

struct verification {
	struct surface *surface; /* cells that fail are struck in it */
	struct table_options options;
	/* false: each chosen cell once, at its highest rate, and the baseline only where nothing
	 * else is chosen. */
	bool each_row;
	/* So many runs are ahead. */
	void (*plan)(void *userdata, uint32_t n);
	/* Runs a choice; *ret is holds or fails. A negative errno ends it all. */
	int (*run)(void *userdata, const struct check *c, uint64_t slo_ns, enum verdict *ret);
	void *userdata;
	/* results */
	uint32_t n_struck;
	bool baseline_failed; /* not struck: it is what there is where nothing else will do */
};
/* Derives the table, runs its choices, strikes those that fail and derives it again, until all that
 * is chosen holds. 0; 1 if cells still failed after CHECK_ROUNDS rounds; or a negative errno,
 * logged if it is the table's. */
int verification_run(struct verification *v);
