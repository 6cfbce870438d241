/* SPDX-License-Identifier: Apache-2.0 */
/* Claims, leases, baselines and read-back, with a clock and a backend of the test's own. */
#include "actuator/core.h"
#include "actuator/restore.h"
#include "actuator/state-file.h"
#include "base/units.h"
#include "test-actuator-fake.h"
#include "test-gpu-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define BOOT  "6c1ad8f2-95d5-4f4a-9b53-0d0a3d6d5f10"
#define LEASE 2000u

struct fixture {
	struct gpu_tree tree;
	struct actuator_core *core;
	struct actuator_config config;
	char state_path[96];
	uint64_t now_ns;
	bool no_answer;	 /* jobs of the backend are given up */
	bool no_restore; /* jobs that give back are given up */
	int n_hangs;	 /* as many of them */
	void *given_up[4];
	int n_given_up;
	struct actuator_reply replies[GPU_MAX_CARDS];
	int n_replies;
};

static struct fixture f;

static uint64_t fake_clock_ns(void)
{
	return f.now_ns + 1;
}

static int run_inline(_unused_ void *userdata, void (*job)(void *data), void *data,
		      _unused_ uint32_t deadline_ms)
{
	if (f.no_answer)
		return -ETIMEDOUT;
	job(data);
	return 0;
}

static int run_alone_inline(_unused_ void *userdata, void (*job)(void *data), void *data,
			    _unused_ uint32_t deadline_ms)
{
	if (f.no_restore || f.n_hangs > 0) {
		f.n_hangs -= !f.no_restore;
		f.given_up[f.n_given_up++] = data;
		return -ETIMEDOUT;
	}
	job(data);
	return 0;
}

static void start(void)
{
	assert_int_equal(actuator_core_new(&f.config, f.now_ns, &f.core), 0);
}

static void stop(void)
{
	f.core = actuator_core_free(f.core);
}

static int setup(_unused_ void **state)
{
	memset(&f, 0, sizeof(f));
	fake_reset();
	gpu_tree_create(&f.tree, FAKE_CARDS);
	(void)snprintf(f.state_path, sizeof(f.state_path), "%s/state", f.tree.root);
	f.now_ns = 1000 * NSEC_PER_SEC;
	f.config = (struct actuator_config){
		.sysfs_root = f.tree.root,
		.state_path = f.state_path,
		.boot_id = BOOT,
		.backend = &fake_io,
		.writer = &fake_writer,
		.deadline_ms = 200,
		.run = run_inline,
		.run_alone = run_alone_inline,
		.clock_ns = fake_clock_ns,
	};
	return actuator_core_new(&f.config, f.now_ns, &f.core);
}

static int teardown(_unused_ void **state)
{
	int unused = fake_unused();

	/* What was given up stays behind on purpose; here nothing uses it any more. */
	for (int i = 0; i < f.n_given_up; i++)
		free(f.given_up[i]);
	if (f.core && (f.no_answer || f.no_restore))
		free(f.core);
	else
		actuator_core_free(f.core);
	fake_reset();
	gpu_tree_destroy(&f.tree);
	if (unused > 0)
		print_error("%d scripted steps were not used\n", unused);
	return unused > 0 ? -1 : 0;
}

/* ---- asking ---- */
static void on_reply(_unused_ void *userdata, const struct actuator_reply *reply)
{
	assert_in_range(f.n_replies, 0, GPU_MAX_CARDS - 1);
	f.replies[f.n_replies++] = *reply;
}

static int ask_raw(uint64_t connection, const struct actuator_request *q)
{
	const struct actuator_peer peer = {connection,
					   {.pid = 100 + (int32_t)connection, .uid = 42}};

	f.n_replies = 0;
	return actuator_core_handle(f.core, &peer, q, f.now_ns, on_reply, NULL);
}

static struct actuator_reply ask(uint64_t connection, struct actuator_request q)
{
	q.magic = ACTUATOR_MAGIC;
	q.version = ACTUATOR_VERSION;
	q.sequence = 77;
	if (!q.bdf[0])
		(void)strcpy(q.bdf, TREE_BDF);
	if (q.lease_ms == 0)
		q.lease_ms = LEASE;
	assert_int_equal(ask_raw(connection, &q), 0);
	assert_int_equal(f.n_replies, 1);
	assert_int_equal(f.replies[0].magic, ACTUATOR_MAGIC);
	assert_int_equal(f.replies[0].version, ACTUATOR_VERSION);
	assert_int_equal(f.replies[0].op, q.op);
	assert_int_equal(f.replies[0].sequence, 77);
	return f.replies[0];
}

static struct actuator_reply claim(uint64_t connection)
{
	return ask(connection, (struct actuator_request){.op = ACTUATOR_CLAIM});
}

static struct actuator_reply set(uint64_t connection, uint32_t max_mhz)
{
	return ask(connection, (struct actuator_request){.op = ACTUATOR_SET, .max_mhz = max_mhz});
}

static struct actuator_reply sensors(void)
{
	return ask(9, (struct actuator_request){.op = ACTUATOR_SENSORS});
}

static void pass(uint64_t ms)
{
	f.now_ns += ms * NSEC_PER_MSEC;
	actuator_core_tick(f.core, f.now_ns);
}

static void assert_writes(const char *expected)
{
	assert_string_equal(fake_writes(), expected);
}

/* Claims card 0 for connection 1 and caps it. */
static void govern(uint32_t max_mhz)
{
	assert_int_equal(claim(1).error, 0);
	assert_int_equal(set(1, max_mhz).error, 0);
	(void)fake_writes();
}

static bool state_file_exists(void)
{
	return access(f.state_path, F_OK) == 0;
}

static void die(void)
{
	/* As after kill -9: nothing is given back. */
	stop();
	(void)fake_writes();
}

/* ---- LIST ---- */
static int list(uint32_t index)
{
	assert_int_equal(ask_raw(1, &(struct actuator_request){.magic = ACTUATOR_MAGIC,
							       .version = ACTUATOR_VERSION,
							       .op = ACTUATOR_LIST,
							       .index = index}),
			 0);
	return f.n_replies;
}

