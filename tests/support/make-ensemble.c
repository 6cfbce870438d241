/* SPDX-License-Identifier: Apache-2.0 */
/* Finds parameter sets of a card that satisfy what is published of it, by rejection:
 *   make-ensemble PROFILES            the ensemble, for profiles/devices/mi50-ensemble.csv
 *   make-ensemble PROFILES --show     what each member and the file itself give
 *   make-ensemble PROFILES --check    exit 1 if the shipped file is not the ensemble
 *
 * The facts are three mean powers of Chow and Wong, "CoFRIS: Coordinated Frequency and Resource
 * Scaling for GPU Inference Servers" (IGSC 2023), against the ungoverned card: the clock alone, CUs
 * alone with those that are off gated, and both; 15 W at idle (which the file has); and no more
 * than the card's power limit. The rules are the paper's: latency is the service time and may
 * double, a configuration holds what it can serve. The load is that of its trace. */
#include "base/log.h"
#include "replay/ensemble.h"
#include "replay/truth.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define SEED	       UINT64_C(2023)
#define MAX_CANDIDATES 2000000
#define RATE_STEPS     40
#define UTILISATION    0.95
#define SLO_FACTOR     2.0
#define MAX_SHAPES     64
#define MAX_CHOICES    (MAX_SHAPES * PLANT_MAX_LEVELS)

/* Those of the paper. */
static const char *const names[] = {"albert",	  "alexnet",	"densenet201", "resnet152",
				    "resnext101", "shufflenet", "squeezenet",  "vgg19"};
#define MODELS ARRAY_SIZE(names)

/* Twenty quantiles of the load of SWIM's FB-2009_1: a day as 900 bins, a moving mean over 11 of
 * them, the largest is 1. */
static const double loads[] = {0.097, 0.137, 0.177, 0.204, 0.221, 0.235, 0.257,
			       0.270, 0.288, 0.305, 0.323, 0.336, 0.354, 0.367,
			       0.394, 0.478, 0.544, 0.611, 0.730, 0.850};

enum policy { FREQUENCY, RESOURCE_CU, COORDINATED_CU, RESOURCE_SE, COORDINATED_SE, POLICIES };

/* Mean power over that of the ungoverned card, and how far off it may be. */
static const struct {
	const char *name;
	double ratio, tolerance; /* tolerance 0: no fact */
} facts[POLICIES] = {
	[FREQUENCY] = {"clock", 0.845, 0.015},	    [RESOURCE_CU] = {"cus", 0.765, 0.015},
	[COORDINATED_CU] = {"both", 0.72, 0.01},    [RESOURCE_SE] = {"engines", 0, 0},
	[COORDINATED_SE] = {"clock-engines", 0, 0},
};

static enum plant_gating gating_of(enum policy p)
{
	if (p == RESOURCE_CU || p == COORDINATED_CU)
		return PLANT_GATING_CU;
	return p == FREQUENCY ? PLANT_GATING_NONE : PLANT_GATING_SE;
}

static bool may_use(enum policy p, bool top, bool full)
{
	return (top || p == FREQUENCY || p == COORDINATED_CU || p == COORDINATED_SE) &&
	       (full || p != FREQUENCY);
}

/* A model at one configuration of the card. */
struct configuration {
	double ns, above_idle_w; /* busy */
};

static struct configuration configure(const struct plant_device *d, const struct plant_model *m,
				      uint32_t level, struct cu_shape shape, enum plant_gating g)
{
	struct plant_cost cost = plant_request_cost(d, m, d->level_mhz[level], shape, 1);
	struct plant_level l = plant_level_of(d, level);
	const struct plant_rates rates = {
		.busy_share = 1,
		.ungated_cus = plant_ungated_cus(d, g, shape),
		.flop = cost.flop / cost.ns,
		.bytes = cost.bytes / cost.ns,
		.uncore_share = cost.uncore_ns / cost.ns,
	};

	return (struct configuration){cost.ns,
				      plant_power_w(d, &l, &rates, /* kelvin= */ 0) - d->idle_w};
}

static struct configuration baseline(const struct plant_device *d, const struct plant_model *m)
{
	return configure(d, m, d->n_levels - 1, cu_shape_full(&d->topology), PLANT_GATING_NONE);
}

/* What a policy can do with a model, in units of the baseline's time. Only what it may use is
 * worked out: most candidates fail at the first fact. */
struct choices {
	uint32_t n;
	struct configuration all[MAX_CHOICES];
};

