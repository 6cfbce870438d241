/* SPDX-License-Identifier: Apache-2.0 */
/* The whole daemon but main(), in this process: real worker channels by libcofris, and in place of
 * the actuator a fake in the same event loop, which does as each test says. Waiting is for a
 * condition, with a deadline. */
#include "support/cmocka-includes.h"

#include "actuator/protocol.h"
#include "base/macros.h"
#include "base/units.h"
#include "cofris/cofris.h"
#include "daemon/group.h"
#include "daemon/manager.h"
#include "daemon/status.h"
#include "daemon/unit.h"
#include "gpu/gpu.h"
#include "test-surface-fixture.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#define BDF	  "0000:43:00.0"
#define OTHER_BDF "0000:63:00.0"

struct fake_actuator {
	int listen_fd, fd;
	sd_event_source *listen, *io;
	bool mute, simulated, no_clock_control, claimed;
	int claim_error, set_error;
	uint32_t set_reads_back_mhz; /* 0: as written */
	uint32_t verified, fields, throttle;
	int32_t foreign_pid;
	uint32_t counts[ACTUATOR_OP_MAX], writes_to_other;
	struct actuator_request asked_set, last_set; /* the one with its answer, or without */
	struct actuator_state state;
	struct fake_actuator *second; /* the other card, by the same socket */
};

struct fixture {
	char root[64], surfaces[128], config[128], socket[128];
	struct manager_options options;
	struct manager *manager;
	struct fake_actuator actuator, second;
	struct cofris_channel *worker, *other_worker;
	int exit_code;
	bool exited;
	bool mask_surface;   /* the surface has half a card at the highest clock */
	_Atomic int applies; /* what the worker's apply callback answers */
	_Atomic uint32_t mask_bits, mask_word; /* what it was told last */
};

/* --- the fake actuator ---------------------------------------------------------------------- */

static void fill_card(const struct fake_actuator *a, struct actuator_card *card)
{
	*card = (struct actuator_card){
		.count = a->second ? 2 : 1,
		.unique_id = 0x1234,
		.name = "fake MI50",
		.gfx = "gfx906",
		.n_cus = 60,
		.n_se = 4,
		.n_sh_per_se = 1,
		.n_xcc = 1,
		.active_cus = {15, 15, 15, 15},
		.n_levels = 2,
		.level_mhz = {925, 1725},
		.cap_min_uw = 50000000,
		.cap_max_uw = 300000000,
		.can_cap_clock = !a->no_clock_control,
		.can_cap_power = 1,
		.simulated = a->simulated,
	};
}

static void fill_state(struct fake_actuator *a, const struct actuator_request *request,
		       struct actuator_state *state)
{
	if (request->op == ACTUATOR_SET) {
		a->last_set = *request;
		a->state.max_mhz = a->set_reads_back_mhz ? a->set_reads_back_mhz : request->max_mhz;
		a->state.power_cap_uw = request->power_cap_uw ? request->power_cap_uw : 225000000;
	}
	*state = a->state;
	state->fields = a->fields;
	state->sclk_mhz = 925;
	state->busy_percent = 60;
	state->power_uw = 80000000;
	state->verified = a->verified;
	state->throttle = a->throttle;
	if (a->foreign_pid > 0) {
		state->n_processes = 1;
		state->processes[0] = a->foreign_pid;
	}
}

static void answer(struct fake_actuator *a, const struct actuator_request *request)
{
	struct actuator_reply reply = {
		.magic = ACTUATOR_MAGIC,
		.version = ACTUATOR_VERSION,
		.op = request->op,
		.sequence = request->sequence,
	};

	(void)memcpy(reply.bdf, request->bdf, sizeof(reply.bdf));
	if (request->op == ACTUATOR_LIST) {
		(void)strcpy(reply.bdf, BDF);
		fill_card(a, &reply.card);
		if (a->second) {
			(void)send(a->fd, &reply, sizeof(reply), MSG_NOSIGNAL);
			(void)strcpy(reply.bdf, OTHER_BDF);
			reply.card.index = 1;
			reply.card.unique_id++;
		}
	} else if (request->op == ACTUATOR_CLAIM && a->claim_error < 0) {
		reply.error = a->claim_error;
		reply.owner = (struct actuator_owner){.pid = 77, .uid = 5, .comm = "other"};
	} else if (request->op == ACTUATOR_ADOPT && !a->claimed) {
		reply.error = -ENOENT;
	} else if (request->op == ACTUATOR_SET && a->set_error < 0) {
		reply.error = a->set_error;
		a->claimed = a->claimed && a->set_error != -EACCES;
	} else if (request->op == ACTUATOR_SET && !a->claimed) {
		reply.error = -EACCES;
	} else if (request->op == ACTUATOR_SET && request->min_mhz > request->max_mhz) {
		reply.error = -EINVAL;
	} else if (request->op == ACTUATOR_RELEASE) {
		a->state = (struct actuator_state){0};
		a->claimed = false;
	} else {
		a->claimed = a->claimed || request->op == ACTUATOR_CLAIM;
		fill_state(a, request, &reply.state);
	}
	(void)send(a->fd, &reply, sizeof(reply), MSG_NOSIGNAL);
}

static void fake_hang_up(struct fake_actuator *a)
{
	a->claimed = false;
	if (a->second)
		a->second->claimed = false;
	a->io = sd_event_source_disable_unref(a->io);
	if (a->fd >= 0)
		(void)close(TAKE_FD(a->fd));
}

static int on_request(sd_event_source *s _unused_, int fd, uint32_t revents _unused_,
		      void *userdata)
{
	struct fake_actuator *a = userdata;
	struct actuator_request request;
	ssize_t n = recv(fd, &request, sizeof(request), MSG_DONTWAIT);

	if (n != sizeof(request)) {
		fake_hang_up(a);
		return 0;
	}
	if (request.op != ACTUATOR_LIST && strcmp(request.bdf, BDF) != 0) {
		a->writes_to_other++;
		if (a->second && strcmp(request.bdf, OTHER_BDF) == 0) {
			a = a->second;
			a->fd = fd;
		}
	}
	if (request.op < ACTUATOR_OP_MAX)
		a->counts[request.op]++;
	if (request.op == ACTUATOR_SET)
		a->asked_set = request;
	if (!a->mute)
		answer(a, &request);
	return 0;
}

static int on_connection(sd_event_source *s, int fd, uint32_t revents _unused_, void *userdata)
{
	struct fake_actuator *a = userdata;

	fake_hang_up(a);
	a->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	return sd_event_add_io(sd_event_source_get_event(s), &a->io, a->fd, EPOLLIN, on_request, a);
}

