/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/options.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/units.h"
#include "governor/policy.h"
#include "replay/experiment.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

static const char help[] =
	"Usage: cofris-replay --trace FILE [OPTION...]\n"
	"       cofris-replay --inputs FILE [--json | --explain N]\n"
	"       cofris-replay --experiment NAME [--json]\n"
	"What would each policy save on this load? Serves the trace's requests with every model\n"
	"under every policy on simulated cards, in virtual time, by the governor that cofrisd\n"
	"runs.\n"
	"\n"
	"Load:\n"
	"      --trace FILE           what requests come when; - reads standard input\n"
	"      --format FORMAT        swim, azure-llm, rate or requests (default: by its first\n"
	"                             line)\n"
	"      --duration TIME        of the run (default: 15min, or a rate or requests trace's\n"
	"                             own)\n"
	"      --start TIME           where in the trace it begins (default: 0s)\n"
	"      --span TIME            how much of the trace is played (default: all; swim: 24h)\n"
	"      --smoothing-k N        moving average over so many bins (default: 11)\n"
	"      --seed N               of everything random (default: 1)\n"
	"What is compared:\n"
	"      --models A[,B...]      names or .ini files (default: the eight of the paper)\n"
	"      --mix A+B[,C+D...]     instead: two to four models on one card at the same time,\n"
	"                             beside the best that can be had by trying everything\n"
	"      --surface FILE[,...]   what cofris-profile measured of these models (default: a\n"
	"                             sweep of the simulated card)\n"
	"      --policies A[,B...]    (default: all)\n"
	"      --slo 2.0x|20ms[,...]  factors of T0, or times; an evaluation for each (default:\n"
	"                             2.0x)\n"
	"      --percentile N         that the SLO is about (default: 95)\n"
	"      --latency NOTION       sojourn, or service as in the CoFRIS paper (default:\n"
	"                             sojourn)\n"
	"      --headroom H           share of the SLO that is planned for (default: 0.9)\n"
	"      --headroom-sweep       each policy at 0.4 to 1.3: curves of energy and lateness\n"
	"      --max-batch N          largest batch that a policy may order (default: 1)\n"
	"      --cap POWER            power cap on the card, as 150W\n"
	"      --no-boosts            nobody goes to full speed because of a queue\n"
	"Cards:\n"
	"      --device NAME          kind of card, or its .ini file (default: mi50)\n"
	"      --gating none|se|cu    power gating outside the CU mask; se and cu are modelled\n"
	"                             (default: none)\n"
	"      --service-cards N      cards that are tried (default: 1)\n"
	"      --exact                no other card than the one that was swept, with requests\n"
	"                             and services as cofris-worker has them\n"
	"      --ensemble N           of so many parameter sets (default: 1, the device's file)\n"
	"      --switch-ms MS         time of a clock change (default: 5)\n"
	"      --dpm-ramp-ms MS       of the driver's own DPM (default: the device's)\n"
	"      --idle-active-share X  of active-idle power that is drawn between requests\n"
	"                             (default: the device's)\n"
	"Output:\n"
	"      --json                 print the result as JSON, one object a line for each SLO\n"
	"      --report DIR           also write report.html, results.csv and results.json\n"
	"      --threads N            (default: one for each core)\n"
	"      --inputs FILE          instead: feed a record of cofrisd to its governor again and\n"
	"                             compare the decisions; - reads standard input\n"
	"      --explain N            with --inputs: say why decision N was made, and what else\n"
	"                             there was to choose from\n"
	"      --experiment NAME      instead: repeat a published experiment (cofris, batchsizer\n"
	"                             or adapter), each figure beside the published one; or\n"
	"                             see what becomes of disturbances\n"
	"      --help, --version\n"
	"\n"
	"Exit status: 0 done, and with --inputs all decisions are the same; 1 some decisions\n"
	"differ; 2 failed; 3 not a set-up to judge policies by: overloaded, or no configuration\n"
	"holds the SLO.\n";

static const char *const default_models[] = {
	"albert",     "alexnet",    "densenet201", "resnet152",
	"resnext101", "shufflenet", "squeezenet",  "vgg19",
};

/* In the order of reports. */
static const char *const known_policies[] = {
	"auto",	   "maximum",	   "frequency",	  "resource",	"coordinated",
	"adapter", "adapter-tail", "dvfs",	  "batchsizer", "batchsizer-fixed",
	"cofris",  "oracle",	   "oracle-rate",
};

struct option_row {
	const char *name;
	bool flag;
	int (*set)(struct replay_options *o, const struct option_row *row, const char *text);
	size_t offset;
	double min, max; /* of numbers; times in seconds, power in W */
};

