/* SPDX-License-Identifier: Apache-2.0 */
/* The card through librocm_smi64, opened at run time. Debian's 5.2.3 is built with assertions and
 * reads without checks, so each file is read and judged by our own parsers right before the call
 * that reads it (kernel-files.h). What the library reports about a write is not believed: it calls
 * a refused power cap a success. Level and cap are read back here, the level under a clock cap by
 * the sample that the caller takes after it. Sensors that it does not have come from the same files
 * as in the sysfs backend. */
#include "base/units.h"
#include "gpu/gpu-backend.h"
#include "gpu/gpu-sysfs.h"
#include "gpu/rsmi-guard.h"

#include <dlfcn.h>
#include <errno.h>
#include <rocm_smi/rocm_smi.h>
#include <string.h>

#define RSMI_FUNCTIONS(X)                                                                          \
	X(rsmi_init)                                                                               \
	X(rsmi_shut_down)                                                                          \
	X(rsmi_num_monitor_devices)                                                                \
	X(rsmi_dev_pci_id_get)                                                                     \
	X(rsmi_dev_perf_level_get)                                                                 \
	X(rsmi_dev_perf_level_set_v1)                                                              \
	X(rsmi_dev_gpu_clk_freq_get)                                                               \
	X(rsmi_dev_gpu_clk_freq_set)                                                               \
	X(rsmi_dev_power_ave_get)                                                                  \
	X(rsmi_dev_power_cap_get)                                                                  \
	X(rsmi_dev_power_cap_set)                                                                  \
	X(rsmi_dev_temp_metric_get)                                                                \
	X(rsmi_dev_busy_percent_get)

struct rsmi_library {
	struct gpu_backend backend;
	void *handle;
	bool layouts_are_ours; /* the 5.x line, whose structs the header describes */
	uint32_t n_cards;
	char bdf[GPU_MAX_CARDS][PCI_BDF_LENGTH + 1]; /* by the library's index */
#define X(f) __typeof__(&f) f;
	RSMI_FUNCTIONS(X)
#undef X
};

struct gpu_rsmi {
	struct gpu gpu;
	const struct rsmi_library *library;
	uint32_t index;
	struct gpu_sysfs *files;
};

static const struct gpu_ops rsmi_ops;

static const struct {
	rsmi_status_t status;
	int error;
} status_errors[] = {
	{RSMI_STATUS_SUCCESS, 0},
	{RSMI_STATUS_INVALID_ARGS, -EINVAL},
	{RSMI_STATUS_NOT_SUPPORTED, -EOPNOTSUPP},
	{RSMI_STATUS_FILE_ERROR, -EIO},
	{RSMI_STATUS_PERMISSION, -EACCES},
	{RSMI_STATUS_OUT_OF_RESOURCES, -ENOMEM},
	{RSMI_STATUS_INTERNAL_EXCEPTION, -EIO},
	{RSMI_STATUS_INPUT_OUT_OF_BOUNDS, -EINVAL},
	{RSMI_STATUS_INIT_ERROR, -ENODEV},
	{RSMI_STATUS_NOT_YET_IMPLEMENTED, -EOPNOTSUPP},
	{RSMI_STATUS_NOT_FOUND, -ENODEV},
	{RSMI_STATUS_INSUFFICIENT_SIZE, -EBADMSG},
	{RSMI_STATUS_INTERRUPT, -EINTR},
	{RSMI_STATUS_UNEXPECTED_SIZE, -EIO},
	{RSMI_STATUS_NO_DATA, -ENODATA},
	{RSMI_STATUS_UNEXPECTED_DATA, -EBADMSG},
	{RSMI_STATUS_BUSY, -EBUSY},
	{RSMI_STATUS_REFCOUNT_OVERFLOW, -EOVERFLOW},
};

static int rsmi_to_errno(rsmi_status_t status)
{
	for (size_t i = 0; i < ARRAY_SIZE(status_errors); i++)
		if (status_errors[i].status == status)
			return status_errors[i].error;
	return -EIO;
}

static const struct {
	rsmi_dev_perf_level_t theirs;
	enum gpu_perf_level ours;
} perf_levels[] = {
	{RSMI_DEV_PERF_LEVEL_AUTO, GPU_PERF_AUTO},
	{RSMI_DEV_PERF_LEVEL_LOW, GPU_PERF_LOW},
	{RSMI_DEV_PERF_LEVEL_HIGH, GPU_PERF_HIGH},
	{RSMI_DEV_PERF_LEVEL_MANUAL, GPU_PERF_MANUAL},
	{RSMI_DEV_PERF_LEVEL_UNKNOWN, GPU_PERF_UNKNOWN},
};

static struct gpu_rsmi *gpu_rsmi(struct gpu *g)
{
	if (g->ops != &rsmi_ops)
		abort();
	return container_of(g, struct gpu_rsmi, gpu);
}

