/* SPDX-License-Identifier: Apache-2.0 */
/* Bookkeeping of holds: cookies, limits, levels and reasons. */
#include "daemon/holds.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <string.h>

#define SEED 20240611

static struct hold order(enum hold_level level, const char *subject, uid_t uid)
{
	struct hold h = {.level = level, .uid = uid};

	(void)snprintf(h.subject, sizeof(h.subject), "%s", subject);
	return h;
}

static uint32_t added(struct holds *holds, enum hold_level level, const char *subject, uid_t uid)
{
	struct hold h = order(level, subject, uid), *entry;

	assert_int_equal(holds_add(holds, &h, &entry), 0);
	return entry->cookie;
}

static void test_levels_have_their_names(void **state _unused_)
{
	enum hold_level level;

	assert_int_equal(hold_level_from_name("rated", &level), 0);
	assert_int_equal(level, HOLD_RATED);
	assert_int_equal(hold_level_from_name("full-speed", &level), 0);
	assert_int_equal(level, HOLD_FULL_SPEED);
	assert_int_equal(hold_level_from_name("pause", &level), -EINVAL);
	assert_int_equal(hold_level_from_name("", &level), -EINVAL);
	assert_string_equal(hold_level_name(HOLD_FULL_SPEED), "full-speed");
}

