/* SPDX-License-Identifier: Apache-2.0 */
#include "test-actuator-fake.h"
#include "base/units.h"
#include "test-gpu-fixture.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#define MAX_STEPS 16

struct fake_gpu {
	struct gpu gpu;
	const char *side; /* "io" or "w" */
	struct fake_card *card;
	struct fake_gpu *next; /* fake_gpus */
};

struct fake_card fake_cards[FAKE_CARDS];
static struct {
	const char *operation;
	int r;
	bool used;
} steps[MAX_STEPS];
static int n_steps;
static struct fake_gpu *fake_gpus;
static char writes[4096], writes_read[4096];

static const uint32_t levels[] = {925, 930, 1032, 1143, 1282, 1386, 1485, 1606, 1725};

static struct fake_gpu *fake_gpu(struct gpu *g)
{
	return container_of(g, struct fake_gpu, gpu);
}

static void fake_close(struct gpu *gpu)
{
	struct fake_gpu *g = fake_gpu(gpu), **p = &fake_gpus;

	while (*p != g)
		p = &(*p)->next;
	*p = g->next;
	free(g);
}

void fake_reset(void)
{
	static const char *const addresses[FAKE_CARDS] = {TREE_BDF, TREE_BDF2};

	while (fake_gpus)
		fake_close(&fake_gpus->gpu);
	n_steps = 0;
	writes[0] = '\0';
	memset(fake_cards, 0, sizeof(fake_cards));
	for (int i = 0; i < FAKE_CARDS; i++) {
		struct fake_card *c = &fake_cards[i];
		struct gpu_info *info = &c->info;

		(void)strcpy(info->bdf, addresses[i]);
		(void)strcpy(info->name, "MI50");
		(void)strcpy(info->gfx, "gfx906");
		info->unique_id = UINT64_C(0x21700172fd7f1234); /* as in the tree */
		info->n_cus = 60;
		info->n_se = 4;
		info->n_sh_per_se = info->n_xcc = 1;
		info->n_levels = ARRAY_SIZE(levels);
		memcpy(info->level_mhz, levels, sizeof(levels));
		info->cap_max_uw = info->cap_default_uw = 225 * UW_PER_W;
		info->can_cap_clock = info->can_cap_power = true;
		c->level = GPU_PERF_AUTO;
		c->cap_uw = 225 * UW_PER_W;
		c->sample.fields = GPU_HAS_POWER | GPU_HAS_BUSY | GPU_HAS_SCLK | GPU_HAS_TEMP;
		c->sample.power_uw = 15 * UW_PER_W;
		c->sample.sclk_mhz = 930;
		c->sample.temp_mc = 19000;
	}
}

void fake_expect(const char *operation, int r)
{
	if (n_steps >= MAX_STEPS)
		abort();
	steps[n_steps].operation = operation;
	steps[n_steps].r = r;
	steps[n_steps++].used = false;
}

int fake_unused(void)
{
	int n = 0;

	for (int i = 0; i < n_steps; i++)
		n += !steps[i].used;
	return n;
}

const char *fake_writes(void)
{
	memcpy(writes_read, writes, sizeof(writes));
	writes[0] = '\0';
	return writes_read;
}

static void _printf_(2, 3) record(const struct fake_gpu *g, const char *format, ...)
{
	size_t length = strlen(writes);
	va_list ap;

	length += (size_t)snprintf(writes + length, sizeof(writes) - length, "%s ", g->side);
	va_start(ap, format);
	length += (size_t)vsnprintf(writes + length, sizeof(writes) - length, format, ap);
	va_end(ap);
	(void)snprintf(writes + length, sizeof(writes) - length, "; ");
}

/* Whether a write that succeeds also has its effect. */
static bool has_effect(const struct fake_gpu *g)
{
	return !g->card->drop_writes || strcmp(g->side, "io") != 0;
}

/* The scripted result of this operation on this side; 0 without a step. */
static int script(const struct fake_gpu *g, const char *operation)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "%s %s", g->side, operation);
	for (int i = 0; i < n_steps; i++)
		if (!steps[i].used && strcmp(steps[i].operation, name) == 0) {
			steps[i].used = true;
			return steps[i].r;
		}
	return 0;
}