/* ---- the library ---- */
static int resolve(struct rsmi_library *l)
{
	/* What upstream calls .so.6 and .so.7 begins rsmi_frequencies_t with another field. */
	static const struct {
		const char *soname;
		bool layouts_are_ours;
	} names[] = {
		{"librocm_smi64.so.1", true}, /* Debian's 5.2.3 */
		{"librocm_smi64.so.5", true},
		{"librocm_smi64.so.6", false},
		{"librocm_smi64.so.7", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(names) && !l->handle; i++) {
		l->handle = dlopen(names[i].soname, RTLD_NOW | RTLD_LOCAL);
		l->layouts_are_ours = names[i].layouts_are_ours;
	}
	if (!l->handle)
		return -ENOENT;
#define X(f)                                                                                       \
	l->f = (__typeof__(&f))dlsym(l->handle, #f);                                               \
	if (!l->f)                                                                                 \
		return -ENOENT;
	RSMI_FUNCTIONS(X)
#undef X
	return 0;
}

static int read_index(struct rsmi_library *l)
{
	uint32_t n = 0;
	int r;

	r = rsmi_to_errno(l->rsmi_num_monitor_devices(&n));
	if (r < 0)
		return r;
	l->n_cards = MIN(n, (uint32_t)GPU_MAX_CARDS);
	for (uint32_t i = 0; i < l->n_cards; i++) {
		uint64_t id = 0;

		r = rsmi_to_errno(l->rsmi_dev_pci_id_get(i, &id));
		if (r < 0)
			return r;
		(void)snprintf(l->bdf[i], sizeof(l->bdf[i]), "%04x:%02x:%02x.%x",
			       (unsigned int)(id >> 32) & 0xffff, (unsigned int)(id >> 8) & 0xff,
			       (unsigned int)(id >> 3) & 0x1f, (unsigned int)id & 7);
	}
	return l->n_cards > 0 ? 0 : -ENODEV;
}

static int initialise(struct rsmi_library *l)
{
	/* Debian's build obeys them: one prints to stdout, one hangs, two redirect a file. */
	static const char *const variables[] = {
		"RSMI_DEBUG_BITFIELD",		"RSMI_DEBUG_INFINITE_LOOP",
		"RSMI_DEBUG_DRM_ROOT_OVERRIDE", "RSMI_DEBUG_HWMON_ROOT_OVERRIDE",
		"RSMI_DEBUG_PP_ROOT_OVERRIDE",	"RSMI_DEBUG_ENUM_OVERRIDE",
	};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
		(void)unsetenv(variables[i]);
	r = rsmi_heal_mutexes(RSMI_MUTEX_FOLDER);
	if (r < 0)
		return r;
	r = rsmi_to_errno(l->rsmi_init(0));
	if (r < 0)
		return r;
	r = read_index(l);
	/* Without it the mutexes would stay held by us for ever. */
	if (r < 0)
		(void)l->rsmi_shut_down();
	return r;
}

static struct rsmi_library *loaded;

static void unload(void)
{
	(void)loaded->rsmi_shut_down();
}

int gpu_backend_rsmi_load(const char *sysfs_root, const struct gpu_backend **ret)
{
	_cleanup_(freep) struct rsmi_library *l = NULL;
	int r;

	/* It knows no other root, and its state is one per process. */
	if (strcmp(sysfs_root, "/sys") != 0)
		return -EOPNOTSUPP;
	if (loaded) {
		*ret = &loaded->backend;
		return 0;
	}
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->backend.ops = &rsmi_ops;
	/* Never unloaded again, even on an error: nobody tests that path of the library. */
	r = resolve(l);
	if (r < 0)
		return r;
	r = rsmi_vet_tree(sysfs_root);
	if (r < 0)
		return r;
	r = initialise(l);
	if (r < 0)
		return r;
	loaded = TAKE_PTR(l);
	(void)atexit(unload);
	*ret = &loaded->backend;
	return 0;
}

/* ---- opening ---- */
/* The library counts levels as we do; otherwise our mask would mean something else to it. */
static int compare_levels(struct gpu_rsmi *g)
{
	rsmi_frequencies_t theirs = {0};
	struct dpm_levels ours;
	int r;

	r = gpu_sysfs_levels(g->files, &ours);
	if (r == -EOPNOTSUPP)
		return 0;
	if (r < 0 || !g->library->layouts_are_ours)
		return r;
	r = rsmi_to_errno(
		g->library->rsmi_dev_gpu_clk_freq_get(g->index, RSMI_CLK_TYPE_SYS, &theirs));
	if (r < 0)
		return r;
	if (theirs.num_supported != ours.n)
		return -EBADMSG;
	for (uint32_t i = 0; i < ours.n; i++)
		if (theirs.frequency[i] != ours.mhz[i] * UINT64_C(1000000))
			return -EBADMSG;
	return 0;
}

static void gpu_rsmi_close(struct gpu *gpu)
{
	struct gpu_rsmi *g = gpu_rsmi(gpu);

	gpu_sysfs_free(g->files);
	free(g);
}

static int gpu_rsmi_open(const struct gpu_backend *backend, const char *sysfs_root, const char *bdf,
			 struct gpu **ret)
{
	const struct rsmi_library *l = container_of(backend, struct rsmi_library, backend);
	_cleanup_(gpu_closep) struct gpu *gpu = NULL;
	struct gpu_rsmi *g;
	int r;

	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	g->gpu.ops = &rsmi_ops;
	gpu = &g->gpu;
	g->library = l;
	while (g->index < l->n_cards && strcmp(l->bdf[g->index], bdf) != 0)
		g->index++;
	/* An index that it does not know is a segmentation fault. */
	if (g->index == l->n_cards)
		return -ENODEV;
	r = gpu_sysfs_new(sysfs_root, bdf, &g->files);
	if (r < 0)
		return r;
	r = compare_levels(g);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(gpu);
	return 0;
}

/* ---- writes ---- */
/* Every refused write is NOT_SUPPORTED to the library, whatever the kernel said. A card in a reset
 * or gone says so to a read as well. */
static int refused_write(struct gpu_rsmi *g)
{
	enum gpu_perf_level level;
	int r;

	r = gpu_sysfs_perf_level(g->files, &level);
	return r < 0 ? r : -EIO;
}

static int gpu_rsmi_set_perf_level(struct gpu *gpu, enum gpu_perf_level level)
{
	struct gpu_rsmi *g = gpu_rsmi(gpu);
	enum gpu_perf_level now;
	int r = -EINVAL;

	if (level > GPU_PERF_MANUAL)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(perf_levels); i++)
		if (perf_levels[i].ours == level)
			r = rsmi_to_errno(
				g->library->rsmi_dev_perf_level_set_v1(g->index,
								       perf_levels[i].theirs));
	if (r < 0)
		return refused_write(g);
	r = gpu_sysfs_perf_level(g->files, &now);
	if (r < 0)
		return r;
	return now == level ? 0 : -EIO;
}

static int gpu_rsmi_cap_clock(struct gpu *gpu, uint32_t min_mhz, uint32_t max_mhz,
			      uint32_t *ret_max_mhz)
{
	struct gpu_rsmi *g = gpu_rsmi(gpu);
	struct dpm_levels l;
	uint32_t first, last;
	uint64_t mask;
	int r;

	r = gpu_sysfs_levels(g->files, &l);
	if (r < 0)
		return r;
	r = gpu_levels_range(&l, min_mhz, max_mhz, &first, &last);
	if (r < 0)
		return r;
	mask = ((UINT64_C(1) << (last + 1)) - 1) & ~((UINT64_C(1) << first) - 1);
	/* Writes manual itself, each time; so the level need not be read before. */
	r = rsmi_to_errno(g->library->rsmi_dev_gpu_clk_freq_set(g->index, RSMI_CLK_TYPE_SYS, mask));
	if (r < 0)
		return refused_write(g);
	*ret_max_mhz = l.mhz[last];
	return 0;
}

/* Whether the library may touch the card's hwmon: it aborts without one. */
static int vet_hwmon(struct gpu_rsmi *g, enum gpu_file file, uint64_t *ret)
{
	if (!gpu_sysfs_hwmon_is_plain(g->files))
		return -EOPNOTSUPP;
	return gpu_sysfs_number(g->files, file, ret);
}

static int gpu_rsmi_set_power_cap(struct gpu *gpu, uint64_t cap_uw)
{
	static const enum gpu_file read_by_it[] = {GPU_FILE_CAP, GPU_FILE_CAP_MAX,
						   GPU_FILE_CAP_MIN};
	struct gpu_rsmi *g = gpu_rsmi(gpu);
	uint64_t now_uw;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(read_by_it); i++) {
		r = vet_hwmon(g, read_by_it[i], &now_uw);
		if (r < 0)
			return r;
	}
	r = rsmi_to_errno(g->library->rsmi_dev_power_cap_set(g->index, 0, cap_uw));
	if (r == 0)
		r = gpu_sysfs_number(g->files, GPU_FILE_CAP, &now_uw);
	if (r < 0)
		return r;
	/* The kernel cuts to whole watts. */
	return now_uw / UW_PER_W == cap_uw / UW_PER_W ? 0 : -EIO;
}

