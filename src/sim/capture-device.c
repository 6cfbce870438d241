/* SPDX-License-Identifier: Apache-2.0 */
/* A device's profile from a card's files. They tell what the card is, not how fast it computes or
 * what it draws: that stays the base's, and no figure of such a card is one of the card that was
 * captured. */
#include "base/units.h"
#include "sim/capture.h"
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define MAX_VALUES 24

/* "key = value" rows that stand in place of the base's. */
struct values {
	uint32_t n;
	struct {
		char key[32], value[INI_LINE_MAX];
	} of[MAX_VALUES];
};

static void set(struct values *v, const char *key, const char *format, ...) _printf_(3, 4);
static void set(struct values *v, const char *key, const char *format, ...)
{
	va_list ap;

	if (v->n == MAX_VALUES)
		return;
	(void)snprintf(v->of[v->n].key, sizeof(v->of[0].key), "%s", key);
	va_start(ap, format);
	(void)vsnprintf(v->of[v->n].value, sizeof(v->of[0].value), format, ap);
	va_end(ap);
	v->n++;
}

/* ---- what the files say ---- */

static bool property(const struct capture_card *c, const char *file, const char *name,
		     uint64_t *ret)
{
	const struct capture_file *f = capture_find(c, file);
	size_t n = strlen(name);

	for (const char *line = f ? f->data : NULL; line; line = strchr(line, '\n')) {
		unsigned long long value;

		line += *line == '\n';
		if (strncmp(line, name, n) == 0 && sscanf(line + n, " %llu", &value) == 1) {
			*ret = value;
			return true;
		}
	}
	return false;
}

static void set_property(struct values *v, const struct capture_card *c, const char *key,
			 const char *file, const char *name)
{
	uint64_t value;

	if (property(c, file, name, &value) && value > 0)
		set(v, key, "%llu", (unsigned long long)value);
}

static void set_identity(struct values *v, const struct capture_card *c)
{
	const struct capture_file *product = capture_find(c, "product_name");
	uint64_t version, bytes;
	char name[64] = "";
	size_t n = 0;

	for (const char *p = product ? product->data : ""; *p && *p != '\n' && n < 63; p++)
		name[n++] = isalnum((unsigned char)*p) || strchr(" -_.()", *p) ? *p : '?';
	/* A blank at its end would be part of no value. */
	while (n > 0 && name[n - 1] == ' ')
		name[--n] = '\0';
	if (n > 0)
		set(v, "product", "%s", name);
	set(v, "pci_device_id", "0x%04x", capture_pci_device_id(c));
	if (property(c, "kfd/properties", "gfx_target_version", &version) && version > 0)
		set(v, "gfx", "gfx%u%x%x", (unsigned int)(version / 10000 % 100),
		    (unsigned int)(version / 100 % 100), (unsigned int)(version % 100));
	if (capture_number(c, "mem_info_vram_total", &bytes) && bytes >= 1u << 20)
		set(v, "vram_mib", "%llu", (unsigned long long)(bytes >> 20));
}

/* KFD counts arrays over all engines, and active SIMDs over the card. Where the CUs do not divide
 * evenly some are fused off in one place, which no file tells: the lower number is simulated. */
static int set_topology(struct values *v, const struct capture_card *c, struct ini_error *error)
{
	static const char file[] = "kfd/properties";
	uint64_t arrays, per_engine, simds, per_cu, xccs = 1;

	if (!property(c, file, "array_count", &arrays) ||
	    !property(c, file, "simd_arrays_per_engine", &per_engine) ||
	    !property(c, file, "simd_count", &simds) || !property(c, file, "simd_per_cu", &per_cu))
		return 0;
	(void)property(c, file, "num_xcc", &xccs);
	if (arrays == 0 || per_engine == 0 || per_cu == 0 || arrays % per_engine != 0 ||
	    simds / per_cu < arrays)
		return ini_error_set(error, -EBADMSG, "kfd/properties: no such topology");
	/* Of a card of several dies the base's is kept. */
	if (xccs > 1)
		return 0;
	set(v, "shader_engines", "%llu", (unsigned long long)(arrays / per_engine));
	set(v, "arrays_per_engine", "%llu", (unsigned long long)per_engine);
	set(v, "cus_per_array", "%llu", (unsigned long long)(simds / per_cu / arrays));
	set_property(v, c, "physical_cus_per_array", file, "cu_per_simd_array");
	set_property(v, c, "simds_per_cu", file, "simd_per_cu");
	set_property(v, c, "waves_per_simd", file, "max_waves_per_simd");
	set_property(v, c, "lds_kib", file, "lds_size_in_kb");
	set_property(v, c, "memory_bus_bits", "kfd/mem_banks/0/properties", "width");
	return 0;
}

/* "0: 925Mhz *" lines; those that do not rise, as a card without a second level has, are left out.
 */
static uint32_t read_levels(const struct capture_card *c, const char *file,
			    uint32_t ret_mhz[PLANT_MAX_LEVELS])
{
	const struct capture_file *f = capture_find(c, file);
	uint32_t n = 0;

	for (const char *line = f ? f->data : NULL; line && n < PLANT_MAX_LEVELS;
	     line = strchr(line, '\n')) {
		unsigned int index, mhz;

		line += *line == '\n';
		if (sscanf(line, "%u: %uMhz", &index, &mhz) == 2 && mhz > 0 &&
		    (n == 0 || mhz > ret_mhz[n - 1]))
			ret_mhz[n++] = mhz;
	}
	return n;
}

