/* SPDX-License-Identifier: Apache-2.0 */
/* Cards as an actuator describes them, some of them oddly. */
#include "base/macros.h"
#include "profiler/card.h"
#include "support/cmocka-includes.h"

#include <errno.h>
#include <string.h>

static struct actuator_reply good(const char *bdf)
{
	struct actuator_reply r = {
		.card =
			{
				.name = "Radeon Instinct MI50",
				.gfx = "gfx906",
				.n_cus = 60,
				.n_se = 4,
				.n_sh_per_se = 1,
				.n_xcc = 1,
				.active_cus = {15, 15, 15, 15},
				.n_levels = 3,
				.level_mhz = {925, 1282, 1725},
				.can_cap_clock = 1,
			},
	};

	(void)snprintf(r.bdf, sizeof(r.bdf), "%s", bdf);
	return r;
}

static void test_the_only_card_needs_no_name(void **state)
{
	struct actuator_reply replies[] = {good("0000:43:00.0")};
	const struct actuator_reply *found;

	(void)state;
	assert_int_equal(card_choose(replies, 1, NULL, &found), 0);
	assert_ptr_equal(found, &replies[0]);
	assert_int_equal(card_choose(replies, 1, "0000:43:00.0", &found), 0);
	assert_int_equal(card_choose(replies, 1, "0000:63:00.0", &found), -ENODEV);
	assert_int_equal(card_choose(replies, 0, NULL, &found), -ENODEV);
}

static void test_one_of_several_is_named(void **state)
{
	struct actuator_reply replies[] = {good("0000:43:00.0"), good("0000:63:00.0")};
	const struct actuator_reply *found = NULL;

	(void)state;
	/* The other one's oddness is no concern of ours. */
	replies[0].card.n_levels = 0;
	assert_int_equal(card_choose(replies, 2, NULL, &found), -EINVAL);
	assert_null(found);
	assert_int_equal(card_choose(replies, 2, "0000:63:00.0", &found), 0);
	assert_ptr_equal(found, &replies[1]);
}

static void no_levels(struct actuator_reply *r)
{
	r->card.n_levels = 0;
}

static void many_levels(struct actuator_reply *r)
{
	r->card.n_levels = ACTUATOR_MAX_LEVELS + 1;
}

static void level_of_zero(struct actuator_reply *r)
{
	r->card.level_mhz[0] = 0;
}

static void equal_levels(struct actuator_reply *r)
{
	r->card.level_mhz[1] = r->card.level_mhz[0];
}

static void no_se(struct actuator_reply *r)
{
	r->card.n_se = 0;
}

static void many_se(struct actuator_reply *r)
{
	r->card.n_se = ACTUATOR_MAX_SE + 1;
}

static void no_cus(struct actuator_reply *r)
{
	r->card.n_cus = 0;
}

static void many_cus(struct actuator_reply *r)
{
	r->card.n_cus = 1u << 20;
}

static void no_name(struct actuator_reply *r)
{
	r->card.name[0] = '\0';
}

static void endless_name(struct actuator_reply *r)
{
	memset(r->card.name, 'x', sizeof(r->card.name));
}

/* It would go into the header of the surface. */
static void name_of_two_lines(struct actuator_reply *r)
{
	r->card.name[3] = '\n';
}

/* And this into its path. */
static void gfx_with_a_slash(struct actuator_reply *r)
{
	(void)snprintf(r->card.gfx, sizeof(r->card.gfx), "../../gfx906");
}

static void test_odd_cards_are_refused(void **state)
{
	static void (*const spoil[])(struct actuator_reply * r) = {
		no_levels,	   many_levels,	     level_of_zero, equal_levels, no_se,
		many_se,	   no_cus,	     many_cus,	    no_name,	  endless_name,
		name_of_two_lines, gfx_with_a_slash,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(spoil); i++) {
		struct actuator_reply r = good("0000:43:00.0");
		const struct actuator_reply *found = NULL;

		spoil[i](&r);
		assert_int_equal(card_choose(&r, 1, NULL, &found), -EBADMSG);
		assert_null(found);
	}
}

static void test_an_address_that_is_none_is_refused(void **state)
{
	struct actuator_reply r = good("../etc/passwd");
	const struct actuator_reply *found;

	(void)state;
	assert_int_equal(card_choose(&r, 1, NULL, &found), -EBADMSG);
	memset(r.bdf, 'x', sizeof(r.bdf));
	assert_int_equal(card_choose(&r, 1, NULL, &found), -EBADMSG);
}

static void test_a_card_without_a_clock_to_cap_is_refused(void **state)
{
	struct actuator_reply r = good("0000:43:00.0");
	const struct actuator_reply *found;

	(void)state;
	r.card.can_cap_clock = 0;
	assert_int_equal(card_choose(&r, 1, NULL, &found), -EOPNOTSUPP);
}

static void test_cus_are_shared_by_the_arrays_of_an_se(void **state)
{
	static const struct {
		const char *gfx;
		uint32_t n_sh;
		uint8_t cus, first, second;
		bool pairs;
	} cases[] = {
		{"gfx906", 1, 15, 15, 0, false},  {"gfx906", 0, 15, 15, 0, false},
		{"gfx1030", 2, 20, 10, 10, true}, {"gfx1030", 2, 19, 10, 9, true},
		{"gfx942", 1, 40, 40, 0, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct actuator_card card = {.n_se = 1, .n_sh_per_se = cases[i].n_sh};
		struct cu_topology t;

		card.active_cus[0] = cases[i].cus;
		(void)snprintf(card.gfx, sizeof(card.gfx), "%s", cases[i].gfx);
		t = card_topology(&card);
		assert_int_equal(t.n_se, 1);
		assert_int_equal(t.n_sh_per_se, MAX(cases[i].n_sh, 1u));
		assert_int_equal(t.active[0][0], cases[i].first);
		assert_int_equal(t.active[0][1], cases[i].second);
		assert_int_equal(t.wgp_pairs, cases[i].pairs);
		assert_int_equal(cu_topology_cus(&t), cases[i].cus);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_only_card_needs_no_name),
		cmocka_unit_test(test_one_of_several_is_named),
		cmocka_unit_test(test_odd_cards_are_refused),
		cmocka_unit_test(test_an_address_that_is_none_is_refused),
		cmocka_unit_test(test_a_card_without_a_clock_to_cap_is_refused),
		cmocka_unit_test(test_cus_are_shared_by_the_arrays_of_an_se),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
