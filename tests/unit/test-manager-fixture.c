/* SPDX-License-Identifier: Apache-2.0 */
#include "test-manager-fixture.h"
#include "gpu/gpu.h"
#include "test-surface-fixture.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

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

void fake_serve(struct fixture *f, int fd)
{
	struct fake_actuator *a = &f->actuator;

	a->fd = fd;
	assert_true(sd_event_add_io(f->manager->event, &a->io, a->fd, EPOLLIN, on_request, a) >= 0);
}

void fake_listen(struct fixture *f)
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

void fake_unlisten(struct fake_actuator *a)
{
	fake_hang_up(a);
	a->listen = sd_event_source_disable_unref(a->listen);
	if (a->listen_fd >= 0)
		(void)close(TAKE_FD(a->listen_fd));
}

/* --- the fixture ---------------------------------------------------------------------------- */

int setup(void **state)
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

int teardown(void **state)
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

void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

void write_surface(struct fixture *f)
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

void start(struct fixture *f, const char *config)
{
	write_text(f->config, config);
	write_surface(f);
	assert_int_equal(manager_new(&f->options, &f->manager), 0);
	fake_listen(f);
	assert_int_equal(manager_start(f->manager), 0);
}

struct cofris_channel *open_worker(struct fixture *f, const struct cofris_device *devices,
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
		.reports = f->reports,
	};

	(void)snprintf(path, sizeof(path), "%s/worker.sock", f->root);
	assert_int_equal(cofris_open(&options, &worker), 0);
	return worker;
}

const struct cofris_device both_cards[] = {{.bdf = BDF}, {.bdf = OTHER_BDF}};

void start_worker(struct fixture *f)
{
	f->worker = open_worker(f, both_cards, 1);
}

uint64_t monotonic_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

void turn(struct fixture *f)
{
	if (sd_event_get_state(f->manager->event) == SD_EVENT_FINISHED)
		return;
	assert_true(sd_event_run(f->manager->event, 10000) >= 0);
	if (sd_event_get_state(f->manager->event) == SD_EVENT_FINISHED) {
		f->exited = true;
		assert_true(sd_event_get_exit_code(f->manager->event, &f->exit_code) >= 0);
	}
}

struct unit *unit(const struct fixture *f)
{
	return TAILQ_FIRST(&f->manager->units);
}

bool unit_is(const struct unit *u, const char *state, const char *reason)
{
	struct card_situation s;

	unit_situation(u, &s);
	return strcmp(card_state_name(s.state), state) == 0 &&
	       strcmp(card_reason_name(s.reason), reason) == 0;
}

void run_decisions(struct fixture *f, uint32_t n)
{
	uint64_t until;

	/* Tables are derived, and the plan made, some turns after the card was seen. */
	RUN_UNTIL(f, unit(f) && unit(f)->plan);
	until = ring_count(unit(f)->plan->ring) + n;
	RUN_UNTIL(f, ring_count(unit(f)->plan->ring) >= until);
}

void start_claimed(struct fixture *f, const char *config)
{
	start(f, config);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit(f)->claim == UNIT_CLAIMED &&
			     f->actuator.last_set.max_mhz > 0 && !unit(f)->in_flight);
}

void start_governed(struct fixture *f, const char *config)
{
	start_claimed(f, config);
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 925);
}

void reload(struct fixture *f, const char *config)
{
	char why[CONFIG_TEXT_MAX] = "";

	write_text(f->config, config);
	if (manager_reload(f->manager, why, sizeof(why)) < 0)
		fail_msg("%s", why);
}
