/* SPDX-License-Identifier: Apache-2.0 */
/* What other processes run on the card, told in their slots, counts from when it began until when
 * it ended, and not by when the device hears of it. The other process is the test, by hand. */
#include "base/units.h"
#include "device-fixture.h"
#include "sim/sim-card.h"
#include "support/cmocka-includes.h"
#include <math.h>
#include <sched.h>

#define TOLERANCE 0.001
#define OTHER	  5 /* the slot of the other process */
/* In the kernel's time, and how much later the device hears of it. */
#define PART_NS (40 * NSEC_PER_MSEC)
#define LATE_NS (40 * NSEC_PER_MSEC)

static const char *const names[] = {"k", NULL};
static const char note[] = "k flop=@0 bytes=@8\n";

struct fixture {
	struct machine machine;
	struct device *device;
	struct sim_slot *slot, *other;
	struct test_queue queue;
	struct code code;
	struct kernel_args *args;
	struct launch launch;
	double alone_ns;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct plant_launch launch;

	assert_non_null(f);
	*state = f;
	machine_setup(&f->machine, 1);
	assert_int_equal(device_new(f->machine.m, 0, 1, &f->device), 0);
	f->slot = &f->machine.m->cards[0].slots[0];
	f->other = &f->machine.m->cards[0].slots[OTHER];
	f->other->pid = getpid();
	code_new(&f->code, names, note);
	f->args = card_alloc(sizeof(*f->args));
	*f->args = (struct kernel_args){.flop = 24000000};
	/* 0.3 s on all CUs, so that a busy host, too, comes back while it runs. */
	f->launch = (struct launch){.object = code_kernel(&f->code, 0),
				    .args = f->args,
				    .workgroups = 96000,
				    .signal = signal_new(1)};
	launch = (struct plant_launch){.workgroups = 96000, .flop_per_workgroup = 24000000};
	f->alone_ns = plant_launch_ns(f->machine.profile, &launch, 1725, (struct cu_shape){0, 0});
	queue_open(f->device, &f->queue);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	queue_close(&f->queue);
	(void)device_free(f->device);
	machine_teardown(&f->machine);
	free(f);
	return 0;
}

/* The other process has had as much as a kernel that fills the card since then; until_ns 0: it has
 * had nothing since then. */
static void tell(struct fixture *f, uint64_t since_ns, uint64_t until_ns)
{
	uint16_t load[SIM_MAX_CUS] = {0};

	for (uint32_t i = 0; until_ns > 0 && i < f->machine.cus.n; i++)
		load[i] = PLANT_WAVE_SLOTS * SIM_LOAD_ONE;
	sim_slot_write(f->other, &(struct sim_account){.running_until_ns = until_ns,
						       .load_since_ns = since_ns,
						       .load_until_ns = until_ns,
						       .load = load});
	(void)sim_card_bump(&f->machine.m->cards[0]);
}

/* Starts the kernel. Returns when it began. */
static uint64_t begin(struct fixture *f)
{
	put_kernel(&f->queue, &f->launch);
	ring_doorbell(&f->queue);
	while (atomic_load(&f->slot->running_until_ns) == 0)
		(void)sched_yield();
	return atomic_load(&f->slot->load_since_ns);
}

static void wait_until_ns(const struct fixture *f, uint64_t ns)
{
	while (machine_now_ns(&f->machine) < ns)
		(void)sched_yield();
}

static void assert_took(const struct fixture *f, double expected_ns)
{
	double ns;

	signal_wait(f->launch.signal, 0);
	ns = signal_ns(f->launch.signal);
	if (!(fabs(ns - expected_ns) <= TOLERANCE * expected_ns))
		fail_msg("%.0f ns, expected %.0f (alone %.0f)", ns, expected_ns, f->alone_ns);
}

static void test_work_of_others_counts_from_when_it_began(void **state)
{
	struct fixture *f = *state;
	uint64_t start_ns = begin(f);

	wait_until_ns(f, start_ns + PART_NS + LATE_NS);
	tell(f, start_ns + PART_NS, UINT64_MAX);
	/* Half as fast from there on. */
	assert_took(f, 2 * f->alone_ns - PART_NS);
}

/* The kernel begins beside the other process, which ends early and tells late. */
static void share_the_beginning(struct fixture *f)
{
	uint64_t start_ns;

	tell(f, 0, UINT64_MAX);
	start_ns = begin(f);
	wait_until_ns(f, start_ns + PART_NS + LATE_NS);
	tell(f, start_ns + PART_NS, 0);
}

static void test_work_of_others_counts_until_it_ended(void **state)
{
	struct fixture *f = *state;

	share_the_beginning(f);
	assert_took(f, f->alone_ns + PART_NS * 0.5);
}

/* A process that goes right after its last kernel leaves its slot before anyone has looked. */
static void test_work_of_a_process_that_has_gone_counts_until_it_ended(void **state)
{
	struct fixture *f = *state;

	share_the_beginning(f);
	sim_slot_release(&f->machine.m->cards[0], f->other);
	assert_took(f, f->alone_ns + PART_NS * 0.5);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_work_of_others_counts_from_when_it_began),
		TEST(test_work_of_others_counts_until_it_ended),
		TEST(test_work_of_a_process_that_has_gone_counts_until_it_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
