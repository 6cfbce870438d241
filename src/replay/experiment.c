/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/experiment.h"
#include "replay/report-internal.h"
#include <errno.h>
#include <string.h>

static const struct experiment *const experiments[] = {
	&experiment_cofris,
	&experiment_batchsizer,
	&experiment_adapter,
	&experiment_disturbances,
};

const struct experiment *experiment_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(experiments); i++)
		if (strcmp(experiments[i]->name, name) == 0)
			return experiments[i];
	return NULL;
}

const char *experiment_name(unsigned int i)
{
	return i < ARRAY_SIZE(experiments) ? experiments[i]->name : NULL;
}

/* ---- claims ---- */

int experiment_claim_add(json_t *claims, const struct experiment_claim *c)
{
	bool met = c->ours >= c->least && c->ours <= c->most;
	json_t *row = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:b, s:s}", "id", c->id,
				"statement", c->statement, "subject", c->subject, "published",
				report_rounded(c->published), "least", report_rounded(c->least),
				"most", report_rounded(c->most), "ours", report_rounded(c->ours),
				"met", met, "status", c->missed ? "miss" : "predicted");

	return row && json_array_append_new(claims, row) == 0 ? 0 : -ENOMEM;
}

static const struct report_column claim_columns[] = {
	{"id", "claim", NULL, -1},
	{"subject", "of", NULL, -1},
	{"published", "published", NULL, 2},
	{"least", "least", NULL, 2},
	{"most", "most", NULL, 2},
	{"ours", "ours", NULL, 2},
	{"met", "met", NULL, -1},
	{"status", "status", NULL, -1},
	{"statement", "statement", NULL, -1},
};

int experiment_claims_text(const json_t *claims, FILE *f)
{
	uint32_t predicted = 0, met = 0;
	const json_t *row;
	size_t i;
	int r;

	json_array_foreach(claims, i, row)
	{
		if (strcmp(report_string(row, "status"), "predicted") != 0)
			continue;
		predicted++;
		met += json_is_true(json_object_get(row, "met"));
	}
	r = report_print_table(claims, claim_columns, ARRAY_SIZE(claim_columns), f);
	if (r < 0)
		return r;
	(void)fprintf(f, "\n%u of %zu claims are predicted, %u of them met\n\n", predicted,
		      json_array_size(claims), met);
	return 0;
}
