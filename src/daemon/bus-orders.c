/* SPDX-License-Identifier: Apache-2.0 */
/* The methods of org.cofris1.Manager that change something. Each looks at its arguments before it
 * asks who calls, so that nothing large waits for an answer, and once more when it knows. */
#include "base/fsio.h"
#include "base/units.h"
#include "daemon/bus-internal.h"
#include "daemon/unit.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* A century: what is longer has no end. */
#define ORDER_MAX_USEC (UINT64_C(36525) * 86400 * USEC_PER_SEC)

static int refuse_bad_reason(const char *reason, sd_bus_error *error)
{
	if (hold_reason_is_valid(reason))
		return 0;
	return sd_bus_error_setf(error, BUS_ERROR_ARGUMENT,
				 "a reason has at most %d bytes, all of them printable",
				 HOLD_REASON_MAX);
}

int bus_refuse_unknown_gpu(const struct manager *m, const char *gpu, sd_bus_error *error)
{
	if (manager_find_unit(m, gpu))
		return 0;
	return sd_bus_error_setf(error, BUS_ERROR_NO_GPU, "no governed card %s", quotable(gpu));
}

static void fill_comm(struct hold *h)
{
	char path[32], text[64];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", h->pid);
	n = h->pid > 0 ? read_text_at(AT_FDCWD, path, text, sizeof(text)) : -1;
	for (ssize_t i = 0; i < n; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			text[i] = i == n - 1 && text[i] == '\n' ? '\0' : '?';
	(void)snprintf(h->comm, sizeof(h->comm), "%.15s", n > 0 ? text : "");
}

/* --- orders that end with their owner ------------------------------------------------------- */

static int on_vanished(sd_bus_track *track, void *userdata)
{
	struct manager *m = userdata;

	for (uint32_t i = 0; i < m->holds.n; i++)
		if (m->holds.entries[i].track == track) {
			manager_release(m, m->holds.entries[i].cookie, "has left");
			break;
		}
	return 0;
}

static int track(struct manager *m, sd_bus_message *call, struct hold *h)
{
	_cleanup_(sd_bus_track_unrefp) sd_bus_track *t = NULL;
	int r;

	r = sd_bus_track_new(sd_bus_message_get_bus(call), &t, on_vanished, m);
	if (r >= 0)
		r = sd_bus_track_add_sender(t, call);
	if (r < 0)
		return r;
	h->track = TAKE_PTR(t);
	return 0;
}

static int add_hold(struct manager *m, sd_bus_message *call, const struct caller *who,
		    struct hold *h, sd_bus_error *error)
{
	uint32_t cookie;
	int r;

	h->uid = who->uid;
	h->pid = who->pid;
	(void)snprintf(h->owner, sizeof(h->owner), "%s", who->sender);
	fill_comm(h);
	/* One that has vanished while polkit was asked is not there any more to be tracked. */
	r = track(m, call, h);
	if (r < 0)
		return r;
	r = manager_hold(m, h, &cookie);
	if (r < 0) {
		sd_bus_track_unref(h->track);
		return sd_bus_error_setf(error, BUS_ERROR_TOO_MANY,
					 r == -EUSERS ? "a user has at most %d holds and pauses"
						      : "there are at most %d holds and pauses",
					 r == -EUSERS ? HOLDS_MAX_PER_UID : HOLDS_MAX);
	}
	return sd_bus_reply_method_return(call, "u", cookie);
}

static int read_hold(const struct manager *m, sd_bus_message *call, struct hold *ret,
		     sd_bus_error *error)
{
	const char *model, *reason, *level;
	struct hold h = {0};
	int r;

	r = sd_bus_message_read(call, "sss", &model, &reason, &level);
	if (r < 0)
		return r;
	r = hold_level_from_name(level, &h.level);
	if (r < 0)
		return sd_bus_error_set(error, BUS_ERROR_ARGUMENT,
					"a level is 'full-speed' or 'rated'");
	r = refuse_bad_reason(reason, error);
	if (r < 0)
		return r;
	r = strcmp(model, "*") == 0 ? 0 : bus_refuse_unknown_model(m, model, error);
	if (r < 0)
		return r;
	(void)snprintf(h.subject, sizeof(h.subject), "%s", model);
	(void)snprintf(h.reason, sizeof(h.reason), "%s", reason);
	*ret = h;
	return 0;
}

static int do_hold(sd_bus_message *call, const struct caller *who, void *userdata,
		   sd_bus_error *error)
{
	struct manager *m = userdata;
	struct hold h;
	int r;

	r = read_hold(m, call, &h, error);
	return r < 0 ? r : add_hold(m, call, who, &h, error);
}

int bus_method_hold(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	struct manager *m = userdata;
	struct hold h;
	int r;

	r = read_hold(m, call, &h, error);
	return r < 0 ? r : bus_authorise(m->bus, call, do_hold, error);
}

static int read_cookie(struct manager *m, sd_bus_message *call, struct hold **ret,
		       sd_bus_error *error)
{
	uint32_t cookie;
	int r;

	r = sd_bus_message_read(call, "u", &cookie);
	if (r < 0)
		return r;
	*ret = holds_find(&m->holds, cookie);
	if (!*ret)
		return sd_bus_error_setf(error, BUS_ERROR_NO_COOKIE, "no hold or pause %u", cookie);
	return 0;
}

static int do_release(sd_bus_message *call, const struct caller *who _unused_, void *userdata,
		      sd_bus_error *error)
{
	struct manager *m = userdata;
	struct hold *h;
	int r;

	r = read_cookie(m, call, &h, error);
	if (r < 0)
		return r;
	manager_release(m, h->cookie, "was released");
	return sd_bus_reply_method_return(call, NULL);
}

int bus_method_release(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	const char *sender = sd_bus_message_get_sender(call);
	struct manager *m = userdata;
	struct hold *h;
	int r;

	r = read_cookie(m, call, &h, error);
	if (r < 0)
		return r;
	/* Its owner has been asked when it was taken. */
	if (!sender || strcmp(sender, h->owner) != 0)
		return bus_authorise(m->bus, call, do_release, error);
	manager_release(m, h->cookie, "was released");
	return sd_bus_reply_method_return(call, NULL);
}

/* --- pauses --------------------------------------------------------------------------------- */

struct pause_order {
	const char *gpu, *reason;
	int persistent;
	uint64_t usec;
};

static int read_pause(const struct manager *m, sd_bus_message *call, struct pause_order *ret,
		      sd_bus_error *error)
{
	int r;

	r = sd_bus_message_read(call, "ssbt", &ret->gpu, &ret->reason, &ret->persistent,
				&ret->usec);
	if (r < 0)
		return r;
	r = refuse_bad_reason(ret->reason, error);
	if (r < 0)
		return r;
	if (ret->usec > ORDER_MAX_USEC)
		return sd_bus_error_set(error, BUS_ERROR_ARGUMENT,
					"a pause is no longer than a century; 0 is without an end");
	return strcmp(ret->gpu, "*") == 0 ? 0 : bus_refuse_unknown_gpu(m, ret->gpu, error);
}

static int keep_pause(struct manager *m, sd_bus_message *call, const struct caller *who,
		      const struct pause_order *order, uint64_t now_usec, sd_bus_error *error)
{
	struct pause p = {
		.uid = who->uid,
		.since_usec = now_usec,
		.until_usec = order->usec > 0 ? now_usec + order->usec : 0,
	};
	int r;

	(void)snprintf(p.gpu, sizeof(p.gpu), "%s", order->gpu);
	(void)snprintf(p.reason, sizeof(p.reason), "%s", order->reason);
	r = manager_keep_pause(m, &p);
	if (r == -ENOSPC)
		return sd_bus_error_setf(error, BUS_ERROR_TOO_MANY, "there are at most %d pauses",
					 PAUSES_MAX);
	if (r < 0)
		return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED,
					 "the pause cannot be kept, so there is none: %s",
					 strerror(-r));
	return sd_bus_reply_method_return(call, "u", 0);
}

