/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/captured.h"
#include "base/log.h"
#include "plant/profiles.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define DEVICES	 "/devices"
#define MODELS	 "/models"
#define CAPTURED DEVICES "/captured.ini"

/* The profile with the card's PCI id. */
static int find_by_id(uint32_t id, const char *profiles, char **ret_path, struct plant_device **ret)
{
	_cleanup_(plant_profile_names_freep) char **names = NULL;
	unsigned int n;
	int r = plant_profile_names("devices", &names, &n);

	for (unsigned int i = 0; r == 0 && i < n; i++) {
		_cleanup_(freep) struct plant_device *device = NULL;
		_cleanup_(freep) char *path = NULL;
		struct ini_error error;

		if (plant_profile_find(profiles, "devices", names[i], &path) == 0 &&
		    plant_device_load(path, &device, &error) == 0 && device->pci_device_id == id) {
			*ret_path = TAKE_PTR(path);
			*ret = TAKE_PTR(device);
			return 0;
		}
	}
	return r < 0 ? log_error_errno(r, "cannot look for profiles: %m")
		     : log_error_errno(-ENOENT,
				       "no profile of a card with the PCI id 0x%04x; name one "
				       "with --device",
				       id);
}

static int find_base(const struct capture *c, const char *name, const char *profiles,
		     char **ret_path, struct plant_device **ret)
{
	_cleanup_(freep) char *path = NULL;
	struct ini_error error;
	int r;

	if (!name)
		return find_by_id(capture_pci_device_id(&c->cards[0]), profiles, ret_path, ret);
	r = plant_profile_find(profiles, "devices", name, &path);
	if (r < 0)
		return log_error_errno(r, "no profile of a device '%s'", name);
	r = plant_device_load(path, ret, &error);
	if (r < 0)
		return log_error_errno(r, "%s:%u: %s", path, error.line, error.text);
	*ret_path = TAKE_PTR(path);
	return 0;
}

/* Programs look for the models beside the folder of the device. */
static int link_models(const char *base_path, const char *folder)
{
	char base[PATH_MAX], models[PATH_MAX + 16], link[PATH_MAX + 16];

	if (!realpath(base_path, base))
		return -errno;
	*strrchr(base, '/') = '\0';
	(void)snprintf(models, sizeof(models), "%s/.." MODELS, base);
	(void)snprintf(link, sizeof(link), "%s" MODELS, folder);
	(void)unlink(link);
	return symlink(models, link) < 0 ? -errno : 0;
}

static int write_device(const struct capture *c, const char *base_path,
			const struct plant_device *base, const char *folder, const char *path)
{
	char devices[PATH_MAX + 16];
	struct ini_error error;
	int r;

	(void)snprintf(devices, sizeof(devices), "%s" DEVICES, folder);
	r = mkdir(devices, 0755) < 0 && errno != EEXIST ? -errno : link_models(base_path, folder);
	if (r < 0)
		return log_error_errno(r, "cannot write below %s: %m", folder);
	r = capture_write_device(c, base_path, base, path, &error);
	return r < 0 ? log_error_errno(r, "cannot make a card of the capture: %s", error.text) : 0;
}

int captured_prepare(const char *bundle, const char *device, const char *profiles,
		     const char *folder, char ret_path[PATH_MAX], struct capture **ret)
{
	_cleanup_(capture_freep) struct capture *c = NULL;
	_cleanup_(freep) struct plant_device *base = NULL;
	_cleanup_(freep) char *base_path = NULL;
	char path[PATH_MAX + 32];
	struct ini_error error;
	int r = capture_load(bundle, &c, &error);

	if (r < 0)
		return log_error_errno(r, "%s: %s", bundle, error.text);
	if (c->n_others > 0)
		log_warning("%u card(s) of another kind than %s are left out", c->n_others,
			    c->cards[0].bdf);
	r = find_base(c, device, profiles, &base_path, &base);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "%s" CAPTURED, folder);
	r = write_device(c, base_path, base, folder, path);
	if (r < 0)
		return r;
	if (!realpath(path, ret_path))
		return log_error_errno(-errno, "%s: %m", path);
	*ret = TAKE_PTR(c);
	return 0;
}

void captured_set_up(struct card *card, const struct capture_card *c)
{
	const struct capture_file *cap = capture_find(c, "hwmon/power1_cap");
	const struct capture_file *level = capture_find(c, "power_dpm_force_performance_level");

	if (cap && card_write_cap(card, cap->data) < 0)
		log_warning("%s: its power cap cannot be as captured", c->bdf);
	/* The range of a manual one is hidden: all of it. */
	if (level && card_write_perf_level(card, level->data) < 0)
		log_warning("%s: its performance level cannot be as captured", c->bdf);
}

void captured_tidy(const char *folder)
{
	static const char *const names[] = {CAPTURED, DEVICES, MODELS};
	char path[PATH_MAX + 32];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s%s", folder, names[i]);
		(void)remove(path);
	}
}