static void test_lists_every_card_in_full(_unused_ void **state)
{
	const struct actuator_card *c = &f.replies[0].card;

	assert_int_equal(list(0), 2);
	assert_string_equal(f.replies[0].bdf, TREE_BDF);
	assert_string_equal(f.replies[1].bdf, TREE_BDF2);
	assert_int_equal(c->count, 2);
	assert_int_equal(c->index, 0);
	assert_int_equal(f.replies[1].card.index, 1);
	assert_string_equal(c->name, "MI50");
	assert_string_equal(c->gfx, "gfx906");
	assert_true(c->unique_id == UINT64_C(0x21700172fd7f1234));
	assert_int_equal(c->n_cus, 60);
	assert_int_equal(c->n_levels, 9);
	assert_int_equal(c->level_mhz[8], 1725);
	assert_true(c->cap_max_uw == 225000000);
	assert_int_equal(c->can_cap_clock, 1);
	assert_int_equal(c->claimed, 0);
	assert_int_equal(claim(1).error, 0);
	assert_int_equal(list(0), 2);
	assert_int_equal(c->claimed, 1);
	assert_int_equal(list(1), 1);
	assert_string_equal(f.replies[0].bdf, TREE_BDF2);
	assert_int_equal(list(2), 1);
	assert_int_equal(f.replies[0].error, -EINVAL);
	assert_writes("");
}

static void test_answers_once_where_there_is_no_card(_unused_ void **state)
{
	gpu_tree_remove(&f.tree, "class/drm");
	assert_int_equal(list(0), 1);
	assert_int_equal(f.replies[0].error, 0);
	assert_int_equal(f.replies[0].card.count, 0);
}

/* Card 0 loses its driver, or has it back. */
static void move_card(bool there)
{
	char link[160], aside[160];

	(void)snprintf(link, sizeof(link), "%s/class/drm/card0", f.tree.root);
	(void)snprintf(aside, sizeof(aside), "%s/aside", f.tree.root);
	assert_int_equal(there ? rename(aside, link) : rename(link, aside), 0);
}

static void test_list_follows_cards_that_come_and_go(_unused_ void **state)
{
	move_card(false);
	assert_int_equal(list(0), 1);
	assert_string_equal(f.replies[0].bdf, TREE_BDF2);
	assert_int_equal(claim(1).error, -ENODEV);
	move_card(true);
	assert_int_equal(list(0), 2);
	assert_int_equal(claim(1).error, 0);
}

static void test_a_card_that_cannot_be_read_is_left_out(_unused_ void **state)
{
	stop();
	fake_expect("io info", -EBADMSG);
	start();
	assert_int_equal(claim(1).error, -ENODEV);
	assert_int_equal(list(0), 2);
	assert_int_equal(claim(1).error, 0);
}

static void test_a_card_that_one_backend_cannot_open_gets_the_other(_unused_ void **state)
{
	stop();
	f.config.fallback = &fake_writer;
	fake_expect("io open", -ENODEV);
	start();
	assert_int_equal(claim(1).error, 0);
	assert_int_equal(set(1, 1143).error, 0);
	assert_writes("w clock 0-1143; ");
}

/* ---- claims ---- */
static void test_a_claim_tells_the_state_and_writes_nothing(_unused_ void **state)
{
	struct actuator_reply r = claim(1);

	assert_int_equal(r.error, 0);
	assert_int_equal(r.state.perf_level, GPU_PERF_AUTO);
	assert_int_equal(r.state.max_mhz, 0);
	assert_true(r.state.power_cap_uw == 225000000);
	assert_int_equal(r.state.sclk_mhz, 930);
	assert_int_equal(r.state.verified, ACTUATOR_UNVERIFIED);
	assert_true(r.state.fields & GPU_HAS_POWER);
	assert_true(r.state.power_uw == 15000000);
	assert_writes("");
	assert_false(state_file_exists());
	assert_true(actuator_core_next_ns(f.core) == UINT64_MAX);
}

static void test_a_second_claim_is_told_the_owner(_unused_ void **state)
{
	struct actuator_reply r;

	assert_int_equal(claim(1).error, 0);
	r = claim(2);
	assert_int_equal(r.error, -EBUSY);
	assert_int_equal(r.owner.pid, 101);
	assert_int_equal(r.owner.uid, 42);
	assert_int_equal(claim(1).error, 0); /* again by the owner: nothing changes */
	actuator_core_hangup(f.core, 1, f.now_ns);
	assert_int_equal(claim(2).error, 0);
}

static void test_refuses_a_simulated_card_unless_allowed(_unused_ void **state)
{
	stop();
	fake_cards[0].info.simulated = true;
	start();
	assert_int_equal(claim(1).error, -EPERM);
	stop();
	f.config.allow_simulated = true;
	start();
	assert_int_equal(claim(1).error, 0);
}

static void test_does_not_take_a_card_found_in_another_level(_unused_ void **state)
{
	static const enum gpu_perf_level levels[] = {GPU_PERF_MANUAL, GPU_PERF_OTHER,
						     GPU_PERF_UNKNOWN};

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		fake_cards[0].level = levels[i];
		assert_int_equal(claim(1).error, -EHOSTDOWN);
		assert_int_equal(set(1, 925).error, -EACCES);
	}
	assert_writes("");
}

static void test_takes_over_a_manual_card_and_gives_it_back_as_auto(_unused_ void **state)
{
	fake_cards[0].level = GPU_PERF_MANUAL;
	assert_int_equal(
		ask(1, (struct actuator_request){.op = ACTUATOR_CLAIM, .take_over = 1}).error, 0);
	assert_writes("");
	assert_int_equal(set(1, 1143).error, 0);
	assert_writes("io perf auto; io clock 0-1143; ");
	actuator_core_hangup(f.core, 1, f.now_ns);
	assert_writes("w perf auto; ");
}

static void test_a_card_that_turned_manual_after_the_claim_is_not_written(_unused_ void **state)
{
	assert_int_equal(claim(1).error, 0);
	fake_cards[0].level = GPU_PERF_MANUAL;
	assert_int_equal(set(1, 1143).error, -EHOSTDOWN);
	assert_writes("");
}

static void test_only_the_owner_may_write(_unused_ void **state)
{
	assert_int_equal(set(1, 1143).error, -EACCES);
	assert_int_equal(claim(1).error, 0);
	assert_int_equal(set(2, 1143).error, -EACCES);
	assert_int_equal(ask(2, (struct actuator_request){.op = ACTUATOR_RELEASE}).error, -EACCES);
	assert_writes("");
}

static void test_everybody_may_read(_unused_ void **state)
{
	struct actuator_reply r;

	fake_cards[0].processes[0].pid = 4711;
	fake_cards[0].processes[1].pid = 4712;
	fake_cards[0].n_processes = 2;
	r = sensors();
	assert_int_equal(r.error, 0);
	assert_true(r.state.power_uw == 15000000);
	assert_int_equal(r.state.n_processes, 2);
	assert_int_equal(r.state.processes[1], 4712);
}

