/* SPDX-License-Identifier: Apache-2.0 */
#include "actuator/core-internal.h"
#include "base/log.h"
#include "base/units.h"

#include <errno.h>
#include <string.h>

_Static_assert(ACTUATOR_MAX_LEVELS == GPU_MAX_LEVELS && ACTUATOR_MAX_SE == GPU_MAX_SE &&
		       ACTUATOR_MAX_PROCESSES == GPU_MAX_PROCESSES,
	       "the protocol carries what the backends give");

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
	r = core_scan(c);
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
	r = core_read_state(c, card, x->now_ns, &state);
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
	struct card_job *j = core_new_job(c, card, now_ns);
	int r;

	r = core_run_job(c, card);
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
	core_forget_setting(card);
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
	int r = core_save_state(c);

	return r < 0 ? log_error_errno(r, "State file %s cannot be written: %m",
				       c->config.state_path)
		     : 0;
}

/* A cap that somebody set while none of ours was in force is what is to be left behind. */
static void take_foreign_cap(struct actuator_core *c, struct card *card, const struct card_job *j)
{
	const struct gpu_sample *s = &j->sample;

	if (j->write_cap || j->sample_error < 0 || !card->modified || !(s->fields & GPU_HAS_CAP) ||
	    s->cap_uw == 0 || card->baseline.cap_uw == 0 ||
	    card->asked.cap_uw != card->baseline.cap_uw || s->cap_uw == card->baseline.cap_uw)
		return;
	log_warning("%s: somebody set a power cap of %lu W (found: %lu W): it is theirs",
		    card->info.bdf, s->cap_uw / UW_PER_W, card->baseline.cap_uw / UW_PER_W);
	card->baseline.cap_uw = card->asked.cap_uw = s->cap_uw;
	(void)record(c);
}

static int write_setting(struct actuator_core *c, struct card *card, const struct setting *wanted,
			 const struct request_context *x, bool first, struct actuator_state *ret)
{
	struct card_job *j = core_new_job(c, card, x->now_ns);
	bool writes;
	int r;

	plan_writes(card, wanted, x->request->take_over, j);
	/* A rewrite is asked for because another wrote in between. */
	j->through_auto = x->request->take_over || (first && card->through_auto);
	writes = j->write_clock || j->write_cap;
	if (writes)
		core_set_modified(c, card);
	card->asked = *wanted;
	if (first) {
		r = record(c);
		if (r < 0) {
			core_set_unmodified(card);
			core_forget_setting(card);
			return r;
		}
	}
	r = core_run_job(c, card);
	if (r < 0)
		return r;
	core_take_written(card, j);
	r = writes ? core_read_back(j) : 0;
	if (r < 0) {
		log_error_errno(r, "%s: not written: %m", card->info.bdf);
		(void)core_restore_card(c, card, "failed write", x->now_ns);
	} else if (writes && !first) {
		/* After the write: the baseline is on record, and the clock may be in a hurry. */
		(void)record(c);
	}
	take_foreign_cap(c, card, j);
	core_note_sample(card, j);
	core_fill_state(card, j, x->now_ns, ret);
	return r < 0 ? r : core_read_error(j);
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
		r = core_restore_card(c, card, "asked for", x->now_ns);
		return r < 0 ? r : core_read_state(c, card, x->now_ns, &reply->state);
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
	r = core_restore_card(c, card, "released", x->now_ns);
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
	r = core_read_state(c, card, x->now_ns, &reply->state);
	log_info("%s: adopted by %s (pid %d)", card->info.bdf, card->owner.comm, card->owner.pid);
	return r;
}

static int handle_sensors(struct actuator_core *c, struct card *card,
			  const struct request_context *x, struct actuator_reply *reply)
{
	return core_read_state(c, card, x->now_ns, &reply->state);
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
	card = core_find_card(c, request->bdf);
	answer.error = card ? card_handlers[request->op](c, card, &x, &answer) : -ENODEV;
	reply(userdata, &answer);
	/* A card that nobody holds and that has gone is looked for again at the next LIST. */
	if (card && core_is_lost_error(answer.error) && card->connection == 0 && !card->modified &&
	    request->op != ACTUATOR_CLAIM && !c->lost)
		core_drop_card(c, card);
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
		(void)core_restore_card(c, card, "owner hung up", now_ns);
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

void actuator_core_tick(struct actuator_core *c, uint64_t now_ns)
{
	if (c->lost)
		return;
	if (c->left.n > 0 && c->left_retry_ns <= now_ns)
		core_restore_left(c, LOG_DEBUG, now_ns);
	for (uint32_t i = 0; i < c->n_cards && !c->lost; i++) {
		struct card *card = &c->cards[i];

		if (card_next_ns(card) <= now_ns)
			(void)core_restore_card(c, card, "lease over", now_ns);
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
		int k = core_restore_card(c, &c->cards[i], "stopping", now_ns);

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
	core_restore_predecessor(c, now_ns);
	r = c->lost ? -ETIMEDOUT : core_scan(c);
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
		core_drop_card(c, &c->cards[c->n_cards - 1]);
	free(c);
	return NULL;
}
