/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends that a daemon on a bus meets.
 *
 * bus-peer ADDRESS client [interactive] calls methods of org.cofris1.Manager, a line of stdin each:
 * METHOD ARGUMENT..., or "flood N METHOD ARGUMENT..." without waiting between them. It answers each
 * with "ok VALUE" or "error NAME: TEXT".
 *
 * bus-peer ADDRESS polkit answers as polkit would, by the last line of stdin: yes, no, challenge,
 * slow, error, garbage, a user's number for whom it is yes, or later: as the next line says, when
 * it comes. It tells of each question ("asked NAME FLAGS", "cancelled") and says "ready" when it
 * has taken a line. */
#include "base/macros.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#define LINE_MAX_BYTES 4096
#define FLOOD_MAX      100000
#define LATER_MAX      16

static const struct method {
	const char *name, *in;
	char out; /* 0: nothing */
} methods[] = {
	{"Reload", "", 0},	{"SetPowerCap", "st", 0}, {"Hold", "sss", 'u'},
	{"Release", "u", 0},	{"Pause", "ssbt", 'u'},	  {"Resume", "s", 0},
	{"GetStatus", "", 's'}, {"Verify", "s", 's'},	  {"GetTable", "s", 's'},
};

static const struct method *find_method(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_SIZE(methods); i++)
		if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	return NULL;
}

/* --- a client ------------------------------------------------------------------------------- */

static int append(sd_bus_message *m, char type, const char *word)
{
	switch (type) {
	case 's':
		return sd_bus_message_append(m, "s", word);
	case 'u':
		return sd_bus_message_append(m, "u", (uint32_t)strtoul(word, NULL, 10));
	case 'b':
		return sd_bus_message_append(m, "b", strcmp(word, "yes") == 0);
	default:
		return sd_bus_message_append(m, "t", (uint64_t)strtoull(word, NULL, 10));
	}
}

static int make_call(sd_bus *bus, const struct method *method, char *words, bool interactive,
		     sd_bus_message **ret)
{
	int r;

	r = sd_bus_message_new_method_call(bus, ret, "org.cofris1", "/org/cofris1",
					   "org.cofris1.Manager", method->name);
	if (r >= 0 && interactive)
		r = sd_bus_message_set_allow_interactive_authorization(*ret, 1);
	for (const char *type = method->in; r >= 0 && *type; type++) {
		const char *word = strsep(&words, " ");

		r = append(*ret, *type, word ? word : "");
	}
	return r;
}

static void print_reply(sd_bus_message *reply, char out)
{
	const char *text = "";
	uint32_t number;

	if (out == 's' && sd_bus_message_read(reply, "s", &text) > 0)
		(void)printf("ok %s\n", text);
	else if (out == 'u' && sd_bus_message_read(reply, "u", &number) > 0)
		(void)printf("ok %u\n", number);
	else
		(void)puts("ok");
}

static void call_once(sd_bus *bus, char *line, bool interactive)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	const struct method *method = find_method(strsep(&line, " "));
	int r = method ? make_call(bus, method, line, interactive, &m) : -EINVAL;

	if (r >= 0)
		r = sd_bus_call(bus, m, 120000000, &error, &reply);
	if (r >= 0)
		print_reply(reply, method->out);
	else
		(void)printf("error %s: %s\n", error.name ? error.name : strerror(-r),
			     error.message ? error.message : "");
}

struct flood {
	uint32_t n_ok, n_errors;
	char first_error[128];
};

static int on_flood_reply(sd_bus_message *reply, void *userdata, sd_bus_error *e _unused_)
{
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	struct flood *f = userdata;

	if (error && f->n_errors++ == 0)
		(void)snprintf(f->first_error, sizeof(f->first_error), "%s", error->name);
	f->n_ok += !error;
	return 0;
}

static void flood(sd_bus *bus, char *line, bool interactive)
{
	uint32_t n = (uint32_t)strtoul(line, &line, 10);
	const struct method *method;
	struct flood f = {.first_error = "none"};
	char *words = line + 1;

	method = find_method(strsep(&words, " "));
	n = MIN(n, (uint32_t)FLOOD_MAX);
	for (uint32_t i = 0; method && i < n; i++) {
		_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
		char copy[LINE_MAX_BYTES];

		(void)snprintf(copy, sizeof(copy), "%s", words ? words : "");
		if (make_call(bus, method, copy, interactive, &m) < 0 ||
		    sd_bus_call_async(bus, NULL, m, on_flood_reply, &f, 120000000) < 0)
			break;
		/* As many as the bus lets wait. */
		while (i - f.n_ok - f.n_errors > 64)
			if (sd_bus_process(bus, NULL) == 0)
				(void)sd_bus_wait(bus, 1000000);
	}
	while (f.n_ok + f.n_errors < n)
		if (sd_bus_process(bus, NULL) == 0)
			(void)sd_bus_wait(bus, 1000000);
	(void)printf("ok %u %u %s\n", f.n_ok, f.n_errors, f.first_error);
}

static int run_client(sd_bus *bus, bool interactive)
{
	char line[LINE_MAX_BYTES];

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "flood ", 6) == 0)
			flood(bus, line + 6, interactive);
		else
			call_once(bus, line, interactive);
		(void)fflush(stdout);
	}
	return 0;
}

