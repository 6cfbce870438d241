/* SPDX-License-Identifier: Apache-2.0 */
#include "support/made-up-evaluation.h"
#include "plant/plant.h"
#include <math.h>
#include <string.h>

#define N_TICKS 240

static const char *const model_names[] = {
	"albert",     "alexnet",    "densenet201", "resnet152",
	"resnext101", "shufflenet", "squeezenet",  "vgg19",
};
static const struct {
	const char *name;
	double power, late;
} policies[] = {
	{"auto", 1, 0.002},	     {"maximum", 1.04, 0},	 {"frequency", 0.85, 0.05},
	{"resource", 0.97, 0.01},    {"coordinated", 0.84, 0.6}, {"adapter", 0.7, 31},
	{"adapter-tail", 0.82, 4},   {"cofris", 0.8, 0.11},	 {"oracle", 0.74, 0.11},
	{"oracle-rate", 0.77, 0.11},
};
#define N_POLICIES ARRAY_SIZE(policies)

struct made_up {
	struct evaluation_options options;
	struct evaluation evaluation;
	struct trace trace;
	struct load_curve curve;
	struct plant_device *device;
	struct plant_model *models[ARRAY_SIZE(model_names)];
};

static void *get(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		abort();
	return p;
}

static struct spread around(double x)
{
	return (struct spread){.median = x, .low = 0.98 * x, .high = 1.03 * x};
}

static uint32_t make_curve(struct curve_point *points, double power, double late)
{
	for (uint32_t i = 0; i < EVALUATE_HEADROOMS; i++) {
		double h = 0.4 + 0.1 * i;

		points[i] = (struct curve_point){
			.headroom = h,
			.excess_late_pct = late * pow(h / 0.9, 6),
			.power_vs_auto = power * (1.18 - 0.2 * h),
			.power_vs_maximum = power * (1.18 - 0.2 * h) / 1.04,
		};
	}
	return EVALUATE_HEADROOMS;
}

static void make_ticks(struct evaluation_row *row, double power, const struct plant_device *d)
{
	row->n_ticks = N_TICKS;
	row->ticks = get(N_TICKS, sizeof(*row->ticks));
	for (uint32_t i = 0; i < N_TICKS; i++) {
		double load = 0.5 + 0.4 * sin(i / 20.0);
		uint16_t level = (uint16_t)((d->n_levels - 1) * load);

		row->ticks[i] = (struct tick){
			.t_s = (float)(0.5 * (i + 1)),
			.load_rps = (float)(row->rated_rps * load),
			.demand_rps = (float)(row->rated_rps * (load + 0.06)),
			.power_w = (float)(power * (40 + 110 * load)),
			.sclk_mhz = (float)d->level_mhz[level],
			.p95_ms = (float)(row->slo_ms * (0.5 + 0.4 * load)),
			.configuration = {.level = level, .shape = (uint16_t)(31 * load)},
		};
	}
}

static void make_row(struct made_up *m, uint32_t model, uint32_t policy)
{
	struct evaluation_row *row = &m->evaluation.rows[model * N_POLICIES + policy];
	double power = policies[policy].power * (1 - 0.02 * model);
	bool oracle = strncmp(policies[policy].name, "oracle", 6) == 0;

	power *= policy > 1 ? 1.1 - 0.05 * m->options.slo_factor : 1;
	*row = (struct evaluation_row){
		.model = m->models[model]->name,
		.policy = policies[policy].name,
		.slo_ms = 10 + 2 * model,
		.rated_rps = 250.0 / (model + 1),
		.power_vs_auto = power,
		.power_vs_maximum = power / 1.04,
		.regret_pct = oracle ? NAN : 100 * (power / 0.74 - 1),
		.missed_pct = oracle ? NAN : 100 * (power - 0.74) / 0.26,
		.power_vs_auto_range = around(power),
		.power_vs_maximum_range = around(power / 1.04),
		.excess_late_range = around(policies[policy].late),
		.regret_range = around(oracle ? NAN : 12),
	};
	row->m = (struct measures){
		.requests = 100000 / (model + 1),
		.mean_power_w = 120 * power,
		.energy_j = 120 * power * 870,
		.energy_per_request_j = 120 * power * 870 / 1e5 * (model + 1),
		.idle_energy_pct = 1.0 / 3,
		.p50_ms = row->slo_ms * 0.4,
		.p95_ms = row->slo_ms * (policies[policy].late > 5 ? 3.2 : 1.62 - power),
		.p99_ms = row->slo_ms * 1.3,
		.request_attainment_pct = 100 - policies[policy].late,
		.excess_late_pct = policies[policy].late,
		.excess_bad_windows = policy,
		.windows = 87,
		.changes = 12.5 * policy,
		.mean_sclk_mhz = 1725 * power,
		.mean_cus = 60,
		.mean_batch = 1,
	};
	row->n_curve = make_curve(row->curve, power, policies[policy].late);
	if (oracle)
		row->n_curve = 1;
	make_ticks(row, power, m->device);
}

