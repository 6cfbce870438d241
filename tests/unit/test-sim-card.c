/* SPDX-License-Identifier: Apache-2.0 */
/* The shared machine and exact execution in device time. Most runs start far enough in the past
 * that they end at once: what they return depends on the clock's history alone. */
#include "base/ini-file.h"
#include "base/macros.h"
#include "base/units.h"
#include "sim/sim-card.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define BDF "0000:43:00.0"
/* Device time at the start of a test. */
#define AGE_NS (1000 * NSEC_PER_SEC)

struct fixture {
	char folder[64], path[96];
	struct sim_machine *machine;
	struct sim_card *card;
	struct plant_model *model;
	struct plant_device *device;
	pid_t child;
};

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

/* Core-bound work of a bit more than workgroups * 10 us at the top clock. */
/* Launches that take 0.2 s: a busy host, too, looks at the work while it is under way. */
#define UNDER_WAY 12000

static void make_model(struct plant_model *m, uint32_t count)
{
	*m = (struct plant_model){.name = "test", .n_kernels = 1};
	m->kernels[0] = (struct plant_kernel){
		.name = "gemm",
		.count = count,
		.workgroups = 240,
		.flop = 1e8,
		.bytes = 1e5,
	};
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct ini_error error;

	assert_non_null(f);
	*state = f;
	(void)strcpy(f->folder, "/tmp/test-sim-card.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(f->path, sizeof(f->path), "%s/machine", f->folder);
	assert_int_equal(sim_machine_create(f->path, 1, 1.0, monotonic_ns() - AGE_NS, &f->machine),
			 0);
	f->card = &f->machine->cards[0];
	(void)strcpy(f->card->bdf, BDF);
	(void)strcpy(f->machine->device_ini, COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini");
	assert_int_equal(plant_device_load(f->machine->device_ini, &f->device, &error), 0);
	f->card->n_cus = 60;
	sim_card_set_clock(f->card, 0, 1725);
	f->model = calloc(1, sizeof(*f->model));
	assert_non_null(f->model);
	make_model(f->model, 10);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->child > 0) {
		(void)kill(f->child, SIGKILL);
		(void)waitpid(f->child, NULL, 0);
	}
	sim_machine_unmap(f->machine);
	(void)unlink(f->path);
	(void)rmdir(f->folder);
	free(f->device);
	free(f->model);
	free(f);
	return 0;
}

static double cost_ns(const struct fixture *f, uint32_t mhz, struct cu_shape shape)
{
	return plant_request_cost(f->device, f->model, mhz, shape, 1).ns;
}

static const struct cu_shape all_cus = {0, 0};

static struct sim_context *context(struct fixture *f)
{
	struct sim_context *c = NULL;

	assert_int_equal(sim_context_new(f->machine, BDF, &c), 0);
	return c;
}

static uint64_t run(struct fixture *f, struct sim_context *c, double factor, uint64_t start_ns)
{
	uint64_t end_ns = 0;

	assert_int_equal(sim_context_run(c, f->model, 1, factor, start_ns, NULL, &end_ns), 0);
	return end_ns;
}

/* Device time is integrated in doubles: two sums of the same parts agree to a few ns. */
static void assert_near_ns(uint64_t ns, double expected)
{
	if ((double)ns < expected - 3 || (double)ns > expected + 3)
		fail_msg("%llu ns, expected %.1f", (unsigned long long)ns, expected);
}

static void test_maps_what_was_created_and_refuses_everything_else(void **state)
{
	struct fixture *f = *state;
	struct sim_machine *m = NULL;
	struct stat st;

	assert_int_equal(sim_machine_map(f->path, &m), 0);
	assert_string_equal(m->cards[0].bdf, BDF);
	assert_ptr_equal(sim_card_find(m, BDF), &m->cards[0]);
	assert_null(sim_card_find(m, "0000:63:00.0"));
	sim_machine_unmap(m);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666);

	f->machine->n_cards = SIM_MAX_CARDS + 1;
	assert_int_equal(sim_machine_map(f->path, &m), -EBADMSG);
	f->machine->n_cards = 1;
	f->machine->version++;
	assert_int_equal(sim_machine_map(f->path, &m), -EBADMSG);
	f->machine->version--;
	f->machine->magic ^= 1;
	assert_int_equal(sim_machine_map(f->path, &m), -EBADMSG);
	f->machine->magic ^= 1;
	assert_int_equal(sim_machine_map("/dev/null", &m), -EBADMSG);
	assert_int_equal(sim_machine_map("/nonexistent/machine", &m), -ENOENT);
	assert_int_equal(sim_machine_create(f->path, 1, 1.0, 0, &m), -EEXIST);
	assert_int_equal(sim_machine_create("/nonexistent/machine", 1, 1.0, 0, &m), -ENOENT);
	assert_int_equal(sim_machine_create("/nonexistent/machine", 0, 1.0, 0, &m), -EINVAL);
	assert_int_equal(sim_machine_create("/nonexistent/machine", 1, 0.0, 0, &m), -EINVAL);
}

