/* SPDX-License-Identifier: Apache-2.0 */
/* The exhaustive search: of every clock limit with every packing of masks, and with all models on
 * all CUs, at every combination of rates that comes up. */
#include "base/macros.h"
#include "replay/mix-internal.h"
#include <errno.h>
#include <string.h>

/* Of the highest rate of each model; fewer for many models, whose combinations are many more. */
static const uint32_t rate_steps[MIX_MAX_MODELS + 1] = {0, 24, 16, 12, 8};

#define ALL_CUS UINT32_MAX /* instead of a packing: no masks */

#define MAX_SHAPES 256 /* so that their numbers fit into a byte */

#define PAIR_NS UINT64_C(1000000000) /* of the runs that find how models on all CUs slow down */

/* Shapes that can lie on the card together. */
struct packing {
	uint8_t shapes[MIX_MAX_MODELS];
	uint8_t ungated;
};

/* By weight: the least cost, and what has it. */
struct found {
	float cost[MIX_WEIGHTS];
	uint8_t level[MIX_WEIGHTS];
	uint32_t packing[MIX_WEIGHTS];
};

struct combination {
	uint8_t rates[MIX_MAX_MODELS];
	double late_w[MIX_MAX_MODELS]; /* of all requests, each as one at full speed */
	struct found found[MIX_SCOPES];
};

struct mix_search {
	struct mix_search_options options;
	uint32_t n_levels, n_shapes, n_rates;
	float weights[MIX_WEIGHTS];
	struct plant_level levels[PLANT_MAX_LEVELS];
	const struct cu_shape *shapes;
	double step_rps[MIX_MAX_MODELS];
	struct mix_cells *cells[MIX_MAX_MODELS];
	/* [level][a][b]: of a beside b, all the time, both on all CUs */
	double stretch[PLANT_MAX_LEVELS][MIX_MAX_MODELS][MIX_MAX_MODELS];
	uint32_t n_packings, packings_size;
	struct packing *packings;
	uint32_t n_combinations;
	struct combination *combinations;
	uint32_t *of_tick;
};

struct mix_search *mix_search_free(struct mix_search *s)
{
	if (!s)
		return NULL;
	for (uint32_t i = 0; i < MIX_MAX_MODELS; i++)
		(void)mix_cells_free(s->cells[i]);
	free(s->packings);
	free(s->combinations);
	free(s->of_tick);
	free(s);
	return NULL;
}

/* ---- packings ---- */

