/* SPDX-License-Identifier: Apache-2.0 */
/* Between governor.c (the card: precedence, caps, heat) and governor-model.c (one model: what is
 * known of it and what is planned for it). */
#pragma once

#include "governor/boost.h"
#include "governor/cap-factor.h"
#include "governor/co-run.h"
#include "governor/constancy.h"
#include "governor/demand.h"
#include "governor/governor-check.h"
#include "governor/governor.h"
#include "governor/late-test.h"
#include "governor/pacer.h"
#include "governor/policy.h"
#include "governor/service-factor.h"
#include "governor/several.h"
#include "governor/stretch.h"
#include "governor/switch-time.h"
#include "governor/thermal.h"

/* The tables of a card whose service times are not the profile's. */
struct factored {
	struct response_table table, clock_table;
};

struct model {
	const struct policy *policy;
	struct constancy constancy;
	struct demand keen, sure; /* where demand moves, and where it is constant */
	struct pacer pacer;
	struct boost boost;
	struct late_test late_test;
	uint64_t arrivals, counted_ns; /* since demand was last told of them */
	uint64_t polled, polled_ns;    /* since the last poll */
	struct policy_plan plan;       /* of the last poll */
	double rate_rps;	       /* last measured */
	bool doubted;		       /* its demand was not known in the last step */
	bool in_force;		       /* the last step's decision was what its policy ordered */
	bool asked; /* planned for this demand, whatever was estimated (explain.h) */
	double asked_rps;
	union policy_state state;
	struct cap_factor cap_factor;
	struct governor_check check;
	struct service_factor service_factor;
	struct factored *factored; /* instead of the configuration's tables; NULL: none */
	double planned_factor;	   /* that they are for */
	double late_max;	   /* likewise: share late but for boosts; 0: by the percentile */
	double change_beside;	   /* from 1, of the factor that is planned for beside others */
	struct stretch stretch;	   /* by other models on the same CUs */
	struct co_run co_run;	   /* what its factor is learnt of beside these */
	/* Of its menu: ordered in this step, and in the one before; UINT32_MAX: unknown. */
	uint32_t option, option_before;
};

struct governor {
	struct governor_config config;
	struct cu_shape full_shape;
	struct thermal thermal;
	uint64_t number;
	bool decided; /* previous is valid */
	struct governor_decision previous;
	struct model models[GOVERNOR_MAX_MODELS];
	struct switch_time switch_time;
	uint32_t watched;  /* the model whose services tell it */
	uint64_t woken_ns; /* the last wake; 0: none yet */
	uint64_t tried_ns; /* the last boost of the card began */
	struct several several;
	struct card_planner *planner; /* NULL: at most one model has a menu */
	struct factored factored[];   /* of the models that have such, in their order */
};

/* A step without its estimate. */
void governor_decide(struct governor *g, const struct governor_input *input,
		     struct governor_decision *ret);

/* The share of the SLO that is planned for, where rows are by headroom. */
static inline double governor_model_headroom(const struct governor_model_config *c)
{
	return c->headroom > 0 ? c->headroom : TABLE_OPTIONS_DEFAULT.headroom;
}

bool governor_is_active(const struct governor_model_input *in);
/* The estimate in force. */
const struct demand *governor_model_demand(const struct model *m);
/* As one that never had a worker. */
void governor_model_reset(struct model *m);
void governor_model_estimate(struct governor *g, uint32_t i, const struct governor_input *input);
/* Plans for the only active model. */
void governor_model_decide(struct governor *g, uint32_t i, const struct governor_input *input,
			   struct governor_decision *ret);
/* What its policy wants for it, doubt included. */
struct policy_plan governor_model_want(struct governor *g, uint32_t i,
				       const struct response_table *t,
				       const struct governor_input *input);
/* governor-boost.c. What a boost of a model leads from, and by which times. */
struct boost_from {
	uint32_t max_mhz; /* the limit that the clock is raised from */
	double slo_ns;
	double service_ns, fast_ns; /* as planned, and with the clock at its highest */
	double factor;		    /* in these two, over the profile's */
	uint64_t wait_ns;	    /* from which its worker wakes; UINT64_MAX: of no use */
	bool is_known;		    /* the profile's are times of these executions, one at a time */
};
/* Before the step's boosts are decided. */
void governor_boost_watch(struct governor *g, const struct governor_input *input);
/* Whether the model wants a boost now. */
bool governor_boost_model(struct governor *g, uint32_t i, const struct governor_input *input,
			  const struct boost_from *from, uint64_t *ret_again_ns);