static void make_mean(struct made_up *m, uint32_t policy)
{
	struct evaluation_mean *mean = &m->evaluation.means[policy];
	const struct evaluation_row *row = &m->evaluation.rows[policy];

	*mean = (struct evaluation_mean){
		.policy = policies[policy].name,
		.power_vs_auto = row->power_vs_auto,
		.power_vs_maximum = row->power_vs_maximum,
		.regret_pct = row->regret_pct,
		.missed_pct = row->missed_pct,
		.power_vs_auto_range = row->power_vs_auto_range,
		.reaches = policies[policy].late < 20,
		.headroom_there = policies[policy].late < 20 ? 0.95 : NAN,
		.power_vs_auto_there = policies[policy].late < 20 ? row->power_vs_auto : NAN,
	};
	mean->n_curve = row->n_curve;
	memcpy(mean->curve, row->curve, sizeof(row->curve));
}

static struct surface *make_surface(const struct plant_device *d, uint32_t model)
{
	struct surface *s = get(1, sizeof(*s));
	struct cu_shape shapes[64];
	int n = cu_shapes(&d->topology, shapes, ARRAY_SIZE(shapes));

	s->workers = s->baseline_batch = 1;
	s->cells = get((size_t)n * d->n_levels, sizeof(*s->cells));
	for (uint32_t i = 0; i < d->n_levels; i++)
		for (int j = 0; j < n; j++) {
			struct surface_cell *c = &s->cells[s->n_cells++];
			double f = d->level_mhz[i] / 1725.0, cus = cu_shape_cus(shapes[j]);

			*c = (struct surface_cell){
				.max_mhz = d->level_mhz[i],
				.shape = shapes[j],
				.batch = 1,
				.workers = 1,
				.power_w = 40 + 60 * f * f * f + 60 * f * cus / 60,
			};
			c->service_ns[95] = (float)(1e6 * (2 + 0.3 * model + 60 / cus / f));
		}
	return s;
}

static struct plant_model *make_model(uint32_t i, bool hostile)
{
	struct plant_model *model = get(1, sizeof(*model));

	(void)snprintf(model->name, sizeof(model->name), "%s",
		       hostile && i == 1 ? MADE_UP_HOSTILE_MODEL : model_names[i]);
	return model;
}

static void make_options(struct made_up *m, uint32_t n_models, double slo_factor, bool hostile)
{
	struct evaluation_options *o = &m->options;

	m->curve = (struct load_curve){.n = 0};
	m->trace = (struct trace){
		.format = TRACE_SWIM,
		.curve = &m->curve,
		.duration_s = 900,
		.mean_load = 0.41234567,
		.smoothing_k = 11,
		.bin_s = 96,
		.n_lines = 6638,
	};
	*o = (struct evaluation_options){
		.trace_name = hostile ? MADE_UP_HOSTILE_TRACE : "day.tsv",
		.trace = &m->trace,
		.device = m->device,
		.n_models = n_models,
		.n_policies = N_POLICIES,
		.slo_factor = slo_factor,
		.percentile = 95,
		.headroom = 0.9,
		.service_cards = 3,
		.ensemble = 2,
		.switch_ms = 5,
		.dpm_ramp_ms = -1,
		.idle_active_share = -1,
		.seed = 1,
		.max_batch = 1,
		.headroom_sweep = true,
		.keep_ticks = true,
	};
	for (uint32_t i = 0; i < N_POLICIES; i++)
		o->policies[i] = policies[i].name;
	for (uint32_t i = 0; i < n_models; i++)
		o->models[i] = m->models[i] = make_model(i, hostile);
}

struct made_up *made_up_new(uint32_t n_models, double slo_factor, bool hostile)
{
	struct made_up *m = get(1, sizeof(*m));
	struct evaluation *e = &m->evaluation;
	struct ini_error error;

	if (plant_device_load(COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini", &m->device, &error) <
	    0)
		abort();
	make_options(m, n_models, slo_factor, hostile);
	e->options = &m->options;
	e->n_rows = n_models * (uint32_t)N_POLICIES;
	e->rows = get(e->n_rows, sizeof(*e->rows));
	e->n_means = N_POLICIES;
	e->means = get(e->n_means, sizeof(*e->means));
	for (uint32_t i = 0; i < n_models; i++) {
		e->surfaces[i] = make_surface(m->device, i);
		for (uint32_t j = 0; j < N_POLICIES; j++)
			make_row(m, i, j);
	}
	for (uint32_t j = 0; j < N_POLICIES; j++)
		make_mean(m, j);
	return m;
}

struct made_up *made_up_free(struct made_up *m)
{
	if (!m)
		return NULL;
	for (uint32_t i = 0; i < m->evaluation.n_rows; i++)
		free(m->evaluation.rows[i].ticks);
	for (uint32_t i = 0; i < m->options.n_models; i++) {
		free(m->evaluation.surfaces[i]->cells);
		free(m->evaluation.surfaces[i]);
		free(m->models[i]);
	}
	free(m->evaluation.rows);
	free(m->evaluation.means);
	free(m->device);
	free(m);
	return NULL;
}

const struct evaluation *made_up_evaluation(const struct made_up *m)
{
	return &m->evaluation;
}

struct evaluation_options *made_up_options(struct made_up *m)
{
	return &m->options;
}

struct trace *made_up_trace(struct made_up *m)
{
	return &m->trace;
}

struct evaluation_row *made_up_row(struct made_up *m, uint32_t i)
{
	return &m->evaluation.rows[i];
}
