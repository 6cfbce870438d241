/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu/kernel-files.h"
#include <errno.h>
#include <stdint.h>
#include <string.h>

#define MAX_MHZ	 100000u
#define MAX_CUS	 1024u /* what KFD takes in a CU mask */
#define MAX_XCCS 16u

/* Moves *s behind a decimal number. No sign, no blanks; -EBADMSG without a digit or beyond max. */
static int take_number(const char **s, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;
	const char *p = *s;

	if (*p < '0' || *p > '9')
		return -EBADMSG;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value) || value > max)
			return -EBADMSG;
	*s = p;
	*ret = value;
	return 0;
}

static bool take_text(const char **s, const char *text)
{
	size_t n = strlen(text);

	if (strncmp(*s, text, n) != 0)
		return false;
	*s += n;
	return true;
}

static int take_level(const char **s, struct dpm_levels *l)
{
	const char *p = *s;
	uint64_t index, mhz;

	if (l->n >= GPU_MAX_LEVELS || take_number(&p, GPU_MAX_LEVELS, &index) < 0 ||
	    index != l->n || !take_text(&p, ": ") || take_number(&p, MAX_MHZ, &mhz) < 0 ||
	    mhz == 0 || !take_text(&p, "Mhz"))
		return -EBADMSG;
	if (take_text(&p, " *")) {
		/* "0: 925Mhz * (DPM disabled)" is all that a card without DPM prints. */
		(void)take_text(&p, " (DPM disabled)");
		if (l->current < 0)
			l->current = (int)l->n;
	}
	(void)take_text(&p, " ");
	if (!take_text(&p, "\n") && *p)
		return -EBADMSG;
	l->mhz[l->n++] = (uint32_t)mhz;
	*s = p;
	return 0;
}

int dpm_levels_parse(const char *text, struct dpm_levels *ret)
{
	struct dpm_levels l = {.current = -1};
	int r;

	do {
		r = take_level(&text, &l);
		if (r < 0)
			return r;
	} while (*text);
	*ret = l;
	return 0;
}

bool dpm_levels_ascend(const struct dpm_levels *l)
{
	for (uint32_t i = 1; i < l->n; i++)
		if (l->mhz[i] <= l->mhz[i - 1])
			return false;
	return true;
}

/* What the kernel prints (amdgpu_get_power_dpm_force_performance_level). */
static const struct {
	const char *word;
	enum gpu_perf_level level;
} perf_words[] = {
	{"auto", GPU_PERF_AUTO},
	{"low", GPU_PERF_LOW},
	{"high", GPU_PERF_HIGH},
	{"manual", GPU_PERF_MANUAL},
	{"profile_standard", GPU_PERF_OTHER},
	{"profile_min_sclk", GPU_PERF_OTHER},
	{"profile_min_mclk", GPU_PERF_OTHER},
	{"profile_peak", GPU_PERF_OTHER},
	{"profile_exit", GPU_PERF_OTHER},
	{"perf_determinism", GPU_PERF_OTHER},
	{"unknown", GPU_PERF_UNKNOWN},
};

int perf_level_parse(const char *text, enum gpu_perf_level *ret)
{
	size_t length = strcspn(text, "\n");

	if (text[length] && text[length + 1])
		return -EBADMSG;
	for (size_t i = 0; i < ARRAY_SIZE(perf_words); i++)
		if (strlen(perf_words[i].word) == length &&
		    memcmp(perf_words[i].word, text, length) == 0) {
			*ret = perf_words[i].level;
			return 0;
		}
	return -EBADMSG;
}

int number_file_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t value;
	int r;

	r = take_number(&text, max, &value);
	if (r < 0)
		return r;
	(void)take_text(&text, "\n");
	if (*text || value < min)
		return -EBADMSG;
	*ret = value;
	return 0;
}

static int take_count(const char **text, const char *name, uint64_t *ret)
{
	if (!take_text(text, name) || take_number(text, UINT64_MAX, ret) < 0 ||
	    !take_text(text, "\n"))
		return -EBADMSG;
	return 0;
}

