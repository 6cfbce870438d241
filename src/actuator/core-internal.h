/* SPDX-License-Identifier: Apache-2.0 */
/* Between core.c (requests and time), card-list.c (which cards there are), card-job.c (writing and
 * reading through the backend) and give-back.c (the record, and restoring). */
#pragma once

#include "actuator/core.h"
#include "actuator/restore.h"

/* What is asked of a card at once; max_mhz 0 is the baseline. */
struct setting {
	uint32_t min_mhz, max_mhz;
	uint64_t cap_uw;
};

struct card {
	struct gpu_info info;
	uint64_t bind;
	struct gpu *gpu;    /* the backend's; used in jobs only */
	struct gpu *writer; /* sysfs; to give the card back */

	uint64_t connection; /* that claimed it; 0: nobody */
	struct actuator_owner owner;
	bool take_over;

	bool modified;	   /* baseline is valid and must be given back */
	int guard;	   /* of crash_guard_add() while modified */
	bool through_auto; /* another level than auto was found */
	struct gpu_baseline baseline;
	struct setting asked; /* last written; max_mhz 0: unknown or baseline */
	uint32_t written_mhz; /* the level that it came to */
	uint64_t write_ns;    /* at the last write's return */
	uint64_t lease_ns, lease_end_ns;
	uint64_t retry_ns; /* of a restore that failed; 0: none */

	enum actuator_verified verified;
	uint32_t above;
	uint64_t judged_ns;
	uint32_t sclk_mhz; /* last seen, at sclk_ns */
	uint64_t sclk_ns;
};

/* One trip to the backend. It belongs to the core, which is not used again if the trip never
 * ends. */
struct card_job {
	struct gpu *gpu;
	const char *sysfs_root;
	char bdf[PCI_BDF_LENGTH + 1];
	uint64_t bind;
	bool write_clock, write_cap, cap_first, through_auto;
	struct setting wanted;
	uint64_t now_ns, (*clock_ns)(void);

	int write_error, sample_error;
	uint32_t written_mhz;
	uint64_t write_ns;
	struct gpu_sample sample;
	struct gpu_process processes[GPU_MAX_PROCESSES];
	int n_processes;
};

struct actuator_core {
	struct actuator_config config;
	struct card cards[GPU_MAX_CARDS];
	uint32_t n_cards;
	/* Cards of the state file that were not there when it was read, or would not be restored.
	 */
	struct saved_state left;
	uint64_t left_retry_ns;
	bool lost;
	bool abandoned; /* a job still runs, and with it lives all that it knows */
	struct card_job job;
};

/* ---- card-list.c ---- */
struct card *core_find_card(struct actuator_core *c, const char *bdf);
void core_drop_card(struct actuator_core *c, struct card *card);
/* Brings the list of cards up to date: those that left or were bound anew go (a claimed one stays
 * until its next use tells), new ones are opened. Pointers to cards hold until then. */
int core_scan(struct actuator_core *c);

/* ---- card-job.c ---- */
struct card_job *core_new_job(struct actuator_core *c, const struct card *card, uint64_t now_ns);
/* Sends c->job on its way. -ETIMEDOUT, -EPERM or -ENODEV if the core is lost by it. */
int core_run_job(struct actuator_core *c, struct card *card);
bool core_is_lost_error(int r);
/* A trip that only reads, and the state from it. The error is the sample's. */
int core_read_state(struct actuator_core *c, struct card *card, uint64_t now_ns,
		    struct actuator_state *ret);
/* What has come of a trip: of its writes, ... */
void core_take_written(struct card *card, const struct card_job *j);
/* ... whether they came to what they should have (their errno, that of reading back, or -EIO), */
int core_read_back(const struct card_job *j);
/* and of its readings. */
void core_note_sample(struct card *card, const struct card_job *j);
void core_fill_state(const struct card *card, const struct card_job *j, uint64_t now_ns,
		     struct actuator_state *ret);
int core_read_error(const struct card_job *j);

/* ---- give-back.c ---- */
int core_save_state(struct actuator_core *c);
void core_forget_setting(struct card *card);
void core_set_modified(struct actuator_core *c, struct card *card);
void core_set_unmodified(struct card *card);
/* The baseline. What fails is tried again each second. */
int core_restore_card(struct actuator_core *c, struct card *card, const char *why, uint64_t now_ns);
/* Full range for every card that was written to, the culprit (may be NULL) last; the core is lost.
 */
void core_give_up(struct actuator_core *c, struct card *culprit, const char *why);
void core_restore_predecessor(struct actuator_core *c, uint64_t now_ns);
/* Once more what the predecessor's record still holds. */
void core_restore_left(struct actuator_core *c, int failure_level, uint64_t now_ns);