static void fake_listen(struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct fake_actuator *a = &f->actuator;

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/control.sock", f->root);
	(void)unlink(address.sun_path);
	a->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_true(a->listen_fd >= 0);
	assert_int_equal(bind(a->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(a->listen_fd, 4), 0);
	assert_true(sd_event_add_io(f->manager->event, &a->listen, a->listen_fd, EPOLLIN,
				    on_connection, a) >= 0);
}

static void fake_unlisten(struct fake_actuator *a)
{
	fake_hang_up(a);
	a->listen = sd_event_source_disable_unref(a->listen);
	if (a->listen_fd >= 0)
		(void)close(TAKE_FD(a->listen_fd));
}

/* --- the fixture ---------------------------------------------------------------------------- */

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	(void)strcpy(f->root, "/tmp/cofris-test-manager.XXXXXX");
	if (!mkdtemp(f->root))
		return -1;
	(void)snprintf(f->surfaces, sizeof(f->surfaces), "%s/surfaces", f->root);
	(void)snprintf(f->config, sizeof(f->config), "%s/cofris.conf", f->root);
	(void)snprintf(f->socket, sizeof(f->socket), "%s/control.sock", f->root);
	f->options = (struct manager_options){
		.config_file = f->config,
		.runtime_dir = f->root,
		.actuator_path = f->socket,
		.actuator_fd = -1,
		.place.folders = {f->surfaces},
		.bus_address = "none",
	};
	f->actuator.fd = f->actuator.listen_fd = -1;
	f->actuator.fields = GPU_HAS_POWER | GPU_HAS_SCLK | GPU_HAS_BUSY | GPU_HAS_CAP;
	f->second.fields = f->actuator.fields;
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st _unused_, int flag _unused_,
		      struct FTW *ftw _unused_)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	cofris_close(f->other_worker);
	cofris_close(f->worker);
	fake_unlisten(&f->actuator);
	manager_free(f->manager);
	(void)nftw(f->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void write_surface(struct fixture *f)
{
	struct surface *s = new_surface();
	char path[192];
	FILE *file;

	if (f->mask_surface)
		(void)add_cell(s, 1725, 2, 15, 12e6, 150);
	(void)add_cell(s, 925, 4, 15, 12e6, 90);
	/* Sorted by clock and CUs: the other way round. */
	for (uint32_t i = 0; i < s->n_cells / 2; i++) {
		struct surface_cell low = s->cells[s->n_cells - 1 - i];

		s->cells[s->n_cells - 1 - i] = s->cells[i];
		s->cells[i] = low;
	}
	(void)mkdir(f->surfaces, 0755);
	(void)snprintf(path, sizeof(path), "%s/gfx906-60cu", f->surfaces);
	(void)mkdir(path, 0755);
	(void)snprintf(path, sizeof(path), "%s/gfx906-60cu/resnet50.csv", f->surfaces);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(surface_write(file, s), 0);
	assert_int_equal(fclose(file), 0);
	surface_free(s);
}

#define DAEMON	 "[daemon]\npoll_interval = 100ms\n"
#define GPU	 "[gpu " BDF "]\n"
#define MODEL	 "[model resnet50]\nslo = 100ms\n"
#define STANDARD DAEMON GPU MODEL

static void start(struct fixture *f, const char *config)
{
	write_text(f->config, config);
	write_surface(f);
	assert_int_equal(manager_new(&f->options, &f->manager), 0);
	fake_listen(f);
	assert_int_equal(manager_start(f->manager), 0);
}

static struct cofris_channel *open_worker(struct fixture *f, const struct cofris_device *devices,
					  uint32_t n)
{
	struct cofris_channel *worker;
	char path[128];
	struct cofris_options options = {
		.size = sizeof(options),
		.model = "resnet50",
		.socket_path = path,
		.devices = devices,
		.n_devices = n,
		.slots = 1,
	};

	(void)snprintf(path, sizeof(path), "%s/worker.sock", f->root);
	assert_int_equal(cofris_open(&options, &worker), 0);
	return worker;
}

static const struct cofris_device both_cards[] = {{.bdf = BDF}, {.bdf = OTHER_BDF}};

static void start_worker(struct fixture *f)
{
	f->worker = open_worker(f, both_cards, 1);
}

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static void turn(struct fixture *f)
{
	if (sd_event_get_state(f->manager->event) == SD_EVENT_FINISHED)
		return;
	assert_true(sd_event_run(f->manager->event, 10000) >= 0);
	if (sd_event_get_state(f->manager->event) == SD_EVENT_FINISHED) {
		f->exited = true;
		assert_true(sd_event_get_exit_code(f->manager->event, &f->exit_code) >= 0);
	}
}

/* Runs the loop until the condition holds; fails after ten seconds. */
#define RUN_UNTIL(f, condition)                                                                    \
	do {                                                                                       \
		uint64_t deadline_ns = monotonic_ns() + 10 * NSEC_PER_SEC;                         \
		while (!(condition)) {                                                             \
			if (monotonic_ns() > deadline_ns)                                          \
				fail_msg("not within 10 s: %s", #condition);                       \
			turn(f);                                                                   \
		}                                                                                  \
	} while (0)

static struct unit *unit(const struct fixture *f)
{
	return TAILQ_FIRST(&f->manager->units);
}

static void run_decisions(struct fixture *f, uint32_t n)
{
	uint64_t until;

	/* Tables are derived, and the plan made, some turns after the card was seen. */
	RUN_UNTIL(f, unit(f) && unit(f)->plan);
	until = ring_count(unit(f)->plan->ring) + n;
	RUN_UNTIL(f, ring_count(unit(f)->plan->ring) >= until);
}

/* Until the card is claimed and a limit is set, whichever. */
static void start_claimed(struct fixture *f, const char *config)
{
	start(f, config);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit_state(unit(f)) == UNIT_GOVERNED &&
			     f->actuator.last_set.max_mhz > 0 && !unit(f)->in_flight);
}

/* Until its limit has been lowered, which takes the governor's dwell time. */
static void start_governed(struct fixture *f, const char *config)
{
	start_claimed(f, config);
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 925);
}

/* --- tests ---------------------------------------------------------------------------------- */

static void test_a_worker_brings_a_claim_and_a_limit_with_a_lease(void **state)
{
	struct fixture *f = *state;

	start(f, STANDARD);
	RUN_UNTIL(f, f->manager->ready);
	run_decisions(f, 3);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_SET], 0);
	assert_int_equal(unit_state(unit(f)), UNIT_IDLE);
	start_worker(f);
	/* An idle worker ends in the cheapest configuration. */
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 925);
	assert_int_equal(f->actuator.last_set.min_mhz, 925);
	assert_int_equal(f->actuator.last_set.lease_ms, 2000);
	assert_int_equal(f->actuator.last_set.power_cap_uw, 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 1);
	assert_int_equal(unit_state(unit(f)), UNIT_GOVERNED);
	assert_int_equal(f->actuator.writes_to_other, 0);
}

static void test_the_lease_is_renewed_each_tick(void **state)
{
	struct fixture *f = *state;
	uint32_t sets;

	start_claimed(f, STANDARD);
	sets = f->actuator.counts[ACTUATOR_SET];
	run_decisions(f, 5);
	assert_true(f->actuator.counts[ACTUATOR_SET] >= sets + 4);
}

static void test_the_last_worker_gone_releases_within_two_ticks(void **state)
{
	struct fixture *f = *state;
	uint64_t number;

	start_claimed(f, STANDARD);
	f->worker = cofris_close(f->worker);
	number = unit(f)->decision.number;
	RUN_UNTIL(f, f->actuator.counts[ACTUATOR_RELEASE] == 1);
	assert_true(unit(f)->decision.number <= number + 2);
	RUN_UNTIL(f, unit_state(unit(f)) == UNIT_IDLE);
	run_decisions(f, 3);
	assert_int_equal(f->actuator.counts[ACTUATOR_RELEASE], 1);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 1);
}

static void test_observe_decides_and_writes_nothing(void **state)
{
	struct fixture *f = *state;

	start(f, DAEMON "mode = observe\n" GPU MODEL);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit_workers(unit(f)) == 1);
	run_decisions(f, 10);
	assert_int_equal(unit_state(unit(f)), UNIT_OBSERVED);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_SET], 0);
	assert_true(f->actuator.counts[ACTUATOR_SENSORS] > 5);
	assert_int_equal(unit(f)->decision.action, GOVERNOR_SET);
}

