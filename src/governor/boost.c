/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/boost.h"
#include "base/units.h"
#include <math.h>

#define SPACING_NS (100 * NSEC_PER_MSEC)
/* A look costs the daemon some 20 us, and a boost that lasts this much too long hardly anything. */
#define LOOK_MIN_NS (5 * NSEC_PER_MSEC)
#define LOOK_MAX_NS (100 * NSEC_PER_MSEC)
/* What has not drained by then is no short queue: the polls will do. */
#define LOOKED_NS      (2 * NSEC_PER_SEC)
#define EMPTY_SERVICES 2
/* Chance makes one of some hundred wakes look wrong (a queue that a stall of the card made, counts
 * that are a moment older than the wake). */
#define DOUBTS_MAX 10

void boost_init(struct boost *b)
{
	*b = (struct boost){0};
}

void boost_forgive(struct boost *b)
{
	b->doubts = 0;
	b->disbelieved = false;
}

/* Whoever waited so long did so behind executions, of which all but the first and the last have
 * ended since the last wake. */
static bool is_borne_out(const struct boost *b, const struct boost_view *v)
{
	const struct governor_model_input *in = v->in;

	if (in->waiting == UINT64_MAX)
		return in->in_flight > 0 || in->completions > 0;
	if (in->starts == 0 && in->waiting == 0)
		return false;
	return (double)b->busy_ns + 2 * v->row_service_ns >= (double)v->wait_ns / 2;
}

static void judge(struct boost *b, const struct boost_view *v)
{
	if (!is_borne_out(b, v))
		b->doubts++;
	else if (b->doubts > 0)
		b->doubts--;
	b->busy_ns = 0;
	b->disbelieved |= b->doubts >= DOUBTS_MAX;
}

/* Takes *m, also where that is less than n. */
static void subtract(uint64_t *m, uint64_t n)
{
	*m -= MIN(*m, n);
}

static bool is_waiting(struct boost *b, const struct governor_model_input *in)
{
	if (in->waiting != UINT64_MAX)
		return in->waiting > 0;
	subtract(&b->behind, in->completions);
	subtract(&b->behind, in->failures);
	return b->behind > 0;
}

static void begin(struct boost *b, const struct boost_view *v)
{
	b->on = true;
	b->began_ns = v->now_ns;
	b->empty_ns = 0;
	b->behind = v->in->in_flight;
}

/* Whether it goes on. */
static bool go_on(struct boost *b, const struct boost_view *v)
{
	if (is_waiting(b, v->in))
		b->empty_ns = 0;
	else if (b->empty_ns == 0)
		b->empty_ns = v->now_ns;
	return b->empty_ns == 0 ||
	       (double)(v->now_ns - b->empty_ns) < EMPTY_SERVICES * v->service_ns;
}

bool boost_step(struct boost *b, const struct boost_view *v, uint64_t *ret_again_ns)
{
	bool wanted = v->danger;

	*ret_again_ns = UINT64_MAX;
	b->busy_ns += MIN(v->in->busy_ns, UINT64_MAX - b->busy_ns);
	if (v->wait_ns == UINT64_MAX) {
		b->on = false;
		return false;
	}
	b->woke |= v->in->woken;
	if (v->in->woken && !b->on) {
		judge(b, v);
		wanted |= !b->disbelieved;
	}
	if (b->on)
		b->on = v->danger || go_on(b, v);
	else if (wanted && v->may_begin &&
		 (b->began_ns == 0 || v->now_ns - b->began_ns >= SPACING_NS))
		begin(b, v);
	if (b->on && v->now_ns - b->began_ns < LOOKED_NS)
		*ret_again_ns = v->now_ns + (uint64_t)CLAMP(v->service_ns, (double)LOOK_MIN_NS,
							    (double)LOOK_MAX_NS);
	return b->on;
}
