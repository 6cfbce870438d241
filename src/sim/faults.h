/* SPDX-License-Identifier: Apache-2.0 */
/* Faults that can be put on files and cards while the simulator runs. A fault is written
 *
 *   hang:CARD:FILE            reads are not answered until it is healed
 *   errno:CARD:FILE:NAME      reads and writes fail with this error (EBUSY ...)
 *   content:CARD:FILE:TEXT    reads give TEXT (\n \t \\ \0 \xHH are understood)
 *   drop-writes:CARD:FILE     writes are accepted without effect
 *   stuck-clock:CARD          the clock follows the load alone, whatever is set
 *   absent:CARD               every file of the card gives ENODEV
 *   unbound:CARD              no driver: its files are not there; healing it binds one
 *   removed:CARD              nor the device; healing it brings it back, bound
 *   rebind:CARD               once: both at once
 *   resetting:CARD            the driver's files give EPERM; healing it ends with a reset
 *   reset:CARD                once: the driver's settings are as after binding
 *   ras:CARD:BLOCK:UE:CE      once: so many more uncorrectable and correctable memory errors
 *   foreign-manual:CARD:LOW:HIGH  once: manual, with this hidden range of sclk levels
 *   vram-oom:CARD:BYTES       the card has so much memory for all processes together
 *   gpu-fault:CARD:ADDRESS    once: a page fault for every process with queues on the card
 *
 * CARD is an index or an address, FILE the end of a path ("power1_average",
 * "nodes/1/properties"). */
#pragma once

#include "base/macros.h"
#include "sim/card.h"
#include <stdbool.h>
#include <stdint.h>

#define FAULT_SPEC_MAX 1024

enum fault_kind {
	FAULT_HANG,
	FAULT_ERRNO,
	FAULT_CONTENT,
	FAULT_DROP_WRITES,
	FAULT_STUCK_CLOCK,
	FAULT_ABSENT,
	FAULT_UNBOUND,
	FAULT_REMOVED,
	FAULT_REBIND,
	FAULT_RESETTING,
	FAULT_RESET,
	FAULT_RAS,
	FAULT_FOREIGN_MANUAL,
	FAULT_VRAM_OOM,
	FAULT_GPU_FAULT,
};

struct faults;
struct fault_error {
	char text[256];
};

int faults_new(struct card *const *cards, uint32_t n_cards, struct faults **ret);
struct faults *faults_free(struct faults *f);
DEFINE_CLEANUP(struct faults *, faults_free)

/* Whether a path that ends in file exists on the card, for the check of FILE. */
typedef bool (*fault_file_exists_fn)(void *userdata, uint32_t card, const char *file);

/* 0, or a negative errno with *ret_error saying what is wrong with the fault. */
int faults_add(struct faults *f, const char *spec, fault_file_exists_fn exists, void *userdata,
	       struct fault_error *ret_error);
/* Heals what the beginning of a fault names ("hang:0:pp_dpm_sclk", "errno:1", "absent"), or all
 * (NULL). Returns how many. */
int faults_heal(struct faults *f, const char *spec);

/* What holds for a file of a card: a fault of this kind, or none. */
bool faults_has(struct faults *f, enum fault_kind kind, uint32_t card, const char *path);
/* The errno (positive) to fail with, or 0. */
int faults_errno(struct faults *f, uint32_t card, const char *path);
/* Copies the replaced contents and returns their length, or -1 if there are none. */
ssize_t faults_content(struct faults *f, uint32_t card, const char *path, char *buffer,
		       size_t size);