static void test_without_an_enabled_section_nothing_is_claimed(void **state)
{
	static const char *const configs[] = {
		DAEMON MODEL,
		DAEMON "[gpu " OTHER_BDF "]\n" MODEL,
		DAEMON "[gpu *]\n[gpu " BDF "]\nenabled = no\n" MODEL,
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(configs); i++) {
		uint64_t until_ns;

		start(f, configs[i]);
		start_worker(f);
		RUN_UNTIL(f, f->manager->ready);
		until_ns = monotonic_ns() + 500 * NSEC_PER_MSEC;
		while (monotonic_ns() < until_ns)
			turn(f);
		assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
		assert_int_equal(f->actuator.counts[ACTUATOR_SET], 0);
		assert_null(manager_find_unit(f->manager, BDF));
		f->worker = cofris_close(f->worker);
		fake_unlisten(&f->actuator);
		f->manager = manager_free(f->manager);
	}
}

static void test_without_a_model_it_runs_and_says_so(void **state)
{
	struct fixture *f = *state;

	start(f, DAEMON GPU);
	RUN_UNTIL(f, f->manager->ready);
	assert_string_equal(f->manager->status, "no [model] section: nothing to govern");
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
}

static void test_a_card_found_in_manual_is_left_alone(void **state)
{
	struct fixture *f = *state;

	f->actuator.claim_error = -EHOSTDOWN;
	start(f, STANDARD);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit_state(unit(f)) == UNIT_HELD_BY_OTHER);
	run_decisions(f, 10);
	/* Asked again every 10 s, not with every tick. */
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 1);
	assert_int_equal(f->actuator.counts[ACTUATOR_SET], 0);
}

static void test_the_owner_of_a_claimed_card_is_shown(void **state)
{
	struct fixture *f = *state;
	json_t *root;
	char *text;

	f->actuator.claim_error = -EBUSY;
	start(f, STANDARD);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit_state(unit(f)) == UNIT_BUSY);
	text = status_json(f->manager);
	root = json_loads(text, 0, NULL);
	free(text);
	assert_non_null(root);
	assert_string_equal(
		json_string_value(json_object_get(
			json_object_get(json_array_get(json_object_get(root, "gpus"), 0), "owner"),
			"comm")),
		"other");
	json_decref(root);
}

static void test_a_simulated_card_needs_leave(void **state)
{
	struct fixture *f = *state;

	f->actuator.simulated = true;
	start(f, STANDARD);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit_workers(unit(f)) == 1);
	run_decisions(f, 5);
	assert_int_equal(unit_state(unit(f)), UNIT_REFUSED_SIMULATED);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
	assert_non_null(strstr(f->manager->status, "governing 0"));
}

static void test_a_card_without_clock_control_is_not_claimed(void **state)
{
	struct fixture *f = *state;

	f->actuator.no_clock_control = true;
	start(f, STANDARD);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit_workers(unit(f)) == 1);
	run_decisions(f, 5);
	assert_int_equal(unit_state(unit(f)), UNIT_NO_CLOCK_CONTROL);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
}

static void test_a_missing_surface_means_full_speed(void **state)
{
	struct fixture *f = *state;

	start(f, DAEMON GPU "[model resnet50]\nsurface = /nonexistent.csv\n");
	start_worker(f);
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 1725);
	run_decisions(f, 10);
	assert_int_equal(f->actuator.last_set.max_mhz, 1725);
	assert_null(unit(f)->plan->tables[0].table);
	assert_non_null(strstr(unit(f)->plan->tables[0].why, "/nonexistent.csv"));
}

static void test_a_limit_that_does_not_read_back_means_full_speed(void **state)
{
	struct fixture *f = *state;

	start_governed(f, STANDARD);
	f->actuator.set_reads_back_mhz = 1200;
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 1725);
	assert_true(unit(f)->input.flags & GOVERNOR_CARD_READBACK_FAILED);
	f->actuator.set_reads_back_mhz = 0;
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 925);
}

static void test_a_refused_limit_means_full_speed(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, STANDARD);
	f->actuator.set_error = -EIO;
	RUN_UNTIL(f, unit(f)->input.flags & GOVERNOR_CARD_READBACK_FAILED);
	RUN_UNTIL(f, unit(f)->decision.max_mhz == 1725);
	assert_int_equal(unit(f)->decision.reason, GOVERNOR_REASON_READBACK_FAILED);
	/* At most a setting and a renewal with each decision. */
	f->actuator.counts[ACTUATOR_SET] = 0;
	run_decisions(f, 10);
	assert_true(f->actuator.counts[ACTUATOR_SET] <= 22);
}

static void test_a_lost_claim_is_made_again(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, STANDARD);
	f->actuator.set_error = -EACCES;
	RUN_UNTIL(f, unit(f)->claim != UNIT_CLAIMED);
	f->actuator.set_error = 0;
	RUN_UNTIL(f, unit(f)->claim == UNIT_CLAIMED && f->actuator.last_set.max_mhz > 0);
	assert_true(f->actuator.counts[ACTUATOR_CLAIM] >= 2);
}

static void test_no_answer_means_sensors_lost(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, STANDARD);
	f->actuator.mute = true;
	RUN_UNTIL(f, unit(f)->input.flags & GOVERNOR_CARD_SENSORS_LOST);
	RUN_UNTIL(f, unit(f)->decision.max_mhz == 1725);
	f->actuator.mute = false;
	RUN_UNTIL(f, !(unit(f)->input.flags & GOVERNOR_CARD_SENSORS_LOST));
}

static void test_a_sensor_that_vanishes_is_lost(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, STANDARD);
	f->actuator.fields = GPU_HAS_SCLK | GPU_HAS_BUSY;
	RUN_UNTIL(f, unit(f)->decision.reason == GOVERNOR_REASON_SENSORS_LOST);
	assert_int_equal(unit(f)->input.power_uw, 0);
}

static void test_a_card_that_never_had_a_sensor_is_governed(void **state)
{
	struct fixture *f = *state;

	f->actuator.fields = GPU_HAS_SCLK;
	start_claimed(f, STANDARD);
	run_decisions(f, 15);
	assert_int_equal(unit(f)->input.flags, 0);
}

static void test_heat_throttles_and_a_power_limit_does_not(void **state)
{
	struct fixture *f = *state;

	f->actuator.fields |= GPU_HAS_THROTTLE;
	f->actuator.throttle = 1u << 13; /* PPT */
	start_claimed(f, STANDARD);
	run_decisions(f, 3);
	assert_int_equal(unit(f)->input.flags, 0);
	f->actuator.throttle |= 1u << 2; /* hot spot */
	RUN_UNTIL(f, unit(f)->input.flags == GOVERNOR_CARD_THROTTLED);
}

static void test_an_actuator_that_comes_back_is_used_again(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, STANDARD);
	fake_unlisten(&f->actuator);
	RUN_UNTIL(f, f->manager->actuator_error < 0);
	RUN_UNTIL(f, strstr(f->manager->status, "no actuator at"));
	assert_int_equal(unit(f)->claim, UNIT_FREE);
	f->actuator.counts[ACTUATOR_CLAIM] = 0;
	f->actuator.last_set.max_mhz = 0;
	fake_listen(f);
	RUN_UNTIL(f, f->actuator.last_set.max_mhz > 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 1);
}

static void test_without_an_actuator_it_is_ready_and_says_so(void **state)
{
	struct fixture *f = *state;

	write_text(f->config, STANDARD);
	assert_int_equal(manager_new(&f->options, &f->manager), 0);
	assert_int_equal(manager_start(f->manager), 0);
	RUN_UNTIL(f, f->manager->ready);
	assert_non_null(strstr(f->manager->status, "no actuator at"));
}

