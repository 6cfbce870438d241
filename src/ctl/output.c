/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/output.h"
#include "base/macros.h"
#include "base/parse.h"
#include <stdio.h>
#include <string.h>

enum ctl_exit output_json(json_t *root)
{
	int r;

	if (!root)
		return CTL_REFUSED;
	r = json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	(void)putchar('\n');
	json_decref(root);
	return r < 0 || fflush(stdout) != 0 ? CTL_REFUSED : CTL_OK;
}

json_t *output_text(const char *s)
{
	json_t *text = json_string(s);
	_cleanup_(freep) char *copy = text ? NULL : strdup(s);

	if (copy) {
		make_printable(copy);
		text = json_string(copy);
	}
	return text;
}

void output_make_printable(json_t *value)
{
	const char *key;
	json_t *part;
	size_t i;

	if (json_is_string(value)) {
		_cleanup_(freep) char *text = strdup(json_string_value(value));

		for (char *p = text; p && *p; p++)
			if ((unsigned char)*p < ' ' || *p == '\x7f')
				*p = '?';
		if (text)
			(void)json_string_set(value, text);
	}
	json_array_foreach(value, i, part) output_make_printable(part);
	json_object_foreach(value, key, part) output_make_printable(part);
}

enum ctl_exit output(const struct ctl *ctl, json_t *root, int (*print)(const json_t *root))
{
	enum ctl_exit result = CTL_OK;

	if (ctl_json(ctl))
		return output_json(root);
	output_make_printable(root);
	if (!root || print(root) < 0 || fflush(stdout) != 0)
		result = CTL_REFUSED;
	json_decref(root);
	return result;
}

enum ctl_exit output_done(const struct ctl *ctl)
{
	return ctl_json(ctl) ? output_json(json_pack("{s:i, s:b}", "schema", 1, "ok", 1)) : CTL_OK;
}
