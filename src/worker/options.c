/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/options.h"
#include "base/log.h"
#include "base/units.h"
#include "worker/queue.h"
#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <string.h>

void worker_options_print_help(void)
{
	(void)printf(
		"Usage: cofris-worker --model MODEL (--load FILE | --rate RPS | --closed-loop N)\n"
		"Reference inference worker: serves a model's requests and reports them to "
		"cofrisd.\n"
		"\n"
		"      --model MODEL           model's name, or the path of its .ini file\n"
		"      --engine NAME           what executes it (default: auto)\n"
		"      --gpu BDF               card, as 0000:43:00.0 (default: the only one)\n"
		"Load:\n"
		"      --load FILE             Poisson arrivals along a curve (CSV: t_s,load)\n"
		"      --rated-rps RPS         rate at load 1; required with --load\n"
		"      --time-compression X    play the curve X times faster\n"
		"      --rate RPS              Poisson arrivals at a constant rate\n"
		"      --closed-loop N         always N requests in the system\n"
		"      --duration TIME         stop the arrivals after TIME (as 30s, 15min)\n"
		"      --drain TIME            then serve what waits for at most TIME (default: "
		"10s)\n"
		"      --seed N                of arrivals and service times (default: 1)\n"
		"Service:\n"
		"      --workers N             batches served at the same time (default: 1)\n"
		"      --max-batch N           where the daemon sets none (default: 1)\n"
		"      --queue-limit N         requests that may wait (default: 100000)\n"
		"      --jitter SIGMA          lognormal spread of service times (default: 0.02)\n"
		"      --stall-share P         share of requests that take --stall-factor as long\n"
		"      --stall-factor X        (default: 1.5)\n"
		"      --idle-kernels          empty kernels instead of the model's\n"
		"      --no-follow-mask        ignore the daemon's CU masks\n"
		"Output:\n"
		"      --report FILE           a CSV row for each request, in device time\n"
		"      --progress              a line each second on stderr\n"
		"      --socket PATH           of cofrisd (default: $COFRIS_SOCKET)\n"
		"      --instance NAME         shown by cofrisctl (default: the process id)\n"
		"      --help, --version\n"
		"\n"
		"At the end, also after SIGTERM, a summary is printed as one line of JSON.\n");
}

enum value_kind { VALUE_STRING, VALUE_U32, VALUE_U64, VALUE_DOUBLE, VALUE_DURATION, VALUE_FLAG };

struct option_row {
	const char *name;
	enum value_kind kind;
	size_t offset;
	double min, max; /* of numbers; durations in seconds */
};

#define FIELD(f) offsetof(struct worker_options, f)
#define DAY	 86400.0

static const struct option_row rows[] = {
	{"model", VALUE_STRING, FIELD(model)},
	{"engine", VALUE_STRING, FIELD(engine)},
	{"gpu", VALUE_STRING, FIELD(bdf)},
	{"load", VALUE_STRING, FIELD(load_path)},
	{"rated-rps", VALUE_DOUBLE, FIELD(rated_rps), 1e-3, 1e6},
	{"time-compression", VALUE_DOUBLE, FIELD(compression), 1e-3, 1e6},
	{"rate", VALUE_DOUBLE, FIELD(rate_rps), 1e-3, 1e6},
	{"closed-loop", VALUE_U32, FIELD(closed_loop), 1, 65536},
	{"duration", VALUE_DURATION, FIELD(duration_ns), 1e-3, 365 * DAY},
	{"drain", VALUE_DURATION, FIELD(drain_ns), 0, DAY},
	{"seed", VALUE_U64, FIELD(seed), 0, 0x1p64},
	{"workers", VALUE_U32, FIELD(slots), 1, WORKER_MAX_SLOTS},
	{"max-batch", VALUE_U32, FIELD(max_batch), 1, QUEUE_MAX_BATCH},
	{"queue-limit", VALUE_U32, FIELD(queue_limit), 1, 1e7},
	{"jitter", VALUE_DOUBLE, FIELD(jitter), 0, 1},
	{"stall-share", VALUE_DOUBLE, FIELD(stall_share), 0, 1},
	{"stall-factor", VALUE_DOUBLE, FIELD(stall_factor), 1, 1000},
	{"idle-kernels", VALUE_FLAG, FIELD(idle_kernels)},
	{"no-follow-mask", VALUE_FLAG, FIELD(follow_mask)},
	{"report", VALUE_STRING, FIELD(report_path)},
	{"progress", VALUE_FLAG, FIELD(progress)},
	{"socket", VALUE_STRING, FIELD(socket_path)},
	{"instance", VALUE_STRING, FIELD(instance)},
};

