/* SPDX-License-Identifier: Apache-2.0 */
/* What a broken or hostile program may put into queues and memory: a fault or a stopped queue is
 * the answer, never a crash, and other queues go on. And processes that are killed. */
#include "base/units.h"
#include "device-fixture.h"
#include "sim/hsakmt/kernel-cost.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#define SEED	UINT64_C(20260721)
#define WILD	UINT64_C(0x7f0000000000)
#define ROUNDS	300
#define FAULTED UINT32_MAX

struct fixture {
	struct machine machine;
	struct device *device;
	struct test_queue good;
	struct code code;
	struct kernel_args *args;
	pid_t child;
};

static const char *const names[] = {"k", "__amd_rocclr_copyBuffer", "__amd_rocclr_copyBufferRect",
				    NULL};
static const char note[] = "k flop=@0 bytes=@8\n";

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	machine_setup(&f->machine, 1);
	assert_int_equal(device_new(f->machine.m, 0, 1, &f->device), 0);
	queue_open(f->device, &f->good);
	code_new(&f->code, names, note);
	f->args = card_alloc(sizeof(*f->args));
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->child > 0) {
		(void)kill(f->child, SIGKILL);
		(void)waitpid(f->child, NULL, 0);
	}
	(void)device_free(f->device);
	machine_teardown(&f->machine);
	free(f);
	return 0;
}

/* Another queue's packet passes: the device has looked at all that was rung before. */
static void assert_alive(struct fixture *f)
{
	amd_signal_t *s = signal_new(1);

	put_barrier(&f->good, HSA_PACKET_TYPE_BARRIER_AND, NULL, 0, s);
	ring_doorbell(&f->good);
	signal_wait(s, 0);
	card_free(s);
}

static hsa_kernel_dispatch_packet_t sane(const struct fixture *f)
{
	return (hsa_kernel_dispatch_packet_t){
		.header = HSA_PACKET_TYPE_KERNEL_DISPATCH | 1 << HSA_PACKET_HEADER_BARRIER,
		.setup = 1,
		.workgroup_size_x = 64,
		.grid_size_x = 64,
		.kernel_object = code_kernel(&f->code, 0),
		.kernarg_address = f->args,
	};
}

/* Puts the packet on a queue of its own. Returns what the runtime is told of it: the error in
 * queue_inactive_signal, FAULTED for a page fault at *ret_fault, or 0. */
static uint32_t try(struct fixture *f, const void *packet, uint64_t *ret_fault)
{
	amd_signal_t *inactive = signal_new(0);
	struct test_queue q;
	uint32_t r;

	events_reset();
	inactive->event_id = 5;
	queue_open(f->device, &q);
	q.amd->queue_inactive_signal.handle = (uintptr_t)inactive;
	put_packet(&q, packet);
	ring_doorbell(&q);
	assert_alive(f);
	r = faults_raised(ret_fault) ? FAULTED : (uint32_t)inactive->value;
	if (r != 0 && r != FAULTED)
		assert_int_equal(events_raised(5), 1);
	queue_close(&q);
	card_free(q.ring);
	card_free(q.amd);
	card_free(inactive);
	return r;
}

static void test_packets_that_cannot_be_are_refused_as_the_hardware_does(void **state)
{
	struct fixture *f = *state;
	hsa_kernel_dispatch_packet_t p;
	struct {
		uint16_t header;
		uint8_t format;
		char rest[61];
	} vendor = {0};
	uint64_t fault;

	p = sane(f);
	assert_int_equal(try(f, &p, &fault), 0);
	p.header = 77;
	assert_int_equal(try(f, &p, &fault), 32);
	vendor.format = 99;
	assert_int_equal(try(f, &vendor, &fault), 256);
	p = sane(f);
	p.setup = 0;
	assert_int_equal(try(f, &p, &fault), 2);
	p = sane(f);
	p.grid_size_x = 0;
	assert_int_equal(try(f, &p, &fault), 2);
	p = sane(f);
	p.setup = 3;
	p.grid_size_y = p.grid_size_z = 1;
	p.workgroup_size_x = p.workgroup_size_y = p.workgroup_size_z = 0xffff;
	assert_int_equal(try(f, &p, &fault), 64);
	p = sane(f);
	p.group_segment_size = 65537;
	assert_int_equal(try(f, &p, &fault), 4);
	p = sane(f);
	p.kernel_object = 0;
	assert_int_equal(try(f, &p, &fault), 8);
}

