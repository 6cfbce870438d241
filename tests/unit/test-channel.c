/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's side of the channel against hand-made peers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants those first. */
#include <cmocka.h>

#include "channel/channel.h"

static void test_bucket_bounds_meet(void **state)
{
	(void)state;
	for (uint32_t i = 0; i + 1 < CHANNEL_HISTOGRAM_BUCKETS; i++) {
		uint64_t upper = channel_histogram_upper_ns(i);

		assert_int_equal(channel_histogram_bucket(upper - 1), i);
		assert_int_equal(channel_histogram_bucket(upper), i + 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bucket_bounds_meet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