static int check_range(const struct option_row *row, const char *text, double value)
{
	if (value >= row->min && value <= row->max)
		return 0;
	return log_error_errno(-EINVAL, "--%s %s: expected %g to %g", row->name, text, row->min,
			       row->max);
}

static int bad_value(const struct option_row *row, const char *text, const char *expected)
{
	return log_error_errno(-EINVAL, "--%s '%s': expected %s", row->name, text, expected);
}

static int set_number(const struct option_row *row, const char *text, void *field)
{
	uint64_t u;
	double d;

	if (row->kind == VALUE_DOUBLE) {
		if (parse_double(text, &d) < 0)
			return bad_value(row, text, "a number");
		*(double *)field = d;
		return check_range(row, text, d);
	}
	if (row->kind == VALUE_DURATION) {
		if (parse_duration_ns(text, &u) < 0)
			return bad_value(row, text, "a time with its unit, as 30s");
		*(uint64_t *)field = u;
		return check_range(row, text, (double)u / (double)NSEC_PER_SEC);
	}
	if (parse_u64(text, &u) < 0)
		return bad_value(row, text, "a whole number");
	if (row->kind == VALUE_U32)
		*(uint32_t *)field = (uint32_t)u;
	else
		*(uint64_t *)field = u;
	return check_range(row, text, (double)u);
}

static int set_value(struct worker_options *o, const struct option_row *row, const char *text)
{
	void *field = (char *)o + row->offset;

	if (row->kind == VALUE_FLAG)
		*(bool *)field = strncmp(row->name, "no-", 3) != 0;
	else if (row->kind == VALUE_STRING)
		*(const char **)field = text;
	else
		return set_number(row, text, field);
	return 0;
}

static int check(const struct worker_options *o)
{
	int loads = (o->load_path != NULL) + (o->rate_rps > 0) + (o->closed_loop > 0);

	if (!o->model)
		return log_error_errno(-EINVAL, "--model is missing (see --help)");
	if (loads != 1)
		return log_error_errno(-EINVAL,
				       "One of --load, --rate and --closed-loop is needed");
	if (o->load_path && !(o->rated_rps > 0))
		return log_error_errno(-EINVAL, "--load needs --rated-rps, the rate at load 1");
	if (!o->load_path && o->compression != 1)
		return log_error_errno(-EINVAL, "--time-compression needs --load");
	if (o->bdf && !pci_bdf_is_valid(o->bdf))
		return log_error_errno(-EINVAL, "--gpu '%s': expected an address as 0000:43:00.0",
				       o->bdf);
	if (o->instance && !model_name_is_valid(o->instance))
		return log_error_errno(-EINVAL, "--instance '%s' is not a name", o->instance);
	return 0;
}

enum { OPTION_HELP = 1000, OPTION_VERSION };

static int parse_all(int argc, char *argv[], const struct option *options, struct worker_options *o)
{
	int c, r;

	optind = 0; /* start anew, also in the second call of a process */
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h' || c == OPTION_HELP)
			return 2;
		if (c == OPTION_VERSION) {
			(void)printf("cofris-worker %s\n", COFRIS_VERSION);
			return 0;
		}
		if (c == '?')
			return -EINVAL; /* getopt has said why */
		r = set_value(o, &rows[c], optarg);
		if (r < 0)
			return r;
	}
	if (optind < argc)
		return log_error_errno(-EINVAL, "Unexpected argument '%s'", argv[optind]);
	r = check(o);
	return r < 0 ? r : 1;
}

int worker_options_parse(int argc, char *argv[], struct worker_options *ret)
{
	struct option options[ARRAY_SIZE(rows) + 3] = {0};
	struct worker_options o = {
		.engine = "auto",
		.compression = 1,
		.drain_ns = 10 * NSEC_PER_SEC,
		.seed = 1,
		.jitter = 0.02,
		.stall_factor = 1.5,
		.slots = 1,
		.max_batch = 1,
		.queue_limit = 100000,
		.follow_mask = true,
	};
	size_t n;
	int r;

	for (n = 0; n < ARRAY_SIZE(rows); n++)
		options[n] = (struct option){
			.name = rows[n].name,
			.has_arg = rows[n].kind == VALUE_FLAG ? no_argument : required_argument,
			.val = (int)n,
		};
	options[n++] = (struct option){.name = "help", .val = OPTION_HELP};
	options[n++] = (struct option){.name = "version", .val = OPTION_VERSION};
	r = parse_all(argc, argv, options, &o);
	if (r == 1)
		*ret = o;
	return r;
}
