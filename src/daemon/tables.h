/* SPDX-License-Identifier: Apache-2.0 */
/* From a model's section and a card to its response table and menu: find the surface, check that
 * it is of this kind of card, derive. */
#pragma once

#include "actuator/protocol.h"
#include "daemon/config.h"
#include "response/menu.h"

/* Folders that hold <gfx>-<CUs>cu/<model>.csv, searched in order; NULL entries are passed over. */
struct tables_place {
	const char *folders[2];
};

struct model_table {
	struct response_table *table; /* NULL: not usable, and why says so */
	/* For workers that follow no masks; NULL: table has no mask in any row. */
	struct response_table *clock_table;
	struct response_menu *menu; /* of a policy that plans; NULL: of one that does not */
	double headroom, late_cost; /* that table was derived for */
	int error;		    /* 0, or the negative errno */
	bool foreign;		    /* there is a surface, but of another card */
	char *path, *why;	    /* why: with file:line */
};
void model_table_done(struct model_table *t);

/* Fills *ret, which the caller releases with model_table_done() in any case. Returns its error. */
int tables_derive(const struct tables_place *place, const struct config *c,
		  const struct config_model *m, const struct config_gpu *g,
		  const struct actuator_card *card, struct model_table *ret);