static void test_device_time_follows_the_scale_both_ways(void **state)
{
	static const double scales[] = {0.1, 1, 10};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(scales); i++) {
		f->machine->time_scale = scales[i];
		for (uint64_t ns = 1; ns < 100 * NSEC_PER_SEC; ns = ns * 7 + 3) {
			uint64_t wall_ns = sim_wall_ns(f->machine, ns);
			uint64_t back_ns = sim_device_ns(f->machine, wall_ns);

			/* A wall nanosecond is 10 of the device at the smallest scale. */
			assert_in_range(back_ns, ns, ns + 10);
		}
	}
	assert_int_equal(sim_device_ns(f->machine, 0), 0);
	/* A kernel may be as long as its arguments say. */
	for (uint64_t ns = UINT64_MAX; ns > UINT64_MAX / 4; ns -= UINT64_MAX / 16)
		assert_true(sim_wall_ns(f->machine, ns) > UINT64_MAX / 4);
}

static void test_takes_what_the_plant_says_at_a_steady_clock(void **state)
{
	static const double factors[] = {1, 0.5, 1.7};
	struct fixture *f = *state;
	_cleanup_(sim_context_freep) struct sim_context *c = context(f);

	for (size_t i = 0; i < ARRAY_SIZE(factors); i++)
		assert_near_ns(run(f, c, factors[i], NSEC_PER_SEC),
			       1e9 + cost_ns(f, 1725, all_cus) * factors[i]);
	f->card->time_factor = 1.25;
	assert_near_ns(run(f, c, 1, NSEC_PER_SEC), 1e9 + cost_ns(f, 1725, all_cus) * 1.25);
}

static void test_a_clock_change_counts_from_when_it_happens(void **state)
{
	struct fixture *f = *state;
	_cleanup_(sim_context_freep) struct sim_context *c = context(f);
	double fast = cost_ns(f, 1725, all_cus), slow = cost_ns(f, 925, all_cus);
	uint64_t start_ns = NSEC_PER_SEC, switch_ns = start_ns + (uint64_t)(fast / 4);

	sim_card_set_clock(f->card, switch_ns, 925);
	assert_near_ns(run(f, c, 1, start_ns), 1e9 + fast / 4 + slow * 3 / 4);
	/* Just before, and wholly after. */
	assert_near_ns(run(f, c, 1, switch_ns - (uint64_t)fast - 10),
		       (double)(switch_ns - (uint64_t)fast - 10) + fast);
	assert_near_ns(run(f, c, 1, switch_ns), (double)switch_ns + slow);
}

static void test_a_later_entry_takes_back_switches_that_have_not_come(void **state)
{
	struct fixture *f = *state;
	_cleanup_(sim_context_freep) struct sim_context *c = context(f);
	double fast = cost_ns(f, 1725, all_cus), middle = cost_ns(f, 1386, all_cus);

	sim_card_set_clock(f->card, NSEC_PER_SEC + (uint64_t)(fast / 2), 925);
	sim_card_set_clock(f->card, NSEC_PER_SEC + (uint64_t)(fast / 4), 1386);
	assert_near_ns(run(f, c, 1, NSEC_PER_SEC), 1e9 + fast / 4 + middle * 3 / 4);
}

