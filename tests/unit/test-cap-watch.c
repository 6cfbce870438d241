/* SPDX-License-Identifier: Apache-2.0 */
/* Time above a power cap, by readings. */
#include "base/macros.h"
#include "base/units.h"
#include "daemon/cap-watch.h"
#include "support/cmocka-includes.h"

#define GAP_NS NSEC_PER_SEC

static void test_each_reading_stands_for_the_time_before_it(void **state _unused_)
{
	static const struct {
		uint32_t at_ms, cap_w, power_w;
		uint32_t watched_ms, over_ms, most_w, mean_w; /* afterwards */
	} steps[] = {
		{0, 0, 200, 0, 0, 0, 0},       /* no cap: nothing to watch */
		{100, 100, 200, 0, 0, 0, 0},   /* just set: the reading is of before */
		{600, 100, 100, 500, 0, 0, 0}, /* at the cap is inside */
		{1100, 100, 130, 1000, 500, 30, 30},
		{1100, 100, 300, 1000, 500, 30, 30}, /* the same moment twice */
		{1600, 100, 110, 1500, 1000, 30, 20},
		{1700, 90, 200, 1500, 1000, 30, 20}, /* another cap begins anew */
		{1800, 90, 90, 1600, 1000, 30, 20},
		{3000, 90, 200, 1600, 1000, 30, 20}, /* too long ago to stand for that time */
		{3500, 90, 80, 2100, 1000, 30, 20},
		{4000, 0, 200, 2100, 1000, 30, 20},
		{4500, 90, 200, 2100, 1000, 30, 20},
	};
	struct cap_watch w = {0};

	assert_int_equal(cap_watch_mean_uw(&w), 0);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		cap_watch_feed(&w, NSEC_PER_SEC + steps[i].at_ms * NSEC_PER_MSEC, GAP_NS,
			       steps[i].cap_w * UW_PER_W, steps[i].power_w * UW_PER_W);
		if (w.watched_ns != steps[i].watched_ms * NSEC_PER_MSEC ||
		    w.over_ns != steps[i].over_ms * NSEC_PER_MSEC ||
		    w.over_max_uw != steps[i].most_w * UW_PER_W ||
		    cap_watch_mean_uw(&w) != steps[i].mean_w * UW_PER_W)
			fail_msg("step %zu: %lu ns watched, %lu above, %lu and %lu uW", i,
				 w.watched_ns, w.over_ns, w.over_max_uw, cap_watch_mean_uw(&w));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_reading_stands_for_the_time_before_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
