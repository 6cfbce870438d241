/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/stretch.h"
#include "base/macros.h"
#include <math.h>

/* Spread of one service's ratio (it meets another or not), of cards' speed and of shares; squares
 * of the first over the others are how many services the guesses count as. */
#define SPREAD	     0.3
#define SPREAD_CARD  0.08
#define SPREAD_SHARE 0.25
#define MEMORY_S     180.0
/* What is in use stays while what is learnt is as near as that. */
#define STEP 0.1

void stretch_init(struct stretch *s)
{
	*s = (struct stretch){.share = STRETCH_FIRST};
}

static double square(double a)
{
	return a * a;
}

/* Of the line ratio = f + slope * busy through the sums and the guesses; with f known, of its slope
 * alone. */
static double learnt(const struct stretch *s, double factor)
{
	double card = square(SPREAD / SPREAD_CARD), guess = square(SPREAD / SPREAD_SHARE);
	double n = s->n + card, y = s->y + card, xx = s->xx + guess;
	double xy = s->xy + guess * STRETCH_FIRST, determinant = n * xx - s->x * s->x;
	double f = (y * xx - s->x * xy) / determinant, slope = (n * xy - s->x * y) / determinant;

	if (factor > 0) {
		f = factor;
		slope = (s->xy - f * s->x + f * guess * STRETCH_FIRST) / xx;
	}
	return f > 0 ? CLAMP(slope / f, STRETCH_LEAST, STRETCH_MOST) : STRETCH_FIRST;
}

void stretch_learn(struct stretch *s, double interval_s, double services, double others_busy,
		   double ratio, double factor)
{
	double keep, share;

	if (!(interval_s > 0) || !(services > 0) || !(others_busy >= 0) || !(ratio > 0) ||
	    !isfinite(interval_s + services + others_busy + ratio))
		return;
	keep = 1 - MIN(interval_s / MEMORY_S, 1.0);
	s->n = keep * s->n + services;
	s->x = keep * s->x + services * others_busy;
	s->y = keep * s->y + services * ratio;
	s->xx = keep * s->xx + services * square(others_busy);
	s->xy = keep * s->xy + services * others_busy * ratio;
	share = learnt(s, factor);
	if (fabs(share - s->share) > STEP)
		s->share = share;
}
