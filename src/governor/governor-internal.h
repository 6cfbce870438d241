/* SPDX-License-Identifier: Apache-2.0 */
/* Between governor.c (the card: precedence, caps, heat) and governor-model.c (one model: what is
 * known of it and what is planned for it). */
#pragma once

#include "governor/boost.h"
#include "governor/constancy.h"
#include "governor/demand.h"
#include "governor/governor.h"
#include "governor/pacer.h"
#include "governor/policy.h"
#include "governor/thermal.h"

struct model {
	const struct policy *policy;
	struct constancy constancy;
	struct demand keen, sure; /* where demand moves, and where it is constant */
	struct pacer pacer;
	struct boost boost;
	uint64_t arrivals, counted_ns; /* since demand was last told of them */
	struct policy_plan plan;       /* of the last poll */
	double rate_rps;	       /* last measured */
	bool doubted;		       /* its demand was not known in the last step */
	bool in_force;		       /* the last step's decision was what its policy ordered */
	union policy_state state;
};

struct governor {
	struct governor_config config;
	struct cu_shape full_shape;
	struct thermal thermal;
	uint64_t number;
	bool decided; /* previous is valid */
	struct governor_decision previous;
	struct model models[GOVERNOR_MAX_MODELS];
};

bool governor_is_active(const struct governor_model_input *in);
/* The estimate in force. */
const struct demand *governor_model_demand(const struct model *m);
/* As one that never had a worker. */
void governor_model_reset(struct model *m);
void governor_model_estimate(struct governor *g, uint32_t i, const struct governor_input *input);
/* Plans for the only active model. */
void governor_model_decide(struct governor *g, uint32_t i, const struct governor_input *input,
			   struct governor_decision *ret);
/* What a row means for the model's workers. */
void governor_model_describe(const struct governor *g, uint32_t i,
			     const struct governor_model_input *in, uint32_t row,
			     struct governor_model_decision *d);
/* Full speed with all CUs, inside the cap. Without a table nothing is known of power, and
 * *ret_power_w is left alone. */
uint32_t governor_full_speed_mhz(const struct governor *g,
				 const struct governor_model_config *model, double *ret_power_w);
/* Of two that apply the one to tell. */
enum governor_reason governor_first_reason(enum governor_reason a, enum governor_reason b);