/* --- polkit --------------------------------------------------------------------------------- */

struct polkit {
	sd_bus *bus;
	char mode[64];
	char line[64];
	size_t n;
	sd_bus_message *later[LATER_MAX];
	size_t n_later;
};

static int answer(struct polkit *p, sd_bus_message *call, const char *name, bool interacts)
{
	bool yes = strcmp(p->mode, "yes") == 0;
	bool challenge = strcmp(p->mode, "challenge") == 0;
	char *end;
	unsigned long wanted = strtoul(p->mode, &end, 10);

	if (end != p->mode) {
		_cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
		uid_t uid;

		yes = sd_bus_get_name_creds(p->bus, name, SD_BUS_CREDS_EUID, &creds) >= 0 &&
		      sd_bus_creds_get_euid(creds, &uid) >= 0 && uid == wanted;
	}
	/* The person types the password as soon as it is asked for. */
	yes |= challenge && interacts;
	return sd_bus_reply_method_return(call, "(bba{ss})", (int)yes, (int)(challenge && !yes), 0);
}

static int on_check(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	struct polkit *p = userdata;
	const char *kind, *key, *name, *action;
	uint32_t flags;
	int r;

	r = sd_bus_message_read(call, "(sa{sv})s", &kind, 1, &key, "s", &name, &action);
	if (r >= 0)
		r = sd_bus_message_skip(call, "a{ss}");
	if (r >= 0)
		r = sd_bus_message_read(call, "u", &flags);
	if (r < 0)
		return r;
	if (strcmp(kind, "system-bus-name") != 0 || strcmp(key, "name") != 0 ||
	    strcmp(action, "org.cofris1.control") != 0)
		return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "asked of %s", action);
	(void)printf("asked %s %u\n", name, flags);
	(void)fflush(stdout);
	if (strcmp(p->mode, "later") == 0 && p->n_later < LATER_MAX) {
		p->later[p->n_later++] = sd_bus_message_ref(call);
		return 1;
	}
	if (strcmp(p->mode, "slow") == 0)
		return 1;
	if (strcmp(p->mode, "error") == 0)
		return sd_bus_error_set(error, SD_BUS_ERROR_FAILED, "as told");
	if (strcmp(p->mode, "garbage") == 0)
		return sd_bus_reply_method_return(call, "bb", 1, 0);
	return answer(p, call, name, flags & 1);
}

static int on_cancel(sd_bus_message *call, void *userdata _unused_, sd_bus_error *error _unused_)
{
	(void)puts("cancelled");
	(void)fflush(stdout);
	return sd_bus_reply_method_return(call, NULL);
}

static const sd_bus_vtable authority[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("CheckAuthorization", "(sa{sv})sa{ss}us", "(bba{ss})", on_check,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("CancelCheckAuthorization", "s", "", on_cancel, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

static int on_stdin(sd_event_source *s, int fd, uint32_t revents _unused_, void *userdata)
{
	struct polkit *p = userdata;
	char c;

	if (read(fd, &c, 1) <= 0)
		return sd_event_exit(sd_event_source_get_event(s), 0);
	if (c != '\n') {
		if (p->n + 1 < sizeof(p->line))
			p->line[p->n++] = c;
		return 0;
	}
	p->line[p->n] = '\0';
	(void)memcpy(p->mode, p->line, sizeof(p->mode));
	p->n = 0;
	while (p->n_later > 0) {
		sd_bus_message *call = p->later[--p->n_later];

		(void)answer(p, call, "", false);
		sd_bus_message_unref(call);
	}
	(void)puts("ready");
	(void)fflush(stdout);
	return 0;
}

static int run_polkit(sd_bus *bus)
{
	_cleanup_(sd_event_unrefp) sd_event *event = NULL;
	struct polkit p = {.bus = bus};
	int r;

	r = sd_event_new(&event);
	if (r >= 0)
		r = sd_bus_attach_event(bus, event, 0);
	if (r >= 0)
		r = sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/PolicyKit1/Authority",
					     "org.freedesktop.PolicyKit1.Authority", authority, &p);
	if (r >= 0)
		r = sd_bus_request_name(bus, "org.freedesktop.PolicyKit1", 0);
	if (r >= 0)
		r = sd_event_add_io(event, NULL, STDIN_FILENO, EPOLLIN, on_stdin, &p);
	if (r < 0)
		return r;
	(void)puts("ready");
	(void)fflush(stdout);
	return sd_event_loop(event);
}

int main(int argc, char **argv)
{
	_cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
	bool interactive = argc == 4 && strcmp(argv[3], "interactive") == 0;
	int r;

	if (argc < 3 || (argc == 4 && !interactive) || argc > 4) {
		(void)fputs("usage: bus-peer ADDRESS client [interactive] | polkit\n", stderr);
		return 2;
	}
	r = sd_bus_new(&bus);
	if (r >= 0)
		r = sd_bus_set_address(bus, argv[1]);
	if (r >= 0)
		r = sd_bus_set_bus_client(bus, 1);
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r >= 0)
		r = strcmp(argv[2], "polkit") == 0 ? run_polkit(bus) : run_client(bus, interactive);
	if (r < 0)
		(void)fprintf(stderr, "bus-peer: %s\n", strerror(-r));
	return r < 0;
}