/* ---- SET ---- */
static void test_a_cap_is_written_and_read_back(_unused_ void **state)
{
	struct actuator_reply r;

	assert_int_equal(claim(1).error, 0);
	r = set(1, 1200);
	assert_int_equal(r.error, 0);
	assert_int_equal(r.state.max_mhz, 1143); /* the level at or under it */
	assert_int_equal(r.state.perf_level, GPU_PERF_MANUAL);
	assert_int_equal(r.state.verified, ACTUATOR_UNVERIFIED);
	assert_true(r.state.write_ns == f.now_ns + 1);
	assert_writes("io clock 0-1200; ");
}

static void test_writes_only_on_change(_unused_ void **state)
{
	govern(1143);
	assert_int_equal(set(1, 1143).error, 0);
	assert_writes("");
	assert_int_equal(set(1, 1282).error, 0);
	assert_writes("io clock 0-1282; ");
	/* Unless told to: another has written in between, and left who knows which limits. */
	assert_int_equal(ask(1, (struct actuator_request){.op = ACTUATOR_SET,
							  .max_mhz = 1282,
							  .take_over = 1})
				 .error,
			 0);
	assert_writes("io perf auto; io clock 0-1282; io cap 225; ");
}

static void test_capacity_is_given_first_and_taken_last(_unused_ void **state)
{
	struct actuator_request q = {.op = ACTUATOR_SET,
				     .max_mhz = 1143,
				     .power_cap_uw = 150 * UW_PER_W};

	assert_int_equal(claim(1).error, 0);
	assert_int_equal(ask(1, q).error, 0);
	assert_writes("io clock 0-1143; io cap 150; ");
	q.max_mhz = 1725;
	q.power_cap_uw = 200 * UW_PER_W;
	assert_int_equal(ask(1, q).error, 0);
	assert_writes("io cap 200; io clock 0-1725; ");
	q.power_cap_uw = 0; /* back to the baseline's */
	assert_int_equal(ask(1, q).error, 0);
	assert_writes("io cap 225; ");
}

static void test_a_level_that_forces_clocks_is_left_through_auto(_unused_ void **state)
{
	fake_cards[0].level = GPU_PERF_HIGH;
	assert_int_equal(claim(1).error, 0);
	assert_int_equal(set(1, 1143).error, 0);
	assert_writes("io perf auto; io clock 0-1143; ");
	assert_int_equal(set(1, 1282).error, 0);
	assert_writes("io clock 0-1282; ");
	actuator_core_hangup(f.core, 1, f.now_ns);
	assert_writes("w perf auto; w perf high; ");
}

static void test_refuses_settings_out_of_range(_unused_ void **state)
{
	static const struct {
		struct actuator_request q;
		int error;
	} cases[] = {
		{{.max_mhz = 1143, .lease_ms = 99}, -EINVAL},
		{{.max_mhz = 1143, .lease_ms = 60001}, -EINVAL},
		{{.max_mhz = 1143, .min_mhz = 1144}, -EINVAL},
		{{.max_mhz = 1143, .power_cap_uw = 226 * UW_PER_W}, -EINVAL},
		{{.max_mhz = 0, .min_mhz = 925}, -EINVAL},
	};

	assert_int_equal(claim(1).error, 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct actuator_request q = cases[i].q;

		q.op = ACTUATOR_SET;
		assert_int_equal(ask(1, q).error, cases[i].error);
	}
	assert_int_equal(
		ask(2, (struct actuator_request){.op = ACTUATOR_CLAIM, .lease_ms = 99}).error,
		-EINVAL);
	assert_writes("");
}

static void test_a_knob_that_the_card_lacks_is_said(_unused_ void **state)
{
	stop();
	fake_cards[0].info.can_cap_power = false;
	fake_cards[1].info.can_cap_clock = false;
	start();
	assert_int_equal(claim(1).error, 0);
	assert_int_equal(ask(1, (struct actuator_request){.op = ACTUATOR_SET,
							  .max_mhz = 925,
							  .power_cap_uw = 100 * UW_PER_W})
				 .error,
			 -EOPNOTSUPP);
	assert_int_equal(
		ask(1, (struct actuator_request){.op = ACTUATOR_CLAIM, .bdf = TREE_BDF2}).error, 0);
	assert_int_equal(ask(1, (struct actuator_request){.op = ACTUATOR_SET,
							  .bdf = TREE_BDF2,
							  .max_mhz = 925})
				 .error,
			 -EOPNOTSUPP);
	assert_writes("");
}

static void test_a_failed_write_tells_its_errno_and_leaves_the_baseline(_unused_ void **state)
{
	struct actuator_reply r;

	govern(1143);
	fake_expect("io clock", -EINVAL);
	r = set(1, 1282);
	assert_int_equal(r.error, -EINVAL);
	assert_int_equal(r.state.max_mhz, 0);
	assert_writes("io clock 0-1282 failed; w perf auto; ");
	assert_false(state_file_exists());
	/* The claim stands. */
	assert_int_equal(set(1, 1282).error, 0);
}

static void test_a_write_without_effect_is_a_failed_write(_unused_ void **state)
{
	struct actuator_request q = {.op = ACTUATOR_SET,
				     .max_mhz = 1143,
				     .power_cap_uw = 150 * UW_PER_W};

	fake_cards[0].drop_writes = true;
	assert_int_equal(claim(1).error, 0);
	assert_int_equal(set(1, 1143).error, -EIO); /* the level did not turn manual */
	assert_int_equal(sensors().state.max_mhz, 0);
	assert_writes("io clock 0-1143; ");
	fake_cards[0].drop_writes = false;
	govern(1143);
	fake_cards[0].drop_writes = true;
	assert_int_equal(ask(1, q).error, -EIO); /* nor did the cap change */
	assert_writes("io cap 150; w perf auto; ");
	assert_false(state_file_exists());
}

static void test_a_write_that_cannot_be_read_back_is_a_failed_write(_unused_ void **state)
{
	govern(1143);
	fake_expect("io sample", -EBADMSG);
	assert_int_equal(set(1, 1282).error, -EBADMSG);
	assert_writes("io clock 0-1282; w perf auto; ");
}

