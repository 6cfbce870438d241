/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files that derive a menu. */
#pragma once

#include "response/menu.h"
#include "response/table-internal.h"

struct menu_building {
	const struct surface *surface;
	const struct surface_cell *baseline;
	const struct table_options *options;
	const struct response_table *table;
	struct response_tails *tails;
	struct tail_question question;
	const struct candidate *candidates; /* [option] */
	struct response_menu *menu;
};

/* Of how many rates an option has to have points because the table chose it. */
uint32_t menu_rates_chosen(const struct menu_building *b, uint32_t option);
/* All points of all options. 0 or -ENOMEM. */
int menu_add_points(const struct menu_building *b);
