/* SPDX-License-Identifier: Apache-2.0 */
/* Deciding, sequencing and writing the record allocate nothing: the linker sends every call of the
 * allocator from these objects here. */
#include "governor-bench.h"
#include "governor/policy.h"
#include "governor/record.h"
#include "governor/sequence.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static unsigned int allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

void *__wrap_malloc(size_t size)
{
	allocations++;
	return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	allocations++;
	return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	allocations++;
	return __real_realloc(p, size);
}

static void test_the_counter_sees_an_allocation_of_the_governor(void **state)
{
	struct response_table table;
	struct governor_config config;
	struct governor *g = NULL;

	(void)state;
	bench_table(&table, 100);
	bench_config(&config, &table);
	allocations = 0;
	assert_int_equal(governor_new(&config, &g), 0);
	assert_int_equal(allocations, 1);
	governor_free(g);
}

static void test_deciding_and_recording_allocates_nothing(void **state)
{
	static char text[RECORD_STEP_BYTES_MAX];
	static struct bench b;

	(void)state;
	for (unsigned int i = 0; policy_name(i); i++) {
		assert_int_equal(bench_init(&b, 500, 1, 300), 0);
		governor_free(b.governor);
		b.config.models[0].policy = policy_name(i);
		b.config.models[0].max_batch = 64;
		b.config.power_cap_uw =
			i % 2 || policy_find(policy_name(i))->batches ? 150 * UW_PER_W : 0;
		assert_int_equal(governor_new(&b.config, &b.governor), 0);
		allocations = 0;
		for (unsigned int j = 0; j < 2000; j++) {
			b.input.power_max_uw = (80 + j % 90) * UW_PER_W;
			b.input.flags = j % 7 == 0 ? 1u << j % 8 : 0;
			if (j % 200 == 0)
				bench_queue_rate(&b.queue, j % 900);
			bench_step(&b);
			assert_true(record_format_input(text, sizeof(text), 0, 1, &b.input) > 0);
			assert_true(record_format_decision(text, sizeof(text), 0, &b.decision) > 0);
		}
		assert_int_equal(allocations, 0);
		governor_free(b.governor);
	}
}

static void test_sequencing_allocates_nothing(void **state)
{
	struct sequence_directive d = {.shape = {4, 15}};
	struct sequence_step step;
	struct sequence *s = NULL;
	uint64_t now_ns = 0;

	(void)state;
	assert_int_equal(sequence_new(&(struct sequence_clock){0}, &s), 0);
	allocations = 0;
	for (unsigned int i = 0; i < 1000; i++) {
		now_ns += 500 * NSEC_PER_MSEC;
		if (i < 50)
			assert_int_equal(sequence_worker_add(s, 0, true, true), i);
		d.shape.cus_per_se = 1 + i % 15;
		sequence_want(s, &(struct sequence_clock){700 + i % 1000}, 1, &d);
		for (unsigned int j = 0; j < 300; j++) {
			sequence_next(s, now_ns, &step);
			if (step.kind == SEQUENCE_NONE)
				break;
			if (step.kind == SEQUENCE_WAIT_UNTIL)
				now_ns = step.deadline_ns;
			else if (step.kind == SEQUENCE_SET_CLOCK)
				sequence_clock_done(s, step.epoch, i % 5 != 0);
			else if (i % 3)
				sequence_mask_acked(s, step.worker, step.epoch);
		}
	}
	assert_int_equal(allocations, 0);
	sequence_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_counter_sees_an_allocation_of_the_governor),
		cmocka_unit_test(test_deciding_and_recording_allocates_nothing),
		cmocka_unit_test(test_sequencing_allocates_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