static void test_what_no_sample_tells_is_not_read_back(_unused_ void **state)
{
	struct actuator_request q = {.op = ACTUATOR_SET,
				     .max_mhz = 1143,
				     .power_cap_uw = 150 * UW_PER_W};

	govern(1143);
	fake_cards[0].hidden = GPU_HAS_PERF;
	fake_cards[0].sample.busy_percent = 90;
	f.now_ns += NSEC_PER_SEC;
	assert_int_equal(sensors().state.verified, ACTUATOR_UNVERIFIED);
	assert_int_equal(set(1, 1282).error, -EIO);
	assert_writes("io clock 0-1282; w perf auto; ");
	fake_cards[0].hidden = 0;
	govern(1143);
	fake_cards[0].hidden = GPU_HAS_CAP;
	assert_int_equal(ask(1, q).error, -EIO);
	assert_writes("io cap 150; w perf auto; w cap 225; ");
}

static void test_a_power_cap_that_could_not_be_given_back_is_not_written(_unused_ void **state)
{
	struct actuator_request q = {.op = ACTUATOR_SET,
				     .max_mhz = 1143,
				     .power_cap_uw = 150 * UW_PER_W};

	fake_cards[0].hidden = GPU_HAS_CAP;
	assert_int_equal(claim(1).error, 0);
	assert_int_equal(ask(1, q).error, -EOPNOTSUPP);
	assert_writes("");
	assert_int_equal(set(1, 1143).error, 0);
	assert_int_equal(ask(1, q).error, -EOPNOTSUPP); /* nor later */
	assert_writes("io clock 0-1143; ");
}

static void test_a_list_of_processes_that_cannot_be_read_is_no_empty_list(_unused_ void **state)
{
	fake_expect("io processes", -EIO);
	assert_int_equal(sensors().error, -EIO);
}

static void test_another_card_is_never_written(_unused_ void **state)
{
	govern(1143);
	actuator_core_hangup(f.core, 1, f.now_ns);
	assert_int_equal(fake_cards[1].level, GPU_PERF_AUTO);
	assert_int_equal(fake_cards[1].max_mhz, 0);
	assert_writes("w perf auto; ");
}

/* ---- leases ---- */
static void test_a_setting_ends_with_its_lease(_unused_ void **state)
{
	govern(1143);
	assert_true(actuator_core_next_ns(f.core) == f.now_ns + LEASE * NSEC_PER_MSEC);
	pass(LEASE - 1);
	assert_writes("");
	pass(1);
	assert_writes("w perf auto; ");
	assert_int_equal(sensors().state.max_mhz, 0);
	assert_true(actuator_core_next_ns(f.core) == UINT64_MAX);
	/* The owner has only been slow: it goes on where it was. */
	assert_int_equal(set(1, 1143).error, 0);
	assert_writes("io clock 0-1143; ");
}

static void test_each_set_renews_the_lease(_unused_ void **state)
{
	govern(1143);
	for (int i = 0; i < 10; i++) {
		pass(LEASE - 1);
		assert_int_equal(set(1, 1143).error, 0);
	}
	assert_writes("");
}

static void test_a_refused_set_renews_nothing(_unused_ void **state)
{
	govern(1143);
	pass(LEASE - 1);
	assert_int_equal(ask(1, (struct actuator_request){.op = ACTUATOR_SET,
							  .max_mhz = 1143,
							  .min_mhz = 1200})
				 .error,
			 -EINVAL);
	assert_int_equal(sensors().error, 0);
	pass(1);
	assert_writes("w perf auto; ");
}

static void test_holding_the_baseline_keeps_the_claim(_unused_ void **state)
{
	struct actuator_reply r;

	govern(1143);
	r = set(1, 0);
	assert_int_equal(r.error, 0);
	assert_int_equal(r.state.max_mhz, 0);
	assert_int_equal(r.state.perf_level, GPU_PERF_AUTO);
	assert_writes("w perf auto; ");
	assert_int_equal(claim(2).error, -EBUSY);
	assert_int_equal(set(1, 0).error, 0);
	assert_writes("");
}

/* ---- giving back ---- */
static void test_release_restores_level_and_cap(_unused_ void **state)
{
	assert_int_equal(claim(1).error, 0);
	assert_int_equal(ask(1, (struct actuator_request){.op = ACTUATOR_SET,
							  .max_mhz = 925,
							  .power_cap_uw = 150 * UW_PER_W})
				 .error,
			 0);
	(void)fake_writes();
	assert_int_equal(ask(1, (struct actuator_request){.op = ACTUATOR_RELEASE}).error, 0);
	assert_writes("w perf auto; w cap 225; ");
	assert_false(state_file_exists());
	assert_int_equal(claim(2).error, 0);
}

static void test_a_hangup_restores_and_frees_the_card(_unused_ void **state)
{
	govern(1143);
	actuator_core_hangup(f.core, 2, f.now_ns);
	assert_writes("");
	actuator_core_hangup(f.core, 1, f.now_ns);
	assert_writes("w perf auto; ");
	assert_int_equal(claim(2).error, 0);
}

static void test_shutdown_restores_every_card(_unused_ void **state)
{
	govern(1143);
	assert_int_equal(
		ask(2, (struct actuator_request){.op = ACTUATOR_CLAIM, .bdf = TREE_BDF2}).error, 0);
	assert_int_equal(ask(2, (struct actuator_request){.op = ACTUATOR_SET,
							  .bdf = TREE_BDF2,
							  .max_mhz = 925})
				 .error,
			 0);
	(void)fake_writes();
	assert_int_equal(actuator_core_shutdown(f.core, f.now_ns), 0);
	assert_writes("w perf auto; w perf auto; ");
	assert_false(state_file_exists());
}

static void test_a_restore_is_tried_until_it_reads_back(_unused_ void **state)
{
	govern(1143);
	for (int i = 0; i < 3; i++)
		fake_expect("w perf", -EIO);
	actuator_core_hangup(f.core, 1, f.now_ns);
	assert_writes("w perf auto failed; w perf auto failed; w perf auto failed; ");
	assert_true(state_file_exists());
	assert_int_equal(claim(2).error, -EAGAIN);
	assert_true(actuator_core_next_ns(f.core) == f.now_ns + NSEC_PER_SEC);
	pass(1000);
	assert_writes("w perf auto; ");
	assert_false(state_file_exists());
	assert_int_equal(claim(2).error, 0);
}

static void test_a_cap_that_does_not_stick_is_tried_again(_unused_ void **state)
{
	assert_int_equal(claim(1).error, 0);
	assert_int_equal(ask(1, (struct actuator_request){.op = ACTUATOR_SET,
							  .max_mhz = 925,
							  .power_cap_uw = 150 * UW_PER_W})
				 .error,
			 0);
	(void)fake_writes();
	fake_expect("w cap", -EINVAL);
	actuator_core_hangup(f.core, 1, f.now_ns);
	assert_writes("w perf auto; w cap 225 failed; w cap 225; ");
}