static void test_many_changes_are_summed_and_the_oldest_kept_holds_before(void **state)
{
	struct fixture *f = *state;
	_cleanup_(sim_context_freep) struct sim_context *c = context(f);
	double fast = cost_ns(f, 1725, all_cus), slow = cost_ns(f, 925, all_cus), left = 1;
	uint64_t start_ns = 2 * NSEC_PER_SEC, t_ns = start_ns, step_ns = (uint64_t)(fast / 50);

	/* More changes than the ring holds; the last 255 of them alternate over the run. */
	for (uint32_t i = 0; i < 100; i++)
		sim_card_set_clock(f->card, NSEC_PER_SEC + i, 1032);
	for (uint32_t i = 0; i < SIM_CLOCK_HISTORY - 1; i++)
		sim_card_set_clock(f->card, start_ns + i * step_ns, i % 2 ? 925 : 1725);
	for (uint32_t i = 0; left > 0; i++) {
		double full = i % 2 ? slow : fast, part = (double)step_ns / full;

		t_ns += part < left ? step_ns : (uint64_t)(left * full + 0.5);
		left -= part;
	}
	assert_near_ns(run(f, c, 1, start_ns), (double)t_ns);
	/* Nothing is known of the clock before the ring: its oldest clock is taken. */
	assert_near_ns(run(f, c, 1, 10), 10 + fast);
}

static void test_a_mask_slows_and_no_mask_gives_all_cus_back(void **state)
{
	static const struct {
		const char *name;
		uint32_t n_bits;
		uint32_t words[2];
		struct cu_shape shape;
	} cases[] = {
		{"30 CUs on 2 SEs", 64, {0x33333333, 0x03333333}, {2, 15}},
		{"all", 64, {0xffffffff, 0x0fffffff}, {4, 15}},
		{"one CU less on one SE", 60, {0xfffffffe, 0x0fffffff}, {4, 14}},
		{"cut by n_bits", 32, {0xffffffff, 0x0fffffff}, {4, 8}},
		{"bits beyond n_bits", 20, {0xffffffff, 0x0fffffff}, {4, 5}},
		{"no CU: not taken", 64, {0, 0}, {4, 5}},
		{"none", 0, {0, 0}, {0, 0}},
	};
	struct fixture *f = *state;
	_cleanup_(sim_context_freep) struct sim_context *c = context(f);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("%s\n", cases[i].name);
		sim_context_set_mask(c, cases[i].words, cases[i].n_bits);
		assert_near_ns(run(f, c, 1, NSEC_PER_SEC), 1e9 + cost_ns(f, 1725, cases[i].shape));
		assert_int_equal(f->card->slots[0].shape,
				 (uint32_t)cases[i].shape.n_se << 16 | cases[i].shape.cus_per_se);
	}
}

static void test_a_card_has_as_many_places_as_slots(void **state)
{
	struct fixture *f = *state;
	struct sim_context *contexts[SIM_SLOTS], *one_more = NULL;

	for (uint32_t i = 0; i < SIM_SLOTS; i++)
		contexts[i] = context(f);
	assert_int_equal(sim_context_new(f->machine, BDF, &one_more), -EBUSY);
	(void)sim_context_free(contexts[7]);
	contexts[7] = context(f);
	for (uint32_t i = 0; i < SIM_SLOTS; i++)
		(void)sim_context_free(contexts[i]);
	assert_int_equal(sim_context_new(f->machine, "0000:63:00.0", &one_more), -ENODEV);
}

/* Sums the activity of [from, to) over steps of step_ns. */
static struct plant_activity activity(struct fixture *f, struct sim_activity_cursor *cursor,
				      uint64_t from_ns, uint64_t to_ns, uint64_t step_ns)
{
	struct plant_activity sum = {0}, a;

	for (uint64_t t = from_ns; t < to_ns; t += step_ns) {
		sim_card_activity(f->card, cursor, t, t + step_ns, &a);
		assert_true(a.busy_ns <= step_ns);
		sum.busy_ns += a.busy_ns;
		sum.ungated_cu_ns += a.ungated_cu_ns;
		sum.flop += a.flop;
		sum.bytes += a.bytes;
	}
	return sum;
}

static void assert_ratio(double value, double expected, double tolerance)
{
	if (!(value >= expected * (1 - tolerance) && value <= expected * (1 + tolerance)))
		fail_msg("%g, expected %g within %g", value, expected, tolerance);
}

