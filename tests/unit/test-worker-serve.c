/* SPDX-License-Identifier: Apache-2.0 */
/* Serving on an engine that only sleeps: its services are exact in device time, whatever the
 * host's own clock does to the threads. */
#include "support/cmocka-includes.h"
#include "worker/serve.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <time.h>

#define SERVICE_NS UINT64_C(500000)
#define NEVER	   "/nonexistent/worker.sock"

struct fake {
	struct engine base;
	_Atomic uint32_t runs, overlapping, most_overlapping;
	uint32_t fail_at; /* run number that fails, 0: none */
	bool block;	  /* until stopped */
};

static struct fake *fake(struct engine *e)
{
	return (struct fake *)e;
}

static const char *fake_bdf(_unused_ struct engine *e)
{
	return "0000:43:00.0";
}

static const char *fake_model(_unused_ struct engine *e)
{
	return "fake";
}

static double fake_scale(_unused_ struct engine *e)
{
	return 1;
}

static uint64_t fake_time(_unused_ struct engine *e, uint64_t ns)
{
	return ns;
}

static void sleep_until(uint64_t ns)
{
	struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static int fake_run(struct engine *e, _unused_ uint32_t slot, _unused_ uint32_t batch,
		    _unused_ double factor, uint64_t start_ns, const _Atomic int *stop,
		    uint64_t *ret_end_ns)
{
	struct fake *f = fake(e);
	uint32_t n = atomic_fetch_add(&f->overlapping, 1) + 1, run;

	if (n > atomic_load(&f->most_overlapping))
		atomic_store(&f->most_overlapping, n);
	run = atomic_fetch_add(&f->runs, 1) + 1;
	while (f->block && !atomic_load(stop))
		(void)poll(NULL, 0, 1);
	if (!f->block)
		sleep_until(start_ns + SERVICE_NS);
	atomic_fetch_sub(&f->overlapping, 1);
	if (f->block)
		return -EINTR;
	*ret_end_ns = start_ns + SERVICE_NS;
	return run == f->fail_at ? -EIO : 0;
}

static int fake_set_mask(_unused_ struct engine *e, _unused_ const uint32_t *words,
			 _unused_ uint32_t n_bits)
{
	return 0;
}

static uint32_t fake_cus(_unused_ struct engine *e)
{
	return 60;
}

static uint32_t fake_sclk(_unused_ struct engine *e, _unused_ uint64_t at_ns)
{
	return 1725;
}

static const struct engine_ops fake_ops = {
	.name = "fake",
	.bdf = fake_bdf,
	.model = fake_model,
	.time_scale = fake_scale,
	.device_ns = fake_time,
	.wall_ns = fake_time,
	.run = fake_run,
	.set_mask = fake_set_mask,
	.cus = fake_cus,
	.sclk_mhz = fake_sclk,
};

struct fixture {
	struct fake fake;
	struct report *report;
	struct load_curve *curve;
	int done_fd;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fake.base.ops = &fake_ops;
	f->done_fd = eventfd(0, EFD_CLOEXEC);
	*state = f;
	return report_new(NULL, &f->report);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	report_free(f->report);
	load_curve_free(f->curve);
	(void)close(f->done_fd);
	free(f);
	return 0;
}

static struct serve *start(struct fixture *f, const struct arrivals *arrivals, uint32_t in_flight,
			   uint32_t slots)
{
	struct serve *s;

	assert_int_equal(serve_start(
				 &(struct serve_options){
					 .engine = &f->fake.base,
					 .report = f->report,
					 .arrivals = arrivals,
					 .in_flight = in_flight,
					 .queue_limit = 1000,
					 .slots = slots,
					 .max_batch = 1,
					 .model = "fake",
					 .socket_path = NEVER,
					 .done_fd = f->done_fd,
				 },
				 &s),
			 0);
	return s;
}

static void wait_done(struct fixture *f)
{
	struct pollfd p = {f->done_fd, POLLIN, 0};

	assert_int_equal(poll(&p, 1, 20000), 1);
}

static void test_open_loop_serves_every_arrival(void **state)
{
	struct fixture *f = *state;
	struct arrivals a;
	struct report_summary sum;
	struct serve *s;

	assert_int_equal(load_curve_constant(0.2, &f->curve), 0);
	a = arrivals_make(f->curve, 1, 1000, 1, 0);
	s = start(f, &a, 0, 1);
	wait_done(f);
	assert_int_equal(serve_finish(s), 0);
	sum = report_summary(f->report);
	assert_in_range(sum.arrived, 140, 260);
	assert_int_equal(sum.completed, sum.arrived);
	assert_int_equal(sum.batches, atomic_load(&f->fake.runs));
	/* Exact, however late this machine woke the worker. */
	assert_true(sum.mean_service_ms == SERVICE_NS / 1e6);
}

/* As the daemon has to see demand. */
static void test_arrivals_are_noted_while_all_slots_are_busy(void **state)
{
	struct fixture *f = *state;
	struct report_summary sum;
	struct arrivals a;
	struct serve *s;
	uint32_t tries = 0;

	f->fake.block = true;
	assert_int_equal(load_curve_constant(60, &f->curve), 0);
	a = arrivals_make(f->curve, 1, 1000, 1, 0);
	s = start(f, &a, 0, 2);
	while (serve_status(s).waiting < 20 && tries++ < 20000)
		(void)poll(NULL, 0, 1);
	assert_true(serve_status(s).waiting >= 20);
	assert_int_equal(atomic_load(&f->fake.runs), 2);
	serve_abort(s);
	wait_done(f);
	assert_int_equal(serve_finish(s), 0);
	sum = report_summary(f->report);
	assert_int_equal(sum.failed, sum.arrived);
}

static void test_closed_loop_runs_until_stopped_on_all_its_slots(void **state)
{
	struct fixture *f = *state;
	struct serve *s = start(f, NULL, 4, 3);
	struct report_summary sum;

	while (atomic_load(&f->fake.runs) < 50)
		(void)poll(NULL, 0, 1);
	serve_stop(s);
	wait_done(f);
	assert_int_equal(serve_finish(s), 0);
	sum = report_summary(f->report);
	assert_int_equal(sum.completed, sum.arrived);
	assert_int_equal(sum.completed, atomic_load(&f->fake.runs));
	assert_in_range(atomic_load(&f->fake.most_overlapping), 2, 3);
}

static void test_abort_fails_what_runs_and_what_waits(void **state)
{
	struct fixture *f = *state;
	struct report_summary sum;
	struct serve *s;

	f->fake.block = true;
	s = start(f, NULL, 5, 2);
	while (atomic_load(&f->fake.runs) < 2)
		(void)poll(NULL, 0, 1);
	serve_abort(s);
	wait_done(f);
	assert_int_equal(serve_finish(s), 0);
	sum = report_summary(f->report);
	assert_int_equal(sum.arrived, 5);
	assert_int_equal(sum.failed, 5);
	assert_int_equal(sum.completed, 0);
}

static void test_an_engine_that_fails_ends_the_run_with_its_error(void **state)
{
	struct fixture *f = *state;
	struct report_summary sum;
	struct serve *s;

	f->fake.fail_at = 10;
	s = start(f, NULL, 3, 1);
	wait_done(f);
	assert_int_equal(serve_finish(s), -EIO);
	sum = report_summary(f->report);
	assert_int_equal(sum.completed, 9);
	assert_int_equal(sum.completed + sum.failed, sum.arrived);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_open_loop_serves_every_arrival, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_arrivals_are_noted_while_all_slots_are_busy,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_closed_loop_runs_until_stopped_on_all_its_slots, setup, teardown),
		cmocka_unit_test_setup_teardown(test_abort_fails_what_runs_and_what_waits, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			test_an_engine_that_fails_ends_the_run_with_its_error, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