static void fill_choices(const struct plant_device *d, const struct plant_model *m, enum policy p,
			 struct choices *ret)
{
	struct cu_shape shapes[MAX_SHAPES];
	int n = cu_shapes(&d->topology, shapes, MAX_SHAPES);
	double baseline_ns = baseline(d, m).ns;

	ret->n = 0;
	for (uint32_t level = 0; level < d->n_levels; level++)
		for (int s = 0; s < n; s++) {
			struct configuration *c = &ret->all[ret->n];

			if (!may_use(p, level == d->n_levels - 1, s == n - 1))
				continue;
			*c = configure(d, m, level, shapes[s], gating_of(p));
			c->ns /= baseline_ns;
			ret->n += c->ns <= SLO_FACTOR;
		}
}

/* The least energy of a load that is found, W above idle: rates are looked up at the next higher
 * step. */
static double least_w(const struct choices *choices, double baseline_w, double load)
{
	double step = ceil(load * RATE_STEPS) / RATE_STEPS, least = load * baseline_w;

	for (uint32_t i = 0; i < choices->n; i++) {
		const struct configuration *c = &choices->all[i];

		if (step * c->ns <= UTILISATION)
			least = fmin(least, load * c->ns * c->above_idle_w);
	}
	return least;
}

/* Mean power over that of the baseline. */
static double model_ratio(const struct plant_device *d, const struct plant_model *m, enum policy p)
{
	double baseline_w = baseline(d, m).above_idle_w, policy_sum = 0, baseline_sum = 0;
	struct choices choices;

	fill_choices(d, m, p, &choices);
	for (size_t i = 0; i < ARRAY_SIZE(loads); i++) {
		policy_sum += d->idle_w + least_w(&choices, baseline_w, loads[i]);
		baseline_sum += d->idle_w + loads[i] * baseline_w;
	}
	return policy_sum / baseline_sum;
}

/* The geometric mean over the models, as the paper has it. */
static double power_ratio(const struct plant_device *d, struct plant_model *const models[MODELS],
			  enum policy p)
{
	double sum = 0;

	for (size_t i = 0; i < MODELS; i++)
		sum += log(model_ratio(d, models[i], p));
	return exp(sum / MODELS);
}

/* Of the model that draws most, busy all the time and as hot as that makes the card. */
static double most_w(const struct plant_device *d, struct plant_model *const models[MODELS])
{
	double most = 0, rise = d->thermal_ohm_k_per_w * d->leakage_w_per_k;

	for (size_t i = 0; i < MODELS; i++)
		most = fmax(most, baseline(d, models[i]).above_idle_w);
	return d->idle_w + most / (1 - rise);
}

static bool is_accepted(const struct plant_device *d, struct plant_model *const models[MODELS])
{
	if (most_w(d, models) > d->cap_w)
		return false;
	for (enum policy p = 0; p < POLICIES; p++)
		if (facts[p].tolerance > 0 &&
		    fabs(power_ratio(d, models, p) - facts[p].ratio) > facts[p].tolerance)
			return false;
	return true;
}

/* Values with the digits that the file has. */
static void draw(uint64_t candidate, struct plant_device *d)
{
	for (uint64_t i = 0; i < ENSEMBLE_COLUMNS; i++) {
		const struct ensemble_column *c = &ensemble_columns[i];
		double share = plant_uniform(SEED, candidate * ENSEMBLE_COLUMNS + i);
		char digits[32];

		(void)snprintf(digits, sizeof(digits), "%.4g", c->min + share * (c->max - c->min));
		*ensemble_value(d, c) = strtod(digits, NULL);
	}
}

static void print_member(FILE *f, uint32_t member, struct plant_device *d)
{
	(void)fprintf(f, "%u", member);
	for (uint32_t i = 0; i < ENSEMBLE_COLUMNS; i++)
		(void)fprintf(f, ",%.4g", *ensemble_value(d, &ensemble_columns[i]));
	(void)fputc('\n', f);
}