/* Between the base's levels on straight lines, beyond them as at the last. */
static double voltage_mv(const struct plant_device *d, uint32_t mhz)
{
	uint32_t i = 0;
	double share;

	while (i < d->n_levels && d->level_mhz[i] < mhz)
		i++;
	if (i == 0 || i == d->n_levels)
		return d->level_mv[i == 0 ? 0 : d->n_levels - 1];
	share = (double)(mhz - d->level_mhz[i - 1]) / (d->level_mhz[i] - d->level_mhz[i - 1]);
	return d->level_mv[i - 1] + share * (d->level_mv[i] - d->level_mv[i - 1]);
}

static void set_clocks(struct values *v, const struct capture_card *c,
		       const struct plant_device *base)
{
	uint32_t mhz[PLANT_MAX_LEVELS], n = read_levels(c, "pp_dpm_sclk", mhz);
	char levels[INI_LINE_MAX] = "", volts[INI_LINE_MAX] = "";

	for (uint32_t i = 0; i < n; i++) {
		size_t a = strlen(levels), b = strlen(volts);

		(void)snprintf(levels + a, sizeof(levels) - a, "%s%u", i > 0 ? " " : "", mhz[i]);
		(void)snprintf(volts + b, sizeof(volts) - b, "%s%.0f", i > 0 ? " " : "",
			       voltage_mv(base, mhz[i]));
	}
	if (n > 0) {
		set(v, "sclk_mhz", "%s", levels);
		set(v, "sclk_mv", "%s", volts);
		set(v, "dpm_idle_level", "%u", MIN(base->dpm_idle_level, n - 1));
	}
	levels[0] = '\0';
	n = read_levels(c, "pp_dpm_mclk", mhz);
	for (uint32_t i = 0; i < n; i++) {
		size_t a = strlen(levels);

		(void)snprintf(levels + a, sizeof(levels) - a, "%s%u", i > 0 ? " " : "", mhz[i]);
	}
	if (n > 0)
		set(v, "mclk_mhz", "%s", levels);
}

static void set_limits(struct values *v, const struct capture_card *c)
{
	uint64_t min_uw = 0, max_uw, uw, crit_mc, emergency_mc;

	if (capture_number(c, "hwmon/power1_cap_max", &max_uw) && max_uw > 0) {
		(void)capture_number(c, "hwmon/power1_cap_min", &min_uw);
		if (!capture_number(c, "hwmon/power1_cap_default", &uw) || uw == 0)
			uw = max_uw;
		set(v, "cap_w", "%.6g", (double)uw / (double)UW_PER_W);
		set(v, "cap_min_w", "%.6g", (double)min_uw / (double)UW_PER_W);
		set(v, "cap_max_w", "%.6g", (double)max_uw / (double)UW_PER_W);
	}
	if (capture_number(c, "hwmon/temp1_crit", &crit_mc) &&
	    capture_number(c, "hwmon/temp1_emergency", &emergency_mc)) {
		set(v, "throttle_c", "%.6g", (double)crit_mc / 1000);
		set(v, "emergency_c", "%.6g", (double)emergency_mc / 1000);
	}
}

/* ---- the profile ---- */

/* The value that stands in place of the line's, or NULL. */
static const char *value_for(const struct values *v, const char *line)
{
	size_t n = strcspn(line, " \t=");

	for (uint32_t i = 0; i < v->n; i++)
		if (strlen(v->of[i].key) == n && strncmp(v->of[i].key, line, n) == 0)
			return v->of[i].value;
	return NULL;
}

static int write_profile(FILE *from, FILE *to, const struct values *v)
{
	char line[1024];

	if (fputs("; From a capture. What is not marked is the base's, and modelled.\n", to) < 0)
		return -EIO;
	while (fgets(line, sizeof(line), from)) {
		const char *value = line[0] == ';' ? NULL : value_for(v, line);
		int r = value ? fprintf(to, "%.*s = %s ; captured\n", (int)strcspn(line, " \t="),
					line, value)
			      : fputs(line, to);

		if (r < 0)
			return -EIO;
	}
	return ferror(from) ? -EIO : 0;
}

int capture_write_device(const struct capture *c, const char *base_path,
			 const struct plant_device *base, const char *to_path,
			 struct ini_error *ret_error)
{
	_cleanup_(fclosep) FILE *from = fopen(base_path, "re");
	_cleanup_(fclosep) FILE *to = NULL;
	const struct capture_card *card = &c->cards[0];
	struct values v = {0};
	int r;

	*ret_error = (struct ini_error){0};
	if (!from)
		return ini_error_set(ret_error, -errno, "%.200s: %s", base_path, strerror(errno));
	set_identity(&v, card);
	r = set_topology(&v, card, ret_error);
	if (r < 0)
		return r;
	set_clocks(&v, card, base);
	set_limits(&v, card);
	to = fopen(to_path, "we");
	if (!to)
		return ini_error_set(ret_error, -errno, "%.200s: %s", to_path, strerror(errno));
	r = write_profile(from, to, &v);
	if (r < 0 || fflush(to) != 0)
		return ini_error_set(ret_error, -EIO, "%.200s: cannot write it", to_path);
	return 0;
}
