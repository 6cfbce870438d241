/* SPDX-License-Identifier: Apache-2.0 */
/* What cofrisctl top shows of documents. */
#include "base/macros.h"
#include "ctl/screen.h"
#include "support/cmocka-includes.h"
#include <stdbool.h>
#include <string.h>

static const char status_text[] =
	"{\"schema\": 1, \"version\": \"0.1\", \"status\": \"governing 1 card\", \"simulated\": "
	"true,"
	" \"actuator\": \"connected\", \"config_error\": null,"
	" \"pauses\": [{\"gpu\": \"0000:63:00.0\", \"uid\": 0, \"reason\": \"fan\", \"left_s\": "
	"90}],"
	" \"holds\": [{\"model\": \"vgg19\", \"level\": \"rated\", \"comm\": \"sh\", \"pid\": 7,"
	"  \"reason\": \"demo\"}],"
	" \"gpus\": [{\"bdf\": \"0000:43:00.0\", \"simulated\": true, \"state\": \"governed\","
	"  \"state_reason\": \"\", \"cus\": 60, \"sclk_mhz\": 1032, \"max_mhz\": 1143,"
	"  \"power_w\": 88.25, \"power_cap_w\": 225, \"cap\": {\"in_force_w\": null},"
	"  \"temperature_c\": 45, \"busy_percent\": 37, \"models\": ["
	"   {\"name\": \"resnet50\", \"workers\": 1, \"percentile\": 99, \"rate_rps\": 98,"
	"    \"capacity_rps\": 196, \"slo_ms\": 20, \"tail_ms\": 12.5, \"p99_ms\": 14.25, \"cus\": "
	"30,"
	"    \"reason\": \"demand\"},"
	"   {\"name\": \"vgg19\", \"workers\": 0}]},"
	"  {\"bdf\": \"0000:63:00.0\", \"state\": \"yielding\", \"state_reason\": \"paused\","
	"   \"power_w\": 15, \"models\": []}]}";

static const char decisions_text[] =
	"{\"schema\": 1, \"gpus\": [{\"bdf\": \"0000:43:00.0\", \"decisions\": ["
	"  {\"age_s\": 9.5, \"changed\": true, \"max_mhz\": 1725, \"predicted_power_w\": 140,"
	"   \"models\": [{\"name\": \"resnet50\", \"shape\": \"4x15\", \"reason\": \"backlog\"}]},"
	"  {\"age_s\": 5.5, \"changed\": false, \"max_mhz\": 1725},"
	"  {\"age_s\": 1.5, \"changed\": true, \"max_mhz\": 1143, \"predicted_power_w\": 90,"
	"   \"models\": [{\"name\": \"resnet50\", \"shape\": \"2x15\", \"max_batch\": 4, "
	"\"demand_rps\": 45,"
	"    \"reason\": \"demand\"}]}"
	" ]}, {\"bdf\": \"0000:63:00.0\", \"decisions\": ["
	"  {\"age_s\": 9.5, \"changed\": true, \"reason\": \"paused\"}]}]}";

static json_t *parse(const char *text)
{
	json_error_t error;
	json_t *root = json_loads(text, 0, &error);

	if (!root)
		fail_msg("%s: %s", text, error.text);
	return root;
}

static struct screen *drawn(int width, int height, const char *status, const char *decisions,
			    const char *error)
{
	json_t *s = status ? parse(status) : NULL, *d = decisions ? parse(decisions) : NULL;
	struct screen *screen;

	assert_int_equal(screen_new(width, height, &screen), 0);
	screen_draw(screen, s, d, error);
	json_decref(s);
	json_decref(d);
	return screen;
}

/* The first line with this text; fails without one. */
static int find(const struct screen *s, const char *part)
{
	for (int y = 0; y < s->height; y++) {
		_cleanup_(freep) char *line = screen_line(s, y);

		if (strstr(line, part))
			return y;
	}
	fail_msg("no line with '%s'", part);
	return -1;
}

static bool shows(const struct screen *s, const char *part)
{
	for (int y = 0; y < s->height; y++) {
		_cleanup_(freep) char *line = screen_line(s, y);

		if (strstr(line, part))
			return true;
	}
	return false;
}

static void test_shows_cards_models_orders_and_decisions(void **state _unused_)
{
	static const char *const lines[] = {
		"cofris 0.1: governing 1 card",
		"SIMULATED",
		"paused: 0000:63:00.0 by uid 0, 2 min left: fan",
		"held: vgg19 at rated by sh (pid 7): demo",
		"0000:43:00.0 governed                1032  1143   30/60  88.2   225  45.0    37",
		"0000:63:00.0 yielding: paused           -     -     -/-  15.0     -     -     -",
		"  resnet50        98.0/   196 [##########----------]  30 p99   12.5/  20.0 [####",
		" 20.0 [#############-------]   14.2 demand",
		"  1.50 s  0000:43:00.0   1143 MHz   90.0 W  resnet50 for 45.0 rps on 2x15 CUs",
		" on 2x15 CUs, batches of 4: demand",
		"  9.50 s  0000:43:00.0   1725 MHz    140 W  resnet50 for - rps on 4x15 CUs: ba",
		/* Of the same tick. */
		"  9.50 s  0000:63:00.0      - MHz      - W  paused",
	};
	struct screen *s = drawn(120, 30, status_text, decisions_text, NULL);

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		(void)find(s, lines[i]);
	assert_true(find(s, "1143 MHz") < find(s, "1725 MHz"));
	/* One without workers has nothing to show. */
	assert_false(shows(s, "  vgg19"));
	screen_free(s);
}

