/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/simulator.h"
#include "base/fsio.h"
#include "base/log.h"
#include "base/units.h"
#include "plant/profiles.h"
#include "sim/captured.h"
#include "sim/sandbox.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* ---- the device's profile ---- */

static int load_card(const char *path, struct plant_device **ret)
{
	struct ini_error error = {0};
	int r;

	r = plant_device_load(path, ret, &error);
	if (r < 0)
		return log_error_errno(r, "%s:%u: %s", path, error.line, error.text);
	/* Its driver's files would be none that an AMD card has. */
	if (strncmp((*ret)->gfx, "gfx", 3) != 0)
		return log_error_errno(-ENODEV,
				       "device '%s' is no AMD card; cofris-replay takes it",
				       (*ret)->name);
	return 0;
}

/* Looks for the profile and leaves its absolute path in path. */
static int find_device(const struct options *o, char path[PATH_MAX])
{
	_cleanup_(freep) char *found = NULL;
	int r;

	r = plant_profile_find(o->profiles, "devices", o->device, &found);
	if (r < 0)
		return log_error_errno(r, "no profile of a device '%s'", o->device);
	if (!realpath(found, path))
		return log_error_errno(-errno, "%s: %m", found);
	return 0;
}

/* ---- the simulator ---- */

int simulator_path(char *ret, size_t size, const char *folder, const char *name)
{
	int n = snprintf(ret, size, "%s/%s", folder, name);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int simulator_make_folder(struct simulator *s, const struct options *o)
{
	int r = 0;

	if (o->runtime_dir) {
		(void)snprintf(s->folder, sizeof(s->folder), "%s", o->runtime_dir);
		r = make_parent_folders(s->folder, 0755);
		if (r == 0 && mkdir(s->folder, 0755) < 0 && errno != EEXIST)
			r = -errno;
	} else {
		(void)snprintf(s->folder, sizeof(s->folder), "/dev/shm/cofris-sim.XXXXXX");
		if (!mkdtemp(s->folder) || chmod(s->folder, 0755) < 0)
			r = -errno;
	}
	if (r == 0)
		r = simulator_path(s->machine_path, sizeof(s->machine_path), s->folder, "machine");
	if (r == 0)
		r = simulator_path(s->control_path, sizeof(s->control_path), s->folder, "control");
	if (r == 0)
		r = simulator_path(s->log_path, sizeof(s->log_path), s->folder, "writes.log");
	if (r < 0)
		return log_error_errno(r, "cannot make folder %s: %m", s->folder);
	(void)unlink(s->machine_path);
	(void)unlink(s->control_path);
	return 0;
}

/* As many as asked for, of those that were captured. */
static uint32_t n_cards(const struct simulator *s, const struct options *o)
{
	if (!s->capture)
		return o->count;
	return o->count > 0 ? MIN(o->count, s->capture->n_cards) : s->capture->n_cards;
}

static int make_machine(struct simulator *s, const struct options *o, const char *device_path)
{
	struct timespec t;
	int r;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	r = sim_machine_create(s->machine_path, n_cards(s, o), o->time_scale,
			       (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec,
			       &s->machine);
	if (r < 0)
		return log_error_errno(r, "cannot make %s: %m", s->machine_path);
	if (strlen(device_path) >= sizeof(s->machine->device_ini))
		return log_error_errno(-ENAMETOOLONG, "%s: %m", device_path);
	(void)snprintf(s->machine->device_ini, sizeof(s->machine->device_ini), "%s", device_path);
	return 0;
}

static int make_cards(struct simulator *s, const struct options *o)
{
	for (uint32_t n = n_cards(s, o); s->n_cards < n; s->n_cards++) {
		uint32_t i = s->n_cards;
		struct card_options card = {
			.index = i,
			.bdf = s->capture ? s->capture->cards[i].bdf : NULL,
			.device = s->device,
			.machine = s->machine,
			.plant =
				{
					.gating = o->gating,
					.seed = plant_hash(o->seed, i),
					.time_factor = o->service_factor[i],
					.power_factor = o->power_factor[i],
				},
		};
		int r = card_new(&card, &s->cards[i]);

		if (r < 0)
			return log_error_errno(r, "cannot make card %u: %m", i);
		if (s->capture)
			captured_set_up(s->cards[i], &s->capture->cards[i]);
	}
	return 0;
}

static int add_faults(const struct control_targets *t, const struct options *o)
{
	for (uint32_t i = 0; i < o->n_faults; i++) {
		struct fault_error error = {"out of memory"};
		int r = control_add_fault(t, o->faults[i], &error);

		if (r < 0)
			return log_error_errno(r, "--fault %s: %s", o->faults[i], error.text);
	}
	return 0;
}

static int start_control(struct simulator *s, const struct options *o)
{
	const struct control_targets targets = {
		.machine = s->machine,
		.cards = s->cards,
		.n_cards = s->n_cards,
		.faults = s->faults,
		.tree = s->tree,
		.fs = s->fs,
		.log = s->log,
	};
	int r;

	r = add_faults(&targets, o);
	if (r < 0)
		return r;
	r = control_new(s->control_path, &targets, &s->control);
	return r < 0 ? log_error_errno(r, "cannot make socket %s: %m", s->control_path) : 0;
}

int simulator_start(struct simulator *s, const struct options *o)
{
	char device_path[PATH_MAX];
	int r;

	if (o->capture)
		r = captured_prepare(o->capture, o->device, o->profiles, s->folder, device_path,
				     &s->capture);
	else
		r = find_device(o, device_path);
	if (r == 0)
		r = load_card(device_path, &s->device);
	if (r == 0)
		r = make_machine(s, o, device_path);
	if (r == 0)
		r = make_cards(s, o);
	if (r < 0)
		return r;
	r = faults_new(s->cards, s->n_cards, &s->faults);
	if (r == 0)
		r = tree_new(s->cards, s->n_cards, &s->tree);
	if (r == 0 && s->capture)
		tree_use_capture(s->tree, s->capture);
	if (r == 0)
		r = write_log_open(s->log_path, s->machine, &s->log);
	if (r == 0)
		r = fs_new(SANDBOX_TREE, s->tree, s->faults, s->log, s->cards, &s->fs);
	if (r < 0)
		return log_error_errno(r, "cannot start: %m");
	return start_control(s, o);
}

void simulator_tidy(const struct options *o)
{
	static const char *const names[] = {"machine", "control"};
	char path[PATH_MAX];

	if (!o->runtime_dir)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (simulator_path(path, sizeof(path), o->runtime_dir, names[i]) == 0)
			(void)unlink(path);
	if (o->capture)
		captured_tidy(o->runtime_dir);
}
