/* SPDX-License-Identifier: Apache-2.0 */
/* Between card-plan.c (a plan from the best masks and the best without), card-plan-sacrifice.c (who
 * gives way), card-plan-level.c (one clock after the other), card-plan-kept.c (what each model may
 * choose at a clock), card-plan-bound.c (what that costs at least),
 * card-plan-search.c (the best choice at one clock), card-plan-packing.c (whether there is room for
 * it), card-plan-shared.c (without masks) and card-plan-options.c (what an option means for a
 * demand). */
#pragma once

#include "governor/card-plan.h"

#define PLAN_MAX_UNITS 160 /* parts of SEs in an XCC */
/* Room is counted in cells; tables of so many are as tight as larger ones: large shapes are of as
 * many SEs as there are, and cells of that many units. */
#define PLAN_FEW_UNITS 24
#define PLAN_MAX_CELLS 40
/* Cells that are done at once, and how many there are so at most. */
#define PLAN_BLOCK	 8
#define PLAN_LAST_CELL	 ((PLAN_MAX_CELLS / PLAN_BLOCK + 1) * PLAN_BLOCK - 1)
#define PLAN_MAX_CHOICES 96 /* of a model at a clock, none of which is worse than another */
#define PLAN_NO_CLOCK	 UINT8_MAX
/* Branches that a plan may take: some 20 ms. The best until then is taken. A hundred times what
 * plans of cards known take without gated CUs. */
#define PLAN_MAX_BRANCHES 400000
/* Of memory load that others have: the steps that it is rounded up to. */
#define PLAN_LOAD_STEPS 32
/* Of a model that gives way: no logarithm of nothing. */
#define PLAN_MOST_BUSY 0.999
/* Options that are looked at before they are weighed. */
#define PLAN_AT_ONCE 64
/* Below it costs are the same. */
#define PLAN_SAME_W 1e-7

/* XCCs are alike, and a shape has the same part in each: all is counted in one. */
struct plan_rooms {
	uint32_t n_xcc, n_se;  /* n_se: in an XCC */
	uint32_t se_cus;       /* of the smallest SE */
	uint32_t parts;	       /* that each SE is given out in */
	uint32_t grain, cells; /* units in a cell, and whole ones */
	uint8_t parts_for[33]; /* so many CUs of an SE */
};

/* What stays of an option, whatever the demand. */
struct plan_option {
	double draw;  /* of memory */
	bool may;     /* be chosen: masks, batches, room */
	uint8_t rows; /* of rates from here on its SLO is not held, whatever the others do */
	uint8_t n_se, parts, units, halves, thirds; /* as of struct plan_choice */
};

/* A model in hand. */
struct plan_model {
	const struct card_plan_model *asked;
	const struct response_menu *menu;
	uint32_t index; /* in the request */
	uint32_t row;	/* of the menu's rates, with nobody else on the card; n_rates: beyond */
	double rate_rps, demand_rps, factor; /* by the menu; as asked */
	double baseline_w;		     /* busy with B */
	double load, others_load;	     /* of memory */
	double bound_ns;		     /* of a request under B: for memory alone */
	double late_w; /* what it costs if all requests of a second are late, by rate */
	/* Alone and at the lowest rate: the one that survives a step, or what has as much capacity.
	 */
	uint32_t only; /* UINT32_MAX: any */
	double least_capacity_rps;
	bool may_give_way;
	double gives_way_w; /* what that counts; 0: power is all that matters */
	double unserved_w;  /* if it is not served at all, likewise */
	uint8_t clocks[SURFACE_MAX_LEVELS];
	uint16_t first[SURFACE_MAX_LEVELS + 1]; /* option of each of the menu's clocks */
};

/* An option at the demand in hand: a cache line. */
struct plan_choice {
	double own_w, cost_w; /* rate * energy; and what is late or not served */
	double idle_share;    /* 1 - u */
	double factor;	      /* of its service times: the card's and the others' */
	double neg_log;	      /* -ln(idle_share) */
	double linear_w;      /* of the search */
	float tail_ns;	      /* INFINITY: not known */
	float ungated_cus;    /* what it adds to them */
	uint16_t option;
	uint16_t units;		/* n_se * parts */
	uint8_t n_se, parts;	/* the room it takes in an XCC: n_se times so many parts of an SE */
	uint8_t halves, thirds; /* how many SEs it fills by more than half; more than a third, and
				 * once more those by more than two thirds */
};

/* An option that may become a choice: its room and its factor are set. */
struct plan_candidate {
	struct plan_choice choice;
	uint32_t row;			/* of the menu's rates */
	double stretched;		/* by the others */
	bool may_hold;			/* its SLO */
	const struct menu_point *point; /* NULL: beyond all rates */
};

/* The least of all choices of a list, each by itself. */
struct plan_least {
	double cost_w, busy, cus;
	double work; /* share of the time, times share of the card */
	uint32_t units, halves, thirds;
};
extern const struct plan_least plan_least_none;

