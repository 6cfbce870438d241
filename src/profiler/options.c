/* SPDX-License-Identifier: Apache-2.0 */
#include "profiler/options.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/units.h"
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

static const char profile_help[] =
	"Usage: cofris-profile --model MODEL [OPTION...]\n"
	"       cofris-profile table FILE [--slo 2.0x] (see cofris-profile table --help)\n"
	"Measures a model on this card at every clock and CU mask worth it, and writes the "
	"response\n"
	"surface from which cofrisd governs. Takes the card for itself meanwhile.\n"
	"\n"
	"      --model MODEL          the model's name\n"
	"      --gpu BDF              card, as 0000:43:00.0 (default: the only one)\n"
	"      --grid quick|full      some seconds for a first look, or everything (default)\n"
	"      --model-digest SHA256  of the model's file, for the surface's header\n"
	"      --output FILE          (default: /var/lib/cofris/surfaces/<gfx>-<CUs>cu/MODEL.csv)\n"
	"      --slo 2.0x|20ms        the chosen cells are verified for this (default: 2.0x)\n"
	"      --percentile N         that the SLO is about (default: 95)\n"
	"      --gating none|se|cu    power gating that the chosen cells assume (default: none)\n"
	"      --cell-time TIME       measuring time of a cell (default: 1s quick, 3s full)\n"
	"      --verify-time TIME     of a verification (default: 1500ms quick, 10s full)\n"
	"      --seed N               of the load (default: 1)\n"
	"Worker:\n"
	"      --engine NAME          of cofris-worker, also for the empty kernels (default:\n"
	"                             auto)\n"
	"      --workers N            batches that it serves at the same time (default: 1)\n"
	"      --batch N[,N...]       executed batches; the first is the baseline's (default: 1)\n"
	"      --worker COMMAND       another worker. It is run by sh with --closed-loop N, or\n"
	"                             --rate RPS --seed N, appended, and COFRIS_SOCKET set; it\n"
	"                             serves MODEL on the card until SIGTERM\n"
	"Card:\n"
	"      --actuator PATH        socket of cofris-actuator\n"
	"      --runtime-dir DIR      folder of that socket, control.sock\n"
	"      --take-over            also take a card that was found in 'manual'\n"
	"      --json                 print the result as JSON\n"
	"      --help, --version\n"
	"\n"
	"Cells measured so far are kept in FILE.partial until the surface is whole; an older FILE\n"
	"stays until then. The card is given back on every way out.\n";

static const char table_help[] =
	"Usage: cofris-profile table FILE [OPTION...]\n"
	"Prints the table that cofrisd derives from a response surface.\n"
	"\n"
	"      --slo 2.0x|20ms        factor of the surface's T0, or a time (default: 2.0x)\n"
	"      --percentile N         that the SLO is about (default: the surface's)\n"
	"      --gating none|se|cu    se and cu are modelled (default: none)\n"
	"      --json                 as JSON\n"
	"      --help\n";

#define DIGEST_DIGITS 64

struct option_row {
	const char *name;
	bool flag;
	int (*set)(struct profile_options *o, const struct option_row *row, const char *text);
	size_t offset;
	double min, max; /* of numbers; times in seconds */
};

static int bad(const struct option_row *row, const char *text, const char *expected)
{
	return log_error_errno(-EINVAL, "--%s '%s': expected %s", row->name, text, expected);
}

static void *field(struct profile_options *o, const struct option_row *row)
{
	return (char *)o + row->offset;
}

static int set_text(struct profile_options *o, const struct option_row *row, const char *text)
{
	*(const char **)field(o, row) = text;
	return 0;
}

static int set_digest(struct profile_options *o, const struct option_row *row, const char *text)
{
	if (strlen(text) != DIGEST_DIGITS || text[strspn(text, "0123456789abcdef")] != '\0')
		return bad(row, text, "64 hexadecimal digits in lower case, as sha256sum prints");
	o->model_digest = text;
	return 0;
}

static int set_flag(struct profile_options *o, const struct option_row *row,
		    _unused_ const char *text)
{
	*(bool *)field(o, row) = true;
	return 0;
}

static int set_u32(struct profile_options *o, const struct option_row *row, const char *text)
{
	uint32_t value;

	if (parse_u32(text, &value) < 0 || value < row->min || value > row->max)
		return log_error_errno(-EINVAL, "--%s '%s': expected %g to %g", row->name, text,
				       row->min, row->max);
	*(uint32_t *)field(o, row) = value;
	return 0;
}