/* ---- reads ---- */
static int gpu_rsmi_get_perf_level(struct gpu *gpu, enum gpu_perf_level *ret)
{
	struct gpu_rsmi *g = gpu_rsmi(gpu);
	rsmi_dev_perf_level_t theirs;
	enum gpu_perf_level level;
	int r;

	r = gpu_sysfs_perf_level(g->files, &level);
	if (r < 0)
		return r;
	r = rsmi_to_errno(g->library->rsmi_dev_perf_level_get(g->index, &theirs));
	if (r < 0)
		return r;
	level = GPU_PERF_OTHER;
	for (size_t i = 0; i < ARRAY_SIZE(perf_levels); i++)
		if (perf_levels[i].theirs == theirs)
			level = perf_levels[i].ours;
	*ret = level;
	return 0;
}

static int gpu_rsmi_get_power_cap(struct gpu *gpu, uint64_t *ret_uw)
{
	struct gpu_rsmi *g = gpu_rsmi(gpu);
	uint64_t cap_uw;
	int r;

	r = vet_hwmon(g, GPU_FILE_CAP, &cap_uw);
	if (r == 0)
		r = rsmi_to_errno(g->library->rsmi_dev_power_cap_get(g->index, 0, &cap_uw));
	if (r == 0)
		*ret_uw = cap_uw;
	return r;
}