static int fake_open(const struct gpu_backend *backend, _unused_ const char *sysfs_root,
		     const char *bdf, struct gpu **ret)
{
	struct fake_gpu *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return -ENOMEM;
	g->gpu.ops = backend->ops;
	g->side = backend == &fake_io ? "io" : "w";
	for (int i = 0; i < FAKE_CARDS; i++)
		if (strcmp(fake_cards[i].info.bdf, bdf) == 0)
			g->card = &fake_cards[i];
	r = g->card ? script(g, "open") : -ENODEV;
	if (r < 0) {
		free(g);
		return r;
	}
	g->next = fake_gpus;
	fake_gpus = g;
	*ret = &g->gpu;
	return 0;
}

static int fake_info(struct gpu *g, struct gpu_info *ret)
{
	int r = script(fake_gpu(g), "info");

	if (r == 0)
		*ret = fake_gpu(g)->card->info;
	return r;
}

static int fake_set_perf_level(struct gpu *gpu, enum gpu_perf_level level)
{
	struct fake_gpu *g = fake_gpu(gpu);
	int r = script(g, "perf");

	record(g, "perf %s%s", gpu_perf_level_name(level), r < 0 ? " failed" : "");
	if (r == 0 && has_effect(g)) {
		g->card->level = level;
		if (level != GPU_PERF_MANUAL)
			g->card->max_mhz = 0;
	}
	return r;
}

static int fake_cap_clock(struct gpu *gpu, uint32_t min_mhz, uint32_t max_mhz,
			  uint32_t *ret_max_mhz)
{
	struct fake_gpu *g = fake_gpu(gpu);
	const struct gpu_info *i = &g->card->info;
	int r = script(g, "clock");
	uint32_t level = i->level_mhz[0];

	record(g, "clock %u-%u%s", min_mhz, max_mhz, r < 0 ? " failed" : "");
	if (r < 0)
		return r;
	for (uint32_t k = 0; k < i->n_levels; k++)
		if (i->level_mhz[k] <= max_mhz)
			level = i->level_mhz[k];
	*ret_max_mhz = level;
	if (!has_effect(g))
		return 0;
	g->card->level = GPU_PERF_MANUAL;
	g->card->max_mhz = level;
	return 0;
}

static int fake_set_power_cap(struct gpu *gpu, uint64_t cap_uw)
{
	struct fake_gpu *g = fake_gpu(gpu);
	int r = script(g, "cap");

	record(g, "cap %u%s", (unsigned int)(cap_uw / UW_PER_W), r < 0 ? " failed" : "");
	if (r == 0 && has_effect(g))
		g->card->cap_uw = cap_uw;
	return r;
}

static int fake_get_perf_level(struct gpu *gpu, enum gpu_perf_level *ret)
{
	int r = script(fake_gpu(gpu), "get-perf");

	if (r == 0)
		*ret = fake_gpu(gpu)->card->level;
	return r;
}

static int fake_get_power_cap(struct gpu *gpu, uint64_t *ret_uw)
{
	int r = script(fake_gpu(gpu), "get-cap");

	if (r == 0)
		*ret_uw = fake_gpu(gpu)->card->cap_uw;
	return r;
}

static int fake_sample(struct gpu *gpu, uint64_t now_ns, struct gpu_sample *ret)
{
	struct fake_gpu *g = fake_gpu(gpu);
	int r = script(g, "sample");

	if (r < 0)
		return r;
	*ret = g->card->sample;
	ret->taken_ns = now_ns;
	ret->fields |= GPU_HAS_PERF | GPU_HAS_CAP;
	ret->fields &= ~g->card->hidden;
	ret->perf_level = g->card->level;
	ret->cap_uw = g->card->cap_uw;
	return 0;
}

static int fake_processes(struct gpu *gpu, struct gpu_process *ret, uint32_t max)
{
	struct fake_gpu *g = fake_gpu(gpu);
	int r = script(g, "processes");

	if (r < 0)
		return r;
	for (int i = 0; i < g->card->n_processes && i < (int)max; i++)
		ret[i] = g->card->processes[i];
	return g->card->n_processes;
}

static const struct gpu_ops fake_ops = {
	.name = "fake",
	.open = fake_open,
	.close = fake_close,
	.info = fake_info,
	.cap_clock = fake_cap_clock,
	.set_perf_level = fake_set_perf_level,
	.set_power_cap = fake_set_power_cap,
	.get_perf_level = fake_get_perf_level,
	.get_power_cap = fake_get_power_cap,
	.sample = fake_sample,
	.processes = fake_processes,
};

const struct gpu_backend fake_io = {.ops = &fake_ops};
const struct gpu_backend fake_writer = {.ops = &fake_ops};