static void test_activity_adds_up_to_what_was_run_however_late_it_is_seen(void **state)
{
	static const uint64_t steps_ns[] = {NSEC_PER_MSEC, 7 * NSEC_PER_MSEC, NSEC_PER_SEC};
	struct fixture *f = *state;
	_cleanup_(sim_context_freep) struct sim_context *c = context(f);
	struct plant_cost cost = plant_request_cost(f->device, f->model, 1725, all_cus, 1);

	for (size_t i = 0; i < ARRAY_SIZE(steps_ns); i++) {
		struct sim_activity_cursor cursor = {0};
		uint64_t t_ns = NSEC_PER_SEC;
		struct plant_activity sum;

		/* Start from what earlier rounds left in the slot. */
		(void)activity(f, &cursor, 0, 50 * NSEC_PER_SEC, NSEC_PER_SEC);
		for (unsigned int k = 0; k < 20; k++)
			t_ns = run(f, c, 1, t_ns);
		sum = activity(f, &cursor, NSEC_PER_SEC, 3 * NSEC_PER_SEC, steps_ns[i]);
		assert_ratio((double)sum.busy_ns, 20 * cost.ns, 1e-6);
		assert_ratio(sum.ungated_cu_ns, 20 * 60 * cost.ns, 1e-6);
		assert_ratio(sum.flop, 20 * cost.flop, 1e-5);
		assert_ratio(sum.bytes, 20 * cost.bytes, 1e-5);
	}
}

static void test_gated_cus_follow_the_mask_and_the_gating(void **state)
{
	static const struct {
		enum plant_gating gating;
		double cus;
	} cases[] = {{PLANT_GATING_CU, 20}, {PLANT_GATING_SE, 30}};
	static const uint32_t words[] = {0x33333333, 0x00000033}; /* 2 SEs x 10 */
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct sim_activity_cursor cursor = {0};
		struct sim_context *c = context(f);
		struct plant_activity a;

		(void)activity(f, &cursor, 0, 50 * NSEC_PER_SEC, NSEC_PER_SEC);
		f->card->gating = cases[i].gating;
		sim_context_set_mask(c, words, 64);
		(void)run(f, c, 1, NSEC_PER_SEC);
		a = activity(f, &cursor, NSEC_PER_SEC, 2 * NSEC_PER_SEC, NSEC_PER_SEC);
		assert_ratio(a.ungated_cu_ns, cases[i].cus * (double)a.busy_ns, 1e-6);
		(void)sim_context_free(c);
	}
}

/* Writes a slot as another process would. */
static void occupy(struct fixture *f, uint32_t slot, uint64_t from_ns, uint64_t until_ns)
{
	struct sim_slot *s = &f->card->slots[slot];

	s->accounted_ns = from_ns;
	s->running_until_ns = until_ns;
	s->running_cus = 60;
	s->flop_per_us = 1000;
	s->bytes_per_us = 10;
	for (uint32_t i = 0; i < 60; i++)
		s->load[i] = 40 * SIM_LOAD_ONE;
	s->pid = getpid();
}

static void test_running_work_counts_only_while_it_runs(void **state)
{
	struct fixture *f = *state;
	struct sim_activity_cursor cursor = {0};
	struct plant_activity a;

	occupy(f, 0, 10 * NSEC_PER_MSEC, 15 * NSEC_PER_MSEC);
	sim_card_activity(f->card, &cursor, 8 * NSEC_PER_MSEC, 12 * NSEC_PER_MSEC, &a);
	assert_near_ns(a.busy_ns, 2e6);
	assert_ratio(a.flop, 2000 * 1000.0, 1e-6);
	sim_card_activity(f->card, &cursor, 12 * NSEC_PER_MSEC, 20 * NSEC_PER_MSEC, &a);
	assert_near_ns(a.busy_ns, 3e6);
	sim_card_activity(f->card, &cursor, 20 * NSEC_PER_MSEC, 30 * NSEC_PER_MSEC, &a);
	assert_int_equal(a.busy_ns, 0);
	assert_true(a.flop == 0);
}