static int bad(const struct option_row *row, const char *text, const char *expected)
{
	return log_error_errno(-EINVAL, "--%s '%s': expected %s", row->name, text, expected);
}

/* Says which names there are, or the one that was meant. */
static int unknown(const struct option_row *row, const char *word, const char *const *names,
		   unsigned int n)
{
	const char *near = nearest_name(word, names, n);
	char list[256] = "";

	for (unsigned int i = 0; i < n; i++) {
		size_t used = strlen(list);

		(void)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", names[i]);
	}
	if (near)
		return log_error_errno(-EINVAL, "--%s: unknown '%s', did you mean '%s'?", row->name,
				       word, near);
	return log_error_errno(-EINVAL, "--%s: unknown '%s', expected %s", row->name, word, list);
}

static void *field(struct replay_options *o, const struct option_row *row)
{
	return (char *)o + row->offset;
}

static int check_range(const struct option_row *row, const char *text, double value)
{
	if (value >= row->min && value <= row->max)
		return 0;
	return log_error_errno(-EINVAL, "--%s %s: expected %g to %g", row->name, text, row->min,
			       row->max);
}

static int set_text(struct replay_options *o, const struct option_row *row, const char *text)
{
	if (text[0] == '\0')
		return bad(row, text, "a name");
	*(const char **)field(o, row) = text;
	return 0;
}

static int set_experiment(struct replay_options *o, const struct option_row *row, const char *text)
{
	const char *names[8];
	unsigned int n = 0;

	if (experiment_find(text))
		return set_text(o, row, text);
	while (n < ARRAY_SIZE(names) && experiment_name(n)) {
		names[n] = experiment_name(n);
		n++;
	}
	return unknown(row, text, names, n);
}

static int set_flag(struct replay_options *o, const struct option_row *row,
		    _unused_ const char *text)
{
	*(bool *)field(o, row) = true;
	return 0;
}

static int set_u32(struct replay_options *o, const struct option_row *row, const char *text)
{
	uint32_t value;

	if (parse_u32(text, &value) < 0)
		return bad(row, text, "a whole number");
	*(uint32_t *)field(o, row) = value;
	return check_range(row, text, value);
}

static int set_double(struct replay_options *o, const struct option_row *row, const char *text)
{
	double value;

	if (parse_double(text, &value) < 0)
		return bad(row, text, "a number");
	*(double *)field(o, row) = value;
	return check_range(row, text, value);
}

/* As JSON can print it. */
static int set_seed(struct replay_options *o, const struct option_row *row, const char *text)
{
	uint64_t value;

	if (parse_u64(text, &value) < 0 || value > INT64_MAX)
		return bad(row, text, "a whole number below 2^63");
	o->evaluation.seed = value;
	return 0;
}

/* "15m" is minutes as well, as it is everywhere on a command line. */
static int set_time(struct replay_options *o, const struct option_row *row, const char *text)
{
	char minutes[32];
	uint64_t ns;
	double s;

	(void)snprintf(minutes, sizeof(minutes), "%sin", text);
	if (parse_duration_ns(text, &ns) < 0 && parse_duration_ns(minutes, &ns) < 0)
		return bad(row, text, "a time with its unit, as 15min");
	s = (double)ns / (double)NSEC_PER_SEC;
	if (s < row->min || s > row->max)
		return log_error_errno(-EINVAL, "--%s %s: expected %g s to %g s", row->name, text,
				       row->min, row->max);
	*(double *)field(o, row) = s;
	return 0;
}

static int set_cap(struct replay_options *o, const struct option_row *row, const char *text)
{
	uint64_t uw;

	if (parse_power_uw(text, &uw) < 0)
		return bad(row, text, "a power with its unit, as 150W");
	o->evaluation.cap_w = (double)uw / (double)UW_PER_W;
	return check_range(row, text, o->evaluation.cap_w);
}

static int set_format(struct replay_options *o, const struct option_row *row, const char *text)
{
	return trace_format_parse(text, &o->reading.format) < 0
		       ? bad(row, text, "swim, azure-llm, rate or requests")
		       : 0;
}

static int set_word(const struct option_row *row, const char *text, const char *const *names,
		    unsigned int n, unsigned int *ret)
{
	for (unsigned int i = 0; i < n; i++)
		if (strcmp(text, names[i]) == 0) {
			*ret = i;
			return 0;
		}
	return unknown(row, text, names, n);
}

