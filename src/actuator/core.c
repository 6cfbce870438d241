/* SPDX-License-Identifier: Apache-2.0 */
#include "actuator/core.h"
#include "actuator/crash-guard.h"
#include "actuator/restore.h"
#include "base/log.h"
#include "base/units.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define RETRY_NS NSEC_PER_SEC
/* Of giving back, in deadlines of a request: it tries a few times and reads back. */
#define RESTORE_DEADLINES 5
/* A clock change takes up to 200 ms (measured on other makers' cards; AMD tells none), and what a
 * sensor shows before that says nothing about the write. */
#define SETTLE_NS (250 * NSEC_PER_MSEC)
/* Readings closer together than this may be one and the same: sensors are cached in the driver. */
#define JUDGE_EVERY_NS (100 * NSEC_PER_MSEC)
#define DRIFT_SAMPLES  3

_Static_assert(ACTUATOR_MAX_LEVELS == GPU_MAX_LEVELS && ACTUATOR_MAX_SE == GPU_MAX_SE &&
		       ACTUATOR_MAX_PROCESSES == GPU_MAX_PROCESSES,
	       "the protocol carries what the backends give");

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

struct scan_card {
	char bdf[PCI_BDF_LENGTH + 1];
	uint64_t bind;
	bool known; /* open it only if not */
	struct gpu *gpu;
	struct gpu_info info;
	int error;
};

struct scan_job {
	const struct actuator_config *config;
	struct {
		char bdf[PCI_BDF_LENGTH + 1];
		uint64_t bind;
	} known[GPU_MAX_CARDS];
	uint32_t n_known;
	struct scan_card found[GPU_MAX_CARDS];
	int n_found;
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
	struct scan_job scan;
};

/* ---- the state file ---- */
static int save_state(struct actuator_core *c)
{
	struct saved_state s = c->left;

	for (uint32_t i = 0; i < c->n_cards && s.n < GPU_MAX_CARDS; i++) {
		const struct card *card = &c->cards[i];
		struct saved_card *saved = &s.cards[s.n];

		if (!card->modified)
			continue;
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
		s.n++;
	}
	return state_file_save(c->config.state_path, c->config.boot_id, &s);
}

/* ---- giving back ---- */
static void forget_setting(struct card *card)
{
	card->asked = (struct setting){0};
	card->written_mhz = 0;
	card->verified = ACTUATOR_UNVERIFIED;
	card->above = 0;
}

static void set_modified(struct actuator_core *c, struct card *card)
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

static void set_unmodified(struct card *card)
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

	if (j->full_range_only)
		j->result = gpu_full_range(j->writer);
	else if (gpu_bind_identity(j->sysfs_root, j->bdf, &bind) == 0 && bind != j->bind)
		j->result = -ENODEV; /* bound anew, it knows nothing of what we wrote */
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

static void give_up(struct actuator_core *c, struct card *culprit, const char *why)
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

static int restore_card(struct actuator_core *c, struct card *card, const char *why,
			uint64_t now_ns)
{
	bool again = card->retry_ns != 0;
	int r;

	if (!card->modified || c->lost)
		return 0;
	forget_setting(card);
	r = run_restore(c, card, false);
	if (r == -ETIMEDOUT) {
		log_error("%s: no answer while it was to be restored (%s)", card->info.bdf, why);
		give_up(c, card, "no answer");
		return r;
	}
	if (r == -ENODEV) {
		log_warning("%s: gone, nothing to restore", card->info.bdf);
		r = 0;
	}
	if (r < 0) {
		/* The lease no longer matters: what is due is the restore, until it works. */
		card->retry_ns = now_ns + RETRY_NS;
		if (!again)
			log_error_errno(r, "%s: not restored (%s), trying on: %m", card->info.bdf,
					why);
		return r;
	}
	log_info("%s: restored (%s)", card->info.bdf, why);
	set_unmodified(card);
	card->retry_ns = 0;
	r = save_state(c);
	if (r < 0)
		log_error_errno(r, "State file %s cannot be updated: %m", c->config.state_path);
	return 0;
}

/* ---- trips to the backend ---- */
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

