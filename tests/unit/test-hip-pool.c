/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of pre-masked streams over a table of functions that stands in for HIP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants those first. */
#include <cmocka.h>

#include "cofris/hip.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/seccomp.h>

/* clang's spelling of gcc's macro. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif

#define SEED	    UINT64_C(0x5eedf00d)
#define MAX_STREAMS 100000
#define NOT_READY   600

/* Never reused, so that a use after the end shows. */
struct stream {
	_Atomic uint32_t users; /* threads of the test that believe to hold it */
	_Atomic bool alive, busy;
	bool masked;
	uint32_t words, mask[COFRIS_CU_MASK_WORDS];
};

static struct stream *streams;
static _Atomic uint32_t n_streams, alive_masked, most_alive_masked, destroyed_in_use;
static _Thread_local int device;
static bool refuse_set_device;
static int creations_left = -1; /* -1: no end */

static int fake_get_device(int *ret)
{
	*ret = device;
	return 0;
}

static int fake_set_device(int d)
{
	if (refuse_set_device)
		return 101;
	device = d;
	return 0;
}

static int create(void **ret, uint32_t words, const uint32_t *mask)
{
	struct stream *s;

	if (creations_left == 0)
		return 2;
	if (creations_left > 0)
		creations_left--;
	s = &streams[atomic_fetch_add(&n_streams, 1)];
	assert_true(s < streams + MAX_STREAMS);
	s->masked = words > 0;
	s->words = words;
	if (words > 0)
		memcpy(s->mask, mask, words * sizeof(*mask));
	s->alive = true;
	if (s->masked && atomic_fetch_add(&alive_masked, 1) + 1 > most_alive_masked)
		most_alive_masked = alive_masked;
	*ret = s;
	return 0;
}

static int fake_create(void **ret, unsigned int flags)
{
	assert_int_equal(flags, 0);
	assert_int_equal(device, 3);
	return create(ret, 0, NULL);
}

static int fake_create_masked(void **ret, uint32_t words, const uint32_t *mask)
{
	assert_int_equal(device, 3);
	return create(ret, words, mask);
}

static int fake_query(void *stream)
{
	struct stream *s = stream;

	assert_true(s->alive);
	return s->busy ? NOT_READY : 0;
}

static int fake_destroy(void *stream)
{
	struct stream *s = stream;

	assert_true(s->alive);
	assert_false(s->busy);
	if (s->users != 0)
		destroyed_in_use++;
	s->alive = false;
	if (s->masked)
		alive_masked--;
	return 0;
}

static const struct cofris_hip_functions fake = {
	.get_device = fake_get_device,
	.set_device = fake_set_device,
	.stream_create = fake_create,
	.stream_create_masked = fake_create_masked,
	.stream_query = fake_query,
	.stream_destroy = fake_destroy,
};

static uint32_t n_alive(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < n_streams; i++)
		n += streams[i].alive;
	return n;
}

static int setup(void **state)
{
	(void)state;
	streams = calloc(MAX_STREAMS, sizeof(*streams));
	n_streams = alive_masked = most_alive_masked = destroyed_in_use = 0;
	device = 0;
	refuse_set_device = false;
	creations_left = -1;
	return streams ? 0 : -1;
}

/* Whatever a test did, a closed pool leaves no stream behind. */
static int teardown(void **state)
{
	uint32_t left = n_alive();

	(void)state;
	free(streams);
	if (left != 0)
		print_error("%u streams left\n", left);
	return left == 0 ? 0 : -1;
}

static struct cofris_hip *open_pool(uint32_t slots)
{
	const struct cofris_hip_options o = {.size = sizeof(o),
					     .device = 3,
					     .slots = slots,
					     .functions = &fake};
	struct cofris_hip *pool;

	device = 0;
	assert_int_equal(cofris_hip_open(&o, &pool), 0);
	assert_int_equal(device, 0);
	return pool;
}

/* Number i of many masks. */
static struct cofris_directive directive(uint32_t i)
{
	return (struct cofris_directive){.epoch = i + 1, .cu_mask_bits = 60, .cu_mask = {i + 1}};
}

static struct stream *take(struct cofris_hip *pool, uint32_t slot)
{
	struct stream *s = cofris_hip_stream(pool, slot);

	assert_true(s->alive);
	return s;
}

static int apply(struct cofris_hip *pool, uint32_t i)
{
	struct cofris_directive d = directive(i);

	return cofris_hip_apply(pool, &d);
}