static void test_busy_time_of_two_processes_is_never_more_than_the_time(void **state)
{
	struct fixture *f = *state;
	struct sim_activity_cursor cursor = {0};
	struct plant_activity a;

	occupy(f, 0, 0, 20 * NSEC_PER_MSEC);
	occupy(f, 1, 0, 20 * NSEC_PER_MSEC);
	sim_card_activity(f->card, &cursor, 0, 10 * NSEC_PER_MSEC, &a);
	assert_near_ns(a.busy_ns, 10e6);
	assert_ratio(a.ungated_cu_ns, 60 * 10e6, 1e-9);
	assert_ratio(a.flop, 2 * 10000 * 1000.0, 1e-6);
	/* Half of the time each, by chance: three quarters of it at least one. */
	f->card->slots[0].running_until_ns = 15 * NSEC_PER_MSEC;
	f->card->slots[1].running_until_ns = 15 * NSEC_PER_MSEC;
	sim_card_activity(f->card, &cursor, 10 * NSEC_PER_MSEC, 20 * NSEC_PER_MSEC, &a);
	assert_ratio((double)a.busy_ns, 7.5e6, 1e-6);
}

static void test_a_killed_process_loses_its_slot_before_anyone_waits_for_it(void **state)
{
	struct fixture *f = *state;
	struct sim_activity_cursor cursor = {0};
	struct sim_slot *s = &f->card->slots[0];
	struct plant_activity a;
	siginfo_t info;
	int ready[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0) {
		struct sim_context *c = NULL;

		if (sim_context_new(f->machine, BDF, &c) == 0) {
			sim_context_set_queues(c, 3);
			/* As if in the middle of a request, and of writing its slot. */
			s->accounted_ns = NSEC_PER_SEC;
			s->running_until_ns = 3 * NSEC_PER_SEC;
			(void)!write(ready[1], "x", 1);
		}
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	(void)close(ready[1]);
	sim_card_activity(f->card, &cursor, NSEC_PER_SEC, 2 * NSEC_PER_SEC, &a);
	assert_int_equal(s->pid, f->child);
	assert_int_equal(s->n_queues, 3);

	assert_int_equal(kill(f->child, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)f->child, &info, WEXITED | WNOWAIT), 0);
	/* Its queues are gone at once; what it had put on the card still ends. */
	sim_card_activity(f->card, &cursor, 2 * NSEC_PER_SEC, 2500 * NSEC_PER_MSEC, &a);
	assert_int_equal(s->n_queues, 0);
	assert_near_ns(a.busy_ns, 500e6);
	sim_card_activity(f->card, &cursor, 2500 * NSEC_PER_MSEC, 4 * NSEC_PER_SEC, &a);
	assert_int_equal(s->pid, 0);
	assert_near_ns(a.busy_ns, 500e6);
}

/* One that has ended, but for its parent's look. */
static void make_dead_child(struct fixture *f)
{
	siginfo_t info;

	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)f->child, &info, WEXITED | WNOWAIT), 0);
}

static void test_a_slot_torn_by_a_kill_is_freed(void **state)
{
	struct fixture *f = *state;
	struct sim_activity_cursor cursor = {0};
	struct sim_slot *s = &f->card->slots[0];
	struct plant_activity a;

	make_dead_child(f);
	s->pid = f->child;
	s->running_until_ns = UINT64_MAX;
	s->sequence = 1;
	sim_card_activity(f->card, &cursor, 0, NSEC_PER_SEC, &a);
	assert_int_equal(a.busy_ns, 0);
	assert_int_equal(s->pid, 0);
	assert_int_equal(s->sequence % 2, 0);
}

#define TAKERS 3

struct taker {
	struct fixture *f;
	pthread_barrier_t *barrier;
	pthread_t thread;
	struct sim_slot *slot;
	uint32_t lost;
};

#define TAKE_ROUNDS 300

/* Each takes a slot as all of them are the dead's, and keeps it until the others have theirs. */
static void *take_and_keep(void *userdata)
{
	struct taker *t = userdata;

	for (int i = 0; i < TAKE_ROUNDS; i++) {
		struct sim_slot *slot = NULL;

		(void)pthread_barrier_wait(t->barrier);
		t->lost += sim_slot_take(t->f->card, NSEC_PER_SEC, &slot) < 0;
		(void)pthread_barrier_wait(t->barrier);
		t->lost += slot && slot->pid != getpid();
		t->slot = slot;
		(void)pthread_barrier_wait(t->barrier);
	}
	return NULL;
}