/* ---- adoption ---- */
static void test_adopt_keeps_what_the_connection_holds(_unused_ void **state)
{
	struct actuator_reply r;

	govern(1143);
	pass(LEASE - 1);
	r = ask(1, (struct actuator_request){.op = ACTUATOR_ADOPT});
	assert_int_equal(r.error, 0);
	assert_int_equal(r.state.max_mhz, 1143);
	assert_int_equal(r.state.perf_level, GPU_PERF_MANUAL);
	pass(LEASE - 1);
	assert_writes("");
	pass(1);
	assert_writes("w perf auto; ");
}

static void test_adopt_is_refused_where_there_is_nothing_to_adopt(_unused_ void **state)
{
	assert_int_equal(ask(1, (struct actuator_request){.op = ACTUATOR_ADOPT}).error, -ENOENT);
	govern(1143);
	assert_int_equal(ask(2, (struct actuator_request){.op = ACTUATOR_ADOPT}).error, -EBUSY);
}

/* ---- read-back ---- */
static enum actuator_verified observe(uint32_t busy_percent, uint32_t sclk_mhz)
{
	f.now_ns += 500 * NSEC_PER_MSEC;
	fake_cards[0].sample.busy_percent = busy_percent;
	fake_cards[0].sample.sclk_mhz = sclk_mhz;
	return (enum actuator_verified)set(1, 1143).state.verified;
}

static void test_a_busy_sample_under_the_limit_verifies(_unused_ void **state)
{
	govern(1143);
	assert_int_equal(observe(0, 930), ACTUATOR_UNVERIFIED);
	assert_int_equal(observe(50, 1143), ACTUATOR_UNVERIFIED);
	assert_int_equal(observe(51, 1143), ACTUATOR_VERIFIED);
	assert_int_equal(observe(0, 930), ACTUATOR_VERIFIED);
	assert_int_equal(set(1, 1282).state.verified, ACTUATOR_UNVERIFIED);
}

static void test_the_level_is_the_resolution(_unused_ void **state)
{
	govern(1143);
	assert_int_equal(observe(90, 1150), ACTUATOR_VERIFIED);
	for (int i = 0; i < 5; i++)
		assert_int_equal(observe(90, 1160), ACTUATOR_VERIFIED);
}

static void test_three_busy_samples_above_the_limit_are_drift(_unused_ void **state)
{
	govern(1143);
	assert_int_equal(observe(90, 1143), ACTUATOR_VERIFIED);
	assert_int_equal(observe(90, 1282), ACTUATOR_VERIFIED);
	assert_int_equal(observe(90, 1282), ACTUATOR_VERIFIED);
	assert_int_equal(observe(90, 1143), ACTUATOR_VERIFIED); /* counts anew */
	assert_int_equal(observe(90, 1282), ACTUATOR_VERIFIED);
	assert_int_equal(observe(10, 1282), ACTUATOR_VERIFIED); /* idle: does not count */
	assert_int_equal(observe(90, 1282), ACTUATOR_VERIFIED);
	assert_int_equal(observe(90, 1282), ACTUATOR_DRIFT);
	assert_int_equal(observe(90, 1143), ACTUATOR_VERIFIED);
}

static void test_one_stale_reading_read_often_is_not_drift(_unused_ void **state)
{
	govern(1143);
	fake_cards[0].sample.busy_percent = 90;
	fake_cards[0].sample.sclk_mhz = 1725;
	for (int i = 0; i < 30; i++) {
		/* 100 Hz, right after the write: the clock is still on its way. */
		f.now_ns += 10 * NSEC_PER_MSEC;
		assert_int_equal(sensors().state.verified, ACTUATOR_UNVERIFIED);
	}
}

static void test_another_level_read_back_is_drift(_unused_ void **state)
{
	struct actuator_reply r;

	govern(1143);
	fake_cards[0].level = GPU_PERF_AUTO; /* somebody's rocm-smi -r */
	r = sensors();
	assert_int_equal(r.state.verified, ACTUATOR_DRIFT);
	assert_int_equal(r.state.perf_level, GPU_PERF_AUTO);
}

static struct actuator_reply set_cap(uint32_t max_mhz, uint64_t cap_uw)
{
	return ask(1, (struct actuator_request){.op = ACTUATOR_SET,
						.max_mhz = max_mhz,
						.power_cap_uw = cap_uw});
}

static void test_a_cap_of_ours_that_is_changed_is_drift(_unused_ void **state)
{
	govern(1143);
	assert_int_equal(set_cap(1143, 150000000).error, 0);
	assert_int_equal(set_cap(1143, 150000000).state.verified, ACTUATOR_UNVERIFIED);
	fake_cards[0].cap_uw = 100000000;
	assert_int_equal(set_cap(1143, 150000000).state.verified, ACTUATOR_DRIFT);
	(void)fake_writes();
	assert_int_equal(ask(1, (struct actuator_request){.op = ACTUATOR_SET,
							  .max_mhz = 1143,
							  .power_cap_uw = 150000000,
							  .take_over = 1})
				 .state.verified,
			 ACTUATOR_UNVERIFIED);
	assert_int_equal(fake_cards[0].cap_uw, 150000000);
	/* What was found is what comes back. */
	actuator_core_hangup(f.core, 1, f.now_ns);
	assert_int_equal(fake_cards[0].cap_uw, 225000000);
}

static void test_a_cap_that_another_sets_beside_our_clock_stays(_unused_ void **state)
{
	govern(1143);
	fake_cards[0].cap_uw = 180000000;
	assert_int_equal(set(1, 1143).state.verified, ACTUATOR_UNVERIFIED);
	assert_int_equal(set(1, 1282).error, 0);
	assert_writes("io clock 0-1282; ");
	/* Also for who restores after our death. */
	die();
	start();
	assert_int_equal(fake_cards[0].cap_uw, 180000000);
	assert_int_equal(fake_cards[0].level, GPU_PERF_AUTO);
}

static void test_the_age_of_the_clock_is_told(_unused_ void **state)
{
	assert_int_equal(sensors().state.sclk_age_ms, 0);
	fake_cards[0].sample.fields &= ~(uint32_t)GPU_HAS_SCLK;
	f.now_ns += 700 * NSEC_PER_MSEC;
	assert_int_equal(sensors().state.sclk_age_ms, 700);
	assert_int_equal(sensors().state.sclk_mhz, 930);
	assert_false(sensors().state.fields & GPU_HAS_SCLK);
}