static void starts_with_all_cus(void **state)
{
	struct cofris_hip *pool = open_pool(2);

	(void)state;
	assert_false(take(pool, 0)->masked);
	assert_false(take(pool, 1)->masked);
	assert_ptr_not_equal(take(pool, 0), take(pool, 1));
	assert_int_equal(n_streams, 2);
	assert_null(cofris_hip_close(pool));
}

static void follows_directives_and_keeps_masks(void **state)
{
	const struct cofris_directive none = {.boost_wait_ns = UINT64_MAX};
	struct cofris_hip *pool = open_pool(1);
	struct stream *first, *unmasked = take(pool, 0);
	uint32_t made;

	(void)state;
	assert_int_equal(apply(pool, 6), 1);
	first = take(pool, 0);
	assert_true(first->masked);
	assert_int_equal(first->words, 2);
	assert_int_equal(first->mask[0], 7);
	assert_int_equal(first->mask[1], 0);
	made = n_streams;
	assert_int_equal(apply(pool, 6), 0);
	assert_int_equal(apply(pool, 9), 1);
	assert_int_equal(n_streams, made + 1);
	assert_int_equal(apply(pool, 6), 1);
	assert_ptr_equal(take(pool, 0), first);
	assert_int_equal(cofris_hip_apply(pool, &none), 1);
	assert_ptr_equal(take(pool, 0), unmasked);
	assert_int_equal(cofris_hip_apply(pool, &none), 0);
	assert_int_equal(apply(pool, 6), 1);
	assert_ptr_equal(take(pool, 0), first);
	assert_int_equal(n_streams, made + 1);
	cofris_hip_close(pool);
}

static void keeps_the_last_seven_masks(void **state)
{
	struct cofris_hip *pool = open_pool(1);
	struct stream *first;

	(void)state;
	assert_int_equal(apply(pool, 0), 1);
	first = take(pool, 0);
	cofris_hip_done(pool, 0);
	for (uint32_t i = 1; i < 7; i++)
		assert_int_equal(apply(pool, i), 1);
	assert_int_equal(apply(pool, 0), 1); /* now the second is the oldest */
	assert_int_equal(apply(pool, 7), 1);
	assert_true(first->alive);
	assert_int_equal(alive_masked, 7);
	for (uint32_t i = 8; i < 100; i++)
		assert_int_equal(apply(pool, i), 1);
	assert_false(first->alive);
	assert_int_equal(most_alive_masked, COFRIS_HIP_MAX_STREAMS);
	cofris_hip_close(pool);
}

static void never_more_than_seven_over_all_slots(void **state)
{
	static const uint32_t kept[] = {[1] = 7, [2] = 3, [3] = 2, [4] = 1, [7] = 1, [9] = 1};

	(void)state;
	for (uint32_t slots = 1; slots < sizeof(kept) / sizeof(kept[0]); slots++) {
		struct cofris_hip *pool;
		uint32_t lanes = slots < 7 ? slots : 7;

		if (kept[slots] == 0)
			continue;
		most_alive_masked = 0;
		pool = open_pool(slots);
		for (uint32_t i = 0; i < 30; i++)
			assert_int_equal(apply(pool, i), slots);
		assert_int_equal(alive_masked, kept[slots] * lanes);
		assert_true(most_alive_masked <= COFRIS_HIP_MAX_STREAMS);
		for (uint32_t i = 0; i < slots; i++)
			for (uint32_t j = 0; j < i; j++)
				assert_true((take(pool, i) == take(pool, j)) ==
					    (i % lanes == j % lanes));
		cofris_hip_close(pool);
	}
}

static void held_and_busy_streams_stay(void **state)
{
	struct cofris_hip *pool = open_pool(1);
	struct stream *held, *busy;

	(void)state;
	assert_int_equal(apply(pool, 0), 1);
	busy = take(pool, 0);
	busy->busy = true;
	assert_int_equal(apply(pool, 1), 1);
	held = take(pool, 0);
	for (uint32_t i = 2; i < 30; i++)
		assert_int_equal(apply(pool, i), 1);
	assert_true(held->alive && busy->alive);
	cofris_hip_done(pool, 0);
	busy->busy = false;
	for (uint32_t i = 30; i < 40; i++)
		assert_int_equal(apply(pool, i), 1);
	assert_false(held->alive || busy->alive);
	cofris_hip_close(pool);
}

struct later {
	struct cofris_hip *pool;
	struct stream *held;
};

