/* SPDX-License-Identifier: Apache-2.0 */
#include "base/parse.h"
#include "base/macros.h"
#include "base/units.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>

int parse_u64(const char *s, uint64_t *ret)
{
	uint64_t value = 0;

	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value))
			return -ERANGE;
	}
	*ret = value;
	return 0;
}

int parse_u32(const char *s, uint32_t *ret)
{
	uint64_t value;
	int r;

	r = parse_u64(s, &value);
	if (r < 0)
		return r;
	if (value > UINT32_MAX)
		return -ERANGE;
	*ret = (uint32_t)value;
	return 0;
}

/* Parses a leading decimal number and returns the text behind it. */
static int number_prefix(const char *s, double *ret, const char **ret_rest)
{
	char *end;
	double value;

	/* strtod() also takes blanks, hexadecimal, "nan" and "inf". */
	if (!(*s >= '0' && *s <= '9') && *s != '.' && *s != '-')
		return -EINVAL;
	for (const char *p = s; *p; p++)
		if (*p == 'x' || *p == 'X')
			return -EINVAL;
	errno = 0;
	value = strtod(s, &end);
	if (end == s)
		return -EINVAL;
	if (!isfinite(value))
		return -ERANGE;
	*ret = value;
	*ret_rest = end;
	return 0;
}

int parse_double(const char *s, double *ret)
{
	const char *rest;
	double value;
	int r;

	r = number_prefix(s, &value, &rest);
	if (r < 0)
		return r;
	if (*rest)
		return -EINVAL;
	*ret = value;
	return 0;
}

int parse_bool(const char *s, bool *ret)
{
	static const char *const yes[] = {"yes", "true", "on", "1"};
	static const char *const no[] = {"no", "false", "off", "0"};

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (strcasecmp(s, yes[i]) == 0) {
			*ret = true;
			return 0;
		}
		if (strcasecmp(s, no[i]) == 0) {
			*ret = false;
			return 0;
		}
	}
	return -EINVAL;
}

struct unit {
	const char *name;
	double factor;
};

/* The number times its unit's factor, rounded. */
static int parse_with_unit(const char *s, const struct unit *units, size_t n_units, double max,
			   uint64_t *ret)
{
	const char *rest;
	double value;
	int r;

	r = number_prefix(s, &value, &rest);
	if (r < 0)
		return r;
	if (value < 0)
		return -EINVAL;
	while (*rest == ' ')
		rest++;
	for (size_t i = 0; i < n_units; i++) {
		if (strcmp(rest, units[i].name) != 0)
			continue;
		value *= units[i].factor;
		if (value > max)
			return -ERANGE;
		*ret = (uint64_t)(value + 0.5);
		return 0;
	}
	return -EINVAL;
}

int parse_duration_ns(const char *s, uint64_t *ret)
{
	static const struct unit units[] = {
		{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"min", 60e9}, {"h", 3600e9},
	};

	return parse_with_unit(s, units, ARRAY_SIZE(units), 1e18, ret);
}

int parse_power_uw(const char *s, uint64_t *ret)
{
	static const struct unit units[] = {{"uW", 1}, {"mW", 1e3}, {"W", 1e6}};

	return parse_with_unit(s, units, ARRAY_SIZE(units), 1e12, ret);
}

int parse_clock_mhz(const char *s, uint32_t *ret)
{
	static const struct unit units[] = {{"MHz", 1}, {"GHz", 1e3}};
	uint64_t value;
	int r;

	r = parse_with_unit(s, units, ARRAY_SIZE(units), 1e6, &value);
	if (r < 0)
		return r;
	*ret = (uint32_t)value;
	return 0;
}

bool pci_bdf_is_valid(const char *s)
{
	static const char pattern[] = "hhhh:hh:hh.o";

	for (size_t i = 0; i < PCI_BDF_LENGTH; i++) {
		char c = s[i];

		switch (pattern[i]) {
		case 'h':
			if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
				return false;
			break;
		case 'o':
			if (c < '0' || c > '7')
				return false;
			break;
		default:
			if (c != pattern[i])
				return false;
		}
	}
	return s[PCI_BDF_LENGTH] == '\0';
}

bool model_name_is_valid(const char *s)
{
	size_t n = strnlen(s, MODEL_NAME_MAX + 1);

	if (n == 0 || n > MODEL_NAME_MAX || *s == '/' || *s == '.' || s[n - 1] == '/')
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)s[i]) && !strchr("._/-", s[i]))
			return false;
		if (s[i] == '/' && (s[i + 1] == '.' || s[i + 1] == '/'))
			return false;
	}
	return true;
}

const char *quotable(const char *s)
{
	return model_name_is_valid(s) || pci_bdf_is_valid(s) ? s : "?";
}

void make_printable(char *s)
{
	for (; *s; s++)
		if (*s < ' ' || *s > '~')
			*s = '?';
}

static unsigned int edit_distance(const char *a, const char *b)
{
	enum { MAX_LENGTH = 63 };
	size_t na = strnlen(a, MAX_LENGTH), nb = strnlen(b, MAX_LENGTH);
	unsigned int row[MAX_LENGTH + 1];

	for (size_t j = 0; j <= nb; j++)
		row[j] = (unsigned int)j;
	for (size_t i = 1; i <= na; i++) {
		unsigned int diagonal = row[0];

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= nb; j++) {
			unsigned int substitute = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = MIN(MIN(row[j], row[j - 1]) + 1, substitute);
		}
	}
	return row[nb];
}

const char *nearest_name(const char *word, const char *const *candidates, unsigned int n)
{
	unsigned int limit = MAX((unsigned int)strlen(word) / 3, 1u), best = limit + 1;
	const char *found = NULL;

	for (unsigned int i = 0; i < n; i++) {
		unsigned int d = edit_distance(word, candidates[i]);

		if (d < best) {
			best = d;
			found = candidates[i];
		}
	}
	return found;
}
