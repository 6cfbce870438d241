/* SPDX-License-Identifier: Apache-2.0 */
#include "support/cmocka-includes.h"
#include "worker/report.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define MS UINT64_C(1000000)

static void add(struct report *r, uint64_t number, uint64_t sojourn_ms, enum report_status status)
{
	report_arrival(r);
	report_add(r, &(struct report_row){.number = number,
					   .arrival_ns = 100 * MS,
					   .start_ns = 101 * MS,
					   .end_ns = (100 + sojourn_ms) * MS,
					   .sclk_mhz = 1725,
					   .cus = 60,
					   .batch = 1,
					   .status = status});
}

static void test_summary_has_nearest_rank_quantiles_of_the_completed(void **state)
{
	struct report_summary s;
	struct report *r;

	(void)state;
	assert_int_equal(report_new(NULL, &r), 0);
	for (uint64_t i = 100; i >= 1; i--)
		add(r, i, i, REPORT_OK);
	add(r, 101, 5000, REPORT_FAILED);
	add(r, 102, 0, REPORT_REJECTED);
	report_batch(r, 3 * MS);
	report_batch(r, 5 * MS);
	s = report_summary(r);
	assert_true(s.p50_ms == 50 && s.p95_ms == 95 && s.p99_ms == 99);
	assert_true(s.mean_service_ms == 4);
	assert_int_equal(s.arrived, 102);
	assert_int_equal(s.completed, 100);
	assert_int_equal(s.failed, 1);
	assert_int_equal(s.rejected, 1);
	report_free(r);
}

static void test_recent_tells_only_what_is_new(void **state)
{
	struct report_summary s;
	struct report *r;

	(void)state;
	assert_int_equal(report_new(NULL, &r), 0);
	for (uint64_t i = 1; i <= 10; i++)
		add(r, i, i, REPORT_OK);
	s = report_recent(r);
	assert_int_equal(s.completed, 10);
	add(r, 11, 70, REPORT_OK);
	s = report_recent(r);
	assert_int_equal(s.completed, 1);
	assert_true(s.p95_ms == 70);
	s = report_recent(r);
	assert_int_equal(s.completed, 0);
	assert_true(isnan(s.p95_ms) && isnan(s.mean_service_ms));
	s = report_summary(r);
	assert_true(s.p50_ms == 6);
	report_free(r);
}

static void test_file_has_a_row_for_each_request(void **state)
{
	char path[] = "/tmp/test-report.XXXXXX", text[512];
	int fd = mkstemp(path);
	struct report *r;
	FILE *f;
	size_t n;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(report_new(path, &r), 0);
	add(r, 0, 3, REPORT_OK);
	add(r, 1, 4, REPORT_FAILED);
	assert_int_equal(report_close_file(r), 0);
	f = fdopen(fd, "r");
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	(void)fclose(f);
	(void)unlink(path);
	assert_string_equal(text, "request,arrival_ns,start_ns,end_ns,sclk_mhz,cus,batch,status\n"
				  "0,100000000,101000000,103000000,1725,60,1,ok\n"
				  "1,100000000,101000000,104000000,1725,60,1,failed\n");
	report_free(r);
}

static void test_a_full_disk_shows_at_the_end(void **state)
{
	struct report *r;

	(void)state;
	assert_int_equal(report_new("/dev/full", &r), 0);
	add(r, 0, 3, REPORT_OK);
	assert_int_equal(report_close_file(r), -ENOSPC);
	report_free(r);
	assert_int_equal(report_new("/nonexistent/report.csv", &r), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_summary_has_nearest_rank_quantiles_of_the_completed),
		cmocka_unit_test(test_recent_tells_only_what_is_new),
		cmocka_unit_test(test_file_has_a_row_for_each_request),
		cmocka_unit_test(test_a_full_disk_shows_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
