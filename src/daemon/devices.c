/* SPDX-License-Identifier: Apache-2.0 */
/* Device events: cards come and go, are bound anew, are reset, give up. They only shorten the wait
 * for what the actuator is asked for and finds in any case, and there may be none (containers have
 * no udev). */
#include "base/log.h"
#include "base/parse.h"
#include "base/units.h"
#include "daemon/manager-internal.h"
#include "daemon/unit.h"
#include <string.h>

/* A driver that loops sends thousands, at some 20 us each. What is beyond is not lost but late: the
 * socket keeps it. */
#define DEVICES_USEC  (500 * 1000)
#define DEVICES_BURST 500

/* The last address in the path: a card's own, below the bridges' and above its minors. */
static bool find_bdf(const char *path, char ret[PCI_BDF_LENGTH + 1])
{
	bool found = false;

	while (*path) {
		char part[PCI_BDF_LENGTH + 1];
		size_t n = strcspn(path, "/");

		if (n == PCI_BDF_LENGTH) {
			(void)snprintf(part, sizeof(part), "%.*s", (int)n, path);
			if (pci_bdf_is_valid(part)) {
				(void)memcpy(ret, part, sizeof(part));
				found = true;
			}
		}
		path += n;
		path += *path == '/';
	}
	return found;
}

static void take(struct unit *u, sd_device *device)
{
	sd_device_action_t action;
	const char *value;

	if (sd_device_get_property_value(device, "WEDGED", &value) >= 0) {
		log_warning("%s: the kernel reports the card wedged (to recover: %s)", u->bdf,
			    value);
		/* "none": it has already recovered by a reset. */
		unit_event(u, strcmp(value, "none") == 0 ? CARD_EVENT_RESET : CARD_EVENT_WEDGED);
	} else if (sd_device_get_property_value(device, "RESET", &value) >= 0) {
		log_warning("%s: the kernel reports a reset of the card", u->bdf);
		unit_event(u, CARD_EVENT_RESET);
	} else if (sd_device_get_action(device, &action) >= 0 && action == SD_DEVICE_BIND) {
		log_info("%s: a driver has taken the card", u->bdf);
		unit_event(u, CARD_EVENT_BOUND);
	}
}

static int on_device(sd_device_monitor *monitor _unused_, sd_device *device, void *userdata)
{
	struct manager *m = userdata;
	char bdf[PCI_BDF_LENGTH + 1];
	const char *path;
	struct unit *u;

	if (sd_device_get_devpath(device, &path) < 0 || !find_bdf(path, bdf))
		return 0;
	/* It may be one that is to become known. */
	m->cards_changed = true;
	u = manager_find_unit(m, bdf);
	if (u)
		take(u, device);
	return 0;
}

static int start(struct manager *m)
{
	static const char *const subsystems[] = {"drm", "pci"};
	sd_event_source *source;
	int r;

	r = sd_device_monitor_new(&m->devices);
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(subsystems); i++)
		r = sd_device_monitor_filter_add_match_subsystem_devtype(m->devices, subsystems[i],
									 NULL);
	if (r >= 0)
		r = sd_device_monitor_attach_event(m->devices, m->event);
	if (r >= 0)
		r = sd_device_monitor_start(m->devices, on_device, m);
	if (r < 0)
		return r;
	source = sd_device_monitor_get_event_source(m->devices);
	return sd_event_source_set_ratelimit(source, DEVICES_USEC, DEVICES_BURST);
}

void manager_watch_devices(struct manager *m)
{
	int r = start(m);

	if (r >= 0)
		return;
	log_errno(LOG_DEBUG, r, "No device events: %m");
	m->devices = sd_device_monitor_unref(m->devices);
}
