/* SPDX-License-Identifier: Apache-2.0 */
/* What runs at the same time shares the card. Executions of one model share the CUs of its mask,
 * which leaves each the same part of its speed (whole requests share cards of cofris-sim by the
 * same rule). Between models the rule is that of plant/share.h, launch against launch; as launches
 * come and go by the thousand, each is taken to meet those of the others as often as these run:
 *
 *   CUs     a launch gets its part of the wave slots that are held on the CUs of its mask, of
 *           those that others share; disjoint masks leave it all of them.
 *   memory  in proportion to what each would move if it had the memory to itself, once that is
 *           more than the card can.
 *
 * So an execution takes as long as its launches take on the mean. test-replay-share runs launches
 * one by one to hold this against. */
#include "replay/simulation-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define MEMO   4096 /* a power of two */
#define ROUNDS 2    /* launches that others slow down run for more of the time */

/* What others do meanwhile, with which probability. */
struct state {
	double p, load, gbps;
};

/* Of many states those alike are taken together: by slots, and by memory. */
#define LOAD_CLASSES   5
#define MEMORY_CLASSES 8
#define STATES	       (LOAD_CLASSES * MEMORY_CLASSES)
struct states {
	uint32_t n;
	struct state states[STATES];
};

/* A model's execution in the mix that is being worked out. */
struct party {
	struct simulated_model *model;
	const struct costs_kinds *kinds;
	double share[COSTS_MAX_KINDS]; /* of the time in this company */
	double gbps[COSTS_MAX_KINDS];
	double load; /* mean */
	double stretch;
};

struct mix {
	uint32_t n;
	struct party parties[SIMULATION_MAX_MODELS];
	double overlap[SIMULATION_MAX_MODELS][SIMULATION_MAX_MODELS];
};

struct stretch_memo {
	uint64_t key[2]; /* 0, 0: empty */
	uint32_t masks;	 /* number of their change */
	double stretch[SIMULATION_MAX_MODELS];
};

struct kinds_memo {
	uint32_t level, shape, batch; /* batch 0: empty */
	struct costs_kinds kinds;
};
#define KINDS_MEMO 128 /* a power of two */

struct sharing {
	double memory_gbps, launch_ns, dispatch_ns;
	uint32_t masks; /* how often they have changed */
	/* [a][b]: of a's CUs those that are in b's mask, too, in the SE where they are most of
	 * them, as workgroups are dealt over all SEs alike. */
	double overlap[SIMULATION_MAX_MODELS][SIMULATION_MAX_MODELS];
	struct stretch_memo memo[MEMO];
	struct kinds_memo kinds[SIMULATION_MAX_MODELS][KINDS_MEMO];
};

struct sharing *sharing_free(struct sharing *s)
{
	free(s);
	return NULL;
}

int simulation_share_init(struct simulation *s)
{
	const struct plant_device *d = &s->device;
	double factor = s->options.truth->card.time_factor;

	for (uint32_t i = 0; i < s->n_models; i++)
		cu_mask_all(&d->topology, &s->models[i].mask);
	if (s->n_models > 1) {
		s->sharing = calloc(1, sizeof(*s->sharing));
		if (!s->sharing)
			return -ENOMEM;
		s->sharing->memory_gbps = d->memory_gbps / factor;
		s->sharing->launch_ns = d->launch_us * 1e3 * factor;
		s->sharing->dispatch_ns = d->dispatch_us * 1e3 * factor;
	}
	simulation_masks_changed(s);
	return 0;
}

/* ---- masks ---- */

/* A mask of no bits is that of all CUs. */
void simulation_set_mask(struct simulation *s, struct simulated_model *m,
			 const struct cu_mask *mask)
{
	if (mask->n_bits > 0)
		m->mask = *mask;
	else
		cu_mask_all(&s->device.topology, &m->mask);
}

static double overlap(const struct simulation *s, const struct cu_mask *a, const struct cu_mask *b)
{
	const struct cu_topology *t = &s->device.topology;
	uint32_t own[CU_MAX_SE], both[CU_MAX_SE], words[CU_MASK_WORDS];
	double most = 0;

	for (uint32_t w = 0; w < CU_MASK_WORDS; w++)
		words[w] = a->words[w] & b->words[w];
	cu_mask_per_se(t, a->words, CU_MASK_WORDS, own);
	cu_mask_per_se(t, words, CU_MASK_WORDS, both);
	for (uint32_t se = 0; se < t->n_se; se++)
		if (own[se] > 0)
			most = fmax(most, (double)both[se] / own[se]);
	return most;
}

