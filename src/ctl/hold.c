/* SPDX-License-Identifier: Apache-2.0 */
/* cofrisctl hold: an order to the daemon that lasts as long as this process, and with it the
 * command that it runs. The daemon drops it when this connection to the bus ends, whatever ends it.
 * A daemon that comes anew knows nothing of it, so it is told again; so it is behind a bus that
 * comes anew, on a connection of its own. */
#include "base/log.h"
#include "base/parse.h"
#include "ctl/commands.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-event.h>

#define RETRY_USEC USEC_PER_SEC

/* As env(1) has them. */
enum { EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127, EXIT_SIGNAL = 128 };

struct hold {
	struct ctl_client *client;
	const char *model, *reason, *level;
	char **command; /* empty: until a signal */
	pid_t child;
	bool held;
	bool watched;	/* what happens on this connection reaches this program */
	char said[512]; /* why it is not held, if that was said */
	uint32_t cookie;
	int status; /* to exit with */
	sd_event *event;
	sd_event_source *retry;
};

static enum ctl_exit take(struct hold *h)
{
	enum ctl_exit result =
		ctl_call_u32(h->client, "Hold", &h->cookie, "sss", h->model, h->reason, h->level);

	h->held = result == CTL_OK;
	return result;
}

static void try_later(struct hold *h)
{
	(void)sd_event_source_set_time_relative(h->retry, RETRY_USEC);
	(void)sd_event_source_set_enabled(h->retry, SD_EVENT_ONESHOT);
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_)
{
	struct hold *h = userdata;
	const char *name, *before, *now;

	if (sd_bus_message_read(m, "sss", &name, &before, &now) < 0 || strcmp(name, CTL_NAME) != 0)
		return 0;
	/* A daemon that the bus has started for the call that it held by. */
	if (!*before && h->held)
		return 0;
	if (h->held)
		log_warning("cofrisd has left the bus: nothing is held until it is back");
	h->held = false;
	/* Not from in here: its answer may be behind messages that are still to be dispatched. */
	if (*now && sd_event_source_set_time_relative(h->retry, 0) >= 0)
		(void)sd_event_source_set_enabled(h->retry, SD_EVENT_ONESHOT);
	return 0;
}

/* A bus that ends does not tell of the names that end with it. */
static int on_disconnected(sd_bus_message *m _unused_, void *userdata, sd_bus_error *error _unused_)
{
	struct hold *h = userdata;

	if (h->held)
		log_warning("the bus is gone: nothing is held until it is back");
	h->held = h->watched = false;
	try_later(h);
	return 0;
}

/* Connects if there is no connection, and hears of what ends a hold on it. */
static enum ctl_exit watch(struct hold *h)
{
	struct ctl_client *c = h->client;
	enum ctl_exit result;
	int r;

	if (!c->bus || sd_bus_is_open(c->bus) <= 0)
		h->watched = false;
	result = ctl_connect(c);
	if (result != CTL_OK || h->watched)
		return result;
	r = sd_bus_match_signal(c->bus, NULL, "org.freedesktop.DBus.Local", NULL,
				"org.freedesktop.DBus.Local", "Disconnected", on_disconnected, h);
	if (r >= 0)
		r = sd_bus_match_signal(c->bus, NULL, "org.freedesktop.DBus",
					"/org/freedesktop/DBus", "org.freedesktop.DBus",
					"NameOwnerChanged", on_owner_changed, h);
	if (r >= 0)
		r = sd_bus_attach_event(c->bus, h->event, 0);
	if (r < 0) {
		(void)snprintf(c->error, sizeof(c->error), "Failed to watch the bus: %s",
			       strerror(-r));
		ctl_client_deinit(c);
		return CTL_UNREACHABLE;
	}
	h->watched = true;
	return CTL_OK;
}

/* Each reason once, however often it is tried. */
static void say_not_held(struct hold *h)
{
	if (strcmp(h->said, h->client->error) == 0)
		return;
	(void)snprintf(h->said, sizeof(h->said), "%s", h->client->error);
	log_warning("not held, tried again each second: %s", h->said);
}

static int on_retry(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct hold *h = userdata;

	enum ctl_exit result = watch(h);

	/* Nobody is asked for a password each second. */
	if (result == CTL_OK && h->said[0])
		(void)sd_bus_set_allow_interactive_authorization(h->client->bus, 0);
	if (result == CTL_OK && take(h) == CTL_OK) {
		log_info("cofrisd is back: held again");
		h->said[0] = '\0';
	} else {
		say_not_held(h);
		try_later(h);
	}
	return 0;
}

