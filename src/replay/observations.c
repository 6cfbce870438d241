/* SPDX-License-Identifier: Apache-2.0 */
/* The statements, in the paper's order, with what is expected of them. */
#include "replay/observations.h"
#include <math.h>
#include <stdarg.h>
#include <string.h>

#define ANY	      INFINITY
#define EXPECTED(s)   .swim = OBSERVATION_##s, .jobs = OBSERVATION_##s
#define MEASURES(f)   .observe = observe_##f
#define AT_LEAST(x)   .low = (x), .high = ANY
#define AT_MOST(x)    .low = -ANY, .high = (x)
#define ABOUT(x, tol) .low = (x), .high = (x), .tolerance = (tol)

const struct observation observations_all[] = {
	/* ---- the card ---- */
	{
		.id = "flat-to-32",
		.source = "fig. 2",
		.statement = "without gating, power hardly changes from 60 down to 32 CUs",
		.figure = "power over that of 60 CUs, the furthest from 1",
		ABOUT(1, 0.05),
		EXPECTED(PREDICTED),
		MEASURES(flat),
	},
	{
		.id = "dip-at-31",
		.source = "fig. 2",
		.statement = "without gating, power dips at 31 CUs",
		.figure = "power of 32 CUs over that of 31",
		AT_LEAST(1.005),
		EXPECTED(IMPOSSIBLE),
		.argument =
			"31 CUs still lie in three SEs; workgroups go round the SEs, so they do "
			"what 32 and 30 in three SEs do, and draw as much",
		MEASURES(dip_31),
	},
	{
		.id = "dip-at-half",
		.source = "fig. 2",
		.statement = "without gating, power dips where the third SE falls out of use",
		.figure = "what going from 32 to 30 CUs saves over what two CUs save above that",
		AT_LEAST(2),
		EXPECTED(PREDICTED),
		MEASURES(dip),
	},
	{
		.id = "dip-by-clock",
		.source = "fig. 2",
		.statement = "the dip is deepest at the highest clocks",
		.figure = "clock of the deepest, MHz; the highest third of the clocks",
		AT_LEAST(1485),
		EXPECTED(PREDICTED),
		MEASURES(dip_clock),
	},
	{
		.id = "falling-from-30",
		.source = "fig. 2",
		.statement = "without gating, power falls from 30 CUs down to 1",
		.figure = "power over that of a CU more, the most",
		.low = -ANY,
		.high = 1,
		.tolerance = 0.01,
		EXPECTED(PREDICTED),
		MEASURES(falling),
	},
	{
		.id = "most-from-30",
		.source = "fig. 2",
		.statement = "without gating, most of what fewer CUs save comes from 30 down to 1",
		.figure = "share of it",
		AT_LEAST(0.5),
		EXPECTED(PREDICTED),
		MEASURES(late_saving),
	},
	{
		.id = "clock-saves-more",
		.source = "fig. 2",
		.statement = "without gating, fewer CUs save less than a lower clock",
		.figure = "saving of half of the CUs over that of half of the clock",
		AT_MOST(1),
		EXPECTED(PREDICTED),
		MEASURES(clock_saves_more),
	},
	{
		.id = "active-idle",
		.source = "fig. 3",
		.statement = "active-idle power of a CU rises with the clock, up to the highest",
		.figure = "over that at the next lower clock",
		AT_LEAST(1),
		EXPECTED(PREDICTED),
		MEASURES(active_idle),
	},
	{
		.id = "cu-over-se-gating",
		.source = "fig. 4",
		.statement = "at the highest clock, gating CUs saves 9 % more than gating SEs",
		.figure = "% saved, of both things that it may be about",
		ABOUT(9, 2),
		EXPECTED(MISS),
		.argument = "the paper does not say what the 9 % are of: it fits the power of the "
			    "whole card, and is a little too much of what SE gating draws",
		MEASURES(gating_grain),
	},
	{
		.id = "latency-by-clock",
		.source = "fig. 5",
		.statement = "latency grows faster with a lower clock than with fewer CUs",
		.figure = "latency of half of the clock over that of half of the CUs",
		AT_LEAST(1),
		EXPECTED(PREDICTED),
		MEASURES(latency),
	},
	{
		.id = "slo-at-lowest-clock",
		.source = "fig. 5",
		.statement = "the lowest clock breaks the 2x objective only on 30 CUs or fewer",
		.figure = "most CUs that break it",
		AT_MOST(30),
		EXPECTED(MISS),
		.argument = "up to 32 CUs three SEs do what 30 CUs would; and albert and vgg19 "
			    "fill nearly all CUs (rate-knee), so that losing an SE breaks what the "
			    "lowest clock has left",
		MEASURES(slo_breaks),
	},
	{
		.id = "slo-by-model",
		.source = "fig. 5",
		.statement = "some models break it from 30 CUs on, others from 15",
		.figure = "models",
		AT_LEAST(1),
		EXPECTED(PREDICTED),
		MEASURES(slo_models),
	},
	{
		.id = "rate-knee",
		.source = "fig. 5b",
		.statement = "the rate holds with fewer CUs, down to a knee of each model",
		.figure = "fewest CUs with nine tenths of the rate, at the highest clock; 54 would "
			  "be in "
			  "proportion",
		AT_MOST(53),
		EXPECTED(PREDICTED),
		MEASURES(rate_knees),
	},
	{
		.id = "rate-holds",
		.source = "fig. 5b",
		.statement = "with every model the rate holds down to 45 CUs",
		.figure = "rate of 45 CUs over that of 60, at the highest clock",
		AT_LEAST(0.9),
		EXPECTED(MISS),
		.argument = "most launches of albert and vgg19 fill all 60 CUs in the plant, as "
			    "others have found of vgg19 on this card (ECLIP)",
		MEASURES(rate_holds),
	},
	{
		.id = "cu-limited",
		.source = "fig. 5b",
		.statement = "below 15 to 10 CUs the CUs limit the rate, at every clock",
		.figure = "rate of 5 CUs over that of 10, the most of all clocks; 0.5 is in "
			  "proportion, 0.71 half way to none",
		AT_MOST(0.71),
		EXPECTED(PREDICTED),
		MEASURES(cu_limited),
	},
	{
		.id = "shufflenet-flat",
		.source = "fig. 5b",
		.statement = "neither clock nor CUs change much of shufflenet's rate",
		.figure = "rate over that of the whole card at its highest clock",
		AT_LEAST(0.8),
		EXPECTED(PREDICTED),
		MEASURES(shufflenet),
	},
	{
		.id = "squeezenet-flat",
		.source = "fig. 5b",
		.statement = "neither clock nor CUs change much of squeezenet's rate",
		.figure = "rate over that of the whole card at its highest clock",
		AT_LEAST(0.8),
		EXPECTED(MISS),
		.argument = "version 1.0 has convolutions that last longer than their launch; "
			    "which one the paper means it does not say",
		MEASURES(squeezenet),
	},
	{
		.id = "optimum-at-knee",
		.source = "fig. 5",
		.statement = "albert, alexnet and vgg19 have their optimum at the knee",
		.figure = "CUs between the cheapest that serves a rate, and where its clock's rate "
			  "begins to fall; mean of five rates",
		.low = 0,
		.high = 0,
		.tolerance = 6,
		EXPECTED(MISS),
		.argument = "at the lower rates alexnet is cheapest on half of those CUs, at a "
			    "higher clock",
		MEASURES(knees),
	},
	{
		.id = "optimum-cu",
		.source = "fig. 6a",
		.statement = "with CU gating the optimum is just above 30 CUs",
		.figure = "of the geometric means, most rate within 0.4 to 0.9 of the power",
		.low = 30,
		.high = 36,
		EXPECTED(MISS),
		.argument = "it is about 30 at half of the power; within more of it, a lower clock "
			    "on nearly all CUs serves more",
		MEASURES(optimum_cu),
	},
	{
		.id = "optimum-se",
		.source = "fig. 6b",
		.statement = "with SE gating the optimum is just below 45 CUs",
		.figure = "of the geometric means, most rate within 0.4 to 0.9 of the power",
		.low = 39,
		.high = 45,
		EXPECTED(PREDICTED),
		MEASURES(optimum_se),
	},
	/* ---- the policies ---- */
	{
		.id = "total",
		.source = "section IV.B, fig. 9",
		.statement = "CoFRIS-CU takes 28 % less power than the baseline",
		.figure = "% less",
		ABOUT(28, 2),
		.swim = OBSERVATION_CALIBRATED,
		.jobs = OBSERVATION_CALIBRATED,
		MEASURES(total),
	},
	{
		.id = "total-over-fs",
		.source = "section IV.B, fig. 9",
		.statement = "CoFRIS-CU takes 13 % less power than FS",
		.figure = "% less",
		ABOUT(13, 2),
		.swim = OBSERVATION_CALIBRATED,
		.jobs = OBSERVATION_CALIBRATED,
		MEASURES(over_fs),
	},
	{
		.id = "total-over-rs-cu",
		.source = "section IV.B, fig. 9",
		.statement = "CoFRIS-CU takes 5 % less power than RS-CU",
		.figure = "% less",
		ABOUT(5, 2),
		.swim = OBSERVATION_CALIBRATED,
		.jobs = OBSERVATION_CALIBRATED,
		MEASURES(over_rs_cu),
	},
	{
		.id = "next-best",
		.source = "section IV.B, fig. 9",
		.statement = "RS-CU comes next after CoFRIS-CU",
		.figure = "power over that of RS-CU",
		AT_LEAST(1),
		EXPECTED(MISS),
		.argument =
			"CoFRIS-SE takes as much as RS-CU here, a tenth of a point less or more",
		MEASURES(next_best),
	},
	{
		.id = "fs-like-rs-se",
		.source = "section IV.B, fig. 9",
		.statement = "FS and RS-SE save about as much",
		.figure = "points less than FS",
		ABOUT(0, 2),
		EXPECTED(PREDICTED),
		MEASURES(fs_rs_se),
	},
	{
		.id = "se-over-fs",
		.source = "section IV.B, fig. 9",
		.statement = "CoFRIS-SE takes 6 points less power than FS",
		.figure = "points less",
		ABOUT(6, 2),
		EXPECTED(PREDICTED),
		MEASURES(se_over_fs),
	},
	{
		.id = "rs-cu-better",
		.source = "fig. 9",
		.statement = "RS-CU takes less power than RS-SE with five of the models",
		.figure = "RS-CU over RS-SE",
		AT_MOST(1),
		EXPECTED(PREDICTED),
		MEASURES(cu_better),
	},
	{
		.id = "rs-cu-exceptions",
		.source = "fig. 9",
		.statement = "RS-CU takes no less than RS-SE with alexnet, resnext101 and vgg19",
		.figure = "RS-CU over RS-SE",
		AT_LEAST(1),
		EXPECTED(IMPOSSIBLE),
		.argument = "on every mask CU gating draws at most what SE gating draws, and both "
			    "choose from one surface by predicted power: whatever SE gating "
			    "chooses, CU gating has for no more",
		MEASURES(cu_worse),
	},
	{
		.id = "rs-se-favourites",
		.source = "section IV.B, fig. 9",
		.statement =
			"RS-SE takes less power than FS with albert, shufflenet and squeezenet",
		.figure = "RS-SE over FS",
		AT_MOST(1),
		EXPECTED(MISS),
		.argument = "albert needs all SEs for most of its launches, and squeezenet reacts "
			    "to CUs (squeezenet-flat)",
		MEASURES(se_favourites),
	},
	{
		.id = "rs-se-on-45",
		.source = "section IV.B",
		.statement = "SE-gated policies choose 45 CUs most often: RS-SE",
		.figure = "CUs of most of the ticks",
		ABOUT(45, 0),
		EXPECTED(MISS),
		.argument = "albert and vgg19 stay on all CUs (rate-holds); the others spread over "
			    "15, 30 "
			    "and 45",
		MEASURES(rs_se_most_often),
	},
	{
		.id = "cofris-se-on-45",
		.source = "section IV.B",
		.statement = "SE-gated policies choose 45 CUs most often: CoFRIS-SE",
		.figure = "CUs of most of the ticks",
		ABOUT(45, 0),
		EXPECTED(PREDICTED),
		MEASURES(cofris_se_most_often),
	},
	{
		.id = "slo-1.5x",
		.source = "fig. 10",
		.statement = "at 1.5x every policy saves within 2 % of what it saves at 2x",
		.figure = "points more power",
		ABOUT(0, 2),
		EXPECTED(PREDICTED),
		MEASURES(slo_150),
	},
	{
		.id = "slo-1.25x",
		.source = "fig. 10",
		.statement = "at 1.25x every policy saves within 2 % of what it saves at 2x",
		.figure = "points more power",
		ABOUT(0, 2),
		.swim = OBSERVATION_PREDICTED,
		.jobs = OBSERVATION_MISS,
		.argument = "RS-SE stands at the edge: a little below two points with one trace, a "
			    "little above with the other",
		MEASURES(slo_125),
	},
	{
		.id = "p95-in-slo",
		.source = "fig. 11",
		.statement = "p95 meets the objective everywhere",
		.figure = "p95 over the objective, the most of all models and policies",
		AT_MOST(1),
		EXPECTED(MISS),
		.argument = "with no margin, as in the paper, the p95 of a run is a draw around "
			    "that of the profile: at 1.25x the largest of all comes out just above",
		MEASURES(p95_in_slo),
	},
	{
		.id = "p95-below-1.75x",
		.source = "fig. 11",
		.statement = "at 2x, p95 reaches at most 1.75x",
		.figure = "geometric mean of p95 over the baseline's",
		AT_MOST(1.75),
		EXPECTED(PREDICTED),
		MEASURES(p95_most),
	},
	{
		.id = "p95-flat",
		.source = "fig. 11",
		.statement = "p95 of SE-gated policies flattens out after 1.5x",
		.figure = "geometric mean at 2x over that at 1.5x",
		ABOUT(1, 0.05),
		EXPECTED(PREDICTED),
		MEASURES(p95_flat),
	},
};
const size_t observations_n = ARRAY_SIZE(observations_all);

void observed_add(struct observed_values *v, double value, const char *format, ...)
{
	struct observed_value *added;
	va_list ap;

	if (v->n >= OBSERVED_MAX_VALUES)
		return;
	added = &v->all[v->n++];
	added->value = value;
	va_start(ap, format);
	(void)vsnprintf(added->name, sizeof(added->name), format, ap);
	va_end(ap);
}

bool observation_is_met(const struct observation *o, const struct observed_values *v)
{
	for (uint32_t i = 0; i < v->n; i++)
		if (!(v->all[i].value >= o->low - o->tolerance &&
		      v->all[i].value <= o->high + o->tolerance))
			return false;
	return v->n > 0;
}
