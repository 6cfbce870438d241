/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a model before it serves: a surface that was given, or a sweep of the simulated
 * bench card. */
#include "base/macros.h"
#include "replay/evaluate-internal.h"
#include <errno.h>
#include <string.h>

static bool has_shape(const struct cu_topology *t, struct cu_shape shape)
{
	struct cu_shape shapes[256];
	int n = cu_shapes(t, shapes, ARRAY_SIZE(shapes));

	for (int i = 0; i < n; i++)
		if (cu_shape_equal(shapes[i], shape))
			return true;
	return false;
}

/* A surface names what it was measured on; the rest must be what a governor can ask of this card.
 */
static int check_surface(const struct surface *s, const struct truth *t, const char *model,
			 struct evaluation_error *error)
{
	const struct plant_device *d = &t->device;
	const struct surface_card card = {
		.gfx = d->gfx,
		.n_cus = cu_topology_cus(&d->topology),
		.n_se = d->topology.n_se,
		.n_levels = d->n_levels,
		.level_mhz = d->level_mhz,
		.simulated = true,
	};
	struct surface_error why = {0};

	if (strcmp(s->model, model) != 0)
		return evaluate_refuse(error, -EINVAL, "%s: its surface is that of %s", model,
				       s->model);
	if (surface_check_card(s, &card, /* allow_simulated= */ true, &why) < 0)
		return evaluate_refuse(error, -EINVAL, "%s: its surface is of another card: %s",
				       model, why.text);
	for (uint32_t i = 0; i < s->n_cells; i++)
		if (!has_shape(&d->topology, s->cells[i].shape))
			return evaluate_refuse(
				error, -EINVAL,
				"%s: its surface has a mask of %u x %u CUs, which this card "
				"is not asked for",
				model, s->cells[i].shape.n_se, s->cells[i].shape.cus_per_se);
	if (s->workers != 1)
		return evaluate_refuse(error, -EINVAL,
				       "%s: its surface is of %u workers, here it has 1", model,
				       s->workers);
	return 0;
}

static const struct surface *given_for(const struct evaluation_options *o,
				       const struct plant_model *m)
{
	for (uint32_t i = 0; i < o->n_models; i++)
		if (o->models[i] == m)
			return o->surfaces[i];
	return NULL;
}

int evaluate_surface(const struct evaluation_options *o, uint32_t member, struct bench_setup *b,
		     struct evaluation_error *error)
{
	const struct surface *given = given_for(o, b->model);
	struct costs_options batches;
	const struct bench_options bench = {
		.batches = &batches,
		.seed = evaluate_seed(o->seed, b->model->name, member),
	};
	int r;

	if (given) {
		r = check_surface(given, &b->truth, b->model->name, error);
		if (r < 0)
			return r;
		r = surface_copy(given, &b->surface);
		return r < 0 ? evaluate_refuse(error, r, "out of memory") : 0;
	}
	evaluate_batches(o, &batches);
	r = bench_sweep(&b->truth, b->model, &bench, &b->surface);
	return r < 0 ? evaluate_refuse(error, r, "%s: the sweep failed: %s", b->model->name,
				       strerror(-r))
		     : 0;
}
