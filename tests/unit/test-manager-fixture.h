/* SPDX-License-Identifier: Apache-2.0 */
/* The whole daemon but main(), in this process: real worker channels by libcofris, and in place of
 * the actuator a fake in the same event loop, which does as each test says. Waiting is for a
 * condition, with a deadline. */
#pragma once

#include "actuator/protocol.h"
#include "base/macros.h"
#include "base/units.h"
#include "cofris/cofris.h"
#include "daemon/manager.h"
#include "daemon/unit.h"
#include "support/cmocka-includes.h"

#define BDF	  "0000:43:00.0"
#define OTHER_BDF "0000:63:00.0"

struct fake_actuator {
	int listen_fd, fd;
	sd_event_source *listen, *io;
	bool mute, simulated, no_clock_control, claimed;
	int claim_error, set_error;
	uint32_t set_reads_back_mhz; /* 0: as written */
	uint32_t verified, fields, throttle;
	int32_t foreign_pid;
	uint32_t counts[ACTUATOR_OP_MAX], writes_to_other;
	struct actuator_request asked_set, last_set; /* the one with its answer, or without */
	struct actuator_state state;
	struct fake_actuator *second; /* the other card, by the same socket */
};

struct fixture {
	char root[64], surfaces[128], config[128], socket[128];
	struct manager_options options;
	struct manager *manager;
	struct fake_actuator actuator, second;
	struct cofris_channel *worker, *other_worker;
	int exit_code;
	bool exited;
	uint32_t reports;    /* of workers, beside begin and end */
	bool mask_surface;   /* the surface has half a card at the highest clock */
	_Atomic int applies; /* what the worker's apply callback answers */
	_Atomic uint32_t mask_bits, mask_word; /* what it was told last */
};

extern const struct cofris_device both_cards[2];

#define DAEMON	 "[daemon]\npoll_interval = 100ms\n"
#define GPU	 "[gpu " BDF "]\n"
#define MODEL	 "[model resnet50]\nslo = 100ms\n"
#define STANDARD DAEMON GPU MODEL
/* As published: no dwell, so that a limit falls with the next decision. For tests of something
 * else. */
#define PROMPT "policy = coordinated\n"

int setup(void **state);
int teardown(void **state);
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

void write_text(const char *path, const char *text);
void write_surface(struct fixture *f);
void start(struct fixture *f, const char *config);
/* Fails the test with the reason if the configuration is not taken. */
void reload(struct fixture *f, const char *config);
struct cofris_channel *open_worker(struct fixture *f, const struct cofris_device *devices,
				   uint32_t n);
void start_worker(struct fixture *f);

void fake_listen(struct fixture *f);
void fake_unlisten(struct fake_actuator *a);
/* The fake's end of a connection made otherwise. */
void fake_serve(struct fixture *f, int fd);

uint64_t monotonic_ns(void);
/* One turn of the daemon's loop. */
void turn(struct fixture *f);

/* Runs the loop until the condition holds; fails after a minute. */
#define RUN_UNTIL(f, condition)                                                                    \
	do {                                                                                       \
		uint64_t deadline_ns = monotonic_ns() + 60 * NSEC_PER_SEC;                         \
		while (!(condition)) {                                                             \
			if (monotonic_ns() > deadline_ns)                                          \
				fail_msg("not within 60 s: %s", #condition);                       \
			turn(f);                                                                   \
		}                                                                                  \
	} while (0)

struct unit *unit(const struct fixture *f);
/* Whether the card is in this state for this reason, as users see them. */
bool unit_is(const struct unit *u, const char *state, const char *reason);
void run_decisions(struct fixture *f, uint32_t n);
/* Until the card is claimed and a limit is set, whichever. */
void start_claimed(struct fixture *f, const char *config);
/* Until its limit has been lowered. */
void start_governed(struct fixture *f, const char *config);
