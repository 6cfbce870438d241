/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of a document before they are printed. */
#include "base/macros.h"
#include "ctl/output.h"
#include "support/cmocka-includes.h"

static void test_what_controls_a_terminal_is_not_printed(void **state _unused_)
{
	static const struct {
		const char *found, *printed;
	} cases[] = {
		{"[\"a\\u001b]0;x\\u0007b\"]", "[\"a?]0;x?b\"]"},
		{"[\"line\\nline\\r\\ttab\\u007f\"]", "[\"line?line??tab?\"]"},
		{"{\"a\": {\"b\": [1, \"\\u0001\", null, true]}}",
		 "{\"a\":{\"b\":[1,\"?\",null,true]}}"},
		/* Other letters are letters. */
		{"[\"\u00e9\u4e2d ok\"]", "[\"\u00e9\u4e2d ok\"]"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(freep) char *text = NULL;
		json_error_t error;
		json_t *root = json_loads(cases[i].found, 0, &error);

		assert_non_null(root);
		output_make_printable(root);
		text = json_dumps(root, JSON_COMPACT);
		assert_string_equal(text, cases[i].printed);
		json_decref(root);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_controls_a_terminal_is_not_printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