static int set_u64(struct profile_options *o, const struct option_row *row, const char *text)
{
	return parse_u64(text, field(o, row)) < 0 ? bad(row, text, "a whole number") : 0;
}

static int set_time(struct profile_options *o, const struct option_row *row, const char *text)
{
	uint64_t value;

	if (parse_duration_ns(text, &value) < 0)
		return bad(row, text, "a time with its unit, as 500ms");
	if ((double)value < row->min * (double)NSEC_PER_SEC ||
	    (double)value > row->max * (double)NSEC_PER_SEC)
		return log_error_errno(-EINVAL, "--%s %s: expected %g s to %g s", row->name, text,
				       row->min, row->max);
	*(uint64_t *)field(o, row) = value;
	return 0;
}

static int set_grid(struct profile_options *o, const struct option_row *row, const char *text)
{
	if (strcmp(text, "quick") == 0)
		o->grid = GRID_QUICK;
	else if (strcmp(text, "full") == 0)
		o->grid = GRID_FULL;
	else
		return bad(row, text, "quick or full");
	return 0;
}

static int set_gating(struct profile_options *o, const struct option_row *row, const char *text)
{
	static const char *const names[] = {"none", "se", "cu"};

	for (uint32_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(text, names[i]) == 0) {
			o->gating = (enum table_gating)i;
			return 0;
		}
	return bad(row, text, "none, se or cu");
}

static int set_slo(struct profile_options *o, const struct option_row *row, const char *text)
{
	size_t n = strlen(text);
	char factor[32];

	if (parse_duration_ns(text, &o->slo_ns) == 0 && o->slo_ns > 0)
		return 0;
	o->slo_ns = 0;
	if (n < 2 || n > sizeof(factor) || text[n - 1] != 'x')
		return bad(row, text, "a factor of T0 as 2.0x, or a time as 20ms");
	memcpy(factor, text, n - 1);
	factor[n - 1] = '\0';
	if (parse_double(factor, &o->slo_factor) < 0 || o->slo_factor < 1 || o->slo_factor > 1000)
		return bad(row, text, "a factor from 1x to 1000x");
	return 0;
}

static int set_batches(struct profile_options *o, const struct option_row *row, const char *text)
{
	_cleanup_(freep) char *copy = strdup(text);
	char *rest = copy, *word;

	if (!copy)
		return -ENOMEM;
	o->n_batches = 0;
	while ((word = strsep(&rest, ","))) {
		uint32_t batch;

		if (parse_u32(word, &batch) < 0 || batch < 1 || batch > 256)
			return bad(row, text, "batch sizes from 1 to 256 as 1,2,4");
		for (uint32_t i = 0; i < o->n_batches; i++)
			if (o->batches[i] == batch)
				return bad(row, text, "each batch size once");
		if (o->n_batches == GRID_MAX_BATCHES)
			return bad(row, text, "at most 16 batch sizes");
		o->batches[o->n_batches++] = batch;
	}
	return 0;
}

#define FIELD(f) .offset = offsetof(struct profile_options, f)
#define TEXT(f)	 .set = set_text, FIELD(f)
#define FLAG(f)	 .flag = true, .set = set_flag, FIELD(f)
#define COMMON_ROWS                                                                                \
	{"slo", .set = set_slo},                                                                   \
		{"percentile", .set = set_u32, FIELD(percentile), .min = 1, .max = 99},            \
		{"gating", .set = set_gating},                                                     \
	{                                                                                          \
		"json", FLAG(json)                                                                 \
	}

static const struct option_row profile_rows[] = {
	{"model", TEXT(model)},
	{"gpu", TEXT(bdf)},
	{"grid", .set = set_grid},
	{"model-digest", .set = set_digest},
	{"output", TEXT(output)},
	{"cell-time", .set = set_time, FIELD(cell_time_ns), .min = 0.1, .max = 3600},
	{"verify-time", .set = set_time, FIELD(verify_time_ns), .min = 0.5, .max = 3600},
	{"seed", .set = set_u64, FIELD(seed)},
	{"engine", TEXT(engine)},
	{"workers", .set = set_u32, FIELD(workers), .min = 1, .max = 64},
	{"batch", .set = set_batches},
	{"worker", TEXT(worker_command)},
	{"actuator", TEXT(actuator)},
	{"runtime-dir", TEXT(runtime_dir)},
	{"take-over", FLAG(take_over)},
	COMMON_ROWS,
};
static const struct option_row table_rows[] = {COMMON_ROWS};

