/* SPDX-License-Identifier: Apache-2.0 */
#include "actuator/restore.h"
#include "base/log.h"
#include "base/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#define TRIES	    3
#define TRY_WAIT_NS (20 * NSEC_PER_MSEC)

int gpu_full_range(struct gpu *g)
{
	return g->ops->set_perf_level(g, GPU_PERF_AUTO);
}

static int restore_level(struct gpu *g, enum gpu_perf_level level)
{
	enum gpu_perf_level now;
	int r;

	r = g->ops->get_perf_level(g, &now);
	if (r == -EOPNOTSUPP)
		return 0;
	/* Clock limits live under manual only, so another level that reads right is right. A level
	 * that cannot be read is written all the same. */
	if (r == 0 && now == level)
		return 0;
	r = gpu_full_range(g);
	if (r == 0 && level != GPU_PERF_AUTO)
		r = g->ops->set_perf_level(g, level);
	if (r == 0)
		r = g->ops->get_perf_level(g, &now);
	if (r < 0)
		return r;
	return now == level ? 0 : -EIO;
}

static int restore_cap(struct gpu *g, uint64_t cap_uw)
{
	uint64_t now_uw;
	int r;

	if (cap_uw == 0)
		return 0;
	r = g->ops->get_power_cap(g, &now_uw);
	if (r == 0 && now_uw == cap_uw)
		return 0;
	r = g->ops->set_power_cap(g, cap_uw);
	if (r == 0)
		r = g->ops->get_power_cap(g, &now_uw);
	if (r < 0)
		return r;
	return now_uw == cap_uw ? 0 : -EIO;
}

int gpu_restore(struct gpu *g, const struct gpu_baseline *b)
{
	const struct timespec wait = {.tv_nsec = (long)TRY_WAIT_NS};
	int r = 0, r_cap;

	for (int i = 0; i < TRIES; i++) {
		if (i > 0)
			(void)nanosleep(&wait, NULL);
		/* Each is tried even if the other fails. */
		r = restore_level(g, b->level);
		r_cap = restore_cap(g, b->cap_uw);
		if (r == 0)
			r = r_cap;
		if (r == 0)
			break;
	}
	return r;
}

static int restore_one(const struct gpu_backend *writer, const char *sysfs_root,
		       const struct saved_card *c)
{
	const struct gpu_baseline baseline = {.level = c->level, .cap_uw = c->cap_uw};
	_cleanup_(gpu_closep) struct gpu *g = NULL;
	uint64_t bind, unique_id;
	int r;

	r = gpu_bind_identity(sysfs_root, c->bdf, &bind);
	if (r < 0)
		return r;
	if (bind != c->bind)
		return -ESTALE;
	r = gpu_unique_id(sysfs_root, c->bdf, &unique_id);
	if (r < 0)
		return r;
	/* A card whose files are broken cannot tell its id and is restored all the same. */
	if (unique_id != 0 && unique_id != c->unique_id)
		return -ESTALE;
	r = gpu_open(writer, sysfs_root, c->bdf, &g);
	if (r < 0)
		return r;
	return gpu_restore(g, &baseline);
}

/* What is given up runs on with its data, so that is on the heap and stays behind. */
struct one_job {
	const struct gpu_backend *writer;
	const char *sysfs_root;
	struct saved_card card;
	int result;
};

static void one_job_run(void *data)
{
	struct one_job *j = data;

	j->result = restore_one(j->writer, j->sysfs_root, &j->card);
}

static int run_one(const struct gpu_backend *writer, const char *sysfs_root,
		   const struct saved_card *card, const struct restore_runner *runner)
{
	struct one_job *j = malloc(sizeof(*j));
	int r;

	if (!j)
		return -ENOMEM;
	*j = (struct one_job){writer, sysfs_root, *card, 0};
	r = runner->run(runner->userdata, one_job_run, j, runner->deadline_ms);
	if (r < 0)
		return r;
	r = j->result;
	free(j);
	return r;
}

int restore_saved(const struct gpu_backend *writer, const char *sysfs_root,
		  const struct saved_state *s, const struct restore_runner *runner,
		  int failure_level, struct saved_state *ret_left)
{
	struct saved_state left = {0};
	int result = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		const struct saved_card *c = &s->cards[i];
		int r = runner ? run_one(writer, sysfs_root, c, runner)
			       : restore_one(writer, sysfs_root, c);

		if (r == 0) {
			log_info("%s: restored after a predecessor (level %s, cap %" PRIu64 " W)",
				 c->bdf, gpu_perf_level_name(c->level), c->cap_uw / UW_PER_W);
		} else if (r == -ESTALE) {
			log_info("%s: is not the card that was written to, left alone", c->bdf);
		} else if (r == -ENODEV) {
			/* If its driver was not unbound it comes back with what we wrote. */
			log_message(failure_level == LOG_ERR ? LOG_INFO : LOG_DEBUG,
				    "%s: is not there; to be restored if it comes back", c->bdf);
			left.cards[left.n++] = *c;
		} else {
			(void)log_errno(failure_level, r, "%s: cannot be restored: %m", c->bdf);
			left.cards[left.n++] = *c;
			result = result == -ETIMEDOUT || r == -ETIMEDOUT ? -ETIMEDOUT : -EIO;
		}
	}
	*ret_left = left;
	return result;
}

int restore_from_file(const struct gpu_backend *writer, const char *sysfs_root,
		      const char *state_path, const char *boot_id,
		      const struct restore_runner *runner)
{
	struct saved_state s = {0}, left;
	int r, result;

	r = state_file_load(state_path, boot_id, &s);
	if (r == -ENOENT)
		return 0;
	if (r < 0 && r != -ESTALE)
		return r;
	result = restore_saved(writer, sysfs_root, &s, runner, LOG_ERR, &left);
	r = state_file_save(state_path, boot_id, &left);
	return result < 0 ? result : r;
}
