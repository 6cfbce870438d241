/* SPDX-License-Identifier: Apache-2.0 */
/* The two INI readers: devices and models. Every key is needed exactly once and checked against
 * its row in a table. */
#include "base/macros.h"
#include "base/parse.h"
#include "plant/plant.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

enum kind { TEXT, HEX16, U32, NUMBER, U32_LIST, NUMBER_LIST };

struct key {
	const char *section, *name;
	enum kind kind;
	size_t offset, size;
	double min, max;     /* of a number, or of each in a list */
	size_t count_offset; /* lists: where their length goes */
};

#define MAX_KEYS 96

/* One file being read into one struct: the rows seen so far. */
struct reader {
	const struct key *keys;
	uint32_t n_keys;
	char *base; /* of the struct that the offsets count from */
	bool seen[MAX_KEYS];
};

/* What is read of a device that is not in struct plant_device as such. */
struct device_file {
	struct plant_device device;
	uint32_t shader_engines, arrays_per_engine, cus_per_array, xccs, vram_mib;
	uint32_t n_mv;
};

static int bad_value(const struct key *k, const char *value, struct ini_error *error)
{
	return ini_error_set(error, -EINVAL, "%s = %.60s: expected %s from %g to %g", k->name,
			     value,
			     k->kind == U32 || k->kind == U32_LIST ? "an integer" : "a number",
			     k->min, k->max);
}

static bool number_from(const char *text, const struct key *k, double *ret)
{
	uint32_t integer;
	double number;

	if (k->kind == U32 || k->kind == U32_LIST) {
		if (parse_u32(text, &integer) < 0)
			return false;
		number = integer;
	} else if (parse_double(text, &number) < 0) {
		return false;
	}
	if (!(number >= k->min && number <= k->max))
		return false;
	*ret = number;
	return true;
}

static int set_text(const struct key *k, const char *value, char *base, struct ini_error *error)
{
	size_t length = strlen(value);

	if (length == 0 || length >= k->size)
		return ini_error_set(error, -EINVAL, "%s: expected 1 to %zu bytes of text", k->name,
				     k->size - 1);
	memcpy(base + k->offset, value, length + 1);
	return 0;
}

static int set_hex16(const struct key *k, const char *value, char *base, struct ini_error *error)
{
	uint32_t id;
	char digits[5];

	if (sscanf(value, "0x%4[0-9a-f]", digits) != 1 || strlen(value) != 2 + strlen(digits))
		return ini_error_set(error, -EINVAL,
				     "%s = %.60s: expected 0x and 1 to 4 digits of 0-9a-f", k->name,
				     value);
	id = (uint32_t)strtoul(digits, NULL, 16);
	memcpy(base + k->offset, &id, sizeof(id));
	return 0;
}

static void store_number(const struct key *k, double number, char *base, uint32_t index)
{
	char *field = base + k->offset;
	uint32_t integer = (uint32_t)number;

	if (k->kind == U32 || k->kind == U32_LIST)
		memcpy(field + index * sizeof(integer), &integer, sizeof(integer));
	else
		memcpy(field + index * sizeof(number), &number, sizeof(number));
}

static int set_number(const struct key *k, const char *value, char *base, struct ini_error *error)
{
	double number;

	if (!number_from(value, k, &number))
		return bad_value(k, value, error);
	store_number(k, number, base, 0);
	return 0;
}

