/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/constancy.h"
#include "base/macros.h"

#define BLOCK_S 4.0
/* Of 13 degrees of freedom, exceeded in one of ten thousand cases: at a constant rate about twice a
 * day. */
#define CHI_SQUARED_MAX 41.3
/* Below this mean the test statistic's own tail is longer. */
#define FEW_COUNTS     5.0
#define FEW_COUNTS_MAX 80.0
/* Chance lets the polls of a Poisson process have half as much more than their mean. */
#define DISPERSION_CHANCE 1.5
/* A variance that is estimated of some hundred polls strays, and the quotient's tail is longer. */
#define DISPERSED_MAX 52.0

void constancy_init(struct constancy *c)
{
	*c = (struct constancy){0};
}

/* Two counts at one rate: the difference of their rates has the variance of either. */
static void add_square(struct constancy *c, double count, double length_s)
{
	double rps = count / length_s, difference = rps - c->poll_rps;

	if (c->poll_s > 0) {
		c->open_square += difference * difference / (1 / length_s + 1 / c->poll_s);
		c->open_n++;
	}
	c->poll_rps = rps;
	c->poll_s = length_s;
}

void constancy_add(struct constancy *c, double count, double length_s)
{
	add_square(c, count, length_s);
	c->open_count += count;
	c->open_s += length_s;
	if (c->open_s < BLOCK_S * 0.999)
		return;
	c->count[c->next] = c->open_count;
	c->length_s[c->next] = c->open_s;
	c->square[c->next] = c->open_square;
	c->n_squares[c->next] = c->open_n;
	c->open_count = c->open_s = c->open_square = 0;
	c->open_n = 0;
	c->next = (c->next + 1) % CONSTANCY_BLOCKS;
	if (c->n < CONSTANCY_BLOCKS)
		c->n++;
}

bool constancy_known(const struct constancy *c)
{
	return c->n == CONSTANCY_BLOCKS;
}

static void sum(const struct constancy *c, double *ret_count, double *ret_s)
{
	*ret_count = *ret_s = 0;
	for (uint32_t i = 0; i < c->n; i++) {
		*ret_count += c->count[i];
		*ret_s += c->length_s[i];
	}
}

/* At least 1; strays around the true one. */
static double dispersion(const struct constancy *c, double count, double length_s)
{
	double square = 0, n = 0;

	for (uint32_t i = 0; i < c->n; i++) {
		square += c->square[i];
		n += c->n_squares[i];
	}
	return n > 0 ? MAX(square / n * length_s / count, 1.0) : 1;
}

double constancy_dispersion(const struct constancy *c)
{
	double count, length_s, d;

	sum(c, &count, &length_s);
	if (!constancy_known(c) || count <= 0)
		return 1;
	d = dispersion(c, count, length_s);
	return d < DISPERSION_CHANCE ? 1 : d;
}

bool constancy_holds(const struct constancy *c)
{
	double count, length_s, d, most, chi_squared = 0;

	sum(c, &count, &length_s);
	if (!constancy_known(c))
		return false;
	if (count <= 0)
		return true;
	for (uint32_t i = 0; i < c->n; i++) {
		double mean = count * c->length_s[i] / length_s;

		chi_squared += (c->count[i] - mean) * (c->count[i] - mean) / mean;
	}
	d = dispersion(c, count, length_s);
	most = d < DISPERSION_CHANCE ? CHI_SQUARED_MAX : DISPERSED_MAX;
	return chi_squared <= d * (count < FEW_COUNTS * c->n * d ? FEW_COUNTS_MAX : most);
}
