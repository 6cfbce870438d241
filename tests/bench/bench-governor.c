/* SPDX-License-Identifier: Apache-2.0 */
/* What one tick of governing costs: the steps of all cards, without input and output; and what it
 * costs to plan for several models on each of them, as the governor asks, where all their demands
 * are new or one model's is; with masks alone, and with more load than the card can serve. Time of
 * the processor that this thread has had.
 *   bench-governor [--json FILE] */
#include "base/log.h"
#include "unit/card-plan-menus.h"
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <time.h>

enum { MAX_CARDS = 64, TICKS = 4000, PLANS = 500, WARM_UP = 200 };

struct scenario {
	const char *what;
	uint32_t cards, models; /* models on each card */
	uint32_t active;	/* of them with a worker */
	bool together;		/* with menus, which several models are planned for by */
	double plans;		/* plans alone, no steps, each model's share of R at most this
				 * over their number; 0: steps */
	bool one_new;		/* plans: of one model only the demand changes */
	bool masks;		/* plans: not all on all CUs */
};

static const struct scenario scenarios[] = {
	{"1 card x 1 model", 1, 1, 1},
	{"1 card x 8 models, 1 active", 1, 8, 1},
	{"1 card x 8 models, all active", 1, 8, 8},
	{"8 cards x 8 models, all active", 8, 8, 8},
	{"64 cards x 1 model", 64, 1, 1},
	{"1 card x 8 models, together", 1, 8, 8, .together = true},
	{"8 cards x 8 models, together", 8, 8, 8, .together = true},
	{"plans, 2 models", 1, 2, 2, .plans = 1},
	{"plans, 4 models", 1, 4, 4, .plans = 1},
	{"plans, 8 models", 1, 8, 8, .plans = 1},
	{"plans, 8 models, one new", 1, 8, 8, .plans = 1, .one_new = true},
	{"plans, 8 cards x 8 models", 8, 8, 8, .plans = 1},
	{"plans, 8 cards x 8, one new each", 8, 8, 8, .plans = 1, .one_new = true},
	{"plans, 4 models, masks", 1, 4, 4, .plans = 1, .masks = true},
	{"plans, 4 models, masks, one new", 1, 4, 4, .plans = 1, .one_new = true, .masks = true},
	{"plans, 8 models, masks", 1, 8, 8, .plans = 0.5, .masks = true},
	{"plans, 8 models, masks, one new", 1, 8, 8, .plans = 0.5, .one_new = true, .masks = true},
	{"plans, 8 cards x 8, masks, one new", 8, 8, 8, .plans = 0.5, .one_new = true,
	 .masks = true},
	{"plans, 8 models, too much load", 1, 8, 8, .plans = 4},
	{"plans, 8 models, too much, one new", 1, 8, 8, .plans = 4, .one_new = true},
};

struct result {
	double median_us, p99_us, max_us;
};

struct card {
	struct governor *governor;
	struct governor_input input;
	struct governor_decision decision;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	/* Of this thread alone: what else the machine does is no part of it. */
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Load that rises and falls, so that look-ups, changes and dwells are all in the mean. */
static void next_input(const struct scenario *s, struct card *card, unsigned int tick,
		       uint64_t *seed)
{
	double rate_rps = 100 + 80 * sin(tick / 40.0);

	card->input.interval_ns = 500 * NSEC_PER_MSEC;
	card->input.now_ns += card->input.interval_ns;
	if (s->together)
		rate_rps *= 0.15;
	for (uint32_t i = 0; i < s->active; i++) {
		double noise = 0.8 + 0.4 * bench_uniform(seed);

		card->input.models[i] = (struct governor_model_input){
			.state = GOVERNOR_INPUT_OK,
			.workers = 1,
			.arrivals = (uint64_t)(rate_rps / 2 * noise),
			.in_flight = 1,
			.oldest_age_ns = (uint64_t)(1e6 * noise),
			.busy_ns = 300 * NSEC_PER_MSEC,
			.executions = (uint64_t)(rate_rps / 2),
			.whole_interval = true,
			.mask_follows = true,
			.batch_follows = true,
			.acknowledged = true,
		};
	}
}

/* Eight models of sizes that an eighth of a card is enough for. */
static struct response_menu *menus[CARD_PLAN_MAX_MODELS];
static struct response_table *tables[CARD_PLAN_MAX_MODELS];

static void menus_make(void)
{
	static const char names[CARD_PLAN_MAX_MODELS][2] = {"a", "b", "c", "d", "e", "f", "g", "h"};

	for (uint32_t i = 0; i < CARD_PLAN_MAX_MODELS && !menus[i]; i++) {
		struct menu_recipe r = {
			.topology = cu_topology_even(4, 15),
			.n_levels = BENCH_LEVELS,
			.level_mhz = bench_level_mhz,
			.n_rates = 55,
			.n_batches = 1,
			.work_ns = 1e6 * (1 + 0.37 * i),
			.memory_ns = 0.3e6,
			.launch_ns = 2e6,
			.slo_factor = 2,
			.noise = 0.02,
			.seed = i + 1,
			.name = names[i],
		};

		menus[i] = menus_new(&r);
		tables[i] = menus_table(menus[i]);
	}
}

static int cards_new(const struct scenario *s, const struct response_table *table,
		     struct card *cards)
{
	struct governor_config config;