void simulation_masks_changed(struct simulation *s)
{
	const struct truth *t = s->options.truth;
	struct cu_mask all = {0};

	s->ungated_cus = s->ungated[s->models[0].configuration.shape];
	if (!s->sharing)
		return;
	s->sharing->masks++;
	for (uint32_t i = 0; i < s->n_models; i++) {
		for (uint32_t w = 0; w < CU_MASK_WORDS; w++)
			all.words[w] |= s->models[i].mask.words[w];
		for (uint32_t j = 0; j < s->n_models; j++)
			s->sharing->overlap[i][j] =
				overlap(s, &s->models[i].mask, &s->models[j].mask);
	}
	all.n_bits = s->models[0].mask.n_bits;
	s->ungated_cus = plant_ungated_cus_of_mask(&t->device, t->card.gating, &all);
}

/* ---- launches that meet ---- */

static double launch_ns(const struct sharing *s, double execution_ns)
{
	return fmax(s->launch_ns, execution_ns + s->dispatch_ns);
}

/* At a rate of its CUs' work, beside others who ask for other_gbps of the memory. */
static double shared_ns(const struct sharing *s, const struct costs_kind *k, double rate,
			double other_gbps)
{
	double gbps = fmin(s->memory_gbps, k->drawn_bytes_per_ns * rate);
	double compute_ns = k->compute_ns / rate, asked_gbps;
	double ns = launch_ns(s, fmax(compute_ns, k->bytes / gbps));

	asked_gbps = k->bytes / ns;
	if (asked_gbps + other_gbps <= s->memory_gbps || k->bytes == 0)
		return ns;
	gbps = fmin(gbps, asked_gbps * s->memory_gbps / (asked_gbps + other_gbps));
	return launch_ns(s, fmax(compute_ns, k->bytes / gbps));
}

/* Beside the mean of the others. */
static void find_demands(const struct sharing *s, struct mix *x, uint32_t i)
{
	struct party *a = &x->parties[i];
	double others = 0;

	for (uint32_t j = 0; j < x->n; j++)
		if (j != i)
			others += x->overlap[i][j] * x->parties[j].load;
	for (uint32_t k = 0; k < a->kinds->n; k++) {
		const struct costs_kind *kind = &a->kinds->kinds[k];
		double ns = shared_ns(s, kind, kind->held / (kind->held + others),
				      /* other_gbps= */ 0);

		a->gbps[k] = kind->bytes / ns;
	}
}

static void add_state(const struct sharing *s, struct states *sum, double p, double load,
		      double gbps)
{
	uint32_t l = (uint32_t)fmin(load / PLANT_WAVE_SLOTS * (LOAD_CLASSES - 1) + 0.5,
				    LOAD_CLASSES - 1);
	uint32_t m =
		(uint32_t)fmin(gbps / s->memory_gbps * (MEMORY_CLASSES / 2.0), MEMORY_CLASSES - 1);
	struct state *t = &sum->states[l * MEMORY_CLASSES + m];

	t->p += p;
	t->load += p * load;
	t->gbps += p * gbps;
}

/* Empty classes go, sums become means. */
static void finish_states(struct states *sum)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < STATES; i++) {
		const struct state *t = &sum->states[i];

		if (t->p > 0)
			sum->states[n++] = (struct state){t->p, t->load / t->p, t->gbps / t->p};
	}
	sum->n = n;
}

/* What all others of party i do. */
static void find_states(const struct sharing *s, const struct mix *x, uint32_t i,
			struct states *ret)
{
	*ret = (struct states){.n = 1, .states = {{.p = 1}}};
	for (uint32_t j = 0; j < x->n; j++) {
		const struct party *b = &x->parties[j];
		struct states sum = {0};

		if (j == i)
			continue;
		for (uint32_t t = 0; t < ret->n; t++)
			for (uint32_t k = 0; k < b->kinds->n; k++)
				add_state(s, &sum, ret->states[t].p * b->share[k],
					  ret->states[t].load +
						  x->overlap[i][j] * b->kinds->kinds[k].load,
					  ret->states[t].gbps + b->gbps[k]);
		finish_states(&sum);
		*ret = sum;
	}
}

