/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/tables.h"
#include "governor/policy.h"
#include "response/surface.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

void model_table_done(struct model_table *t)
{
	free(TAKE_PTR(t->table));
	free(TAKE_PTR(t->clock_table));
	free(TAKE_PTR(t->menu));
	free(TAKE_PTR(t->path));
	free(TAKE_PTR(t->why));
}

static int refuse(struct model_table *t, int r, const struct surface_error *error)
{
	int n;

	if (error->line > 0)
		n = asprintf(&t->why, "%s:%u: %s", t->path, error->line, error->text);
	else
		n = asprintf(&t->why, "%s: %s", t->path, error->text);
	if (n < 0)
		t->why = NULL;
	t->error = r;
	return r;
}

/* The first folder that has the file. If none has, *ret is where it should be. */
static int locate(const struct tables_place *place, const struct config_model *m,
		  const struct actuator_card *card, char **ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(place->folders); i++) {
		_cleanup_(freep) char *path = NULL;

		if (!place->folders[i])
			continue;
		if (asprintf(&path, "%s/%s-%ucu/%s.csv", place->folders[i], card->gfx, card->n_cus,
			     m->name) < 0)
			return -ENOMEM;
		if (access(path, F_OK) == 0) {
			free(*ret);
			*ret = TAKE_PTR(path);
			return 0;
		}
		if (!*ret)
			*ret = TAKE_PTR(path);
	}
	return -ENOENT;
}

static int find_surface(const struct tables_place *place, const struct config_model *m,
			const struct actuator_card *card, struct model_table *t)
{
	struct surface_error error = {0};
	int r;

	if (strcmp(m->surface, "auto") != 0) {
		t->path = strdup(m->surface);
		return t->path ? 0 : -ENOMEM;
	}
	r = locate(place, m, card, &t->path);
	if (r == -ENOENT)
		(void)snprintf(error.text, sizeof(error.text),
			       "no such surface; cofris-profile --model %s makes it", m->name);
	return r < 0 ? refuse(t, r, &error) : 0;
}

static struct table_options options_of(const struct config *c, const struct config_model *m,
				       const struct config_gpu *g)
{
	struct table_options o = TABLE_OPTIONS_DEFAULT;

	o.slo_factor = m->slo.factor;
	o.slo_ns = m->slo.ns;
	o.percentile = m->percentile;
	o.rated_rps = m->rated_rps;
	o.gating = g->gating;
	o.poll_ns = c->daemon.poll_ns;
	o.max_batch = m->max_batch;
	/* Also with gating none: the table then takes a mask only where its measured power is
	 * significantly lower, and the governor only where that repays the change. */
	o.free_mask = m->use_mask;
	policy_restrict(policy_find(m->policy), &o);
	return o;
}

static bool has_masks(const struct response_table *t)
{
	for (uint32_t i = 0; i < t->n_rows; i++)
		if (!cu_shape_equal(t->rows[i].shape, t->baseline.shape))
			return true;
	return false;
}

static int derive_from(struct response_tails *tails, const struct table_options *o, bool plans,
		       struct model_table *ret, struct surface_error *ret_error)
{
	struct table_options clock_alone = *o;
	int r;

	r = response_table_derive_from(tails, o, &ret->table, ret_error);
	if (r == 0 && plans)
		r = response_menu_derive(tails, o, ret->table, &ret->menu, ret_error);
	if (r < 0 || !has_masks(ret->table))
		return r;
	clock_alone.free_mask = false;
	return response_table_derive_from(tails, &clock_alone, &ret->clock_table, ret_error);
}

static int derive(const struct surface *surface, const struct table_options *o, bool plans,
		  struct model_table *ret, struct surface_error *ret_error)
{
	_cleanup_(response_tails_freep) struct response_tails *tails = NULL;
	int r;

	ret->headroom = o->headroom;
	ret->late_cost = o->late_cost;
	r = response_tails_new(surface, o->seed, &tails);
	if (r < 0) {
		(void)snprintf(ret_error->text, sizeof(ret_error->text), "out of memory");
		return r;
	}
	r = derive_from(tails, o, plans, ret, ret_error);
	if (r < 0) {
		free(TAKE_PTR(ret->table));
		free(TAKE_PTR(ret->menu));
	}
	return r;
}

int tables_derive(const struct tables_place *place, const struct config *c,
		  const struct config_model *m, const struct config_gpu *g,
		  const struct actuator_card *card, struct model_table *ret)
{
	_cleanup_(surface_freep) struct surface *surface = NULL;
	struct table_options options = options_of(c, m, g);
	bool by_name = strcmp(m->surface, "auto") != 0;
	struct surface_error error = {0};
	struct surface_card is = {
		.gfx = card->gfx,
		.n_cus = card->n_cus,
		.n_se = card->n_se,
		.n_levels = card->n_levels,
		.level_mhz = card->level_mhz,
		.simulated = card->simulated,
	};
	int r;

	*ret = (struct model_table){0};
	r = find_surface(place, m, card, ret);
	if (r < 0)
		return r;
	r = surface_load(ret->path, &surface, &error);
	if (r < 0)
		return refuse(ret, r, &error);
	r = surface_check_card(surface, &is, by_name && c->daemon.allow_simulated, &error);
	if (r < 0) {
		ret->foreign = true;
		return refuse(ret, r, &error);
	}
	r = derive(surface, &options, policy_find(m->policy)->plans, ret, &error);
	return r < 0 ? refuse(ret, r, &error) : 0;
}
