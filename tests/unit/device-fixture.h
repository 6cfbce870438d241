/* SPDX-License-Identifier: Apache-2.0 */
/* A device of the simulated thunk on a machine of its own, without ROCr: memory and events are the
 * test's, packets are written by hand. */
#pragma once

#include "plant/share.h"
#include "sim/hsakmt/hsakmt.h"
#include <hsa/amd_hsa_queue.h>
#include <hsa/amd_hsa_signal.h>
#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>

#define RING_PACKETS 256
#define RING_BYTES   (RING_PACKETS * 64)
#define SDMA_BYTES   4096
#define TICK_NS	     40

/* ---- what the thunk's other half would be ---- */

void *card_alloc(uint64_t size); /* page-aligned, zeroed, reachable by the card */
void card_free(void *p);
/* The card reaches it no more; it stays mapped. Returns p. */
char *card_take_out(void *p);
void card_free_all(void);
uint32_t events_raised(uint32_t event_id);
/* How many page faults there were, and where the last one was. */
uint32_t faults_raised(uint64_t *ret_address);
void events_reset(void);

/* ---- a machine ---- */

struct machine {
	char folder[64], path[96];
	struct sim_machine *m;
	struct plant_device *profile;
	struct plant_cus cus;
};
void machine_setup(struct machine *m, double time_scale);
void machine_teardown(struct machine *m);
uint64_t machine_now_ns(const struct machine *m);

/* ---- queues and packets ---- */

struct test_queue {
	struct device_queue *q;
	amd_queue_t *amd;
	char *ring;
	volatile uint64_t *doorbell;
	uint64_t written; /* packets or bytes */
};
void queue_open(struct device *d, struct test_queue *q);
void queue_close(struct test_queue *q);
void sdma_open(struct device *d, struct test_queue *q);

amd_signal_t *signal_new(int64_t value);
/* Within a minute, or the test fails. */
void signal_wait(const amd_signal_t *s, int64_t value);
double signal_ns(const amd_signal_t *s);
double signal_start_ns(const amd_signal_t *s);

/* A code object in the card's memory with kernels of these names (NULL-terminated), and a note. */
struct code {
	char *image;
	uint64_t descriptors; /* offset of the first one, 64 bytes each */
};
void code_new(struct code *c, const char *const *names, const char *note);
uint64_t code_kernel(const struct code *c, uint32_t index);

struct kernel_args {
	uint64_t flop, bytes; /* of a workgroup, as the note "k flop=@0 bytes=@8" reads them */
};
struct launch {
	uint64_t object;
	void *args;
	uint32_t workgroups; /* of 256 items */
	bool no_barrier;
	amd_signal_t *signal;
};
void *ring_slot(struct test_queue *q, uint64_t index);
void put_packet(struct test_queue *q, const void *packet);
void ring_doorbell(struct test_queue *q);
void put_kernel(struct test_queue *q, const struct launch *l);
void put_barrier(struct test_queue *q, uint16_t type, amd_signal_t *const *deps, uint32_t n,
		 amd_signal_t *done);
void put_sdma(struct test_queue *q, const uint32_t *dwords, uint32_t n);
