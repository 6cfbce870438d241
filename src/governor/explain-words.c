/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/explain.h"

static const struct {
	const char *name, *words;
} verdicts[EXPLAIN_VERDICTS] = {
	[EXPLAIN_CHOSEN] = {"chosen", "chosen"},
	[EXPLAIN_COSTS_MORE] = {"costs-more", "costs more"},
	[EXPLAIN_MORE_LATE] = {"more-late", "less power, but too much would be late"},
	[EXPLAIN_TIE] = {"tie", "saves no more than is uncertain"},
	[EXPLAIN_MASK_FOR_LITTLE] = {"mask-for-little", "saves too little for a mask"},
	[EXPLAIN_BESIDE_OTHERS] = {"beside-others", "not with the other models beside it"},
	[EXPLAIN_TAIL] = {"tail", "tail too long"},
	[EXPLAIN_STEP] = {"step", "would not survive a step of load"},
	[EXPLAIN_RATE] = {"rate", "does not sustain the demand"},
	[EXPLAIN_CAP] = {"cap", "above the power cap"},
	[EXPLAIN_NO_MASK] = {"no-mask", "needs a mask, which is off or not followed"},
	[EXPLAIN_NO_BATCH] = {"no-batch", "needs a batch size, which is not followed"},
};

const char *explain_verdict_name(enum explain_verdict v)
{
	return (unsigned int)v < EXPLAIN_VERDICTS ? verdicts[v].name : "unknown";
}

const char *explain_verdict_words(enum explain_verdict v)
{
	return (unsigned int)v < EXPLAIN_VERDICTS ? verdicts[v].words : "unknown";
}

static const char *const reasons[GOVERNOR_REASON_MAX] = {
	[GOVERNOR_REASON_NONE] = "no reason",
	[GOVERNOR_REASON_PAUSED] = "an operator has paused the governor: the card is as found",
	[GOVERNOR_REASON_ADOPTED] = "a predecessor's setting stands until its workers report",
	[GOVERNOR_REASON_NO_WORKER] = "there is no worker: the card is as found",
	[GOVERNOR_REASON_HOLD] = "an operator holds the card at full speed",
	[GOVERNOR_REASON_SENSORS_LOST] = "the card's sensors do not answer: full speed",
	[GOVERNOR_REASON_READBACK_FAILED] = "a setting did not hold: full speed",
	[GOVERNOR_REASON_FOREIGN_LOAD] = "another process works on the card: full speed",
	[GOVERNOR_REASON_FOREIGN_TABLE] = "a surface is of another card: full speed",
	[GOVERNOR_REASON_NO_TABLE] = "a model has no usable surface: full speed",
	[GOVERNOR_REASON_SEVERAL_MODELS] =
		"several models share the card and cannot be planned for together: full speed",
	[GOVERNOR_REASON_MISSING_INPUT] =
		"a worker does not report, so the model counts with its rated rate",
	[GOVERNOR_REASON_FIRST_INTERVAL] =
		"a worker has come or gone, so the model counts with its rated rate",
	[GOVERNOR_REASON_HELD_RATED] = "an operator holds the model: it counts with its rated rate",
	[GOVERNOR_REASON_OVERLOAD] = "more demand than the card can serve: full speed",
	[GOVERNOR_REASON_BACKLOG] =
		"a waiting request is nearly late: full speed until the queue is short",
	[GOVERNOR_REASON_GIVES_WAY] =
		"not all models of the card hold their SLOs: this one has what is left",
	[GOVERNOR_REASON_POWER_CAP] = "the power cap allows no more",
	[GOVERNOR_REASON_THROTTLED] = "the card is too hot, so the clock is lowered",
	[GOVERNOR_REASON_LATE] =
		"more is late than the plan allows, so it is for more demand than there is",
	[GOVERNOR_REASON_DWELL] = "a lower configuration is wanted and waits for its time",
	[GOVERNOR_REASON_IDLE] = "hardly any demand: the cheapest that can take up load again",
	[GOVERNOR_REASON_DEMAND] = "the least that serves the demand in time",
	[GOVERNOR_REASON_POLICY] = "the model's policy orders it, whatever the demand",
};

const char *governor_reason_words(enum governor_reason r)
{
	return (unsigned int)r < GOVERNOR_REASON_MAX && reasons[r] ? reasons[r] : "unknown";
}