static void card_job_run(void *data)
{
	struct card_job *j = data;

	/* What gives capacity first. */
	j->write_error = j->cap_first ? write_cap(j) : write_clock(j);
	if (j->write_error == 0)
		j->write_error = j->cap_first ? write_clock(j) : write_cap(j);
	j->sample_error = j->gpu->ops->sample(j->gpu, j->now_ns, &j->sample);
	j->n_processes = j->gpu->ops->processes(j->gpu, j->processes, GPU_MAX_PROCESSES);
}

static int lost_error(int r)
{
	return r == -EPERM || r == -ENODEV;
}

/* Sends c->job on its way. -ETIMEDOUT, -EPERM or -ENODEV if the core is lost by it. */
static int run_job(struct actuator_core *c, struct card *card)
{
	struct card_job *j = &c->job;
	int r;

	r = c->config.run(c->config.run_userdata, card_job_run, j, c->config.deadline_ms);
	if (r < 0) {
		log_error("%s: no answer from the card within %u ms", card->info.bdf,
			  c->config.deadline_ms);
		c->abandoned = true;
		give_up(c, card, "no answer");
		return -ETIMEDOUT;
	}
	r = lost_error(j->write_error) ? j->write_error : j->sample_error;
	/* A claimed card that answers so has been reset or is gone. The library's view of it cannot
	 * be renewed within this process. */
	if (lost_error(r) && card->connection != 0) {
		log_error_errno(r, "%s: reset or gone: %m", card->info.bdf);
		give_up(c, card, "reset or gone");
		return r;
	}
	return 0;
}

static struct card_job *new_job(struct actuator_core *c, const struct card *card, uint64_t now_ns)
{
	c->job = (struct card_job){.gpu = card->gpu,
				   .now_ns = now_ns,
				   .clock_ns = c->config.clock_ns};
	return &c->job;
}

/* ---- read-back ---- */

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