static void test_a_slot_of_the_dead_gets_one_new_owner(void **state)
{
	struct fixture *f = *state;
	struct taker takers[TAKERS];
	struct sim_activity_cursor cursor = {0};
	pthread_barrier_t barrier;
	struct plant_activity a;

	make_dead_child(f);
	(void)pthread_barrier_init(&barrier, NULL, TAKERS + 1);
	for (uint32_t i = 0; i < TAKERS; i++) {
		takers[i] = (struct taker){.f = f, .barrier = &barrier};
		assert_int_equal(pthread_create(&takers[i].thread, NULL, take_and_keep, &takers[i]),
				 0);
	}
	for (int i = 0; i < TAKE_ROUNDS; i++) {
		for (uint32_t k = 0; k < SIM_SLOTS; k++)
			f->card->slots[k].pid = f->child;
		(void)pthread_barrier_wait(&barrier);
		sim_card_activity(f->card, &cursor, 0, NSEC_PER_SEC, &a);
		(void)pthread_barrier_wait(&barrier);
		(void)pthread_barrier_wait(&barrier);
		for (uint32_t k = 1; k < TAKERS; k++)
			takers[k].lost += takers[k].slot == takers[k - 1].slot;
	}
	for (uint32_t i = 0; i < TAKERS; i++) {
		assert_int_equal(pthread_join(takers[i].thread, NULL), 0);
		assert_int_equal(takers[i].lost, 0);
	}
	(void)pthread_barrier_destroy(&barrier);
	/* Whoever frees a slot may die at it. */
	f->card->slots[5].pid = -f->child;
	sim_card_activity(f->card, &cursor, 0, NSEC_PER_SEC, &a);
	assert_int_equal(f->card->slots[5].pid, 0);
}

/* ---- work under way ---- */

struct execution {
	struct fixture *f;
	struct sim_context *context;
	uint64_t start_ns, end_ns;
	int r;
	_Atomic int *stop;
	pthread_t thread;
};

static void *execute(void *userdata)
{
	struct execution *e = userdata;

	e->r = sim_context_run(e->context, e->f->model, 1, 1, e->start_ns, e->stop, &e->end_ns);
	return NULL;
}

static void start(struct execution *e, struct fixture *f, struct sim_context *c)
{
	e->f = f;
	e->context = c;
	e->start_ns = sim_device_ns(f->machine, monotonic_ns());
	assert_int_equal(pthread_create(&e->thread, NULL, execute, e), 0);
	/* Only once the card is seen to run has the request been looked at. */
	while (f->card->slots[0].running_until_ns == 0)
		(void)usleep(100);
}

static void finish(struct execution *e)
{
	assert_int_equal(pthread_join(e->thread, NULL), 0);
}

static void test_a_change_published_late_still_counts_from_its_own_time(void **state)
{
	struct fixture *f = *state;
	_cleanup_(sim_context_freep) struct sim_context *c = context(f);
	struct execution e = {0};
	double fast, slow;

	make_model(f->model, UNDER_WAY);
	fast = cost_ns(f, 1725, all_cus);
	slow = cost_ns(f, 925, all_cus);
	start(&e, f, c);
	sim_card_set_clock(f->card, e.start_ns + (uint64_t)(fast / 8), 925);
	finish(&e);
	assert_int_equal(e.r, 0);
	assert_near_ns(e.end_ns - e.start_ns, fast / 8 + slow * 7 / 8);
	assert_true(sim_device_ns(f->machine, monotonic_ns()) >= e.end_ns);
}

static void test_a_mask_acts_on_work_under_way(void **state)
{
	static const uint32_t words[] = {0x11111111, 0x01111111}; /* 1 SE */
	static const struct cu_shape one_se = {1, 15};
	struct fixture *f = *state;
	_cleanup_(sim_context_freep) struct sim_context *c = context(f);
	struct execution e = {0};
	uint64_t before_ns, after_ns;
	double fast, slow;

	make_model(f->model, UNDER_WAY);
	fast = cost_ns(f, 1725, all_cus);
	slow = cost_ns(f, 1725, one_se);
	start(&e, f, c);
	before_ns = sim_device_ns(f->machine, monotonic_ns()) - e.start_ns;
	sim_context_set_mask(c, words, 64);
	after_ns = sim_device_ns(f->machine, monotonic_ns()) - e.start_ns;
	finish(&e);
	/* What was left when the mask came takes its time on one SE. */
	assert_true((double)(e.end_ns - e.start_ns) <=
		    (double)after_ns + (1 - (double)after_ns / fast) * slow +
			    (double)(after_ns - before_ns) * slow / fast + 3);
	assert_true((double)(e.end_ns - e.start_ns) >=
		    (double)after_ns + (1 - (double)after_ns / fast) * slow - 3);
}