static void test_foreign_load_means_full_speed_unless_ignored(void **state)
{
	struct fixture *f = *state;

	f->actuator.foreign_pid = 1;
	start(f, STANDARD);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit(f)->decision.reason == GOVERNOR_REASON_FOREIGN_LOAD);
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 1725);
	/* The setting is read with the next reload. */
	write_text(f->config, DAEMON GPU "on_foreign_load = ignore\n" MODEL);
	assert_true(raise(SIGHUP) == 0);
	RUN_UNTIL(f, unit(f)->config.on_foreign_load == CONFIG_FOREIGN_IGNORE);
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 925);
}

static void test_the_workers_own_process_is_not_foreign(void **state)
{
	struct fixture *f = *state;

	f->actuator.foreign_pid = getpid();
	start_claimed(f, STANDARD);
	run_decisions(f, 15);
	assert_int_equal(unit(f)->input.flags, 0);
}

static void test_drift_is_answered_as_configured(void **state)
{
	struct fixture *f = *state;

	start_governed(f, DAEMON GPU "on_drift = alert\n" MODEL);
	f->actuator.verified = ACTUATOR_DRIFT;
	run_decisions(f, 10);
	assert_int_equal(unit(f)->input.flags, 0);
	write_text(f->config, DAEMON GPU "on_drift = reassert\n" MODEL);
	assert_true(raise(SIGHUP) == 0);
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 1725);
	assert_true(unit(f)->input.flags & GOVERNOR_CARD_READBACK_FAILED);
	/* Written anew, although the actuator believes that it stands. */
	assert_int_equal(f->actuator.last_set.take_over, 1);
	write_text(f->config, DAEMON GPU "on_drift = yield\n" MODEL);
	assert_true(raise(SIGHUP) == 0);
	RUN_UNTIL(f, unit_state(unit(f)) == UNIT_YIELDED && unit(f)->claim == UNIT_FREE);
	run_decisions(f, 5);
	assert_int_equal(unit(f)->claim, UNIT_FREE);
	assert_int_equal(f->actuator.counts[ACTUATOR_RELEASE], 1);
}

static void test_the_operators_cap_goes_with_each_setting(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, DAEMON GPU "power_cap = 1000W\n" MODEL);
	/* Taken to the nearest that the card allows. */
	assert_int_equal(f->actuator.last_set.power_cap_uw, 300000000);
}

static void test_a_bad_reload_keeps_everything(void **state)
{
	struct fixture *f = *state;
	const struct unit_plan *plan;
	const struct config *config;
	char why[CONFIG_TEXT_MAX];

	start_claimed(f, STANDARD);
	config = f->manager->config;
	plan = unit(f)->plan;
	write_text(f->config, STANDARD "polcy = cofris\n");
	assert_int_equal(manager_reload(f->manager, why, sizeof(why)), -EBADMSG);
	assert_non_null(strstr(why, "cofris.conf:6: unknown key 'polcy', did you mean 'policy'?"));
	assert_ptr_equal(f->manager->config, config);
	assert_ptr_equal(unit(f)->plan, plan);
	assert_int_equal(f->manager->config_error.line, 6);
	write_text(f->config, DAEMON GPU "[model resnet50]\nsurface = /nonexistent.csv\n");
	assert_true(manager_reload(f->manager, why, sizeof(why)) < 0);
	assert_non_null(strstr(why, "/nonexistent.csv"));
	assert_ptr_equal(unit(f)->plan, plan);
	write_text(f->config, STANDARD);
	assert_int_equal(manager_reload(f->manager, why, sizeof(why)), 0);
	assert_string_equal(f->manager->config_error.text, "");
	assert_int_equal(unit_state(unit(f)), UNIT_GOVERNED);
}

static void test_a_reload_that_disables_a_card_gives_it_back(void **state)
{
	struct fixture *f = *state;
	char why[CONFIG_TEXT_MAX];

	start_claimed(f, STANDARD);
	/* What a section says itself is above [gpu *]. */
	write_text(f->config, DAEMON GPU "enabled = yes\n[gpu *]\nenabled = no\n" MODEL);
	assert_int_equal(manager_reload(f->manager, why, sizeof(why)), 0);
	run_decisions(f, 3);
	assert_int_equal(f->actuator.counts[ACTUATOR_RELEASE], 0);
	write_text(f->config, DAEMON GPU "enabled = no\n" MODEL);
	assert_int_equal(manager_reload(f->manager, why, sizeof(why)), 0);
	RUN_UNTIL(f, f->actuator.counts[ACTUATOR_RELEASE] >= 1);
	assert_null(unit(f));
	assert_int_equal(f->manager->n_sessions, 0);
}

static void test_a_reload_to_observe_gives_the_card_back(void **state)
{
	struct fixture *f = *state;
	char why[CONFIG_TEXT_MAX];
	uint32_t sets;

	start_claimed(f, STANDARD);
	write_text(f->config, DAEMON "mode = observe\n" GPU MODEL);
	assert_int_equal(manager_reload(f->manager, why, sizeof(why)), 0);
	RUN_UNTIL(f, unit(f)->claim == UNIT_FREE);
	sets = f->actuator.counts[ACTUATOR_SET];
	run_decisions(f, 5);
	assert_int_equal(f->actuator.counts[ACTUATOR_SET], sets);
	assert_int_equal(f->actuator.counts[ACTUATOR_RELEASE], 1);
}

static void test_a_reload_without_the_model_hangs_its_workers_up(void **state)
{
	struct fixture *f = *state;
	char why[CONFIG_TEXT_MAX];

	start_claimed(f, STANDARD);
	write_text(f->config, DAEMON GPU "[model vgg19]\n");
	assert_int_equal(manager_reload(f->manager, why, sizeof(why)), 0);
	assert_int_equal(unit_workers(unit(f)), 0);
	RUN_UNTIL(f, unit(f)->claim == UNIT_FREE);
}

/* As after a crash: the connection comes from the service manager's store, with a setting. */
static void start_adopted(struct fixture *f)
{
	struct fake_actuator *a = &f->actuator;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	write_text(f->config, STANDARD);
	write_surface(f);
	f->options.actuator_fd = fds[0];
	assert_int_equal(manager_new(&f->options, &f->manager), 0);
	a->fd = fds[1];
	a->claimed = true;
	a->state.max_mhz = 925;
	assert_true(sd_event_add_io(f->manager->event, &a->io, a->fd, EPOLLIN, on_request, a) >= 0);
	assert_int_equal(manager_start(f->manager), 0);
	RUN_UNTIL(f, unit(f) && unit(f)->claim == UNIT_CLAIMED);
}

static void test_a_predecessors_setting_is_held_until_its_workers_are_back(void **state)
{
	struct fixture *f = *state;

	start_adopted(f);
	assert_int_equal(f->actuator.counts[ACTUATOR_ADOPT], 1);
	RUN_UNTIL(f, f->actuator.counts[ACTUATOR_SET] >= 3);
	assert_int_equal(f->actuator.last_set.max_mhz, 925);
	assert_false(unit(f)->decided);
	start_worker(f);
	RUN_UNTIL(f, unit(f)->decided);
	assert_int_equal(unit(f)->decision.action, GOVERNOR_HOLD);
	assert_int_equal(unit(f)->decision.reason, GOVERNOR_REASON_ADOPTED);
	assert_int_equal(f->actuator.last_set.max_mhz, 925);
	RUN_UNTIL(f, unit(f)->decision.action == GOVERNOR_SET);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_RELEASE], 0);
}