static int read_power(struct gpu_rsmi *g, uint64_t *ret)
{
	int r;

	r = vet_hwmon(g, GPU_FILE_POWER_AVERAGE, ret);
	if (r == -EOPNOTSUPP)
		return gpu_sysfs_number(g->files, GPU_FILE_POWER_INPUT, ret);
	if (r < 0)
		return r;
	return rsmi_to_errno(g->library->rsmi_dev_power_ave_get(g->index, 0, ret));
}

static int read_busy(struct gpu_rsmi *g, uint32_t *ret)
{
	uint64_t value;
	int r;

	/* The library calls an empty file an idle card. */
	r = gpu_sysfs_number(g->files, GPU_FILE_BUSY, &value);
	if (r < 0)
		return r;
	return rsmi_to_errno(g->library->rsmi_dev_busy_percent_get(g->index, ret));
}

static int read_temp(struct gpu_rsmi *g, int32_t *ret)
{
	uint32_t type = gpu_sysfs_temp_is_junction(g->files) ? RSMI_TEMP_TYPE_JUNCTION
							     : RSMI_TEMP_TYPE_EDGE;
	int64_t value = 0;
	int r;

	r = gpu_sysfs_temp_mc(g->files, ret);
	if (r < 0 || !gpu_sysfs_hwmon_is_plain(g->files))
		return r;
	r = rsmi_to_errno(
		g->library->rsmi_dev_temp_metric_get(g->index, type, RSMI_TEMP_CURRENT, &value));
	if (r == 0)
		*ret = (int32_t)value;
	return r;
}

static int gpu_rsmi_sample(struct gpu *gpu, uint64_t now_ns, struct gpu_sample *ret)
{
	struct gpu_rsmi *g = gpu_rsmi(gpu);
	struct gpu_sample s = {.taken_ns = now_ns};
	int r;

	r = gpu_sample_note(&s, GPU_HAS_POWER, read_power(g, &s.power_uw));
	if (r == 0)
		r = gpu_sample_note(&s, GPU_HAS_BUSY, read_busy(g, &s.busy_percent));
	if (r == 0)
		r = gpu_sysfs_clock(g->files, &s);
	if (r == 0)
		r = gpu_sample_note(&s, GPU_HAS_TEMP, read_temp(g, &s.temp_mc));
	if (r == 0)
		r = gpu_sample_note(&s, GPU_HAS_CAP, gpu_rsmi_get_power_cap(gpu, &s.cap_uw));
	if (r == 0)
		r = gpu_sample_note(&s, GPU_HAS_PERF, gpu_rsmi_get_perf_level(gpu, &s.perf_level));
	if (r < 0)
		return r;
	gpu_sysfs_ras(g->files, &s);
	*ret = s;
	return 0;
}

static int gpu_rsmi_info(struct gpu *gpu, struct gpu_info *ret)
{
	return gpu_sysfs_info(gpu_rsmi(gpu)->files, ret);
}

static int gpu_rsmi_processes(struct gpu *gpu, struct gpu_process *ret, uint32_t max)
{
	/* Its own list takes another abort per odd entry. */
	return gpu_sysfs_processes(gpu_rsmi(gpu)->files, ret, max);
}

static const struct gpu_ops rsmi_ops = {
	.name = "rsmi",
	.open = gpu_rsmi_open,
	.close = gpu_rsmi_close,
	.info = gpu_rsmi_info,
	.cap_clock = gpu_rsmi_cap_clock,
	.set_perf_level = gpu_rsmi_set_perf_level,
	.set_power_cap = gpu_rsmi_set_power_cap,
	.get_perf_level = gpu_rsmi_get_perf_level,
	.get_power_cap = gpu_rsmi_get_power_cap,
	.sample = gpu_rsmi_sample,
	.processes = gpu_rsmi_processes,
};