int ras_count_parse(const char *text, uint64_t *ret_uncorrectable, uint64_t *ret_correctable)
{
	uint64_t ue, ce, de = 0;
	int r;

	r = take_count(&text, "ue: ", &ue);
	if (r == 0)
		r = take_count(&text, "ce: ", &ce);
	if (r == 0 && *text)
		r = take_count(&text, "de: ", &de);
	if (r < 0 || *text || ce > UINT64_MAX - de)
		return -EBADMSG;
	*ret_uncorrectable = ue;
	*ret_correctable = ce + de;
	return 0;
}

int signed_file_parse(const char *text, int64_t min, int64_t max, int64_t *ret)
{
	bool negative = take_text(&text, "-");
	uint64_t magnitude;
	int64_t value;
	int r;

	r = number_file_parse(text, 0, INT64_MAX, &magnitude);
	if (r < 0)
		return r;
	value = negative ? -(int64_t)magnitude : (int64_t)magnitude;
	if (value < min || value > max)
		return -EBADMSG;
	*ret = value;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int hex_file_parse(const char *text, uint64_t *ret)
{
	uint64_t value = 0;
	int n = 0, digit;

	(void)take_text(&text, "0x");
	for (; (digit = hex_digit(*text)) >= 0; text++) {
		if (++n > 16)
			return -EBADMSG;
		value = value << 4 | (uint64_t)digit;
	}
	(void)take_text(&text, "\n");
	if (n == 0 || *text)
		return -EBADMSG;
	*ret = value;
	return 0;
}

int line_file_parse(const char *text, char *ret, size_t size)
{
	size_t length = strcspn(text, "\n");

	if (text[length] && text[length + 1])
		return -EBADMSG;
	for (size_t i = 0; i < length; i++)
		if (text[i] < ' ' || text[i] > '~')
			return -EBADMSG;
	while (length > 0 && text[length - 1] == ' ')
		length--;
	length = MIN(length, size - 1);
	memcpy(ret, text, length);
	ret[length] = '\0';
	return 0;
}

/* Sizes of gpu_metrics v1.0 to v1.3 (kgd_pp_interface.h), little endian. What is read of them has
 * the same place in all. */
static const uint16_t metrics_sizes[] = {80, 96, 104, 120};
#define METRICS_SCLK	 54
#define METRICS_THROTTLE 68

static uint64_t little_endian(const uint8_t *bytes, size_t offset, size_t n)
{
	uint64_t value = 0;

	for (size_t i = n; i-- > 0;)
		value = value << 8 | bytes[offset + i];
	return value;
}

int gpu_metrics_parse(const void *bytes, size_t size, struct gpu_metrics *ret)
{
	const uint8_t *b = bytes;
	struct gpu_metrics m = {0};

	if (size < 4)
		return -EBADMSG;
	if (b[2] != 1 || b[3] >= ARRAY_SIZE(metrics_sizes))
		return -EPROTONOSUPPORT;
	if (size != metrics_sizes[b[3]] || little_endian(b, 0, 2) != size)
		return -EBADMSG;
	m.sclk_mhz = (uint32_t)little_endian(b, METRICS_SCLK, 2);
	if (m.sclk_mhz != UINT16_MAX)
		m.fields |= GPU_HAS_SCLK;
	m.throttle = (uint32_t)little_endian(b, METRICS_THROTTLE, 4);
	if (m.throttle != UINT32_MAX)
		m.fields |= GPU_HAS_THROTTLE;
	*ret = m;
	return 0;
}

static const struct {
	const char *key;
	size_t offset;
} kfd_keys[] = {
	{"simd_count", offsetof(struct kfd_properties, simd_count)},
	{"simd_per_cu", offsetof(struct kfd_properties, simd_per_cu)},
	{"array_count", offsetof(struct kfd_properties, array_count)},
	{"simd_arrays_per_engine", offsetof(struct kfd_properties, simd_arrays_per_engine)},
	{"cu_per_simd_array", offsetof(struct kfd_properties, cu_per_simd_array)},
	{"gfx_target_version", offsetof(struct kfd_properties, gfx_target_version)},
	{"vendor_id", offsetof(struct kfd_properties, vendor_id)},
	{"device_id", offsetof(struct kfd_properties, device_id)},
	{"location_id", offsetof(struct kfd_properties, location_id)},
	{"domain", offsetof(struct kfd_properties, domain)},
	{"unique_id", offsetof(struct kfd_properties, unique_id)},
	{"num_xcc", offsetof(struct kfd_properties, num_xcc)},
};

/* The field of the key that is length bytes long, or NULL; its number goes to *ret_index. */
static uint64_t *kfd_field(struct kfd_properties *p, const char *key, size_t length,
			   uint32_t *ret_index)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(kfd_keys); i++)
		if (strlen(kfd_keys[i].key) == length &&
		    memcmp(kfd_keys[i].key, key, length) == 0) {
			*ret_index = i;
			return (uint64_t *)((char *)p + kfd_keys[i].offset);
		}
	return NULL;
}

