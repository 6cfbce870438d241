/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/explain.h"
#include "base/log.h"
#include "base/parse.h"
#include <errno.h>

#define EXPLAIN_MAX_RPS	 1e9
#define EXPLAIN_MAX_LAST 1000 /* as the daemon */

static int parse_options(const char *model, const char *rps, const char *last,
			 struct explain_arguments *a)
{
	if (model && !model_name_is_valid(model)) {
		log_error("'%.60s' is no name of a model", model);
		return -EINVAL;
	}
	if (rps && last) {
		log_error("--rps asks for what would be, --last for what was: one of them");
		return -EINVAL;
	}
	if (rps && (parse_double(rps, &a->rps) < 0 || a->rps < 0 || a->rps > EXPLAIN_MAX_RPS)) {
		log_error("--rps %s: expected requests per second, 0 to %g", rps, EXPLAIN_MAX_RPS);
		return -EINVAL;
	}
	if (last && (parse_u32(last, &a->last) < 0 || a->last < 1 || a->last > EXPLAIN_MAX_LAST)) {
		log_error("--last %s: expected a number of decisions, 1 to %d", last,
			  EXPLAIN_MAX_LAST);
		return -EINVAL;
	}
	return 0;
}

int explain_parse(char **words, int n_words, const char *model, const char *rps, const char *last,
		  struct explain_arguments *ret)
{
	struct explain_arguments a = {.gpu = "*", .model = model ? model : "*", .rps = -1};
	int r;

	if (n_words > 0) {
		a.gpu = words[0];
		if (!pci_bdf_is_valid(a.gpu) || a.gpu[PCI_BDF_LENGTH] != '\0') {
			log_error("'%s' is no PCI address as 0000:43:00.0", a.gpu);
			return -EINVAL;
		}
	}
	r = parse_options(model, rps, last, &a);
	if (r < 0)
		return r;
	*ret = a;
	return 0;
}
