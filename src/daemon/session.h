/* SPDX-License-Identifier: Apache-2.0 */
/* One worker's connection. */
#pragma once

#include "daemon/manager.h"
#include "daemon/meter.h"

struct session {
	TAILQ_ENTRY(session) entry; /* manager::sessions */
	struct manager *manager;
	struct channel_connection *connection;
	sd_event_source *io, *wake, *hello_timer;
	/* From here on valid once the HELLO was accepted (unit is not NULL). */
	struct unit *unit; /* the first of its cards, whose sequence directs it */
	struct unit *units[CHANNEL_MAX_DEVICES];
	uint32_t n_units; /* its cards; above one they are a clock group */
	char model[MODEL_NAME_MAX + 1], instance[MODEL_NAME_MAX + 1];
	uint32_t model_index; /* of the configuration in force */
	uint32_t worker;      /* of the unit's sequence */
	bool follows_mask, follows_batch;
	char cgroup[CGROUP_MAX];
	struct meter meter;
};

/* Takes all connections that wait. For sd_event_add_io(). */
int session_on_connect(sd_event_source *source, int fd, uint32_t revents, void *manager);
struct session *session_free(struct session *s);
/* Whether the worker is one of u. */
bool session_on(const struct session *s, const struct unit *u);
/* Copies the worker's counters into the meter and reports what it has acknowledged. */
void session_sample(struct session *s, uint64_t now_ns);
/* Ends the interval once all its cards have taken it in. */
void session_next_interval(struct session *s, uint64_t now_ns);
