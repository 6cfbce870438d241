/* SPDX-License-Identifier: Apache-2.0 */
/* cofrisd as a whole: the event loop with its tick, the workers' sessions, one unit per governed
 * card, the actuator's link and the bus. */
#pragma once

#include "base/macros.h"
#include "daemon/admission.h"
#include "daemon/config.h"
#include "daemon/foreign.h"
#include "daemon/holds.h"
#include "daemon/link.h"
#include "daemon/pauses.h"
#include "daemon/tables.h"
#include "daemon/totals.h"
#include "governor/record.h"
#include <sys/queue.h>
#include <systemd/sd-device.h>
#include <systemd/sd-event.h>

/* Of what anybody may cause at any rate, behind ticks, workers and cards. */
#define MANAGER_PRIORITY_STRANGERS (SD_EVENT_PRIORITY_NORMAL + 10)

struct bus;
struct session;
struct unit;
TAILQ_HEAD(session_list, session);
TAILQ_HEAD(unit_list, unit);

struct manager_options {
	const char *config_file; /* NULL: the standard set */
	const char *runtime_dir, *actuator_path;
	int actuator_fd; /* a predecessor's connection, kept by the service manager; or -1 */
	struct tables_place place;
	const char *bus_address; /* NULL: the system bus; "none": no bus */
	const char *record_file; /* NULL: none */
	const char *pauses_file; /* NULL: none are kept */
};

struct manager {
	struct manager_options options;
	struct config *config;
	struct config_error config_error; /* of the last reload; text empty if it was good */
	sd_event *event;
	sd_event_source *tick, *late_tick, *listen, *startup;
	struct link *link;
	int actuator_error; /* 0: connected and listed */
	bool cards_known;   /* a list has come since the start */
	bool adopting;	    /* the connection was a predecessor's */
	bool cards_changed; /* the kernel says so; asked at the next tick */
	sd_device_monitor *devices;
	uint64_t ask_ns, ask_pause_ns, asked_ns;

	struct session_list sessions;
	uint32_t n_sessions;
	int accept_error; /* of the last accept, so that it is logged once */
	struct admission_log refused, misbehaved;
	/* Found stalled under a partial mask (masks.h), by the models of config. */
	bool masks_stalled[CONFIG_MAX_MODELS];
	struct unit_list units; /* cards with an enabled section */
	uint32_t n_units_ever;
	char own_cgroup[CGROUP_MAX];

	struct model_totals totals;
	struct holds holds;
	struct pauses pauses;
	/* Why those of before the start are not in force, until pauses are ordered anew; or empty.
	 */
	char pauses_error[160];
	struct bus *bus; /* NULL without one */
	bool bus_settled, cards_settled, ready, stopping;
	uint64_t last_tick_ns;
	/* What the service manager does for us (service.h). */
	bool watched, connection_kept;
	uint64_t watchdog_ns, last_watchdog_ns;
	char status[192]; /* one line for people: what is governed, or why nothing is */
	FILE *record;
	char *record_buffer;
};

/* -EBADMSG: the configuration will not do, which has been logged. */
int manager_new(const struct manager_options *options, struct manager **ret);
struct manager *manager_free(struct manager *m);
DEFINE_CLEANUP(struct manager *, manager_free)
/* Asks for the bus's name and the cards; the event loop does the rest. 0 or a negative errno. */
int manager_start(struct manager *m);
/* Starts and runs until SIGTERM or SIGINT; the exit status, or a negative errno. */
int manager_run(struct manager *m);

uint64_t manager_now_ns(const struct manager *m);
/* CLOCK_REALTIME, for what outlives a boot. */
uint64_t manager_wall_usec(const struct manager *m);
/* Lease of settings and directives: max(2 s, 4 polls). */
uint64_t manager_lease_ns(const struct manager *m);
struct unit *manager_find_unit(const struct manager *m, const char *bdf);
/* Reads the configuration again, derives every table, and only then swaps. On any error the old
 * one stays, and why gets the text with file:line. 0 or a negative errno. */
int manager_reload(struct manager *m, char *why, size_t size);
/* An operator's power cap for a card, or for all that are governed ("*"): if one cannot, none does.
 * uw: as struct unit has it. Obeyed by the next step, which is brought forward. 0; or -ENODEV (no
 * such card), -ERANGE, -EOPNOTSUPP, or -ENOMEM (some may have taken it), and why gets a text. */
int manager_order_cap(struct manager *m, const char *bdf, uint64_t uw, char *why, size_t size);
/* Takes a copy of an order of an operator who is there (holds.h); h->track is taken over if it
 * succeeds. Obeyed by a step that is brought forward, as its end is. 0, -EUSERS or -ENOSPC. */
int manager_hold(struct manager *m, const struct hold *h, uint32_t *ret_cookie);
/* why completes the journal's "it ...". */
void manager_release(struct manager *m, uint32_t cookie, const char *why);
/* Of everybody, as the bus that they are known by is lost. */
void manager_release_holds(struct manager *m);
/* A pause that is kept; replaces that of the same card. 0, -ENOSPC, or the errno of writing the
 * file, with nothing changed. */
int manager_keep_pause(struct manager *m, const struct pause *pause);
/* Ends all pauses of a card, or ("*") all. 0 or an errno, likewise. */
int manager_resume(struct manager *m, const char *gpu);
/* Whether a pause of exactly this name stands: of this card, or of all ("*"). */
bool manager_has_pause_of(const struct manager *m, const char *gpu);
/* bus_settled or cards_settled has become true: that part of the start-up has come to its end,
 * good or bad. */
void manager_startup_progress(struct manager *m);
/* A claim has been given back while stopping. */
void manager_stop_progress(struct manager *m);
bool manager_observes(const struct manager *m);
/* Appends n bytes that are already in record_buffer; a full disk ends the record, not the daemon.
 */
void manager_record(struct manager *m, int n);
