/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/self-check.h"
#include "base/macros.h"
#include <math.h>
#include <string.h>

static const double tolerances[SELF_CHECK_SUBJECTS] = {
	[SELF_CHECK_POWER] = SELF_CHECK_POWER_TOLERANCE,
	[SELF_CHECK_SERVICE] = SELF_CHECK_SERVICE_TOLERANCE,
};

/* Windows of blocks, in the order in which they are asked, with Student's 99.5 % quantile for their
 * degrees of freedom. */
static const struct {
	uint32_t n;
	double quantile;
} windows[] = {
	{SELF_CHECK_BLOCKS_LEAST, 3.25},
	{SELF_CHECK_BLOCKS, 2.861},
};

enum verdict { OPEN, INSIDE, OUTSIDE };

void self_check_init(struct self_check *c)
{
	memset(c, 0, sizeof(*c));
}

const char *self_check_subject_name(uint32_t subject)
{
	static const char *const names[] = {
		[SELF_CHECK_POWER] = "power",
		[SELF_CHECK_SERVICE] = "service-time",
	};

	return subject < ARRAY_SIZE(names) ? names[subject] : NULL;
}

/* ---- the interval ---- */

static const struct self_check_sums *block_at(const struct self_check_series *s, uint32_t back)
{
	return &s->blocks[(s->head + SELF_CHECK_BLOCKS - 1 - back) % SELF_CHECK_BLOCKS];
}

/* Ratio of sums over the last n blocks; its variance is that of what the ratio leaves of each. */
static void estimate(struct self_check_series *s, uint32_t n, double quantile)
{
	double measured = 0, predicted = 0, squares = 0, half;

	for (uint32_t i = 0; i < n; i++) {
		measured += block_at(s, i)->measured;
		predicted += block_at(s, i)->predicted;
	}
	s->ratio = measured / predicted;
	for (uint32_t i = 0; i < n; i++) {
		double rest = block_at(s, i)->measured - s->ratio * block_at(s, i)->predicted;

		squares += rest * rest;
	}
	half = quantile * sqrt(squares / (n - 1) / n) / (predicted / n);
	s->low = s->ratio - half;
	s->high = s->ratio + half;
	s->known = true;
}

static enum verdict judge(const struct self_check_series *s, double tolerance)
{
	if (s->high - s->ratio > SELF_CHECK_WIDTH)
		return OPEN;
	if (s->low > 1 + tolerance || s->high < 1 - tolerance)
		return OUTSIDE;
	return s->low >= 1 - tolerance && s->high <= 1 + tolerance ? INSIDE : OPEN;
}

static enum verdict look(struct self_check_series *s, double tolerance)
{
	enum verdict verdict = OPEN;

	for (size_t i = 0; i < ARRAY_SIZE(windows) && verdict == OPEN; i++) {
		if (s->n < windows[i].n)
			break;
		estimate(s, windows[i].n, windows[i].quantile);
		verdict = judge(s, tolerance);
	}
	return verdict;
}

/* ---- blocks ---- */

static void end_block(struct self_check_series *s, double tolerance, uint64_t now_ns)
{
	enum verdict verdict;

	s->blocks[s->head] = s->block;
	s->head = (s->head + 1) % SELF_CHECK_BLOCKS;
	s->n = MIN(s->n + 1, (uint32_t)SELF_CHECK_BLOCKS);
	verdict = look(s, tolerance);
	if (verdict == OPEN || s->stale == (verdict == OUTSIDE))
		return;
	s->stale = verdict == OUTSIDE;
	s->since_ns = s->stale ? now_ns : 0;
}

static void begin_block(struct self_check_series *s)
{
	s->block = (struct self_check_sums){0};
	s->length_s = s->busy_s = s->services = 0;
}

static bool counts(double length_s, double measured, double predicted)
{
	return isfinite(length_s) && length_s > 0 && isfinite(measured) && measured > 0 &&
	       isfinite(predicted) && predicted > 0;
}

/* Whole blocks are chosen by how busy they were, single intervals are not: whatever is picked for
 * being busy at one moment is likely to be less so at the next, when the sensor is read. */
static void feed_power(struct self_check_series *s, const struct self_check_sample *sample)
{
	if (!counts(sample->power_s, sample->measured_w, sample->predicted_w) ||
	    !isfinite(sample->busy))
		return;
	s->block.measured += sample->measured_w * sample->power_s;
	s->block.predicted += sample->predicted_w * sample->power_s;
	s->length_s += sample->power_s;
	s->busy_s += sample->busy * sample->power_s;
	if (s->busy_s < SELF_CHECK_BLOCK_S)
		return;
	if (s->busy_s >= SELF_CHECK_BUSY_LEAST * s->length_s)
		end_block(s, tolerances[SELF_CHECK_POWER], sample->now_ns);
	begin_block(s);
}

static void feed_service(struct self_check_series *s, const struct self_check_sample *sample)
{
	if (!counts(sample->service_s, sample->observed_ns, sample->expected_ns) ||
	    !isfinite(sample->services))
		return;
	s->block.measured += sample->observed_ns;
	s->block.predicted += sample->expected_ns;
	s->length_s += sample->service_s;
	s->services += sample->services;
	if (s->length_s < SELF_CHECK_BLOCK_S || s->services < SELF_CHECK_SERVICES_LEAST)
		return;
	end_block(s, tolerances[SELF_CHECK_SERVICE], sample->now_ns);
	begin_block(s);
}

void self_check_feed(struct self_check *c, const struct self_check_sample *s)
{
	feed_power(&c->series[SELF_CHECK_POWER], s);
	feed_service(&c->series[SELF_CHECK_SERVICE], s);
}

/* ---- what it means ---- */

double self_check_slowness(const struct self_check *c)
{
	const struct self_check_series *s = &c->series[SELF_CHECK_SERVICE];

	if (!s->stale || s->ratio <= 1)
		return 1;
	return MIN(s->high, SELF_CHECK_SLOWNESS_MAX);
}

uint32_t self_check_stale(const struct self_check *c)
{
	uint32_t stale = 0;

	for (uint32_t i = 0; i < SELF_CHECK_SUBJECTS; i++)
		stale |= c->series[i].stale ? 1u << i : 0;
	return stale;
}