static void test_wild_pointers_are_page_faults(void **state)
{
	struct fixture *f = *state;
	hsa_barrier_and_packet_t barrier = {.header = HSA_PACKET_TYPE_BARRIER_AND};
	hsa_kernel_dispatch_packet_t p;
	uint64_t fault, *copy_args = card_alloc(4096);

	p = sane(f);
	p.kernel_object = WILD;
	assert_int_equal(try(f, &p, &fault), FAULTED);
	assert_int_equal(fault, WILD);
	p = sane(f);
	p.kernarg_address = (void *)(uintptr_t)WILD;
	assert_int_equal(try(f, &p, &fault), FAULTED);
	assert_int_equal(fault, WILD);
	p = sane(f);
	p.completion_signal.handle = WILD;
	p.grid_size_x = 1;
	/* Only at its end, so the good queue is asked until it has come. */
	(void)try(f, &p, &fault);
	barrier.dep_signal[3].handle = WILD;
	assert_int_equal(try(f, &barrier, &fault), FAULTED);
	barrier.dep_signal[3].handle = 0;
	barrier.completion_signal.handle = WILD;
	assert_int_equal(try(f, &barrier, &fault), FAULTED);

	p = sane(f);
	p.kernel_object = code_kernel(&f->code, 1);
	p.kernarg_address = copy_args;
	copy_args[0] = (uintptr_t)copy_args;
	copy_args[1] = WILD;
	copy_args[4] = 16;
	copy_args[5] = 8;
	assert_int_equal(try(f, &p, &fault), FAULTED);
	assert_int_equal(fault, WILD);
	copy_args[1] = (uintptr_t)copy_args;
	copy_args[0] = UINT64_MAX - 3;
	assert_int_equal(try(f, &p, &fault), FAULTED);
}

/* More rows than anyone could count, without a byte in any of them, take no time of the host. */
static void test_boxes_without_a_byte_are_done_at_once(void **state)
{
	struct fixture *f = *state;
	hsa_kernel_dispatch_packet_t p = sane(f);
	uint64_t fault, *args = card_alloc(4096);

	p.setup = 3;
	p.workgroup_size_y = p.workgroup_size_z = 1;
	p.grid_size_y = p.grid_size_z = UINT32_MAX;
	p.kernel_object = code_kernel(&f->code, 2);
	p.kernarg_address = args;
	args[0] = args[1] = (uintptr_t)args;
	args[13] = args[14] = UINT32_MAX;
	assert_int_equal(try(f, &p, &fault), 0);
	assert_alive(f);
}

static uint64_t random_u64(uint64_t *n)
{
	return plant_hash(SEED, (*n)++);
}

static void test_random_packets_never_crash(void **state)
{
	struct fixture *f = *state;
	uint64_t n = 0, fault;

	print_message("seed %llu\n", (unsigned long long)SEED);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint64_t packet[8];

		for (uint32_t k = 0; k < 8; k++)
			packet[k] = random_u64(&n);
		if (random_u64(&n) % 2) {
			/* Closer to something sane. */
			hsa_kernel_dispatch_packet_t p = sane(f);
			uint64_t bit = random_u64(&n) % 512;

			memcpy(packet, &p, sizeof(packet));
			packet[bit / 64] ^= UINT64_C(1) << bit % 64;
		}
		(void)try(f, packet, &fault);
	}
	assert_alive(f);
}

static void test_random_bytes_for_the_copy_engines_never_crash(void **state)
{
	struct fixture *f = *state;
	uint64_t n = 1 << 20;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		static const uint32_t ops[] = {0, 1, 1 | 4 << 8, 5, 8 | 1u << 31, 10, 11, 13, 99};
		uint32_t dwords[64];
		struct test_queue q;

		for (uint32_t k = 0; k < 64; k++)
			dwords[k] = (uint32_t)random_u64(&n);
		if (random_u64(&n) % 4)
			dwords[0] = ops[random_u64(&n) % ARRAY_SIZE(ops)];
		sdma_open(f->device, &q);
		put_sdma(&q, dwords, 64);
		if (random_u64(&n) % 8 == 0)
			q.written = random_u64(&n); /* a doorbell beyond all bounds */
		ring_doorbell(&q);
		assert_alive(f);
		queue_close(&q);
		card_free(q.ring);
	}
}

