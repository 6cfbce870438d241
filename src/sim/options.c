/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/options.h"
#include "base/log.h"
#include "base/parse.h"
#include <errno.h>
#include <getopt.h>
#include <string.h>

static const char help_text[] =
	"Usage: cofris-sim --device NAME [OPTION...] -- COMMAND [ARG...]\n"
	"       cofris-sim --capture FILE [OPTION...] -- COMMAND [ARG...]\n"
	"       cofris-sim stat [--json] | fault SPEC | heal [SPEC]\n"
	"Runs COMMAND on a machine with simulated AMD GPUs below /sys/class/{drm,kfd,hwmon},\n"
	"which HSA and HIP programs see, too.\n\n"
	"      --device NAME           kind of card (mi50), or a path to its .ini\n"
	"      --capture FILE          cards of a tar that cofrisctl debug bundle made\n"
	"      --count N               number of cards (1, or as many as were captured)\n"
	"      --time-scale N          slow the cards down N times (1)\n"
	"      --gating none|se|cu     what a CU mask switches off (none)\n"
	"      --seed N                of the sensors' noise (1)\n"
	"      --service-factor [CARD:]F, --power-factor [CARD:]F\n"
	"                              a card that is slower or hotter than its profile\n"
	"      --fault SPEC            begin with a fault; may be given several times\n"
	"      --shared                in the caller's namespaces: everybody there sees the\n"
	"                              cards; needs --runtime-dir\n"
	"      --runtime-dir DIR       where writes.log and the control socket go\n"
	"      --profiles DIR          folder with devices/NAME.ini\n"
	"      --help, --version\n\n"
	"Inside COMMAND, or with --runtime-dir DIR behind the verb:\n"
	"  cofris-sim stat [--json]    true state of the cards\n"
	"  cofris-sim fault SPEC       put a fault on a file or card; see cofris-sim(1)\n"
	"  cofris-sim heal [SPEC]      take one away, or all\n";

static int parse_gating(const char *text, enum plant_gating *ret)
{
	static const char *const names[] = {"none", "se", "cu"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i], text) == 0) {
			*ret = (enum plant_gating)i;
			return 0;
		}
	return -EINVAL;
}

/* Parses "1.1" for all cards, or "0:1.1". */
static int parse_factor(const char *text, double factors[SIM_MAX_CARDS])
{
	const char *colon = strchr(text, ':'), *number = colon ? colon + 1 : text;
	uint32_t first = 0, last = SIM_MAX_CARDS - 1;
	_cleanup_(freep) char *index = NULL;
	double factor;

	if (colon) {
		index = strndup(text, (size_t)(colon - text));
		if (!index || parse_u32(index, &first) < 0 || first >= SIM_MAX_CARDS)
			return -EINVAL;
		last = first;
	}
	if (parse_double(number, &factor) < 0 || !(factor > 0))
		return -EINVAL;
	for (uint32_t i = first; i <= last; i++)
		factors[i] = factor;
	return 0;
}

static int parse_count(const char *text, uint32_t *ret)
{
	uint32_t n;

	if (parse_u32(text, &n) < 0 || n == 0 || n > SIM_MAX_CARDS)
		return -EINVAL;
	*ret = n;
	return 0;
}

static int parse_scale(const char *text, double *ret)
{
	double scale;

	if (parse_double(text, &scale) < 0 || scale < 0.001 || scale > 1000)
		return -EINVAL;
	*ret = scale;
	return 0;
}

enum option_id {
	OPT_DEVICE = 256,
	OPT_CAPTURE,
	OPT_COUNT,
	OPT_TIME_SCALE,
	OPT_GATING,
	OPT_SEED,
	OPT_SERVICE_FACTOR,
	OPT_POWER_FACTOR,
	OPT_FAULT,
	OPT_SHARED,
	OPT_RUNTIME_DIR,
	OPT_PROFILES,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{"device", required_argument, NULL, OPT_DEVICE},
	{"capture", required_argument, NULL, OPT_CAPTURE},
	{"count", required_argument, NULL, OPT_COUNT},
	{"time-scale", required_argument, NULL, OPT_TIME_SCALE},
	{"gating", required_argument, NULL, OPT_GATING},
	{"seed", required_argument, NULL, OPT_SEED},
	{"service-factor", required_argument, NULL, OPT_SERVICE_FACTOR},
	{"power-factor", required_argument, NULL, OPT_POWER_FACTOR},
	{"fault", required_argument, NULL, OPT_FAULT},
	{"shared", no_argument, NULL, OPT_SHARED},
	{"runtime-dir", required_argument, NULL, OPT_RUNTIME_DIR},
	{"profiles", required_argument, NULL, OPT_PROFILES},
	{"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION},
	{0},
};

static int set_option(struct options *o, enum option_id id, const char *value)
{
	switch (id) {
	case OPT_DEVICE:
		o->device = value;
		return 0;
	case OPT_CAPTURE:
		o->capture = value;
		return 0;
	case OPT_COUNT:
		return parse_count(value, &o->count);
	case OPT_TIME_SCALE:
		return parse_scale(value, &o->time_scale);
	case OPT_GATING:
		return parse_gating(value, &o->gating);
	case OPT_SEED:
		return parse_u64(value, &o->seed);
	case OPT_SERVICE_FACTOR:
		return parse_factor(value, o->service_factor);
	case OPT_POWER_FACTOR:
		return parse_factor(value, o->power_factor);
	case OPT_FAULT:
		if (o->n_faults == MAX_FAULT_OPTIONS)
			return -ENOSPC;
		o->faults[o->n_faults++] = value;
		return 0;
	case OPT_SHARED:
		o->shared = true;
		return 0;
	case OPT_RUNTIME_DIR:
		o->runtime_dir = value;
		return 0;
	case OPT_PROFILES:
		o->profiles = value;
		return 0;
	default:
		return -EINVAL;
	}
}

int options_parse(struct options *o, int argc, char **argv)
{
	int id, index;

	*o = (struct options){.time_scale = 1, .seed = 1};
	for (uint32_t i = 0; i < SIM_MAX_CARDS; i++)
		o->service_factor[i] = o->power_factor[i] = 1;
	while ((id = getopt_long(argc, argv, "+", long_options, &index)) != -1) {
		if (id == OPT_HELP || id == OPT_VERSION) {
			(void)fputs(id == OPT_HELP ? help_text : "cofris-sim " COFRIS_VERSION "\n",
				    stdout);
			return 0;
		}
		/* getopt_long() has printed what it does not know. */
		if (id == '?')
			return -EINVAL;
		if (set_option(o, (enum option_id)id, optarg) < 0)
			return log_error_errno(-EINVAL, "--%s: '%s' is not a valid value",
					       long_options[index].name, optarg);
	}
	o->command = argv + optind;
	if ((!o->device && !o->capture) || !*o->command)
		return log_error_errno(-EINVAL, "expected --device NAME and a command (--help)");
	if (o->shared && !o->runtime_dir)
		return log_error_errno(-EINVAL, "--shared needs --runtime-dir (--help)");
	if (o->count == 0 && !o->capture)
		o->count = 1;
	return 1;
}