	bench_config(&config, table);
	config.n_models = s->models;
	for (uint32_t i = 0; i < s->models; i++) {
		config.models[i] = config.models[0];
		(void)snprintf(config.models[i].name, sizeof(config.models[i].name), "model-%u", i);
		if (s->together) {
			config.models[i].table = tables[i];
			config.models[i].menu = menus[i];
			config.models[i].late_cost = TABLE_LATE_COST;
		}
	}
	for (uint32_t i = 0; i < s->cards; i++) {
		int r = governor_new(&config, &cards[i].governor);

		if (r < 0)
			return r;
	}
	return 0;
}

static void new_demands(const struct scenario *s, struct card_plan_request *q,
			const struct card_plan *before, unsigned int tick, uint64_t *seed)
{
	for (uint32_t i = 0; i < q->n; i++) {
		double demand_rps = menus[i]->rated_rps * s->plans * bench_uniform(seed) / q->n;

		if (s->one_new && tick > 0 && i != tick % q->n)
			demand_rps = q->models[i].demand_rps;
		q->models[i] = (struct card_plan_model){
			.menu = menus[i],
			.demand_rps = demand_rps,
			.factor = 1,
			.limit_ns = (double)menus[i]->slo_ns,
			.late_cost = TABLE_LATE_COST,
			.share = 0.6,
			.priority = 100,
			.may_mask = true,
			.may_batch = true,
			.in_force = before ? before->models[i].option : UINT32_MAX,
		};
	}
}

static int plan_cards(const struct scenario *s, uint64_t *ns)
{
	static struct card_plan plans[MAX_CARDS];
	static struct card_plan_request q[MAX_CARDS];
	struct card_planner_size size = {.n_models = s->models};
	struct card_planner *kept[MAX_CARDS] = {NULL};
	struct governor_config config;
	uint64_t seed = 1;
	int r = 0;

	bench_config(&config, NULL);
	size.n_levels = config.n_levels;
	for (uint32_t i = 0; i < s->models; i++)
		size.n_options = MAX(size.n_options, menus[i]->n_options);
	for (uint32_t i = 0; r == 0 && i < s->cards; i++)
		r = card_planner_new(&size, &kept[i]);
	for (unsigned int tick = 0; r == 0 && tick < PLANS; tick++) {
		uint64_t begin_ns;

		for (uint32_t i = 0; i < s->cards; i++) {
			q[i].card = &config;
			q[i].n = s->models;
			q[i].may_share = !s->masks;
			new_demands(s, &q[i], tick > 0 ? &plans[i] : NULL, tick, &seed);
		}
		begin_ns = now_ns();
		for (uint32_t i = 0; r == 0 && i < s->cards; i++)
			r = card_plan_make(&q[i], kept[i], &plans[i]);
		ns[tick] = now_ns() - begin_ns;
	}
	for (uint32_t i = 0; i < s->cards; i++)
		(void)card_planner_free(kept[i]);
	return r;
}

static int step_cards(const struct scenario *s, uint64_t *ns)
{
	static struct card cards[MAX_CARDS];
	struct response_table table;
	uint64_t seed = 1;
	int r;

	memset(cards, 0, sizeof(cards));
	bench_table(&table, 200);
	r = cards_new(s, &table, cards);
	for (unsigned int tick = 0; r == 0 && tick < WARM_UP + TICKS; tick++) {
		uint64_t begin_ns;

		for (uint32_t i = 0; i < s->cards; i++)
			next_input(s, &cards[i], tick, &seed);
		begin_ns = now_ns();
		for (uint32_t i = 0; i < s->cards; i++)
			governor_step(cards[i].governor, &cards[i].input, &cards[i].decision);
		if (tick >= WARM_UP)
			ns[tick - WARM_UP] = now_ns() - begin_ns;
	}
	for (uint32_t i = 0; i < s->cards; i++)
		governor_free(cards[i].governor);
	return r;
}

static int run(const struct scenario *s, struct result *ret)
{
	static uint64_t ns[TICKS];
	size_t n = s->plans > 0 ? PLANS : TICKS;
	int r;

	menus_make();
	r = s->plans > 0 ? plan_cards(s, ns) : step_cards(s, ns);
	if (r < 0)
		return r;
	qsort(ns, n, sizeof(ns[0]), compare);
	*ret = (struct result){(double)ns[n / 2] / 1e3, (double)ns[n * 99 / 100] / 1e3,
			       (double)ns[n - 1] / 1e3};
	return 0;
}

static int write_json(const char *path, const struct result *results)
{
	json_t *list = json_array();
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		(void)json_array_append_new(
			list, json_pack("{s:s, s:i, s:i, s:f, s:f, s:f}", "what", scenarios[i].what,
					"cards", (int)scenarios[i].cards, "models",
					(int)(scenarios[i].cards * scenarios[i].models),
					"median_us", results[i].median_us, "p99_us",
					results[i].p99_us, "max_us", results[i].max_us));
	r = json_dump_file(list, path, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) < 0 ? -EIO : 0;
	json_decref(list);
	return r;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"json", required_argument, NULL, 'j'}, {0}};
	struct result results[ARRAY_SIZE(scenarios)];
	const char *path = NULL;
	int c, r;

	log_init("bench-governor", LOG_INFO);
	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (c != 'j')
			return 2;
		path = optarg;
	}
	printf("%-36s%10s%10s%10s\n", "governor, us per tick", "median", "p99", "max");
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
		r = run(&scenarios[i], &results[i]);
		if (r < 0) {
			(void)log_error_errno(r, "Cannot make a governor: %m");
			return 1;
		}
		printf("  %-34s%10.2f%10.2f%10.2f\n", scenarios[i].what, results[i].median_us,
		       results[i].p99_us, results[i].max_us);
	}
	r = path ? write_json(path, results) : 0;
	if (r < 0) {
		(void)log_error_errno(r, "Cannot write %s: %m", path);
		return 1;
	}
	return 0;
}