static void test_a_reason_is_printable_text_of_200_bytes(void **state _unused_)
{
	static const struct {
		const char *text;
		bool valid;
	} cases[] = {
		{"", true},
		{"a benchmark of the new model", true},
		{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\xa5", true},
		{"\xef\xbf\xbd", true},
		{"one\ntwo", false},
		{"\033[2Jgone", false},
		{"tab\there", false},
		{"\x7f", false},
		{"\xc2\x85", false},	     /* a control of Latin-1 */
		{"\xe2\x80\xae", false},     /* right to left from here on */
		{"\xe2\x81\xa6", false},     /* an isolate */
		{"\xe2\x80\xa8", false},     /* a line's end */
		{"\xc0\x80", false},	     /* more bytes than it needs */
		{"\xe0\x80\xaf", false},     /* likewise */
		{"\xed\xa0\x80", false},     /* half a pair */
		{"\xf4\x90\x80\x80", false}, /* beyond the last character */
		{"\xf5\x80\x80\x80", false},
		{"\xe2\x82", false}, /* cut off */
		{"\x80", false},
		{"\xff", false},
	};
	char text[HOLD_REASON_MAX + 2];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (hold_reason_is_valid(cases[i].text) != cases[i].valid)
			fail_msg("case %zu", i);
	memset(text, 'x', sizeof(text));
	text[HOLD_REASON_MAX] = '\0';
	assert_true(hold_reason_is_valid(text));
	text[HOLD_REASON_MAX] = 'x';
	text[HOLD_REASON_MAX + 1] = '\0';
	assert_false(hold_reason_is_valid(text));
}

static void test_what_stands_is_by_name_or_for_all(void **state _unused_)
{
	static struct holds holds;
	uint32_t one, all;

	one = added(&holds, HOLD_FULL_SPEED, "resnet50", 1);
	assert_true(holds_any(&holds, HOLD_FULL_SPEED, "resnet50"));
	assert_false(holds_any(&holds, HOLD_FULL_SPEED, "resnet5"));
	assert_false(holds_any(&holds, HOLD_RATED, "resnet50"));
	all = added(&holds, HOLD_RATED, "*", 2);
	assert_true(holds_any(&holds, HOLD_RATED, "resnet50"));
	assert_true(holds_any(&holds, HOLD_RATED, "another"));
	assert_true(holds_remove(&holds, one));
	assert_false(holds_any(&holds, HOLD_FULL_SPEED, "resnet50"));
	assert_false(holds_remove(&holds, one));
	assert_true(holds_remove(&holds, all));
	assert_int_equal(holds.n, 0);
}

static void test_a_user_has_64_and_all_have_256(void **state _unused_)
{
	static struct holds holds;
	struct hold h = order(HOLD_PAUSE, "*", 5), *entry;
	uint32_t first = 0;

	for (uint32_t i = 0; i < HOLDS_MAX_PER_UID; i++) {
		uint32_t cookie = added(&holds, HOLD_RATED, "*", 5);

		first = first > 0 ? first : cookie;
	}
	assert_int_equal(holds_add(&holds, &h, &entry), -EUSERS);
	assert_true(holds_remove(&holds, first));
	assert_int_equal(holds_add(&holds, &h, &entry), 0);
	for (uid_t uid = 6; holds.n < HOLDS_MAX; uid++)
		for (uint32_t i = 0; i < HOLDS_MAX_PER_UID; i++)
			(void)added(&holds, HOLD_RATED, "*", uid);
	assert_int_equal(holds.n, 256);
	h.uid = 0;
	assert_int_equal(holds_add(&holds, &h, &entry), -ENOSPC);
}

static void test_cookies_are_never_0_and_never_twice(void **state _unused_)
{
	static struct holds holds;
	uint32_t a, b;

	holds.last_cookie = UINT32_MAX - 1;
	a = added(&holds, HOLD_RATED, "*", 1);
	b = added(&holds, HOLD_RATED, "*", 1);
	assert_int_equal(a, UINT32_MAX);
	assert_int_equal(b, 1);
	/* The one that is still there is passed over. */
	holds.last_cookie = UINT32_MAX - 1;
	assert_int_equal(added(&holds, HOLD_RATED, "*", 1), 2);
}

static void test_time_ends_what_has_an_end(void **state _unused_)
{
	static struct holds holds;
	struct hold h = order(HOLD_PAUSE, "0000:43:00.0", 1), *entry;

	(void)added(&holds, HOLD_PAUSE, "*", 1);
	h.until_usec = 1000;
	assert_int_equal(holds_add(&holds, &h, &entry), 0);
	assert_null(holds_expired(&holds, 999));
	assert_non_null(holds_expired(&holds, 1000));
	assert_int_equal(holds_expired(&holds, UINT64_MAX)->cookie, entry->cookie);
	assert_true(holds_remove(&holds, entry->cookie));
	assert_null(holds_expired(&holds, UINT64_MAX));
}

/* splitmix64 */
static uint32_t random_below(uint64_t *seed, uint32_t n)
{
	uint64_t x = *seed += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((x ^ x >> 31) % n);
}

/* Against a list that is kept the plain way. */
static void test_any_order_of_orders_is_kept(void **state _unused_)
{
	static struct holds holds;
	static uint32_t cookies[HOLDS_MAX], uids[HOLDS_MAX];
	uint64_t seed = SEED;
	uint32_t n = 0;

	print_message("seed %d\n", SEED);
	for (int step = 0; step < 20000; step++) {
		uint32_t uid = random_below(&seed, 6), of_uid = 0;
		struct hold h = order((enum hold_level)random_below(&seed, HOLD_LEVELS), "m", uid);
		struct hold *entry;
		int wanted, r;

		if (n > 0 && random_below(&seed, 100) < 40) {
			uint32_t k = random_below(&seed, n);

			assert_true(holds_remove(&holds, cookies[k]));
			assert_null(holds_find(&holds, cookies[k]));
			for (n--; k < n; k++) {
				cookies[k] = cookies[k + 1];
				uids[k] = uids[k + 1];
			}
		} else {
			for (uint32_t k = 0; k < n; k++)
				of_uid += uids[k] == uid;
			wanted = of_uid >= HOLDS_MAX_PER_UID ? -EUSERS
				 : n >= HOLDS_MAX	     ? -ENOSPC
							     : 0;
			r = holds_add(&holds, &h, &entry);
			assert_int_equal(r, wanted);
			if (r == 0) {
				cookies[n] = entry->cookie;
				uids[n++] = uid;
			}
		}
		assert_int_equal(holds.n, n);
		for (uint32_t k = 0; k < n; k++) {
			assert_int_equal(holds.entries[k].cookie, cookies[k]);
			assert_int_equal(holds.entries[k].uid, uids[k]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels_have_their_names),
		cmocka_unit_test(test_a_reason_is_printable_text_of_200_bytes),
		cmocka_unit_test(test_what_stands_is_by_name_or_for_all),
		cmocka_unit_test(test_a_user_has_64_and_all_have_256),
		cmocka_unit_test(test_cookies_are_never_0_and_never_twice),
		cmocka_unit_test(test_time_ends_what_has_an_end),
		cmocka_unit_test(test_any_order_of_orders_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
