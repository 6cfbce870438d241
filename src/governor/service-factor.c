/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/service-factor.h"
#include "base/macros.h"
#include <math.h>

/* What each cell of a profile is off by itself does not average out under it. */
#define CELL_ERROR 0.01
/* A card's service times creep with its heat: by so much in a minute, and in all. */
#define CREEP_PER_MINUTE 0.01
#define CREEP_MAX	 0.02
#define SERVICES_LEAST	 8.0
/* Of one look, whatever it says: what lies further off has to be seen again. */
#define MOVE_MAX  0.03
#define RATIO_MIN 0.5
#define RATIO_MAX 2.0
/* In standard errors of a look against what is expected, and how many of them. */
#define SURPRISE  2.0
#define SURPRISES 2
/* Steps are taken when the next one is nearer by a little. */
#define HYSTERESIS 0.2

static double square(double x)
{
	return x * x;
}

static double prior(void)
{
	return square(SERVICE_FACTOR_PRIOR_ERROR);
}

static double variance(const struct service_factor *f)
{
	return prior() - f->learnt;
}

void service_factor_init(struct service_factor *f)
{
	*f = (struct service_factor){0};
}

static void creep(struct service_factor *f, double passed_s)
{
	double grown = variance(f) + square(CREEP_PER_MINUTE) * passed_s / 60;

	if (passed_s > 0 && variance(f) < square(CREEP_MAX))
		f->learnt = prior() - MIN(grown, square(CREEP_MAX));
}

/* Several in a row that lie far off to one side are no chance: the card has changed, and is not
 * known better than at the start. */
static void be_surprised(struct service_factor *f, double off, double noise)
{
	bool far = fabs(off) > SURPRISE * sqrt(variance(f) + noise);

	if (!far || (f->surprises != 0 && (off > 0) != (f->surprises > 0)))
		f->surprises = 0;
	if (far)
		f->surprises = CLAMP(f->surprises + (off > 0 ? 1 : -1), -SURPRISES, SURPRISES);
	if (f->surprises == SURPRISES || f->surprises == -SURPRISES)
		f->learnt = 0;
}

static void look(struct service_factor *f, double ratio, double services)
{
	double noise = square(SERVICE_FACTOR_SPREAD) / services + square(CELL_ERROR);
	double off = CLAMP(ratio, RATIO_MIN, RATIO_MAX) - service_factor_get(f), gain, move;

	be_surprised(f, off, noise);
	gain = variance(f) / (variance(f) + noise);
	move = gain * off;
	/* What has to be seen again does not make the estimate surer. */
	if (fabs(move) <= MOVE_MAX)
		f->learnt += gain * variance(f);
	f->known = true;
	f->change = CLAMP(f->change + CLAMP(move, -MOVE_MAX, MOVE_MAX), SERVICE_FACTOR_MIN - 1,
			  SERVICE_FACTOR_MAX - 1);
}

static bool counts(const struct service_factor_look *l)
{
	return isfinite(l->services) && l->services > 0 && isfinite(l->observed_ns) &&
	       l->observed_ns > 0 && isfinite(l->expected_ns) && l->expected_ns > 0;
}

void service_factor_update(struct service_factor *f, const struct service_factor_look *l)
{
	if (isfinite(l->passed_s))
		creep(f, l->passed_s);
	if (!counts(l))
		return;
	f->services += l->services;
	f->observed_ns += l->observed_ns;
	f->expected_ns += l->expected_ns;
	if (f->services < SERVICES_LEAST)
		return;
	look(f, f->observed_ns / f->expected_ns, f->services);
	f->services = f->observed_ns = f->expected_ns = 0;
}

double service_factor_get(const struct service_factor *f)
{
	return 1 + f->change;
}

double service_factor_error(const struct service_factor *f)
{
	return sqrt(variance(f));
}

bool service_factor_known(const struct service_factor *f)
{
	return f->known;
}

double service_factor_plan(struct service_factor *f, double least)
{
	double upper = MAX(service_factor_get(f) + service_factor_error(f), least);
	double steps;

	upper = CLAMP(upper, SERVICE_FACTOR_MIN, SERVICE_FACTOR_MAX);
	steps = (upper - 1) / SERVICE_FACTOR_STEP;
	if (!f->has_plan || fabs(steps - f->planned) > 0.5 + HYSTERESIS)
		f->planned = round(steps);
	f->has_plan = true;
	return 1 + f->planned * SERVICE_FACTOR_STEP;
}