static void test_processes_on_a_card_share_it(void **state)
{
	struct fixture *f = *state;
	_cleanup_(sim_context_freep) struct sim_context *c = context(f);
	struct execution e = {0};
	double alone;

	make_model(f->model, UNDER_WAY);
	alone = cost_ns(f, 1725, all_cus);
	occupy(f, 5, 0, UINT64_MAX);
	start(&e, f, c);
	finish(&e);
	/* Up to the first look the other one had not been seen. */
	assert_true((double)(e.end_ns - e.start_ns) > 1.5 * alone);
	assert_true((double)(e.end_ns - e.start_ns) <= 2 * alone + 3);
}

static void test_a_run_that_ended_before_a_sharer_was_seen_is_not_cut_short(void **state)
{
	struct fixture *f = *state;
	_cleanup_(sim_context_freep) struct sim_context *c = context(f);
	static const uint32_t words[] = {0x11111111, 0x01111111};
	double alone = cost_ns(f, 1725, all_cus);

	occupy(f, 5, 0, UINT64_MAX);
	assert_near_ns(run(f, c, 1, NSEC_PER_SEC), 1e9 + alone);
	assert_near_ns(run(f, c, 1, 2 * NSEC_PER_SEC), 2e9 + alone);
	/* The same for a mask that came afterwards. */
	sim_context_set_mask(c, words, 64);
	assert_true(run(f, c, 1, 3 * NSEC_PER_SEC) > 3 * NSEC_PER_SEC + (uint64_t)alone);
}

static void test_stopping_leaves_the_slot_idle_with_what_was_done(void **state)
{
	struct fixture *f = *state;
	_cleanup_(sim_context_freep) struct sim_context *c = context(f);
	struct sim_slot *s = &f->card->slots[0];
	_Atomic int stop = 0;
	struct execution e = {.stop = &stop};
	double rate;

	make_model(f->model, 100000);
	start(&e, f, c);
	stop = 1;
	finish(&e);
	assert_int_equal(e.r, -EINTR);
	assert_int_equal(s->running_until_ns, 0);
	assert_true(s->busy_ns > 0);
	rate = 1e8 * 100000 / cost_ns(f, 1725, all_cus);
	assert_ratio((double)s->flop_k * 1e3, rate * (double)s->busy_ns, 0.001);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_maps_what_was_created_and_refuses_everything_else),
		TEST(test_device_time_follows_the_scale_both_ways),
		TEST(test_takes_what_the_plant_says_at_a_steady_clock),
		TEST(test_a_clock_change_counts_from_when_it_happens),
		TEST(test_a_later_entry_takes_back_switches_that_have_not_come),
		TEST(test_many_changes_are_summed_and_the_oldest_kept_holds_before),
		TEST(test_a_mask_slows_and_no_mask_gives_all_cus_back),
		TEST(test_a_card_has_as_many_places_as_slots),
		TEST(test_activity_adds_up_to_what_was_run_however_late_it_is_seen),
		TEST(test_gated_cus_follow_the_mask_and_the_gating),
		TEST(test_running_work_counts_only_while_it_runs),
		TEST(test_busy_time_of_two_processes_is_never_more_than_the_time),
		TEST(test_a_killed_process_loses_its_slot_before_anyone_waits_for_it),
		TEST(test_a_slot_torn_by_a_kill_is_freed),
		TEST(test_a_slot_of_the_dead_gets_one_new_owner),
		TEST(test_a_change_published_late_still_counts_from_its_own_time),
		TEST(test_a_mask_acts_on_work_under_way),
		TEST(test_processes_on_a_card_share_it),
		TEST(test_a_run_that_ended_before_a_sharer_was_seen_is_not_cut_short),
		TEST(test_stopping_leaves_the_slot_idle_with_what_was_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