static int set_gating(struct replay_options *o, const struct option_row *row, const char *text)
{
	static const char *const names[] = {"none", "se", "cu"};
	unsigned int i = 0;
	int r = set_word(row, text, names, ARRAY_SIZE(names), &i);

	if (r == 0)
		o->evaluation.gating = (enum plant_gating)i;
	return r;
}

static int set_latency(struct replay_options *o, const struct option_row *row, const char *text)
{
	static const char *const names[] = {"sojourn", "service"};
	unsigned int i = 0;
	int r = set_word(row, text, names, ARRAY_SIZE(names), &i);

	if (r == 0)
		o->evaluation.latency = (enum latency_notion)i;
	return r;
}

/* ---- lists ---- */

typedef int (*take_word_fn)(struct replay_options *o, const struct option_row *row,
			    const char *word);

static int each_word(struct replay_options *o, const struct option_row *row, char *list,
		     take_word_fn take)
{
	char *word;
	int r = 0;

	while (r == 0 && (word = strsep(&list, ",")))
		r = *word ? take(o, row, word) : bad(row, word, "names with commas between them");
	return r;
}

static int take_slo(struct replay_options *o, const struct option_row *row, const char *word)
{
	struct replay_slo slo = {0};
	size_t n = strlen(word);
	char number[32];

	if (o->n_slos == REPLAY_MAX_SLOS)
		return bad(row, word, "at most 8 objectives");
	if (parse_duration_ns(word, &slo.ns) < 0) {
		if (n < 2 || n > sizeof(number) || word[n - 1] != 'x')
			return bad(row, word, "a factor of T0 as 2.0x, or a time as 20ms");
		memcpy(number, word, n - 1);
		number[n - 1] = '\0';
		if (parse_double(number, &slo.factor) < 0 || slo.factor < 1 || slo.factor > 1000)
			return bad(row, word, "a factor from 1x to 1000x");
	} else if (slo.ns == 0 || slo.ns > 3600 * NSEC_PER_SEC) {
		return bad(row, word, "a time above 0 and up to 1h");
	}
	for (uint32_t i = 0; i < o->n_slos; i++)
		if (o->slos[i].factor == slo.factor && o->slos[i].ns == slo.ns)
			return bad(row, word, "each objective once");
	o->slos[o->n_slos++] = slo;
	return 0;
}

static int set_slos(struct replay_options *o, const struct option_row *row, const char *text)
{
	_cleanup_(freep) char *list = strdup(text);

	o->n_slos = 0;
	return list ? each_word(o, row, list, take_slo) : -ENOMEM;
}

static int take_model(struct replay_options *o, const struct option_row *row, const char *word)
{
	for (uint32_t i = 0; i < o->n_models; i++)
		if (strcmp(o->models[i], word) == 0)
			return bad(row, word, "each model once");
	if (o->n_models == EVALUATE_MAX_MODELS)
		return bad(row, word, "at most 32 models");
	o->models[o->n_models++] = word;
	return 0;
}

static int set_models(struct replay_options *o, const struct option_row *row, const char *text)
{
	char *list = strdup(text);

	if (!list)
		return -ENOMEM;
	free(o->lists[0]);
	o->lists[0] = list;
	o->n_models = 0;
	return each_word(o, row, list, take_model);
}

/* Its number; of a new one the next. */
static int mix_model(struct replay_options *o, const struct option_row *row, const char *name,
		     uint32_t *ret)
{
	if (*name == '\0')
		return bad(row, name, "models with + between them, as resnet50+bert-base");
	for (*ret = 0; *ret < o->n_models; (*ret)++)
		if (strcmp(o->models[*ret], name) == 0)
			return 0;
	if (o->n_models == EVALUATE_MAX_MODELS)
		return bad(row, name, "at most 32 models");
	o->models[o->n_models++] = name;
	return 0;
}

static int take_mix(struct replay_options *o, const struct option_row *row, const char *word)
{
	struct mix *mix = &o->mixes[o->n_mixes];
	/* Inside of the list, which is ours. */
	char *rest = o->lists[2] + (word - o->lists[2]);
	const char *name;
	int r = 0;

	if (o->n_mixes == MIX_MAX)
		return bad(row, word, "at most 16 mixes");
	*mix = (struct mix){0};
	while (r == 0 && (name = strsep(&rest, "+"))) {
		if (mix->n == MIX_MAX_MODELS)
			return bad(row, name, "at most 4 models in a mix");
		r = mix_model(o, row, name, &mix->models[mix->n++]);
	}
	if (r == 0 && mix->n < 2)
		return bad(row, word, "at least 2 models in a mix");
	o->n_mixes++;
	return r;
}

