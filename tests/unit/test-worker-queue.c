/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's queue in virtual time. A slot that is asked late must still start its batches when
 * they could have started. */
#include "support/cmocka-includes.h"
#include "worker/queue.h"

#include <errno.h>

#define SEED   7
#define MS     UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)
#define ORIGIN UINT64_C(5000)

struct seen {
	uint32_t admitted, rejected;
	uint64_t last_number;
};

static void count(void *userdata, struct queue_item *item, bool rejected)
{
	struct seen *s = userdata;

	if (rejected)
		s->rejected++;
	else
		s->admitted++;
	s->last_number = item->number;
}

static struct queue *open_loop(const struct load_curve *c, double rps, double scale, uint32_t limit,
			       struct seen *seen)
{
	struct arrivals a = arrivals_make(c, SEED, rps, 1, 0);
	struct queue *q;

	assert_int_equal(queue_new(
				 &(struct queue_options){
					 .origin_ns = ORIGIN,
					 .time_scale = scale,
					 .arrivals = &a,
					 .limit = limit,
					 .admit = count,
					 .userdata = seen,
				 },
				 &q),
			 0);
	return q;
}

static struct queue *closed_loop(uint32_t in_flight, struct seen *seen)
{
	struct queue *q;

	assert_int_equal(queue_new(
				 &(struct queue_options){
					 .origin_ns = ORIGIN,
					 .time_scale = 1,
					 .in_flight = in_flight,
					 .limit = 1000,
					 .admit = count,
					 .userdata = seen,
				 },
				 &q),
			 0);
	return q;
}

static struct load_curve *constant(double seconds)
{
	struct load_curve *c;

	assert_int_equal(load_curve_constant(seconds, &c), 0);
	return c;
}

/* Serves everything on one slot with a fixed service time; wakes late_ns after each moment asked
 * for. Calls back with each batch. */
static uint32_t serve_all(struct queue *q, uint64_t service_ns, uint64_t late_ns,
			  uint32_t max_batch, uint64_t max_wait_ns,
			  void (*check)(const struct queue_batch *b, uint64_t free_ns))
{
	uint64_t free_ns = ORIGIN, now_ns = ORIGIN, wait_ns;
	struct queue_batch b;
	uint32_t n = 0;
	int r;

	while ((r = queue_take(q, free_ns, now_ns, max_batch, max_wait_ns, &b, &wait_ns)) !=
	       -ENODATA) {
		if (r == 0) {
			assert_true(wait_ns > now_ns && wait_ns != UINT64_MAX);
			now_ns = wait_ns + late_ns;
			continue;
		}
		assert_int_equal(r, 1);
		assert_true(b.start_ns <= now_ns);
		check(&b, free_ns);
		free_ns = b.start_ns + service_ns;
		now_ns = MAX(now_ns, free_ns) + late_ns;
		queue_completed(q, b.n, free_ns);
		n += b.n;
	}
	return n;
}

static void starts_as_soon_as_it_can(const struct queue_batch *b, uint64_t free_ns)
{
	assert_int_equal(b->n, 1);
	assert_true(b->start_ns == MAX(free_ns, b->items[0].arrival_ns));
}

static void test_each_request_starts_at_its_arrival_or_the_end_of_the_one_before(void **state)
{
	static const uint64_t late_ns[] = {0, 1, 300000, 50 * MS};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(late_ns); i++) {
		struct load_curve *c = constant(20);
		struct seen seen = {0};
		struct queue *q = open_loop(c, 300, 1, 100000, &seen);
		uint32_t n = serve_all(q, 3 * MS, late_ns[i], 1, 0, starts_as_soon_as_it_can);

		assert_int_equal(n, seen.admitted);
		assert_true(n > 5500 && n < 6500);
		queue_free(q);
		load_curve_free(c);
	}
}

static uint64_t last_number;

static void comes_in_order(const struct queue_batch *b, _unused_ uint64_t free_ns)
{
	for (uint32_t i = 0; i < b->n; i++)
		assert_true(b->items[i].number == last_number++);
}

