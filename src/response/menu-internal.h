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

/* All points of an option. */
void menu_add_points(const struct menu_building *b, uint32_t option);