static int set_mixes(struct replay_options *o, const struct option_row *row, const char *text)
{
	char *list = strdup(text);

	if (!list)
		return -ENOMEM;
	free(o->lists[2]);
	o->lists[2] = list;
	o->n_models = o->n_mixes = 0;
	return each_word(o, row, list, take_mix);
}

static int take_surface(struct replay_options *o, const struct option_row *row, const char *word)
{
	if (o->n_surfaces == EVALUATE_MAX_MODELS)
		return bad(row, word, "at most 32 surfaces");
	o->surfaces[o->n_surfaces++] = word;
	return 0;
}

static int set_surfaces(struct replay_options *o, const struct option_row *row, const char *text)
{
	char *list = strdup(text);

	if (!list)
		return -ENOMEM;
	free(o->lists[1]);
	o->lists[1] = list;
	o->n_surfaces = 0;
	return each_word(o, row, list, take_surface);
}

static int take_policy(struct replay_options *o, const struct option_row *row, const char *word)
{
	struct evaluation_options *e = &o->evaluation;
	unsigned int i = 0;
	int r;

	r = set_word(row, word, known_policies, ARRAY_SIZE(known_policies), &i);
	if (r < 0)
		return r;
	for (uint32_t j = 0; j < e->n_policies; j++)
		if (strcmp(e->policies[j], word) == 0)
			return bad(row, word, "each policy once");
	e->policies[e->n_policies++] = known_policies[i];
	return 0;
}

static int set_policies(struct replay_options *o, const struct option_row *row, const char *text)
{
	_cleanup_(freep) char *list = strdup(text);

	o->evaluation.n_policies = 0;
	if (strcmp(text, "all") == 0)
		return 0; /* when it is known whether there is a cap */
	return list ? each_word(o, row, list, take_policy) : -ENOMEM;
}

/* But those that make no sense without a cap. */
static void take_all_policies(struct evaluation_options *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(known_policies); i++) {
		const struct policy *p = policy_find(known_policies[i]);

		if (!p || !p->batches || (e->cap_w > 0 && e->max_batch > 1))
			e->policies[e->n_policies++] = known_policies[i];
	}
}

/* ---- all of it ---- */

#define DAY	      86400.0
#define OPTION(f)     .offset = offsetof(struct replay_options, f)
#define NUMBER(t, f)  .set = set_##t, OPTION(f)
#define EVALUATION(f) evaluation.f

static const struct option_row rows[] = {
	{"trace", NUMBER(text, trace)},
	{"format", .set = set_format},
	{"duration", NUMBER(time, reading.duration_s), .min = 60, .max = 7 * DAY},
	{"start", NUMBER(time, reading.start_s), .min = 0, .max = 366 * DAY},
	{"span", NUMBER(time, reading.span_s), .min = 1, .max = 366 * DAY},
	{"smoothing-k", NUMBER(u32, reading.smoothing_k), .min = 1, .max = 10001},
	{"seed", .set = set_seed},
	{"models", .set = set_models},
	{"mix", .set = set_mixes},
	{"surface", .set = set_surfaces},
	{"policies", .set = set_policies},
	{"slo", .set = set_slos},
	{"percentile", NUMBER(u32, EVALUATION(percentile)), .min = 1, .max = 99},
	{"latency", .set = set_latency},
	{"headroom", NUMBER(double, EVALUATION(headroom)), .min = 0.1, .max = 2},
	{"headroom-sweep", .flag = true, NUMBER(flag, EVALUATION(headroom_sweep))},
	{"max-batch", NUMBER(u32, EVALUATION(max_batch)), .min = 1, .max = 256},
	{"cap", .set = set_cap, .min = 1, .max = 2000},
	{"device", NUMBER(text, device)},
	{"gating", .set = set_gating},
	{"service-cards", NUMBER(u32, EVALUATION(service_cards)), .min = 1, .max = 1000},
	{"exact", .flag = true, NUMBER(flag, EVALUATION(exact))},
	{"no-boosts", .flag = true, NUMBER(flag, EVALUATION(no_boosts))},
	{"ensemble", NUMBER(u32, EVALUATION(ensemble)), .min = 1, .max = TRUTH_ENSEMBLE + 1},
	{"switch-ms", NUMBER(double, EVALUATION(switch_ms)), .min = 0, .max = 10000},
	{"dpm-ramp-ms", NUMBER(double, EVALUATION(dpm_ramp_ms)), .min = 0, .max = 10000},
	{"idle-active-share", NUMBER(double, EVALUATION(idle_active_share)), .min = 0, .max = 1},
	{"json", .flag = true, NUMBER(flag, json)},
	{"report", NUMBER(text, report)},
	{"threads", NUMBER(u32, EVALUATION(threads)), .min = 1, .max = 1024},
	{"inputs", NUMBER(text, inputs)},
	{"explain", NUMBER(u32, explain), .min = 1, .max = UINT32_MAX},
	{"experiment", NUMBER(experiment, experiment)},
};

