/* SPDX-License-Identifier: Apache-2.0 */
/* A machine of two cards for tests of the simulated thunk, found by $COFRIS_SIM. */
#pragma once

#include "base/macros.h"
#include "sim/card.h"
#include "sim/hsakmt/hsakmt.h"
#include "sim/identity.h"
#include "support/cmocka-includes.h"

#define FIXTURE_CARDS 2
#define CPU_NODE      0
#define CARD_0	      1
#define CARD_1	      2

struct hsakmt_fixture {
	char path[64];
	struct sim_machine *machine;
};

static inline int hsakmt_setup(void **state)
{
	struct hsakmt_fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	(void)snprintf(f->path, sizeof(f->path), "/tmp/test-hsakmt.%d", getpid());
	(void)unlink(f->path);
	assert_int_equal(sim_machine_create(f->path, FIXTURE_CARDS, 1.0, 1, &f->machine), 0);
	(void)snprintf(f->machine->device_ini, sizeof(f->machine->device_ini), "%s",
		       COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini");
	for (uint32_t i = 0; i < FIXTURE_CARDS; i++)
		(void)snprintf(f->machine->cards[i].bdf, sizeof(f->machine->cards[i].bdf),
			       "0000:%02x:00.0", 0x43 + 0x20 * i);
	(void)setenv(SIM_ENV, f->path, 1);
	return 0;
}

static inline int hsakmt_teardown(void **state)
{
	struct hsakmt_fixture *f = *state;

	sim_machine_unmap(f->machine);
	(void)unlink(f->path);
	free(f);
	return 0;
}

static inline int hsakmt_setup_open(void **state)
{
	assert_int_equal(hsakmt_setup(state), 0);
	assert_int_equal(hsaKmtOpenKFD(), HSAKMT_STATUS_SUCCESS);
	return 0;
}

static inline int hsakmt_teardown_open(void **state)
{
	/* Every test leaves the driver open once. */
	assert_int_equal(hsaKmtCloseKFD(), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtCloseKFD(), HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED);
	return hsakmt_teardown(state);
}
