/* SPDX-License-Identifier: Apache-2.0 */
/* One worker's connection. */
#pragma once

#include "cu-mask/cu-mask.h"
#include "daemon/manager.h"
#include "daemon/meter.h"

/* What a worker has been told about its mask, and under which name. */
struct session_directive {
	uint64_t epoch;
	struct cu_shape shape; /* {0, 0}: all CUs */
	struct cu_mask mask;   /* n_bits of 0: all CUs */
};
/* Why a worker is not believed (doubts.h). */
enum session_doubt {
	SESSION_BELIEVED,
	SESSION_SILENT,
	SESSION_INVALID,
	SESSION_WAKES,
	SESSION_LATE,
};
/* What the governor stops to believe of a model's workers. */
enum doubt_subject { DOUBT_WAKES, DOUBT_LATE, DOUBT_SUBJECTS };

/* As many as are remembered; a worker that is further behind than that is known to be so. */
#define SESSION_DIRECTIVES 8

struct session {
	TAILQ_ENTRY(session) entry; /* manager::sessions */
	struct manager *manager;
	struct channel_connection *connection;
	sd_event_source *io, *wake, *hello_timer;
	bool stranger; /* allowed for no model when it came */
	/* From here on valid once the HELLO was accepted (unit is not NULL). */
	struct unit *unit; /* the first of its cards, whose sequence directs it */
	struct unit *units[CHANNEL_MAX_DEVICES];
	uint32_t n_units; /* its cards; above one they are a clock group */
	char model[MODEL_NAME_MAX + 1], instance[MODEL_NAME_MAX + 1];
	uint32_t model_index; /* of the configuration in force */
	uint32_t worker;      /* of the unit's sequence */
	bool follows_mask, follows_batch;
	bool counts; /* requests; otherwise it only follows */
	char cgroup[CGROUP_MAX];
	struct meter meter;
	enum session_doubt doubt;	  /* by the last poll's counts */
	uint64_t doubted[DOUBT_SUBJECTS]; /* of its wakes and late requests: what is doubted */
	bool logged_invalid;
	uint32_t n_directives; /* ever */
	struct session_directive directives[SESSION_DIRECTIVES];
};

/* Takes all connections that wait. For sd_event_add_io(). */
int session_on_connect(sd_event_source *source, int fd, uint32_t revents, void *manager);
struct session *session_free(struct session *s);
/* Whether the worker is one of u. */
bool session_on(const struct session *s, const struct unit *u);
/* Copies the worker's counters into the meter and reports what it has acknowledged. */
void session_sample(struct session *s, uint64_t now_ns);
/* Publishes a directive, whose mask is that of d. */
void session_direct(struct session *s, const struct session_directive *d,
		    struct channel_directive *directive);
/* The directive sent last, and the one that the worker says it runs under; NULL: none, or none that
 * is known. */
const struct session_directive *session_wanted(const struct session *s);
const struct session_directive *session_acknowledged(const struct session *s);
/* Ends the interval once all its cards have taken it in. */
void session_next_interval(struct session *s, uint64_t now_ns, bool early);