enum { OPTION_HELP = 1000, OPTION_VERSION };

/* What goes with every use of the program, and what with experiments, too. */
static const char *const of_all[] = {"json", "inputs", "explain", "experiment", NULL};
/* What is the same for all mixes, or of single models. */
static const char *const not_of_mixes[] = {"models",	     "policies", "latency",   "report",
					   "headroom-sweep", "cap",	 "no-boosts", NULL};
static const char *const of_experiments[] = {"trace", "smoothing-k", "seed", "threads", NULL};

static bool is_one_of(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(name, *names) == 0)
			return true;
	return false;
}

static int parse(int argc, char *argv[], struct replay_options *o)
{
	struct option options[ARRAY_SIZE(rows) + 3] = {0};
	const char *of_evaluation = NULL, *of_experiment = NULL, *not_of_mix = NULL;
	size_t n;
	int c, r;

	for (n = 0; n < ARRAY_SIZE(rows); n++)
		options[n] = (struct option){
			.name = rows[n].name,
			.has_arg = rows[n].flag ? no_argument : required_argument,
			.val = (int)n,
		};
	options[n++] = (struct option){.name = "help", .val = OPTION_HELP};
	options[n++] = (struct option){.name = "version", .val = OPTION_VERSION};
	optind = 0; /* start anew, also in the second call of a process */
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h' || c == OPTION_HELP) {
			(void)fputs(help, stdout);
			return 0;
		}
		if (c == OPTION_VERSION) {
			(void)printf("cofris-replay %s\n", COFRIS_VERSION);
			return 0;
		}
		if (c == '?')
			return -EINVAL; /* getopt has said why */
		r = rows[c].set(o, &rows[c], optarg);
		if (r < 0)
			return r;
		if (is_one_of(rows[c].name, not_of_mixes))
			not_of_mix = rows[c].name;
		if (is_one_of(rows[c].name, of_experiments))
			of_experiment = rows[c].name;
		else if (!is_one_of(rows[c].name, of_all))
			of_evaluation = rows[c].name;
	}
	if (optind < argc)
		return log_error_errno(-EINVAL, "Unexpected argument '%s'; see --help.",
				       argv[optind]);
	if (o->inputs && o->experiment)
		of_evaluation = "experiment";
	if (o->inputs && (of_evaluation || of_experiment))
		return log_error_errno(-EINVAL, "--inputs does not go with --%s.",
				       of_evaluation ? of_evaluation : of_experiment);
	if (o->explain > 0 && (!o->inputs || o->json))
		return log_error_errno(-EINVAL, "--explain goes with --inputs, and not with "
						"--json.");
	if (o->experiment && of_evaluation)
		return log_error_errno(-EINVAL, "--experiment does not go with --%s.",
				       of_evaluation);
	if (o->n_mixes > 0 && not_of_mix)
		return log_error_errno(-EINVAL, "--mix does not go with --%s.", not_of_mix);
	if (!o->inputs && !o->experiment && !o->trace)
		return log_error_errno(-EINVAL, "--trace FILE (or --inputs FILE, or --experiment "
						"NAME) is missing; see --help.");
	return 1;
}

static const struct replay_options defaults = {
	.device = "mi50",
	.n_slos = 1,
	.slos = {{.factor = 2}},
	.evaluation =
		{
			.percentile = 95,
			.headroom = 0.9,
			.service_cards = 1,
			.ensemble = 1,
			.switch_ms = 5,
			.dpm_ramp_ms = -1,
			.idle_active_share = -1,
			.seed = 1,
			.max_batch = 1,
		},
};

int replay_options_parse(int argc, char *argv[], struct replay_options *ret)
{
	struct replay_options o = defaults;
	int r;

	memcpy(o.models, default_models, sizeof(default_models));
	o.n_models = ARRAY_SIZE(default_models);
	r = parse(argc, argv, &o);
	if (r <= 0) {
		replay_options_done(&o);
		return r;
	}
	if (o.evaluation.n_policies == 0)
		take_all_policies(&o.evaluation);
	*ret = o;
	return 1;
}

void replay_options_done(struct replay_options *o)
{
	for (size_t i = 0; i < ARRAY_SIZE(o->lists); i++)
		free(TAKE_PTR(o->lists[i]));
}