static int add_packing(struct mix_search *s, const uint8_t *shapes, uint32_t ungated)
{
	struct packing *p;

	if (s->n_packings == s->packings_size) {
		uint32_t size = MAX(2 * s->packings_size, 1024u);
		struct packing *larger = realloc(s->packings, size * sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		s->packings = larger;
		s->packings_size = size;
	}
	p = &s->packings[s->n_packings++];
	memcpy(p->shapes, shapes, sizeof(p->shapes));
	p->ungated = (uint8_t)ungated;
	return 0;
}

/* Ungated CUs of shapes in ascending order; 0 if they cannot lie on the card together. */
static uint32_t pack(const struct mix_search *s, const uint8_t *shapes)
{
	const struct truth *t = s->options.truth;
	struct cu_shape wanted[MIX_MAX_MODELS];
	struct cu_mask masks[MIX_MAX_MODELS], all;

	for (uint32_t i = 0; i < s->options.n_models; i++)
		wanted[i] = s->shapes[shapes[i]];
	if (cu_masks_pack(&t->device.topology, wanted, s->options.n_models, /* first_se= */ 0,
			  masks) < 0)
		return 0;
	all = masks[0];
	for (uint32_t i = 1; i < s->options.n_models; i++)
		for (uint32_t w = 0; w < CU_MASK_WORDS; w++)
			all.words[w] |= masks[i].words[w];
	return plant_ungated_cus_of_mask(&t->device, t->card.gating, &all);
}

/* Each order of the same shapes packs alike, so only ascending ones are tried. */
static int permute(struct mix_search *s, uint8_t *shapes, uint32_t from, uint32_t ungated)
{
	uint32_t n = s->options.n_models;
	int r = 0;

	if (from + 1 >= n)
		return add_packing(s, shapes, ungated);
	for (uint32_t i = from; i < n && r == 0; i++) {
		uint8_t t = shapes[i];
		bool seen = false;

		for (uint32_t j = from; j < i; j++)
			seen |= shapes[j] == t;
		if (seen)
			continue;
		shapes[i] = shapes[from];
		shapes[from] = t;
		r = permute(s, shapes, from + 1, ungated);
		shapes[from] = shapes[i];
		shapes[i] = t;
	}
	return r;
}

static int find_packings(struct mix_search *s, uint8_t *shapes, uint32_t at, uint32_t cus)
{
	uint32_t all = cu_topology_cus(&s->options.truth->device.topology), ungated;
	int r = 0;

	if (at == MIX_MAX_MODELS || at == s->options.n_models) {
		ungated = pack(s, shapes);
		return ungated > 0 ? permute(s, shapes, 0, ungated) : 0;
	}
	for (uint32_t i = at > 0 ? shapes[at - 1] : 0; i < s->n_shapes && r == 0; i++) {
		uint32_t more = cu_shape_cus(s->shapes[i]);

		if (cus + more > all)
			break;
		shapes[at] = (uint8_t)i;
		r = find_packings(s, shapes, at + 1, cus + more);
	}
	return r;
}

/* ---- all models on all CUs ---- */

static int run_pair(struct mix_search *s, uint32_t level, uint32_t a, uint32_t b)
{
	const struct mix_search_options *o = &s->options;
	uint16_t all = (uint16_t)(s->n_shapes - 1);
	const struct configuration c[2] = {{(uint16_t)level, all, (uint16_t)o->batch},
					   {(uint16_t)level, all, (uint16_t)o->batch}};
	const struct simulation_load other = {.costs = o->costs[b],
					      .workers = 1,
					      .saturated = true,
					      .seed = o->seed};
	const struct simulation_options run = {
		.truth = o->truth,
		.costs = o->costs[a],
		.others = &other,
		.n_others = 1,
		.schedule = c,
		.n_schedule = 1,
		.duration_ns = PAIR_NS,
		.poll_ns = EVALUATE_POLL_NS,
		.workers = 1,
		.saturated = true,
		.seed = o->seed,
	};
	_cleanup_(simulation_freep) struct simulation *simulation = NULL;
	struct simulation_result results[2] = {0};
	int r;

	r = simulation_new(&run, &simulation);
	if (r == 0)
		r = simulation_finish(simulation, simulation_run(simulation), results);
	if (r == 0) {
		double a_ns = costs_get(o->costs[a], level, all, o->batch).ns;
		double b_ns = costs_get(o->costs[b], level, all, o->batch).ns;
		double batch_ns = results[0].length_s * 1e9 * o->batch;

		s->stretch[level][a][b] = fmax(1, batch_ns / (double)results[0].completed / a_ns);
		s->stretch[level][b][a] = fmax(1, batch_ns / (double)results[1].completed / b_ns);
	}
	simulation_result_done(&results[0]);
	simulation_result_done(&results[1]);
	return r;
}

static int find_stretches(struct mix_search *s)
{
	int r = 0;

	for (uint32_t l = 0; l < s->n_levels; l++)
		for (uint32_t a = 0; a < s->options.n_models; a++)
			for (uint32_t b = a + 1; b < s->options.n_models && r == 0; b++)
				r = run_pair(s, l, a, b);
	return r;
}

/* ---- a combination of rates ---- */

static double mean_power_w(const struct mix_search *s, uint32_t level, double asleep, double idle,
			   uint32_t ungated, double work_w)
{
	const struct plant_device *d = &s->options.truth->device;
	const struct plant_level *l = &s->levels[level];

	return s->options.truth->card.power_factor *
	       (d->idle_w + idle * l->between_w + (1 - idle) * ungated * l->cu_w +
		fmin(1 - idle, 1 - asleep) * d->uncore_w + work_w);
}

/* At any weight. Hardly ever so, and asked some hundred million times: without branches. */
static bool is_better(const struct mix_search *s, const struct found *f, float power_w,
		      float late_w)
{
	uint32_t better = 0;

	for (uint32_t w = 0; w < MIX_WEIGHTS; w++)
		better |= power_w + s->weights[w] * late_w < f->cost[w];
	return better;
}

static void take(const struct mix_search *s, struct found *f, float power_w, float late_w,
		 uint32_t level, uint32_t packing)
{
	if (!is_better(s, f, power_w, late_w))
		return;
	for (uint32_t w = 0; w < MIX_WEIGHTS; w++) {
		float cost = power_w + s->weights[w] * late_w;

		if (cost >= f->cost[w])
			continue;
		f->cost[w] = cost;
		f->level[w] = (uint8_t)level;
		f->packing[w] = packing;
	}
}

static void consider(struct mix_search *s, struct combination *c, uint32_t level, uint32_t packing,
		     const struct mix_cell *const *cells, uint32_t ungated)
{
	double asleep = 1, idle = 1, work_w = 0, late_w = 0;
	float power_w;

	for (uint32_t i = 0; i < s->options.n_models; i++) {
		asleep *= 1 - cells[i]->awake;
		idle *= 1 - cells[i]->busy;
		work_w += cells[i]->work_w;
		late_w += c->late_w[i] * cells[i]->late;
	}
	power_w = (float)mean_power_w(s, level, asleep, idle, ungated, work_w);
	take(s, &c->found[MIX_ALL], power_w, (float)late_w, level, packing);
	if (packing != ALL_CUS)
		take(s, &c->found[MIX_PACKINGS], power_w, (float)late_w, level, packing);
}

/* What cannot serve its rate is no part of a plan. */
static bool can_serve(const struct mix_cell *cell)
{
	return cell->busy < 1;
}

static void search_level(struct mix_search *s, struct combination *c, uint32_t level)
{
	const struct mix_cell *by_shape[MIX_MAX_MODELS][MAX_SHAPES], *cells[MIX_MAX_MODELS];
	uint32_t n = s->options.n_models;

	for (uint32_t i = 0; i < n; i++)
		for (uint32_t shape = 0; shape < s->n_shapes; shape++) {
			by_shape[i][shape] =
				mix_cells_get(s->cells[i], c->rates[i], level, shape, 1);
			if (!can_serve(by_shape[i][shape]))
				by_shape[i][shape] = NULL;
		}
	for (uint32_t p = 0; p < s->n_packings; p++) {
		uint32_t i = 0;

		while (i < n && (cells[i] = by_shape[i][s->packings[p].shapes[i]]))
			i++;
		if (i == n)
			consider(s, c, level, p, cells, s->packings[p].ungated);
	}
}

static void search_packings(struct mix_search *s, struct combination *c)
{
	for (uint32_t l = 0; l < s->n_levels; l++)
		search_level(s, c, l);
}

static void search_shared(struct mix_search *s, struct combination *c)
{
	uint32_t n = s->options.n_models, all = s->n_shapes - 1;
	const struct mix_cell *cells[MIX_MAX_MODELS];

	for (uint32_t l = 0; l < s->n_levels; l++) {
		double stretch[MIX_MAX_MODELS];

		for (uint32_t i = 0; i < n; i++)
			cells[i] = mix_cells_get(s->cells[i], c->rates[i], l, all, 1);
		/* Those who slow others down are slowed down, too. */
		for (int round = 0; round < 3; round++) {
			for (uint32_t i = 0; i < n; i++) {
				stretch[i] = 1;
				for (uint32_t j = 0; j < n; j++)
					if (j != i)
						stretch[i] += (double)cells[j]->busy *
							      (s->stretch[l][i][j] - 1);
			}
			for (uint32_t i = 0; i < n; i++)
				cells[i] =
					mix_cells_get(s->cells[i], c->rates[i], l, all, stretch[i]);
		}
		consider(s, c, l, ALL_CUS, cells,
			 cu_topology_cus(&s->options.truth->device.topology));
	}
}

static void search(struct mix_search *s, struct combination *c)
{
	for (uint32_t i = 0; i < s->options.n_models; i++)
		c->late_w[i] = s->options.request_j[i] * c->rates[i] * s->step_rps[i];
	for (int scope = 0; scope < MIX_SCOPES; scope++)
		for (uint32_t w = 0; w < MIX_WEIGHTS; w++) {
			c->found[scope].cost[w] = INFINITY;
			/* If nothing serves: all of the card. */
			c->found[scope].level[w] = (uint8_t)(s->n_levels - 1);
			c->found[scope].packing[w] = ALL_CUS;
		}
	search_shared(s, c);
	search_packings(s, c);
}

/* ---- all of it ---- */

/* The step that holds it: what is chosen has to serve the tick's own rate. */
static uint8_t rate_of(const struct mix_search *s, uint32_t model, uint32_t tick)
{
	double rps = s->options.rate_rps[model][tick];

	return (uint8_t)fmin(ceil(rps / s->step_rps[model] - 1e-9), s->n_rates);
}

static int find_combinations(struct mix_search *s)
{
	uint32_t n = s->options.n_ticks;

	s->of_tick = calloc(n, sizeof(*s->of_tick));
	s->combinations = calloc(n, sizeof(*s->combinations));
	if (!s->of_tick || !s->combinations)
		return -ENOMEM;
	for (uint32_t t = 0; t < n; t++) {
		uint8_t rates[MIX_MAX_MODELS] = {0};
		uint32_t c = 0;

		for (uint32_t i = 0; i < s->options.n_models; i++)
			rates[i] = rate_of(s, i, t);
		while (c < s->n_combinations &&
		       memcmp(s->combinations[c].rates, rates, sizeof(rates)) != 0)
			c++;
		if (c == s->n_combinations) {
			memcpy(s->combinations[c].rates, rates, sizeof(rates));
			search(s, &s->combinations[c]);
			s->n_combinations++;
		}
		s->of_tick[t] = c;
	}
	return 0;
}

static int make_cells(struct mix_search *s, uint32_t i)
{
	const struct mix_search_options *o = &s->options;
	struct mix_cells_options cells = {
		.truth = o->truth,
		.costs = o->costs[i],
		.slo_ns = o->slo_ns[i],
		.batch = o->batch,
		.n_rates = s->n_rates,
		.seed = plant_hash(o->seed, i),
	};
	double most = 0;

	for (uint32_t t = 0; t < o->n_ticks; t++)
		most = fmax(most, o->rate_rps[i][t]);
	s->step_rps[i] = cells.step_rps = most > 0 ? most / s->n_rates : 1;
	return mix_cells_new(&cells, &s->cells[i]);
}

int mix_search_new(const struct mix_search_options *o, struct mix_search **ret)
{
	_cleanup_(mix_search_freep) struct mix_search *s = calloc(1, sizeof(*s));
	uint8_t shapes[MIX_MAX_MODELS] = {0};
	int r = 0;

	if (o->n_models > MIX_MAX_MODELS)
		return -EINVAL;
	if (!s)
		return -ENOMEM;
	s->options = *o;
	s->n_levels = o->truth->device.n_levels;
	s->n_rates = rate_steps[o->n_models];
	for (uint32_t w = 0; w < MIX_WEIGHTS; w++)
		s->weights[w] = (float)(0.05 * pow(10, w / 8.0));
	s->shapes = costs_shapes(o->costs[0], &s->n_shapes);
	if (s->n_shapes > MAX_SHAPES)
		return -ENOSPC;
	for (uint32_t l = 0; l < s->n_levels; l++)
		s->levels[l] = plant_level_of(&o->truth->device, l);
	for (uint32_t i = 0; i < o->n_models && r == 0; i++)
		r = make_cells(s, i);
	if (r == 0)
		r = find_packings(s, shapes, 0, 0);
	if (r == 0)
		r = find_stretches(s);
	if (r == 0)
		r = find_combinations(s);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

static uint32_t shape_of(const struct mix_search *s, uint32_t packing, uint32_t model)
{
	return packing == ALL_CUS ? s->n_shapes - 1 : s->packings[packing].shapes[model];
}

void mix_search_schedule(const struct mix_search *s, enum mix_scope scope, uint32_t weight,
			 struct configuration *ret)
{
	uint32_t n = s->options.n_models;

	for (uint32_t t = 0; t < s->options.n_ticks; t++) {
		const struct found *f = &s->combinations[s->of_tick[t]].found[scope];

		for (uint32_t i = 0; i < n; i++)
			ret[t * n + i] = (struct configuration){
				.level = f->level[weight],
				.shape = (uint16_t)shape_of(s, f->packing[weight], i),
				.batch = (uint16_t)s->options.batch,
			};
	}
}
