/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/constancy.h"

#define BLOCK_S 4.0
/* Of 13 degrees of freedom, exceeded in one of ten thousand cases: at a constant rate about twice a
 * day. */
#define CHI_SQUARED_MAX 41.3
/* Below this mean the test statistic's own tail is longer. */
#define FEW_COUNTS     5.0
#define FEW_COUNTS_MAX 80.0

void constancy_init(struct constancy *c)
{
	*c = (struct constancy){0};
}

void constancy_add(struct constancy *c, double count, double length_s)
{
	c->open_count += count;
	c->open_s += length_s;
	if (c->open_s < BLOCK_S * 0.999)
		return;
	c->count[c->next] = c->open_count;
	c->length_s[c->next] = c->open_s;
	c->open_count = c->open_s = 0;
	c->next = (c->next + 1) % CONSTANCY_BLOCKS;
	if (c->n < CONSTANCY_BLOCKS)
		c->n++;
}

bool constancy_known(const struct constancy *c)
{
	return c->n == CONSTANCY_BLOCKS;
}

bool constancy_holds(const struct constancy *c)
{
	double count = 0, length_s = 0, chi_squared = 0;

	if (!constancy_known(c))
		return false;
	for (uint32_t i = 0; i < c->n; i++) {
		count += c->count[i];
		length_s += c->length_s[i];
	}
	if (count <= 0)
		return true;
	for (uint32_t i = 0; i < c->n; i++) {
		double mean = count * c->length_s[i] / length_s;

		chi_squared += (c->count[i] - mean) * (c->count[i] - mean) / mean;
	}
	return chi_squared <= (count < FEW_COUNTS * c->n ? FEW_COUNTS_MAX : CHI_SQUARED_MAX);
}