static int set_list(const struct key *k, const char *value, char *base, struct ini_error *error)
{
	char copy[INI_LINE_MAX + 1], *rest = NULL;
	uint32_t n = 0;

	(void)snprintf(copy, sizeof(copy), "%s", value);
	for (char *word = strtok_r(copy, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
		double number;

		if (n == PLANT_MAX_LEVELS)
			return ini_error_set(error, -EINVAL, "%s: more than %d values", k->name,
					     PLANT_MAX_LEVELS);
		if (!number_from(word, k, &number))
			return bad_value(k, word, error);
		store_number(k, number, base, n++);
	}
	if (n == 0)
		return ini_error_set(error, -EINVAL, "%s: no values", k->name);
	memcpy(base + k->count_offset, &n, sizeof(n));
	return 0;
}

static int (*const setters[])(const struct key *k, const char *value, char *base,
			      struct ini_error *error) = {
	[TEXT] = set_text,     [HEX16] = set_hex16,   [U32] = set_number,
	[NUMBER] = set_number, [U32_LIST] = set_list, [NUMBER_LIST] = set_list,
};

static int set_key(struct reader *reader, const struct key *k, const char *value,
		   struct ini_error *error)
{
	if (reader->seen[k - reader->keys])
		return ini_error_set(error, -EEXIST, "%s is given twice", k->name);
	reader->seen[k - reader->keys] = true;
	return setters[k->kind](k, value, reader->base, error);
}

static int unknown_key(const struct reader *reader, const char *section, const char *name,
		       struct ini_error *error)
{
	const char *names[MAX_KEYS], *near;
	unsigned int n = 0;

	for (uint32_t i = 0; i < reader->n_keys; i++)
		if (strcmp(reader->keys[i].section, section) == 0)
			names[n++] = reader->keys[i].name;
	near = nearest_name(name, names, n);
	return ini_error_set(error, -EINVAL, "unknown key '%.60s' in [%.60s]%s%s%s", name, section,
			     near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int assign(struct reader *reader, const char *section, const char *name, const char *value,
		  struct ini_error *error)
{
	for (uint32_t i = 0; i < reader->n_keys; i++) {
		const struct key *k = &reader->keys[i];

		if (strcmp(k->section, section) == 0 && strcmp(k->name, name) == 0)
			return set_key(reader, k, value, error);
	}
	return unknown_key(reader, section, name, error);
}

/* The first key that was never given, or NULL. */
static const struct key *missing_key(const struct reader *reader)
{
	for (uint32_t i = 0; i < reader->n_keys; i++)
		if (!reader->seen[i])
			return &reader->keys[i];
	return NULL;
}

static int parse_path(const char *path, ini_row_fn row, void *userdata, struct ini_error *error)
{
	_cleanup_(fclosep) FILE *file = fopen(path, "re");
	int r;

	*error = (struct ini_error){0};
	if (!file) {
		r = -errno;
		return ini_error_set(error, r, "cannot open %.150s: %s", path, strerror(-r));
	}
	return ini_file_parse(file, row, userdata, error);
}

/* ---- devices ---- */

#define AT(field) offsetof(struct device_file, field), sizeof(((struct device_file *)0)->field)
#define DEVICE_TEXT(s, n, field)                                                                   \
	{                                                                                          \
		s, n, TEXT, AT(device.field), 0, 0, 0                                              \
	}
#define DEVICE_U32(s, n, field, min, max)                                                          \
	{                                                                                          \
		s, n, U32, AT(field), min, max, 0                                                  \
	}
#define DEVICE_NUMBER(s, n, min, max)                                                              \
	{                                                                                          \
		s, #n, NUMBER, AT(device.n), min, max, 0                                           \
	}
#define DEVICE_LIST(s, n, k, field, min, max, count)                                               \
	{                                                                                          \
		s, n, k, AT(device.field), min, max, offsetof(struct device_file, count)           \
	}

static const struct key device_keys[] = {
	DEVICE_TEXT("device", "name", name),
	DEVICE_TEXT("device", "product", product),
	DEVICE_TEXT("device", "gfx", gfx),
	DEVICE_TEXT("device", "asic", asic),
	{"device", "pci_device_id", HEX16, AT(device.pci_device_id), 0, 0, 0},
	DEVICE_U32("device", "vram_mib", vram_mib, 1, 1 << 24),
	DEVICE_U32("topology", "shader_engines", shader_engines, 1, CU_MAX_SE),
	DEVICE_U32("topology", "arrays_per_engine", arrays_per_engine, 1, CU_MAX_SH),
	DEVICE_U32("topology", "cus_per_array", cus_per_array, 1, 64),
	DEVICE_U32("topology", "physical_cus_per_array", device.physical_cus_per_array, 1, 64),
	DEVICE_U32("topology", "xccs", xccs, 1, CU_MAX_SE),
	DEVICE_U32("cu", "simds_per_cu", device.simds_per_cu, 1, 8),
	DEVICE_U32("cu", "waves_per_simd", device.waves_per_simd, 1, 64),
	DEVICE_U32("cu", "lds_kib", device.lds_kib, 1, 1024),
	DEVICE_U32("cu", "vgpr_kib", device.vgpr_kib, 1, 4096),
	DEVICE_U32("memory", "memory_bus_bits", device.memory_bus_bits, 32, 1 << 16),
	DEVICE_U32("memory", "l1_kib", device.l1_kib, 1, 1 << 20),
	DEVICE_U32("memory", "l2_kib", device.l2_kib, 1, 1 << 20),
	DEVICE_LIST("clocks", "sclk_mhz", U32_LIST, level_mhz, 1, 10000, device.n_levels),
	DEVICE_LIST("clocks", "sclk_mv", NUMBER_LIST, level_mv, 1, 10000, n_mv),
	DEVICE_LIST("clocks", "mclk_mhz", U32_LIST, mclk_mhz, 1, 10000, device.n_mclk),
	DEVICE_NUMBER("clocks", switch_ms, 0, 10000),
	DEVICE_NUMBER("clocks", dpm_ramp_ms, 0, 10000),
	DEVICE_NUMBER("clocks", dpm_up_busy, 0, 1),
	DEVICE_NUMBER("clocks", dpm_down_busy, 0, 1),
	DEVICE_NUMBER("clocks", dpm_hold_ms, 0, 10000),
	DEVICE_U32("clocks", "dpm_idle_level", device.dpm_idle_level, 0, PLANT_MAX_LEVELS - 1),
	DEVICE_NUMBER("time", flop_per_clock_cu, 1, 1e6),
	DEVICE_NUMBER("time", efficiency, 0.001, 1),
	DEVICE_NUMBER("time", memory_gbps, 1, 1e6),
	DEVICE_NUMBER("time", cu_gbps, 0.1, 1e6),
	DEVICE_NUMBER("time", dispatch_us, 0, 1e6),
	DEVICE_NUMBER("time", launch_us, 0.001, 1e6),
	DEVICE_NUMBER("time", pcie_gbps, 0.001, 1e6),
	DEVICE_NUMBER("time", copy_us, 0, 1e6),
	DEVICE_NUMBER("power", idle_w, 0, 10000),
	DEVICE_NUMBER("power", uncore_w, 0, 10000),
	DEVICE_NUMBER("power", uncore_gbps, 1e-6, 1e6),
	DEVICE_NUMBER("power", cu_active_idle_w, 0, 1000),
	DEVICE_NUMBER("power", cu_clock_share, 0, 1),
	DEVICE_NUMBER("power", half_card_saving, 0, 1),
	DEVICE_NUMBER("power", idle_active_share, 0, 1),
	DEVICE_NUMBER("power", pj_per_flop, 0, 1e6),
	DEVICE_NUMBER("power", pj_per_byte, 0, 1e6),
	DEVICE_NUMBER("power", leakage_w_per_k, 0, 100),
	DEVICE_NUMBER("power", cap_w, 1, 10000),
	DEVICE_NUMBER("power", cap_min_w, 0, 10000),
	DEVICE_NUMBER("power", cap_max_w, 1, 10000),
	DEVICE_NUMBER("power", limiter_ms, 0.1, 10000),
	DEVICE_NUMBER("heat", ambient_c, -50, 150),
	DEVICE_NUMBER("heat", thermal_ohm_k_per_w, 0, 100),
	DEVICE_NUMBER("heat", thermal_tau_s, 0.001, 1e6),
	DEVICE_NUMBER("heat", throttle_c, 0, 200),
	DEVICE_NUMBER("heat", emergency_c, 0, 200),
	DEVICE_NUMBER("sensors", power_resolution_w, 0.000001, 1000),
	DEVICE_NUMBER("sensors", sensor_period_ms, 0.001, 60000),
	DEVICE_NUMBER("sensors", sensor_filter_ms, 0, 60000),
	DEVICE_NUMBER("sensors", sensor_noise_w, 0, 1000),
};
_Static_assert(ARRAY_SIZE(device_keys) <= MAX_KEYS, "struct reader has room for every key");

static int device_row(void *userdata, unsigned int line, const char *section, const char *key,
		      const char *value, struct ini_error *error)
{
	struct reader *reader = userdata;

	(void)line;
	if (key)
		return assign(reader, section, key, value, error);
	for (uint32_t i = 0; i < reader->n_keys; i++)
		if (strcmp(reader->keys[i].section, section) == 0)
			return 0;
	return ini_error_set(error, -EINVAL, "unknown section [%.60s]", section);
}

static bool ascends(const struct plant_device *d)
{
	for (uint32_t i = 1; i < d->n_levels; i++)
		if (d->level_mhz[i] <= d->level_mhz[i - 1] || d->level_mv[i] < d->level_mv[i - 1])
			return false;
	return true;
}

/* What no single key can tell. */
static const char *contradiction(const struct device_file *f)
{
	const struct plant_device *d = &f->device;

	if (f->n_mv != d->n_levels)
		return "sclk_mhz and sclk_mv differ in length";
	if (!ascends(d))
		return "sclk_mhz must ascend, and sclk_mv must not fall";
	if (d->dpm_idle_level >= d->n_levels)
		return "dpm_idle_level is beyond the last level of sclk_mhz";
	if (!(d->dpm_down_busy < d->dpm_up_busy))
		return "dpm_down_busy must be below dpm_up_busy";
	if (!(d->cap_min_w <= d->cap_w && d->cap_w <= d->cap_max_w))
		return "expected cap_min_w <= cap_w <= cap_max_w";
	if (!(d->ambient_c < d->throttle_c && d->throttle_c < d->emergency_c))
		return "expected ambient_c < throttle_c < emergency_c";
	if (d->physical_cus_per_array < f->cus_per_array)
		return "physical_cus_per_array is less than cus_per_array";
	if (cu_topology_check(&d->topology) < 0)
		return "no such topology: engines, arrays and CUs do not fit together";
	return NULL;
}

static void fill_derived(struct device_file *f)
{
	struct cu_topology *t = &f->device.topology;

	t->n_se = f->shader_engines;
	t->n_sh_per_se = f->arrays_per_engine;
	t->n_xcc = f->xccs;
	for (uint32_t se = 0; se < t->n_se; se++)
		for (uint32_t sh = 0; sh < t->n_sh_per_se; sh++)
			t->active[se][sh] = (uint8_t)f->cus_per_array;
	f->device.vram_bytes = (uint64_t)f->vram_mib << 20;
}

/* What was read, as a block of its own; NULL with *error filled if there is no memory. */
static void *copy_out(const void *read, size_t size, struct ini_error *error)
{
	void *copy = malloc(size);

	if (!copy) {
		(void)ini_error_set(error, -ENOMEM, "out of memory");
		return NULL;
	}
	return memcpy(copy, read, size);
}

int plant_device_load(const char *path, struct plant_device **ret, struct ini_error *ret_error)
{
	struct device_file file = {0};
	struct reader reader = {.keys = device_keys,
				.n_keys = ARRAY_SIZE(device_keys),
				.base = (char *)&file};
	struct plant_device *device;
	const struct key *missing;
	const char *problem;
	int r;

	r = parse_path(path, device_row, &reader, ret_error);
	if (r < 0)
		return r;
	missing = missing_key(&reader);
	if (missing)
		return ini_error_set(ret_error, -ENODATA, "[%s] lacks the key '%s'",
				     missing->section, missing->name);
	fill_derived(&file);
	problem = contradiction(&file);
	if (problem)
		return ini_error_set(ret_error, -EINVAL, "%s", problem);
	device = copy_out(&file.device, sizeof(file.device), ret_error);
	if (!device)
		return -ENOMEM;
	*ret = device;
	return 0;
}

/* ---- models ---- */

#define KERNEL_AT(field)                                                                           \
	offsetof(struct plant_kernel, field), sizeof(((struct plant_kernel *)0)->field)

static const struct key model_keys[] = {
	{"model", "name", TEXT, offsetof(struct plant_model, name),
	 sizeof(((struct plant_model *)0)->name), 0, 0, 0},
};

static const struct key kernel_keys[] = {
	{"kernel", "count", U32, KERNEL_AT(count), 1, 1e6, 0},
	{"kernel", "workgroups", U32, KERNEL_AT(workgroups), 1, 1e9, 0},
	{"kernel", "flop", NUMBER, KERNEL_AT(flop), 0, 1e18, 0},
	{"kernel", "bytes", NUMBER, KERNEL_AT(bytes), 0, 1e15, 0},
	{"kernel", "fixed_bytes", NUMBER, KERNEL_AT(fixed_bytes), 0, 1e15, 0},
};

struct model_file {
	struct plant_model model;
	struct reader head, kernel;
	unsigned int kernel_line; /* of the section line */
	bool in_kernel, kernel_bad;
};

/* Ends the kernel section that is being read, if any. What is wrong with it as a whole is known
 * only now, some lines behind the one that the error should name. */
static int finish_kernel(struct model_file *f, struct ini_error *error)
{
	const struct plant_kernel *k = (const void *)f->kernel.base;
	const struct key *missing;

	if (!f->in_kernel)
		return 0;
	f->in_kernel = false;
	f->kernel_bad = true;
	missing = missing_key(&f->kernel);
	if (missing)
		return ini_error_set(error, -ENODATA, "[kernel %s] lacks the key '%s'", k->name,
				     missing->name);
	if (k->fixed_bytes > k->bytes)
		return ini_error_set(error, -EINVAL, "[kernel %s]: fixed_bytes exceeds bytes",
				     k->name);
	f->kernel_bad = false;
	return 0;
}

static int begin_kernel(struct model_file *f, unsigned int line, const char *name,
			struct ini_error *error)
{
	struct plant_model *m = &f->model;
	struct plant_kernel *k;

	if (m->n_kernels == PLANT_MAX_KERNELS)
		return ini_error_set(error, -E2BIG, "more than %d kernels", PLANT_MAX_KERNELS);
	k = &m->kernels[m->n_kernels];
	if (!*name || strlen(name) >= sizeof(k->name))
		return ini_error_set(error, -EINVAL, "kernel name '%.60s': expected 1 to %zu bytes",
				     name, sizeof(k->name) - 1);
	for (uint32_t i = 0; i < m->n_kernels; i++)
		if (strcmp(m->kernels[i].name, name) == 0)
			return ini_error_set(error, -EEXIST, "[kernel %s] is given twice", name);
	(void)snprintf(k->name, sizeof(k->name), "%s", name);
	f->kernel = (struct reader){.keys = kernel_keys,
				    .n_keys = ARRAY_SIZE(kernel_keys),
				    .base = (char *)k};
	f->kernel_line = line;
	f->in_kernel = true;
	m->n_kernels++;
	return 0;
}

static int model_row(void *userdata, unsigned int line, const char *section, const char *key,
		     const char *value, struct ini_error *error)
{
	static const char kernel_prefix[] = "kernel ";
	struct model_file *f = userdata;
	size_t prefix = sizeof(kernel_prefix) - 1;
	int r;

	if (key && f->in_kernel)
		return assign(&f->kernel, "kernel", key, value, error);
	if (key)
		return assign(&f->head, section, key, value, error);
	r = finish_kernel(f, error);
	if (r < 0)
		return r;
	if (strcmp(section, "model") == 0)
		return 0;
	if (strncmp(section, kernel_prefix, prefix) == 0)
		return begin_kernel(f, line, section + prefix, error);
	return ini_error_set(error, -EINVAL, "unknown section [%.60s], expected [kernel NAME]",
			     section);
}

static int check_model(const struct model_file *f, struct ini_error *error)
{
	const struct key *missing = missing_key(&f->head);

	if (missing)
		return ini_error_set(error, -ENODATA, "[model] lacks the key '%s'", missing->name);
	if (!model_name_is_valid(f->model.name))
		return ini_error_set(error, -EINVAL, "name = %s: not a model's name",
				     f->model.name);
	if (f->model.n_kernels == 0)
		return ini_error_set(error, -ENODATA, "no [kernel NAME] section");
	return 0;
}

int plant_model_load(const char *path, struct plant_model **ret, struct ini_error *ret_error)
{
	struct model_file file = {0};
	struct plant_model *model;
	int r;

	file.head = (struct reader){.keys = model_keys,
				    .n_keys = ARRAY_SIZE(model_keys),
				    .base = (char *)&file.model};
	r = parse_path(path, model_row, &file, ret_error);
	if (r == 0)
		r = finish_kernel(&file, ret_error);
	if (file.kernel_bad)
		ret_error->line = file.kernel_line;
	if (r < 0)
		return r;
	r = check_model(&file, ret_error);
	if (r < 0)
		return r;
	model = copy_out(&file.model, sizeof(file.model), ret_error);
	if (!model)
		return -ENOMEM;
	*ret = model;
	return 0;
}
