/* SPDX-License-Identifier: Apache-2.0 */
/* What must be given back, on record, and giving it back. */
#include "actuator/core-internal.h"
#include "actuator/crash-guard.h"
#include "base/log.h"
#include "base/units.h"

#include <errno.h>
#include <string.h>

#define RETRY_NS NSEC_PER_SEC
/* Of giving back, in deadlines of a request: it tries a few times and reads back. */
#define RESTORE_DEADLINES 5

/* ---- the state file ---- */
static void add_to_record(struct saved_state *s, const struct card *card)
{
	struct saved_card *saved = &s->cards[s->n];

	if (s->n == GPU_MAX_CARDS)
		return;
	*saved = (struct saved_card){
		.unique_id = card->info.unique_id,
		.bind = card->bind,
		.level = card->baseline.level,
		.cap_uw = card->baseline.cap_uw,
		.max_mhz = card->asked.max_mhz,
		.power_cap_uw = card->asked.cap_uw,
		.lease_ms = (uint32_t)(card->lease_ns / NSEC_PER_MSEC),
		.pid = card->owner.pid,
		.uid = card->owner.uid,
	};
	memcpy(saved->bdf, card->info.bdf, sizeof(saved->bdf));
	s->n++;
}

int core_save_state(struct actuator_core *c)
{
	struct saved_state s = c->left;

	for (uint32_t i = 0; i < c->n_cards; i++)
		if (c->cards[i].modified)
			add_to_record(&s, &c->cards[i]);
	return state_file_save(c->config.state_path, c->config.boot_id, &s);
}

/* ---- giving back ---- */
void core_forget_setting(struct card *card)
{
	card->asked = (struct setting){0};
	card->written_mhz = 0;
	card->verified = ACTUATOR_UNVERIFIED;
	card->above = 0;
}

void core_set_modified(struct actuator_core *c, struct card *card)
{
	int fd;

	if (card->modified)
		return;
	card->modified = true;
	/* Without it the card waits for the next start if we crash, which is no reason to refuse.
	 */
	fd = gpu_open_perf_level(c->config.sysfs_root, card->info.bdf);
	card->guard = fd < 0 ? fd : crash_guard_add(fd);
}

void core_set_unmodified(struct card *card)
{
	if (card->modified)
		crash_guard_remove(card->guard);
	card->modified = false;
}

/* What is given up runs on with its data, so that is on the heap and stays behind. */
struct restore_job {
	struct gpu *writer;
	const char *sysfs_root;
	char bdf[PCI_BDF_LENGTH + 1];
	uint64_t bind;
	struct gpu_baseline baseline;
	bool full_range_only;
	int result;
};

static void restore_job_run(void *data)
{
	struct restore_job *j = data;
	uint64_t bind;
	int r;

	if (j->full_range_only) {
		j->result = gpu_full_range(j->writer);
		return;
	}
	r = gpu_bind_identity(j->sysfs_root, j->bdf, &bind);
	if (r == -ENODEV)
		j->result = r;
	else if (r == 0 && bind != j->bind)
		j->result = -ESTALE; /* bound anew, it knows nothing of what we wrote */
	else
		j->result = gpu_restore(j->writer, &j->baseline);
}

/* -ETIMEDOUT if the card did not answer. */
static int run_restore(struct actuator_core *c, struct card *card, bool full_range_only)
{
	struct restore_job *j = malloc(sizeof(*j));
	uint32_t deadline_ms = c->config.deadline_ms * (full_range_only ? 1 : RESTORE_DEADLINES);
	int r;

	if (!j)
		return -ENOMEM;
	*j = (struct restore_job){
		.writer = card->writer,
		.sysfs_root = c->config.sysfs_root,
		.bind = card->bind,
		.baseline = card->baseline,
		.full_range_only = full_range_only,
	};
	memcpy(j->bdf, card->info.bdf, sizeof(j->bdf));
	r = c->config.run_alone(c->config.run_userdata, restore_job_run, j, deadline_ms);
	if (r < 0) {
		c->abandoned = true;
		return r;
	}
	r = j->result;
	free(j);
	return r;
}

static void full_range(struct actuator_core *c, struct card *card, const char *why)
{
	int r;

	if (!card->modified)
		return;
	r = run_restore(c, card, true);
	if (r < 0)
		log_error_errno(r, "%s: not set to full range: %m", card->info.bdf);
	else
		log_warning("%s: set to full range (%s)", card->info.bdf, why);
}

void core_give_up(struct actuator_core *c, struct card *culprit, const char *why)
{
	if (c->lost)
		return;
	c->lost = true;
	/* The one that may hang again comes last. */
	for (uint32_t i = 0; i < c->n_cards; i++)
		if (&c->cards[i] != culprit)
			full_range(c, &c->cards[i], why);
	if (culprit)
		full_range(c, culprit, why);
}

int core_restore_card(struct actuator_core *c, struct card *card, const char *why, uint64_t now_ns)
{
	bool again = card->retry_ns != 0;
	int r;

	if (!card->modified || c->lost)
		return 0;
	core_forget_setting(card);
	r = run_restore(c, card, false);
	if (r == -ETIMEDOUT) {
		log_error("%s: no answer while it was to be restored (%s)", card->info.bdf, why);
		core_give_up(c, card, "no answer");
		return r;
	}
	if (r == -ESTALE) {
		log_warning("%s: bound anew, nothing to restore", card->info.bdf);
	} else if (r == -ENODEV) {
		/* Unless its driver was unbound it comes back with what we wrote. */
		log_warning("%s: gone; to be restored if it comes back", card->info.bdf);
		add_to_record(&c->left, card);
		c->left_retry_ns = now_ns + RETRY_NS;
	} else if (r < 0) {
		/* The lease no longer matters: what is due is the restore, until it works. */
		card->retry_ns = now_ns + RETRY_NS;
		if (!again)
			log_error_errno(r, "%s: not restored (%s), trying on: %m", card->info.bdf,
					why);
		return r;
	} else {
		log_info("%s: restored (%s)", card->info.bdf, why);
	}
	core_set_unmodified(card);
	card->retry_ns = 0;
	r = core_save_state(c);
	if (r < 0)
		log_error_errno(r, "State file %s cannot be updated: %m", c->config.state_path);
	return 0;
}

/* ---- of a predecessor ---- */
void core_restore_left(struct actuator_core *c, int failure_level, uint64_t now_ns)
{
	const struct restore_runner runner = {c->config.run_alone, c->config.run_userdata,
					      c->config.deadline_ms * RESTORE_DEADLINES};
	uint32_t n_before = c->left.n;
	int r, r_save;

	c->left_retry_ns = now_ns + RETRY_NS;
	r = restore_saved(c->config.writer, c->config.sysfs_root, &c->left, &runner, failure_level,
			  &c->left);
	r_save = c->left.n != n_before ? core_save_state(c) : 0;
	if (r_save < 0)
		log_error_errno(r_save, "State file %s cannot be updated: %m",
				c->config.state_path);
	if (r == -ETIMEDOUT)
		core_give_up(c, NULL, "no answer");
}

void core_restore_predecessor(struct actuator_core *c, uint64_t now_ns)
{
	int r;

	r = state_file_load(c->config.state_path, c->config.boot_id, &c->left);
	if (r == -ESTALE)
		(void)core_save_state(c); /* of another boot: nothing in it holds any more */
	else if (r < 0 && r != -ENOENT)
		log_error_errno(r, "State file %s cannot be used: %m", c->config.state_path);
	if (r == 0)
		core_restore_left(c, LOG_ERR, now_ns);
}
