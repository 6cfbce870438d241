/* SPDX-License-Identifier: Apache-2.0 */
/* Who gives way if not all SLOs can be held. */
#include "governor/card-plan-internal.h"
#include <math.h>

/* What it counts if the model that gives way first does, twice as much for each after it, so that
 * no number of those outweighs the next; and what it counts if it is not served at all. All are far
 * from power, and from each other. */
#define GIVES_WAY_W 1e6
#define UNSERVED_W  1e4

double plan_share_of_card(const struct plan_model *m)
{
	return m->rate_rps / m->menu->options[m->menu->baseline].capacity_rps;
}

static void order_sacrifice(const struct planning *p, uint32_t ret[CARD_PLAN_MAX_MODELS])
{
	for (uint32_t i = 0; i < p->n; i++) {
		const struct plan_model *m = &p->models[i];
		uint32_t at = i;

		for (; at > 0; at--) {
			const struct plan_model *o = &p->models[ret[at - 1]];

			if (o->asked->priority < m->asked->priority ||
			    (o->asked->priority == m->asked->priority &&
			     plan_share_of_card(o) >= plan_share_of_card(m)))
				break;
			ret[at] = ret[at - 1];
		}
		ret[at] = i;
	}
}

void plan_let_give_way(struct planning *p)
{
	uint32_t order[CARD_PLAN_MAX_MODELS];
	double gives_way_w = GIVES_WAY_W;

	order_sacrifice(p, order);
	for (uint32_t i = 0; i < p->n; i++, gives_way_w *= 2) {
		struct plan_model *m = &p->models[order[i]];

		m->may_give_way = true;
		m->gives_way_w = gives_way_w;
		m->unserved_w = UNSERVED_W * (i + 1);
	}
}

/* As near as can be. */
void plan_let_cap_go(struct planning *p)
{
	for (uint32_t i = 0; i < p->n; i++)
		p->models[i].gives_way_w = p->models[i].unserved_w = 0;
	p->cap_w = INFINITY;
}
