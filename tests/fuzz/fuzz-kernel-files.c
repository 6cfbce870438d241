/* SPDX-License-Identifier: Apache-2.0 */
/* A card's files. The first byte says which. */
#include "fuzz.h"
#include "gpu/kernel-files.h"

static void parse_levels(const char *text)
{
	struct dpm_levels l;

	if (dpm_levels_parse(text, &l) < 0)
		return;
	FUZZ_CHECK(l.n >= 1 && l.n <= GPU_MAX_LEVELS && l.current >= -1 && l.current < (int)l.n);
	(void)dpm_levels_ascend(&l);
}

static void parse_level(const char *text)
{
	enum gpu_perf_level level;

	(void)perf_level_parse(text, &level);
}

static void parse_numbers(const char *text)
{
	uint64_t value = 0;
	int64_t sign = 0;

	if (number_file_parse(text, 10, 1000, &value) == 0)
		FUZZ_CHECK(value >= 10 && value <= 1000);
	if (signed_file_parse(text, -100, 100, &sign) == 0)
		FUZZ_CHECK(sign >= -100 && sign <= 100);
	(void)hex_file_parse(text, &value);
	(void)ras_count_parse(text, &value, &value);
}

static void parse_line(const char *text)
{
	char line[16];

	if (line_file_parse(text, line, sizeof(line)) == 0)
		FUZZ_CHECK(strlen(line) < sizeof(line) && !strpbrk(line, "\n\033"));
}

static void parse_properties(const char *text)
{
	char bdf[PCI_BDF_LENGTH + 1];
	struct kfd_properties p;
	struct gpu_info info;

	if (kfd_properties_parse(text, &p) < 0)
		return;
	if (kfd_properties_bdf(&p, bdf) == 0)
		FUZZ_CHECK(pci_bdf_is_valid(bdf));
	if (kfd_properties_layout(&p, &info) == 0)
		FUZZ_CHECK(info.n_cus > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parsers[])(const char *text) = {parse_levels, parse_level,
							    parse_numbers, parse_line,
							    parse_properties};
	struct gpu_metrics metrics;
	char *text;

	if (size == 0)
		return 0;
	(void)gpu_metrics_parse(data + 1, size - 1, &metrics);
	text = fuzz_text(data + 1, size - 1);
	if (text)
		parsers[data[0] % ARRAY_SIZE(parsers)](text);
	free(text);
	return 0;
}
