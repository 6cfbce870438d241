/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a card whose service times are not the profile's, from the profile's menu.
 *
 * Such a card is the profile's with a slower clock on the wall: what it does at rate x and an SLO
 * the profile's does at f x and SLO / f. So each row is chosen by the table's own rule (by cost)
 * from what the menu says at f times its rate, between two of its rates on the straight line. Rows
 * keep their rates, and so their numbers mean the same demand as in the table that it is made of.
 *
 * Row 0 has to survive a step, which no menu knows. What is at least as fast on this card as the
 * table's own row 0 was on the profile's survives it as well, and the cheapest of these is taken;
 * that row 0 itself while it is slower by 5 % at most. Rows above what B sustains on this card are
 * B. What B itself is late on this card beyond what it is on the profile's may be late in addition
 * to what the percentile allows. */
#pragma once

#include "response/menu.h"

struct menu_table_options {
	double factor;	  /* service time over the profile's */
	double late_cost; /* as the table's */
	bool full_only;	  /* no masks */
	/* Share of the requests that may be late above row 0, where that is more than what the
	 * percentile allows: of rows that count on boosts. Their cost is as of what is late. */
	double late_max;
};

/* table: the one that the menu belongs to, or the one without masks of the same rates. Neither
 * allocates nor fails; ret may not be table. A factor of 1 gives the table itself where late_max
 * allows nothing more. */
void menu_table(const struct response_menu *m, const struct response_table *table,
		const struct menu_table_options *o, struct response_table *ret);

/* An option at any rate: as at a rate of the menu, or between two; its survival, too, as it is
 * before it is packed. Above the last one nothing is sustained. */
void menu_point_at(const struct response_menu *m, uint32_t option, double rate_rps,
		   struct menu_point *ret, struct tail_survival *ret_survival);