static void print_head(FILE *f, const struct plant_device *d)
{
	(void)fprintf(f,
		      "# made by tests/support/make-ensemble.c, which says how; do not edit\n"
		      "# %s: sets of what nobody has published, each with the published:\n",
		      d->product);
	for (enum policy p = 0; p < POLICIES; p++)
		if (facts[p].tolerance > 0)
			(void)fprintf(f,
				      "# mean power of %s over the ungoverned card's: %g +- %g\n",
				      facts[p].name, facts[p].ratio, facts[p].tolerance);
	(void)fprintf(f, "# idle %g W, at most %g W\nmember", d->idle_w, d->cap_w);
	for (uint32_t i = 0; i < ENSEMBLE_COLUMNS; i++)
		(void)fprintf(f, ",%s", ensemble_columns[i].name);
	(void)fputc('\n', f);
}

static int make(const struct plant_device *shipped, struct plant_model *const models[MODELS],
		FILE *f)
{
	uint32_t member = 0;

	print_head(f, shipped);
	for (uint64_t i = 0; i < MAX_CANDIDATES && member < TRUTH_ENSEMBLE; i++) {
		struct plant_device d = *shipped;

		draw(i, &d);
		if (is_accepted(&d, models))
			print_member(f, ++member, &d);
	}
	return member == TRUTH_ENSEMBLE ? 0 : -ENODATA;
}

static int show(const struct plant_device *shipped, struct plant_model *const models[MODELS])
{
	printf("member");
	for (enum policy p = 0; p < POLICIES; p++)
		printf(" %s", facts[p].name);
	printf(" most_w\n");
	for (uint32_t member = 0; member <= TRUTH_ENSEMBLE; member++) {
		struct plant_device d = *shipped;
		int r = member > 0 ? ensemble_load(member, &d) : 0;

		if (r < 0)
			return r;
		printf("%u", member);
		for (enum policy p = 0; p < POLICIES; p++)
			printf(" %.3f", power_ratio(&d, models, p));
		printf(" %.0f\n", most_w(&d, models));
	}
	return 0;
}

/* Whether the file holds just that text. */
static int compare(const char *path, const char *text, size_t size)
{
	_cleanup_(freep) char *shipped = malloc(size + 1);
	_cleanup_(fclosep) FILE *f = fopen(path, "re");

	if (!f || !shipped)
		return log_error_errno(f ? -ENOMEM : -errno, "%s: %m", path);
	if (fread(shipped, 1, size + 1, f) != size || memcmp(shipped, text, size) != 0)
		return log_error_errno(-ESTALE, "%s is not what make-ensemble makes", path);
	return 0;
}

static int check(const char *profiles, const struct plant_device *shipped,
		 struct plant_model *const models[MODELS])
{
	_cleanup_(freep) char *text = NULL;
	char path[4096];
	size_t size;
	FILE *f = open_memstream(&text, &size);
	int r;

	if (!f)
		return -ENOMEM;
	r = make(shipped, models, f);
	if (fclose(f) != 0 && r == 0)
		r = -ENOMEM;
	(void)snprintf(path, sizeof(path), "%s/devices/%s-ensemble.csv", profiles, shipped->name);
	return r == 0 ? compare(path, text, size) : r;
}

static int load(const char *profiles, struct plant_device **ret_device,
		struct plant_model *ret_models[MODELS])
{
	struct ini_error error;
	char path[4096];
	int r;

	(void)snprintf(path, sizeof(path), "%s/devices/mi50.ini", profiles);
	r = plant_device_load(path, ret_device, &error);
	for (size_t i = 0; i < MODELS && r == 0; i++) {
		(void)snprintf(path, sizeof(path), "%s/models/%s.ini", profiles, names[i]);
		r = plant_model_load(path, &ret_models[i], &error);
	}
	return r < 0 ? log_error_errno(r, "%s:%u: %s", path, error.line, error.text) : 0;
}

int main(int argc, char *argv[])
{
	_cleanup_(freep) struct plant_device *d = NULL;
	struct plant_model *models[MODELS] = {NULL};
	int r;

	log_init("make-ensemble", LOG_INFO);
	if (argc < 2 || argc > 3 ||
	    (argc == 3 && strcmp(argv[2], "--show") != 0 && strcmp(argv[2], "--check") != 0)) {
		log_error("usage: make-ensemble PROFILES [--show | --check]");
		return 2;
	}
	r = load(argv[1], &d, models);
	if (r == 0 && argc == 2)
		r = make(d, models, stdout);
	else if (r == 0 && strcmp(argv[2], "--show") == 0)
		r = show(d, models);
	else if (r == 0)
		r = check(argv[1], d, models);
	for (size_t i = 0; i < MODELS; i++)
		free(models[i]);
	if (r < 0)
		log_error_errno(r, "no ensemble: %m");
	return r < 0;
}