static void test_random_code_objects_never_crash(void **state)
{
	struct fixture *f = *state;
	hsa_kernel_dispatch_packet_t p = sane(f);
	uint64_t n = 2 << 20, fault;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct code c;

		code_new(&c, names, note);
		/* The ELF header, tables, strings and notes. */
		for (uint32_t k = 0; k < 6; k++) {
			static const uint32_t areas[] = {0,	0x40,	0x200, 0x300,
							 0x800, 0x1000, 0x1800};
			uint32_t at = areas[random_u64(&n) % ARRAY_SIZE(areas)];

			c.image[at + random_u64(&n) % 64] = (char)random_u64(&n);
		}
		p.kernel_object = code_kernel(&c, random_u64(&n) % 2);
		(void)try(f, &p, &fault);
		card_free(c.image);
	}
	assert_alive(f);
}

static void test_costs_come_from_note_table_and_default_in_this_order(void **state)
{
	static const char *const three[] = {"in_note", "in_table_7", "nowhere", "bad", NULL};
	static const char text[] = "in_note flop=12 bytes=@8\nbad flop=-1 bytes=2\n";
	struct fixture *f = *state;
	struct kernel_costs *costs = NULL;
	const struct kernel_info *info;
	struct ini_error error;
	struct code c;
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/kernels.ini", f->machine.folder);
	file = fopen(path, "we");
	assert_non_null(file);
	(void)fputs("[kernel in_table_*]\nflop_per_workgroup = 100\nbytes_per_workgroup = 200\n"
		    "[kernel in_*]\nflop_per_workgroup = 1\nbytes_per_workgroup = 2\n",
		    file);
	(void)fclose(file);
	code_new(&c, three, text);
	assert_int_equal(kernel_costs_new(path, "gfx906", &costs, &error), 0);
	(void)unlink(path);

	assert_int_equal(kernel_costs_find(costs, code_kernel(&c, 0), &info), 0);
	assert_string_equal(info->name, "in_note");
	assert_true(info->has_cost && !info->flop.is_argument && info->flop.number == 12);
	assert_true(info->bytes.is_argument && info->bytes.offset == 8);
	assert_int_equal(kernel_costs_find(costs, code_kernel(&c, 1), &info), 0);
	assert_true(info->has_cost && info->flop.number == 100 && info->bytes.number == 200);
	assert_int_equal(kernel_costs_find(costs, code_kernel(&c, 2), &info), 0);
	assert_string_equal(info->name, "nowhere");
	assert_false(info->has_cost);
	assert_int_equal(kernel_costs_find(costs, code_kernel(&c, 3), &info), 0);
	assert_false(info->has_cost);
	/* Another note at the same place is seen. */
	memcpy(strstr(c.image + 0x1800 + 20, "flop=12"), "flop=34", 7);
	assert_int_equal(kernel_costs_find(costs, code_kernel(&c, 0), &info), 0);
	assert_true(info->flop.number == 34);
	assert_int_equal(kernel_costs_find(costs, WILD, &info), -EFAULT);
	(void)kernel_costs_free(costs);
}

static void test_the_shipped_table_loads_and_its_patterns_fit(void **state)
{
	static const char *const kernels[] = {"__amd_rocclr_initHeap",
					      "Cijk_Ailk_Bljk_SB_MT64x64x16",
					      "_ZN2at6native27unrolled_elementwise_kernelIf",
					      "unheard_of", NULL};
	struct kernel_costs *costs = NULL;
	const struct kernel_info *info;
	struct ini_error error;
	struct code c;

	(void)state;
	code_new(&c, kernels, NULL);
	if (kernel_costs_new(COFRIS_SOURCE_DIR "/profiles/models/kernels.ini", "gfx906", &costs,
			     &error) < 0)
		fail_msg("kernels.ini:%u: %s", error.line, error.text);
	for (uint32_t i = 0; kernels[i]; i++) {
		assert_int_equal(kernel_costs_find(costs, code_kernel(&c, i), &info), 0);
		assert_int_equal(info->has_cost, i < 3);
	}
	(void)kernel_costs_free(costs);
}