/* A slot that ends its request once it is asked to run unmasked meanwhile. */
static void *let_go_of_all(void *userdata)
{
	struct later *l = userdata;

	while (take(l->pool, 1)->masked)
		(void)poll(NULL, 0, 1);
	l->held->busy = false;
	cofris_hip_done(l->pool, 0);
	cofris_hip_done(l->pool, 1);
	return NULL;
}

static void waits_for_slots_where_one_mask_is_kept(void **state)
{
	struct cofris_hip *pool = open_pool(4);
	struct later later = {.pool = pool};
	pthread_t thread;

	(void)state;
	assert_int_equal(apply(pool, 0), 4);
	later.held = take(pool, 1);
	later.held->busy = true;
	assert_ptr_not_equal(take(pool, 0), later.held);
	assert_int_equal(apply(pool, 1), -EBUSY);
	/* More CUs than directed, not the wrong ones. */
	assert_false(take(pool, 0)->masked);
	cofris_hip_done(pool, 0);
	assert_int_equal(pthread_create(&thread, NULL, let_go_of_all, &later), 0);
	assert_int_equal(apply(pool, 2), 4);
	assert_int_equal(pthread_join(thread, NULL), 0);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(take(pool, i)->mask[0], 3);
	assert_int_equal(most_alive_masked, 4);
	cofris_hip_close(pool);
}

static void refuses_bad_masks(void **state)
{
	static const struct cofris_directive bad[] = {
		{.epoch = 1, .cu_mask_bits = 60},
		{.epoch = 1, .cu_mask_bits = 1, .cu_mask = {0xfffffffe}},
		{.epoch = 1, .cu_mask_bits = 40, .cu_mask = {0, 0xffffff00}},
		{.epoch = 1, .cu_mask_bits = 513, .cu_mask = {1}},
		{.epoch = 1, .cu_mask_bits = UINT32_MAX, .cu_mask = {1}},
	};
	const struct cofris_directive whole = {.epoch = 2,
					       .cu_mask_bits = 512,
					       .cu_mask = {[15] = UINT32_C(1) << 31}};
	const struct cofris_directive ragged = {.epoch = 3,
						.cu_mask_bits = 40,
						.cu_mask = {0, 0xffffff81, 5}};
	struct cofris_hip *pool = open_pool(1);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(cofris_hip_apply(pool, &bad[i]), -EINVAL);
	assert_false(take(pool, 0)->masked);
	assert_int_equal(cofris_hip_apply(pool, &whole), 1);
	assert_int_equal(take(pool, 0)->words, 16);
	assert_int_equal(cofris_hip_apply(pool, &ragged), 1);
	assert_int_equal(take(pool, 0)->words, 2);
	assert_int_equal(take(pool, 0)->mask[1], 0x81);
	cofris_hip_close(pool);
}

static void a_refusal_of_hip_changes_nothing(void **state)
{
	struct cofris_hip *pool = open_pool(2);
	struct stream *before;

	(void)state;
	assert_int_equal(apply(pool, 0), 2);
	before = take(pool, 0);
	creations_left = 1; /* the first slot's stream is made, the second's not */
	assert_int_equal(apply(pool, 1), -EIO);
	assert_ptr_equal(take(pool, 0), before);
	assert_int_equal(take(pool, 1)->mask[0], before->mask[0]);
	creations_left = -1;
	assert_int_equal(apply(pool, 1), 2);
	refuse_set_device = true;
	assert_int_equal(apply(pool, 2), -EIO);
	assert_int_equal(take(pool, 0)->mask[0], 2);
	/* Full range needs nothing of HIP. */
	assert_int_equal(cofris_hip_apply(pool, &(struct cofris_directive){0}), 2);
	assert_false(take(pool, 0)->masked);
	refuse_set_device = false;
	cofris_hip_close(pool);
}

static void open_checks_its_options(void **state)
{
	struct cofris_hip_options o = {.size = sizeof(o),
				       .device = 3,
				       .slots = 1025,
				       .functions = &fake};
	struct cofris_hip *pool = NULL;

	(void)state;
	assert_int_equal(cofris_hip_open(NULL, &pool), -EINVAL);
	assert_int_equal(cofris_hip_open(&o, &pool), -EINVAL);
	o.slots = 0;
	o.size = sizeof(o) - 1;
	assert_int_equal(cofris_hip_open(&o, &pool), -EINVAL);
	o.size = sizeof(o);
	o.functions = NULL;
	/* This process has not loaded HIP, and the pool must not. */
	assert_int_equal(cofris_hip_open(&o, &pool), -ENOENT);
	o.functions = &fake;
	o.slots = 3;
	creations_left = 2;
	assert_int_equal(cofris_hip_open(&o, &pool), -EIO);
	assert_int_equal(device, 0);
	creations_left = -1;
	refuse_set_device = true;
	assert_int_equal(cofris_hip_open(&o, &pool), -EIO);
	refuse_set_device = false;
	assert_null(pool);
	assert_null(cofris_hip_close(NULL));
}

