/* SPDX-License-Identifier: Apache-2.0 */
/* One trip to the backend: what it writes, what it reads back, and what that says. */
#include "actuator/core-internal.h"
#include "base/log.h"
#include "base/units.h"

#include <errno.h>
#include <string.h>

/* A clock change takes up to 200 ms (measured on other makers' cards; AMD tells none), and what a
 * sensor shows before that says nothing about the write. */
#define SETTLE_NS (250 * NSEC_PER_MSEC)
/* Readings closer together than this may be one and the same: sensors are cached in the driver. */
#define JUDGE_EVERY_NS (100 * NSEC_PER_MSEC)
#define DRIFT_SAMPLES  3

static int write_cap(struct card_job *j)
{
	int r;

	if (!j->write_cap)
		return 0;
	r = j->gpu->ops->set_power_cap(j->gpu, j->wanted.cap_uw);
	j->write_ns = j->clock_ns();
	return r;
}

static int write_clock(struct card_job *j)
{
	int r = 0;

	if (!j->write_clock)
		return 0;
	/* Under another level old limits may be in force that no file shows; auto drops them. */
	if (j->through_auto)
		r = j->gpu->ops->set_perf_level(j->gpu, GPU_PERF_AUTO);
	if (r == 0)
		r = j->gpu->ops->cap_clock(j->gpu, j->wanted.min_mhz, j->wanted.max_mhz,
					   &j->written_mhz);
	j->write_ns = j->clock_ns();
	return r;
}

/* No driver has the card, or another one than that of the record, to which nothing that is written
 * would ever be given back. */
static bool is_gone(const struct card_job *j)
{
	uint64_t bind;
	int r;

	r = gpu_bind_identity(j->sysfs_root, j->bdf, &bind);
	return r == -ENODEV || (r == 0 && bind != j->bind);
}

static bool has_failed(const struct card_job *j)
{
	return j->write_error < 0 || j->sample_error < 0 || !(j->sample.fields & GPU_HAS_PERF);
}

static void card_job_run(void *data)
{
	struct card_job *j = data;

	if ((j->write_clock || j->write_cap) && is_gone(j)) {
		j->write_error = j->sample_error = -ENODEV;
		return;
	}
	/* What gives capacity first. */
	j->write_error = j->cap_first ? write_cap(j) : write_clock(j);
	if (j->write_error == 0)
		j->write_error = j->cap_first ? write_clock(j) : write_cap(j);
	j->sample_error = j->gpu->ops->sample(j->gpu, j->now_ns, &j->sample);
	j->n_processes = j->gpu->ops->processes(j->gpu, j->processes, GPU_MAX_PROCESSES);
	/* Files that vanish one by one fail in many ways. */
	if (has_failed(j) && is_gone(j))
		j->write_error = j->sample_error = -ENODEV;
}

bool core_is_lost_error(int r)
{
	return r == -EPERM || r == -ENODEV;
}

int core_run_job(struct actuator_core *c, struct card *card)
{
	struct card_job *j = &c->job;
	int r;

	r = c->config.run(c->config.run_userdata, card_job_run, j, c->config.deadline_ms);
	if (r < 0) {
		log_error("%s: no answer from the card within %u ms", card->info.bdf,
			  c->config.deadline_ms);
		c->abandoned = true;
		core_give_up(c, card, "no answer");
		return -ETIMEDOUT;
	}
	r = core_is_lost_error(j->write_error) ? j->write_error : j->sample_error;
	/* A claimed card that answers so has been reset or is gone. The library's view of it cannot
	 * be renewed within this process. */
	if (core_is_lost_error(r) && card->connection != 0) {
		log_error_errno(r, "%s: reset or gone: %m", card->info.bdf);
		core_give_up(c, card, "reset or gone");
		return r;
	}
	return 0;
}

struct card_job *core_new_job(struct actuator_core *c, const struct card *card, uint64_t now_ns)
{
	c->job = (struct card_job){
		.gpu = card->gpu,
		.sysfs_root = c->config.sysfs_root,
		.bind = card->bind,
		.now_ns = now_ns,
		.clock_ns = c->config.clock_ns,
	};
	memcpy(c->job.bdf, card->info.bdf, sizeof(c->job.bdf));
	return &c->job;
}

/* ---- what it says ---- */
/* Highest clock that still counts as the written level: half-way to the next one, and no less than
 * 2 %, within which two levels are one. */
static uint32_t level_bound_mhz(const struct card *card)
{
	uint32_t bound = card->written_mhz + card->written_mhz / 50;

	for (uint32_t i = 0; i < card->info.n_levels; i++)
		if (card->info.level_mhz[i] > card->written_mhz)
			return MAX(bound, card->written_mhz / 2 + card->info.level_mhz[i] / 2);
	return bound;
}

