/* SPDX-License-Identifier: Apache-2.0 */
#include "response/surface.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

struct surface *surface_free(struct surface *s)
{
	if (!s)
		return NULL;
	free(s->cells);
	free(s->loads);
	free(s);
	return NULL;
}

static void *copy_of(const void *rows, size_t n, size_t size)
{
	void *copy = calloc(MAX(n, (size_t)1), size);

	if (copy && n > 0)
		memcpy(copy, rows, n * size);
	return copy;
}

int surface_copy(const struct surface *s, struct surface **ret)
{
	_cleanup_(surface_freep) struct surface *copy = malloc(sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	*copy = *s;
	copy->cells = copy_of(s->cells, s->n_cells, sizeof(*s->cells));
	copy->loads = copy_of(s->loads, s->n_loads, sizeof(*s->loads));
	if (!copy->cells || !copy->loads)
		return -ENOMEM;
	*ret = TAKE_PTR(copy);
	return 0;
}

/* On equal SEs the full shape follows from the card. Unequal ones are not in the file: there it is
 * the largest shape on all of them. */
const struct surface_cell *surface_baseline(const struct surface *s)
{
	const struct surface_cell *found = NULL;

	if (s->n_levels == 0 || s->n_se == 0)
		return NULL;
	for (uint32_t i = 0; i < s->n_cells; i++) {
		const struct surface_cell *c = &s->cells[i];

		if (c->max_mhz != s->level_mhz[s->n_levels - 1] || c->shape.n_se != s->n_se ||
		    c->batch != s->baseline_batch || c->workers != s->workers)
			continue;
		if (s->n_cus % s->n_se == 0 && c->shape.cus_per_se != s->n_cus / s->n_se)
			continue;
		if (!found || c->shape.cus_per_se > found->shape.cus_per_se)
			found = c;
	}
	return found;
}

static int _printf_(2, 3) foreign(struct surface_error *ret_error, const char *format, ...)
{
	va_list ap;

	if (!ret_error)
		return -EXDEV;
	ret_error->line = 0;
	va_start(ap, format);
	(void)vsnprintf(ret_error->text, sizeof(ret_error->text), format, ap);
	va_end(ap);
	return -EXDEV;
}

/* Levels within 2 % of one another are one step of the clock. */
static uint32_t merge_levels(const uint32_t *mhz, uint32_t n, uint32_t ret[SURFACE_MAX_LEVELS])
{
	uint32_t n_merged = 0, lowest = 0;

	for (uint32_t i = 0; i < MIN(n, (uint32_t)SURFACE_MAX_LEVELS); i++) {
		/* The higher of two stays: it is what a limit at either allows. */
		if (n_merged > 0 && mhz[i] <= lowest * 1.02)
			n_merged--;
		else
			lowest = mhz[i];
		ret[n_merged++] = mhz[i];
	}
	return n_merged;
}

static int check_levels(const struct surface *s, const struct surface_card *card,
			struct surface_error *ret_error)
{
	uint32_t ours[SURFACE_MAX_LEVELS], theirs[SURFACE_MAX_LEVELS], n_ours, n_theirs;

	n_ours = merge_levels(s->level_mhz, s->n_levels, ours);
	n_theirs = merge_levels(card->level_mhz, card->n_levels, theirs);
	if (n_ours != n_theirs)
		return foreign(ret_error, "measured on %u clock levels, the card has %u", n_ours,
			       n_theirs);
	for (uint32_t i = 0; i < n_ours; i++)
		if (fabs((double)ours[i] - theirs[i]) > 0.02 * theirs[i])
			return foreign(ret_error,
				       "measured with a clock level of %u MHz, the card has %u MHz",
				       ours[i], theirs[i]);
	return 0;
}

int surface_check_card(const struct surface *s, const struct surface_card *card,
		       bool allow_simulated, struct surface_error *ret_error)
{
	if (strcmp(s->gfx, card->gfx) != 0)
		return foreign(ret_error, "measured on a %s, the card is a %s", s->gfx, card->gfx);
	if (s->n_cus != card->n_cus || s->n_se != card->n_se)
		return foreign(ret_error, "measured on %u CUs in %u SEs, the card has %u in %u",
			       s->n_cus, s->n_se, card->n_cus, card->n_se);
	if (s->simulated && !card->simulated && !allow_simulated)
		return foreign(ret_error, "measured on a simulated card, this one is real");
	return check_levels(s, card, ret_error);
}