/* The least of all options of a model at a clock, whatever the demand. */
struct plan_rough {
	double energy_j, most_rps, cus_s; /* for a request */
	double cus;
};

/* The least room in which an option of a model's at a clock can hold a rate; UINT8_MAX: none can.
 * And the least that others slow them down by. */
struct plan_steps {
	uint8_t any_units; /* of any option */
	uint8_t units[TABLE_MAX_ROWS], halves[TABLE_MAX_ROWS], thirds[TABLE_MAX_ROWS];
	double draw, bound_share;
};

/* A bound of all choices of a model at a clock, and one of all in so many cells. */
struct plan_bound {
	bool any;
	struct plan_least least;
	double cost_w[PLAN_MAX_CELLS + 1];     /* INFINITY: there are none */
	double idle_share[PLAN_MAX_CELLS + 1]; /* likewise 0 */
};

/* Of some models in so many cells of room; first, in less than none. */
struct plan_cells {
	double at[PLAN_BLOCK + PLAN_LAST_CELL + 1];
};

struct plan_list {
	bool capped;	/* power matters apart from cost */
	double least_w; /* cost */
	uint32_t n;
	struct plan_choice choices[PLAN_MAX_CHOICES];
};

/* What all models have in common at a clock. */
struct plan_clock {
	double idle_w, uncore_w, cu_w;
	double always_cus, most_cus; /* ungated: whatever is chosen; at most */
	bool adds_up; /* ungated CUs: with the choices'; otherwise only the most is a bound */
};

struct plan_search {
	struct plan_rooms rooms;
	struct plan_clock clock;
	double cap_w; /* of the predicted power; INFINITY: none */
	uint32_t n, branches;
	struct plan_list *lists; /* [n]; for the search to weigh */
	bool found;
	double best_w; /* cost; lower it beforehand to find only what is better */
	struct plan_choice best[CARD_PLAN_MAX_MODELS];
};

/* Choices of all models at one level, or none. */
struct plan_found {
	bool found;
	uint32_t level;
	struct plan_clock clock;
	double cost_w;
	struct plan_choice choices[CARD_PLAN_MAX_MODELS];
};

struct planning {
	const struct card_plan_request *request;
	struct card_planner *kept; /* NULL: nothing is */
	struct plan_rooms rooms;
	double cap_w;
	uint32_t n;
	struct plan_model models[CARD_PLAN_MAX_MODELS]; /* by name */
	uint32_t heavy[CARD_PLAN_MAX_MODELS];		/* those with the most load first */
	bool masks;					/* all may be masked */
	uint32_t level;					/* of the best */
	struct plan_search search;
	struct plan_list lists[CARD_PLAN_MAX_MODELS];
};

/* card-plan-options.c */

void plan_option_init(const struct card_plan_request *q, const struct plan_rooms *rooms,
		      const struct plan_model *m, uint32_t option, struct plan_option *ret);
/* In two steps, as points lie far apart in memory: asked for all at once, they arrive together.
 * First those that can be a choice: by masks, batches and, of a model that does not give way, what
 * they can serve. From first on, to *ret_next; how many. options: all of the menu, known; NULL:
 * none are. Then false if its SLO is not held. */
uint32_t plan_look_at(const struct planning *p, const struct plan_model *m,
		      const struct plan_option *options, uint32_t first, uint32_t end,
		      struct plan_candidate ret[PLAN_AT_ONCE], uint32_t *ret_next);
bool plan_weigh(const struct card_plan_request *q, const struct plan_model *m,
		struct plan_candidate *c);
/* Both. */
bool plan_evaluate(const struct card_plan_request *q, const struct plan_rooms *rooms,
		   const struct plan_model *m, uint32_t option, struct plan_choice *ret);
/* The same without a mask, where the others make its services take so many times as long. */
bool plan_evaluate_shared(const struct card_plan_request *q, const struct plan_model *m,
			  uint32_t option, double stretched, struct plan_choice *ret);
/* The first rate from row on that holds rate_rps; n_rates: none. */
uint32_t plan_row_from(const struct response_menu *m, uint32_t row, double rate_rps);
void plan_model_init(const struct card_plan_request *q, uint32_t index, struct plan_model *ret);
/* Power of choices, one for each model. */
double plan_power_w(const struct plan_clock *c, const struct plan_choice *choices, uint32_t n);
double plan_cost_w(const struct plan_clock *c, const struct plan_choice *choices, uint32_t n);

/* card-plan-bound.c */

/* The rates from which on an option cannot hold the limit at a factor of this or more. */
uint8_t plan_rows_of(const struct plan_model *m, uint32_t option, double factor);
/* From all options of model i at a level. */
void plan_rough_of(const struct planning *p, uint32_t i, uint32_t level, struct plan_rough *ret);
struct plan_least plan_rough_least(const struct plan_model *m, const struct plan_rough *rough);
/* From the rates that options hold, all known. */
void plan_steps_of(const struct plan_model *m, uint32_t level, const struct plan_option *options,
		   struct plan_steps *ret);