static void test_tables_that_are_wrong_are_refused(void **state)
{
	static const struct {
		const char *text;
		int r;
		unsigned int line;
	} cases[] = {
		{"[kernel a]\nflop_per_workgroup = 1\n", -ENODATA, 0},
		{"[kernel a]\nflop_per_workgroup = -1\n", -EINVAL, 2},
		{"[kernel a]\nflops = 1\n", -EINVAL, 2},
		{"flop_per_workgroup = 1\n", -EINVAL, 1},
		{"[model a]\n", -EINVAL, 1},
	};
	struct fixture *f = *state;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/kernels.ini", f->machine.folder);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kernel_costs *costs = NULL;
		struct ini_error error;
		FILE *file = fopen(path, "we");

		assert_non_null(file);
		(void)fputs(cases[i].text, file);
		(void)fclose(file);
		assert_int_equal(kernel_costs_new(path, "gfx906", &costs, &error), cases[i].r);
		assert_int_equal(error.line, cases[i].line);
	}
	(void)unlink(path);
}

static void test_registers_and_lds_limit_the_waves_of_a_cu(void **state)
{
	static const struct {
		const char *gfx;
		uint32_t granules, waves;
	} cases[] = {{"gfx906", 0, 10}, {"gfx906", 5, 10}, {"gfx906", 15, 4}, {"gfx906", 63, 1},
		     {"gfx90a", 0, 8},	{"gfx90a", 15, 4}, {"gfx90a", 63, 1}};
	struct fixture *f = *state;
	const struct kernel_info *info;
	struct ini_error error;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kernel_costs *costs = NULL;

		memcpy((char *)(uintptr_t)code_kernel(&f->code, 0) + 48, &cases[i].granules, 4);
		assert_int_equal(kernel_costs_new("/nonexistent", cases[i].gfx, &costs, &error), 0);
		assert_int_equal(kernel_costs_find(costs, code_kernel(&f->code, 0), &info), 0);
		assert_int_equal(info->waves_per_simd, cases[i].waves);
		(void)kernel_costs_free(costs);
	}
}

static void test_queues_that_cannot_be_are_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t *words = card_alloc(4096);
	const struct device_queue_options sane_options = {
		.type = DEVICE_QUEUE_AQL,
		.ring = card_alloc(4096),
		.ring_bytes = 4096,
		.read_index = &words[0],
		.write_index = &words[1],
	};
	struct device_queue_options o;
	struct device_queue *q = NULL;
	volatile uint64_t *doorbell = NULL;
	struct device *d = NULL;

	for (uint32_t i = 0; i < 5; i++) {
		o = sane_options;
		switch (i) {
		case 0:
			o.ring_bytes = 4095;
			break;
		case 1:
			o.ring_bytes = 8192; /* beyond what was allocated */
			break;
		case 2:
			o.ring = (void *)(uintptr_t)WILD;
			break;
		case 3:
			o.read_index = NULL;
			break;
		default:
			o.type = (enum device_queue_type)9;
			break;
		}
		assert_int_equal(device_queue_new(f->device, &o, &q, &doorbell), -EINVAL);
	}
	assert_int_equal(device_new(f->machine.m, 1, 2, &d), -ENODEV);
	assert_int_equal(device_new(f->machine.m, SIM_MAX_CARDS, 2, &d), -ENODEV);
}

/* ---- processes ---- */

static void run_for_ever(struct fixture *f)
{
	struct sim_machine *m = NULL;
	struct device *d = NULL;
	struct test_queue q;
	struct launch l = {.object = code_kernel(&f->code, 0),
			   .args = f->args,
			   .workgroups = 8000000};

	f->args->flop = 1000000000;
	if (sim_machine_map(f->machine.path, &m) < 0 || device_new(m, 0, 1, &d) < 0)
		_exit(1);
	queue_open(d, &q);
	device_set_vram(d, 12345678);
	put_kernel(&q, &l);
	ring_doorbell(&q);
	for (;;)
		(void)pause();
}