static void test_requests_are_served_in_order_of_arrival_and_none_is_lost(void **state)
{
	struct load_curve *c = constant(5);
	struct seen seen = {0};
	struct queue *q = open_loop(c, 400, 1, 100000, &seen);
	uint32_t n;

	(void)state;
	last_number = 0;
	n = serve_all(q, 5 * MS, 0, 4, MS, comes_in_order);
	assert_int_equal(n, seen.admitted);
	assert_int_equal(seen.rejected, 0);
	assert_true(last_number == seen.last_number + 1);
	queue_free(q);
	load_curve_free(c);
}

#define BATCH	 4
#define MAX_WAIT (2 * MS)

/* By the rule itself: when free, and full or the oldest out of patience, with those then there. */
static void keeps_the_batching_rule(const struct queue_batch *b, uint64_t free_ns)
{
	uint64_t ready_ns = b->items[0].arrival_ns + MAX_WAIT;

	assert_in_range(b->n, 1, BATCH);
	if (b->n == BATCH)
		ready_ns = MIN(ready_ns, b->items[BATCH - 1].arrival_ns);
	assert_true(b->start_ns == MAX(free_ns, ready_ns));
	for (uint32_t i = 0; i < b->n; i++)
		assert_true(b->items[i].arrival_ns <= b->start_ns);
}

static void test_a_batch_starts_when_full_or_when_the_oldest_has_waited(void **state)
{
	static const uint64_t late_ns[] = {0, 20 * MS};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(late_ns); i++) {
		struct load_curve *c = constant(10);
		struct seen seen = {0};
		struct queue *q = open_loop(c, 700, 1, 100000, &seen);
		uint64_t free_ns = ORIGIN, now_ns = ORIGIN, wait_ns;
		struct queue_batch b;
		uint32_t n = 0, full = 0;

		/* Away from the end, where no further request can fill a batch. */
		while (n < 6000) {
			int r = queue_take(q, free_ns, now_ns, BATCH, MAX_WAIT, &b, &wait_ns);

			assert_in_range(r, 0, 1);
			if (r == 0) {
				now_ns = wait_ns + late_ns[i];
				continue;
			}
			keeps_the_batching_rule(&b, free_ns);
			full += b.n == BATCH;
			free_ns = b.start_ns + 4 * MS;
			now_ns = MAX(now_ns, free_ns) + late_ns[i];
			n += b.n;
		}
		assert_true(full > 100 && full < n / BATCH);
		queue_free(q);
		load_curve_free(c);
	}
}

static void test_a_late_host_changes_no_batch(void **state)
{
	struct load_curve *c = constant(5);
	struct seen seen[2] = {{0}, {0}};
	struct queue *q[2];
	uint64_t free_ns[2] = {ORIGIN, ORIGIN}, now_ns[2] = {ORIGIN, ORIGIN};

	(void)state;
	for (int k = 0; k < 2; k++)
		q[k] = open_loop(c, 500, 1, 100000, &seen[k]);
	for (;;) {
		struct queue_batch b[2];
		int r[2];

		for (int k = 0; k < 2; k++) {
			uint64_t wait_ns;

			while ((r[k] = queue_take(q[k], free_ns[k], now_ns[k], BATCH, MAX_WAIT,
						  &b[k], &wait_ns)) == 0)
				now_ns[k] = wait_ns + (k == 0 ? 0 : 7 * MS);
			free_ns[k] = b[k].start_ns + 5 * MS;
			now_ns[k] = MAX(now_ns[k], free_ns[k]);
		}
		assert_int_equal(r[0], r[1]);
		if (r[0] == -ENODATA)
			break;
		assert_int_equal(b[0].n, b[1].n);
		assert_true(b[0].start_ns == b[1].start_ns);
	}
	for (int k = 0; k < 2; k++)
		queue_free(q[k]);
	load_curve_free(c);
}