static void stretch_party(const struct sharing *s, struct mix *x, uint32_t i)
{
	struct party *a = &x->parties[i];
	double share[COSTS_MAX_KINDS], load = 0;
	struct states others;

	find_states(s, x, i, &others);
	a->stretch = 0;
	for (uint32_t k = 0; k < a->kinds->n; k++) {
		const struct costs_kind *kind = &a->kinds->kinds[k];
		double per_ns = 0;

		for (uint32_t t = 0; t < others.n; t++) {
			const struct state *o = &others.states[t];

			per_ns += o->p /
				  shared_ns(s, kind, kind->held / (kind->held + o->load), o->gbps);
		}
		share[k] = kind->share / (per_ns * kind->ns);
		a->stretch += share[k];
	}
	for (uint32_t k = 0; k < a->kinds->n; k++) {
		a->share[k] = share[k] / a->stretch;
		load += a->share[k] * a->kinds->kinds[k].load;
	}
	a->load = load;
}

static void work_out(const struct sharing *s, struct mix *x)
{
	for (uint32_t i = 0; i < x->n; i++)
		for (uint32_t k = 0; k < x->parties[i].kinds->n; k++) {
			const struct costs_kind *kind = &x->parties[i].kinds->kinds[k];

			x->parties[i].share[k] = kind->share;
			x->parties[i].load += kind->share * kind->load;
		}
	for (int round = 0; round < ROUNDS; round++) {
		for (uint32_t i = 0; i < x->n; i++)
			find_demands(s, x, i);
		for (uint32_t i = 0; i < x->n; i++)
			stretch_party(s, x, i);
	}
}

/* ---- those who run now ---- */

static const struct costs_kinds *kinds_of(const struct simulation *s,
					  const struct simulated_model *m, uint32_t level,
					  uint32_t batch)
{
	uint32_t shape = m->configuration.shape;
	uint32_t key = (level * s->n_shapes + shape) * 257 + batch;
	struct kinds_memo *memo = &s->sharing->kinds[m->number][key % KINDS_MEMO];

	if (memo->batch == batch && memo->level == level && memo->shape == shape)
		return &memo->kinds;
	*memo = (struct kinds_memo){.level = level, .shape = shape, .batch = batch};
	costs_get_kinds(m->load.costs, level, shape, batch, &memo->kinds);
	return &memo->kinds;
}

/* Of a model with several executions one stands for all. */
static uint32_t batch_of(const struct simulated_model *m)
{
	for (uint32_t i = 0; m->n_running > 0 && i < m->load.workers; i++)
		if (m->executions[i].running)
			return m->executions[i].n;
	return 0;
}

static void find_mix(const struct simulation *s, uint32_t level, struct mix *x)
{
	for (uint32_t i = 0; i < s->n_models; i++)
		if (s->models[i].n_running > 0) {
			struct simulated_model *m = &s->models[i];

			for (uint32_t j = 0; j < x->n; j++) {
				uint32_t other = x->parties[j].model->number;

				x->overlap[x->n][j] = s->sharing->overlap[i][other];
				x->overlap[j][x->n] = s->sharing->overlap[other][i];
			}
			x->parties[x->n++] = (struct party){
				.model = m,
				.kinds = kinds_of(s, m, level, batch_of(m)),
			};
		}
}

static struct stretch_memo *find_memo(const struct simulation *s, uint32_t level)
{
	uint64_t key[2] = {level + 1, 0};
	struct stretch_memo *memo;

	for (uint32_t i = 0; i < s->n_models; i++) {
		uint64_t *k = &key[i % 2];

		*k = *k << 14 | (uint64_t)s->models[i].configuration.shape << 9;
		*k += batch_of(&s->models[i]);
	}
	memo = &s->sharing->memo[plant_hash(key[0], key[1]) % MEMO];
	if (memo->key[0] != key[0] || memo->key[1] != key[1] || memo->masks != s->sharing->masks) {
		*memo = (struct stretch_memo){.key = {key[0], key[1]}, .masks = s->sharing->masks};
		return memo;
	}
	return memo;
}

static void share_between(struct simulation *s)
{
	uint32_t level = plant_card_level(s->card);
	struct stretch_memo *memo = find_memo(s, level);
	struct mix x = {0};

	if (memo->stretch[0] == 0) {
		find_mix(s, level, &x);
		work_out(s->sharing, &x);
		for (uint32_t i = 0; i < s->n_models; i++)
			memo->stretch[i] = 1;
		for (uint32_t i = 0; i < x.n; i++)
			memo->stretch[x.parties[i].model->number] = x.parties[i].stretch;
	}
	for (uint32_t i = 0; i < s->n_models; i++)
		s->models[i].stretch *= memo->stretch[i];
}

void simulation_share(struct simulation *s)
{
	bool alone = false;

	for (uint32_t i = 0; i < s->n_models; i++) {
		s->models[i].stretch = s->models[i].n_running;
		alone |= s->models[i].n_running == s->n_running;
	}
	if (!alone)
		share_between(s);
}