static void test_a_killed_process_leaves_nothing_on_the_card(void **state)
{
	struct fixture *f = *state;
	struct sim_card *card = &f->machine.m->cards[0];
	struct sim_activity_cursor cursor = {0};
	struct sim_slot *s = &card->slots[0];
	struct plant_activity a;
	siginfo_t info;
	uint64_t now_ns;

	/* Forked with no other thread about. */
	f->good.q = device_queue_free(f->good.q);
	f->device = device_free(f->device);
	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0)
		run_for_ever(f);
	while (atomic_load(&s->running_until_ns) == 0)
		(void)usleep(100);
	assert_int_equal(s->pid, f->child);
	assert_int_equal(s->vram_bytes, 12345678);
	assert_int_equal(s->n_queues, 1);
	assert_int_equal(s->load[0] / SIM_LOAD_ONE, 40);
	assert_int_equal(kill(f->child, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)f->child, &info, WEXITED | WNOWAIT), 0);
	now_ns = machine_now_ns(&f->machine);
	sim_card_activity(card, &cursor, now_ns - NSEC_PER_MSEC, now_ns, &a);
	assert_int_equal(s->pid, 0);
	assert_int_equal(s->vram_bytes, 0);
	assert_int_equal(s->n_queues, 0);
	assert_int_equal(s->running_until_ns, 0);
	/* The next process is alone on the card. */
	assert_int_equal(device_new(f->machine.m, 0, 1, &f->device), 0);
	queue_open(f->device, &f->good);
	{
		amd_signal_t *done = signal_new(1);
		struct launch l = {.object = code_kernel(&f->code, 0),
				   .args = f->args,
				   .workgroups = 2400,
				   .signal = done};
		struct plant_launch p = {.workgroups = 2400,
					 .flop_per_workgroup = 24000000,
					 .bytes = 0};
		double alone =
			plant_launch_ns(f->machine.profile, &p, 1725, (struct cu_shape){0, 0});

		*f->args = (struct kernel_args){.flop = 24000000};
		put_kernel(&f->good, &l);
		ring_doorbell(&f->good);
		signal_wait(done, 0);
		assert_in_range((uint64_t)signal_ns(done), (uint64_t)(0.99 * alone),
				(uint64_t)(1.01 * alone));
	}
}

static void test_slots_of_the_dead_are_taken_when_all_are_taken(void **state)
{
	struct fixture *f = *state;
	struct sim_card *card = &f->machine.m->cards[0];
	struct device *d = NULL;

	for (uint32_t i = 1; i < SIM_SLOTS; i++)
		card->slots[i].pid = getpid();
	assert_int_equal(device_new(f->machine.m, 0, 1, &d), -EBUSY);
	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0)
		_exit(0);
	assert_int_equal(waitpid(f->child, NULL, 0), f->child);
	card->slots[9].pid = f->child;
	card->slots[9].ends_with_process = 1;
	card->slots[9].running_until_ns = UINT64_MAX;
	f->child = 0;
	assert_int_equal(device_new(f->machine.m, 0, 1, &d), 0);
	assert_int_equal(card->slots[9].pid, getpid());
	(void)device_free(d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_packets_that_cannot_be_are_refused_as_the_hardware_does),
		TEST(test_wild_pointers_are_page_faults),
		TEST(test_boxes_without_a_byte_are_done_at_once),
		TEST(test_random_packets_never_crash),
		TEST(test_random_bytes_for_the_copy_engines_never_crash),
		TEST(test_random_code_objects_never_crash),
		TEST(test_costs_come_from_note_table_and_default_in_this_order),
		TEST(test_the_shipped_table_loads_and_its_patterns_fit),
		TEST(test_tables_that_are_wrong_are_refused),
		TEST(test_registers_and_lds_limit_the_waves_of_a_cu),
		TEST(test_queues_that_cannot_be_are_refused),
		TEST(test_a_killed_process_leaves_nothing_on_the_card),
		TEST(test_slots_of_the_dead_are_taken_when_all_are_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