static void test_a_predecessors_setting_is_given_back_if_no_worker_comes(void **state)
{
	struct fixture *f = *state;

	start_adopted(f);
	RUN_UNTIL(f, unit(f)->claim == UNIT_FREE);
	assert_int_equal(f->actuator.counts[ACTUATOR_RELEASE], 1);
}

static void test_a_wake_brings_the_next_tick_forward_but_not_without_end(void **state)
{
	struct fixture *f = *state;
	uint64_t due_us, early_us, now_us;

	start(f, "[daemon]\npoll_interval = 5s\n" GPU MODEL);
	RUN_UNTIL(f, f->manager->ready);
	assert_true(sd_event_source_get_time(f->manager->tick, &due_us) >= 0);
	manager_early_tick(f->manager);
	assert_true(sd_event_source_get_time(f->manager->tick, &early_us) >= 0);
	assert_true(early_us < due_us);
	RUN_UNTIL(f, f->manager->last_tick_ns > 0);
	/* The next one is a poll later, and a second wake waits for its tenth of a second. */
	manager_early_tick(f->manager);
	assert_true(sd_event_source_get_time(f->manager->tick, &early_us) >= 0);
	now_us = f->manager->last_tick_ns / NSEC_PER_USEC;
	assert_int_equal(early_us, now_us + 100000);
}

static void test_a_term_signal_gives_the_card_back_and_exits(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, STANDARD);
	assert_true(raise(SIGTERM) == 0);
	RUN_UNTIL(f, f->exited);
	assert_int_equal(f->exit_code, 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_RELEASE], 1);
}

static void test_a_stop_does_not_wait_for_a_dead_actuator(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, STANDARD);
	f->actuator.mute = true;
	assert_true(raise(SIGTERM) == 0);
	RUN_UNTIL(f, f->exited);
	assert_int_equal(f->exit_code, 0);
}

/* --- clock groups --------------------------------------------------------------------------- */

#define TWO_GPUS DAEMON GPU "[gpu " OTHER_BDF "]\n" MODEL

static struct unit *other(const struct fixture *f)
{
	return TAILQ_NEXT(unit(f), entry);
}

static void start_two_cards(struct fixture *f)
{
	f->actuator.second = &f->second;
	start(f, TWO_GPUS);
	RUN_UNTIL(f, f->manager->ready && unit(f) && unit(f)->plan && other(f) && other(f)->plan);
}

static bool both_at(const struct fixture *f, uint32_t mhz)
{
	return f->actuator.last_set.max_mhz == mhz && f->second.last_set.max_mhz == mhz;
}

/* One worker over both, whose clocks have been lowered. */
static void start_group(struct fixture *f)
{
	start_two_cards(f);
	f->worker = open_worker(f, both_cards, 2);
	RUN_UNTIL(f, both_at(f, 925));
}

/* What the status says of a card's group: the number of its cards. */
static size_t shown_group(const struct fixture *f, size_t gpu)
{
	char *text = status_json(f->manager);
	json_t *root = json_loads(text, 0, NULL);
	size_t n;

	free(text);
	assert_non_null(root);
	n = json_array_size(
		json_object_get(json_array_get(json_object_get(root, "gpus"), gpu), "group"));
	json_decref(root);
	return n;
}

static void test_a_worker_over_two_cards_counts_on_both(void **state)
{
	struct fixture *f = *state;

	start_group(f);
	assert_int_equal(f->manager->n_sessions, 1);
	assert_int_equal(unit_workers(unit(f)), 1);
	assert_int_equal(unit_workers(other(f)), 1);
	assert_int_equal(shown_group(f, 0), 2);
	assert_int_equal(shown_group(f, 1), 2);
	for (unsigned int i = 0; i < 3; i++)
		(void)cofris_begin(f->worker, 1);
	RUN_UNTIL(f, unit(f)->input.models[0].arrivals > 0);
	assert_int_equal(other(f)->input.models[0].arrivals, unit(f)->input.models[0].arrivals);
	RUN_UNTIL(f, unit(f)->input.models[0].in_flight == 3);
	assert_int_equal(other(f)->input.models[0].in_flight, 3);
	/* An interval ends for both at once. */
	RUN_UNTIL(f, unit(f)->input.models[0].arrivals == 0);
	assert_int_equal(other(f)->input.models[0].arrivals, 0);
}

static void test_two_cards_with_a_worker_each_are_no_group(void **state)
{
	struct fixture *f = *state;

	start_two_cards(f);
	start_worker(f);
	f->other_worker = open_worker(f, &both_cards[1], 1);
	RUN_UNTIL(f, both_at(f, 925));
	assert_int_equal(shown_group(f, 0), 0);
	f->second.fields = GPU_HAS_SCLK | GPU_HAS_BUSY;
	RUN_UNTIL(f, f->second.last_set.max_mhz == 1725);
	run_decisions(f, 5);
	assert_int_equal(f->actuator.last_set.max_mhz, 925);
}

static void test_one_card_in_doubt_puts_its_group_at_full_speed(void **state)
{
	struct fixture *f = *state;

	start_group(f);
	f->second.fields = GPU_HAS_SCLK | GPU_HAS_BUSY;
	RUN_UNTIL(f, both_at(f, 1725));
	assert_int_equal(other(f)->decision.reason, GOVERNOR_REASON_SENSORS_LOST);
	/* Its own governor has no reason to, and says so. */
	assert_int_equal(unit(f)->decision.max_mhz, 925);
	run_decisions(f, 5);
	assert_true(both_at(f, 1725));
	f->second.fields |= GPU_HAS_POWER;
	RUN_UNTIL(f, both_at(f, 925));
}

static void test_a_raise_for_one_cards_own_worker_raises_its_group(void **state)
{
	struct fixture *f = *state;

	start_group(f);
	/* A new worker counts with its rated rate in its first interval. */
	f->other_worker = open_worker(f, &both_cards[1], 1);
	RUN_UNTIL(f, both_at(f, 1725));
	assert_int_equal(unit_workers(unit(f)), 1);
	assert_int_equal(unit_workers(other(f)), 2);
	RUN_UNTIL(f, both_at(f, 925));
}

static void test_nothing_is_lowered_before_the_other_cards_raise_is_confirmed(void **state)
{
	struct fixture *f = *state;

	start_two_cards(f);
	f->other_worker = open_worker(f, &both_cards[1], 1);
	RUN_UNTIL(f, f->second.last_set.max_mhz == 925 && !other(f)->in_flight);
	/* For the second card 1725 MHz is a raise, for the first, as found until now, a limit. */
	f->second.mute = true;
	f->worker = open_worker(f, both_cards, 2);
	RUN_UNTIL(f, unit_workers(unit(f)) == 1 && f->second.asked_set.max_mhz == 1725);
	run_decisions(f, 3);
	assert_int_equal(unit(f)->decision.action, GOVERNOR_SET);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_SET], 0);
	f->second.mute = false;
	RUN_UNTIL(f, f->actuator.last_set.max_mhz > 0);
	assert_int_equal(f->second.last_set.max_mhz, 1725);
}

static void test_a_card_that_others_hold_does_not_keep_its_group_up(void **state)
{
	struct fixture *f = *state;

	f->second.claim_error = -EBUSY;
	start_two_cards(f);
	f->worker = open_worker(f, both_cards, 2);
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 925);
	assert_int_equal(unit_state(other(f)), UNIT_BUSY);
	assert_int_equal(f->second.counts[ACTUATOR_SET], 0);
}

