/* SPDX-License-Identifier: Apache-2.0 */
/* Menu: everything that a planner may choose from for one model, and what is predicted of it at
 * each rate, derived once from a surface. The table (table.h) holds the one best choice for each
 * rate; the menu holds them all, for those who choose for several models at once, under a cap, or
 * for a card that is slower than its profile.
 *
 * Rates are those of the table's rows. A card whose service times are f times the profile's serves
 * rate x as the profile's card serves f x, and its tail is f times that one's.
 *
 * Power of one model alone, busy for the share u of the time:
 *
 *	idle + u (uncore + ungated CUs * cu) + rate * energy
 *
 * which for full batches is the table's idle + rate / capacity * (busy - idle). Where batches are
 * partial, energy is what the point's power and busy share leave for it. Of several on
 * disjoint masks the middle term counts once, with 1 - prod(1 - u_i) for u and all their CUs. */
#pragma once

#include "response/survival.h"
#include "response/table.h"
#include <math.h>
#include <stddef.h>

#define MENU_MAX_OPTIONS 4096
/* Times the SLO: even a card a third faster than its profile has no use for a tail beyond it. */
#define MENU_TAIL_KEPT 1.5

/* What all options of a clock limit have in common, W. */
struct menu_clock {
	uint32_t max_mhz;
	double idle_w;	 /* nothing runs */
	double cu_w;	 /* each ungated CU, while anything runs */
	double uncore_w; /* memory and fabric, likewise; fitted over the shapes; 0 if it cannot be
			  */
};

struct menu_option {
	uint32_t cell;	/* index into surface->cells */
	uint32_t clock; /* index into clocks */
	struct cu_shape shape;
	bool full; /* the whole card: no mask */
	uint32_t batch;
	double capacity_rps; /* of full batches, closed loop */
	double service_ns;   /* mean, of a full batch */
	double energy_j;     /* own energy per request in full batches: see above */
	double bound_share;  /* 0 .. 1: part of its service time that no clock shortens */
};

/* An option at a rate. */
struct menu_point {
	float tail_ns; /* upper 95 % confidence bound of the tail, the wait included; INFINITY:
			* above what it sustains, or far beyond the SLO (MENU_TAIL_KEPT) */
	float wait_ns; /* planned wait for a batch to fill: (SLO - tail without it) / 2; 0: none */
	float busy;    /* share of the time that something executes */
	float power_w; /* of the card, with this model alone on it */
	struct tail_packed survival; /* of the sojourns; of no meaning where tail_ns is INFINITY */
};

struct response_menu {
	char model[MODEL_NAME_MAX + 1];
	bool simulated;
	enum table_gating gating;
	uint64_t slo_ns, t0_ns;
	uint32_t percentile;
	double rated_rps, overload_rps;
	uint32_t n_cus, n_se;
	uint32_t baseline;  /* option: B */
	uint32_t row0_cell; /* what the table chose for row 0, which has to survive a step */
	uint32_t n_rates, n_clocks, n_options;
	double rate_rps[TABLE_MAX_ROWS];	      /* ascending; those of the table's rows */
	struct menu_clock clocks[SURFACE_MAX_LEVELS]; /* ascending */
	struct menu_option *options;		      /* as the surface's cells are sorted */
	/* Options have points as far as they sustain rates. first_point[i] of points is option i's
	 * first, first_point[n_options] their number; NULL: n_rates of each, [option * n_rates +
	 * rate]. */
	struct menu_point *points;
	uint32_t *first_point;
};

/* As a point above what its option sustains. */
extern const struct menu_point menu_point_unsustained;

static inline const struct menu_point *response_menu_point(const struct response_menu *m,
							   uint32_t option, uint32_t rate)
{
	const uint32_t *first = m->first_point;

	if (!first)
		return &m->points[(size_t)option * m->n_rates + rate];
	return rate < first[option + 1] - first[option] ? &m->points[first[option] + rate]
							: &menu_point_unsustained;
}

/* An empty one with room for so many options and rates (which are set); NULL: no memory. For
 * free().
 */
struct response_menu *response_menu_new(uint32_t n_options, uint32_t n_rates);
/* Leaves out what follows the last rate that an option sustains: most of what response_menu_new()
 * makes room for. 0 or -ENOMEM, with *m as it was. */
int response_menu_trim(struct response_menu **m);

/* The first option from low on whose cell or clock (key: its offset) is at least this: they are
 * sorted by both. */
static inline uint32_t response_menu_from(const struct response_menu *m, uint32_t low, size_t key,
					  uint32_t least)
{
	uint32_t high = m->n_options;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (*(const uint32_t *)((const char *)&m->options[middle] + key) < least)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The share of requests later than limit_ns: 1 above what the option sustains. */
static inline double response_menu_late(const struct menu_point *p, double limit_ns)
{
	struct tail_survival survival;

	if (isinf(p->tail_ns))
		return 1;
	tail_unpack(&p->survival, &survival);
	return tail_late(&survival, limit_ns);
}

/* Whether workers that follow masks, or batches, or neither, can run it. */
static inline bool response_menu_may_choose(const struct response_menu *m, uint32_t option,
					    bool may_mask, bool may_batch)
{
	const struct menu_option *o = &m->options[option];

	return (o->full || may_mask) && (may_batch || o->batch == m->options[m->baseline].batch);
}

/* Power while busy with an option without a pause, in full batches, W. */
double response_menu_busy_w(const struct response_menu *m, uint32_t option);

/* Derives the menu that belongs to a table of the same tails and options (table: that one). Options
 * that are never better than another one of the same clock and shape are left out; nothing that the
 * table chose is. What the table had simulated stands; else few options are simulated over their
 * load, and the others lie between these where their services do (menu-curve.h). One malloc()ed
 * block, for free(). Errors as of response_table_derive(). */
int response_menu_derive(struct response_tails *t, const struct table_options *o,
			 const struct response_table *table, struct response_menu **ret,
			 struct surface_error *ret_error);