int kfd_properties_parse(const char *text, struct kfd_properties *ret)
{
	struct kfd_properties p = {.num_xcc = 1};
	uint32_t seen = 0, index;

	while (*text) {
		size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
		uint64_t *field = kfd_field(&p, text, length, &index), value;

		text += length;
		if (length == 0 || !take_text(&text, " ") ||
		    take_number(&text, UINT64_MAX, &value) < 0)
			return -EBADMSG;
		if (!take_text(&text, "\n") && *text)
			return -EBADMSG;
		if (!field)
			continue;
		if (seen & 1u << index)
			return -EBADMSG;
		seen |= 1u << index;
		*field = value;
	}
	*ret = p;
	return 0;
}

int kfd_properties_bdf(const struct kfd_properties *p, char ret[PCI_BDF_LENGTH + 1])
{
	if (p->domain > UINT16_MAX || p->location_id > UINT16_MAX)
		return -EBADMSG;
	(void)snprintf(ret, PCI_BDF_LENGTH + 1, "%04x:%02x:%02x.%x", (unsigned int)p->domain,
		       (unsigned int)(p->location_id >> 8),
		       (unsigned int)(p->location_id >> 3 & 0x1f),
		       (unsigned int)(p->location_id & 7));
	return 0;
}

static int layout_counts(const struct kfd_properties *p, struct gpu_info *i)
{
	if (p->simd_per_cu == 0 || p->simd_count % p->simd_per_cu != 0 ||
	    p->simd_arrays_per_engine == 0 || p->simd_arrays_per_engine > 4 || p->num_xcc == 0 ||
	    p->num_xcc > MAX_XCCS)
		return -EBADMSG;
	/* array_count, and with it n_se, counts over all XCCs. */
	if (p->array_count == 0 || p->array_count % (p->simd_arrays_per_engine * p->num_xcc) != 0 ||
	    p->array_count / p->simd_arrays_per_engine > GPU_MAX_SE)
		return -EBADMSG;
	i->n_xcc = (uint32_t)p->num_xcc;
	i->n_sh_per_se = (uint32_t)p->simd_arrays_per_engine;
	i->n_se = (uint32_t)(p->array_count / p->simd_arrays_per_engine);
	if (p->simd_count / p->simd_per_cu == 0 || p->simd_count / p->simd_per_cu > MAX_CUS)
		return -EBADMSG;
	i->n_cus = (uint32_t)(p->simd_count / p->simd_per_cu);
	if (p->cu_per_simd_array > MAX_CUS || i->n_cus > p->array_count * p->cu_per_simd_array)
		return -EBADMSG;
	return 0;
}

int kfd_properties_layout(const struct kfd_properties *p, struct gpu_info *ret)
{
	struct gpu_info i = *ret;
	uint64_t v = p->gfx_target_version;
	int r;

	r = layout_counts(p, &i);
	if (r < 0)
		return r;
	if (v > 999999)
		return -EBADMSG;
	/* 90006 is gfx906 and 90010 is gfx90a: the step is printed in hexadecimal. */
	(void)snprintf(i.gfx, sizeof(i.gfx), "gfx%u%u%x", (unsigned int)(v / 10000),
		       (unsigned int)(v / 100 % 100), (unsigned int)(v % 100));
	memset(i.active_cus, 0, sizeof(i.active_cus));
	for (uint32_t se = 0; se < i.n_se; se++) {
		uint32_t share = i.n_cus / i.n_se + (se < i.n_cus % i.n_se);

		if (share > UINT8_MAX)
			return -EBADMSG;
		i.active_cus[se] = (uint8_t)share;
	}
	*ret = i;
	return 0;
}