static void judge(struct card *card, const struct gpu_sample *s)
{
	if (card->asked.max_mhz == 0 || !(s->fields & GPU_HAS_PERF))
		return;
	if (s->perf_level != GPU_PERF_MANUAL) {
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

static void note_sample(struct card *card, const struct card_job *j)
{
	if (j->sample_error < 0)
		return;
	if (j->sample.fields & GPU_HAS_SCLK) {
		card->sclk_mhz = j->sample.sclk_mhz;
		card->sclk_ns = j->sample.taken_ns;
	}
	judge(card, &j->sample);
}

static void fill_state(const struct card *card, const struct card_job *j, uint64_t now_ns,
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
	};
	for (int i = 0; i < j->n_processes && i < ACTUATOR_MAX_PROCESSES; i++)
		ret->processes[ret->n_processes++] = j->processes[i].pid;
}

/* An unreadable list of processes counts, too: it would read as no foreign load. */
static int read_error(const struct card_job *j)
{
	if (j->sample_error < 0)
		return j->sample_error;
	return MIN(j->n_processes, 0);
}

/* A trip that only reads, and the state from it. The error is the sample's. */
static int read_state(struct actuator_core *c, struct card *card, uint64_t now_ns,
		      struct actuator_state *ret)
{
	struct card_job *j = new_job(c, card, now_ns);
	int r;

	r = run_job(c, card);
	if (r < 0)
		return r;
	note_sample(card, j);
	fill_state(card, j, now_ns, ret);
	return read_error(j);
}

/* ---- cards ---- */
static struct card *find_card(struct actuator_core *c, const char *bdf)
{
	for (uint32_t i = 0; i < c->n_cards; i++)
		if (strncmp(c->cards[i].info.bdf, bdf, sizeof(c->cards[i].info.bdf)) == 0)
			return &c->cards[i];
	return NULL;
}

static void scan_open(const struct actuator_config *config, struct scan_card *s)
{
	s->error = gpu_open(config->backend, config->sysfs_root, s->bdf, &s->gpu);
	if (s->error < 0 && config->fallback)
		s->error = gpu_open(config->fallback, config->sysfs_root, s->bdf, &s->gpu);
	if (s->error < 0)
		return;
	s->error = s->gpu->ops->info(s->gpu, &s->info);
	if (s->error < 0)
		s->gpu = gpu_close(s->gpu);
}

static void scan_job_run(void *data)
{
	struct scan_job *j = data;
	char bdf[GPU_MAX_CARDS][PCI_BDF_LENGTH + 1];

	j->n_found = gpu_list(j->config->sysfs_root, bdf, GPU_MAX_CARDS);
	for (int i = 0; i < j->n_found; i++) {
		struct scan_card *s = &j->found[i];

		*s = (struct scan_card){0};
		memcpy(s->bdf, bdf[i], sizeof(s->bdf));
		s->error = gpu_bind_identity(j->config->sysfs_root, s->bdf, &s->bind);
		for (uint32_t k = 0; k < j->n_known; k++)
			if (strcmp(j->known[k].bdf, s->bdf) == 0 && j->known[k].bind == s->bind)
				s->known = true;
		if (s->error == 0 && !s->known)
			scan_open(j->config, s);
	}
}

static void drop_card(struct actuator_core *c, struct card *card)
{
	set_unmodified(card);
	gpu_close(card->gpu);
	gpu_close(card->writer);
	*card = c->cards[--c->n_cards];
	memset(&c->cards[c->n_cards], 0, sizeof(*card));
}

static void add_card(struct actuator_core *c, struct scan_card *s)
{
	struct gpu *writer;
	struct card *card;
	int r = -ENOSPC;

	if (c->n_cards < GPU_MAX_CARDS)
		r = gpu_open(c->config.writer, c->config.sysfs_root, s->bdf, &writer);
	if (r < 0) {
		log_error_errno(r, "%s: cannot be opened for restoring: %m", s->bdf);
		s->gpu = gpu_close(s->gpu);
		return;
	}
	card = &c->cards[c->n_cards++];
	*card = (struct card){.info = s->info,
			      .bind = s->bind,
			      .gpu = TAKE_PTR(s->gpu),
			      .writer = writer};
	log_info("%s: %s, %s, %u CUs, %u clock levels, through %s%s", s->bdf, s->info.name,
		 s->info.gfx, s->info.n_cus, s->info.n_levels, card->gpu->ops->name,
		 s->info.simulated ? ", simulated" : "");
}

static const struct scan_card *scan_find(const struct scan_job *j, const char *bdf)
{
	for (int i = 0; i < j->n_found; i++)
		if (strcmp(j->found[i].bdf, bdf) == 0)
			return &j->found[i];
	return NULL;
}

static int compare_cards(const void *a, const void *b)
{
	return strcmp(((const struct card *)a)->info.bdf, ((const struct card *)b)->info.bdf);
}

/* Brings the list of cards up to date: those that left or were bound anew go (a claimed one stays
 * until its next use tells), new ones are opened. */
static int scan(struct actuator_core *c)
{
	struct scan_job *j = &c->scan;
	int r;

	*j = (struct scan_job){.config = &c->config};
	for (uint32_t i = 0; i < c->n_cards; i++) {
		memcpy(j->known[i].bdf, c->cards[i].info.bdf, sizeof(j->known[i].bdf));
		j->known[i].bind = c->cards[i].bind;
		j->n_known++;
	}
	/* Opening reads some ten files per card. */
	r = c->config.run(c->config.run_userdata, scan_job_run, j, c->config.deadline_ms * 10);
	if (r < 0) {
		log_error("No answer while looking for cards");
		c->abandoned = true;
		give_up(c, NULL, "no answer");
		return r;
	}
	for (uint32_t i = c->n_cards; i-- > 0;) {
		struct card *card = &c->cards[i];
		const struct scan_card *s = scan_find(j, card->info.bdf);

		if ((!s || !s->known) && card->connection == 0 && !card->modified)
			drop_card(c, card);
	}
	for (int i = 0; i < j->n_found; i++) {
		struct scan_card *s = &j->found[i];

		if (s->error < 0)
			log_warning("%s: left out: %s", s->bdf, strerror(-s->error));
		else if (s->gpu && !find_card(c, s->bdf))
			add_card(c, s);
		else if (s->gpu)
			s->gpu = gpu_close(s->gpu);
	}
	qsort(c->cards, c->n_cards, sizeof(c->cards[0]), compare_cards);
	return j->n_found < 0 ? j->n_found : 0;
}

/* ---- requests ---- */
struct request_context {
	const struct actuator_peer *peer;
	const struct actuator_request *request;
	uint64_t now_ns;
	actuator_reply_fn reply;
	void *userdata;
};

static void fill_card(const struct card *card, struct actuator_card *ret)
{
	const struct gpu_info *i = &card->info;

	*ret = (struct actuator_card){
		.unique_id = i->unique_id,
		.n_cus = i->n_cus,
		.n_se = i->n_se,
		.n_sh_per_se = i->n_sh_per_se,
		.n_xcc = i->n_xcc,
		.n_levels = i->n_levels,
		.cap_min_uw = i->cap_min_uw,
		.cap_max_uw = i->cap_max_uw,
		.cap_default_uw = i->cap_default_uw,
		.can_cap_clock = i->can_cap_clock,
		.can_cap_power = i->can_cap_power,
		.simulated = i->simulated,
		.claimed = card->connection != 0,
	};
	_Static_assert(sizeof(ret->name) == sizeof(i->name) && sizeof(ret->gfx) == sizeof(i->gfx) &&
			       sizeof(ret->active_cus) == sizeof(i->active_cus) &&
			       sizeof(ret->level_mhz) == sizeof(i->level_mhz),
		       "copied whole");
	memcpy(ret->name, i->name, sizeof(ret->name));
	memcpy(ret->gfx, i->gfx, sizeof(ret->gfx));
	memcpy(ret->active_cus, i->active_cus, sizeof(ret->active_cus));
	memcpy(ret->level_mhz, i->level_mhz, sizeof(ret->level_mhz));
}

static void start_reply(const struct request_context *x, struct actuator_reply *ret)
{
	/* Cleared whole, padding included: these bytes leave the process. */
	memset(ret, 0, sizeof(*ret));
	ret->magic = ACTUATOR_MAGIC;
	ret->version = ACTUATOR_VERSION;
	ret->op = x->request->op;
	ret->sequence = x->request->sequence;
	memcpy(ret->bdf, x->request->bdf, sizeof(ret->bdf));
	ret->bdf[sizeof(ret->bdf) - 1] = '\0';
}

static void handle_list(struct actuator_core *c, const struct request_context *x)
{
	struct actuator_reply reply;
	int r;

	start_reply(x, &reply);
	r = scan(c);
	if (r < 0 || (x->request->index > 0 && x->request->index >= c->n_cards)) {
		reply.error = r < 0 ? r : -EINVAL;
		x->reply(x->userdata, &reply);
		return;
	}
	if (c->n_cards == 0)
		x->reply(x->userdata, &reply);
	for (uint32_t i = x->request->index; i < c->n_cards; i++) {
		start_reply(x, &reply);
		memcpy(reply.bdf, c->cards[i].info.bdf, sizeof(c->cards[i].info.bdf));
		fill_card(&c->cards[i], &reply.card);
		reply.card.index = i;
		reply.card.count = c->n_cards;
		x->reply(x->userdata, &reply);
	}
}

static bool lease_is_valid(uint32_t lease_ms)
{
	return lease_ms >= ACTUATOR_LEASE_MIN_MS && lease_ms <= ACTUATOR_LEASE_MAX_MS;
}

/* Levels that we can give back. Under manual the limits cannot be read, and what another level
 * means was somebody's decision. */
static bool can_give_back(enum gpu_perf_level level)
{
	return level == GPU_PERF_AUTO || level == GPU_PERF_LOW || level == GPU_PERF_HIGH;
}

/* Whether a predecessor's setting of it still waits to be restored. */
static bool is_left(const struct actuator_core *c, const char *bdf)
{
	for (uint32_t i = 0; i < c->left.n; i++)
		if (strcmp(c->left.cards[i].bdf, bdf) == 0)
			return true;
	return false;
}

static int handle_claim(struct actuator_core *c, struct card *card, const struct request_context *x,
			struct actuator_reply *reply)
{
	const struct actuator_request *q = x->request;
	struct actuator_state state;
	int r;

	if (card->info.simulated && !c->config.allow_simulated)
		return -EPERM;
	if (!lease_is_valid(q->lease_ms))
		return -EINVAL;
	if (card->connection != 0 && card->connection != x->peer->connection) {
		reply->owner = card->owner;
		return -EBUSY;
	}
	if (card->retry_ns != 0 || is_left(c, card->info.bdf))
		return -EAGAIN;
	r = read_state(c, card, x->now_ns, &state);
	if (r < 0)
		return r;
	if (!card->modified && !can_give_back((enum gpu_perf_level)state.perf_level) &&
	    !q->take_over)
		return -EHOSTDOWN;
	if (card->connection == 0)
		log_info("%s: claimed by %s (pid %d, uid %u)", card->info.bdf, x->peer->who.comm,
			 x->peer->who.pid, x->peer->who.uid);
	card->connection = x->peer->connection;
	card->owner = x->peer->who;
	card->take_over = q->take_over != 0;
	card->lease_ns = q->lease_ms * NSEC_PER_MSEC;
	reply->state = state;
	return 0;
}

/* Before the first write to a card: what is to be given back, on record. */
static int take_baseline(struct actuator_core *c, struct card *card, uint64_t now_ns)
{
	struct card_job *j = new_job(c, card, now_ns);
	int r;

	r = run_job(c, card);
	if (r < 0)
		return r;
	if (j->sample_error < 0)
		return j->sample_error;
	if (!(j->sample.fields & GPU_HAS_PERF))
		return -EOPNOTSUPP;
	if (!can_give_back(j->sample.perf_level) && !card->take_over)
		return -EHOSTDOWN;
	card->baseline = (struct gpu_baseline){
		.level = can_give_back(j->sample.perf_level) ? j->sample.perf_level : GPU_PERF_AUTO,
		.cap_uw = card->info.can_cap_power && (j->sample.fields & GPU_HAS_CAP)
				  ? j->sample.cap_uw
				  : 0,
	};
	card->through_auto = j->sample.perf_level != GPU_PERF_AUTO;
	forget_setting(card);
	card->asked.cap_uw = card->baseline.cap_uw;
	return 0;
}

static int check_setting(const struct card *card, const struct actuator_request *q)
{
	if (!lease_is_valid(q->lease_ms) || q->min_mhz > q->max_mhz)
		return -EINVAL;
	if (q->max_mhz != 0 && !card->info.can_cap_clock)
		return -EOPNOTSUPP;
	if (q->power_cap_uw == 0)
		return 0;
	if (!card->info.can_cap_power)
		return -EOPNOTSUPP;
	return q->power_cap_uw < card->info.cap_min_uw || q->power_cap_uw > card->info.cap_max_uw
		       ? -EINVAL
		       : 0;
}

/* Puts the difference between what was written and what is wanted into the job. */
static void plan_writes(const struct card *card, const struct setting *wanted, bool rewrite,
			struct card_job *j)
{
	j->wanted = *wanted;
	j->write_clock = rewrite || card->asked.max_mhz != wanted->max_mhz ||
			 card->asked.min_mhz != wanted->min_mhz;
	j->write_cap = wanted->cap_uw != 0 && (rewrite || card->asked.cap_uw != wanted->cap_uw);
	j->cap_first = wanted->cap_uw > card->asked.cap_uw;
}

static int record(struct actuator_core *c)
{
	int r = save_state(c);

	return r < 0 ? log_error_errno(r, "State file %s cannot be written: %m",
				       c->config.state_path)
		     : 0;
}

static void take_written(struct card *card, const struct card_job *j)
{
	if (j->write_ns)
		card->write_ns = j->write_ns;
	if (j->write_error < 0 || !j->write_clock)
		return;
	card->written_mhz = j->written_mhz;
	card->verified = ACTUATOR_UNVERIFIED;
	card->above = 0;
}

/* Whether the writes came to what they should have: their errno, that of reading back, or -EIO. */
static int read_back(const struct card_job *j)
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

static int write_setting(struct actuator_core *c, struct card *card, const struct setting *wanted,
			 const struct request_context *x, bool first, struct actuator_state *ret)
{
	struct card_job *j = new_job(c, card, x->now_ns);
	bool writes;
	int r;

	plan_writes(card, wanted, x->request->take_over, j);
	/* A rewrite is asked for because another wrote in between. */
	j->through_auto = x->request->take_over || (first && card->through_auto);
	writes = j->write_clock || j->write_cap;
	if (writes)
		set_modified(c, card);
	card->asked = *wanted;
	if (first) {
		r = record(c);
		if (r < 0) {
			set_unmodified(card);
			forget_setting(card);
			return r;
		}
	}
	r = run_job(c, card);
	if (r < 0)
		return r;
	take_written(card, j);
	r = writes ? read_back(j) : 0;
	if (r < 0) {
		log_error_errno(r, "%s: not written: %m", card->info.bdf);
		(void)restore_card(c, card, "failed write", x->now_ns);
	} else if (writes && !first) {
		/* After the write: the baseline is on record, and the clock may be in a hurry. */
		(void)record(c);
	}
	note_sample(card, j);
	fill_state(card, j, x->now_ns, ret);
	return r < 0 ? r : read_error(j);
}

static int handle_set(struct actuator_core *c, struct card *card, const struct request_context *x,
		      struct actuator_reply *reply)
{
	const struct actuator_request *q = x->request;
	struct setting wanted = {q->min_mhz, q->max_mhz, q->power_cap_uw};
	bool first = !card->modified;
	int r;

	if (card->connection != x->peer->connection)
		return -EACCES;
	r = check_setting(card, q);
	if (r < 0)
		return r;
	if (card->retry_ns != 0)
		return -EAGAIN;
	if (q->max_mhz == 0) {
		r = restore_card(c, card, "asked for", x->now_ns);
		return r < 0 ? r : read_state(c, card, x->now_ns, &reply->state);
	}
	if (first) {
		r = take_baseline(c, card, x->now_ns);
		if (r < 0)
			return r;
	}
	if (wanted.cap_uw != 0 && card->baseline.cap_uw == 0)
		return -EOPNOTSUPP; /* it could not be given back */
	card->lease_ns = q->lease_ms * NSEC_PER_MSEC;
	card->lease_end_ns = x->now_ns + card->lease_ns;
	if (wanted.cap_uw == 0)
		wanted.cap_uw = card->baseline.cap_uw;
	return write_setting(c, card, &wanted, x, first, &reply->state);
}

static void unclaim(struct card *card)
{
	card->connection = 0;
	card->owner = (struct actuator_owner){0};
	card->take_over = false;
}

static int handle_release(struct actuator_core *c, struct card *card,
			  const struct request_context *x, _unused_ struct actuator_reply *reply)
{
	int r;

	if (card->connection != x->peer->connection)
		return -EACCES;
	r = restore_card(c, card, "released", x->now_ns);
	unclaim(card);
	return r;
}

static int handle_adopt(struct actuator_core *c, struct card *card, const struct request_context *x,
			struct actuator_reply *reply)
{
	int r;

	if (card->connection == 0)
		return -ENOENT;
	if (card->connection != x->peer->connection) {
		reply->owner = card->owner;
		return -EBUSY;
	}
	/* The connection is the old one, the process behind it need not be. */
	card->owner = x->peer->who;
	card->lease_end_ns = x->now_ns + card->lease_ns;
	r = read_state(c, card, x->now_ns, &reply->state);
	log_info("%s: adopted by %s (pid %d)", card->info.bdf, card->owner.comm, card->owner.pid);
	return r;
}

static int handle_sensors(struct actuator_core *c, struct card *card,
			  const struct request_context *x, struct actuator_reply *reply)
{
	return read_state(c, card, x->now_ns, &reply->state);
}

static int (*const card_handlers[ACTUATOR_OP_MAX])(struct actuator_core *c, struct card *card,
						   const struct request_context *x,
						   struct actuator_reply *reply) = {
	[ACTUATOR_CLAIM] = handle_claim,     [ACTUATOR_SET] = handle_set,
	[ACTUATOR_RELEASE] = handle_release, [ACTUATOR_ADOPT] = handle_adopt,
	[ACTUATOR_SENSORS] = handle_sensors,
};

int actuator_core_handle(struct actuator_core *c, const struct actuator_peer *peer,
			 const struct actuator_request *request, uint64_t now_ns,
			 actuator_reply_fn reply, void *userdata)
{
	const struct request_context x = {peer, request, now_ns, reply, userdata};
	struct actuator_reply answer;
	struct card *card;

	if (request->magic != ACTUATOR_MAGIC || request->version != ACTUATOR_VERSION)
		return -EPROTO;
	if (request->op == ACTUATOR_LIST) {
		handle_list(c, &x);
		return 0;
	}
	if (request->op >= ACTUATOR_OP_MAX || !card_handlers[request->op] ||
	    !memchr(request->bdf, '\0', sizeof(request->bdf)) || !pci_bdf_is_valid(request->bdf))
		return -EPROTO;
	start_reply(&x, &answer);
	card = find_card(c, request->bdf);
	answer.error = card ? card_handlers[request->op](c, card, &x, &answer) : -ENODEV;
	reply(userdata, &answer);
	/* A card that nobody holds and that has gone is looked for again at the next LIST. */
	if (card && lost_error(answer.error) && card->connection == 0 && !card->modified &&
	    request->op != ACTUATOR_CLAIM && !c->lost)
		drop_card(c, card);
	return 0;
}

void actuator_core_hangup(struct actuator_core *c, uint64_t connection, uint64_t now_ns)
{
	if (c->lost)
		return;
	for (uint32_t i = 0; i < c->n_cards; i++) {
		struct card *card = &c->cards[i];

		if (card->connection != connection)
			continue;
		(void)restore_card(c, card, "owner hung up", now_ns);
		unclaim(card);
	}
}

/* ---- time ---- */
static uint64_t card_next_ns(const struct card *card)
{
	if (card->retry_ns != 0)
		return card->retry_ns;
	return card->modified ? card->lease_end_ns : UINT64_MAX;
}

uint64_t actuator_core_next_ns(const struct actuator_core *c)
{
	uint64_t next = c->left.n > 0 ? c->left_retry_ns : UINT64_MAX;

	for (uint32_t i = 0; i < c->n_cards; i++)
		next = MIN(next, card_next_ns(&c->cards[i]));
	return next;
}

/* All its own: it may outlive the core. */
struct left_job {
	struct actuator_config config;
	struct saved_state before, left;
	int failure_level;
};

static void left_job_run(void *data)
{
	struct left_job *j = data;

	(void)restore_saved(j->config.writer, j->config.sysfs_root, &j->before, j->failure_level,
			    &j->left);
}

static void restore_left(struct actuator_core *c, int failure_level, uint64_t now_ns)
{
	struct left_job *j = malloc(sizeof(*j));
	bool changed;
	int r;

	c->left_retry_ns = now_ns + RETRY_NS;
	if (!j)
		return;
	*j = (struct left_job){c->config, c->left, {0}, failure_level};
	r = c->config.run_alone(c->config.run_userdata, left_job_run, j,
				c->config.deadline_ms * RESTORE_DEADLINES * c->left.n);
	if (r < 0) {
		log_error("No answer while a predecessor's cards were to be restored");
		give_up(c, NULL, "no answer");
		return;
	}
	changed = j->left.n != c->left.n;
	c->left = j->left;
	free(j);
	r = changed ? save_state(c) : 0;
	if (r < 0)
		log_error_errno(r, "State file %s cannot be updated: %m", c->config.state_path);
}

static void restore_predecessor(struct actuator_core *c, uint64_t now_ns)
{
	int r;

	r = state_file_load(c->config.state_path, c->config.boot_id, &c->left);
	if (r == -ESTALE)
		(void)save_state(c); /* of another boot: nothing in it holds any more */
	else if (r < 0 && r != -ENOENT)
		log_error_errno(r, "State file %s cannot be used: %m", c->config.state_path);
	if (r == 0)
		restore_left(c, LOG_ERR, now_ns);
}

void actuator_core_tick(struct actuator_core *c, uint64_t now_ns)
{
	if (c->lost)
		return;
	if (c->left.n > 0 && c->left_retry_ns <= now_ns)
		restore_left(c, LOG_DEBUG, now_ns);
	for (uint32_t i = 0; i < c->n_cards && !c->lost; i++) {
		struct card *card = &c->cards[i];

		if (card_next_ns(card) <= now_ns)
			(void)restore_card(c, card, "lease over", now_ns);
	}
}

bool actuator_core_is_lost(const struct actuator_core *c)
{
	return c->lost;
}

int actuator_core_shutdown(struct actuator_core *c, uint64_t now_ns)
{
	int r = 0;

	for (uint32_t i = 0; i < c->n_cards && !c->lost; i++) {
		int k = restore_card(c, &c->cards[i], "stopping", now_ns);

		unclaim(&c->cards[i]);
		r = r < 0 ? r : k;
	}
	return r;
}

int actuator_core_new(const struct actuator_config *config, uint64_t now_ns,
		      struct actuator_core **ret)
{
	struct actuator_core *c;
	int r;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->config = *config;
	restore_predecessor(c, now_ns);
	r = c->lost ? -ETIMEDOUT : scan(c);
	if (r < 0) {
		actuator_core_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

struct actuator_core *actuator_core_free(struct actuator_core *c)
{
	if (!c || c->abandoned)
		return NULL;
	while (c->n_cards > 0)
		drop_card(c, &c->cards[c->n_cards - 1]);
	free(c);
	return NULL;
}
