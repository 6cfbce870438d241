/* SPDX-License-Identifier: Apache-2.0 */
/* Two questions, each a call that is answered later: the bus is asked for the caller's credentials,
 * then polkit for what it thinks of the caller. Only where polkit says that a password would do,
 * and the caller allows to be asked for it, it is asked once more and given a person's time. */
#include "daemon/authorise.h"
#include "base/log.h"
#include "base/units.h"
#include "daemon/admission.h"
#include "daemon/bus-internal.h"
#include <errno.h>
#include <string.h>
#include <sys/queue.h>

#define POLKIT_NAME	  "org.freedesktop.PolicyKit1"
#define POLKIT_PATH	  "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE  POLKIT_NAME ".Authority"
#define POLKIT_INTERACTS  1u
#define POLKIT_USEC	  (5 * USEC_PER_SEC)
#define POLKIT_HUMAN_USEC (90 * USEC_PER_SEC)

/* The system bus gives a user 256 connections: one alone cannot use up what is for all. */
#define PENDING_MAX	       2560
#define PENDING_MAX_PER_SENDER 8
/* Of them at polkit, which may take its time. */
#define ASKING_MAX	   64
#define ASKING_MAX_PER_UID 8

struct pending {
	TAILQ_ENTRY(pending) entry;
	struct authorise *owner;
	sd_bus_message *call;
	sd_bus_slot *slot;
	authorised_fn go_on;
	void *userdata;
	struct caller who;
	bool asking, interacts;
	char cancellation[32];
};
TAILQ_HEAD(pending_list, pending);

struct authorise {
	sd_bus *bus; /* borrowed: the connection holds the calls that are answered to this */
	struct pending_list list;
	unsigned int n;
	uint64_t n_asked;
	bool logged;
	struct admission_log refused;
};

int authorise_new(sd_bus *bus, struct authorise **ret)
{
	struct authorise *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->bus = bus;
	TAILQ_INIT(&a->list);
	*ret = a;
	return 0;
}

static void pending_free(struct pending *p)
{
	TAILQ_REMOVE(&p->owner->list, p, entry);
	p->owner->n--;
	sd_bus_slot_unref(p->slot);
	sd_bus_message_unref(p->call);
	free(p);
}

struct authorise *authorise_free(struct authorise *a)
{
	if (!a)
		return NULL;
	while (!TAILQ_EMPTY(&a->list))
		pending_free(TAILQ_FIRST(&a->list));
	free(a);
	return NULL;
}

unsigned int authorise_pending(const struct authorise *a)
{
	return a->n;
}

/* --- the ends ------------------------------------------------------------------------------- */

/* A caller that has vanished gets no answer, which is nobody's fault. */
static void refuse(struct pending *p, const char *name, const char *text)
{
	if (p->asking && admission_log_once(&p->owner->refused, p->who.uid))
		log_warning("Refused %s to uid %u (pid %d): %s", sd_bus_message_get_member(p->call),
			    p->who.uid, p->who.pid, text);
	(void)sd_bus_reply_method_errorf(p->call, name, "%s", text);
	pending_free(p);
}

static void go_on(struct pending *p)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	int r;

	(void)sd_bus_message_rewind(p->call, /* complete= */ 1);
	r = p->go_on(p->call, &p->who, p->userdata, &error);
	if (r < 0 || sd_bus_error_is_set(&error))
		(void)sd_bus_reply_method_errno(p->call, r, &error);
	pending_free(p);
}

/* Without polkit only root is left, and root has not come this far. */
static void polkit_failed(struct pending *p, const char *why)
{
	if (!p->owner->logged)
		log_warning("No answer from polkit, so root alone may steer: %s", why);
	p->owner->logged = true;
	refuse(p, SD_BUS_ERROR_ACCESS_DENIED,
	       "polkit does not answer, so only root may steer the daemon");
}

/* --- polkit --------------------------------------------------------------------------------- */

static int ask_polkit(struct pending *p);

static void cancel(struct pending *p)
{
	(void)sd_bus_call_method_async(p->owner->bus, NULL, POLKIT_NAME, POLKIT_PATH,
				       POLKIT_INTERFACE, "CancelCheckAuthorization", NULL, NULL,
				       "s", p->cancellation);
}

static int on_polkit(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error _unused_)
{
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	struct pending *p = userdata;
	int yes, challenge, r;

	if (error) {
		if (sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY) ||
		    sd_bus_error_has_name(error, SD_BUS_ERROR_TIMEOUT))
			cancel(p);
		polkit_failed(p, error->message ? error->message : error->name);
		return 0;
	}
	r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
	if (r > 0)
		r = sd_bus_message_read(reply, "bb", &yes, &challenge);
	if (r <= 0) {
		polkit_failed(p, "its answer is none");
		return 0;
	}
	p->owner->logged = false;
	if (yes) {
		go_on(p);
		return 0;
	}
	if (challenge && !p->interacts &&
	    sd_bus_message_get_allow_interactive_authorization(p->call) > 0) {
		p->interacts = true;
		if (ask_polkit(p) < 0)
			polkit_failed(p, "it cannot be asked");
		return 0;
	}
	refuse(p, SD_BUS_ERROR_ACCESS_DENIED,
	       "only root and those that polkit allows org.cofris1.control may steer the daemon");
	return 0;
}