static int do_pause(sd_bus_message *call, const struct caller *who, void *userdata,
		    sd_bus_error *error)
{
	struct manager *m = userdata;
	struct hold h = {.level = HOLD_PAUSE};
	struct pause_order order;
	uint64_t now_usec;
	int r;

	r = read_pause(m, call, &order, error);
	if (r < 0)
		return r;
	now_usec = manager_wall_usec(m);
	if (order.persistent)
		return keep_pause(m, call, who, &order, now_usec, error);
	h.until_usec = order.usec > 0 ? now_usec + order.usec : 0;
	(void)snprintf(h.subject, sizeof(h.subject), "%s", order.gpu);
	(void)snprintf(h.reason, sizeof(h.reason), "%s", order.reason);
	return add_hold(m, call, who, &h, error);
}

int bus_method_pause(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	struct manager *m = userdata;
	struct pause_order order;
	int r;

	r = read_pause(m, call, &order, error);
	return r < 0 ? r : bus_authorise(m->bus, call, do_pause, error);
}

static int read_resume(const struct manager *m, sd_bus_message *call, const char **ret_gpu,
		       sd_bus_error *error)
{
	int r;

	r = sd_bus_message_read(call, "s", ret_gpu);
	if (r < 0)
		return r;
	/* A card may have gone from the configuration while it was paused. */
	if (strcmp(*ret_gpu, "*") == 0 || manager_has_pause_of(m, *ret_gpu))
		return 0;
	r = bus_refuse_unknown_gpu(m, *ret_gpu, error);
	if (r < 0)
		return r;
	if (manager_has_pause_of(m, "*"))
		return sd_bus_error_set(error, BUS_ERROR_ARGUMENT,
					"it is paused with all cards, so with '*' it goes on");
	return 0;
}