/* ---- the card does not answer ---- */
static void test_a_missed_deadline_means_full_range_and_the_end(_unused_ void **state)
{
	govern(1143);
	f.no_answer = true;
	assert_int_equal(sensors().error, -ETIMEDOUT);
	assert_true(actuator_core_is_lost(f.core));
	assert_writes("w perf auto; ");
	/* What comes next finds the baseline on record. */
	assert_true(state_file_exists());
	actuator_core_hangup(f.core, 1, f.now_ns);
	assert_int_equal(actuator_core_shutdown(f.core, f.now_ns), 0);
	pass(LEASE);
	assert_writes("");
	assert_true(state_file_exists());
}

static void test_a_card_that_hangs_while_it_is_restored_ends_it_all(_unused_ void **state)
{
	govern(1143);
	f.no_restore = true;
	actuator_core_hangup(f.core, 1, f.now_ns);
	assert_true(actuator_core_is_lost(f.core));
	assert_int_equal(f.n_given_up, 2); /* the restore, and full range alone */
	assert_true(state_file_exists());
}

static void test_a_start_on_a_card_that_hangs_is_no_start(_unused_ void **state)
{
	struct actuator_core *core = NULL;

	govern(1143);
	die();
	f.no_restore = true;
	assert_int_equal(actuator_core_new(&f.config, f.now_ns, &core), -ETIMEDOUT);
	assert_null(core);
	assert_true(state_file_exists());
}

static void test_a_card_that_hangs_at_the_start_keeps_no_other(_unused_ void **state)
{
	struct actuator_core *core = NULL;
	struct saved_state s;

	govern(925);
	assert_int_equal(
		ask(1, (struct actuator_request){.op = ACTUATOR_CLAIM, .bdf = TREE_BDF2}).error, 0);
	assert_int_equal(ask(1, (struct actuator_request){.op = ACTUATOR_SET,
							  .bdf = TREE_BDF2,
							  .max_mhz = 925})
				 .error,
			 0);
	die();
	f.n_hangs = 1;
	assert_int_equal(actuator_core_new(&f.config, f.now_ns, &core), -ETIMEDOUT);
	assert_int_equal(fake_cards[0].level, GPU_PERF_MANUAL);
	assert_int_equal(fake_cards[1].level, GPU_PERF_AUTO);
	assert_int_equal(state_file_load(f.state_path, BOOT, &s), 0);
	assert_int_equal(s.n, 1);
	assert_string_equal(s.cards[0].bdf, TREE_BDF);
}

static void test_the_card_that_hangs_is_the_last_to_be_set(_unused_ void **state)
{
	govern(1143);
	assert_int_equal(
		ask(1, (struct actuator_request){.op = ACTUATOR_CLAIM, .bdf = TREE_BDF2}).error, 0);
	assert_int_equal(ask(1, (struct actuator_request){.op = ACTUATOR_SET,
							  .bdf = TREE_BDF2,
							  .max_mhz = 925})
				 .error,
			 0);
	(void)fake_writes();
	f.no_answer = true;
	fake_expect("w perf", 0); /* card 2, and then ... */
	fake_expect("w perf", -EIO);
	assert_int_equal(sensors().error, -ETIMEDOUT);
	assert_int_equal(fake_cards[1].level, GPU_PERF_AUTO);
	assert_int_equal(fake_cards[0].level, GPU_PERF_MANUAL);
}

static void test_a_reset_card_means_full_range_and_the_end(_unused_ void **state)
{
	static const struct {
		const char *operation;
		int error;
	} cases[] = {{"io sample", -EPERM}, {"io sample", -ENODEV}, {"io clock", -EPERM}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		govern(1143);
		fake_expect(cases[i].operation, cases[i].error);
		assert_int_equal(set(1, 1282).error, cases[i].error);
		assert_true(actuator_core_is_lost(f.core));
		assert_int_equal(fake_cards[0].level, GPU_PERF_AUTO);
		assert_int_equal(teardown(NULL), 0);
		assert_int_equal(setup(NULL), 0);
	}
}

static void test_an_unclaimed_card_that_is_gone_is_only_gone(_unused_ void **state)
{
	fake_expect("io sample", -ENODEV);
	assert_int_equal(sensors().error, -ENODEV);
	assert_false(actuator_core_is_lost(f.core));
	assert_int_equal(list(0), 2); /* back again */
}

static void test_malformed_files_are_an_error_and_no_more(_unused_ void **state)
{
	govern(1143);
	fake_expect("io sample", -EBADMSG);
	assert_int_equal(sensors().error, -EBADMSG);
	assert_false(actuator_core_is_lost(f.core));
	assert_writes("");
	fake_expect("io sample", -EBADMSG);
	assert_int_equal(claim(1).error, -EBADMSG);
}

/* ---- the state file ---- */
static void test_the_next_start_restores_after_a_death(_unused_ void **state)
{
	assert_int_equal(claim(1).error, 0);
	assert_int_equal(ask(1, (struct actuator_request){.op = ACTUATOR_SET,
							  .max_mhz = 925,
							  .power_cap_uw = 150 * UW_PER_W})
				 .error,
			 0);
	die();
	assert_int_equal(fake_cards[0].level, GPU_PERF_MANUAL);
	start();
	assert_writes("w perf auto; w cap 225; ");
	assert_false(state_file_exists());
	assert_int_equal(claim(1).error, 0);
}