/* A cap of ours that is another's by now. */
static bool cap_drifts(const struct card *card, const struct gpu_sample *s)
{
	return (s->fields & GPU_HAS_CAP) && card->asked.cap_uw != card->baseline.cap_uw &&
	       s->cap_uw / UW_PER_W != card->asked.cap_uw / UW_PER_W;
}

static void judge(struct card *card, const struct gpu_sample *s)
{
	if (card->asked.max_mhz == 0 || !(s->fields & GPU_HAS_PERF))
		return;
	if (s->perf_level != GPU_PERF_MANUAL || cap_drifts(card, s)) {
		card->verified = ACTUATOR_DRIFT;
		return;
	}
	if (!(s->fields & GPU_HAS_SCLK) || !(s->fields & GPU_HAS_BUSY) || s->busy_percent <= 50 ||
	    s->taken_ns < card->write_ns + SETTLE_NS ||
	    s->taken_ns < card->judged_ns + JUDGE_EVERY_NS)
		return;
	card->judged_ns = s->taken_ns;
	if (s->sclk_mhz <= level_bound_mhz(card)) {
		card->above = 0;
		card->verified = ACTUATOR_VERIFIED;
	} else if (++card->above >= DRIFT_SAMPLES) {
		card->verified = ACTUATOR_DRIFT;
	}
}

void core_note_sample(struct card *card, const struct card_job *j)
{
	if (j->sample_error < 0)
		return;
	if (j->sample.fields & GPU_HAS_SCLK) {
		card->sclk_mhz = j->sample.sclk_mhz;
		card->sclk_ns = j->sample.taken_ns;
	}
	judge(card, &j->sample);
}

void core_fill_state(const struct card *card, const struct card_job *j, uint64_t now_ns,
		     struct actuator_state *ret)
{
	const struct gpu_sample *s = &j->sample;
	uint64_t age_ns = now_ns - card->sclk_ns;

	*ret = (struct actuator_state){
		.perf_level = s->fields & GPU_HAS_PERF ? s->perf_level : GPU_PERF_UNKNOWN,
		.max_mhz = card->written_mhz,
		.power_cap_uw = s->cap_uw,
		.sclk_mhz = card->sclk_mhz,
		.sclk_age_ms = (uint32_t)MIN(age_ns / NSEC_PER_MSEC, (uint64_t)UINT32_MAX),
		.verified = card->verified,
		.fields = s->fields,
		.power_uw = s->power_uw,
		.busy_percent = s->busy_percent,
		.temp_mc = s->temp_mc,
		.throttle = s->throttle,
		.write_ns = card->write_ns,
		.ras_uncorrectable = s->ras_uncorrectable,
		.ras_correctable = s->ras_correctable,
	};
	for (int i = 0; i < j->n_processes && i < ACTUATOR_MAX_PROCESSES; i++)
		ret->processes[ret->n_processes++] = j->processes[i].pid;
}

/* An unreadable list of processes counts, too: it would read as no foreign load. */
int core_read_error(const struct card_job *j)
{
	if (j->sample_error < 0)
		return j->sample_error;
	return MIN(j->n_processes, 0);
}

int core_read_state(struct actuator_core *c, struct card *card, uint64_t now_ns,
		    struct actuator_state *ret)
{
	struct card_job *j = core_new_job(c, card, now_ns);
	int r;

	r = core_run_job(c, card);
	if (r < 0)
		return r;
	core_note_sample(card, j);
	core_fill_state(card, j, now_ns, ret);
	return core_read_error(j);
}

void core_take_written(struct card *card, const struct card_job *j)
{
	if (j->write_ns)
		card->write_ns = j->write_ns;
	if (j->write_error < 0 || !j->write_clock)
		return;
	card->written_mhz = j->written_mhz;
	card->verified = ACTUATOR_UNVERIFIED;
	card->above = 0;
}

int core_read_back(const struct card_job *j)
{
	const struct gpu_sample *s = &j->sample;

	if (j->write_error < 0)
		return j->write_error;
	if (j->sample_error < 0)
		return j->sample_error;
	if (j->write_clock && (!(s->fields & GPU_HAS_PERF) || s->perf_level != GPU_PERF_MANUAL))
		return -EIO;
	/* The kernel cuts to whole watts. */
	if (j->write_cap &&
	    (!(s->fields & GPU_HAS_CAP) || s->cap_uw / UW_PER_W != j->wanted.cap_uw / UW_PER_W))
		return -EIO;
	return 0;
}