/* The card's clock is raised for this model, and is lowered again, by this step. */
void governor_boost_begins(struct governor *g, uint32_t i, const struct governor_input *input,
			   const struct boost_from *from);
void governor_boost_ends(struct governor *g, uint64_t now_ns);
void governor_boost_note_wakes(struct governor *g, const struct governor_input *input);
/* The time of a clock change; 0 while it is not known, and where it is time to see again whether it
 * still is too long for boosts: one in five minutes does. */
double governor_switch_ns(const struct governor *g, uint64_t now_ns);
/* governor-several.c. What plans are made with, as large as the configuration can ever ask for;
 * nothing for one model alone. 0 or -ENOMEM. */
int governor_several_init(struct governor *g);
/* Whether all active models, more than one, can be planned for together. */
bool governor_several_can(const struct governor *g, const struct governor_input *input);
/* Learns from the interval that has just ended how much they slow each other down. */
void governor_several_learn(struct governor *g, const struct governor_input *input);
/* False: there is no such plan. */
bool governor_several_decide(struct governor *g, const struct governor_input *input,
			     struct governor_decision *ret);
/* By what the masks that its workers follow allow; NULL: it has none. */
const struct response_table *governor_model_table(const struct governor *g, uint32_t i,
						  const struct governor_model_input *in);
/* What a row means for the model's workers. */
void governor_model_describe(const struct governor *g, uint32_t i,
			     const struct governor_model_input *in, uint32_t row,
			     struct governor_model_decision *d);
/* Full speed with all CUs, inside the cap. Without a table nothing is known of power, and
 * *ret_power_w is left alone. */
uint32_t governor_full_speed_mhz(const struct governor *g,
				 const struct governor_model_config *model, double *ret_power_w);
/* governor-cap.c. Learns from the interval that has just ended, before anything is decided; only:
 * the one active model, UINT32_MAX if there are none or several, whose power cannot be told apart.
 */
void governor_cap_learn(struct governor *g, const struct governor_input *input, uint32_t only);
/* Decides instead of the plan if that is not inside the cap, and for B, as the most that can be had
 * inside; its reason is then in *plan. False: the plan holds as it is. */
bool governor_cap_plan(struct governor *g, uint32_t i, const struct response_table *t,
		       const struct governor_input *input, struct policy_plan *plan,
		       struct governor_decision *ret);
/* Full speed with all CUs and the workers' own batch, inside the cap. False: no cap, or no menu. */
bool governor_cap_full_speed(const struct governor *g, uint32_t i, uint32_t *ret_mhz,
			     double *ret_power_w);
/* governor-check.c. The interval that has just ended, before anything is decided; only: as above.
 */
void governor_check_step(struct governor *g, const struct governor_input *input, uint32_t only);
/* Which profiles are stale. */
void governor_check_describe(const struct governor *g, struct governor_decision *ret);
/* What was found of the old table's profile is kept if the new table is of the same one. */
void governor_check_inherit(struct governor_check *k, const struct response_table *old,
			    const struct response_table *table);
bool governor_same_profile(const struct response_table *a, const struct response_table *b);
/* governor-factor.c. Whether the model is planned for by a factor on its service times. */
bool governor_factor_applies(const struct governor_model_config *c);
/* room: NULL where it is not. */
void governor_factor_init(struct governor *g, uint32_t i, struct factored *room);
/* What was learnt is kept if it is of the same profile. */
void governor_factor_inherit(struct governor *g, uint32_t i, struct factored *room, bool same);
/* The interval that has just ended, before anything is decided, and after the check's part; only:
 * as above. */
void governor_factor_step(struct governor *g, const struct governor_input *input, uint32_t only);
void governor_factor_describe(const struct governor *g, struct governor_decision *ret);
/* What is planned for where a model is not alone on its card. */
double governor_factor_beside_others(const struct governor *g, uint32_t i);
/* Of two that apply the one to tell. */
enum governor_reason governor_first_reason(enum governor_reason a, enum governor_reason b);
