/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/late-test.h"
#include "base/macros.h"
#include <math.h>

/* Of what the percentile allows. */
#define PLANNED_SHARE 0.2
/* That are late together. */
#define CLUSTER 40.0
/* By chance once in a thousand times. */
#define BOUND	   6.9
#define STEP	   0.1
#define DOUBTS_MAX 10
/* Alarms with all that can be added. */
#define IN_VAIN_MAX 4

void late_test_init(struct late_test *l)
{
	*l = (struct late_test){0};
}

void late_test_forgive(struct late_test *l)
{
	l->doubts = 0;
	l->disbelieved = false;
}

/* Each of these has taken longer than the SLO, all of them together less than all there were. */
static bool is_borne_out(double late, double n, double sojourn_ns, uint64_t slo_ns)
{
	return late <= n && late * (double)slo_ns <= sojourn_ns;
}

static void doubt(struct late_test *l)
{
	l->disbelieved = ++l->doubts >= DOUBTS_MAX;
	if (l->disbelieved)
		l->steps = 0;
}

static void raise_plan(struct late_test *l)
{
	l->sum = 0;
	if (l->useless)
		return;
	if (l->steps < LATE_TEST_STEPS_MAX)
		l->steps++;
	else
		l->useless = ++l->in_vain >= IN_VAIN_MAX;
}

static void lower_plan(struct late_test *l)
{
	l->sum = 0;
	l->in_vain = 0;
	if (l->useless)
		l->steps = 0;
	else if (l->steps > 0)
		l->steps--;
	l->useless = false;
}

/* Of a poll, with the looks before it. */
static void judge(struct late_test *l, double late, double n, uint32_t percentile)
{
	double allowed = 1 - percentile / 100.0, planned = PLANNED_SHARE * allowed;

	if (late > 0 && l->doubts > 0)
		l->doubts--;
	l->sum +=
		(late * log(allowed / planned) + (n - late) * log((1 - allowed) / (1 - planned))) /
		CLUSTER;
	if (l->sum >= BOUND)
		raise_plan(l);
	else if (l->sum <= -BOUND)
		lower_plan(l);
}

/* What has failed is counted as late, too, but no latency is, and no plan helps it. */
static uint64_t served_late(const struct governor_model_input *in)
{
	return in->late - MIN(in->late, in->failures);
}

void late_test_pass(struct late_test *l)
{
	l->late = l->completions = 0;
}

static void hold_back(struct late_test *l, const struct governor_model_input *in)
{
	l->late += MIN(served_late(in), UINT64_MAX - l->late);
	l->completions += MIN(in->completions, UINT64_MAX - l->completions);
}

void late_test_update(struct late_test *l, const struct governor_model_input *in, bool early,
		      uint64_t slo_ns, uint32_t percentile)
{
	double late, n, sojourn_ns;

	if (l->disbelieved)
		return;
	if (in->completions == 0) {
		if (!early)
			late_test_pass(l);
		return;
	}
	if (early && in->sojourn_ns == 0) {
		hold_back(l, in);
		return;
	}
	late = (double)served_late(in) + (double)l->late;
	n = (double)in->completions + (double)l->completions;
	sojourn_ns = (double)in->sojourn_ns * n / (double)in->completions;
	late_test_pass(l);
	/* Latencies of an interval in which a worker came are not known. */
	if (late > 0 && in->sojourn_ns == 0 && !in->whole_interval)
		return;
	if (is_borne_out(late, n, sojourn_ns, slo_ns))
		judge(l, late, n, percentile);
	else
		doubt(l);
}

double late_test_raise(const struct late_test *l)
{
	return l->useless || l->disbelieved ? 1 : 1 + STEP * l->steps;
}