static int do_resume(sd_bus_message *call, const struct caller *who _unused_, void *userdata,
		     sd_bus_error *error)
{
	struct manager *m = userdata;
	const char *gpu;
	int r;

	r = read_resume(m, call, &gpu, error);
	if (r < 0)
		return r;
	r = manager_resume(m, gpu);
	if (r < 0)
		return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED,
					 "the pause cannot be forgotten, so it goes on: %s",
					 strerror(-r));
	return sd_bus_reply_method_return(call, NULL);
}

int bus_method_resume(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	struct manager *m = userdata;
	const char *gpu;
	int r;

	r = read_resume(m, call, &gpu, error);
	return r < 0 ? r : bus_authorise(m->bus, call, do_resume, error);
}

/* --- the configuration, and the power cap --------------------------------------------------- */

static int do_reload(sd_bus_message *call, const struct caller *who _unused_, void *userdata,
		     sd_bus_error *error)
{
	char why[CONFIG_TEXT_MAX];
	int r;

	r = manager_reload(userdata, why, sizeof(why));
	if (r < 0)
		return sd_bus_error_set(error, BUS_ERROR_CONFIG, why);
	return sd_bus_reply_method_return(call, NULL);
}

int bus_method_reload(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	struct manager *m = userdata;

	return bus_authorise(m->bus, call, do_reload, error);
}

static int do_set_power_cap(sd_bus_message *call, const struct caller *who _unused_, void *userdata,
			    sd_bus_error *error)
{
	char why[CONFIG_TEXT_MAX];
	const char *gpu;
	uint64_t uw;
	int r;

	r = sd_bus_message_read(call, "st", &gpu, &uw);
	if (r < 0)
		return r;
	r = manager_order_cap(userdata, gpu, uw, why, sizeof(why));
	if (r == -ENODEV)
		return sd_bus_error_set(error, BUS_ERROR_NO_GPU, why);
	if (r < 0)
		return sd_bus_error_set(error, BUS_ERROR_CAP, why);
	return sd_bus_reply_method_return(call, NULL);
}

int bus_method_set_power_cap(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	struct manager *m = userdata;
	const char *gpu;
	uint64_t uw;
	int r;

	r = sd_bus_message_read(call, "st", &gpu, &uw);
	if (r < 0)
		return r;
	if (strcmp(gpu, "*") != 0) {
		r = bus_refuse_unknown_gpu(m, gpu, error);
		if (r < 0)
			return r;
	}
	return bus_authorise(m->bus, call, do_set_power_cap, error);
}