static void test_a_groups_clock_is_the_highest_in_each_cards_own_levels(void **state)
{
	static const struct {
		uint32_t own_mhz, other_mhz, group_mhz, other_group_mhz;
	} rows[] = {
		{925, 1000, 1725, 1000}, {925, 800, 925, 1000},	   {1725, 800, 1725, 2100},
		{925, 2100, 1725, 2100}, {1725, 2100, 1725, 2100},
	};
	static const uint32_t levels[] = {800, 1000, 2100};
	struct fixture *f = *state;

	start_group(f);
	(void)memcpy(other(f)->card.level_mhz, levels, sizeof(levels));
	other(f)->card.n_levels = ARRAY_SIZE(levels);
	unit(f)->decision.action = other(f)->decision.action = GOVERNOR_SET;
	unit(f)->stepped = other(f)->stepped = true;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unit(f)->decision.max_mhz = rows[i].own_mhz;
		other(f)->decision.max_mhz = rows[i].other_mhz;
		assert_int_equal(group_max_mhz(unit(f)), rows[i].group_mhz);
		assert_int_equal(group_max_mhz(other(f)), rows[i].other_group_mhz);
	}
	unit(f)->decision.max_mhz = 925;
	other(f)->stepped = false;
	assert_int_equal(group_max_mhz(unit(f)), 1725);
}

static void test_a_groups_directive_is_the_widest_of_its_cards(void **state)
{
	struct fixture *f = *state;
	struct governor_model_decision *d, *o;
	struct sequence_directive wide;

	start_group(f);
	d = &unit(f)->decision.models[0];
	o = &other(f)->decision.models[0];
	unit(f)->stepped = other(f)->stepped = true;
	d->shape = (struct cu_shape){2, 8};
	o->shape = (struct cu_shape){4, 8};
	d->max_batch = 8;
	o->max_batch = 4;
	d->max_wait_ns = 2000;
	o->max_wait_ns = 1000;
	unit_directive(unit(f), 0, &wide);
	assert_int_equal(cu_shape_cus(wide.shape), 16);
	group_widen(unit(f), 0, &wide);
	assert_int_equal(cu_shape_cus(wide.shape), 32);
	assert_int_equal(wide.max_batch, 8);
	assert_int_equal(wide.max_wait_ns, 1000);
	/* A card without a worker of the model needs nothing for it. */
	other(f)->input.models[0].workers = 0;
	unit_directive(unit(f), 0, &wide);
	group_widen(unit(f), 0, &wide);
	assert_int_equal(cu_shape_cus(wide.shape), 16);
	/* On a card with another layout the same bits are other CUs. */
	other(f)->input.models[0].workers = 1;
	other(f)->card.active_cus[0]--;
	group_widen(unit(f), 0, &wide);
	assert_int_equal(cu_shape_cus(wide.shape), 0);
}

static void test_the_last_worker_over_two_cards_gone_frees_both(void **state)
{
	struct fixture *f = *state;
	uint64_t number, other_number;

	start_group(f);
	f->worker = cofris_close(f->worker);
	number = unit(f)->decision.number;
	other_number = other(f)->decision.number;
	RUN_UNTIL(f, f->actuator.counts[ACTUATOR_RELEASE] == 1 &&
			     f->second.counts[ACTUATOR_RELEASE] == 1);
	assert_true(unit(f)->decision.number <= number + 2);
	assert_true(other(f)->decision.number <= other_number + 2);
	assert_int_equal(shown_group(f, 0), 0);
	assert_int_equal(shown_group(f, 1), 0);
	RUN_UNTIL(f, unit_state(unit(f)) == UNIT_IDLE && unit_state(other(f)) == UNIT_IDLE);
}