static void test_the_last_requests_do_not_wait_for_a_batch_that_will_not_fill(void **state)
{
	struct load_curve *c = constant(0.05);
	struct seen seen = {0};
	struct queue *q = open_loop(c, 40, 1, 1000, &seen);
	struct queue_batch b;
	uint64_t wait_ns;

	(void)state;
	/* Far past the end: whatever came is there, and nothing else will come. */
	assert_int_equal(queue_take(q, ORIGIN, ORIGIN + SECOND, 64, 10 * SECOND, &b, &wait_ns), 1);
	assert_int_equal(b.n, seen.admitted);
	assert_true(b.start_ns == b.items[b.n - 1].arrival_ns);
	assert_int_equal(queue_take(q, ORIGIN, ORIGIN + SECOND, 64, 0, &b, &wait_ns), -ENODATA);
	queue_free(q);
	load_curve_free(c);
}

static void test_requests_beyond_the_limit_are_rejected(void **state)
{
	struct load_curve *c = constant(10);
	struct seen seen = {0};
	struct queue *q = open_loop(c, 100, 1, 10, &seen);
	struct queue_batch b;
	uint64_t wait_ns;

	(void)state;
	assert_int_equal(queue_take(q, ORIGIN, ORIGIN + 5 * SECOND, 1, 0, &b, &wait_ns), 1);
	assert_int_equal(seen.admitted, 10);
	assert_true(seen.rejected > 400);
	assert_int_equal(queue_waiting(q), 9);
	queue_free(q);
	load_curve_free(c);
}

static void test_a_slower_clock_of_the_device_stretches_no_wall_time(void **state)
{
	struct load_curve *c = constant(10);
	struct seen a = {0}, b = {0};
	struct queue *plain = open_loop(c, 50, 1, 1000, &a);
	struct queue *scaled = open_loop(c, 50, 10, 1000, &b);
	struct queue_batch from_plain, from_scaled;
	uint64_t wait_ns;

	(void)state;
	assert_int_equal(queue_take(plain, ORIGIN, ORIGIN + SECOND, 1, 0, &from_plain, &wait_ns),
			 1);
	/* A tenth of the device time passes in the same wall time. */
	assert_int_equal(queue_take(scaled, ORIGIN, ORIGIN + SECOND / 10, 1, 0, &from_scaled,
				    &wait_ns),
			 1);
	assert_int_equal(a.admitted, b.admitted);
	assert_in_range((from_plain.start_ns - ORIGIN) / 10, from_scaled.start_ns - ORIGIN,
			from_scaled.start_ns - ORIGIN + 1);
	queue_free(plain);
	queue_free(scaled);
	load_curve_free(c);
}

static void test_closed_loop_keeps_its_number_in_flight(void **state)
{
	struct seen seen = {0};
	struct queue *q = closed_loop(3, &seen);
	uint64_t free_ns = ORIGIN, wait_ns;
	struct queue_batch b;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		assert_int_equal(queue_take(q, free_ns, free_ns, 1, 0, &b, &wait_ns), 1);
		assert_true(b.start_ns == free_ns && b.items[0].number == i);
		assert_int_equal(queue_waiting(q), 2);
		free_ns += 2 * MS;
		queue_completed(q, 1, free_ns);
		assert_int_equal(queue_waiting(q), 3);
	}
	assert_int_equal(seen.admitted, 1003);
	queue_free(q);
}

static void test_closed_loop_waits_for_a_completion_when_all_run(void **state)
{
	struct seen seen = {0};
	struct queue *q = closed_loop(1, &seen);
	struct queue_batch b;
	uint64_t wait_ns = 0;

	(void)state;
	assert_int_equal(queue_take(q, ORIGIN, ORIGIN, 1, 0, &b, &wait_ns), 1);
	assert_int_equal(queue_take(q, ORIGIN, ORIGIN, 1, 0, &b, &wait_ns), 0);
	assert_true(wait_ns == UINT64_MAX);
	queue_stop(q, ORIGIN);
	queue_completed(q, 1, ORIGIN + MS);
	assert_int_equal(queue_take(q, ORIGIN + MS, ORIGIN + MS, 1, 0, &b, &wait_ns), -ENODATA);
	queue_free(q);
}