static int on_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	struct hold *h = userdata;

	if (h->child <= 0)
		return sd_event_exit(sd_event_source_get_event(s), 0);
	/* What a terminal sends has reached the command by itself. */
	if (si->ssi_code != SI_KERNEL)
		(void)kill(h->child, (int)si->ssi_signo);
	return 0;
}

static int on_child(sd_event_source *s, const siginfo_t *si, void *userdata)
{
	struct hold *h = userdata;

	h->child = 0;
	h->status = si->si_code == CLD_EXITED ? si->si_status : EXIT_SIGNAL + si->si_status;
	return sd_event_exit(sd_event_source_get_event(s), 0);
}

static int start_command(struct hold *h, const sigset_t *mask)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		(void)sigprocmask(SIG_SETMASK, mask, NULL);
		(void)execvp(h->command[0], h->command);
		(void)log_error_errno(-errno, "%s: %m", h->command[0]);
		_exit(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN);
	}
	h->child = pid;
	return sd_event_add_child(h->event, NULL, pid, WEXITED, on_child, h);
}

static int prepare(struct hold *h)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	int r = sd_event_new(&h->event);

	for (size_t i = 0; i < ARRAY_SIZE(signals) && r >= 0; i++)
		r = sd_event_add_signal(h->event, NULL, signals[i], on_signal, h);
	if (r >= 0)
		r = sd_event_add_time(h->event, &h->retry, CLOCK_MONOTONIC, UINT64_MAX, 0, on_retry,
				      h);
	if (r >= 0)
		r = sd_event_source_set_enabled(h->retry, SD_EVENT_OFF);
	if (r >= 0 && watch(h) != CTL_OK) {
		log_error("%s", h->client->error);
		r = -ENOTCONN;
	}
	return r;
}

static void say_held(const struct ctl *ctl, const struct hold *h)
{
	json_t *root;

	if (!ctl_json(ctl)) {
		if (!h->command[0])
			log_info("%s held at %s until Ctrl-C", h->model, h->level);
		return;
	}
	root = json_pack("{s:i, s:b, s:I, s:s, s:s, s:s}", "schema", 1, "ok", 1, "cookie",
			 (json_int_t)h->cookie, "model", h->model, "level", h->level, "reason",
			 h->reason);
	(void)json_dumpf(root, stdout, JSON_COMPACT);
	(void)putchar('\n');
	(void)fflush(stdout);
	json_decref(root);
}

/* Between the daemon's yes and the end. */
static int keep(const struct ctl *ctl, struct hold *h, const sigset_t *mask)
{
	int r = prepare(h);

	if (r >= 0) {
		say_held(ctl, h);
		r = h->command[0] ? start_command(h, mask) : 0;
	}
	if (r >= 0)
		r = sd_event_loop(h->event);
	if (h->held)
		(void)ctl_call(h->client, "Release", CTL_TIMEOUT, "u", h->cookie);
	if (h->client->bus)
		(void)sd_bus_detach_event(h->client->bus);
	sd_event_source_unref(h->retry);
	sd_event_unref(h->event);
	return r < 0 ? log_error_errno(r, "Failed to hold: %m") : 0;
}

static int parse(const struct ctl *ctl, struct hold *h)
{
	h->model = ctl->words[0];
	h->level = ctl->values[OPTION_LEVEL] ?: "full-speed";
	h->command = ctl->words + 1;
	if (strcmp(h->model, "*") != 0 && !model_name_is_valid(h->model)) {
		log_error("'%.60s' is no name of a model, nor '*' for every one", h->model);
		return -EINVAL;
	}
	if (strcmp(h->level, "full-speed") != 0 && strcmp(h->level, "rated") != 0) {
		log_error("--level %.60s: expected 'full-speed' or 'rated'", h->level);
		return -EINVAL;
	}
	return command_reason(ctl, h->command[0] ? "while a command runs" : "by hand", &h->reason);
}

enum ctl_exit run_hold(struct ctl *ctl)
{
	struct hold h = {.client = &ctl->client};
	sigset_t set, before;
	enum ctl_exit result;

	if (parse(ctl, &h) < 0)
		return CTL_USAGE;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGQUIT);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &set, &before);
	result = take(&h);
	if (result != CTL_OK)
		return result;
	if (keep(ctl, &h, &before) < 0)
		return CTL_REFUSED;
	ctl->client.error[0] = '\0';
	return (enum ctl_exit)h.status;
}