static void test_a_card_that_is_not_governed_is_refused_by_name(void **state)
{
	struct fixture *f = *state;
	char why[256];

	f->actuator.second = &f->second;
	start(f, STANDARD);
	RUN_UNTIL(f, f->manager->ready && unit(f));
	f->worker = open_worker(f, both_cards, 2);
	RUN_UNTIL(f, cofris_problem(f->worker, why, sizeof(why)) && strstr(why, OTHER_BDF));
	assert_null(strstr(why, BDF));
	assert_int_equal(unit_workers(unit(f)), 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
}

static void test_a_reload_without_one_card_hangs_its_groups_worker_up(void **state)
{
	struct fixture *f = *state;
	char why[CONFIG_TEXT_MAX];

	start_group(f);
	write_text(f->config, STANDARD);
	assert_int_equal(manager_reload(f->manager, why, sizeof(why)), 0);
	assert_int_equal(f->manager->n_sessions, 0);
	assert_null(other(f));
	assert_int_equal(shown_group(f, 0), 0);
	RUN_UNTIL(f, f->second.counts[ACTUATOR_RELEASE] >= 1 && unit(f)->claim == UNIT_FREE);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* --- masks ---------------------------------------------------------------------------------- */

#define MASK_GPU GPU "gating = cu\n"
/* Without a guard, which would answer a request in danger by the whole card. */
#define MASK_MODEL MODEL "policy = resource\n"
#define MASKED	   DAEMON MASK_GPU MASK_MODEL

static int apply_mask(void *userdata, const struct cofris_directive *d)
{
	struct fixture *f = userdata;
	int answer = f->applies;

	if (answer < 0)
		return answer;
	f->mask_bits = d->cu_mask_bits;
	f->mask_word = d->cu_mask[0];
	return answer;
}

static struct cofris_channel *open_follower_that(struct fixture *f, uint32_t reports)
{
	struct cofris_channel *worker;
	char path[128];
	struct cofris_options options = {
		.size = sizeof(options),
		.model = "resnet50",
		.instance = "follower",
		.socket_path = path,
		.slots = 1,
		.follows = COFRIS_FOLLOWS_CU_MASK,
		.reports = reports,
		.apply = apply_mask,
		.userdata = f,
	};

	(void)snprintf(path, sizeof(path), "%s/worker.sock", f->root);
	assert_int_equal(cofris_open(&options, &worker), 0);
	return worker;
}

static struct cofris_channel *open_follower(struct fixture *f)
{
	return open_follower_that(f, 0);
}

static void start_follower(struct fixture *f, const char *config, int applies)
{
	f->mask_surface = true;
	f->applies = applies;
	start(f, config);
	f->worker = open_follower(f);
}

/* A value of the document below gpus[0], the path in jansson's words; the caller decrefs. */
static json_t *shown(struct fixture *f, const char *list, size_t index, const char *key)
{
	_cleanup_(freep) char *text = status_json(f->manager);
	json_t *root, *value;

	assert_non_null(text);
	root = json_loads(text, 0, NULL);
	assert_non_null(root);
	value = json_object_get(json_array_get(json_object_get(root, "gpus"), 0), list);
	value = json_incref(json_object_get(json_array_get(value, index), key));
	json_decref(root);
	return value;
}

static bool shows_text(struct fixture *f, const char *list, size_t index, const char *key,
		       const char *expected)
{
	json_t *value = shown(f, list, index, key);
	const char *text = json_string_value(value);
	bool same = expected ? text && strcmp(text, expected) == 0 : json_is_null(value);

	json_decref(value);
	return same;
}

static bool shows_alone(struct fixture *f, size_t worker, const char *expected)
{
	return shows_text(f, "worker_list", worker, "clock_alone", expected);
}

/* CUs of a worker's wanted or acknowledged directive; -1 for none. */
static json_int_t shown_cus(struct fixture *f, size_t worker, const char *which)
{
	json_t *value = shown(f, "worker_list", worker, which);
	json_int_t cus =
		json_is_object(value) ? json_integer_value(json_object_get(value, "cus")) : -1;

	json_decref(value);
	return cus;
}

static void test_a_mask_is_published_acknowledged_and_shown(void **state)
{
	struct fixture *f = *state;
	json_t *wanted, *acknowledged, *value;

	start_follower(f, MASKED, 3);
	RUN_UNTIL(f, shown_cus(f, 0, "acknowledged") == 30);
	assert_int_equal(f->mask_bits, 60);
	assert_int_equal(f->mask_word, 0x33333333);
	wanted = shown(f, "worker_list", 0, "wanted");
	acknowledged = shown(f, "worker_list", 0, "acknowledged");
	assert_true(json_equal(wanted, acknowledged));
	assert_string_equal(json_string_value(json_object_get(wanted, "shape")), "2x15");
	value = json_object_get(wanted, "mask");
	assert_int_equal(json_array_size(value), 2);
	assert_string_equal(json_string_value(json_array_get(value, 0)), "0x33333333");
	assert_string_equal(json_string_value(json_array_get(value, 1)), "0x03333333");
	json_decref(wanted);
	json_decref(acknowledged);
	value = shown(f, "worker_list", 0, "queues_changed");
	assert_int_equal(json_integer_value(value), 3);
	json_decref(value);
	value = shown(f, "worker_list", 0, "pid");
	assert_int_equal(json_integer_value(value), getpid());
	json_decref(value);
	assert_true(shows_text(f, "worker_list", 0, "model", "resnet50"));
	assert_true(shows_text(f, "worker_list", 0, "instance", "follower"));
	assert_true(shows_alone(f, 0, NULL));
	assert_true(shows_text(f, "models", 0, "masks_off", NULL));
	assert_true(unit_model_acknowledged(unit(f), 0));
	/* Clock and CUs are the policy's: the clock stays. */
	assert_int_equal(f->actuator.last_set.max_mhz, 1725);
}

/* As libcofris-hsa.so in a process that nobody counts for, and then that counts for itself. */
static void test_a_follower_alone_is_missing_input_and_no_zero_demand(void **state)
{
	struct fixture *f = *state;
	struct cofris_channel *counting;
	json_t *value;

	f->mask_surface = true;
	f->applies = 1;
	start(f, MASKED);
	f->worker = open_follower_that(f, COFRIS_REPORTS_NO_REQUESTS);
	RUN_UNTIL(f, unit(f) && unit(f)->decided &&
			     unit(f)->input.models[0].state == GOVERNOR_INPUT_MISSING);
	run_decisions(f, 5);
	assert_int_equal(unit(f)->input.models[0].state, GOVERNOR_INPUT_MISSING);
	assert_int_equal(unit(f)->input.models[0].workers, 1);
	assert_true(shows_text(f, "models", 0, "input", "missing-input"));
	assert_int_equal(shown_cus(f, 0, "wanted"), 60);

	counting = open_worker(f, both_cards, 1);
	RUN_UNTIL(f, unit(f)->input.models[0].state == GOVERNOR_INPUT_OK);
	assert_int_equal(unit(f)->input.models[0].workers, 1);
	/* One process, so the follower's masks are those of the queues that serve. */
	RUN_UNTIL(f, shown_cus(f, 0, "acknowledged") == 30);
	assert_true(unit(f)->input.models[0].mask_follows);
	assert_int_equal(unit(f)->input.models[0].state, GOVERNOR_INPUT_OK);
	/* What only counts has no CUs to show. */
	value = shown(f, "worker_list", 1, "wanted");
	assert_true(json_is_object(value));
	assert_true(json_is_null(json_object_get(value, "cus")));
	assert_true(json_is_null(json_object_get(value, "shape")));
	json_decref(value);
	cofris_close(counting);
	RUN_UNTIL(f, unit(f)->input.models[0].state == GOVERNOR_INPUT_MISSING);
	RUN_UNTIL(f, shown_cus(f, 0, "acknowledged") == 60);
}

static void test_a_worker_that_never_acknowledges_is_governed_by_clock_alone(void **state)
{
	struct fixture *f = *state;

	start_follower(f, MASKED, -EIO);
	RUN_UNTIL(f, shown_cus(f, 0, "wanted") == 30);
	assert_int_equal(shown_cus(f, 0, "acknowledged"), -1);
	RUN_UNTIL(f, shows_alone(f, 0, "has not acknowledged 3 times"));
	/* All CUs are wanted for it from then on, and nothing is awaited of it. */
	RUN_UNTIL(f, shown_cus(f, 0, "wanted") == 60);
	run_decisions(f, 5);
	assert_int_equal(shown_cus(f, 0, "wanted"), 60);
	assert_int_equal(shown_cus(f, 0, "acknowledged"), -1);
	assert_int_equal(cu_shape_cus(unit(f)->decision.models[0].shape), 0);
}

static void test_a_worker_that_follows_no_masks_is_governed_by_clock_alone(void **state)
{
	struct fixture *f = *state;

	f->mask_surface = true;
	start(f, MASKED);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit(f)->decided && unit_workers(unit(f)) == 1);
	run_decisions(f, 5);
	assert_true(shows_alone(f, 0, "does not follow masks"));
	assert_int_equal(shown_cus(f, 0, "wanted"), 60);
	assert_int_equal(cu_shape_cus(unit(f)->decision.models[0].shape), 0);
}

/* The counting connection and the one that masks the queues are of one process. */
static void test_a_process_is_masked_by_any_of_its_connections(void **state)
{
	struct fixture *f = *state;

	f->mask_surface = true;
	start(f, MASKED);
	start_worker(f);
	f->other_worker = open_follower(f);
	RUN_UNTIL(f, unit(f) && unit_workers(unit(f)) == 2);
	RUN_UNTIL(f, f->mask_bits == 60);
	assert_true(shows_alone(f, 0, NULL));
	assert_true(shows_alone(f, 1, NULL));
	/* The other one gone, nobody masks its queues. */
	f->other_worker = cofris_close(f->other_worker);
	RUN_UNTIL(f, unit_workers(unit(f)) == 1 && shows_alone(f, 0, "does not follow masks"));
}

static void reload(struct fixture *f, const char *config)
{
	char why[CONFIG_TEXT_MAX] = "";

	write_text(f->config, config);
	if (manager_reload(f->manager, why, sizeof(why)) < 0)
		fail_msg("%s", why);
}

static void test_masks_switched_off_and_on_at_a_reload(void **state)
{
	struct fixture *f = *state;

	start_follower(f, MASKED "cu_mask = off\n", 1);
	RUN_UNTIL(f, unit(f) && unit(f)->decided && unit_workers(unit(f)) == 1);
	run_decisions(f, 5);
	assert_true(shows_alone(f, 0, "cu_mask = off"));
	assert_true(shows_text(f, "models", 0, "masks_off", "cu_mask = off"));
	assert_int_equal(f->mask_bits, 0);
	reload(f, MASKED);
	RUN_UNTIL(f, f->mask_bits == 60 && shows_alone(f, 0, NULL));
	reload(f, MASKED "cu_mask = off\n");
	RUN_UNTIL(f, f->mask_bits == 0 && shown_cus(f, 0, "acknowledged") == 60);
}

#define CLOCK_ALONE DAEMON MASK_GPU MODEL "policy = frequency\n"

/* Whether the limit has been lowered; fails if that was before the wider mask was confirmed, or
 * given up on. */
static bool lowered_after_widening(struct fixture *f)
{
	if (f->actuator.asked_set.max_mhz != 925)
		return false;
	assert_true(shown_cus(f, 0, "acknowledged") == 60 ||
		    shows_alone(f, 0, "has not acknowledged 3 times"));
	return true;
}

/* Likewise for a narrower mask and the higher limit. */
static bool narrowed_after_raising(struct fixture *f)
{
	if (shown_cus(f, 0, "wanted") != 30)
		return false;
	assert_int_equal(f->actuator.last_set.max_mhz, 1725);
	return true;
}

static void test_clock_and_masks_change_in_the_order_that_keeps_capacity(void **state)
{
	struct fixture *f = *state;

	start_follower(f, MASKED, 1);
	RUN_UNTIL(f, shown_cus(f, 0, "acknowledged") == 30);
	for (unsigned int i = 0; i < 3; i++) {
		reload(f, CLOCK_ALONE);
		RUN_UNTIL(f, lowered_after_widening(f));
		RUN_UNTIL(f, f->actuator.last_set.max_mhz == 925);
		assert_int_equal(f->mask_bits, 0);
		reload(f, MASKED);
		RUN_UNTIL(f, narrowed_after_raising(f));
		RUN_UNTIL(f, shown_cus(f, 0, "acknowledged") == 30);
	}
	/* One that does not answer holds the lower clock up until it is given up on. */
	f->applies = -EIO;
	reload(f, CLOCK_ALONE);
	RUN_UNTIL(f, shown_cus(f, 0, "wanted") == 60);
	assert_int_equal(f->actuator.asked_set.max_mhz, 1725);
	RUN_UNTIL(f, lowered_after_widening(f));
	assert_true(shows_alone(f, 0, "has not acknowledged 3 times"));
	assert_int_equal(f->mask_bits, 60);
}

static void test_a_model_stalled_under_its_mask_has_all_cus_until_a_reload(void **state)
{
	static const char *const why = "stalled under a partial mask: off until reload";
	struct fixture *f = *state;

	start_follower(f, MASKED, 1);
	RUN_UNTIL(f, f->mask_bits == 60);
	(void)cofris_begin(f->worker, 1); /* and it never ends */
	RUN_UNTIL(f, unit(f)->input.models[0].in_flight == 1);
	run_decisions(f, 20);
	assert_false(f->manager->masks_stalled[0]);
	assert_int_equal(f->mask_bits, 60);
	RUN_UNTIL(f, f->manager->masks_stalled[0]);
	assert_true(unit(f)->input.models[0].in_flight == 1);
	RUN_UNTIL(f, f->mask_bits == 0 && shown_cus(f, 0, "acknowledged") == 60);
	assert_true(shows_alone(f, 0, why));
	assert_true(shows_text(f, "models", 0, "masks_off", why));
	run_decisions(f, 10);
	assert_int_equal(f->mask_bits, 0);
	reload(f, MASKED);
	RUN_UNTIL(f, f->mask_bits == 60 && shows_alone(f, 0, NULL));
}

static void test_what_is_modelled_is_called_so(void **state)
{
	struct fixture *f = *state;
	json_t *root, *table;

	for (unsigned int modelled = 0; modelled < 2; modelled++) {
		_cleanup_(freep) char *status = NULL, *text = NULL;

		if (modelled)
			reload(f, MASKED);
		else
			start(f, DAEMON GPU MASK_MODEL);
		RUN_UNTIL(f, unit(f) && unit(f)->plan && unit(f)->plan->tables[0].table);
		text = status_table_json(f->manager, "resnet50");
		root = json_loads(text, 0, NULL);
		table = json_array_get(json_object_get(root, "tables"), 0);
		assert_int_equal(json_is_true(json_object_get(table, "modelled")), modelled);
		assert_int_equal(json_is_true(json_object_get(
					 json_array_get(json_object_get(table, "rows"), 0),
					 "modelled")),
				 modelled);
		json_decref(root);
		status = status_json(f->manager);
		root = json_loads(status, 0, NULL);
		assert_int_equal(json_is_true(json_object_get(
					 json_array_get(json_object_get(root, "gpus"), 0),
					 "predicted_power_modelled")),
				 modelled);
		json_decref(root);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_worker_brings_a_claim_and_a_limit_with_a_lease),
		CASE(test_the_lease_is_renewed_each_tick),
		CASE(test_the_last_worker_gone_releases_within_two_ticks),
		CASE(test_observe_decides_and_writes_nothing),
		CASE(test_without_an_enabled_section_nothing_is_claimed),
		CASE(test_without_a_model_it_runs_and_says_so),
		CASE(test_a_card_found_in_manual_is_left_alone),
		CASE(test_the_owner_of_a_claimed_card_is_shown),
		CASE(test_a_simulated_card_needs_leave),
		CASE(test_a_card_without_clock_control_is_not_claimed),
		CASE(test_a_missing_surface_means_full_speed),
		CASE(test_a_limit_that_does_not_read_back_means_full_speed),
		CASE(test_a_refused_limit_means_full_speed),
		CASE(test_a_lost_claim_is_made_again),
		CASE(test_no_answer_means_sensors_lost),
		CASE(test_a_sensor_that_vanishes_is_lost),
		CASE(test_a_card_that_never_had_a_sensor_is_governed),
		CASE(test_heat_throttles_and_a_power_limit_does_not),
		CASE(test_an_actuator_that_comes_back_is_used_again),
		CASE(test_without_an_actuator_it_is_ready_and_says_so),
		CASE(test_foreign_load_means_full_speed_unless_ignored),
		CASE(test_the_workers_own_process_is_not_foreign),
		CASE(test_drift_is_answered_as_configured),
		CASE(test_the_operators_cap_goes_with_each_setting),
		CASE(test_a_bad_reload_keeps_everything),
		CASE(test_a_reload_that_disables_a_card_gives_it_back),
		CASE(test_a_reload_to_observe_gives_the_card_back),
		CASE(test_a_reload_without_the_model_hangs_its_workers_up),
		CASE(test_a_predecessors_setting_is_held_until_its_workers_are_back),
		CASE(test_a_predecessors_setting_is_given_back_if_no_worker_comes),
		CASE(test_a_wake_brings_the_next_tick_forward_but_not_without_end),
		CASE(test_a_term_signal_gives_the_card_back_and_exits),
		CASE(test_a_stop_does_not_wait_for_a_dead_actuator),
		CASE(test_a_worker_over_two_cards_counts_on_both),
		CASE(test_two_cards_with_a_worker_each_are_no_group),
		CASE(test_one_card_in_doubt_puts_its_group_at_full_speed),
		CASE(test_a_raise_for_one_cards_own_worker_raises_its_group),
		CASE(test_nothing_is_lowered_before_the_other_cards_raise_is_confirmed),
		CASE(test_a_card_that_others_hold_does_not_keep_its_group_up),
		CASE(test_a_groups_clock_is_the_highest_in_each_cards_own_levels),
		CASE(test_a_groups_directive_is_the_widest_of_its_cards),
		CASE(test_the_last_worker_over_two_cards_gone_frees_both),
		CASE(test_a_card_that_is_not_governed_is_refused_by_name),
		CASE(test_a_reload_without_one_card_hangs_its_groups_worker_up),
		CASE(test_a_mask_is_published_acknowledged_and_shown),
		CASE(test_a_follower_alone_is_missing_input_and_no_zero_demand),
		CASE(test_a_worker_that_never_acknowledges_is_governed_by_clock_alone),
		CASE(test_a_worker_that_follows_no_masks_is_governed_by_clock_alone),
		CASE(test_a_process_is_masked_by_any_of_its_connections),
		CASE(test_masks_switched_off_and_on_at_a_reload),
		CASE(test_clock_and_masks_change_in_the_order_that_keeps_capacity),
		CASE(test_a_model_stalled_under_its_mask_has_all_cus_until_a_reload),
		CASE(test_what_is_modelled_is_called_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