/* The room that the model needs if it holds its SLO; UINT8_MAX: it cannot. */
void plan_steps_need(const struct plan_model *m, const struct plan_steps *s,
		     struct plan_least *ret);
/* From those that may do, without their points; options: all of the menu, those of the level are
 * known; NULL: none are. */
void plan_bound_of(const struct planning *p, uint32_t i, uint32_t level,
		   const struct plan_option *options, struct plan_bound *ret);
/* What a plan at a clock costs at least: fast; and in the room that there is. INFINITY: none. */
double plan_bound_w(const struct planning *p, const struct plan_clock *clock,
		    const struct plan_least *least);
double plan_bound_in_room_w(struct planning *p, uint32_t level, const struct plan_clock *clock,
			    const struct plan_least *least);
/* The least sum, or the most product, of what these have in so much room, with one more that has
 * own in so many cells. most: which of the two, known when it is compiled. */
static inline void plan_cells_add(bool most, double own, uint32_t taken, uint32_t cells,
				  const struct plan_cells *after, struct plan_cells *ret)
{
	for (uint32_t left = taken / PLAN_BLOCK * PLAN_BLOCK; left <= cells; left += PLAN_BLOCK) {
		const double *restrict rest = &after->at[PLAN_BLOCK + left - taken];
		double *restrict best = &ret->at[PLAN_BLOCK + left];

#pragma GCC unroll 8
		for (int k = 0; k < PLAN_BLOCK; k++)
			best[k] = most ? MAX(own * rest[k], best[k]) : MIN(own + rest[k], best[k]);
	}
}

static inline void plan_cells_least(double own, uint32_t taken, uint32_t cells,
				    const struct plan_cells *after, struct plan_cells *ret)
{
	plan_cells_add(false, own, taken, cells, after, ret);
}

static inline void plan_cells_most(double own, uint32_t taken, uint32_t cells,
				   const struct plan_cells *after, struct plan_cells *ret)
{
	plan_cells_add(true, own, taken, cells, after, ret);
}

/* In any room the same, but in less than none. */
static inline void plan_cells_set(struct plan_cells *c, double in_none, double in_any)
{
	for (int i = 0; i <= PLAN_BLOCK + PLAN_LAST_CELL; i++)
		c->at[i] = i < PLAN_BLOCK ? in_none : in_any;
}

static inline double plan_in_cells(const struct plan_cells *c, uint32_t left)
{
	return c->at[PLAN_BLOCK + left];
}

/* card-plan-packing.c */

/* Whether the rooms of n choices can be had together. */
bool plan_packs(const struct plan_rooms *rooms, const struct plan_choice *choices, uint32_t n);

/* card-plan-search.c */

/* Adds a choice unless another is never worse, and takes away those that it is never worse than. */
void plan_list_add(struct plan_list *l, const struct plan_choice *c);
/* Finds the choices of least cost at a clock, if they cost less than best_w. */
void plan_search_clock(struct plan_search *s);

/* card-plan-kept.c */

/* Before a plan: what is kept of a model for another question is forgotten. */
void plan_kept_begin(struct planning *p);
/* The least of all options of model i at this level, if such are kept. */
bool plan_kept_rough(struct planning *p, uint32_t i, uint32_t level, struct plan_least *ret);
/* What is kept of the room that options of model i need at this level; NULL: nothing. */
const struct plan_steps *plan_kept_steps(struct planning *p, uint32_t i, uint32_t level);
/* A bound of all choices of model i at this level; in what, if it is not kept. */
const struct plan_bound *plan_kept_bound(struct planning *p, uint32_t i, uint32_t level,
					 struct plan_bound *in);
/* The least of the choices of model i at this level, exactly; false: there is none. */
bool plan_kept_least(struct planning *p, uint32_t i, uint32_t level, struct plan_least *ret);
/* p->lists[i], after plan_kept_least() of the same level. */
void plan_kept_list(struct planning *p, uint32_t i, uint32_t level);

/* card-plan-level.c */

bool plan_clock_of(const struct planning *p, uint32_t level, struct plan_clock *ret);
/* The best masks for those who give way and those who do not, if they cost less than below_w; false
 * if there are none. In p->search and p->level. */
bool plan_solve(struct planning *p, double below_w);

/* card-plan-sacrifice.c */

double plan_share_of_card(const struct plan_model *m);
/* The best masks where not all SLOs can be held, or nothing is inside the cap: models give way in
 * their order. Asked before anything of the plan's models is. */
void plan_let_give_way(struct planning *p);
void plan_let_cap_go(struct planning *p);

/* card-plan-shared.c */

/* The best of all models on all CUs over the card's levels. */
void plan_shared(const struct planning *p, struct plan_found *ret);