struct command_line {
	const struct option_row *rows;
	uint32_t n_rows;
	const char *help;
};
static const struct command_line profile_line = {profile_rows, ARRAY_SIZE(profile_rows),
						 profile_help};
static const struct command_line table_line = {table_rows, ARRAY_SIZE(table_rows), table_help};

enum { OPTION_HELP = 1000, OPTION_VERSION };
#define MAX_OPTIONS 32
_Static_assert(ARRAY_SIZE(profile_rows) + 3 <= MAX_OPTIONS, "room for all options");

static int parse(const struct command_line *line, int argc, char *argv[], struct profile_options *o)
{
	struct option options[MAX_OPTIONS] = {0};
	uint32_t n;
	int c, r;

	for (n = 0; n < line->n_rows; n++)
		options[n] = (struct option){
			.name = line->rows[n].name,
			.has_arg = line->rows[n].flag ? no_argument : required_argument,
			.val = (int)n,
		};
	options[n++] = (struct option){.name = "help", .val = OPTION_HELP};
	options[n++] = (struct option){.name = "version", .val = OPTION_VERSION};
	optind = 0; /* start anew, also in the second call of a process */
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h' || c == OPTION_HELP) {
			(void)fputs(line->help, stdout);
			return 0;
		}
		if (c == OPTION_VERSION) {
			(void)printf("cofris-profile %s\n", COFRIS_VERSION);
			return 0;
		}
		if (c == '?')
			return -EINVAL; /* getopt has said why */
		r = line->rows[c].set(o, &line->rows[c], optarg);
		if (r < 0)
			return r;
	}
	return 1;
}

static const struct profile_options defaults = {
	.engine = "auto",
	.grid = GRID_FULL,
	.batches = {1},
	.n_batches = 1,
	.workers = 1,
	.seed = 1,
	.slo_factor = 2,
};

static int profile_check(struct profile_options *o)
{
	if (!o->model)
		return log_error_errno(-EINVAL, "--model is missing (see --help)");
	if (!model_name_is_valid(o->model))
		return log_error_errno(-EINVAL, "--model '%s' is not a model's name", o->model);
	if (o->bdf && !pci_bdf_is_valid(o->bdf))
		return log_error_errno(-EINVAL, "--gpu '%s': expected an address as 0000:43:00.0",
				       o->bdf);
	if (o->worker_command && o->gating != TABLE_GATING_NONE)
		return log_error_errno(-EINVAL, "--gating is modelled from active-idle power, "
						"which --worker cannot be asked for");
	if (o->percentile == 0)
		o->percentile = 95;
	if (o->cell_time_ns == 0)
		o->cell_time_ns = (o->grid == GRID_QUICK ? 1 : 3) * NSEC_PER_SEC;
	if (o->verify_time_ns == 0)
		o->verify_time_ns =
			o->grid == GRID_QUICK ? 1500 * NSEC_PER_MSEC : 10 * NSEC_PER_SEC;
	return 1;
}

int profile_options_parse(int argc, char *argv[], struct profile_options *ret)
{
	struct profile_options o = defaults;
	int r;

	r = parse(&profile_line, argc, argv, &o);
	if (r <= 0)
		return r;
	if (optind < argc)
		return log_error_errno(-EINVAL, "Unexpected argument '%s'", argv[optind]);
	r = profile_check(&o);
	if (r > 0)
		*ret = o;
	return r;
}

int table_view_options_parse(int argc, char *argv[], struct profile_options *ret)
{
	struct profile_options o = defaults;
	int r;

	r = parse(&table_line, argc, argv, &o);
	if (r <= 0)
		return r;
	if (argc - optind != 1)
		return log_error_errno(-EINVAL,
				       "Expected one surface file (see cofris-profile table "
				       "--help)");
	o.table_file = argv[optind];
	*ret = o;
	return 1;
}

struct table_options profile_table_options(const struct profile_options *o)
{
	struct table_options t = TABLE_OPTIONS_DEFAULT;

	/* What is verified and shown is what the default policy will choose. */
	t.late_cost = TABLE_LATE_COST;
	t.slo_factor = o->slo_factor;
	t.slo_ns = o->slo_ns;
	t.percentile = o->percentile;
	t.gating = o->gating;
	for (uint32_t i = 0; i < o->n_batches; i++)
		t.max_batch = MAX(t.max_batch, o->batches[i]);
	return t;
}