static void test_the_state_is_on_record_before_the_first_write(_unused_ void **state)
{
	struct saved_state s;
	struct stat st;

	assert_int_equal(claim(1).error, 0);
	/* The write does not even happen; the record is there all the same. */
	fake_expect("io clock", -EPERM);
	assert_int_equal(set(1, 1143).error, -EPERM);
	assert_int_equal(state_file_load(f.state_path, BOOT, &s), 0);
	assert_int_equal(s.n, 1);
	assert_string_equal(s.cards[0].bdf, TREE_BDF);
	assert_int_equal(s.cards[0].level, GPU_PERF_AUTO);
	assert_true(s.cards[0].cap_uw == 225 * UW_PER_W);
	assert_true(s.cards[0].unique_id == UINT64_C(0x21700172fd7f1234));
	assert_int_equal(s.cards[0].max_mhz, 1143);
	assert_int_equal(s.cards[0].lease_ms, LEASE);
	assert_int_equal(s.cards[0].pid, 101);
	assert_int_equal(s.cards[0].uid, 42);
	assert_int_equal(stat(f.state_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_without_a_record_nothing_is_written(_unused_ void **state)
{
	char folder[128];

	/* A folder in the place of the file that is to be renamed. */
	(void)snprintf(folder, sizeof(folder), "%s.new", f.state_path);
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(claim(1).error, 0);
	assert_int_equal(set(1, 1143).error, -EISDIR);
	assert_writes("");
	assert_int_equal(sensors().state.verified, ACTUATOR_UNVERIFIED); /* no drift from nothing */
	assert_int_equal(rmdir(folder), 0);
	assert_int_equal(set(1, 1143).error, 0);
	/* Later the baseline is safe, and the clock must be able to rise. */
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(set(1, 1725).error, 0);
}

/* The driver of card 0 is bound anew. */
static void bind_anew(void)
{
	char link[160], other[160];

	(void)snprintf(link, sizeof(link), "%s/%sdriver", f.tree.root, TREE_PCI);
	(void)snprintf(other, sizeof(other), "%s/%sdriver2", f.tree.root, TREE_PCI);
	assert_int_equal(symlink("amdgpu", other), 0);
	assert_int_equal(rename(other, link), 0);
}

static void test_a_card_bound_anew_is_not_written(_unused_ void **state)
{
	govern(1143);
	bind_anew();
	fake_cards[0].level = GPU_PERF_AUTO;
	assert_int_equal(set(1, 925).error, -ENODEV);
	assert_true(actuator_core_is_lost(f.core));
	assert_int_equal(fake_cards[0].level, GPU_PERF_AUTO);
	die();
	start();
	assert_writes("");
	govern(925);
}

static void
test_files_that_vanish_one_by_one_are_those_of_a_card_that_is_gone(_unused_ void **state)
{
	govern(1143);
	move_card(false);
	fake_expect("io sample", -EIO);
	assert_int_equal(sensors().error, -ENODEV);
	assert_true(actuator_core_is_lost(f.core));
}

static void test_a_card_that_is_gone_is_kept_on_record_and_not_tried(_unused_ void **state)
{
	govern(925);
	move_card(false);
	pass(LEASE);
	assert_writes("");
	assert_true(state_file_exists());
	move_card(true);
	pass(2000);
	assert_int_equal(fake_cards[0].level, GPU_PERF_AUTO);
	assert_false(state_file_exists());
}

static void test_a_card_bound_anew_is_not_given_what_the_old_one_had(_unused_ void **state)
{
	govern(925);
	bind_anew();
	fake_cards[0].level = GPU_PERF_HIGH; /* its new driver's, or somebody's */
	pass(LEASE);
	assert_writes("");
	assert_false(state_file_exists());
	assert_int_equal(list(0), 2);
	assert_int_equal(claim(2).error, -EBUSY);
	actuator_core_hangup(f.core, 1, f.now_ns);
	assert_int_equal(list(0), 2);
	assert_int_equal(claim(2).error, 0);
}

static void test_state_of_another_card_or_bind_is_thrown_away(_unused_ void **state)
{
	govern(925);
	die();
	gpu_tree_write(&f.tree, TREE_PCI "unique_id", "21700172fd7f1235\n");
	start();
	assert_writes("");
	assert_false(state_file_exists());
	gpu_tree_write(&f.tree, TREE_PCI "unique_id", "21700172fd7f1234\n");
	fake_cards[0].level = GPU_PERF_AUTO;
	stop();
	start();
	govern(925);
	die();
	bind_anew();
	start();
	assert_writes("");
	assert_false(state_file_exists());
}

static void test_state_of_another_boot_is_thrown_away(_unused_ void **state)
{
	govern(925);
	die();
	f.config.boot_id = "00000000-0000-0000-0000-000000000000";
	start();
	assert_writes("");
	assert_false(state_file_exists());
}

static void test_a_start_that_cannot_restore_goes_on_trying(_unused_ void **state)
{
	govern(925);
	die();
	for (int i = 0; i < 3; i++)
		fake_expect("w perf", -EPERM); /* still in a reset */
	start();
	assert_true(state_file_exists());
	assert_int_equal(claim(1).error, -EAGAIN);
	assert_int_equal(
		ask(1, (struct actuator_request){.op = ACTUATOR_CLAIM, .bdf = TREE_BDF2}).error, 0);
	assert_int_equal(ask(1, (struct actuator_request){.op = ACTUATOR_SET,
							  .bdf = TREE_BDF2,
							  .max_mhz = 925})
				 .error,
			 0);
	(void)fake_writes();
	/* The other card's setting, in the same file, is none of its business. */
	pass(1000);
	assert_writes("w perf auto; ");
	assert_int_equal(fake_cards[1].max_mhz, 925);
	assert_int_equal(claim(1).error, 0);
	die();
	start();
	assert_writes("w perf auto; ");
	assert_int_equal(fake_cards[1].level, GPU_PERF_AUTO);
}

static void test_restore_alone_needs_no_actuator_and_may_be_repeated(_unused_ void **state)
{
	govern(925);
	die();
	assert_int_equal(restore_from_file(&fake_writer, f.tree.root, f.state_path, BOOT, NULL), 0);
	assert_writes("w perf auto; ");
	assert_false(state_file_exists());
	assert_int_equal(restore_from_file(&fake_writer, f.tree.root, f.state_path, BOOT, NULL), 0);
	assert_writes("");
}

static void test_restore_alone_tells_what_is_left(_unused_ void **state)
{
	govern(925);
	die();
	for (int i = 0; i < 3; i++)
		fake_expect("w perf", -EIO);
	assert_int_equal(restore_from_file(&fake_writer, f.tree.root, f.state_path, BOOT, NULL),
			 -EIO);
	assert_true(state_file_exists());
}

/* ---- hostile requests ---- */
static void test_ends_connections_that_do_not_speak_the_protocol(_unused_ void **state)
{
	static const struct actuator_request good = {.magic = ACTUATOR_MAGIC,
						     .version = ACTUATOR_VERSION,
						     .op = ACTUATOR_SENSORS,
						     .bdf = TREE_BDF};
	struct actuator_request q = good;

	assert_int_equal(ask_raw(1, &q), 0);
	q.magic++;
	assert_int_equal(ask_raw(1, &q), -EPROTO);
	q = good;
	q.version = 2;
	assert_int_equal(ask_raw(1, &q), -EPROTO);
	q = good;
	q.op = 0;
	assert_int_equal(ask_raw(1, &q), -EPROTO);
	q.op = ACTUATOR_OP_MAX;
	assert_int_equal(ask_raw(1, &q), -EPROTO);
	q.op = UINT16_MAX;
	assert_int_equal(ask_raw(1, &q), -EPROTO);
	q = good;
	memset(q.bdf, 'a', sizeof(q.bdf)); /* without an end */
	assert_int_equal(ask_raw(1, &q), -EPROTO);
	q = good;
	(void)strcpy(q.bdf, "../../etc");
	assert_int_equal(ask_raw(1, &q), -EPROTO);
	assert_int_equal(f.n_replies, 0);
	q = good;
	(void)strcpy(q.bdf, "0000:99:00.0");
	assert_int_equal(ask_raw(1, &q), 0);
	assert_int_equal(f.replies[0].error, -ENODEV);
}

static void test_survives_random_requests(_unused_ void **state)
{
	uint64_t seed = 987654321;

	print_message("seed %llu\n", (unsigned long long)seed);
	for (int i = 0; i < 3000; i++) {
		struct actuator_request q = {.magic = ACTUATOR_MAGIC,
					     .version = ACTUATOR_VERSION,
					     .bdf = TREE_BDF};

		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		q.op = (uint16_t)(seed >> 60) % 8;
		q.index = (uint32_t)(seed >> 40) % 4;
		q.take_over = (uint32_t)(seed >> 20) % 2;
		q.min_mhz = (uint32_t)(seed >> 30) % 3 * 700;
		q.max_mhz = seed >> 50 & 1 ? (uint32_t)seed : (uint32_t)(seed >> 32) % 2000;
		q.lease_ms = (uint32_t)(seed >> 25) % 70000;
		q.power_cap_uw = seed >> 55 & 1 ? seed : seed % 300 * UW_PER_W;
		(void)ask_raw(1 + (seed >> 45) % 3, &q);
		if (seed >> 58 == 3)
			actuator_core_hangup(f.core, 1 + (seed >> 45) % 3, f.now_ns);
		pass(seed >> 48 & 0x3ff);
		assert_false(actuator_core_is_lost(f.core));
	}
	for (uint64_t c = 1; c <= 3; c++)
		actuator_core_hangup(f.core, c, f.now_ns);
	assert_int_equal(fake_cards[0].level, GPU_PERF_AUTO);
	assert_true(fake_cards[0].cap_uw == 225 * UW_PER_W);
	assert_false(state_file_exists());
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_lists_every_card_in_full),
		CASE(test_answers_once_where_there_is_no_card),
		CASE(test_list_follows_cards_that_come_and_go),
		CASE(test_a_card_that_cannot_be_read_is_left_out),
		CASE(test_a_card_that_one_backend_cannot_open_gets_the_other),
		CASE(test_a_claim_tells_the_state_and_writes_nothing),
		CASE(test_a_second_claim_is_told_the_owner),
		CASE(test_refuses_a_simulated_card_unless_allowed),
		CASE(test_does_not_take_a_card_found_in_another_level),
		CASE(test_takes_over_a_manual_card_and_gives_it_back_as_auto),
		CASE(test_a_card_that_turned_manual_after_the_claim_is_not_written),
		CASE(test_only_the_owner_may_write),
		CASE(test_everybody_may_read),
		CASE(test_a_cap_is_written_and_read_back),
		CASE(test_writes_only_on_change),
		CASE(test_capacity_is_given_first_and_taken_last),
		CASE(test_a_level_that_forces_clocks_is_left_through_auto),
		CASE(test_refuses_settings_out_of_range),
		CASE(test_a_knob_that_the_card_lacks_is_said),
		CASE(test_a_failed_write_tells_its_errno_and_leaves_the_baseline),
		CASE(test_a_write_without_effect_is_a_failed_write),
		CASE(test_a_write_that_cannot_be_read_back_is_a_failed_write),
		CASE(test_what_no_sample_tells_is_not_read_back),
		CASE(test_a_power_cap_that_could_not_be_given_back_is_not_written),
		CASE(test_a_list_of_processes_that_cannot_be_read_is_no_empty_list),
		CASE(test_another_card_is_never_written),
		CASE(test_a_setting_ends_with_its_lease),
		CASE(test_each_set_renews_the_lease),
		CASE(test_a_refused_set_renews_nothing),
		CASE(test_holding_the_baseline_keeps_the_claim),
		CASE(test_release_restores_level_and_cap),
		CASE(test_a_hangup_restores_and_frees_the_card),
		CASE(test_shutdown_restores_every_card),
		CASE(test_a_restore_is_tried_until_it_reads_back),
		CASE(test_a_cap_that_does_not_stick_is_tried_again),
		CASE(test_adopt_keeps_what_the_connection_holds),
		CASE(test_adopt_is_refused_where_there_is_nothing_to_adopt),
		CASE(test_a_busy_sample_under_the_limit_verifies),
		CASE(test_the_level_is_the_resolution),
		CASE(test_three_busy_samples_above_the_limit_are_drift),
		CASE(test_one_stale_reading_read_often_is_not_drift),
		CASE(test_another_level_read_back_is_drift),
		CASE(test_a_cap_of_ours_that_is_changed_is_drift),
		CASE(test_a_cap_that_another_sets_beside_our_clock_stays),
		CASE(test_the_age_of_the_clock_is_told),
		CASE(test_a_missed_deadline_means_full_range_and_the_end),
		CASE(test_a_card_that_hangs_while_it_is_restored_ends_it_all),
		CASE(test_a_start_on_a_card_that_hangs_is_no_start),
		CASE(test_a_card_that_hangs_at_the_start_keeps_no_other),
		CASE(test_the_card_that_hangs_is_the_last_to_be_set),
		CASE(test_a_reset_card_means_full_range_and_the_end),
		CASE(test_an_unclaimed_card_that_is_gone_is_only_gone),
		CASE(test_malformed_files_are_an_error_and_no_more),
		CASE(test_the_next_start_restores_after_a_death),
		CASE(test_the_state_is_on_record_before_the_first_write),
		CASE(test_without_a_record_nothing_is_written),
		CASE(test_a_card_bound_anew_is_not_given_what_the_old_one_had),
		CASE(test_a_card_bound_anew_is_not_written),
		CASE(test_files_that_vanish_one_by_one_are_those_of_a_card_that_is_gone),
		CASE(test_a_card_that_is_gone_is_kept_on_record_and_not_tried),
		CASE(test_state_of_another_card_or_bind_is_thrown_away),
		CASE(test_state_of_another_boot_is_thrown_away),
		CASE(test_a_start_that_cannot_restore_goes_on_trying),
		CASE(test_restore_alone_needs_no_actuator_and_may_be_repeated),
		CASE(test_restore_alone_tells_what_is_left),
		CASE(test_ends_connections_that_do_not_speak_the_protocol),
		CASE(test_survives_random_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
