/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config-rows.h"
#include "base/units.h"
#include "governor/policy.h"
#include <errno.h>
#include <pwd.h>
#include <string.h>

const char *const config_section_names[SECTION_KIND_MAX] = {
	[SECTION_DAEMON] = "daemon",
	[SECTION_GPU] = "gpu",
	[SECTION_MODEL] = "model",
};

static int parse_choice(const struct config_row *row, const char *value, void *field)
{
	for (uint32_t i = 0; row->choices[i]; i++)
		if (strcmp(row->choices[i], value) == 0) {
			*(uint32_t *)field = i;
			return 0;
		}
	return -EINVAL;
}

/* auto = true, off = false. */
static int parse_auto_off(const struct config_row *row, const char *value, void *field)
{
	uint32_t index;
	int r;

	r = parse_choice(row, value, &index);
	if (r < 0)
		return r;
	*(bool *)field = index == 0;
	return 0;
}

static int parse_yes_no(const struct config_row *row _unused_, const char *value, void *field)
{
	return parse_bool(value, field);
}

static int store_u64(const struct config_row *row, int r, uint64_t value, void *field)
{
	if (r < 0)
		return r;
	if ((double)value < row->min || (double)value > row->max)
		return -ERANGE;
	*(uint64_t *)field = value;
	return 0;
}

static int parse_duration(const struct config_row *row, const char *value, void *field)
{
	uint64_t ns = 0;
	int r = parse_duration_ns(value, &ns);

	return store_u64(row, r, ns, field);
}

static int parse_power(const struct config_row *row, const char *value, void *field)
{
	uint64_t uw = 0;
	int r;

	if (!*value) {
		*(uint64_t *)field = 0;
		return 0;
	}
	r = parse_power_uw(value, &uw);
	return store_u64(row, r, uw, field);
}

static int parse_count(const struct config_row *row, const char *value, void *field)
{
	uint32_t count;
	int r;

	r = parse_u32(value, &count);
	if (r < 0)
		return r;
	if (count < row->min || count > row->max)
		return -ERANGE;
	*(uint32_t *)field = count;
	return 0;
}

static int parse_rate(const struct config_row *row, const char *value, void *field)
{
	double rate;
	int r;

	if (!*value) {
		*(double *)field = 0;
		return 0;
	}
	r = parse_double(value, &rate);
	if (r < 0)
		return r;
	if (rate < row->min || rate > row->max)
		return -ERANGE;
	*(double *)field = rate;
	return 0;
}

/* "2.0x" is a factor within the row's limits, "20ms" a duration of 100 us to one minute. */
static int parse_slo(const struct config_row *row, const char *value, void *field)
{
	struct config_slo slo = {0};
	size_t length = strlen(value);
	char number[CONFIG_VALUE_MAX];
	int r;

	if (value[length - 1] != 'x') {
		r = parse_duration_ns(value, &slo.ns);
		if (r >= 0 && (slo.ns < 100 * NSEC_PER_USEC || slo.ns > 60 * NSEC_PER_SEC))
			r = -ERANGE;
	} else {
		(void)snprintf(number, sizeof(number), "%.*s", (int)(length - 1), value);
		r = parse_double(number, &slo.factor);
		if (r >= 0 && (slo.factor < row->min || slo.factor > row->max))
			r = -ERANGE;
	}
	if (r < 0)
		return r;
	*(struct config_slo *)field = slo;
	return 0;
}

static int parse_policy(const struct config_row *row _unused_, const char *value, void *field)
{
	if (!policy_find(value))
		return -EINVAL;
	(void)snprintf(field, CONFIG_VALUE_MAX, "%s", value);
	return 0;
}

static int parse_surface(const struct config_row *row _unused_, const char *value, void *field)
{
	if (strcmp(value, "auto") != 0 && *value != '/')
		return -EINVAL;
	(void)snprintf(field, CONFIG_VALUE_MAX, "%s", value);
	return 0;
}

static int parse_user(const char *word, uid_t *ret)
{
	const struct passwd *user;
	uint32_t uid;

	if (*word >= '0' && *word <= '9') {
		/* The largest one is the kernel's "no user". */
		if (parse_u32(word, &uid) < 0 || uid == UINT32_MAX)
			return -EINVAL;
		*ret = uid;
		return 0;
	}
	user = getpwnam(word);
	if (!user)
		return -EINVAL;
	*ret = user->pw_uid;
	return 0;
}

static int parse_allow(const struct config_row *row _unused_, const char *value, void *field)
{
	struct config_allow allow = {0};
	char words[CONFIG_VALUE_MAX], *rest = words, *word;

	(void)snprintf(words, sizeof(words), "%s", value);
	while ((word = strsep(&rest, " ,\t"))) {
		if (!*word)
			continue;
		if (allow.n == CONFIG_MAX_ALLOW)
			return -ERANGE;
		if (parse_user(word, &allow.uids[allow.n++]) < 0)
			return -EINVAL;
	}
	*(struct config_allow *)field = allow;
	return 0;
}

static const char *const mode_choices[] = {"govern", "observe", NULL};
static const char *const gating_choices[] = {"none", "se", "cu", NULL};
static const char *const foreign_choices[] = {"full-speed", "ignore", NULL};
static const char *const drift_choices[] = {"reassert", "yield", "alert", NULL};
static const char *const mask_choices[] = {"auto", "off", NULL};