static int ask_polkit(struct pending *p)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	struct authorise *a = p->owner;
	int r;

	p->slot = sd_bus_slot_unref(p->slot);
	(void)snprintf(p->cancellation, sizeof(p->cancellation), "cofris-%lu", ++a->n_asked);
	r = sd_bus_message_new_method_call(a->bus, &m, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
					   "CheckAuthorization");
	if (r >= 0)
		r = sd_bus_message_append(m, "(sa{sv})sa{ss}us", "system-bus-name", 1, "name", "s",
					  p->who.sender, BUS_ACTION, 0,
					  p->interacts ? POLKIT_INTERACTS : 0, p->cancellation);
	if (r >= 0)
		r = sd_bus_call_async(a->bus, &p->slot, m, on_polkit, p,
				      p->interacts ? POLKIT_HUMAN_USEC : POLKIT_USEC);
	return r;
}

static bool too_many_ask(const struct pending *p)
{
	uint32_t n = 0, of_uid = 0;
	const struct pending *other;

	TAILQ_FOREACH(other, &p->owner->list, entry)
	{
		n += other->asking;
		of_uid += other->asking && other->who.uid == p->who.uid;
	}
	return n >= ASKING_MAX || of_uid >= ASKING_MAX_PER_UID;
}

/* --- credentials ---------------------------------------------------------------------------- */

/* A dictionary of which two entries count; a bus may tell more. */
static int read_credentials(sd_bus_message *reply, struct caller *who)
{
	bool has_uid = false;
	int r;

	r = sd_bus_message_enter_container(reply, 'a', "{sv}");
	if (r < 0)
		return r;
	while ((r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
		const char *key;
		uint32_t value;

		r = sd_bus_message_read(reply, "s", &key);
		if (r < 0)
			return r;
		if (strcmp(key, "UnixUserID") == 0 || strcmp(key, "ProcessID") == 0) {
			r = sd_bus_message_read(reply, "v", "u", &value);
			if (r < 0)
				return r;
			if (key[0] == 'U') {
				who->uid = value;
				has_uid = true;
			} else {
				who->pid = (pid_t)value;
			}
		} else {
			r = sd_bus_message_skip(reply, "v");
			if (r < 0)
				return r;
		}
		r = sd_bus_message_exit_container(reply);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : has_uid ? 0 : -ENODATA;
}

static int on_credentials(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error _unused_)
{
	struct pending *p = userdata;

	if (sd_bus_message_get_error(reply) || read_credentials(reply, &p->who) < 0) {
		refuse(p, SD_BUS_ERROR_ACCESS_DENIED, "the bus does not tell who calls");
		return 0;
	}
	if (p->who.uid == 0) {
		go_on(p);
		return 0;
	}
	if (too_many_ask(p)) {
		refuse(p, BUS_ERROR_TOO_MANY, "too many calls wait for polkit");
		return 0;
	}
	p->asking = true;
	if (ask_polkit(p) < 0)
		polkit_failed(p, "it cannot be asked");
	return 0;
}

static bool too_many_wait(const struct authorise *a, const char *sender)
{
	const struct pending *p;
	unsigned int n = 0;

	TAILQ_FOREACH(p, &a->list, entry)
	n += strcmp(p->who.sender, sender) == 0;
	return a->n >= PENDING_MAX || n >= PENDING_MAX_PER_SENDER;
}

int authorise(struct authorise *a, sd_bus_message *call, authorised_fn fn, void *userdata,
	      sd_bus_error *error)
{
	const char *sender = sd_bus_message_get_sender(call);
	struct pending *p;
	int r;

	if (!sender)
		return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED, "a call of nobody");
	if (too_many_wait(a, sender))
		return sd_bus_error_set(error, BUS_ERROR_TOO_MANY, "too many calls wait");
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->owner = a;
	p->call = sd_bus_message_ref(call);
	p->go_on = fn;
	p->userdata = userdata;
	p->who.sender = sender;
	TAILQ_INSERT_TAIL(&a->list, p, entry);
	a->n++;
	r = sd_bus_call_method_async(a->bus, &p->slot, "org.freedesktop.DBus",
				     "/org/freedesktop/DBus", "org.freedesktop.DBus",
				     "GetConnectionCredentials", on_credentials, p, "s", sender);
	if (r < 0) {
		pending_free(p);
		return r;
	}
	return 1;
}
