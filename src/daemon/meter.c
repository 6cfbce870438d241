/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/meter.h"
#include "base/units.h"

void meter_init(struct meter *m, uint64_t now_ns, bool starts)
{
	*m = (struct meter){.beat_ns = now_ns, .starts = starts};
}

void meter_feed(struct meter *m, uint64_t now_ns, int r, const struct channel_sample *s)
{
	if (r < 0) {
		m->invalid = true;
		return;
	}
	if (s->beat != m->last.beat)
		m->beat_ns = now_ns;
	m->last = *s;
}

bool meter_missing(const struct meter *m, uint64_t now_ns, uint64_t poll_ns)
{
	return m->invalid || now_ns - m->beat_ns > MAX(NSEC_PER_SEC, 2 * poll_ns);
}

static uint64_t ended(const struct channel_sample *s)
{
	return s->completions + s->failures;
}

uint64_t meter_oldest_age_ns(const struct meter *m, uint64_t now_ns)
{
	for (uint32_t i = 0; i < m->n_history; i++) {
		uint32_t at = (m->head + METER_HISTORY - m->n_history + i) % METER_HISTORY;

		if (m->history[at].arrivals > ended(&m->last))
			return now_ns - m->history[at].at_ns;
	}
	return 0;
}

void meter_add_to(const struct meter *m, uint64_t now_ns, uint64_t poll_ns,
		  struct governor_model_input *input)
{
	const struct channel_sample *a = &m->base, *b = &m->last;

	input->workers++;
	if (meter_missing(m, now_ns, poll_ns))
		input->state = GOVERNOR_INPUT_MISSING;
	else if (input->state == GOVERNOR_NO_WORKER)
		input->state = GOVERNOR_INPUT_OK;
	input->arrivals += b->arrivals - a->arrivals;
	input->starts += b->starts - a->starts;
	input->completions += b->completions - a->completions;
	input->failures += b->failures - a->failures;
	input->late += b->late - a->late;
	input->busy_ns += b->busy_ns - a->busy_ns;
	input->executions += b->batches - a->batches;
	input->in_flight += b->arrivals - ended(b);
	if (!m->starts)
		input->waiting = UINT64_MAX;
	else if (input->waiting != UINT64_MAX)
		input->waiting += b->arrivals - b->starts;
	input->woken |= m->woken;
	input->oldest_age_ns = MAX(input->oldest_age_ns, meter_oldest_age_ns(m, now_ns));
	if (!m->whole)
		input->whole_interval = false;
}

void meter_next_interval(struct meter *m, uint64_t now_ns, bool early)
{
	m->base = m->last;
	m->invalid = false;
	m->whole = true;
	m->woken = false;
	if (early)
		return;
	m->history[m->head].at_ns = now_ns;
	m->history[m->head].arrivals = m->last.arrivals;
	m->head = (m->head + 1) % METER_HISTORY;
	m->n_history = MIN(m->n_history + 1, (uint32_t)METER_HISTORY);
}