#define FIELD_AT(type, field) .offset = offsetof(type, field), .size = sizeof(((type *)NULL)->field)
#define DAEMON_AT(field)      FIELD_AT(struct config_daemon, field)
#define GPU_AT(field)	      FIELD_AT(struct config_gpu, field)
#define MODEL_AT(field)	      FIELD_AT(struct config_model, field)

/* clang-format off */
const struct config_row config_rows[] = {
	{SECTION_DAEMON, "poll_interval", parse_duration, DAEMON_AT(poll_ns), .fallback = "500ms",
	 .min = 100e6, .max = 5e9, .expected = "a duration with its unit, 100ms to 5s"},
	{SECTION_DAEMON, "mode", parse_choice, DAEMON_AT(mode), .fallback = "govern",
	 .choices = mode_choices, .expected = "govern or observe"},
	{SECTION_DAEMON, "log_decisions", parse_yes_no, DAEMON_AT(log_decisions), .fallback = "no",
	 .expected = "yes or no"},
	{SECTION_DAEMON, "allow_simulated", parse_yes_no, DAEMON_AT(allow_simulated),
	 .fallback = "no", .expected = "yes or no"},
	{SECTION_DAEMON, "max_connections", parse_count, DAEMON_AT(max_connections),
	 .fallback = "256", .min = 1, .max = 1024, .expected = "a number from 1 to 1024"},
	{SECTION_DAEMON, "max_connections_per_user", parse_count,
	 DAEMON_AT(max_connections_per_uid), .fallback = "64", .min = 1, .max = 1024,
	 .expected = "a number from 1 to 1024"},

	{SECTION_GPU, "enabled", parse_yes_no, GPU_AT(enabled), .fallback = "yes",
	 .expected = "yes or no"},
	{SECTION_GPU, "gating", parse_choice, GPU_AT(gating), .fallback = "none",
	 .choices = gating_choices, .expected = "none, se or cu"},
	{SECTION_GPU, "power_cap", parse_power, GPU_AT(power_cap_uw), .fallback = "", .min = 1e6,
	 .max = 2000e6, .expected = "a power with its unit, 1W to 2000W, or nothing"},
	{SECTION_GPU, "take_over", parse_yes_no, GPU_AT(take_over), .fallback = "no",
	 .expected = "yes or no"},
	{SECTION_GPU, "on_foreign_load", parse_choice, GPU_AT(on_foreign_load),
	 .fallback = "full-speed", .choices = foreign_choices,
	 .expected = "full-speed or ignore"},
	{SECTION_GPU, "on_drift", parse_choice, GPU_AT(on_drift), .fallback = "reassert",
	 .choices = drift_choices, .expected = "reassert, yield or alert"},

	{SECTION_MODEL, "slo", parse_slo, MODEL_AT(slo), .fallback = "2.0x", .min = 1.05,
	 .max = 100,
	 .expected = "a factor (1.05x to 100x, as 2.0x) or a duration (100us to 60s, as 20ms)"},
	{SECTION_MODEL, "percentile", parse_count, MODEL_AT(percentile), .fallback = "95",
	 .min = 50, .max = 99, .expected = "a number from 50 to 99"},
	{SECTION_MODEL, "rated_rps", parse_rate, MODEL_AT(rated_rps), .fallback = "", .min = 0.001,
	 .max = 1e7, .expected = "requests per second, 0.001 to 10000000, or nothing"},
	{SECTION_MODEL, "policy", parse_policy, MODEL_AT(policy), .fallback = "cofris",
	 .expected = "the name of a policy"},
	{SECTION_MODEL, "surface", parse_surface, MODEL_AT(surface), .fallback = "auto",
	 .expected = "auto or an absolute path"},
	{SECTION_MODEL, "cu_mask", parse_auto_off, MODEL_AT(use_mask), .fallback = "auto",
	 .choices = mask_choices, .expected = "auto or off"},
	{SECTION_MODEL, "max_batch", parse_count, MODEL_AT(max_batch), .fallback = "1", .min = 1,
	 .max = 1024, .expected = "a number from 1 to 1024"},
	{SECTION_MODEL, "priority", parse_count, MODEL_AT(priority), .fallback = "100", .min = 0,
	 .max = 1000, .expected = "a number from 0 to 1000"},
	{SECTION_MODEL, "allow", parse_allow, MODEL_AT(allow), .fallback = "",
	 .expected = "at most 32 names of existing users or uids"},
	{.key = NULL},
};
/* clang-format on */
_Static_assert(ARRAY_SIZE(config_rows) - 1 <= 64, "a section remembers its rows in 64 bits");

static const char *nearest_policy(const char *value)
{
	const char *names[16];
	unsigned int n = 0;

	while (n < ARRAY_SIZE(names) && policy_name(n)) {
		names[n] = policy_name(n);
		n++;
	}
	return nearest_name(value, names, n);
}

const char *config_nearest_value(const struct config_row *row, const char *value)
{
	unsigned int n = 0;

	if (row->parse == parse_policy)
		return nearest_policy(value);
	if (!row->choices)
		return NULL;
	while (row->choices[n])
		n++;
	return nearest_name(value, row->choices, n);
}

const char *config_why_refused(const struct config_row *row, const char *value)
{
	if (row->parse != parse_policy || !policy_is_clairvoyant(value))
		return NULL;
	return "it knows what is to come, so only cofris-replay has it";
}

const char *config_mode_name(uint32_t mode)
{
	return mode_choices[mode];
}

const char *config_gating_name(uint32_t gating)
{
	return gating_choices[gating];
}

const char *config_on_drift_name(uint32_t on_drift)
{
	return drift_choices[on_drift];
}