static void test_arrivals_are_noted_before_a_slot_asks(void **state)
{
	struct load_curve *c = constant(2);
	struct seen seen = {0};
	struct queue *q = open_loop(c, 100, 1, 10000, &seen);
	uint64_t next_ns = 0, now_ns;

	(void)state;
	for (uint32_t i = 0; queue_admit(q, next_ns, &now_ns); i++) {
		assert_int_equal(seen.admitted, i);
		assert_int_equal(queue_waiting(q), i);
		assert_true(now_ns > next_ns && now_ns >= ORIGIN);
		next_ns = now_ns;
	}
	assert_in_range(seen.admitted, 150, 250);
	assert_int_equal(serve_all(q, MS, 0, 1, 0, starts_as_soon_as_it_can), seen.admitted);
	queue_free(q);
	load_curve_free(c);
}

static void test_arrivals_that_do_not_come_of_themselves_are_not_waited_for(void **state)
{
	struct load_curve *c = constant(10);
	struct seen seen = {0};
	struct queue *q = open_loop(c, 100, 1, 10000, &seen);
	uint64_t next_ns = 0;

	(void)state;
	queue_stop(q, ORIGIN + SECOND);
	assert_false(queue_admit(q, ORIGIN + 2 * SECOND, &next_ns));
	queue_free(q);
	load_curve_free(c);
	assert_int_equal(queue_new(&(struct queue_options){.origin_ns = ORIGIN,
							   .time_scale = 1,
							   .in_flight = 3,
							   .limit = 10},
				   &q),
			 0);
	assert_false(queue_admit(q, ORIGIN + 2 * SECOND, &next_ns));
	assert_int_equal(queue_waiting(q), 3);
	assert_int_equal(next_ns, 0);
	queue_free(q);
}

static void test_stop_keeps_what_has_arrived_and_takes_nothing_more(void **state)
{
	struct load_curve *c = constant(10);
	struct seen seen = {0};
	struct queue *q = open_loop(c, 100, 1, 10000, &seen);
	struct queue_item item;
	uint32_t n;

	(void)state;
	/* All slots were busy, so nobody has looked yet. */
	queue_stop(q, ORIGIN + 2 * SECOND);
	n = seen.admitted;
	assert_in_range(n, 150, 250);
	assert_true(queue_drop(q, &item));
	assert_true(item.number == 0);
	assert_int_equal(serve_all(q, MS, 0, 1, 0, starts_as_soon_as_it_can), n - 1);
	assert_int_equal(seen.admitted, n);
	assert_false(queue_drop(q, &item));
	queue_free(q);
	load_curve_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_each_request_starts_at_its_arrival_or_the_end_of_the_one_before),
		cmocka_unit_test(test_requests_are_served_in_order_of_arrival_and_none_is_lost),
		cmocka_unit_test(test_a_batch_starts_when_full_or_when_the_oldest_has_waited),
		cmocka_unit_test(test_a_late_host_changes_no_batch),
		cmocka_unit_test(test_the_last_requests_do_not_wait_for_a_batch_that_will_not_fill),
		cmocka_unit_test(test_requests_beyond_the_limit_are_rejected),
		cmocka_unit_test(test_a_slower_clock_of_the_device_stretches_no_wall_time),
		cmocka_unit_test(test_closed_loop_keeps_its_number_in_flight),
		cmocka_unit_test(test_closed_loop_waits_for_a_completion_when_all_run),
		cmocka_unit_test(test_arrivals_are_noted_before_a_slot_asks),
		cmocka_unit_test(test_arrivals_that_do_not_come_of_themselves_are_not_waited_for),
		cmocka_unit_test(test_stop_keeps_what_has_arrived_and_takes_nothing_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
