/* SPDX-License-Identifier: Apache-2.0 */
/* Between the parts of the oracle: which configurations are worth a look, and the two searches. */
#pragma once

#include "replay/oracle.h"

/* A configuration that no other one beats in time, energy and idle power at once. */
struct oracle_candidate {
	struct configuration configuration;
	double idle_w;
	const double *ns;	 /* service time of n requests, without jitter; from n = 1 */
	const double *dynamic_w; /* power above idle meanwhile */
};

struct oracle_candidates {
	uint32_t n;
	struct oracle_candidate *all;	 /* by level, shape, batch */
	uint32_t fastest;		 /* at single requests */
	double *values;			 /* behind the pointers of all */
	double least_j;			 /* above idle, for a request */
	struct oracle_candidate maximum; /* top clock, all CUs; not always one of all */
};

int oracle_candidates_new(const struct costs *costs, uint32_t n_levels, uint32_t max_batch,
			  struct oracle_candidates **ret);
struct oracle_candidates *oracle_candidates_free(struct oracle_candidates *c);
DEFINE_CLEANUP(struct oracle_candidates *, oracle_candidates_free)

static inline double oracle_dynamic_j(const struct oracle_candidate *c, uint32_t n)
{
	return c->ns[n - 1] * c->dynamic_w[n - 1] * 1e-9;
}

/* What both searches go by. */
struct oracle_work {
	const struct oracle_candidates *candidates;
	const struct oracle_options *options;
	uint32_t n_ticks; /* with those of the longest drain */
};

/* The schedule for mu (J for each request late in excess): n_ticks configurations. */
struct oracle_search;
int oracle_search_new(const struct oracle_work *w, struct oracle_search **ret);
struct oracle_search *oracle_search_free(struct oracle_search *s);
DEFINE_CLEANUP(struct oracle_search *, oracle_search_free)
void oracle_search_run(struct oracle_search *s, double mu_j, struct configuration *ret);

struct oracle_rate;
int oracle_rate_new(const struct oracle_work *w, struct oracle_rate **ret);
struct oracle_rate *oracle_rate_free(struct oracle_rate *r);
DEFINE_CLEANUP(struct oracle_rate *, oracle_rate_free)
void oracle_rate_run(const struct oracle_rate *r, double mu_j, struct configuration *ret);
