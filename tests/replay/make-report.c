/* SPDX-License-Identifier: Apache-2.0 */
/* usage: make-report FOLDER [hostile|sparse]: the report of a made-up evaluation at three
 * objectives; sparse: with as few figures as there can be. */
#include "replay/report.h"
#include "support/made-up-evaluation.h"

#include <math.h>
#include <string.h>

#define N_OTHERS 2

/* As of a run without auto and maximum, in which hardly a request came. */
static void take_figures_away(struct made_up *m)
{
	const struct evaluation *e = made_up_evaluation(m);

	for (uint32_t i = 0; i < e->n_rows; i++) {
		struct evaluation_row *row = &e->rows[i];

		row->power_vs_auto = row->power_vs_maximum = NAN;
		row->regret_pct = row->missed_pct = NAN;
		row->m.p50_ms = row->m.p95_ms = row->m.p99_ms = NAN;
		row->m.excess_late_pct = NAN;
		row->n_curve = 0;
		for (uint32_t j = 0; j < row->n_ticks; j++)
			row->ticks[j] = (struct tick){.t_s = (float)j, .p95_ms = NAN};
	}
	for (uint32_t i = 0; i < e->n_means; i++)
		e->means[i] = (struct evaluation_mean){
			.policy = e->means[i].policy,
			.power_vs_auto = NAN,
			.power_vs_maximum = NAN,
			.regret_pct = NAN,
			.missed_pct = NAN,
			.headroom_there = NAN,
			.power_vs_auto_there = NAN,
		};
}

int main(int argc, char *argv[])
{
	static const double factors[N_OTHERS + 1] = {2, 1.5, 1.25};
	bool hostile = argc > 2 && strcmp(argv[2], "hostile") == 0;
	bool sparse = argc > 2 && strcmp(argv[2], "sparse") == 0;
	struct made_up *evaluations[N_OTHERS + 1];
	json_t *objects[N_OTHERS + 1];
	int r;

	if (argc < 2)
		return 2;
	if (!report_has_gnuplot())
		return 77;
	for (size_t i = 0; i <= N_OTHERS; i++) {
		evaluations[i] = made_up_new(hostile || sparse ? 2 : 8, factors[i], hostile);
		if (sparse)
			take_figures_away(evaluations[i]);
		objects[i] = report_json(made_up_evaluation(evaluations[i]));
		if (!objects[i])
			return 1;
	}
	r = report_write(argv[1], made_up_evaluation(evaluations[0]), objects[0], objects + 1,
			 N_OTHERS);
	for (size_t i = 0; i <= N_OTHERS; i++) {
		json_decref(objects[i]);
		made_up_free(evaluations[i]);
	}
	if (r < 0)
		(void)fprintf(stderr, "make-report: %s\n", strerror(-r));
	return r < 0;
}