#if !defined(__SANITIZE_THREAD__) /* whose own thread survives the end of the child's */
/* In a child that may make no system call but the one to end. */
static void the_request_path_makes_no_system_call(void **state)
{
	struct cofris_hip *pool = open_pool(2);
	pid_t child;
	int status;

	(void)state;
	assert_int_equal(apply(pool, 0), 2);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		uint64_t sum = 0;

		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0)
			_exit(2);
		for (uint32_t i = 0; i < 100000; i++) {
			sum += ((struct stream *)cofris_hip_stream(pool, i % 2))->mask[0];
			cofris_hip_done(pool, i % 2);
		}
		(void)syscall(SYS_exit, sum == 100000 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	cofris_hip_close(pool);
}

#endif

/* --- random use ----------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

struct user {
	pthread_t thread;
	struct cofris_hip *pool;
	uint32_t slot;
	_Atomic uint64_t uses;
	uint64_t dead, seed;
};

static _Atomic bool stop;

static void *use(void *userdata)
{
	struct user *u = userdata;

	while (!stop) {
		struct stream *s = cofris_hip_stream(u->pool, u->slot);

		s->users++;
		if (!s->alive)
			u->dead++;
		for (uint64_t n = next_random(&u->seed) % 300; n > 0; n--)
			if (!s->alive)
				u->dead++;
		s->users--;
		if (next_random(&u->seed) % 4)
			cofris_hip_done(u->pool, u->slot);
		u->uses++;
	}
	cofris_hip_done(u->pool, u->slot);
	return NULL;
}

static bool all_have_used(const struct user *users, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (users[i].uses < 100)
			return false;
	return true;
}

static void use_at_random(uint32_t slots)
{
	struct user users[8] = {0};
	struct cofris_hip *pool = open_pool(slots);
	uint64_t seed = SEED + slots, failed = 0;

	stop = false;
	most_alive_masked = 0;
	for (uint32_t i = 0; i < slots; i++) {
		users[i].pool = pool;
		users[i].slot = i;
		users[i].seed = SEED * (i + 1);
		assert_int_equal(pthread_create(&users[i].thread, NULL, use, &users[i]), 0);
	}
	for (uint32_t i = 0; i < 3000 || !all_have_used(users, slots); i++) {
		int r = next_random(&seed) % 8 == 0
				? cofris_hip_apply(pool, &(struct cofris_directive){0})
				: apply(pool, (uint32_t)(next_random(&seed) % 12));

		assert_true(r >= 0 || r == -EBUSY);
		failed += r < 0;
		(void)sched_yield();
	}
	stop = true;
	for (uint32_t i = 0; i < slots; i++) {
		assert_int_equal(pthread_join(users[i].thread, NULL), 0);
		assert_int_equal(users[i].dead, 0);
	}
	print_message("%u slots: %u streams made, %lu directives not followed\n", slots, n_streams,
		      (unsigned long)failed);
	assert_int_equal(destroyed_in_use, 0);
	assert_true(most_alive_masked <= COFRIS_HIP_MAX_STREAMS);
	cofris_hip_close(pool);
}

static void no_stream_ends_while_in_use(void **state)
{
	(void)state;
	print_message("seed %#lx\n", (unsigned long)SEED);
	use_at_random(1);
	use_at_random(2);
	use_at_random(3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(starts_with_all_cus),
		TEST(follows_directives_and_keeps_masks),
		TEST(keeps_the_last_seven_masks),
		TEST(never_more_than_seven_over_all_slots),
		TEST(held_and_busy_streams_stay),
		TEST(waits_for_slots_where_one_mask_is_kept),
		TEST(refuses_bad_masks),
		TEST(a_refusal_of_hip_changes_nothing),
		TEST(open_checks_its_options),
#if !defined(__SANITIZE_THREAD__)
		TEST(the_request_path_makes_no_system_call),
#endif
		TEST(no_stream_ends_while_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