static void test_a_quarantined_card_says_when_it_is_tried_again(void **state _unused_)
{
	struct screen *s =
		drawn(120, 30,
		      "{\"gpus\": [{\"bdf\": \"0000:43:00.0\", \"state\": "
		      "\"quarantined\", \"state_reason\": \"reset\", \"retry_s\": 7.6}]}",
		      NULL, NULL);
	int y = find(s, "0000:43:00.0 quarantined: reset");

	assert_int_equal(find(s, "  tried again in 8 s"), y);
	assert_int_equal(screen_style(s, y, 13), STYLE_BAD);
	screen_free(s);
}

static void test_colours_tell_states(void **state _unused_)
{
	struct screen *s = drawn(120, 30, status_text, NULL, NULL);
	int governed = find(s, "0000:43:00.0 governed"), paused = find(s, "yielding: paused");

	assert_int_equal(screen_style(s, governed, 13), STYLE_GOOD);
	assert_int_equal(screen_style(s, paused, 13), STYLE_WARNING);
	screen_free(s);
}

static void test_whatever_the_size_nothing_is_drawn_outside(void **state _unused_)
{
	static const int sizes[][2] = {{1, 1},	  {40, 3},   {80, 24},	{81, 1},
				       {200, 50}, {4000, 9}, {60, 9000}};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct screen *s =
			drawn(sizes[i][0], sizes[i][1], status_text, decisions_text, "an error");

		assert_true(s->width >= SCREEN_MIN_WIDTH && s->width <= SCREEN_MAX_WIDTH);
		assert_true(s->height >= 1 && s->height <= SCREEN_MAX_HEIGHT);
		assert_true(s->used <= s->height);
		for (int k = 0; k < s->width * s->height; k++)
			assert_true(s->text[k] >= ' ' && s->text[k] <= '~');
		screen_free(s);
	}
}

static void test_eighty_columns_hold_the_reason(void **state _unused_)
{
	struct screen *s = drawn(80, 24, status_text, decisions_text, NULL);

	(void)find(s, "98.0/   196 [##-]  30 p99   12.5/  20.0 [##-]   14.2 demand");
	(void)find(s, "225  45.0    37");
	screen_free(s);
}

static void test_without_a_daemon_the_error_stands_above_the_last_state(void **state _unused_)
{
	struct screen *s = drawn(120, 30, status_text, NULL, "cofrisd is not on this bus");

	assert_int_equal(find(s, "cofrisd is not on this bus"), 0);
	assert_int_equal(screen_style(s, 0, 0), STYLE_BAD);
	(void)find(s, "0000:43:00.0 governed");
	screen_free(s);
	s = drawn(120, 30, NULL, NULL, "cofrisd is not on this bus");
	assert_int_equal(s->used, 1);
	screen_free(s);
}

static void test_nothing_of_a_text_reaches_the_terminal(void **state _unused_)
{
	struct screen *s = drawn(120, 30,
				 "{\"status\": \"a\\u001b]0;x\\u0007b\\u00e9\", \"gpus\": [], "
				 "\"actuator\": \"connected\"}",
				 NULL, NULL);

	(void)find(s, "a?]0;x?b??");
	(void)find(s, "no governed card yet");
	screen_free(s);
}

static void test_documents_of_other_types_are_survived(void **state _unused_)
{
	struct screen *s = drawn(120, 30,
				 "{\"gpus\": [1, {\"models\": [3, {\"workers\": 2}], \"cap\": 4}], "
				 "\"pauses\": [1, {}], \"holds\": {}}",
				 "{\"gpus\": [{\"decisions\": [1, {\"changed\": true}]}]}", NULL);

	(void)find(s, "no actuator");
	screen_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shows_cards_models_orders_and_decisions),
		cmocka_unit_test(test_a_quarantined_card_says_when_it_is_tried_again),
		cmocka_unit_test(test_colours_tell_states),
		cmocka_unit_test(test_whatever_the_size_nothing_is_drawn_outside),
		cmocka_unit_test(test_eighty_columns_hold_the_reason),
		cmocka_unit_test(test_without_a_daemon_the_error_stands_above_the_last_state),
		cmocka_unit_test(test_nothing_of_a_text_reaches_the_terminal),
		cmocka_unit_test(test_documents_of_other_types_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
